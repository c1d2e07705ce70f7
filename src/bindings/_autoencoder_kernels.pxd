# Declarations of kernels/autoencoder/autoencoder.h, which describes all fields: jobs, facts about
# entries of tables, and the tables of kernels.

from libc.stdint cimport int64_t, uint16_t, uint64_t
from numpy.random cimport bitgen_t

from _arrays cimport rows_view


cdef extern from "kernels/autoencoder/factored_job.h":
    ctypedef void gemm_function(int, int, int64_t, int64_t, int64_t, const void*, int64_t,
                                const void*, int64_t, double, void*, int64_t) noexcept nogil

    enum: PRODUCTS_BLAS, PRODUCTS_TILES, PRODUCTS_FEW_ROWS

    enum:
        CORRUPTION_NONE
        CORRUPTION_MASKING
        CORRUPTION_SALT_AND_PEPPER
        CORRUPTION_GAUSSIAN
        CORRUPTION_DROPOUT

    ctypedef struct output_segment:
        int output
        int is_group
        int is_custom
        int learned
        double constant
        int64_t n_columns
        const int64_t* columns

    ctypedef struct custom_output:
        int (*function)(void*, int, int64_t, const void*, const void*, void*, void*) noexcept nogil
        void* context

    ctypedef struct autoencoder_model:
        int64_t n_features
        int64_t n_components
        int tied
        int activation
        int64_t top_k
        int n_segments
        int has_groups
        int has_custom
        const output_segment* segments
        custom_output* custom
        const uint16_t* segment_of_column
        void* W
        void* V
        void* b
        void* c
        void* theta
        void* gain
        const double* rate_factors

    enum: N_PARAMETER_ARRAYS

    ctypedef struct input_view:
        const void* fill
        const void* log_offset
        const void* log_centre
        int normed
        int corruption
        double corruption_level
        const void* low
        const void* high
        uint64_t seed
        int layer
        int64_t first_sample

    ctypedef struct code_terms:
        double contraction
        int penalty
        double penalty_weight
        double penalty_parameter
        double dropout
        double revive
        int64_t dead_rows

    enum: MOST_LAYERS

    enum:
        AVERAGE
        MOST_STATES

    ctypedef struct hyperparameters:
        int solver
        int nesterov
        double learning_rate
        double momentum
        double alpha
        double weight_decay
        double clip_norm
        double max_norm
        double weight_averaging
        int learning_rate_schedule

    ctypedef struct training_job:
        autoencoder_model model
        const autoencoder_model* upper
        int n_upper
        const autoencoder_model* head
        rows_view head_rows
        const double* head_weight
        int head_alone
        rows_view rows
        int64_t batch_size
        int64_t batch_entries
        int64_t sampled_zeros
        double sampled_ratio
        const double* sample_weight
        input_view inputs
        code_terms terms
        int64_t* rows_unused
        int n_threads
        gemm_function* gemm
        void* workspace
        int tiled
        void* packed
        double* gradients
        const double* given
        double given_loss
        const int64_t* given_unused
        hyperparameters hyper
        int stores_gradient
        int64_t schedule_step
        int64_t schedule_steps
        void* state[MOST_STATES]
        int64_t n_steps
        double rate
        double loss_sum
        int64_t n_rows_done
        int status

    ctypedef struct one_pass_job:
        autoencoder_model model
        rows_view rows
        int from_codes
        rows_view targets
        input_view inputs
        int64_t block_rows
        int n_threads
        int products
        gemm_function* gemm
        void* workspace
        void* codes
        void* reconstructions
        double* row_losses
        void* feature_losses
        int whole_losses
        int status

    ctypedef struct factored_job:
        autoencoder_model model
        rows_view rows
        input_view inputs
        int64_t batch_size
        int64_t batch_entries
        const double* sample_weight
        hyperparameters hyper
        gemm_function* gemm
        void* workspace
        double* F
        double* F_inverse
        double* Q
        void* U
        int64_t ld
        void* W_columns
        int64_t ld_W
        double W_scale
        double W_squares
        double limit
        int n_threads
        int64_t n_directions
        const double* directions
        const double* changes
        const double* new_F
        const double* new_F_inverse
        int64_t last_step
        int64_t schedule_step
        int64_t schedule_steps
        int64_t n_steps
        int64_t n_rows_done
        double loss_sum
        int ends_early
        double rate
        int status

    ctypedef struct activation_info:
        const char* name
        double low
        double high
        double at_zero
        double slope
        int one_sided
        double linear_from
        double weight_scale

    ctypedef struct output_info:
        const char* name
        const char* link
        const char* domain
        double low
        double high
        const char* parameter
        const char* option
        double default_option
        int is_group
        double row_total

    ctypedef struct generator:
        bitgen_t* bits
        double (*uniform)(bitgen_t*) noexcept nogil
        double (*normal)(bitgen_t*) noexcept nogil
        double (*exponential)(bitgen_t*) noexcept nogil
        double (*gamma)(bitgen_t*, double) noexcept nogil
        int64_t (*poisson)(bitgen_t*, double) noexcept nogil
        int64_t (*binomial)(bitgen_t*, int64_t, double) noexcept nogil

    ctypedef struct penalty_info:
        const char* name
        const char* parameter
        double low
        double high
        int of_unit_codes

    ctypedef struct solver_info:
        const char* name
        int n_state
        int only_with_momentum
        int whole_gradient

    ctypedef struct autoencoder_kernels:
        int n_activations
        int n_outputs
        int n_penalties
        int n_solvers
        int n_schedules
        void (*activation_info)(int, activation_info*) noexcept nogil
        void (*output_info)(int, output_info*) noexcept nogil
        void (*penalty_info)(int, penalty_info*) noexcept nogil
        int (*penalty_is_of_means)(int) noexcept nogil
        void (*solver_info)(int, solver_info*) noexcept nogil
        const char* (*schedule_name)(int) noexcept nogil
        double (*output_link)(int, double) noexcept nogil
        int (*output_has_base)(int) noexcept nogil
        void (*output_log_base)(int, int64_t, int64_t, const double*, double,
                                double*) noexcept nogil
        int (*output_sample)(int, int64_t, int64_t, const double*, const double*, double,
                             const double*, const generator*, double*) noexcept nogil
        int64_t (*training_workspace_bytes)(const training_job*) noexcept nogil
        int64_t (*packed_bytes)(const training_job*) noexcept nogil
        void (*pack)(training_job*) noexcept nogil
        void (*unpack)(training_job*) noexcept nogil
        void (*train)(training_job*) noexcept nogil
        int64_t (*ensemble_workspace_bytes)(void*) noexcept nogil
        void (*train_ensemble)(void*) noexcept nogil
        void (*survey)(void*) noexcept nogil
        int64_t (*factored_workspace_bytes)(const factored_job*) noexcept nogil
        void (*factored_train)(factored_job*) noexcept nogil
        void (*factored_renew)(factored_job*) noexcept nogil
        int64_t (*one_pass_workspace_bytes)(const one_pass_job*) noexcept nogil
        void (*one_pass)(one_pass_job*) noexcept nogil
        void (*sigmoid)(const void*, void*, int64_t, int) noexcept nogil
        void (*softplus)(const void*, void*, int64_t, int) noexcept nogil

    const autoencoder_kernels* autoencoder_tables[][2]
    const autoencoder_kernels* autoencoder_bfloat16_tables[]
