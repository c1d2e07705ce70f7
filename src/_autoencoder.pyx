# cython: freethreading_compatible=True
"""Arrays in, one call without the GIL, status out. Callers (aefast/*.py) have validated everything: nothing is checked here.

A model is described by `Model` and `Parameters` of aefast/_model.py. X is an ndarray (n, d) of float32, float64, uint8 or bool whose columns are
adjacent. Parameters W, V (V is W when tied), b and c are C-contiguous and of one real type, in which everything is computed; `flat` arrays have their
layout [W | V unless tied | b | c]."""

from functools import lru_cache

import numpy as np

from aefast import _runtime

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport INT32_MAX, int64_t, uint16_t, uint64_t
from libc.string cimport memset
from numpy.random cimport bitgen_t

from _arrays cimport STATUS_BAD_ROWS, STATUS_NOT_FINITE, allocate, data_of, rows_view, view_rows
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


cdef extern from "kernels/autoencoder.h":
    ctypedef void gemm_function(int, int, int64_t, int64_t, int64_t, const void*, int64_t, const void*, int64_t, double, void*, int64_t) noexcept nogil

    enum: PRODUCTS_BLAS, PRODUCTS_TILES, PRODUCTS_FEW_ROWS

    enum: CORRUPTION_NONE, CORRUPTION_MASKING, CORRUPTION_SALT_AND_PEPPER, CORRUPTION_GAUSSIAN

    ctypedef struct output_part:
        int output
        int is_group
        int is_own
        int learned
        double constant
        int64_t n_columns
        const int64_t* columns

    ctypedef struct own_output:
        int (*function)(void*, int, int64_t, const void*, const void*, void*, void*) noexcept nogil
        void* context

    ctypedef struct autoencoder_model:
        int64_t n_features
        int64_t n_components
        int tied
        int activation
        int64_t top_k
        int n_parts
        int has_groups
        int has_own
        const output_part* parts
        own_output* own
        const uint16_t* part_of_column
        void* W
        void* V
        void* b
        void* c
        void* theta

    ctypedef struct input_view:
        const void* fill
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
        int64_t* rows_unused

    enum: MOST_LAYERS

    ctypedef struct training_job:
        autoencoder_model model
        const autoencoder_model* upper
        int n_upper
        rows_view rows
        int64_t batch_size
        const double* sample_weight
        input_view inputs
        code_terms terms
        int n_threads
        gemm_function* gemm
        void* workspace
        int tiled
        void* packed
        double* gradients
        int solver
        int nesterov
        double learning_rate
        double momentum
        double alpha
        double weight_decay
        double clip_norm
        double max_norm
        int schedule
        int64_t schedule_step
        int64_t schedule_steps
        void* state[2]
        int64_t n_steps
        double loss_sum
        int64_t n_rows_done
        int status

    ctypedef struct forward_job:
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
        int status

    ctypedef struct scan_job:
        rows_view rows
        int64_t n_features
        int n_threads
        const double* sample_weight
        double* column_sums
        double* column_weights
        double* column_low
        double* column_high
        int status

    ctypedef struct activation_info:
        const char* name
        double low
        double high
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
        void (*output_log_base)(int, int64_t, int64_t, const double*, double, double*) noexcept nogil
        void (*output_sample)(int, int64_t, int64_t, const double*, const double*, double, const double*, const generator*, double*) noexcept nogil
        int64_t (*training_workspace_bytes)(const training_job*) noexcept nogil
        int64_t (*packed_bytes)(const training_job*) noexcept nogil
        void (*pack)(training_job*) noexcept nogil
        void (*unpack)(training_job*) noexcept nogil
        void (*train)(training_job*) noexcept nogil
        int64_t (*forward_workspace_bytes)(const forward_job*) noexcept nogil
        void (*forward)(forward_job*) noexcept nogil
        void (*scan)(scan_job*) noexcept nogil
        void (*sigmoid)(const void*, void*, int64_t, int) noexcept nogil
        void (*softplus)(const void*, void*, int64_t, int) noexcept nogil

    const autoencoder_kernels* autoencoder_tables[][2]
    const autoencoder_kernels* autoencoder_bfloat16_tables[]


