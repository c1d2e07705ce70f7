"""What a table says to a linear Gaussian model: its weighted count, sum and scatter matrix."""

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from aefast._base import arrays as check
from aefast._base import sparse_rows, threads
from aefast._base._rows import BAD_ROWS
from aefast._base._statistics import Accumulator
from aefast._base.errors import bad_row_error, column_labels, table_name, too_large_error
from aefast._base.missing import is_incomplete
from aefast._base.passes import MappedRows, Pace, slices
from aefast._base.saving import COUNT, NUMBER, SIZE, Saved, Tensor, check_names
from aefast._base.types import Array, Table
from aefast._base.warnings import warn

SLICE_UNIT = 1024  # a multiple of the kernel's blocks and slabs: how rows are sliced changes no bit
SLICE_ENTRIES = 1 << 26  # at most
SAMPLE_ROWS = 256  # that tell where the rows lie,
SAMPLE_RUN = 8  # so many of them neighbours: each run costs a read of the disk
USUAL_EXPONENT = 60  # binary, of weights and variances that are computed with as they are
FAR = 16.0  # squared distance, in variances, from which the reference point follows the mean


class TooFewRowsError(ValueError):
    """The rows are so few, so much alike or of so little weight that nothing can be fitted to them;
    more may come.
    """


class SufficientStatistics(Saved):
    """Weighted count, sum and scatter matrix of rows, which stream, merge and can be taken away
    again.

    With weights ``w`` and a reference point ``r`` near the rows, it keeps ``W = Σ w``,
    ``s = Σ w (x − r)`` and ``S = Σ w (x − r)(x − r)ᵀ`` in float64: nothing is lost to a mean that
    is large beside the spread. Everything that a linear Gaussian model (`ProbabilisticPCA`,
    `FactorAnalysis`, `Whitening`, `MarginalizedAutoencoder`) needs of complete data follows from
    them, in O(d²) memory for any number of rows.

    Parameters
    ----------
    n_features : int
        d, the number of columns.
    n_threads : int or None, default=None
        As of `Autoencoder`; results are the same bits for any number.

    Attributes
    ----------
    n_features_in_ : int
        d.
    n_samples_ : int
        Rows seen, those of weight 0 included.
    weight_sum_ : float
        Σ w; the number of rows where no weights were given.
    mean_ : ndarray (n_features,)
        Σ w x / Σ w, float64.
    scatter_ : ndarray (n_features, n_features)
        Σ w (x − mean)(x − mean)ᵀ, float64, symmetric.

    Notes
    -----
    Rows of float32, uint8 and bool are multiplied in float32, in blocks of 128 whose sums are added
    in float64: relative errors of some 1e-7 of the variances. Other rows are multiplied in float64,
    and float32 ones whose squares underflow float32. Squares that underflow float64 are an error,
    or a warning where it is a few columns' alone.
    Each `update` shifts its rows by their own sampled mean; merging moves to one reference point
    exactly, up to rounding. Sparse (CSR) rows whose columns have no large means are multiplied
    entry by entry in float64, others are made dense, some rows at a time.

    References
    ----------
    .. [1] Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import SufficientStatistics
    >>> X = np.random.default_rng(0).normal(1e8, 1.0, (1000, 3))
    >>> stats = SufficientStatistics(3)
    >>> for chunk in np.array_split(X, 7):
    ...     stats = stats.update(chunk)
    >>> bool(np.allclose(stats.covariance(), np.cov(X.T, ddof=0), rtol=1e-12, atol=1e-12))
    True
    """

    def __init__(self, n_features: int, *, n_threads: int | None = None) -> None:
        check.check_sizes(n_features=check.as_integer(n_features, "n_features"))
        threads.effective_n_threads(n_threads, 0)  # refuses what is no number of threads
        self.n_features_in_, self.n_threads = int(n_features), n_threads
        self.n_samples_, self.weight_sum_ = 0, 0.0
        self._eps = float(np.finfo(np.float64).eps)  # of the coarsest rows; not kept in files
        self._reference = np.zeros(self.n_features_in_)
        self._sums = np.zeros(self.n_features_in_)
        self._scatter = np.zeros((self.n_features_in_, self.n_features_in_))

    # ---- rows ----

    def update(self, X: Table, sample_weight: ArrayLike | None = None) -> Self:
        """Adds rows.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Finite. Memory maps are read slice by slice.
        sample_weight : array-like (n_samples,), optional
            Finite and not negative; default 1.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For entries that are not finite, a wrong number of columns, bad weights. Nothing has
            been added then, nor after Ctrl-C.
        """
        return self._become(self + self._of_rows(X, sample_weight))

    def downdate(self, X: Table, sample_weight: ArrayLike | None = None) -> Self:
        """Takes rows away that were added before: the inverse of `update`, to the rounding of the
        larger sums.

        Parameters
        ----------
        X, sample_weight
            As for `update`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the rows were not all among those added, as far as that shows; nothing has been taken
            away then.
        """
        return self._become(self - self._of_rows(X, sample_weight))

    def merge(self, other: "SufficientStatistics") -> Self:
        """Adds the rows that another object has seen.

        Parameters
        ----------
        other : SufficientStatistics
            Of as many features; not changed.

        Returns
        -------
        self
        """
        self._check_other(other)
        return self._become(self + other)

    def copy(self) -> "SufficientStatistics":
        """An independent copy."""
        twin = SufficientStatistics(self.n_features_in_, n_threads=self.n_threads)
        twin._set(
            self.n_samples_, self.weight_sum_, self._reference, self._sums, self._scatter.copy()
        )
        twin._eps = self._eps
        return twin

    def __add__(self, other):
        if not isinstance(other, SufficientStatistics):
            return NotImplemented
        return self._combined(other, 1)

    def __sub__(self, other):
        if not isinstance(other, SufficientStatistics):
            return NotImplemented
        n, weight = self.n_samples_ - other.n_samples_, self.weight_sum_ - other.weight_sum_
        tolerance = 1e-9 * self.weight_sum_
        if n < 0 or weight < -tolerance or (n == 0 and weight > tolerance):
            raise ValueError(
                f"cannot take away {other.n_samples_} rows of weight {other.weight_sum_:g} from "
                f"{self.n_samples_} rows of weight {self.weight_sum_:g}"
            )
        if weight <= tolerance:
            empty = SufficientStatistics(self.n_features_in_, n_threads=self.n_threads)
            empty.n_samples_ = n
            return empty
        less = self._combined(other, -1)
        before = np.diagonal(self.scatter_).max() + np.diagonal(other.scatter_).max()
        if np.diagonal(less.scatter_).min() < -1e-6 * before:
            raise ValueError(
                "these rows were not all added before: a variance would become negative"
            )
        return less

    # ---- results ----

    @property
    def mean_(self) -> NDArray[np.float64]:
        self._check_not_empty()
        return self._reference + self._sums / self.weight_sum_

    @property
    def scatter_(self) -> NDArray[np.float64]:
        self._check_not_empty()
        return _moved(self.weight_sum_, self._sums, self._scatter, self._sums / self.weight_sum_)[1]

    def _rounding(self, variance):
        """The size of rounding errors in eigenvalues of the covariance matrix.

        Parameters
        ----------
        variance : ndarray
            The eigenvalues.
        """
        error = len(variance) * np.finfo(np.float64).eps * variance.max()
        if self._eps > np.finfo(np.float64).eps:  # of each entry, relative to both variances
            error = max(error, self._eps * variance.sum())
        return float(error)

    def _rank(self, variance):
        """How many eigenvalues of the covariance (or correlation) are more than rounding."""
        return int((variance > self._rounding(variance)).sum())

    def _check_variance(self) -> None:
        """TooFewRowsError, a ValueError, unless some column has a variance."""
        with np.errstate(over="ignore"):
            total = np.trace(self.scatter_)
        if not np.isfinite(total):
            raise too_large_error("the sums of squares of X", np.dtype(np.float64))
        if not total > 0:
            raise TooFewRowsError(
                "the rows have no variance: expected at least 2 different ones, got n_samples = "
                f"{self.n_samples_}"
            )

    def second_moments(self) -> NDArray[np.float64]:
        """Σ w x xᵀ (n_features, n_features), not centred; float64.

        Raises
        ------
        ValueError
            Where they overflow.
        """
        squares = _moved(self.weight_sum_, self._sums, self._scatter, -self._reference)[1]
        if not _all_finite(squares):
            raise too_large_error("the sums of squares of X", np.dtype(np.float64))
        return squares

    def covariance(self, ddof: int = 0) -> NDArray[np.float64]:
        """``scatter_ / (weight_sum_ − ddof)``.

        Parameters
        ----------
        ddof : float, default=0
            0: the maximum-likelihood estimate; 1: unbiased, where weights are counts.

        Returns
        -------
        covariance : ndarray (n_features, n_features)
        """
        self._check_not_empty()
        if not self.weight_sum_ > ddof:
            raise ValueError(
                f"ddof must be less than the sum of weights, {self.weight_sum_:g}, got {ddof}"
            )
        return self.scatter_ / (self.weight_sum_ - ddof)

    def __repr__(self):
        return (
            f"SufficientStatistics(n_features={self.n_features_in_}): {self.n_samples_:,} rows, "
            f"sum of weights {self.weight_sum_:g}"
        )

    def __sklearn_is_fitted__(self):
        return True

    # ---- how ----

    def _check_not_empty(self) -> None:
        if not self.weight_sum_ > 0:
            raise TooFewRowsError(f"no rows yet, or all weights are zero: {self!r}")

    def _check_other(self, other: Any) -> None:
        if not isinstance(other, SufficientStatistics):
            raise TypeError(f"expected SufficientStatistics, got {type(other).__name__}")
        if other.n_features_in_ != self.n_features_in_:
            raise ValueError(
                f"expected statistics of {self.n_features_in_} features, got {other.n_features_in_}"
            )

    def _set(self, n_samples, weight_sum, reference, sums, scatter):
        self.n_samples_, self.weight_sum_ = n_samples, float(weight_sum)
        self._reference, self._sums, self._scatter = reference, sums, scatter

    def _become(self, other):
        self._set(
            other.n_samples_, other.weight_sum_, other._reference, other._sums, other._scatter
        )
        self._eps = other._eps
        return self

    def _combined(self, other, sign):
        """self ± other about the reference point of the heavier one, or about the mean where that
        has moved far away.
        """
        self._check_other(other)
        if self.weight_sum_ == 0 and sign > 0:
            (total := other.copy()).n_samples_ += self.n_samples_
            return total
        total = SufficientStatistics(self.n_features_in_, n_threads=self.n_threads)
        big, small = (self, other) if self.weight_sum_ >= other.weight_sum_ else (other, self)
        sums, scatter = _moved(
            small.weight_sum_, small._sums, small._scatter, big._reference - small._reference
        )
        scale = 1 if small is self else sign
        with np.errstate(over="ignore", invalid="ignore"):
            scatter *= scale
            scatter += big._scatter if big is self or sign > 0 else -big._scatter
            sums = scale * sums + (1 if big is self else sign) * big._sums
        weight = self.weight_sum_ + sign * other.weight_sum_
        total._set(self.n_samples_ + sign * other.n_samples_, weight, big._reference, sums, scatter)
        total._eps = max(self._eps, other._eps)
        total._follow_the_mean()
        total._check_finite()
        return total

    def _check_finite(self):
        """ValueError for sums that have overflowed, in a merger or a move."""
        if not np.isfinite(self.weight_sum_):
            raise ValueError("the sum of sample_weight overflows float64: scale the weights down")
        if not (_all_finite(self._sums) and _all_finite(self._scatter)):
            raise too_large_error("the sums of squares of X", np.dtype(np.float64))

    def _follow_the_mean(self):
        if not self.weight_sum_ > 0:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            offset = self._sums / self.weight_sum_
            variance = np.diagonal(self._scatter) / self.weight_sum_ - offset**2
            is_far = (offset**2 > FAR * np.maximum(variance, 0)).any() and offset.any()
        if is_far:
            reference = self._reference + offset
            delta = reference - self._reference  # what the reference point moves by, after rounding
            sums, scatter = _moved(self.weight_sum_, self._sums, self._scatter, delta)
            self._reference, self._sums, self._scatter = reference, sums, scatter

    def _of_rows(self, X, sample_weight):
        """The statistics of these rows alone."""
        name = table_name(X)
        X = check.as_csr(X, name) if sparse.issparse(X) else check.as_rows(X, name)
        if X.shape[1] != self.n_features_in_:
            raise ValueError(f"X must have {self.n_features_in_} columns, got shape {X.shape}")
        return statistics_of(X, sample_weight, n_threads=self.n_threads, name=name)

    # ---- in a file ----

    _file_format = "aefast sufficient statistics"

    def _saved_parameters(self) -> dict[str, Any]:
        return {"n_features": self.n_features_in_, "n_threads": self.n_threads}

    @classmethod
    def _from_parameters(cls, parameters: dict[str, Any]) -> Self:
        check_names("constructor parameters", parameters, ("n_features", "n_threads"))
        return cls(parameters["n_features"], n_threads=parameters["n_threads"])

    def _check_restored(self) -> None:
        pass

    def _saved_state(self) -> dict[str, Any]:
        return {
            "n_features": self.n_features_in_,
            "n_samples": int(self.n_samples_),
            "weight_sum": self.weight_sum_,
        }

    def _saved_tensors(self) -> dict[str, Array]:
        return {"reference": self._reference, "sums": self._sums, "scatter": self._scatter}

    @classmethod
    def _state_checks(cls) -> dict[str, Any]:
        return {"n_features": SIZE, "n_samples": COUNT, "weight_sum": NUMBER}

    @classmethod
    def _tensor_layout(cls, state: dict[str, Any]) -> dict[str, Tensor]:
        d = state["n_features"]
        shapes = {"reference": (d,), "sums": (d,), "scatter": (d, d)}
        return {name: Tensor(shape, "F64") for name, shape in shapes.items()}

    def _restore(self, state: dict[str, Any], tensors: dict[str, Array]) -> None:
        if state["weight_sum"] < 0 or (state["n_samples"] == 0 and state["weight_sum"] > 0):
            raise ValueError("its sum of weights contradicts its number of rows")
        if state["n_features"] != self.n_features_in_:
            raise ValueError("its state and its parameters have other numbers of features")
        if not np.array_equal(tensors["scatter"], tensors["scatter"].T):
            raise ValueError("expected a symmetric scatter matrix")
        if state["weight_sum"] == 0 and (tensors["sums"].any() or tensors["scatter"].any()):
            raise ValueError("its sums are those of rows, but it has no rows of positive weight")
        self._set(state["n_samples"], state["weight_sum"], *tensors.values())


