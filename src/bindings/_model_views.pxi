# C structures that describe Python's networks, distributions and variants to kernels. They point to
# memory that the caller keeps alive. _autoencoder.pyx includes this file.

from functools import lru_cache

from libc.stdint cimport int64_t, uint16_t, uint64_t

from _arrays cimport rows_view
from _autoencoder_kernels cimport (
    CORRUPTION_DROPOUT,
    CORRUPTION_GAUSSIAN,
    CORRUPTION_MASKING,
    CORRUPTION_NONE,
    CORRUPTION_SALT_AND_PEPPER,
    N_PARAMETER_ARRAYS,
    autoencoder_model,
    code_terms,
    hyperparameters,
    input_view,
    output_segment,
    custom_output,
)


cdef extern from "kernels/base/float_mode.h":
    uint64_t float_mode_of_thread() noexcept nogil
    uint64_t float_mode_swap(uint64_t) noexcept nogil


cdef class OutputSegments:
    """The segments of an output in the form that kernels read."""

    cdef cnp.ndarray columns, segment_of_column
    cdef cnp.ndarray memory  # the output_segment structures
    cdef int n_segments, has_groups, has_custom

    def __init__(self, output, int64_t n_features):
        cdef output_segment* view
        cdef int64_t begin = 0
        self.n_segments, self.has_groups, self.has_custom = len(output), False, False
        self.columns = np.empty(n_features, np.int64)
        self.segment_of_column = np.zeros(n_features, np.uint16)
        self.memory = np.empty(max(1, self.n_segments) * sizeof(output_segment), np.uint8)
        for i, segment in enumerate(output):
            columns = (np.arange(n_features) if segment.columns is None
                       else np.asarray(segment.columns))
            self.columns[begin : begin + len(columns)] = columns
            self.segment_of_column[columns] = i
            view = <output_segment*> cnp.PyArray_DATA(self.memory) + <int> i
            view.output = OUTPUTS.index(segment.distribution)
            view.is_group, view.is_custom = segment.is_group, segment.custom is not None
            self.has_custom |= view.is_custom
            view.learned, view.constant = segment.learned, segment.constant
            view.n_columns = len(columns)
            view.columns = <const int64_t*> cnp.PyArray_DATA(self.columns) + begin
            self.has_groups |= view.is_group or view.is_custom
            begin += len(columns)

    cdef void fill(self, autoencoder_model* view):
        view.n_segments, view.has_groups = self.n_segments, self.has_groups
        view.has_custom = self.has_custom
        view.custom = NULL
        view.segments = <const output_segment*> cnp.PyArray_DATA(self.memory)
        view.segment_of_column = NULL
        if self.n_segments != 1:
            view.segment_of_column = <uint16_t*> cnp.PyArray_DATA(self.segment_of_column)


cdef class CustomOutputs:
    """Custom distributions during a pass: the function that a kernel calls, which takes the GIL.

    Whatever the mode of the kernel's threads, a distribution computes in the floating-point mode of
    the thread that made this object: that of the user's code. An exception that a distribution
    raises is kept until `reraise`."""

    cdef custom_output view
    cdef uint64_t users_mode
    cdef tuple output
    cdef int kind
    cdef object error

    def __init__(self, output, cnp.ndarray example):
        self.output, self.kind = output, cnp.PyArray_TYPE(example)
        self.view.function, self.view.context = call_custom_output, <void*> self
        self.users_mode = float_mode_of_thread()

    cdef int call(self, int segment, int64_t n, const void* eta, const void* x, void* result,
                  void* losses):
        cdef cnp.npy_intp shape[2]
        if self.error is not None:
            return 1
        custom = self.output[segment].custom
        shape[0], shape[1] = n, len(self.output[segment].columns)
        try:
            eta_array = cnp.PyArray_SimpleNewFromData(2, shape, self.kind, <void*> eta)
            result_array = cnp.PyArray_SimpleNewFromData(2, shape, self.kind, result)
            if x == NULL:
                result_array[...] = custom.mean(eta_array.copy())
            else:
                x_array = cnp.PyArray_SimpleNewFromData(2, shape, self.kind, <void*> x)
                losses_array = cnp.PyArray_SimpleNewFromData(2, shape, self.kind, losses)
                losses_array[...], result_array[...] = custom.loss(eta_array.copy(), x_array.copy())
        except BaseException as error:
            self.error = error
            return 1
        return 0

    def reraise(self):
        """Raise the exception that ended the pass, if there is one."""
        error, self.error = self.error, None
        if error is not None:
            raise error


cdef int call_custom_output(void* context, int segment, int64_t n, const void* eta, const void* x,
                            void* result, void* losses) noexcept with gil:
    cdef uint64_t mode = float_mode_swap((<CustomOutputs> context).users_mode)
    cdef int failed = (<CustomOutputs> context).call(segment, n, eta, x, result, losses)
    float_mode_swap(mode)
    return failed


cdef CustomOutputs custom_outputs(output, cnp.ndarray example, autoencoder_model* view):
    """Make the custom distributions of an output, or return None where there are none.

    The caller keeps the object as long as the view is used."""
    if not view.has_custom:
        return None
    cdef CustomOutputs custom = CustomOutputs(output, example)
    view.custom = &custom.view
    return custom


