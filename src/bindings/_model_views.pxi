# How kernels see the models, distributions and variants of Python: C structures over memory that
# the caller keeps. Text of _autoencoder.pyx.

from functools import lru_cache

from libc.stdint cimport int64_t, uint16_t

from _arrays cimport rows_view
from _autoencoder_kernels cimport (
    CORRUPTION_GAUSSIAN,
    CORRUPTION_MASKING,
    CORRUPTION_NONE,
    CORRUPTION_SALT_AND_PEPPER,
    autoencoder_model,
    code_terms,
    input_view,
    output_part,
    own_output,
)


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
        self.memory = np.empty(max(1, self.n_parts) * sizeof(output_part), np.uint8)
        for i, segment in enumerate(output):
            columns = (np.arange(n_features) if segment.columns is None
                       else np.asarray(segment.columns))
            self.columns[begin : begin + len(columns)] = columns
            self.part_of_column[columns] = i
            part = <output_part*> cnp.PyArray_DATA(self.memory) + <int> i
            part.output = OUTPUTS.index(segment.distribution)
            part.is_group = OUTPUT_TABLE[part.output]["is_group"]
            part.is_own = segment.own is not None
            self.has_own |= part.is_own
            part.learned, part.constant = segment.learned, segment.constant
            part.n_columns = len(columns)
            part.columns = <const int64_t*> cnp.PyArray_DATA(self.columns) + begin
            self.has_groups |= part.is_group or part.is_own
            begin += len(columns)

    cdef void fill(self, autoencoder_model* view):
        view.n_parts, view.has_groups, view.has_own = self.n_parts, self.has_groups, self.has_own
        view.own = NULL
        view.parts = <const output_part*> cnp.PyArray_DATA(self.memory)
        view.part_of_column = (NULL if self.n_parts == 1
                               else <uint16_t*> cnp.PyArray_DATA(self.part_of_column))


cdef class OwnOutputs:
    """The caller's distributions during a pass: what a kernel calls, with the GIL, and the
    exception that one of them raised.
    """

    cdef own_output view
    cdef tuple output
    cdef int kind
    cdef object error

    def __init__(self, output, cnp.ndarray example):
        self.output, self.kind = output, cnp.PyArray_TYPE(example)
        self.view.function, self.view.context = call_own_output, <void*> self

    cdef int call(self, int part, int64_t n, const void* eta, const void* x, void* result,
                  void* losses):
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


cdef int call_own_output(void* context, int part, int64_t n, const void* eta, const void* x,
                         void* result, void* losses) noexcept with gil:
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
    """The first layer; writes the others, fewer than MOST_LAYERS, to `upper`, and what the caller
    keeps to `parts`.
    """
    layers = model.layer_views(flat)
    for layer, part in layers:
        parts.append(output_parts(layer.output, layer.n_features))
    for i in range(1, len(layers)):
        upper[i - 1] = view_model(layers[i][0], layers[i][0].split(layers[i][1]), parts[i])
    return view_model(layers[0][0], layers[0][0].split(layers[0][1]), parts[0])


CORRUPTIONS = {"masking": CORRUPTION_MASKING, "salt_and_pepper": CORRUPTION_SALT_AND_PEPPER,
               "gaussian": CORRUPTION_GAUSSIAN}


cdef void view_inputs(input_view* inputs, rows_view* rows, variant):
    """What `variant` (aefast/_variants.py) asks of what enters the encoder; the caller keeps it and
    its arrays.
    """
    inputs.fill = data_of(variant.fill)
    rows.missing = variant.fill is not None
    inputs.corruption = CORRUPTIONS[variant.corruption] if variant.corruption else CORRUPTION_NONE
    inputs.corruption_level = variant.corruption_level
    inputs.low, inputs.high = data_of(variant.low), data_of(variant.high)
    inputs.seed, inputs.layer = variant.seed, variant.layer


cdef void view_terms(code_terms* terms, variant):
    """What it asks of codes."""
    terms.contraction = variant.contraction
    terms.penalty = list(PENALTIES).index(variant.penalty) if variant.penalty else 0
    terms.penalty_weight = variant.penalty_weight
    terms.penalty_parameter = variant.penalty_parameter
    terms.dropout = variant.dropout
    terms.revive, terms.dead_rows = variant.revive, variant.dead_rows
    terms.rows_unused = <int64_t*> data_of(variant.rows_unused)