N_LAYERS_AT_MOST = MOST_LAYERS
NOT_FINITE = STATUS_NOT_FINITE
BAD_ROWS = STATUS_BAD_ROWS


cdef const autoencoder_kernels* kernels_of(cnp.ndarray array):
    """The kernels for this array's real type and the instruction set in use."""
    return autoencoder_tables[<int> _runtime.isa_index()][cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64]


cdef gemm_function* gemm_of(cnp.ndarray array):
    return gemm_f64 if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64 else gemm_f32


def is_plain(array, int n_dimensions):
    """Whether a kernel can read this just as it is: an ndarray (no subclass) with so many dimensions, none of them 0 or beyond 32 bits but the first,
    C-contiguous, aligned, in native order, of a type that kernels read."""
    if not cnp.PyArray_CheckExact(array):
        return False
    cdef cnp.ndarray a = array
    cdef int kind = cnp.PyArray_TYPE(a)
    if cnp.PyArray_NDIM(a) != n_dimensions or cnp.PyArray_SIZE(a) == 0 or not cnp.PyArray_CHKFLAGS(a, cnp.NPY_ARRAY_CARRAY_RO):
        return False
    if n_dimensions == 2 and cnp.PyArray_DIM(a, 1) > INT32_MAX:
        return False
    return (kind in (cnp.NPY_FLOAT32, cnp.NPY_FLOAT64, cnp.NPY_UINT8, cnp.NPY_BOOL)) and cnp.PyArray_ISNOTSWAPPED(a)


cdef class OutputParts:
    """The parts of an output as kernels read them: which columns have which distribution."""

    cdef cnp.ndarray columns, part_of_column
    cdef cnp.ndarray memory  # of the output_part structures
    cdef int n_parts, has_groups, has_own
    cdef own_output own

    def __init__(self, output, int64_t n_features):
        cdef output_part* part
        cdef int64_t begin = 0
        self.n_parts, self.has_groups, self.has_own = len(output), False, False
        self.columns = np.empty(n_features, np.int64)
        self.part_of_column = np.zeros(n_features, np.uint16)
        self.memory = np.empty(max(1, self.n_parts * sizeof(output_part)), np.uint8)
        for i, segment in enumerate(output):
            columns = np.arange(n_features) if segment.columns is None else np.asarray(segment.columns)
            self.columns[begin : begin + len(columns)] = columns
            self.part_of_column[columns] = i
            part = <output_part*> cnp.PyArray_DATA(self.memory) + <int> i
            part.output = OUTPUTS.index(segment.distribution)
            part.is_group, part.is_own = OUTPUT_TABLE[part.output]["is_group"], segment.own is not None
            self.has_own |= part.is_own
            part.learned, part.constant = segment.learned, segment.constant
            part.n_columns, part.columns = len(columns), <const int64_t*> cnp.PyArray_DATA(self.columns) + begin
            self.has_groups |= part.is_group or part.is_own
            begin += len(columns)

    cdef void fill(self, autoencoder_model* view):
        view.n_parts, view.has_groups, view.has_own = self.n_parts, self.has_groups, self.has_own
        view.own = NULL
        view.parts = <const output_part*> cnp.PyArray_DATA(self.memory)
        view.part_of_column = NULL if self.n_parts == 1 else <const uint16_t*> cnp.PyArray_DATA(self.part_of_column)


