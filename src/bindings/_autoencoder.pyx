# cython: freethreading_compatible=True
"""Bindings of the kernels of autoencoders: each function makes one call without the GIL.

Callers in Python have validated all arguments. Only the widths of rows and weights are compared
with the network's, because another thread may fit an estimator between its checks and the call.
A `Network` and the `Parameters` of each layer (aefast/networks/network.py) describe a network. X is
an ndarray (n, d) of float32, float64, uint8 or bool; the entries of a row are adjacent. The
parameters W, V (W when tied), b, c and theta are C-contiguous, and their type is the real type of
the computation. `flat` arrays hold them as [W | V unless tied | b | c | theta], one layer after
another."""

import numpy as np

from aefast._base import _runtime

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t
from libc.string cimport memset
from numpy.random cimport bitgen_t

from _arrays cimport STATUS_BAD_ROWS, STATUS_NOT_FINITE, allocate, check_width, data_of, view_rows
from _autoencoder_kernels cimport (
    AVERAGE,
    MOST_LAYERS,
    N_PARAMETER_ARRAYS as _N_PARAMETER_ARRAYS,
    PRODUCTS_BLAS,
    PRODUCTS_FEW_ROWS,
    PRODUCTS_TILES,
    activation_info,
    autoencoder_bfloat16_tables,
    autoencoder_kernels,
    autoencoder_model,
    autoencoder_tables,
    factored_job,
    one_pass_job,
    gemm_function,
    generator,
    output_info,
    penalty_info,
    solver_info,
    training_job,
)
from _blas cimport gemm_f32, gemm_f64

cnp.import_array()


cdef extern from "numpy/random/distributions.h":
    ctypedef struct binomial_t:
        pass

    double random_standard_uniform(bitgen_t*) noexcept nogil
    double random_standard_normal(bitgen_t*) noexcept nogil
    double random_standard_exponential(bitgen_t*) noexcept nogil
    double random_standard_gamma(bitgen_t*, double) noexcept nogil
    int64_t random_poisson(bitgen_t*, double) noexcept nogil
    int64_t random_binomial(bitgen_t*, double, int64_t, binomial_t*) noexcept nogil


N_LAYERS_AT_MOST = MOST_LAYERS
N_PARAMETER_ARRAYS = _N_PARAMETER_ARRAYS
NOT_FINITE = STATUS_NOT_FINITE
BAD_ROWS = STATUS_BAD_ROWS


cdef const autoencoder_kernels* kernels_of(cnp.ndarray array):
    """Return the kernels for this array's real type and the instruction set in use."""
    cdef bint is_float64 = cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64
    return autoencoder_tables[<int> _runtime.isa_index()][is_float64]


cdef gemm_function* gemm_of(cnp.ndarray array):
    """Return BLAS's matrix product for this array's real type."""
    return gemm_f64 if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64 else gemm_f32


cdef int64_t batch_entries(X, int64_t batch_size) except -1:
    """Return the largest number of entries of `SparseRows` in a batch, 0 for dense rows."""
    return 0 if isinstance(X, cnp.ndarray) else X.most_entries(batch_size)


cdef bint samples_zeros(variant) except *:
    """Return whether the losses of zeros are sampled."""
    return variant.sampled_zeros > 0 or variant.sampled_ratio > 0


cdef int64_t most_sampled(variant, int64_t n_stored, int64_t batch_size, int64_t d) except -1:
    """Return a bound of the number of zeros that are drawn for a batch."""
    if not samples_zeros(variant):
        return 0
    wanted = variant.sampled_zeros * batch_size + variant.sampled_ratio * n_stored + batch_size
    return int(min(wanted, batch_size * d))


include "_model_views.pxi"


# ---- the tables of the kernels, as Python's registries need them ----


def activation_table():
    """Return a dict for each activation of the hidden layer.

    Keys: name; low and high, the infimum and supremum of its values; at_zero and slope, the value
    and the derivative at 0; one_sided, whether it is nearly linear on one side only (slope is that
    side's), from the pre-activation linear_from on; weight_scale, where initial weights are uniform
    in ±weight_scale sqrt(6 / (d + k))."""
    cdef activation_info info
    rows = []
    table = autoencoder_tables[0][1]
    for i in range(table.n_activations):
        table.activation_info(i, &info)
        rows.append({"name": info.name.decode(), "low": info.low, "high": info.high,
                     "at_zero": info.at_zero, "slope": info.slope,
                     "one_sided": bool(info.one_sided), "linear_from": info.linear_from,
                     "weight_scale": info.weight_scale})
    return rows


