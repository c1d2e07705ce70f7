"""Types and memory layouts of tables that every kernel reads."""

import numpy as np

DTYPES = [np.float32, np.float64, np.uint8, np.bool_, np.int32]


def unaligned(X):
    buffer = np.empty(X.nbytes + 1, np.uint8)
    view = buffer[1:].view(X.dtype).reshape(X.shape)
    view[...] = X
    return view


def strided(X, rows, columns):
    """Return a copy of X as a strided view of a larger table.

    Rows and columns are |rows| and |columns| apart, in reverse order if the number is negative.
    """
    table = np.zeros((X.shape[0] * abs(rows), X.shape[1] * abs(columns)), X.dtype)
    view = table[::rows, ::columns]
    view[...] = X
    return view


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "every third row": lambda X: strided(X, 3, 1),
    "rows backwards": lambda X: strided(X, -1, 1),
    "every second column": lambda X: strided(X, 1, 2),
    "columns backwards": lambda X: strided(X, 1, -1),
    "unaligned": unaligned,
}
