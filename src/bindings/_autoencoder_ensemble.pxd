# Declarations of kernels/autoencoder/ensemble.h, which describes all fields.

from libc.stdint cimport int64_t, uint64_t

from _arrays cimport rows_view
from _autoencoder_kernels cimport training_job


cdef extern from "kernels/autoencoder/ensemble.h":
    enum: STOP_NEVER, STOP_PATIENCE, STOP_BUDGET

    ctypedef struct stopping_rule:
        int rule
        double tol
        int64_t patience
        int decays

    ctypedef struct network_progress:
        pass

    ctypedef struct ensemble_job:
        training_job common
        int64_t n_networks
        const int64_t* row_begins
        const int64_t* row_numbers
        int64_t most_rows
        const int64_t* columns
        const double* shift
        const double* factor
        const void* fill
        const void* log_offset
        const void* log_centre
        const void* low
        const void* high
        const double* rate_factors
        const uint64_t* seeds
        int shuffles
        stopping_rule stop
        int n_states
        void* values
        void* kept
        double* losses
        int64_t curve_length
        network_progress* progress
        int64_t first
        int64_t last
        int64_t slice_rows
        int n_threads
        void* workspace
        int64_t n_rows_done

    ctypedef struct survey_job:
        rows_view rows
        int64_t n_networks
        int64_t n_features
        const int64_t* row_begins
        const int64_t* row_numbers
        int n_threads
        double* means
        double* deviations
        double* low
        double* high
        double* counts
        double* covariances
        int64_t scatter_rows
        double* buffer
        int status
