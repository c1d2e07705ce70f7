"""Codes as estimators give them, and rows from codes."""

from abc import ABC, abstractmethod

import numpy as np
from scipy import sparse

from aefast._base import arrays as check
from aefast._base import threads
from aefast._base.errors import overflow_of_row
from aefast._base.float_range import all_finite
from aefast._base.given_results import GivenResults
from aefast._base.types import Reals, Table


def check_dense_output(out, output_format):
    """Raise ValueError for a given array that is to hold a sparse matrix."""
    if out is not None and output_format != "dense":
        raise ValueError(f"out needs output_format='dense', got {output_format!r}")


def with_split_sign(H):
    """Return the positive parts of codes (n, k), and beside them the negative ones: (n, 2 k)."""
    if sparse.issparse(H):
        return sparse.hstack([H.maximum(0), (-H).maximum(0)], format="csr")
    return np.hstack([np.maximum(H, 0), np.abs(np.minimum(H, 0))])


def _joined_signs(H, dtype):
    """Return the codes (n, k) of which H (n, 2 k) has the positive and the negative parts."""
    k = H.shape[1] // 2
    H = H.astype(dtype, copy=False)
    return H[:, :k] - H[:, k:]


class DecodesCodes(GivenResults, ABC):
    """Mixin of estimators with a dictionary: reconstructs rows from codes."""

    # Parameter that the estimator defines.
    split_sign: bool

    @abstractmethod
    def _dictionary(self):
        """Return D (k, d)."""

    def inverse_transform(self, H: Table) -> Reals:
        """Return the reconstruction ``X̂ = H D``.

        Parameters
        ----------
        H : array-like or sparse matrix (n_samples, n_components)
            With `split_sign` (n_samples, 2 n_components), as `transform` gives them.

        Returns
        -------
        X_hat : ndarray (n_samples, n_features)
        """
        D = self._dictionary()
        H = check.as_csr(H, "H") if hasattr(H, "tocsr") else check.as_rows(H, "H")
        width, what = (2 * len(D), "two") if self.split_sign else (len(D), "one")
        if H.shape[1] != width:
            raise ValueError(f"H must have {width} columns, {what} an atom, got shape {H.shape}")
        if isinstance(H, np.ndarray):
            check.check_finite(H, "H")
        D = D.astype(check.real_type(H.dtype, D.dtype), copy=False)
        with threads.same_bits(), np.errstate(over="ignore", invalid="ignore"):
            X = np.asarray((_joined_signs(H, D.dtype) if self.split_sign else H) @ D)
        if not all_finite(X):
            raise overflow_of_row("a result", X, X.dtype, H, "H")
        return X