output_segments = lru_cache(maxsize=256)(OutputSegments)  # the keys are (output, n_features)


cdef autoencoder_model view_layer(layer, parameters, OutputSegments segments) except *:
    """Describe a layer. The caller keeps `segments` and the parameters as long as it is used."""
    cdef autoencoder_model view
    if parameters.W.shape != (layer.n_components, layer.n_features):
        raise ValueError(
            f"a layer of shape {(layer.n_components, layer.n_features)} got weights of shape "
            f"{parameters.W.shape}")
    view.n_features, view.n_components, view.tied = layer.n_features, layer.n_components, layer.tied
    view.activation, view.top_k = ACTIVATIONS.index(layer.activation), layer.top_k
    segments.fill(&view)
    view.W, view.V = data_of(parameters.W), data_of(parameters.V)
    view.b, view.c = data_of(parameters.b), data_of(parameters.c)
    view.theta, view.gain = data_of(parameters.theta), data_of(parameters.gain)
    view.rate_factors = NULL
    return view


cdef list view_network(training_job* job, network, parameters, autoencoder_model* upper):
    """Write the layers of a network and their parameters to the job, and return their segments.

    Layers above the first, fewer than MOST_LAYERS, are written to `upper`. The caller keeps the
    returned list, `upper` and the parameters as long as the job is used."""
    segments = [output_segments(layer.output, layer.n_features) for layer in network.layers]
    job.model = view_layer(network.layers[0], parameters[0], segments[0])
    job.upper, job.n_upper = upper, len(segments) - 1
    for i in range(1, len(segments)):
        upper[i - 1] = view_layer(network.layers[i], parameters[i], segments[i])
    return segments


cdef OutputSegments view_head(training_job* job, head, autoencoder_model* view):
    """Write a `Head` of aefast/networks/heads.py to the job, and return its segments.

    The caller keeps the head, the returned object and `view` as long as the job is used."""
    if head is None:
        return None
    cdef OutputSegments segments = output_segments(head.layer.output, head.layer.n_features)
    view[0] = view_layer(head.layer, head.parameters, segments)
    check_width(head.targets, head.layer.n_features)
    job.head, job.head_rows, job.head_alone = view, view_rows(head.targets), head.alone
    job.head_weight = <const double*> data_of(head.weight)
    return segments


cdef void set_rate_factors(training_job* job, autoencoder_model* upper, autoencoder_model* head,
                           cnp.ndarray factors):
    """Give each layer of a job its factors (N_PARAMETER_ARRAYS) of the learning rate.

    The factors of a head are those of one more layer."""
    cdef int i
    cdef const double* rows = <const double*> cnp.PyArray_DATA(factors)
    job.model.rate_factors = rows
    for i in range(job.n_upper):
        upper[i].rate_factors = rows + (i + 1) * N_PARAMETER_ARRAYS
    head.rate_factors = rows + (job.n_upper + 1) * N_PARAMETER_ARRAYS if job.head != NULL else NULL


CORRUPTIONS = {"masking": CORRUPTION_MASKING, "salt_and_pepper": CORRUPTION_SALT_AND_PEPPER,
               "gaussian": CORRUPTION_GAUSSIAN, "dropout": CORRUPTION_DROPOUT}


cdef void view_inputs(input_view* inputs, rows_view* rows, variant):
    """Describe rows and the encoder's inputs by a `Variant` of aefast/networks/variants.py.

    The caller keeps the variant and its arrays as long as the view is used."""
    inputs.fill = data_of(variant.fill)
    rows.missing = rows.absent_missing or variant.fill is not None
    rows.keeps_zeros = rows.row_begin != NULL and variant.keeps_zeros(rows.absent_missing)
    inputs.normed = variant.normed
    rows.clipped = variant.clips and rows.checked
    rows.shift = <const double*> data_of(variant.shift)
    rows.factor = <const double*> data_of(variant.factor)
    inputs.log_offset = data_of(variant.log_offset)
    inputs.log_centre = data_of(variant.log_centre)
    inputs.corruption = CORRUPTIONS[variant.corruption] if variant.corruption else CORRUPTION_NONE
    inputs.corruption_level = variant.corruption_level
    inputs.low, inputs.high = data_of(variant.low), data_of(variant.high)
    inputs.seed, inputs.layer = variant.seed, variant.layer


# Cython converts a dictionary to a structure of numbers, field by field, and ignores entries that
# name no field.


cdef code_terms terms_of(variant) except *:
    """Return the terms on codes of a `Variant`."""
    given = variant._asdict()
    given["penalty"] = PENALTY_NAMES.index(variant.penalty) if variant.penalty else 0
    return given


cdef hyperparameters view_hyperparameters(given) except *:
    """Return `Hyperparameters` (aefast/networks/training) with indices of tables for names."""
    fields = given._asdict()
    fields["solver"] = SOLVERS.index(given.solver)
    fields["learning_rate_schedule"] = SCHEDULES.index(given.learning_rate_schedule)
    return fields