cdef text_or_none(const char* text):
    return None if text == NULL else text.decode()


cdef default_or_none(const output_info* info):
    """Return the default of a distribution's option; None: no option, or one without a default."""
    is_nan = info.default_option != info.default_option
    return None if is_nan or not info.option else info.default_option


def output_table():
    """Return a dict for each output distribution.

    Keys: name; link; domain (of x, in words), with its ends low and high; parameter, the name of a
    parameter of each column, or None; option, the name of a constant, or None; default_option,
    which is None where the option fixes the parameter that is learned otherwise; is_group, whether
    one draw fills all columns of a segment; row_total, the sum of a row's entries in a group, or
    None; has_base, whether the terms that the loss leaves out depend on x."""
    cdef output_info info
    rows = []
    table = autoencoder_tables[0][1]
    for i in range(table.n_outputs):
        table.output_info(i, &info)
        rows.append({"name": info.name.decode(), "link": info.link.decode(),
                     "domain": info.domain.decode(), "low": info.low, "high": info.high,
                     "parameter": text_or_none(info.parameter), "option": text_or_none(info.option),
                     "default_option": default_or_none(&info), "is_group": bool(info.is_group),
                     "row_total": info.row_total or None,
                     "has_base": bool(table.output_has_base(i))})
    return rows


def penalty_table():
    """Return a dict for each penalty on codes.

    Keys: name; parameter, the name of its parameter besides the weight, or None; low and high,
    between which the parameter lies; of_unit_codes, whether codes must lie in (0, 1); of_means,
    whether the penalty is a function of the mean codes of a batch."""
    cdef penalty_info info
    rows = []
    table = autoencoder_tables[0][1]
    for i in range(table.n_penalties):
        table.penalty_info(i, &info)
        rows.append({"name": info.name.decode(), "parameter": text_or_none(info.parameter),
                     "low": info.low, "high": info.high, "of_unit_codes": bool(info.of_unit_codes),
                     "of_means": bool(table.penalty_is_of_means(i))})
    return rows


def solver_table():
    """Return a dict for each solver.

    Keys: name; n_state, the number of state arrays of the parameters' size; only_with_momentum,
    whether there is no state where momentum is 0; whole_gradient, whether an update needs the
    gradient of a whole matrix before any of its weights moves."""
    cdef solver_info info
    rows = []
    table = autoencoder_tables[0][1]
    for i in range(table.n_solvers):
        table.solver_info(i, &info)
        rows.append({"name": info.name.decode(), "n_state": info.n_state,
                     "only_with_momentum": bool(info.only_with_momentum),
                     "whole_gradient": bool(info.whole_gradient)})
    return rows


ACTIVATIONS = [row["name"] for row in activation_table()]
# Activations whose codes may be probabilities.
UNIT_ACTIVATIONS = [
    row["name"] for row in activation_table() if (row["low"], row["high"]) == (0, 1)
]
# Activations whose codes have bounds on both sides.
BOUNDED_ACTIVATIONS = [
    row["name"] for row in activation_table()
    if -float("inf") < row["low"] and row["high"] < float("inf")
]
OUTPUT_TABLE = output_table()
OUTPUTS = [row["name"] for row in OUTPUT_TABLE]  # the last name stands for custom distributions
PENALTIES = {row["name"]: row for row in penalty_table()}
PENALTY_NAMES = list(PENALTIES)
SOLVERS = [row["name"] for row in solver_table()]
SCHEDULES = [
    autoencoder_tables[0][1].schedule_name(i).decode()
    for i in range(autoencoder_tables[0][1].n_schedules)
]


def output_link(output, means):
    """Return the pre-activations (float64) with these means, kept away from the domain's ends."""
    cdef int index = OUTPUTS.index(output)
    with _runtime.IeeeArithmetic():
        return np.array([autoencoder_tables[0][1].output_link(index, mean) for mean in means])


def output_log_base(output, cnp.ndarray x, double constant):
    """Return the terms that the losses of x leave out: (n, m), or (n,) for a group.

    x (n, m) is float64 and contiguous. Terms are 0 where an entry is NaN."""
    cdef int index = OUTPUTS.index(output)
    cdef int64_t n = cnp.PyArray_DIM(x, 0), m = cnp.PyArray_DIM(x, 1)
    cdef const double* entries = <const double*> data_of(x)
    out = np.empty(n) if OUTPUT_TABLE[index]["is_group"] else np.empty((n, m))
    cdef double* to = <double*> data_of(out)
    with _runtime.IeeeArithmetic(), nogil:
        autoencoder_tables[0][1].output_log_base(index, n, m, entries, constant, to)
    return out


