"""Orthogonal matching pursuit to a residual in float32, with float64 for rows that miss it."""

from functools import cached_property

import numpy as np

from aefast._base import arrays as check
from aefast._base import threads
from aefast._base.sparse_rows import dense_rows
from aefast._base.warnings import warn

# Bound on the rounding error of a residual's norm in float32, as a fraction of the row's norm.
ROUNDING = 32 * float(np.finfo(np.float32).eps)
# Fraction of ‖x‖² from which alpha is so large that a pursuit's own residual is accurate enough.
SAFE_ALPHA = 1e-4
# Residuals to which float64 pursues, as fractions of alpha, tried in turn until the residual of the
# code rounded to float32 is below alpha.
TARGETS = (0.9, 0.5, 0.0)


class ResidualPromise:
    """Check of float32 codes for ``‖x − h D‖² ≤ alpha``, and coding in float64 where it fails.

    A pursuit subtracts squares from ``‖x‖²`` to compute its residual, which float32 rounds to some
    1e-7 of ``‖x‖²``, and in float32 it cannot use atoms that are nearly linearly dependent.

    Parameters
    ----------
    atoms : ndarray (k, d) of float32
    settings : Settings
    weights : ndarray (k,) or None
    make_encoder : callable
    """

    def __init__(self, atoms, settings, weights, make_encoder):
        self.settings, self.weights, self.make_encoder = settings, weights, make_encoder
        self.atoms = np.ascontiguousarray(atoms, np.float64)
        self.encoders = {}
        self.n_rows, self.n_above = 0, 0

    def memory(self, rows):
        """Return a buffer for the rows' objectives, or None if `keep` does not need them."""
        rows = dense_rows(rows)
        norms2 = np.einsum("ij,ij->i", rows, rows, dtype=np.float32)
        if self.settings.alpha >= SAFE_ALPHA * float(norms2.max()):
            return None
        return np.empty(len(rows))

    @threads.with_same_bits
    def keep(self, rows, objectives, written):
        """Code rows whose residual is above alpha again, in float64.

        Parameters
        ----------
        rows : ndarray (n, d)
        objectives : ndarray (n,)
            Objectives of the rows as computed in float32, ``½ ‖x − h D‖²``.
        written : dict of ndarray
            Codes of the rows, in either form that `Encoder.code` writes; changed in place.
        """
        alpha, rows = self.settings.alpha, dense_rows(rows)
        self.n_rows += len(rows)
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
        places = np.flatnonzero(np.sqrt(2 * objectives) + ROUNDING * norms > np.sqrt(alpha))
        if not len(places):
            return
        X = rows[places].astype(np.float64)
        if self.span is not None:
            outside = np.square(X).sum(axis=1) - np.square(X @ self.span).sum(axis=1)
            reachable = outside < alpha  # no code is near enough to other rows
            places, X = places[reachable], X[reachable]
            if not len(places):
                return
        above = np.square(self._residuals(X, written, places)).sum(axis=1) > alpha
        for share in TARGETS:
            places, X = places[above], X[above]
            if not len(places):
                return
            self._code(X, share, written, places)
            above = np.square(self._residuals(X, written, places)).sum(axis=1) > alpha
        self.n_above += int(above.sum())

    @cached_property
    @threads.with_same_bits
    def span(self):
        """Orthonormal basis (d, r) of the atoms' span, or None if every row lies in it."""
        U, s, _ = np.linalg.svd(self.atoms.T, full_matrices=False)
        rank = int((s > s[0] * max(self.atoms.shape) * np.finfo(np.float64).eps).sum())
        return None if rank == len(U) else U[:, :rank]

    def warn(self):
        """Issue a ConvergenceWarning if float32 codes cannot reach alpha."""
        if not self.n_above:
            return
        from sklearn.exceptions import ConvergenceWarning

        warn(
            f"{self.n_above} of {self.n_rows} codes have a residual above alpha="
            f"{self.settings.alpha:g}, which the dictionary or float32 cannot reach: raise alpha, "
            "or pass float64",
            ConvergenceWarning,
        )

    def _code(self, X, share, written, places):
        """Replace codes written for X by those computed in float64, to a fraction of alpha."""
        if share not in self.encoders:
            settings = self.settings._replace(alpha=share * self.settings.alpha)
            self.encoders[share] = self.make_encoder(self.atoms, settings, self.weights, len(X))
        types = {
            name: np.float64 if name in ("codes", "values") else array.dtype
            for name, array in written.items()
        }
        again = {
            name: np.zeros((len(X), *array.shape[1:]), types[name])
            for name, array in written.items()
        }
        if self.encoders[share].code(X, check.ANYWHERE, **again):
            return
        for name, array in again.items():
            written[name][places] = array

    def _residuals(self, X, written, places):
        """Return ``x − h D`` of the written codes, in float64."""
        if "codes" in written:
            H = written["codes"][places].astype(np.float64)
        else:
            H = np.zeros((len(X), len(self.atoms)))
            used = np.arange(written["indices"].shape[1]) < written["counts"][places, None]
            row = np.nonzero(used)[0]
            H[row, written["indices"][places][used]] = written["values"][places][used]
        return X - H @ self.atoms
