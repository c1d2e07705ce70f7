"""Orthogonal matching pursuit to a residual, in float32: rows that end above it are coded again."""

from functools import cached_property

import numpy as np

from aefast._base import arrays as check
from aefast._base.warnings import warn

# of the norm of a row: rounding errors of its residual in float32, or more
ROUNDING = 32 * float(np.finfo(np.float32).eps)
# of ‖x‖²: an alpha from which on a pursuit's own residual is accurate enough
SAFE_ALPHA = 1e-4
# of alpha: residuals to which float64 pursues, so that codes rounded to float32 stay below alpha
TARGETS = (0.9, 0.5, 0.0)


class ResidualPromise:
    """Holds float32 codes to ``‖x − h D‖² ≤ alpha``.

    In float32 a pursuit knows its residual from a sum of squares that are taken away, to some 1e-7
    of ``‖x‖²``, and it cannot use atoms that nearly depend on each other.

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
        """Memory for the objectives of these rows, where `keep` must see them, else None."""
        norms2 = np.einsum("ij,ij->i", rows, rows, dtype=np.float32)
        if self.settings.alpha >= SAFE_ALPHA * float(norms2.max()):
            return None
        return np.empty(len(rows))

    def keep(self, rows, objectives, written):
        """Code rows again in float64 whose residual is above alpha.

        Parameters
        ----------
        rows : ndarray (n, d)
        objectives : ndarray (n,)
            Half their residuals as float32 has them, ``½ ‖x − h D‖²``.
        written : dict of ndarray
            Their codes, in either form that `Encoder.code` writes; changed in place.
        """
        alpha = self.settings.alpha
        self.n_rows += len(rows)
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
        places = np.flatnonzero(np.sqrt(2 * objectives) + ROUNDING * norms > np.sqrt(alpha))
        if not len(places):
            return
        X = rows[places].astype(np.float64)
        if self.span is not None:
            outside = np.square(X).sum(axis=1) - np.square(X @ self.span).sum(axis=1)
            reachable = outside < alpha  # of other rows no code is near enough
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
    def span(self):
        """An orthonormal basis (d, r) of the atoms' span; None if every row lies in it."""
        U, s, _ = np.linalg.svd(self.atoms.T, full_matrices=False)
        rank = int((s > s[0] * max(self.atoms.shape) * np.finfo(np.float64).eps).sum())
        return None if rank == len(U) else U[:, :rank]

    def warn(self):
        """A ConvergenceWarning where float32 codes cannot reach alpha."""
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
        """Codes of X in float64, to a share of alpha, in place of those written."""
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
        """``x − h D`` of codes as they stand, in float64."""
        if "codes" in written:
            H = written["codes"][places].astype(np.float64)
        else:
            H = np.zeros((len(X), len(self.atoms)))
            used = np.arange(written["indices"].shape[1]) < written["counts"][places, None]
            row = np.nonzero(used)[0]
            H[row, written["indices"][places][used]] = written["values"][places][used]
        return X - H @ self.atoms