cdef int64_t draw_binomial(bitgen_t* bits, int64_t n, double p) noexcept nogil:
    cdef binomial_t scratch
    memset(&scratch, 0, sizeof(scratch))
    return random_binomial(bits, p, n, &scratch)


def output_sample(output, cnp.ndarray eta, theta, double constant, n_draws, random):
    """Draw x (n, m) from p(x | mu(eta)), and return x and whether all of x is finite.

    All arrays are float64 and contiguous: eta (n, m), theta (m,) or None, n_draws (n,), the totals
    of a multinomial, or None, which means one draw each. random is a numpy.random.Generator."""
    cdef int index = OUTPUTS.index(output)
    cdef int64_t n = cnp.PyArray_DIM(eta, 0), m = cnp.PyArray_DIM(eta, 1)
    cdef generator source
    source.bits = <bitgen_t*> PyCapsule_GetPointer(random.bit_generator.capsule, "BitGenerator")
    source.uniform = random_standard_uniform
    source.normal = random_standard_normal
    source.exponential = random_standard_exponential
    source.gamma = random_standard_gamma
    source.poisson = random_poisson
    source.binomial = draw_binomial
    cdef const double* etas = <const double*> data_of(eta)
    cdef const double* thetas = <const double*> data_of(theta)
    cdef const double* counts = <const double*> data_of(n_draws)
    x = np.empty((n, m))
    cdef double* to = <double*> data_of(x)
    cdef bint is_finite = False
    with random.bit_generator.lock, _runtime.IeeeArithmetic(), nogil:
        is_finite = autoencoder_tables[0][1].output_sample(index, n, m, etas, thetas, constant,
                                                           counts, &source, to)
    return x, is_finite


# ---- training ----