def statistics_of(
    rows: Any,
    sample_weight: ArrayLike | None,
    *,
    n_threads: int | None = None,
    name: str = "X",
    none_if_missing: bool = False,
    table: Any = None,
) -> Any:
    """`SufficientStatistics` of checked rows (an ndarray or CSR matrix).

    Parameters
    ----------
    rows : ndarray or CSR matrix (n, d)
    sample_weight : array-like (n,) or None
    n_threads : int or None
    name : str or TableName
        Of the rows, in errors.
    none_if_missing : bool
        Return None where an entry is NaN.
    table : ndarray or CSR matrix, optional
        Where the rows were picked from: errors look for an entry there, and give its row in it.

    Returns
    -------
    SufficientStatistics or None
    """
    n, d = rows.shape
    statistics = SufficientStatistics(d, n_threads=n_threads)
    weight = check.as_row_weights(sample_weight, n)
    weight_sum = float(n if weight is None else weight.sum())
    if weight_sum == 0:
        statistics.n_samples_ = n
        return statistics
    exponent = 0
    if weight is not None:
        weight, exponent = without_unit(weight)
    sums, scatter = np.zeros(d), np.zeros((d, d))
    if sparse.issparse(rows) and sparse_rows.has_small_means(rows, weight, FAR):
        reference, sample = np.zeros(d), None
        sparse_rows.add_scatter(rows, weight, sums, scatter, n_threads)
        lost = _lost_columns(rows, weight, _Sums(reference, sums, scatter), None)
    else:
        reference, sample = _sample_mean(rows, weight, check.real_type(rows.dtype))
        bad = _add_dense(rows, weight, reference, sums, scatter, n_threads)
        if bad is not None:
            whole, refused, first_row = rows, rows[bad], bad.start
            if table is not None:
                whole, refused, first_row = table, table, 0
            if none_if_missing and not sparse.issparse(whole) and is_incomplete(whole, name):
                return None
            raise _unusable(_dense(refused), reference, first_row, name)
        lost = _lost_columns(rows, weight, _Sums(reference, sums, scatter), sample)
        if len(lost) and reference.dtype == np.float32:  # products underflow: once more in double
            reference = _sample_mean(rows, weight, np.float64)[0]
            sums[:], scatter[:] = 0.0, 0.0
            _add_dense(rows, weight, reference, sums, scatter, n_threads)
            lost = _lost_columns(rows, weight, _Sums(reference, sums, scatter), sample)
    if not (_all_finite(sums) and _all_finite(scatter)):
        raise too_large_error(f"the squares of {name}", check.real_type(rows.dtype))
    if len(lost):
        _report_lost(lost, scatter, n, name)
    if exponent:
        sums, scatter = _in_units(weight_sum, sums, scatter, exponent)
    statistics._set(n, weight_sum, reference.astype(np.float64), sums, scatter)
    if not sparse.issparse(rows):
        statistics._eps = float(np.finfo(reference.dtype).eps)
    return statistics