cdef class OwnOutputs:
    """The caller's distributions during a pass: what a kernel calls, with the GIL, and the exception that one of them raised."""

    cdef own_output view
    cdef tuple output
    cdef int kind
    cdef object error

    def __init__(self, output, cnp.ndarray example):
        self.output, self.kind = output, cnp.PyArray_TYPE(example)
        self.view.function, self.view.context = call_own_output, <void*> self

    cdef int call(self, int part, int64_t n, const void* eta, const void* x, void* result, void* losses):
        cdef cnp.npy_intp shape[2]
        if self.error is not None:
            return 1
        own = self.output[part].own
        shape[0], shape[1] = n, len(self.output[part].columns)
        try:
            eta_array = cnp.PyArray_SimpleNewFromData(2, shape, self.kind, <void*> eta)
            result_array = cnp.PyArray_SimpleNewFromData(2, shape, self.kind, result)
            if x == NULL:
                result_array[...] = own.mean(eta_array.copy())
            else:
                x_array = cnp.PyArray_SimpleNewFromData(2, shape, self.kind, <void*> x)
                losses_array = cnp.PyArray_SimpleNewFromData(2, shape, self.kind, losses)
                losses_array[...], result_array[...] = own.loss(eta_array.copy(), x_array.copy())
        except BaseException as error:
            self.error = error
            return 1
        return 0

    def reraise(self):
        """The exception that ended the pass, if one did."""
        error, self.error = self.error, None
        if error is not None:
            raise error


cdef int call_own_output(void* context, int part, int64_t n, const void* eta, const void* x, void* result, void* losses) noexcept with gil:
    return (<OwnOutputs> context).call(part, n, eta, x, result, losses)


cdef OwnOutputs own_outputs(model, cnp.ndarray example, autoencoder_model* view):
    """None where there are none. The caller keeps it as long as the view is used."""
    if not view.has_own:
        return None
    cdef OwnOutputs own = OwnOutputs(model.output, example)
    view.own = &own.view
    return own


output_parts = lru_cache(maxsize=256)(OutputParts)  # by (output, n_features)


cdef autoencoder_model view_model(model, parameters, OutputParts parts):
    """The caller keeps `parts` as long as the view is used."""
    cdef autoencoder_model view
    view.n_features, view.n_components, view.tied = model.n_features, model.n_components, model.tied
    view.activation, view.top_k = ACTIVATIONS.index(model.activation), model.top_k
    parts.fill(&view)
    view.W, view.V = data_of(parameters.W), data_of(parameters.V)
    view.b, view.c = data_of(parameters.b), data_of(parameters.c)
    view.theta = data_of(parameters.theta)
    return view


cdef autoencoder_model view_layers(model, flat, list parts, autoencoder_model* upper):
    """The first layer; writes the others, fewer than MOST_LAYERS, to `upper`, and what the caller keeps to `parts`."""
    layers = model.layer_views(flat)
    for layer, part in layers:
        parts.append(output_parts(layer.output, layer.n_features))
    for i in range(1, len(layers)):
        upper[i - 1] = view_model(layers[i][0], layers[i][0].split(layers[i][1]), parts[i])
    return view_model(layers[0][0], layers[0][0].split(layers[0][1]), parts[0])


CORRUPTIONS = {"masking": CORRUPTION_MASKING, "salt_and_pepper": CORRUPTION_SALT_AND_PEPPER, "gaussian": CORRUPTION_GAUSSIAN}


cdef void view_variant(training_job* job, variant):
    """What `variant` (aefast/_variants.py) asks for; the caller keeps it and its arrays."""
    job.inputs.fill = data_of(variant.fill)
    job.rows.missing = variant.fill is not None
    job.inputs.corruption = CORRUPTIONS[variant.corruption] if variant.corruption else CORRUPTION_NONE
    job.inputs.corruption_level = variant.corruption_level
    job.inputs.low, job.inputs.high = data_of(variant.low), data_of(variant.high)
    job.inputs.seed, job.inputs.layer = variant.seed, variant.layer
    job.terms.contraction = variant.contraction
    job.terms.penalty = list(PENALTIES).index(variant.penalty) if variant.penalty else 0
    job.terms.penalty_weight, job.terms.penalty_parameter = variant.penalty_weight, variant.penalty_parameter
    job.terms.dropout = variant.dropout
    job.terms.revive, job.terms.dead_rows = variant.revive, variant.dead_rows
    job.terms.rows_unused = <int64_t*> data_of(variant.rows_unused)


