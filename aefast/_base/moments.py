"""Sufficient statistics of linear Gaussian models: weighted count, sum and scatter of rows."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from aefast._base import arrays as check
from aefast._base import scalars, threads
from aefast._base.errors import table_name, too_large_error
from aefast._base.float_range import all_finite
from aefast._base.given_covariance import as_covariance, as_mean, as_number_of_rows
from aefast._base.reference_point import FAR, moved
from aefast._base.saving import COUNT, NUMBER, SIZE, Saved, Tensor, check_names
from aefast._base.streams import StreamedRows, opened
from aefast._base.types import Array, Table
from aefast._base.weighted_sums import sums_of_rows


class TooFewRowsError(ValueError):
    """Rows too few, too much alike or of too little weight for a fit; more rows may be added."""


class SufficientStatistics(Saved):
    """Weighted count, sum and scatter matrix of rows that are added, merged or removed.

    With weights ``w`` and a reference point ``r`` near the rows, the object stores ``W = Σ w``,
    ``s = Σ w (x − r)`` and ``S = Σ w (x − r)(x − r)ᵀ`` in float64, so that no digits are lost to a
    mean that is large beside the spread. All quantities that a linear Gaussian model
    (`ProbabilisticPCA`, `FactorAnalysis`, `Whitening`, `MarginalizedAutoencoder`) needs of complete
    data follow from these sums, in O(d²) memory for any number of rows.

    Parameters
    ----------
    n_features : int
        d, the number of columns.
    n_threads : int or None, default=None
        Number of threads, as for `Autoencoder`; results have the same bits for any number.

    Attributes
    ----------
    n_features_in_ : int
        d.
    n_samples_ : int
        Number of rows seen, including rows of weight 0.
    weight_sum_ : float
        Σ w; the number of rows where no weights were given.
    mean_ : ndarray (n_features,)
        Σ w x / Σ w, float64.
    scatter_ : ndarray (n_features, n_features)
        Σ w (x − mean)(x − mean)ᵀ, float64, symmetric.
    feature_names_in_ : ndarray of str
        Only after `from_covariance` of a table with string column names.

    Notes
    -----
    Rows of float32, uint8 and bool are multiplied in float32, in blocks of 128 whose sums are added
    in float64: errors are some 1e-7 of the variances. Other rows are multiplied in float64, and so
    are float32 rows whose squares underflow float32. Squares that underflow float64 are an error,
    or a warning where this happens in a few columns only. Each `update` shifts its rows by the mean
    of a sample of them; merging moves both sums to one reference point exactly, up to rounding.
    Sparse (CSR) rows whose columns have no large means are multiplied entry by entry in float64;
    other sparse rows are made dense, slice by slice.

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

    feature_names_in_: Array

    def __init__(self, n_features: int, *, n_threads: int | None = None) -> None:
        scalars.check_sizes(n_features=scalars.as_integer(n_features, "n_features"))
        threads.effective_n_threads(n_threads, 0)  # checks n_threads
        self.n_features_in_, self.n_threads = int(n_features), n_threads
        self.n_samples_, self.weight_sum_ = 0, 0.0
        # Machine epsilon of the least accurate products; files do not store it.
        self._eps = float(np.finfo(np.float64).eps)
        self._reference = np.zeros(self.n_features_in_)
        self._sums = np.zeros(self.n_features_in_)
        self._scatter = np.zeros((self.n_features_in_, self.n_features_in_))

    @classmethod
    def from_covariance(
        cls, C: ArrayLike, n: int, mean: ArrayLike = 0, ddof: float = 1
    ) -> "SufficientStatistics":
        """Return the statistics of rows of which the covariance or correlations are known.

        Parameters
        ----------
        C : array-like or DataFrame (n_features, n_features)
            Covariance or correlation matrix: symmetric, without negative eigenvalues. Column names
            are kept for the estimators that are fitted.
        n : int
            Number of rows.
        mean : float or array-like (n_features,), default=0
            Mean of the rows.
        ddof : float, default=1
            C is a sum of products divided by ``n − ddof``.

        Returns
        -------
        statistics : SufficientStatistics
            With ``weight_sum_ = n``; `covariance(ddof)` returns C, to rounding.
        """
        n = as_number_of_rows(n, ddof)
        C_ = as_covariance(C)
        made = cls(len(C_))
        with np.errstate(over="ignore"):
            scatter = C_ * (n - ddof)
        made._set(n, n, as_mean(mean, len(C_)), np.zeros(len(C_)), scatter)
        made._check_finite()
        names = check.feature_names(C)
        if names is not None:
            made.feature_names_in_ = names
        return made

    # ---- rows ----

    def update(self, X: Table, sample_weight: ArrayLike | None = None) -> Self:
        """Add rows.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
            Finite rows. Memory maps and streams are read slice by slice.
        sample_weight : array-like (n_samples,), optional
            Finite and not negative; default 1.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For entries that are not finite, a wrong number of columns or invalid weights. Nothing
            has been added then, nor after Ctrl-C.
        """
        return self._become(self + self._of_rows(X, sample_weight))

    def downdate(self, X: Table, sample_weight: ArrayLike | None = None) -> Self:
        """Remove rows that were added before, as the inverse of `update`.

        The result is accurate to the rounding of the larger sums.

        Parameters
        ----------
        X, sample_weight
            Rows and weights, as for `update`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If it can be seen that not all of the rows were added before. Nothing has been removed
            then.
        """
        return self._become(self - self._of_rows(X, sample_weight))

    def merge(self, other: "SufficientStatistics") -> Self:
        """Add the rows that another object has seen.

        Parameters
        ----------
        other : SufficientStatistics
            Statistics of the same number of features; they are not changed.

        Returns
        -------
        self
        """
        self._check_other(other)
        return self._become(self + other)

    def copy(self) -> "SufficientStatistics":
        """Return an independent copy."""
        made = SufficientStatistics(self.n_features_in_, n_threads=self.n_threads)
        made._set(
            self.n_samples_, self.weight_sum_, self._reference, self._sums, self._scatter.copy()
        )
        made._eps = self._eps
        if hasattr(self, "feature_names_in_"):
            made.feature_names_in_ = self.feature_names_in_
        return made

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
        return moved(self.weight_sum_, self._sums, self._scatter, self._sums / self.weight_sum_)[1]

    def _has_variance(self) -> bool:
        """Return whether rows of positive weight differ in some column.

        Raises ValueError if the sums of squares overflow.
        """
        if not self.weight_sum_ > 0:
            return False
        with np.errstate(over="ignore"):
            total = np.trace(self.scatter_)
        if not np.isfinite(total):
            raise too_large_error("the sums of squares of X", np.dtype(np.float64))
        return bool(total > 0)

    def _rounding(self, variance: Array) -> float:
        """Return the size of rounding errors in eigenvalues of the covariance matrix.

        Parameters
        ----------
        variance : ndarray
            The eigenvalues.
        """
        error = len(variance) * np.finfo(np.float64).eps * variance.max()
        if self._eps > np.finfo(np.float64).eps:
            # Each entry of the matrix has an error relative to its two columns' variances.
            error = max(error, self._eps * variance.sum())
        return float(error)

    def _rank(self, variance: Array) -> int:
        """Return the number of eigenvalues of the covariance that are larger than rounding.

        The eigenvalues may also be those of the correlation matrix.
        """
        return int((variance > self._rounding(variance)).sum())

    def _check_variance(self) -> None:
        """Raise TooFewRowsError, a ValueError, unless some column has a variance."""
        self._check_not_empty()
        if not self._has_variance():
            raise TooFewRowsError(
                "the rows have no variance: expected at least 2 different ones, got n_samples = "
                f"{self.n_samples_}"
            )

    def second_moments(self) -> NDArray[np.float64]:
        """Return ``Σ w x xᵀ`` (n_features, n_features), not centred, in float64.

        Raises
        ------
        ValueError
            If the sums overflow.
        """
        squares = moved(self.weight_sum_, self._sums, self._scatter, -self._reference)[1]
        if not all_finite(squares):
            raise too_large_error("the sums of squares of X", np.dtype(np.float64))
        return squares

    def covariance(self, ddof: int = 0) -> NDArray[np.float64]:
        """Return ``scatter_ / (weight_sum_ − ddof)``.

        Parameters
        ----------
        ddof : float, default=0
            With 0 the result is the maximum-likelihood estimate, with 1 the unbiased one where
            weights are counts.

        Returns
        -------
        covariance : ndarray (n_features, n_features)
        """
        scalars.check_number(ddof, "ddof")
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

    # ---- implementation ----

    def _check_not_empty(self) -> None:
        if not self.weight_sum_ > 0:
            raise TooFewRowsError(f"no rows yet, or all weights are zero: {self!r}")

    def _check_other(self, other: Any) -> None:
        if not isinstance(other, SufficientStatistics):
            raise TypeError(f"other must be SufficientStatistics, got {type(other).__name__}")
        if other.n_features_in_ != self.n_features_in_:
            raise ValueError(
                f"other: expected statistics of {self.n_features_in_} features, got "
                f"{other.n_features_in_}"
            )

    def _set(
        self, n_samples: int, weight_sum: float, reference: Array, sums: Array, scatter: Array
    ) -> None:
        self.n_samples_, self.weight_sum_ = n_samples, float(weight_sum)
        self._reference, self._sums, self._scatter = reference, sums, scatter

    def _become(self, other: "SufficientStatistics") -> Self:
        """Take the values of another object in one assignment, for interrupts and other threads."""
        self.__dict__ = vars(other) | {"n_threads": self.n_threads}
        return self

    def _combined(self, other: "SufficientStatistics", sign: int) -> "SufficientStatistics":
        """Return self ± other, with the reference point of the object of larger weight.

        The reference point becomes the mean where the mean has moved far away from it.
        """
        self._check_other(other)
        if self.weight_sum_ == 0 and sign > 0:
            (total := other.copy()).n_samples_ += self.n_samples_
            return total
        total = SufficientStatistics(self.n_features_in_, n_threads=self.n_threads)
        big, small = (self, other) if self.weight_sum_ >= other.weight_sum_ else (other, self)
        sums, scatter = moved(
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

    def _check_finite(self) -> None:
        """Raise a ValueError for sums that have overflowed in a merger or a move."""
        if not np.isfinite(self.weight_sum_):
            raise ValueError("the sum of sample_weight overflows float64: scale the weights down")
        if not (all_finite(self._sums) and all_finite(self._scatter)):
            raise too_large_error("the sums of squares of X", np.dtype(np.float64))

    def _follow_the_mean(self) -> None:
        """Make the mean the reference point where the two are far apart."""
        if not self.weight_sum_ > 0:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            offset = self._sums / self.weight_sum_
            variance = np.diagonal(self._scatter) / self.weight_sum_ - offset**2
            is_far = (offset**2 > FAR * np.maximum(variance, 0)).any() and offset.any()
        if is_far:
            reference = self._reference + offset
            delta = reference - self._reference  # the shift after rounding
            sums, scatter = moved(self.weight_sum_, self._sums, self._scatter, delta)
            self._reference, self._sums, self._scatter = reference, sums, scatter

    def _of_rows(self, X: Any, sample_weight: ArrayLike | None) -> "SufficientStatistics":
        """Return the statistics of these rows alone."""
        X = opened(X)
        name = table_name(X)
        X = check.as_table(X, name)
        n_columns = X.source.n_columns if isinstance(X, StreamedRows) else X.shape[1]
        if n_columns != self.n_features_in_:
            raise ValueError(f"X must have {self.n_features_in_} columns, got {n_columns} of them")
        return statistics_of(X, sample_weight, n_threads=self.n_threads, name=name)

    # ---- in a file ----

    _file_format = "aefast sufficient statistics"

    def _saved_parameters(self) -> dict[str, Any]:
        return {"n_features": self.n_features_in_, "n_threads": self.n_threads}

    @classmethod
    def _from_parameters(cls, parameters: dict[str, Any]) -> Self:
        check_names("constructor parameters", parameters, ("n_features", "n_threads"))
        n_features = scalars.as_integer(parameters["n_features"], "n_features")
        scalars.check_sizes(n_features=n_features)
        made = cls(1, n_threads=parameters["n_threads"])  # the arrays will be those of the file
        made.n_features_in_ = n_features
        return made

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
        if state["weight_sum"] > 0:
            with np.errstate(over="ignore", invalid="ignore"):
                offset = self._sums / self.weight_sum_
                largest = np.abs(self._scatter).max() / self.weight_sum_ + offset @ offset
                is_finite = np.isfinite(largest) and np.isfinite(self._reference + offset).all()
            if not is_finite:
                raise ValueError("its mean or its covariance overflows float64")


def statistics_of(
    rows: Any,
    sample_weight: ArrayLike | None,
    *,
    n_threads: int | None = None,
    name: str = "X",
    none_if_missing: bool = False,
    table: Any = None,
) -> Any:
    """Return `SufficientStatistics` of checked rows.

    Parameters
    ----------
    rows : ndarray, CSR matrix or StreamedRows (n, d)
    sample_weight : array-like (n,) or None
    n_threads : int or None
    name : str or TableName
        Name of the rows in errors.
    none_if_missing : bool
        Return None where an entry is NaN.
    table : ndarray or CSR matrix, optional
        Table that the rows were taken from: errors give the row of an entry in this table.

    Returns
    -------
    SufficientStatistics or None
    """
    if isinstance(rows, StreamedRows) and rows.source.reads_once:
        rows.refuse_weights(sample_weight)
        return _of_iterator(rows, n_threads, name)
    n, d = rows.shape
    statistics = SufficientStatistics(d, n_threads=n_threads)
    weight = check.as_row_weights(sample_weight, n)
    weight_sum = float(n if weight is None else weight.sum())
    if weight_sum == 0:
        statistics.n_samples_ = n
        return statistics
    found = sums_of_rows(
        rows,
        weight,
        weight_sum,
        n_threads=n_threads,
        name=name,
        none_if_missing=none_if_missing,
        table=table,
    )
    if found is None:
        return None
    statistics._set(n, weight_sum, found.reference.astype(np.float64), found.sums, found.scatter)
    if not sparse.issparse(rows):
        statistics._eps = float(np.finfo(found.reference.dtype).eps)
    return statistics


def _of_iterator(rows: StreamedRows, n_threads: int | None, name: str) -> SufficientStatistics:
    """Return the statistics of rows that come only once: the sum of those of their parts."""
    total = SufficientStatistics(rows.source.n_columns, n_threads=n_threads)
    for part in rows.parts():
        total = total + statistics_of(part.rows, None, n_threads=n_threads, name=name)
    return total