def without_unit(weight: Array) -> tuple[Array, int]:
    """Weights divided by a power of 4 near the largest one, if that is far from 1, and the power's
    binary exponent.

    Products of their square roots then keep within the range of float32, and have the same bits.
    """
    exponent = math.frexp(weight.max())[1]
    if abs(exponent) <= USUAL_EXPONENT:
        return weight, 0
    exponent -= exponent % 2
    return np.ldexp(weight, -exponent), exponent


class _Sums(NamedTuple):
    """Sums about a reference point, in the unit of the weights that they were computed with."""

    reference: Array
    sums: Array
    scatter: Array


def _lost_columns(rows, weight, of, sample):
    """Columns that vary, and whose squares underflow the reference point's type: their mean is
    below the smallest normal number, where a product has few digits or none.

    A column whose differences are rounding of the reference point does not vary.

    Parameters
    ----------
    rows : ndarray or CSR matrix
    weight : ndarray or None
    of : _Sums
    sample : ndarray or None
        Some of the rows.
    """
    if weight is None and rows.dtype.kind in "bu":  # whole numbers
        return np.empty(0, np.int64)
    limits = np.finfo(of.reference.dtype)
    small = np.flatnonzero(np.diagonal(of.scatter) < rows.shape[0] * float(limits.tiny))
    if not len(small):
        return small
    total = rows.shape[0] if weight is None else weight.sum()
    level = np.maximum(np.abs(of.reference[small].astype(np.float64)), float(limits.tiny))
    rounding = SAMPLE_ROWS * np.finfo(np.float64).eps  # of the reference, a mean in float64
    varies = np.abs(of.sums[small]) > rounding * level * total
    if sample is not None:
        varies |= np.ptp(sample[:, small], axis=0) > 0
    return small[varies]


