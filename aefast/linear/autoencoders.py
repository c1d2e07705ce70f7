"""Linear autoencoders in closed form: marginalised denoising, and recommendation of items."""

import warnings
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from aefast._base import arrays as check
from aefast._base import threads
from aefast._base.errors import table_name
from aefast._base.exchange import ToOnnx
from aefast._base.foreign_names import hints
from aefast._base.projection import project
from aefast._base.saving import COUNT, SIZE, Saved, Tensor
from aefast._base.types import Reals, Table
from aefast.linear import foreign_names
from aefast.linear.linear_model import StatisticsMixin, check_fitted

_THREADS = [None, Interval(Integral, 1, threads.MOST_THREADS, closed="both")]
_SCORES_AT_ONCE = 1 << 22  # largest number of scores that are sorted together


class _SquareMap(
    ToOnnx, StatisticsMixin, Saved, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Linear map from features to features, fitted to sufficient statistics."""

    # Names of the fitted arrays, without "_", and their numbers of dimensions.
    _tensors: dict[str, int] = {}

    def _saved_state(self):
        return {"n_features": self.n_features_in_, "n_samples_seen": int(self.n_samples_seen_)}

    def _saved_tensors(self):
        return {name: getattr(self, f"{name}_") for name in self._tensors}

    @classmethod
    def _state_checks(cls):
        return {"n_features": SIZE, "n_samples_seen": COUNT}

    @classmethod
    def _tensor_layout(cls, state):
        d = state["n_features"]
        return {name: Tensor((d,) * n_dims, "F64") for name, n_dims in cls._tensors.items()}

    def _restore(self, state, tensors):
        self.n_features_in_ = state["n_features"]
        self.n_samples_seen_ = state["n_samples_seen"]
        for name, tensor in tensors.items():
            setattr(self, f"{name}_", tensor)


def _solved(A, B, corruption):
    """Return A⁻¹ B for a positive definite A, which a small corruption may leave singular."""
    with warnings.catch_warnings():
        # 1 / condition below epsilon: no digit of the solution is known
        warnings.simplefilter("error", linalg.LinAlgWarning)
        try:
            return linalg.solve(A, B, assume_a="pos")
        except (linalg.LinAlgError, linalg.LinAlgWarning):
            raise ValueError(
                f"corruption = {corruption} is too small: the columns of X are dependent, and the "
                "equations singular to rounding"
            ) from None


class MarginalizedAutoencoder(_SquareMap):
    """Linear denoising autoencoder in closed form, with the corruption integrated out.

    The result is that of training on infinitely many corrupted copies of the rows. Corruption sets
    each entry to 0 with probability p. The map ``X̂ = X̃ Aᵀ + b`` that minimises
    ``E ‖x − x̃ Aᵀ − b‖²``, averaged over rows and corruptions, depends only on the mean μ and the
    covariance C (divided by n):

        ``Aᵀ = [(1 − p) C + p diag(E x²)]⁻¹ C``,   ``b = μ − (1 − p) μ Aᵀ``

    Parameters
    ----------
    corruption : float in (0, 1), default=0.5
        p, the probability that an entry is set to 0.
    activation : {"tanh", "identity"}, default="tanh"
        Activation applied to the output of `transform`. A deep autoencoder is a scikit-learn
        pipeline of several, each fitted to the output of the previous one.
    n_threads : int or None, default=None
        Number of threads, as for `Autoencoder`.

    Attributes
    ----------
    coef_ : ndarray (n_features, n_features)
        A, float64.
    intercept_ : ndarray (n_features,)
        b, float64.
    mean_ : ndarray (n_features,)
    n_samples_seen_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X has string column names.

    Notes
    -----
    Columns that are 0 in every row have zero weights.

    References
    ----------
    .. [1] Chen, Xu, Weinberger & Sha (2012), Marginalized denoising autoencoders for domain
       adaptation, eqs. 3 and 6.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from aefast import MarginalizedAutoencoder
    >>> X = load_digits().data / 16
    >>> MarginalizedAutoencoder(0.3).fit_transform(X).shape
    (1797, 64)
    """

    _parameter_constraints: dict = {
        "corruption": [Interval(Real, 0, 1, closed="neither")],
        "activation": [StrOptions({"tanh", "identity"})],
        "n_threads": _THREADS,
    }
    _file_format = "aefast marginalized autoencoder"
    _tensors = {"coef": 2, "intercept": 1, "mean": 1}

    @hints(foreign_names.MARGINALIZED_AUTOENCODER)
    def __init__(
        self, corruption: float = 0.5, *, activation: str = "tanh", n_threads: int | None = None
    ) -> None:
        self.corruption = corruption
        self.activation = activation
        self.n_threads = n_threads

    @threads.with_same_bits
    def _fit_statistics(self, statistics, name="X"):
        C, mean, p = statistics.covariance(), statistics.mean_, self.corruption
        with np.errstate(over="ignore"):
            squares = np.diagonal(C) + mean**2
        check_fitted(name, squares)
        lives = squares > 0
        A_T = np.zeros_like(C)
        if lives.any():
            scale = np.sqrt(squares[lives])
            kept = C[np.ix_(lives, lives)] / np.outer(scale, scale)
            solved = _solved((1 - p) * kept + p * np.eye(len(kept)), kept, p)
            A_T[np.ix_(lives, lives)] = solved * (scale / scale[:, None])
        intercept = mean - (1 - p) * mean @ A_T
        check_fitted(name, A_T, intercept)
        self.coef_, self.mean_ = np.ascontiguousarray(A_T.T), mean
        self.intercept_ = intercept
        self.n_samples_seen_ = statistics.n_samples_

    def reconstruct(self, X: Table) -> Reals:
        """Return the reconstructions ``X Aᵀ + b``.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            Clean or corrupted rows.

        Returns
        -------
        X_hat : ndarray (n_samples, n_features)
            float32 for float32, uint8 and bool input, float64 otherwise.
        """
        check_is_fitted(self)
        rows = check.estimator_table(self, X, reset=False)
        A_T = self.coef_.T
        with threads.same_bits():
            offset = self.intercept_ + self.coef_ @ self.mean_
        name = table_name(X, self)
        return project(rows, self.mean_, A_T, offset=offset, name=name, n_threads=self.n_threads)

    def transform(self, X: Table) -> Reals:
        """Return ``tanh(X Aᵀ + b)``, or ``X Aᵀ + b`` with activation="identity".

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)

        Returns
        -------
        H : ndarray (n_samples, n_features)
        """
        H = self.reconstruct(X)
        return np.tanh(H, out=H) if self.activation == "tanh" else H


class ItemAutoencoder(_SquareMap):
    """Linear autoencoder with a zero diagonal for implicit feedback (EASE).

    Each item is predicted from the other ones. Rows of X are users, columns are items, and entries
    are the strengths with which users chose items (0: not seen). The model minimises

        ``‖X − X B‖² + l2 ‖B‖²``   with ``diag(B) = 0``

    in closed form: ``P = (Xᵀ X + l2 I)⁻¹``, ``B_ij = −P_ij / P_jj`` off the diagonal.

    Parameters
    ----------
    l2 : float, default=100.0
        Weight of the penalty. Good values are of the order of the number of users that chose an
        item, and are best found by tuning.
    n_threads : int or None, default=None
        Number of threads, as for `Autoencoder`.

    Attributes
    ----------
    components_ : ndarray (n_features, n_features)
        B, float64, with a diagonal of 0.
    n_samples_seen_ : int
        Number of users.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of str
        Only where X has string column names.

    Notes
    -----
    A matrix of items by items is inverted: some 10 000 items take a minute or so and 2 GB.

    References
    ----------
    .. [1] Steck (2019), Embarrassingly shallow autoencoders for sparse data, eq. 8.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import ItemAutoencoder
    >>> X = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0]])
    >>> items, scores = ItemAutoencoder(l2=1.0).fit(X).recommend(X[3:], 1)
    >>> items.tolist()
    [[1]]
    """

    _parameter_constraints: dict = {
        "l2": [Interval(Real, 0, None, closed="neither")],
        "n_threads": _THREADS,
    }
    _file_format = "aefast item autoencoder"
    _tensors = {"components": 2}

    @hints(foreign_names.ITEM_AUTOENCODER)
    def __init__(self, l2: float = 100.0, *, n_threads: int | None = None) -> None:
        self.l2 = l2
        self.n_threads = n_threads

    def _can_fit(self, statistics):
        return True  # l2 makes a fit possible with few users; none at all are an error

    @threads.with_same_bits
    def _fit_statistics(self, statistics, name="X"):
        if not statistics.weight_sum_ > 0:
            raise ValueError(f"no users, or all weights are zero: {statistics!r}")
        gram = statistics.second_moments()
        gram[np.diag_indices_from(gram)] += self.l2
        inverse, info = linalg.lapack.dpotrf(gram, lower=True)
        if info == 0:
            inverse, info = linalg.lapack.dpotri(inverse, lower=True)
        if info != 0:
            raise ValueError(
                f"Xᵀ X + l2 I is singular to rounding: l2 = {self.l2} is too small for entries of "
                "this size"
            )
        P = np.tril(inverse)
        P += np.tril(P, -1).T
        B = -P / np.diagonal(P)
        check_fitted(name, B)
        np.fill_diagonal(B, 0.0)
        self.components_ = B
        self.n_samples_seen_ = statistics.n_samples_

    def transform(self, X: Table) -> Reals:
        """Return the scores ``X B``, which are greater for items that suit a user better.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)

        Returns
        -------
        scores : ndarray (n_samples, n_features)
            Dense. float32 for float32, uint8 and bool input, float64 otherwise.
        """
        check_is_fitted(self)
        return self._scores(check.estimator_table(self, X, reset=False))

    def recommend(
        self, user_rows: Table, n: int, *, exclude_seen: bool = True
    ) -> tuple[NDArray[np.int64], Reals]:
        """Return the items of highest score for each user.

        Parameters
        ----------
        user_rows : array-like or CSR matrix (n_samples, n_features)
            Rows of the users, who need not be among those of `fit`.
        n : int
            Number of items to recommend, from 1 to n_features.
        exclude_seen : bool, default=True
            Leave out items whose entry is not 0.

        Returns
        -------
        items : ndarray (n_samples, n) of int64
            Columns of X in the order of falling scores; of equal scores the smaller column comes
            first. −1 where a user has seen all other items.
        scores : ndarray (n_samples, n)
            Scores of the items; −inf where the item is −1.
        """
        check_is_fitted(self)
        n = check.as_integer(n, "n")
        if not 1 <= n <= self.n_features_in_:
            raise ValueError(
                f"n must be in [1, {self.n_features_in_}], the number of items, got {n}"
            )
        exclude_seen = check.as_flag(exclude_seen, "exclude_seen")
        table = check.estimator_table(self, user_rows, reset=False, name="user_rows")
        step = max(1, _SCORES_AT_ONCE // self.n_features_in_)
        parts = [
            self._best(table[first : first + step], n, exclude_seen)
            for first in range(0, table.shape[0], step)
        ]
        items, scores = zip(*parts, strict=True)
        return np.vstack(items), np.vstack(scores)

    def _best(self, rows, n, exclude_seen):
        scores = self._scores(rows)
        if exclude_seen:
            seen = rows.nonzero() if sparse.issparse(rows) else np.nonzero(rows)
            scores[seen] = -np.inf
        items = np.argsort(-scores, axis=1, kind="stable")[:, :n].astype(np.int64)
        best = np.take_along_axis(scores, items, axis=1)
        items[np.isneginf(best)] = -1
        return items, best

    def _scores(self, rows):
        B, name = self.components_, table_name(None, self)
        return project(rows, np.zeros(len(B)), B, name=name, n_threads=self.n_threads)