cdef class Trainer:
    """Parameters, optimizer state, counters and workspace of one training.

    The arrays `flat` and `state` (n_state, n_parameters) are changed in place, and belong to the
    trainer while it runs. `n_steps` counts the updates and `n_rows_seen` the rows of earlier
    training. sample_weight (n,) float64 has a weight for each row of X, or is None. rate_factors
    (n_layers, N_PARAMETER_ARRAYS) float64 has the factors of the learning rate of each layer's
    arrays W, V, b, c, theta and gain, or is None. With hyperparameters.weight_averaging > 0 `flat`
    is the moving average of the weights, and the last array of `state` has the weights, which
    begin as copies of `flat` where n_steps is 0. `variant` is a `Variant` of
    aefast/networks/variants.py. With bfloat16, which the instruction set in use must
    have, parameters are float32, and products round their operands to bfloat16. `head` is a
    `Head` of aefast/networks/heads.py or None. For tests,
    stores_gradient stores the whole gradient before weights move even where neither clipping nor
    the solver needs it.
    """

    cdef training_job job
    cdef autoencoder_model upper[MOST_LAYERS]
    cdef autoencoder_model head_model
    cdef OutputSegments head_segments
    cdef object head
    cdef const autoencoder_kernels* kernels
    cdef cnp.ndarray flat, state, moving, workspace, packed
    cdef object X
    cdef readonly object variant
    # The name of the solver.
    cdef readonly str solver
    cdef object sample_weight, rate_factors
    cdef list segments
    cdef CustomOutputs custom
    cdef int64_t n_rows_seen
    cdef int most_threads
    # Whether the packed weights, and those in `flat`, are up to date.
    cdef bint is_packed, is_unpacked

    def __init__(self, network, X, cnp.ndarray flat, cnp.ndarray state,
                 hyperparameters, *, batch_size, n_threads, n_steps, variant, n_rows_seen=0,
                 sample_weight=None, bfloat16=False, schedule_step=0, schedule_steps=1,
                 stores_gradient=False, rate_factors=None, head=None):
        memset(&self.job, 0, sizeof(self.job))
        check_width(X, network.n_features)
        self.flat, self.state, self.variant = flat, state, variant
        self.n_rows_seen = n_rows_seen
        averages = hyperparameters.weight_averaging > 0
        self.moving = state[-1] if averages else flat
        if averages and n_steps == 0:
            self.moving[...] = flat
        self.segments = view_network(&self.job, network, network.split(self.moving), self.upper)
        self.head, self.rate_factors = head, rate_factors
        self.head_segments = view_head(&self.job, head, &self.head_model)
        if rate_factors is not None:
            set_rate_factors(&self.job, self.upper, &self.head_model, rate_factors)
        self.custom = custom_outputs(network.output, flat, &self.job.model)
        self._view(X, sample_weight)
        self.job.terms = terms_of(variant)
        self.job.rows_unused = <int64_t*> data_of(variant.rows_unused)
        self.job.batch_size, self.job.batch_entries = batch_size, batch_entries(X, batch_size)
        self.job.sampled_zeros = variant.sampled_zeros
        self.job.sampled_ratio = variant.sampled_ratio
        self.job.batch_entries += most_sampled(variant, self.job.batch_entries, batch_size,
                                               network.n_features)
        self.job.n_threads = self.most_threads = n_threads
        self.job.gemm = gemm_of(flat)
        self.job.hyper = view_hyperparameters(hyperparameters)
        self.solver = str(hyperparameters.solver)
        self.job.stores_gradient = stores_gradient
        self.job.schedule_step, self.job.schedule_steps = schedule_step, schedule_steps
        self.job.n_steps = n_steps
        for i in range(len(state) - averages):
            self.job.state[i] = data_of(state[i])
        self.job.state[AVERAGE] = data_of(flat if averages else None)
        self.kernels = (autoencoder_bfloat16_tables[<int> _runtime.isa_index()] if bfloat16
                        else kernels_of(flat))
        self.job.tiled = (bfloat16 or samples_zeros(variant)
                          or _runtime.products() == "tiles")
        self.is_packed = False
        self.is_unpacked = True
        self.workspace = allocate(self.kernels.training_workspace_bytes(&self.job))
        self.packed = allocate(self.kernels.packed_bytes(&self.job))
        self.job.workspace, self.job.packed = data_of(self.workspace), data_of(self.packed)

    cdef _view(self, X, sample_weight):
        """Let the job read the rows of a table, and their weights."""
        self.X, self.sample_weight = X, sample_weight
        self.job.rows = view_rows(X)
        self.job.sample_weight = <const double*> data_of(sample_weight)
        view_inputs(&self.job.inputs, &self.job.rows, self.variant)

    def read_from(self, cnp.ndarray X, sample_weight=None):
        """Read the rows of another table from now on, which has the width and type of the first."""
        check_width(X, self.job.model.n_features)
        if cnp.PyArray_TYPE(X) != cnp.PyArray_TYPE(self.X):
            raise TypeError(f"expected rows of {self.X.dtype}, got {X.dtype}")
        self._view(X, sample_weight)

    @property
    def n_steps(self):
        return self.job.n_steps

    @property
    def learning_rate(self):
        """The learning rate before the schedule's factor, which may be set between runs."""
        return self.job.hyper.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate):
        self.job.hyper.learning_rate = rate

    @property
    def rate(self):
        """The learning rate of the last step, with the schedule's factor; 0 before a step."""
        return self.job.rate

    @property
    def n_threads(self):
        """The number of threads, which may be set between runs to less than at the start."""
        return self.job.n_threads

    @n_threads.setter
    def n_threads(self, n):
        self.job.n_threads = min(n, self.most_threads)

    @property
    def schedule(self):
        """The index of the next step in the schedule, and the schedule's number of steps.

        They may be set between runs."""
        return self.job.schedule_step, self.job.schedule_steps

    @schedule.setter
    def schedule(self, place):
        self.job.schedule_step, self.job.schedule_steps = place

    @property
    def n_rows_done(self):
        """The number of rows that this trainer has trained on.

        It is right even after an interrupt that lost the result of `run`."""
        return self.job.n_rows_done

    @property
    def loss_sum(self):
        """The last result of `run`, which is right even after an interrupt that lost it."""
        return self.job.loss_sum

    def values(self):
        """Bring the given arrays up to date, and return (parameters, state, n_steps)."""
        if not self.is_unpacked:
            self.kernels.unpack(&self.job)
            self.is_unpacked = True
        return self.flat, self.state, self.job.n_steps

    def moving_parameters(self):
        """Return the parameters that steps go on from, which `values` has the average of."""
        self.values()
        return self.moving

    def reread(self):
        """Read the parameters and the state anew from their arrays, which may have been changed."""
        self.is_packed = False

    def restore(self, cnp.ndarray flat, cnp.ndarray state, n_steps):
        """Go back to earlier values."""
        self.flat[...], self.state[...], self.job.n_steps = flat, state, n_steps
        self.is_packed, self.is_unpacked = False, True

    def go_on_from(self, n_rows_done, loss_sum, rate):
        """Set the counters to those of a trainer that was interrupted."""
        self.job.n_rows_done, self.job.loss_sum, self.job.rate = n_rows_done, loss_sum, rate

    def advance(self, cnp.ndarray flat, cnp.ndarray state, n_steps, n_rows, loss_sum, rate, place,
                unused=None):
        """Set values and counters to those after n_rows more rows, which were trained on elsewhere.

        `place` is that of `schedule`, `unused` (k,) int64 what `variant.rows_unused` becomes."""
        self.restore(flat, state, n_steps)
        self.go_on_from(self.job.n_rows_done + n_rows, loss_sum, rate)
        self.job.schedule_step, self.job.schedule_steps = place
        if unused is not None:
            self.variant.rows_unused[...] = unused

    def step(self, const double[::1] gradient, double loss, int64_t n_rows, double loss_sum,
             unused=None):
        """Make one step with a gradient that was computed elsewhere; return (loss_sum, status).

        The gradient (n_parameters,) in the flat layout is that of `loss`, the mean loss of a batch
        of n_rows rows, batch_size at most, both without the penalty `alpha`. The step is the one
        that `run` makes with the gradient of such a batch: the solver's update with the schedule's
        rate, weight decay, and bounds of norms. `unused` (k,) int64 is what `variant.rows_unused`
        becomes. A loss that is not finite changes nothing, with the status NOT_FINITE; the caller
        looks at the gradient."""
        self.job.rows.order, self.job.rows.n_rows = NULL, n_rows
        self.job.given, self.job.given_loss = &gradient[0], loss
        self.job.given_unused = <const int64_t*> data_of(unused)
        self.job.loss_sum = loss_sum
        with nogil:
            if self.job.tiled and not self.is_packed:
                self.kernels.pack(&self.job)
            self.kernels.train(&self.job)
            self.is_packed, self.is_unpacked = self.job.tiled, not self.job.tiled
        self.job.given = NULL
        return self.job.loss_sum, self.job.status

    def run(self, const int64_t[::1] order, double loss_sum):
        """Train on these rows of X, batch_size at a time, and return (loss_sum, status).

        Each batch adds its loss times its number of rows to loss_sum. The status NOT_FINITE means
        that training stopped at a batch whose loss is not finite: the batch after the rows done. It
        has changed nothing."""
        self.job.rows.order = &order[0]
        self.job.rows.n_rows = order.shape[0]
        self.job.loss_sum = loss_sum
        self.job.inputs.first_sample = self.n_rows_seen + self.job.n_rows_done
        with nogil:
            if self.job.tiled and not self.is_packed:
                self.kernels.pack(&self.job)
            self.kernels.train(&self.job)
            self.is_packed, self.is_unpacked = self.job.tiled, not self.job.tiled
        if self.custom is not None:
            self.custom.reraise()
        return self.job.loss_sum, self.job.status