def _report_lost(lost, scatter, n, name):
    """ValueError where no column's squares are normal numbers, else a warning that names columns
    which are too small.
    """
    if not np.diagonal(scatter).max() >= n * np.finfo(np.float64).tiny:
        raise ValueError(f"the squares of {name} underflow float64: scale {name} up")
    shown = column_labels(name, lost[:10]) + (", ..." if len(lost) > 10 else "")
    warn(
        f"squares of column(s) {shown} of {name} underflow float64: their variances are not "
        "accurate. Scale these columns up",
        RuntimeWarning,
    )


def _in_units(weight_sum, sums, scatter, exponent):
    """Sums in the unit of the given weights."""
    with np.errstate(over="ignore"):
        sums, scatter = np.ldexp(sums, exponent), np.ldexp(scatter, exponent)
    tiny = np.finfo(np.float64).tiny
    if weight_sum < tiny or 0 < np.diagonal(scatter).max() < tiny:
        raise ValueError("sums of sample_weight underflow float64: scale the weights up")
    if not (_all_finite(sums) and _all_finite(scatter)):
        raise ValueError("sums of sample_weight overflow float64: scale the weights down")
    return sums, scatter


def _moved(weight, sums, scatter, delta):
    """Sums and scatter about r + delta, from those about r; the scatter is a new array.

    S' = S − u δᵀ − δ uᵀ with u = s − W δ / 2: exactly symmetric, because both terms are added
    first.
    """
    if not delta.any():
        return sums, scatter.copy()
    with np.errstate(over="ignore", invalid="ignore"):  # whoever keeps the sums checks them
        cross = np.outer(sums - (0.5 * weight) * delta, delta)
        return sums - weight * delta, scatter - (cross + cross.T)


