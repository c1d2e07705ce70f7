# Training of factored networks (kernels/autoencoder/factored.h), included by _autoencoder.pyx.


cdef class FactoredKernel:
    """The counters and the job of a training that keeps the decoder in factors.

    The network has one layer. b and the gain are changed in place in `flat`. X is `SparseRows`."""

    cdef factored_job job
    cdef const autoencoder_kernels* kernels
    cdef cnp.ndarray flat, workspace
    cdef object X, variant, sample_weight
    cdef readonly object factors
    cdef OutputSegments segments
    cdef int64_t n_rows_seen

    def __init__(self, network, X, cnp.ndarray flat, hyperparameters, *, batch_size, n_steps,
                 variant, n_rows_seen, sample_weight, schedule_step, schedule_steps, limit,
                 n_threads):
        memset(&self.job, 0, sizeof(self.job))
        check_width(X, network.n_features)
        [layer] = network.layers
        self.X, self.flat, self.variant, self.sample_weight = X, flat, variant, sample_weight
        self.n_rows_seen = n_rows_seen
        self.segments = output_segments(layer.output, layer.n_features)
        self.job.model = view_layer(layer, layer.split(flat), self.segments)
        self.job.rows = view_rows(X)
        view_inputs(&self.job.inputs, &self.job.rows, variant)
        self.job.sample_weight = <const double*> data_of(sample_weight)
        self.job.batch_size, self.job.batch_entries = batch_size, batch_entries(X, batch_size)
        self.job.hyper = view_hyperparameters(hyperparameters)
        self.job.gemm = gemm_f64
        self.job.schedule_step, self.job.schedule_steps = schedule_step, schedule_steps
        self.job.n_steps, self.job.limit = n_steps, limit
        self.job.W_scale, self.job.n_threads = 1, n_threads
        self.kernels = kernels_of(flat)

    @property
    def n_steps(self):
        return self.job.n_steps

    @n_steps.setter
    def n_steps(self, n):
        self.job.n_steps = n

    @property
    def n_rows_done(self):
        return self.job.n_rows_done

    @property
    def loss_sum(self):
        return self.job.loss_sum

    @property
    def rate(self):
        return self.job.rate

    def go_on_from(self, n_rows_done, loss_sum, rate):
        """Set the counters to those of a training that was interrupted."""
        self.job.n_rows_done, self.job.loss_sum, self.job.rate = n_rows_done, loss_sum, rate

    @property
    def learning_rate(self):
        return self.job.hyper.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate):
        self.job.hyper.learning_rate = rate

    @property
    def schedule(self):
        return self.job.schedule_step, self.job.schedule_steps

    @schedule.setter
    def schedule(self, place):
        self.job.schedule_step, self.job.schedule_steps = place

    @property
    def encoder_scale(self):
        """The factor of the encoder's columns, and the sum of their squares."""
        return self.job.W_scale, self.job.W_squares

    @property
    def is_due(self):
        """Whether the factors are to be renewed before the next step."""
        return bool(self.job.ends_early)

    def hold(self, factors, encoder_scale, is_due):
        """Take other factors in one call: no interrupt comes between them and what belongs to them.

        `factors` has the arrays F, F_inverse, Q, U and W_columns, which are changed in place; the
        last one is None where weights are tied. It is None where there are no factors yet."""
        self.factors = factors
        self.job.W_scale, self.job.W_squares = encoder_scale
        self.job.ends_early = is_due

    def run(self, const int64_t[::1] order, last_step, double loss_sum):
        """Train on rows of X, and return (loss_sum, status, n_rows).

        The call ends early, before the factors lose digits or after `last_step` steps: `is_due`
        then says that they are to be renewed."""
        cdef int64_t before = self.job.n_rows_done
        self.view_factors()
        self.job.rows.order, self.job.rows.n_rows = &order[0], order.shape[0]
        self.job.inputs.first_sample = self.n_rows_seen + before
        self.job.loss_sum, self.job.last_step = loss_sum, last_step
        with nogil:
            self.kernels.factored_train(&self.job)
        return self.job.loss_sum, self.job.status, self.job.n_rows_done - before

    cdef void view_factors(self):
        factors = self.factors
        cdef cnp.ndarray U = factors.U, W_columns
        self.job.F = <double*> data_of(factors.F)
        self.job.F_inverse = <double*> data_of(factors.F_inverse)
        self.job.Q, self.job.U = <double*> data_of(factors.Q), data_of(U)
        self.job.ld, self.job.ld_W = cnp.PyArray_DIM(U, 1), 0
        self.job.W_columns = data_of(factors.W_columns)
        if factors.W_columns is not None:
            W_columns = factors.W_columns
            self.job.ld_W = cnp.PyArray_DIM(W_columns, 1)
        if self.workspace is None:
            self.workspace = allocate(self.kernels.factored_workspace_bytes(&self.job))
            self.job.workspace = data_of(self.workspace)

    def renew(self, directions, changes, new_F, new_F_inverse, *, is_last):
        """Multiply the columns of U by I + directionsᵀ diag(changes) directions, or by F for None.

        F and its inverse become the new ones in the same call, after which nothing is due where it
        is the last part of a renewal."""
        self.view_factors()
        self.job.n_directions = 0 if directions is None else len(directions)
        self.job.directions = <const double*> data_of(directions)
        self.job.changes = <const double*> data_of(changes)
        self.job.new_F = <const double*> data_of(new_F)
        self.job.new_F_inverse = <const double*> data_of(new_F_inverse)
        with nogil:
            self.kernels.factored_renew(&self.job)
        self.job.ends_early = self.job.ends_early and not is_last