# ---- the tables, for Python's registries ----


def activation_table():
    """One dict for each activation of the hidden layer: name, low and high (the ends of what it gives), weight_scale (initial weights are uniform in ±weight_scale sqrt(6 / (d + k)))."""
    cdef activation_info info
    rows = []
    table = autoencoder_tables[0][1]
    for i in range(table.n_activations):
        table.activation_info(i, &info)
        rows.append({"name": info.name.decode(), "low": info.low, "high": info.high, "weight_scale": info.weight_scale})
    return rows


cdef text_or_none(const char* text):
    return None if text == NULL else text.decode()


def output_table():
    """One dict for each output distribution: name, link, domain (of x, in words), low and high (its ends), parameter (that each column has, or None), option
    (a constant, or None), default_option (None: the option fixes the parameter, which is learned otherwise), is_group (one distribution for all of its
    columns), row_total (what a group's entries add up to, or None) and has_base (whether what the loss leaves out depends on x)."""
    cdef output_info info
    rows = []
    table = autoencoder_tables[0][1]
    for i in range(table.n_outputs):
        table.output_info(i, &info)
        rows.append({"name": info.name.decode(), "link": info.link.decode(), "domain": info.domain.decode(), "low": info.low, "high": info.high,
                     "parameter": text_or_none(info.parameter), "option": text_or_none(info.option),
                     "default_option": None if info.default_option != info.default_option or not info.option else info.default_option,
                     "is_group": bool(info.is_group), "row_total": info.row_total or None, "has_base": bool(table.output_has_base(i))})
    return rows


def penalty_table():
    """One dict for each penalty on codes: name, parameter (that it has besides its weight, or None), low and high (between which that lies), of_unit_codes
    (codes must lie in (0, 1)) and of_means (a function of the mean codes of a batch)."""
    cdef penalty_info info
    rows = []
    table = autoencoder_tables[0][1]
    for i in range(table.n_penalties):
        table.penalty_info(i, &info)
        rows.append({"name": info.name.decode(), "parameter": text_or_none(info.parameter), "low": info.low, "high": info.high,
                     "of_unit_codes": bool(info.of_unit_codes), "of_means": bool(table.penalty_is_of_means(i))})
    return rows


def solver_table():
    """One dict for each solver: name, n_state (arrays of the parameters' size), only_with_momentum (none of them where momentum is 0)."""
    cdef solver_info info
    rows = []
    table = autoencoder_tables[0][1]
    for i in range(table.n_solvers):
        table.solver_info(i, &info)
        rows.append({"name": info.name.decode(), "n_state": info.n_state, "only_with_momentum": bool(info.only_with_momentum)})
    return rows


ACTIVATIONS = [row["name"] for row in activation_table()]
UNIT_ACTIVATIONS = [row["name"] for row in activation_table() if (row["low"], row["high"]) == (0, 1)]  # whose codes may be probabilities
OUTPUT_TABLE = output_table()
OUTPUTS = [row["name"] for row in OUTPUT_TABLE]  # the last is the caller's own
PENALTIES = {row["name"]: row for row in penalty_table()}
SOLVERS = [row["name"] for row in solver_table()]
SCHEDULES = [autoencoder_tables[0][1].schedule_name(i).decode() for i in range(autoencoder_tables[0][1].n_schedules)]


def output_link(output, means):
    """The pre-activations whose means are these (float64), kept off the ends of the domain."""
    cdef int index = OUTPUTS.index(output)
    return np.array([autoencoder_tables[0][1].output_link(index, mean) for mean in means])