def _all_finite(array):
    """Whether all entries are finite: from their sum, unless it overflows, without a temporary."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def _sample_mean(X, weight, dtype):
    """(The mean of some rows from all over X, of those that have weight, rounded to the type of the
    computation; these rows).
    """
    n = X.shape[0]
    if n <= SAMPLE_ROWS or weight is not None:
        places = np.arange(n) if weight is None else np.flatnonzero(weight)
        places = places[:: -(-len(places) // SAMPLE_ROWS)]
    else:
        runs = np.linspace(0, n - SAMPLE_RUN, SAMPLE_ROWS // SAMPLE_RUN).astype(np.int64)
        places = (runs[:, None] + np.arange(SAMPLE_RUN)).ravel()
    mapped = MappedRows.under(X)
    if mapped is not None:
        mapped.will_need((int(place), int(place) + 1) for place in places)
    rows = X[places]
    rows = _dense(rows)
    with np.errstate(all="ignore"):
        mean = rows.mean(axis=0, dtype=np.float64).astype(dtype)
    mean[~np.isfinite(mean)] = 0
    return mean, rows


def _dense(rows):
    return rows.toarray() if sparse.issparse(rows) else rows


def _add_dense(X, weight, reference, sums, scatter, n_threads):
    """Add the sums of rows about the reference point, slice after slice; each is made dense.

    Returns the slice, if there is one, in whose rows something is not finite: nothing is added
    then.
    """
    n, d = X.shape
    n_threads = threads.effective_n_threads(n_threads, float(n) * d * d)
    accumulator = Accumulator(reference, n_threads)
    for part in slices(n, Pace(SLICE_UNIT, most=SLICE_ENTRIES // d), X):
        rows = _dense(X[part])
        status = accumulator.add(rows, None if weight is None else weight[part])
        if status & BAD_ROWS:
            return part
    accumulator.finish(sums, scatter)
    return None


def _unusable(rows, reference, first_row, name):
    """The error for rows in which the kernel met something that is not finite."""
    dtype = reference.dtype
    if np.isfinite(rows.astype(dtype, copy=False)).all():
        return too_large_error(f"differences of rows of {name}", dtype)
    return bad_row_error(rows, name, check.ANYWHERE, dtype, first_row=first_row)