def loss_and_gradients(network, X, parameters, weight, domain, batch_size, n_threads,
                       variant, memory=None, head=None):
    """Return (loss, gradients, status): the weighted mean loss and its gradient.

    The gradient is float64, in the flat layout. weight (n,) float64 adds up to 1; None means 1/n.
    `parameters` has the `Parameters` of each layer. Noise has the counters from
    `variant.first_sample` on. The weights of a `head`, if there is one, add up to 1 too.
    `memory` is a dict that keeps the kernel's memory from one call of a thread to its next, which
    saves the time in which the operating system clears new memory; the gradient lies there too."""
    cdef training_job job
    cdef autoencoder_model upper[MOST_LAYERS]
    cdef autoencoder_model head_model
    cdef cnp.ndarray example = parameters[0].W
    cdef const autoencoder_kernels* kernels = kernels_of(example)
    memset(&job, 0, sizeof(job))
    check_width(X, network.n_features)
    memory = {} if memory is None else memory
    gradients = reused(memory, "gradients", 8 * network.n_parameters)
    gradients = gradients[:8 * network.n_parameters].view(np.float64)
    gradients[...] = 0
    _segments = view_network(&job, network, parameters, upper)  # the job points to their memory
    _head_segments = view_head(&job, head, &head_model)
    job.rows = view_rows(X, None, domain)
    cdef CustomOutputs custom = custom_outputs(network.output, example, &job.model)
    view_inputs(&job.inputs, &job.rows, variant)
    job.inputs.first_sample = variant.first_sample
    job.terms, job.rows_unused = terms_of(variant), <int64_t*> data_of(variant.rows_unused)
    job.batch_size, job.batch_entries = batch_size, batch_entries(X, batch_size)
    job.n_threads, job.gemm = n_threads, gemm_of(example)
    job.schedule_steps = 1
    job.sample_weight, job.gradients = <const double*> data_of(weight), <double*> data_of(gradients)
    job.tiled = _runtime.products() == "tiles"
    workspace = reused(memory, "workspace", kernels.training_workspace_bytes(&job))
    packed = reused(memory, "packed", kernels.packed_bytes(&job))
    job.workspace, job.packed = data_of(workspace), data_of(packed)
    with nogil:
        if job.tiled:
            kernels.pack(&job)
        kernels.train(&job)
    if custom is not None:
        custom.reraise()
    return job.loss_sum, gradients, job.status


