# Functions on arrays that all extensions share: views of the user's table for kernels, and memory.

from libc.stdint cimport int64_t

cimport numpy as cnp


cdef extern from "kernels/base/rows_view.h":
    enum: ROWS_FLOAT32, ROWS_FLOAT64, ROWS_UINT8
    enum: STATUS_NOT_FINITE, STATUS_BAD_ROWS

    ctypedef struct rows_view:
        const char* data
        int64_t stride
        int64_t n_rows
        const int64_t* order
        int kind
        int checked
        double low
        double high
        const double* lows
        const double* highs
        int missing
        int clipped
        const double* shift
        const double* factor
        const int64_t* row_begin
        const void* indices
        int wide
        int absent_missing
        int keeps_zeros


cdef inline void* data_of(array):
    """Return the address of an array's entries, or NULL for None."""
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray> array)


cdef inline cnp.ndarray allocate(int64_t n_bytes):
    """Return memory for a kernel, an array of n_bytes or more.

    Debug builds poison gaps in it. It is never so small that NumPy would keep it in its cache of
    small blocks and use it for the next array."""
    cdef cnp.npy_intp size = max(n_bytes, 1 << 12)
    return cnp.PyArray_SimpleNew(1, &size, cnp.NPY_UINT8)


cdef inline int kind_of(cnp.ndarray X) except -1:
    """Return the ROWS_... kind of X's entries; TypeError for types that kernels do not read."""
    cdef int kind = cnp.PyArray_TYPE(X)
    if kind == cnp.NPY_FLOAT32:
        return ROWS_FLOAT32
    if kind == cnp.NPY_FLOAT64:
        return ROWS_FLOAT64
    if kind == cnp.NPY_UINT8 or kind == cnp.NPY_BOOL:
        return ROWS_UINT8
    raise TypeError(f"kernels read rows of float32, float64, uint8 or bool, got {X.dtype}")


cdef inline rows_view view_rows(X, order=None, domain=None) except *:
    """Return the view for kernels of X (n, d), an ndarray or `SparseRows`.

    Entries of a row of an ndarray are adjacent; the types float32, float64, uint8 and bool are
    supported, others raise TypeError. `order` has the indices of the rows to visit. `domain` is
    None or (low, high), the bounds of a check of all entries: numbers or float64 arrays (d,). The
    caller keeps all arrays alive."""
    cdef rows_view rows
    cdef cnp.ndarray data = X if isinstance(X, cnp.ndarray) else X.values
    rows.data, rows.kind = cnp.PyArray_BYTES(data), kind_of(data)
    rows.stride, rows.row_begin, rows.indices = 0, NULL, NULL
    rows.wide = rows.absent_missing = rows.keeps_zeros = False
    if X is data:
        rows.stride = cnp.PyArray_STRIDE(data, 0)
    else:
        rows.row_begin = <const int64_t*> data_of(X.row_begin)
        rows.indices, rows.wide = data_of(X.indices), X.indices.itemsize == 8
        rows.absent_missing, rows.keeps_zeros = X.absent_missing, not X.absent_missing
    rows.n_rows = len(X) if order is None else len(order)
    rows.order = <const int64_t*> data_of(order)
    rows.checked = domain is not None
    rows.low = rows.high = 0
    rows.lows = rows.highs = NULL
    rows.missing = rows.absent_missing
    rows.clipped = False
    rows.shift = rows.factor = NULL
    if domain is not None and isinstance(domain[0], cnp.ndarray):
        rows.lows = <const double*> data_of(domain[0])
        rows.highs = <const double*> data_of(domain[1])
    elif domain is not None:
        rows.low, rows.high = domain
    return rows


cdef inline int check_width(rows, int64_t width) except -1:
    """Raise ValueError unless rows (n, width) have as many columns as kernels will read.

    Callers have checked rows against an estimator, which another thread may have fitted anew."""
    if rows.shape[1] != width:
        raise ValueError(
            f"a model that reads rows of {width} columns got rows of {rows.shape[1]}: the "
            "estimator must not be fitted to other columns while it is used")
    return 0


cdef inline int check_size(cnp.ndarray array, int64_t size) except -1:
    """Raise ValueError unless an array has as many entries as kernels will read or write."""
    if cnp.PyArray_SIZE(array) != size:
        raise ValueError(
            f"a model with an array of {size} numbers got one of {array.size}: the estimator must "
            "not be fitted to other columns while it is used")
    return 0
