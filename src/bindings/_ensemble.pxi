# Training of many networks in one call: the binding of kernels/autoencoder/ensemble.h.
# _autoencoder.pyx includes this file.

from _autoencoder_ensemble cimport (
    STOP_BUDGET,
    STOP_NEVER,
    STOP_PATIENCE,
    ensemble_job,
    network_progress,
    survey_job,
)

# The fields of a network's progress, in the order of the C struct.
PROGRESS = np.dtype(
    [(name, np.int64) for name in (
        "n_steps", "n_rows_seen", "schedule_step", "schedule_steps", "n_epochs", "most_epochs",
        "place", "is_over", "has_diverged", "ends_early", "n_bad", "n_in_window")]
    + [(name, np.float64) for name in ("loss_sum", "window_sum", "best")]
)
if PROGRESS.itemsize != sizeof(network_progress):
    raise ImportError("the fields of PROGRESS are not those of network_progress")

STOPPING_RULES = {"never": STOP_NEVER, "patience": STOP_PATIENCE, "budget": STOP_BUDGET}


cdef class EnsembleTrainer:
    """Training of B networks of equal shape, each on rows and columns of its own.

    `values` and `kept` (B, 1 + n_states, n_parameters), `progress` (B,) of type PROGRESS and
    `losses` (B, curve_length) are changed in place, and belong to the trainer while it runs. X is
    the table; `rows` is None (each network visits all rows) or the arrays (begins, numbers), of
    which network b visits numbers[begins[b] : begins[b + 1]]. columns (B, d) int64 are the columns
    of X that each network reads, or None. `variant` is a `Variant` of networks/variants.py whose
    arrays have a first dimension B. rate_factors (B, N_PARAMETER_ARRAYS) float64 or None, seeds
    (B,) uint64. `stop` is (rule, tol, patience, decays), with one of STOPPING_RULES."""

    cdef ensemble_job job
    cdef const autoencoder_kernels* kernels
    cdef cnp.ndarray workspace
    cdef list segments
    cdef tuple kept_alive
    cdef int most_threads

    def __init__(self, network, cnp.ndarray X, rows, columns, cnp.ndarray values, cnp.ndarray kept,
                 cnp.ndarray progress, cnp.ndarray losses, hyperparameters, *, variant, seeds,
                 batch_size, n_threads, shuffles, stop, rate_factors=None):
        cdef autoencoder_model upper[MOST_LAYERS]
        memset(&self.job, 0, sizeof(self.job))
        if columns is None:
            check_width(X, network.n_features)
        self.kept_alive = (X, rows, columns, values, kept, progress, losses, variant, seeds,
                           rate_factors)
        self.segments = view_network(&self.job.common, network, network.split(values[0, 0]), upper)
        self.job.common.rows = view_rows(X)
        self.view_variant(variant)
        self.job.common.batch_size = batch_size
        self.job.common.hyper = view_hyperparameters(hyperparameters)
        self.job.common.tiled = True
        self.job.n_states = values.shape[1] - 1
        for i in range(self.job.n_states):
            self.job.common.state[i] = data_of(values)
        self.job.n_networks = len(progress)
        self.job.most_rows = len(X)
        if rows is not None:
            self.job.row_begins = <const int64_t*> data_of(rows[0])
            self.job.row_numbers = <const int64_t*> data_of(rows[1])
            self.job.most_rows = int(np.diff(rows[0]).max())
        self.job.columns = <const int64_t*> data_of(columns)
        self.job.rate_factors = <const double*> data_of(rate_factors)
        self.job.seeds, self.job.shuffles = <const uint64_t*> data_of(seeds), shuffles
        rule, self.job.stop.tol, self.job.stop.patience, self.job.stop.decays = stop
        self.job.stop.rule = STOPPING_RULES[rule]
        self.job.values, self.job.kept = data_of(values), data_of(kept)
        self.job.losses, self.job.curve_length = <double*> data_of(losses), losses.shape[1]
        self.job.progress = <network_progress*> data_of(progress)
        self.kernels = kernels_of(values)
        self.job.n_threads = self.most_threads = n_threads
        self.workspace = allocate(self.kernels.ensemble_workspace_bytes(<void*> &self.job))
        self.job.workspace = data_of(self.workspace)

    cdef int view_variant(self, variant) except -1:
        """Describe the inputs by a variant, whose arrays are of all networks."""
        view_inputs(&self.job.common.inputs, &self.job.common.rows, variant)
        self.job.common.terms = terms_of(variant)
        self.job.shift = <const double*> data_of(variant.shift)
        self.job.factor = <const double*> data_of(variant.factor)
        self.job.fill, self.job.low = data_of(variant.fill), data_of(variant.low)
        self.job.high = data_of(variant.high)
        self.job.log_offset = data_of(variant.log_offset)
        self.job.log_centre = data_of(variant.log_centre)
        return 0

    @property
    def n_threads(self):
        """The number of threads, which may be set between runs to less than at the start."""
        return self.job.n_threads

    @n_threads.setter
    def n_threads(self, n):
        self.job.n_threads = min(n, self.most_threads)

    def run(self, int64_t first, int64_t last, int64_t slice_rows):
        """Train networks [first, last) on slice_rows rows each, or to the end of their training.

        Return the number of rows visited."""
        if not 0 <= first <= last <= self.job.n_networks:
            raise ValueError(f"no networks [{first}, {last}) among {self.job.n_networks}")
        self.job.first, self.job.last, self.job.slice_rows = first, last, slice_rows
        with nogil:
            self.kernels.train_ensemble(<void*> &self.job)
        return self.job.n_rows_done


def survey(cnp.ndarray X, rows, domain, cnp.ndarray real_example, n_threads, *, missing=False,
           covariances=True, int64_t scatter_rows=4096):
    """Survey the rows of each network; return (status, a dict of arrays).

    `rows` is the pair (begins, numbers) of `EnsembleTrainer`. The arrays are means, deviations,
    low, high and counts (B, d), and covariances (B, d, d) of up to scatter_rows of the rows, or
    None."""
    cdef survey_job job
    cdef const autoencoder_kernels* kernels = kernels_of(real_example)
    begins, numbers = rows
    n, d = len(begins) - 1, X.shape[1]
    memset(&job, 0, sizeof(job))
    job.rows = view_rows(X, None, domain)
    job.rows.missing = missing
    job.n_networks, job.n_features, job.n_threads = n, d, n_threads
    job.row_begins = <const int64_t*> data_of(begins)
    job.row_numbers = <const int64_t*> data_of(numbers)
    names = ("means", "deviations", "low", "high", "counts")
    found = {name: np.empty((n, d)) for name in names}
    job.means, job.deviations = <double*> data_of(found["means"]), <double*> data_of(
        found["deviations"])
    job.low, job.high = <double*> data_of(found["low"]), <double*> data_of(found["high"])
    job.counts = <double*> data_of(found["counts"])
    found["covariances"] = np.empty((n, d, d)) if covariances else None
    job.covariances, job.scatter_rows = <double*> data_of(found["covariances"]), scatter_rows
    buffer = np.empty((n_threads, d))
    job.buffer = <double*> data_of(buffer)
    with nogil:
        kernels.survey(<void*> &job)
    return job.status, found