cdef cnp.ndarray reused(dict memory, str name, int64_t n_bytes):
    """Return memory of n_bytes or more, that of an earlier call where it is large enough."""
    cdef cnp.ndarray kept = memory.get(name)
    if kept is None or cnp.PyArray_SIZE(kept) < n_bytes:
        memory[name] = kept = allocate(n_bytes)
    return kept


include "_ensemble.pxi"
include "_factored.pxi"


# ---- one pass ----


def one_pass(layer, rows, parameters, order, domain, int64_t block_rows, int n_threads,
             bint many_rows, *, bint from_codes=False, codes=None, reconstructions=None,
             row_losses=None, feature_losses=None, bint whole_losses=False, targets=None,
             variant=None):
    """Fill the output arrays that are given, and return the status.

    The pass encodes `rows` by a layer, or takes them as codes; `targets`, a pair (rows, order), is
    what losses compare with then. many_rows says that the rows are worth packing the weights for.
    With whole_losses, losses of distributions that have a base include it, without cancellation.
    Of `variant`, the fields on inputs apply: missing entries and noise."""
    cdef one_pass_job job
    cdef OutputSegments segments = output_segments(layer.output, layer.n_features)
    cdef const autoencoder_kernels* kernels = kernels_of(parameters.W)
    memset(&job, 0, sizeof(job))
    job.model = view_layer(layer, parameters, segments)
    check_width(rows, job.model.n_components if from_codes else job.model.n_features)
    job.rows = view_rows(rows, order, None if targets else domain)
    cdef CustomOutputs custom = custom_outputs(layer.output, parameters.W, &job.model)
    if targets:
        check_width(targets[0], job.model.n_features)
        job.targets = view_rows(targets[0], targets[1], domain)
    if variant is not None:
        view_inputs(&job.inputs, &job.targets if from_codes else &job.rows, variant)
        job.inputs.first_sample = variant.first_sample
    job.from_codes = from_codes
    job.block_rows = block_rows
    job.n_threads = n_threads
    job.gemm = gemm_of(parameters.W)
    job.products = (PRODUCTS_BLAS if _runtime.products() == "blas"
                    else PRODUCTS_TILES if many_rows
                    else PRODUCTS_FEW_ROWS)
    job.codes, job.reconstructions = data_of(codes), data_of(reconstructions)
    job.row_losses, job.feature_losses = <double*> data_of(row_losses), data_of(feature_losses)
    job.whole_losses = whole_losses
    workspace = allocate(kernels.one_pass_workspace_bytes(&job))
    job.workspace = data_of(workspace)
    with nogil:
        kernels.one_pass(&job)
    if custom is not None:
        custom.reraise()
    return job.status


def apply(str name, cnp.ndarray x, cnp.ndarray out, int n_threads):
    """out <- sigmoid or softplus of x, both contiguous and of one real type."""
    cdef const autoencoder_kernels* kernels = kernels_of(x)
    cdef void* source = data_of(x)
    cdef void* target = data_of(out)
    cdef int64_t n = cnp.PyArray_SIZE(x)
    cdef bint is_sigmoid = name == "sigmoid"
    with nogil:
        if is_sigmoid:
            kernels.sigmoid(source, target, n, n_threads)
        else:
            kernels.softplus(source, target, n, n_threads)
