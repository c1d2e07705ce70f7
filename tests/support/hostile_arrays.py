"""Hypothesis strategies for tables, weights and sparse matrices that a user may pass by mistake."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from scipy import sparse

from support.layouts import LAYOUTS

DTYPES = [
    *("f4", "f8", "f2", ">f4", ">f8", "g"),
    *("u1", "i1", "?", "i4", ">i4", "i8", "u8"),
    *("O", "c8", "U8", "S4", "M8[s]", "m8[s]"),
]
USUAL_DTYPES = ["f4", "f8", "u1", "?"]  # the types that kernels read in place
POISONS = [
    *(np.nan, np.inf, -np.inf, -0.0, -1.0, 0.5, 2.0),
    *(1e-45, 5e-324, 1e-310, 1e-160, 1e-22),
    *(1e22, 3.4e38, 1e39, 1e154, 1e160, 1.7e308, -1.7e308),
]
SCALES = [1e-320, 1e-160, 1e-38, 1e-22, 1e-3, 1e3, 1e18, 1e37, 1e150, 1e300]


def _numbers(rng, kind, shape):
    """Usual numbers: what most tables hold, so that most calls reach the computation."""
    if kind == "uniform":
        return rng.random(shape)
    if kind == "normal":
        return rng.normal(size=shape)
    if kind == "counts":
        return rng.poisson(2.0, shape).astype(float)
    if kind == "constant":
        return np.full(shape, 0.75)
    if kind == "one-hot" and len(shape) == 2 and shape[1]:
        return np.eye(shape[1])[rng.integers(0, shape[1], shape[0])]
    return np.zeros(shape)


KINDS = ["uniform", "uniform", "normal", "counts", "one-hot", "constant", "zeros"]


@st.composite
def numbers(draw, shape, *, kinds=KINDS):
    """Float64 numbers of a shape, usual ones or scaled ones, some of them poisoned."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    values = np.asarray(_numbers(rng, draw(st.sampled_from(kinds)), shape))
    if draw(st.integers(0, 3)) == 0:
        with np.errstate(all="ignore"):
            values = np.asarray(values * draw(st.sampled_from(SCALES)))
    if values.size and draw(st.integers(0, 2)) == 0:
        for _ in range(draw(st.integers(1, 3))):
            values.flat[draw(st.integers(0, values.size - 1))] = draw(st.sampled_from(POISONS))
    return values


def cast(values, dtype):
    """Convert to any type, whatever that does to the numbers."""
    dtype = np.dtype(dtype)
    with np.errstate(all="ignore"):
        if dtype.kind in "Mm":
            return np.nan_to_num(values).astype("i4").astype(dtype)
        return values.astype(dtype)


@st.composite
def tables(draw, n_features, *, n_rows=None, usual=False):
    """Something that is passed for X: mostly a table of the right width.

    With `usual`, the type is one that kernels read in place, and the shape is right.
    """
    n = draw(st.integers(1, 14)) if n_rows is None else n_rows
    shape = (n, n_features)
    if not usual and draw(st.integers(0, 7)) == 0:
        wrong = [(0, n_features), (n, 0), (0, 0), (n,), (), (n, n_features, 1), (n, n_features + 1)]
        shape = draw(st.sampled_from(wrong))
    values = draw(numbers(shape))
    strange = not usual and draw(st.integers(0, 2)) == 0
    X = cast(values, draw(st.sampled_from(DTYPES if strange else USUAL_DTYPES)))
    if X.ndim == 2 and X.size and X.dtype != object and draw(st.booleans()):
        X = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](X)
    if X.ndim == 2 and X.size and draw(st.integers(0, 9)) == 0:
        X = np.broadcast_to(X[:1], X.shape)  # rows are 0 bytes apart
    if X.ndim and draw(st.booleans()):
        X.flags.writeable = False
    if usual:
        return X
    return wrapped(X, draw(st.sampled_from(WRAPPINGS)))


def _masked(X):
    return np.ma.array(X, mask=np.arange(X.size).reshape(X.shape) % 3 == 0)


def _frame(X):
    if X.ndim != 2:
        return X
    return pd.DataFrame(X.astype(X.dtype.newbyteorder("=")))


def _sparse(X):
    if X.ndim != 2 or X.dtype.kind not in "fiub" or X.dtype.itemsize not in (1, 4, 8):
        return X
    return sparse.csr_matrix(X.astype(X.dtype.newbyteorder("=")))


WRAPPERS = {
    "array": lambda X: X,
    "list": lambda X: X.tolist(),
    "masked": _masked,
    "frame": _frame,
    "csr": _sparse,
    "csc": lambda X: _sparse(X).tocsc() if sparse.issparse(_sparse(X)) else X,
    "ragged": lambda X: [*X.tolist(), [1.0]] if X.ndim else X,
    "objects": lambda X: [object()] * 3,
    "none": lambda X: None,
    "text": lambda X: "rows",
}
WRAPPINGS = ["array"] * 12 + ["csr"] * 3 + sorted(WRAPPERS)


def wrapped(X, wrapping):
    """Return the table in another form: a list, a frame, a masked array, a sparse matrix."""
    return WRAPPERS[wrapping](X)


def _set(array, place, value):
    array[place] = value


BREAKS = {  # what SciPy's constructor and load_npz let pass
    "column too large": lambda A: _set(A.indices, -1, A.shape[1]),
    "column huge": lambda A: _set(A.indices, 0, 2**31 - 1),
    "column negative": lambda A: _set(A.indices, 0, -1),
    "end past the entries": lambda A: _set(A.indptr, -1, A.nnz + 5),
    "end huge": lambda A: _set(A.indptr, -1, 2**31 - 1),
    "begin not 0": lambda A: _set(A.indptr, 0, 1),
    "begin negative": lambda A: _set(A.indptr, 0, -1),
    "offsets fall": lambda A: _set(A.indptr, len(A.indptr) // 2, A.nnz + 1),
    "fewer values": lambda A: setattr(A, "data", A.data[:-1]),
    "fewer columns": lambda A: setattr(A, "indices", A.indices[:-1]),
    "columns twice": lambda A: _set(A.indices, slice(None), A.indices[0]),
    "columns fall": lambda A: _set(A.indices, slice(None), A.indices[::-1].copy()),
    "NaN": lambda A: _set(A.data, -1, np.nan),
    "infinity": lambda A: _set(A.data, 0, np.inf),
    "huge": lambda A: _set(A.data, 0, 1e300),
}


@st.composite
def broken_csr(draw, n_features):
    """A float64 CSR matrix with one fault of BREAKS, and its name."""
    n = draw(st.integers(2, 9))
    dense = np.random.default_rng(draw(st.integers(0, 99))).random((n, n_features))
    dense[0, 0] = dense[-1, -1] = 1
    matrix = sparse.csr_matrix(np.where(dense > 0.5, dense, 0))
    fault = draw(st.sampled_from(sorted(BREAKS)))
    BREAKS[fault](matrix)
    return fault, matrix


def weights(n_rows):
    """Something that is passed for sample_weight."""
    strange = st.sampled_from(["text", -1.0, np.nan, 1.0, [[1.0]], [], object()])
    return st.none() | st.none() | numbers((n_rows,), kinds=["uniform", "constant"]) | strange