def output_log_base(output, cnp.ndarray x, double constant):
    """What the losses of x (n, m) float64, contiguous, leave out: (n, m), or (n,) of a group; 0 where an entry is NaN."""
    cdef int index = OUTPUTS.index(output)
    cdef int64_t n = cnp.PyArray_DIM(x, 0), m = cnp.PyArray_DIM(x, 1)
    cdef const double* entries = <const double*> data_of(x)
    out = np.empty(n) if OUTPUT_TABLE[index]["is_group"] else np.empty((n, m))
    cdef double* to = <double*> data_of(out)
    with nogil:
        autoencoder_tables[0][1].output_log_base(index, n, m, entries, constant, to)
    return out


cdef int64_t draw_binomial(bitgen_t* bits, int64_t n, double p) noexcept nogil:
    cdef binomial_t scratch
    memset(&scratch, 0, sizeof(scratch))
    return random_binomial(bits, p, n, &scratch)


def output_sample(output, cnp.ndarray eta, theta, double constant, n_draws, random):
    """Draws x (n, m) from p(x | mu(eta)); all float64 and contiguous: eta (n, m), theta (m,) or None, n_draws (n,) of a multinomial, or None: one each.
    random: a numpy.random.Generator."""
    cdef int index = OUTPUTS.index(output)
    cdef int64_t n = cnp.PyArray_DIM(eta, 0), m = cnp.PyArray_DIM(eta, 1)
    cdef generator chance
    chance.bits = <bitgen_t*> PyCapsule_GetPointer(random.bit_generator.capsule, "BitGenerator")
    chance.uniform, chance.normal, chance.exponential = random_standard_uniform, random_standard_normal, random_standard_exponential
    chance.gamma, chance.poisson, chance.binomial = random_standard_gamma, random_poisson, draw_binomial
    cdef const double* etas = <const double*> data_of(eta)
    cdef const double* thetas = <const double*> data_of(theta)
    cdef const double* counts = <const double*> data_of(n_draws)
    x = np.empty((n, m))
    cdef double* to = <double*> data_of(x)
    with random.bit_generator.lock, nogil:
        autoencoder_tables[0][1].output_sample(index, n, m, etas, thetas, constant, counts, &chance, to)
    return x


# ---- training ----


cdef class Trainer:
    """The parameters, the optimizer's state, the counters and the workspace of one training, which owns them while it runs.

    `flat` parameters and `state` (n_state, n_parameters) are taken over and changed in place; `n_steps` counts updates, `n_rows_seen` rows trained on
    before. sample_weight (n,) float64 is by row of X, or None. `variant` is that of aefast/_variants.py. With bfloat16, which the
    instruction set in use must have, they are float32, and products multiply their operands rounded to bfloat16.
    """

    cdef training_job job
    cdef autoencoder_model upper[MOST_LAYERS]
    cdef const autoencoder_kernels* kernels
    cdef cnp.ndarray flat, state, X, workspace, packed
    cdef readonly object variant
    cdef object sample_weight
    cdef list parts
    cdef OwnOutputs own
    cdef int64_t n_rows_seen
    cdef bint is_packed, is_unpacked  # which of the two forms of the weights are up to date

    def __init__(self, model, cnp.ndarray X, cnp.ndarray flat, cnp.ndarray state, *, solver, batch_size, learning_rate,
                 momentum, nesterov, alpha, n_threads, n_steps, variant, n_rows_seen=0, sample_weight=None, bfloat16=False, weight_decay=0.0,
                 schedule="constant", schedule_step=0, schedule_steps=1, clip_norm=None, max_norm=None):
        memset(&self.job, 0, sizeof(self.job))
        self.X, self.flat, self.state = X, flat, state
        self.parts, self.variant, self.sample_weight = [], variant, sample_weight
        self.n_rows_seen = n_rows_seen
        self.job.model = view_layers(model, flat, self.parts, self.upper)
        self.job.upper, self.job.n_upper = self.upper, len(self.parts) - 1
        self.own = own_outputs(model.layer_views(flat)[0][0], flat, &self.job.model)
        self.job.rows = view_rows(X)
        self.job.sample_weight = <const double*> data_of(sample_weight)
        view_variant(&self.job, variant)
        self.job.batch_size = batch_size
        self.job.n_threads = n_threads
        self.job.gemm = gemm_of(flat)
        self.job.solver = SOLVERS.index(solver)
        self.job.learning_rate, self.job.momentum, self.job.nesterov, self.job.alpha = learning_rate, momentum, nesterov, alpha
        self.job.weight_decay, self.job.schedule = weight_decay, SCHEDULES.index(schedule)
        self.job.schedule_step, self.job.schedule_steps = schedule_step, schedule_steps
        self.job.clip_norm, self.job.max_norm = clip_norm or 0.0, max_norm or 0.0
        self.job.n_steps = n_steps
        for i in range(len(state)):
            self.job.state[i] = data_of(state[i])
        self.kernels = autoencoder_bfloat16_tables[<int> _runtime.isa_index()] if bfloat16 else kernels_of(flat)
        self.job.tiled, self.is_packed, self.is_unpacked = bfloat16 or _runtime.products() == "tiles", False, True
        self.workspace = allocate(self.kernels.training_workspace_bytes(&self.job))
        self.packed = allocate(self.kernels.packed_bytes(&self.job))
        self.job.workspace, self.job.packed = data_of(self.workspace), data_of(self.packed)

    @property
    def n_steps(self):
        return self.job.n_steps

    @property
    def learning_rate(self):
        """Before the schedule's factor; may be set between runs."""
        return self.job.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate):
        self.job.learning_rate = rate

    @property
    def n_rows_done(self):
        """Rows trained on since this trainer was made: right even where an interrupt swallowed what `run` returned."""
        return self.job.n_rows_done

    def values(self):
        """(parameters, state, n_steps): the arrays that were given, up to date."""
        if not self.is_unpacked:
            self.kernels.unpack(&self.job)
            self.is_unpacked = True
        return self.flat, self.state, self.job.n_steps

    def reread(self):
        """Somebody may have written to the arrays that `values` gave: they count from now on."""
        self.is_packed = False

    def restore(self, cnp.ndarray flat, cnp.ndarray state, n_steps):
        """Goes back to values kept earlier."""
        self.flat[...], self.state[...], self.job.n_steps = flat, state, n_steps
        self.is_packed, self.is_unpacked = False, True

    def run(self, const int64_t[::1] order, double loss_sum):
        """Trains on these rows, batch_size at a time. Returns (loss_sum plus, over rows, their batch's loss; status): status NOT_FINITE
        means that the batch after the rows done has a loss that is not finite; it changed nothing."""
        self.job.rows.order, self.job.rows.n_rows, self.job.loss_sum = &order[0], order.shape[0], loss_sum
        self.job.inputs.first_sample = self.n_rows_seen + self.job.n_rows_done
        with nogil:
            if self.job.tiled and not self.is_packed:
                self.kernels.pack(&self.job)
            self.kernels.train(&self.job)
            self.is_packed, self.is_unpacked = self.job.tiled, not self.job.tiled
        if self.own is not None:
            self.own.reraise()
        return self.job.loss_sum, self.job.status


def loss_and_gradients(model, cnp.ndarray X, parameters, weight, domain, batch_size, n_threads, variant):
    """Weighted mean loss and its gradient, float64 in the flat layout. weight (n,) float64 adds up to 1; None: 1/n. Noise is that of the first samples.
    parameters: `Parameters`, or a flat array of them.

    Returns (loss, gradients, status)."""
    cdef training_job job
    cdef autoencoder_model upper[MOST_LAYERS]
    cdef cnp.ndarray example = parameters if isinstance(parameters, np.ndarray) else parameters.W
    cdef const autoencoder_kernels* kernels = kernels_of(example)
    memset(&job, 0, sizeof(job))
    gradients, parts = np.zeros(model.n_parameters), []
    if example is parameters:
        job.model = view_layers(model, parameters, parts, upper)
        job.upper, job.n_upper = upper, len(parts) - 1
    else:
        parts.append(output_parts(model.output, model.n_features))
        job.model = view_model(model, parameters, parts[0])
    job.rows = view_rows(X, None, domain)
    cdef OwnOutputs own = own_outputs(model.layer_views(example)[0][0], example, &job.model)
    view_variant(&job, variant)
    job.batch_size, job.n_threads, job.gemm, job.schedule_steps = batch_size, n_threads, gemm_of(example), 1
    job.sample_weight, job.gradients = <const double*> data_of(weight), <double*> data_of(gradients)
    job.tiled = _runtime.products() == "tiles"
    workspace = allocate(kernels.training_workspace_bytes(&job))
    packed = allocate(kernels.packed_bytes(&job))
    job.workspace, job.packed = data_of(workspace), data_of(packed)
    with nogil:
        if job.tiled:
            kernels.pack(&job)
        kernels.train(&job)
    if own is not None:
        own.reraise()
    return job.loss_sum, gradients, job.status


# ---- one pass ----


def forward(model, cnp.ndarray rows, parameters, order, domain, int64_t block_rows, int n_threads, bint many_rows, *, bint from_codes=False, codes=None,
            reconstructions=None, row_losses=None, feature_losses=None, targets=None, variant=None):
    """Encodes rows (or starts from codes; for losses against `targets`, (rows, order), then) and fills the outputs that are given; many_rows are worth packing the weights for. Of `variant` it takes what
    becomes of inputs: missing entries, noise. Returns the status."""
    cdef forward_job job
    cdef training_job of_variant
    cdef OutputParts parts = output_parts(model.output, model.n_features)
    cdef const autoencoder_kernels* kernels = kernels_of(parameters.W)
    memset(&job, 0, sizeof(job))
    job.model, job.rows = view_model(model, parameters, parts), view_rows(rows, order, None if targets else domain)
    cdef OwnOutputs own = own_outputs(model, parameters.W, &job.model)
    if targets:
        job.targets = view_rows(targets[0], targets[1], domain)
    if variant is not None:
        memset(&of_variant, 0, sizeof(of_variant))
        view_variant(&of_variant, variant)
        job.inputs = of_variant.inputs
        job.rows.missing, job.targets.missing = of_variant.rows.missing and not from_codes, of_variant.rows.missing
        job.inputs.first_sample = variant.first_sample
    job.from_codes, job.block_rows, job.n_threads, job.gemm = from_codes, block_rows, n_threads, gemm_of(parameters.W)
    job.products = PRODUCTS_BLAS if _runtime.products() == "blas" else PRODUCTS_TILES if many_rows else PRODUCTS_FEW_ROWS
    job.codes, job.reconstructions = data_of(codes), data_of(reconstructions)
    job.row_losses, job.feature_losses = <double*> data_of(row_losses), data_of(feature_losses)
    workspace = allocate(kernels.forward_workspace_bytes(&job))
    job.workspace = data_of(workspace)
    with nogil:
        kernels.forward(&job)
    if own is not None:
        own.reraise()
    return job.status


def scan(cnp.ndarray X, order, domain, cnp.ndarray real_example, n_threads, cnp.ndarray sums, cnp.ndarray weights, *, bint missing=False,
         sample_weight=None, low=None, high=None):
    """Checks rows as they will be read with `real_example`'s type (NaN passes with `missing`), and adds each column's weighted entries to `sums` (d,)
    float64, their weights to `weights`; the least and greatest entries go to `low` and `high`. Returns the status."""
    cdef scan_job job
    cdef const autoencoder_kernels* kernels = kernels_of(real_example)
    job.rows, job.n_features, job.n_threads = view_rows(X, order, domain), cnp.PyArray_DIM(X, 1), n_threads
    job.rows.missing = missing
    job.sample_weight = <const double*> data_of(sample_weight)
    job.column_sums, job.column_weights = <double*> data_of(sums), <double*> data_of(weights)
    job.column_low, job.column_high = <double*> data_of(low), <double*> data_of(high)
    with nogil:
        kernels.scan(&job)
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
