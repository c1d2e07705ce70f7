"""Linear autoencoder with a zero diagonal, in closed form or of low rank, to recommend items."""

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from aefast._base import arrays as check
from aefast._base import checkpoints, ranking, scalars, threads
from aefast._base.checkpoints import Checkpoint, interval_of
from aefast._base.errors import table_name
from aefast._base.exchange import ToOnnx
from aefast._base.foreign_names import hints
from aefast._base.moments import SufficientStatistics
from aefast._base.partitions import (
    fingerprint_of_partitions,
    set_features,
    statistics_of_partitions,
)
from aefast._base.recommending import Recommending
from aefast._base.replay import stages_of
from aefast._base.types import PathLike, Reals, Table
from aefast._base.warnings import warn
from aefast.linear import foreign_names, item_solvers, low_rank_items
from aefast.linear.item_model import ItemModel
from aefast.linear.linear_model import StatisticsMixin, check_fitted

KEPT_ITEMS = 2000  # largest number of items of which `fit` keeps the sums, for `partial_fit`
FLOAT64_ITEMS = 16384  # largest number of items with precision="auto" in float64: 2 GiB
FEW_ENTRIES = 0.1  # share of entries up to which dense rows are made sparse


def _is_full(estimator):
    return estimator.n_components is None


class ItemAutoencoder(
    Recommending,
    ItemModel,
    ToOnnx,
    StatisticsMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Linear autoencoder with a zero diagonal for implicit feedback (EASE, ELSA).

    Each item is predicted from the other ones. Rows of X are users, columns are items, and entries
    are the strengths with which users chose items (0: not seen). The model minimises

        ``Σ_u w_u ‖x_u − x_u B‖² + l2 ‖B‖²``   with ``diag(B) = 0``

    in closed form: ``P = (Xᵀ diag(w) X + l2 I)⁻¹``, ``B_ij = −P_ij / P_jj`` off the diagonal [1]_.
    The scores of `recommend` are rows of ``X B``.

    Parameters
    ----------
    l2 : float, default=100.0
        Weight of the penalty. Good values are of the order of the number of users that chose an
        item, and are best found by tuning. Not used with `n_components`.
    n_components : int or None, default=None
        Rank r of ``B = A Aᵀ − I`` with rows of A (n_features, r) of length 1, whose diagonal is 0
        too [2]_: for items so many that a matrix of items by items has no room. It minimises
        ``Σ_u w_u ‖x_u / ‖x_u‖ − x_u B / ‖x_u B‖‖²`` by `max_iter` iterations of L-BFGS over all
        users at once, from the leading singular vectors; an iteration costs two products of X with
        r columns and back. 128 to 1024 are usual.
    density : float in (0, 1) or None, default=None
        Share of the entries of B that are kept: the largest ones of each column, as many in each,
        which are then fitted again (the ridge regression of the item on these items). B is sparse;
        the fit itself still takes the matrix of items by items. Not used with `n_components`.
    precision : {"auto", "float32", "float64"}, default="auto"
        Type of B and of the computation of its inverse. "auto" is float64 up to 16 384 items, whose
        matrix takes 2 GiB, and float32 beyond. A warning tells where float32 has too few digits.
    item_feature_weight : float, default=1.0
        Weight of each row of `item_features` in `fit`, where a user counts 1 [3]_.
    max_iter : int, default=30
        Iterations of L-BFGS with `n_components`. Fewer are faster, and regularise.
    checkpoint : str, path-like or None, default=None
    checkpoint_every : int, "epoch" or str, default="10 min"
    resume : bool or "auto", default="auto"
        As for `Autoencoder`: with `n_components` `fit` goes on from this file after the process has
        ended, with the bits of a fit that has not been interrupted. Steps and epochs are
        iterations. The closed form has none, and is fitted anew.
    verbose : int, default=0
        Show a progress bar, and tell the memory of large matrices.
    n_threads : int or None, default=None
        Number of threads, as for `Autoencoder`; results have the same bits for any number.

    Attributes
    ----------
    components_ : ndarray (n_features, n_features)
        B, with a diagonal of 0; a CSR array with `density`. With `n_components`:
        Aᵀ (n_components, n_features), 0 for items that nobody chose.
    loss_curve_ : list of float
        With `n_components`, the mean loss of users after each iteration; empty otherwise.
    n_iter_ : int
        Number of iterations with `n_components`, 1 in closed form.
    n_samples_seen_ : int
        Number of users.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of str
        Only where X has string column names.

    Notes
    -----
    The closed form allocates one matrix of items by items, in which the Gram matrix of the sparse
    rows is summed, inverted and divided in place: 20 000 items take 3.2 GB in float64, half of it
    in float32. A MemoryError tells beforehand where there is less memory. Up to 2000 items the
    sums are kept besides, so that `partial_fit` can go on after `fit`; after more than that it can
    after another `partial_fit` only.

    References
    ----------
    .. [1] Steck (2019), Embarrassingly shallow autoencoders for sparse data, eq. 8.
    .. [2] Vančura, Alves, Kasalický & Kordík (2022), Scalable linear shallow autoencoder for
       collaborative filtering.
    .. [3] Jeunen, Van Balen & Goethals (2020), Closed-form models for collaborative filtering with
       side-information (CEASE).

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
        "n_components": [None, Interval(Integral, 1, scalars.LARGEST_SIZE, closed="both")],
        "density": [None, Interval(Real, 0, 1, closed="neither")],
        "precision": [StrOptions({"auto", "float32", "float64"})],
        "item_feature_weight": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        **checkpoints.CONSTRAINTS,
        "verbose": ["verbose"],
        "n_threads": [None, Interval(Integral, 1, threads.MOST_THREADS, closed="both")],
    }

    @hints(foreign_names.ITEM_AUTOENCODER)
    def __init__(
        self,
        l2: float = 100.0,
        *,
        n_components: int | None = None,
        density: float | None = None,
        precision: str = "auto",
        item_feature_weight: float = 1.0,
        max_iter: int = 30,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        verbose: int | bool = 0,
        n_threads: int | None = None,
    ) -> None:
        self.l2 = l2
        self.n_components = n_components
        self.density = density
        self.precision = precision
        self.item_feature_weight = item_feature_weight
        self.max_iter = max_iter
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.verbose = verbose
        self.n_threads = n_threads

    # ---- fit ----

    def fit(
        self,
        X: Table,
        y: object = None,
        sample_weight: ArrayLike | None = None,
        *,
        item_features: Table | None = None,
    ) -> Self:
        """Fit the model to the rows of users.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
        y : ignored
        sample_weight : array-like (n_samples,), optional
            Weights of the users, not negative.
        item_features : array-like or sparse matrix (n_features, n_tags), optional
            Properties of the items, such as genres: each column is one more row of X, of weight
            `item_feature_weight`.

        Returns
        -------
        self
        """
        self._validate_params()
        interval_of(self.checkpoint_every)
        self._check_parameters()
        checkpoint = Checkpoint.of(self)
        rows = check.estimator_table(self, X, reset=True)
        name = table_name(X)
        n_users, weight = rows.shape[0], check.as_row_weights(sample_weight, rows.shape[0])
        _check_weights(weight)
        made = self._apart()
        made._statistics = None
        if item_features is not None:
            rows, weight = self._with_features(rows, weight, item_features, name)
        if checkpoint is not None:  # item_features are rows by now
            checkpoint.identify(0, {"X": rows, "sample_weight": weight}, check.feature_names(X))
            checkpoint.confirm(column_sums=np.asarray(rows.sum(axis=0), np.float64).ravel())
        if self.n_components is not None:
            with stages_of(checkpoint):
                made._fit_low_rank(_as_sparse(rows, name), weight)
        elif rows.shape[1] <= KEPT_ITEMS or not _is_sparse(rows):
            statistics = self._statistics_of(rows, weight, name)
            made._fit_statistics(statistics, name)
            made._statistics = statistics if rows.shape[1] <= KEPT_ITEMS else None
        else:
            made._fit_gram(_as_sparse(rows, name), weight, name)
        if checkpoint is not None:
            checkpoint.end()
        made.n_samples_seen_ = n_users
        check.remember_features(made, X)
        return self._become(made)

    def _fit_partitions(self, partitions):
        self._validate_params()
        interval_of(self.checkpoint_every)
        self._check_parameters()
        checkpoint = Checkpoint.of(self)
        if checkpoint is not None:
            checkpoint.identify(0, {"X": fingerprint_of_partitions(partitions)}, partitions.columns)
        made = self._apart()
        made._statistics = None
        if self.n_components is not None:
            with stages_of(checkpoint):
                made._fit_low_rank_partitions(partitions)
        else:
            statistics = statistics_of_partitions(partitions, self.n_threads)
            made._fit_statistics(statistics)
            made._statistics = statistics if partitions.n_features <= KEPT_ITEMS else None
        if checkpoint is not None:
            checkpoint.end()
        made.n_samples_seen_ = sum(partitions.sizes)
        set_features(made, partitions)
        return self._become(made)

    @available_if(_is_full)
    def partial_fit(
        self, X: Table, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Add users, so that the estimator is fitted to all users so far.

        The sums of products are kept in float64 beside the model. Not with `n_components`.

        Parameters
        ----------
        X, y, sample_weight
            Rows and weights, as for `fit`.

        Returns
        -------
        self
        """
        self._check_parameters()
        return super().partial_fit(X, y, sample_weight)

    @available_if(_is_full)
    def fit_statistics(self, statistics: SufficientStatistics) -> Self:
        """Fit the model to the users that statistics have seen; the rows are not needed.

        Not with `n_components`.

        Parameters
        ----------
        statistics : SufficientStatistics
            Statistics of the rows. They are copied, and `partial_fit` can add to the copy.

        Returns
        -------
        self
        """
        self._check_parameters()
        return super().fit_statistics(statistics)

    def _check_parameters(self):
        if self.n_components is not None and self.density is not None:
            warn(
                f"density={self.density} has no use with n_components={self.n_components}, whose B "
                "is not sparse",
                UserWarning,
            )

    def _with_features(self, rows, weight, item_features, name):
        """Return rows and weights with the columns of `item_features` as further rows."""
        features = check.as_table(item_features, "item_features")
        if features.shape[0] != rows.shape[1]:
            raise ValueError(
                f"item_features must have a row for each of the {rows.shape[1]} items, got "
                f"shape {features.shape}"
            )
        X, Z = _as_sparse(rows, name), _as_sparse(features, "item_features")
        weight = np.ones(X.shape[0]) if weight is None else weight
        weight = np.concatenate([weight, np.full(Z.shape[1], float(self.item_feature_weight))])
        stacked = sparse.vstack([X, Z.T.tocsr().astype(X.dtype)], format="csr")
        return check.as_csr(stacked, name), weight

    def _type(self, n_items):
        if self.precision == "auto":
            return np.dtype(np.float64 if n_items <= FLOAT64_ITEMS else np.float32)
        return np.dtype(self.precision)

    def _can_fit(self, statistics):
        return True  # l2 makes a fit possible with few users; none at all are an error

    def _fit_statistics(self, statistics, name="X"):
        if not statistics.weight_sum_ > 0:
            raise ValueError(f"no users, or all weights are zero: {statistics!r}")
        dtype = self._type(statistics.n_features_in_)
        item_solvers.check_memory(statistics.n_features_in_, dtype, self.verbose)
        with threads.same_bits():
            G = statistics.second_moments()
        with np.errstate(over="ignore"):
            G = G.astype(dtype, copy=False)
        self._solve(G, name)
        self.n_samples_seen_ = statistics.n_samples_

    def _fit_gram(self, X, weight, name):
        dtype = self._type(X.shape[1])
        item_solvers.check_memory(X.shape[1], dtype, self.verbose)
        P = self._solve(item_solvers.gram(X, weight, dtype, self.n_threads), name)
        if dtype == np.float32 and self.density is None:
            error = item_solvers.error_of_equations(
                self.components_, P, X, weight, float(self.l2), self.n_threads
            )
            if error > item_solvers.ENOUGH:
                warn(
                    f"precision='float32' has too few digits for l2={self.l2}: the equations hold "
                    f"to {error:.1g} only; take precision='float64' or a larger l2",
                    RuntimeWarning,
                )

    def _solve(self, G, name):
        """Fit B to the upper triangle of the Gram matrix, in its memory; return diag(P)."""
        diagonal = np.diagonal(G).astype(np.float64) + float(self.l2)
        with np.errstate(over="ignore"):
            G[np.diag_indices_from(G)] = diagonal
        check_fitted(name, np.diagonal(G))
        if self.density is not None:
            item_solvers.mirror(G)
        if not item_solvers.invert(G, diagonal, self.n_threads, self.verbose):
            raise self._singular(G.dtype)
        P = None
        if self.density is None:
            P = item_solvers.divide(G)
            B = G
            check_fitted(name, B)
        else:
            d = len(G)
            n_kept = min(max(1, round(self.density * d)), d - 1)
            B = sparse.csc_array((d, d), dtype=G.dtype)
            if n_kept:
                B = item_solvers.sparse_columns(G, diagonal, n_kept, self.n_threads)
            if B is None:
                raise self._singular(G.dtype)
            B = B.tocsr()
            check_fitted(name, B.data)
        self.components_, self.loss_curve_ = B, []
        return P

    def _singular(self, dtype):
        advice = "" if dtype == np.float64 else "; precision='float64' has more digits"
        return ValueError(
            f"Xᵀ X + l2 I is singular to rounding: l2 = {self.l2} is too small for entries of "
            f"this size{advice}"
        )

    def _fit_low_rank(self, X, weight):
        self._set_factors(X.shape[1], low_rank_items.fit, X, weight)

    def _fit_low_rank_partitions(self, partitions):
        self._set_factors(partitions.n_features, low_rank_items.fit_partitions, partitions)

    def _set_factors(self, n_items, fit, *rows):
        assert self.n_components is not None
        low_rank_items.check_memory(n_items, int(self.n_components))
        options = {"n_threads": self.n_threads, "verbose": self.verbose}
        A, curve = fit(*rows, int(self.n_components), self.max_iter, **options)
        self.components_ = np.ascontiguousarray(A.T.astype(self._type(n_items)))
        self.loss_curve_ = curve

    # ---- results ----

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

    def similar_items(self, items: ArrayLike, n: int) -> tuple[NDArray[np.int64], Reals]:
        """Return the items that most resemble each item: row i of B, the largest entries first.

        They are what is recommended to a user who has chosen item i alone. With `n_components` the
        score is the cosine of the items' factors.

        Parameters
        ----------
        items : int or array-like of int (n_items,)
            Columns of X.
        n : int
            Number of similar items, from 1 to n_features.

        Returns
        -------
        similar : ndarray (n_items, n) of int64
            −1 where there are no more.
        scores : ndarray (n_items, n)
        """
        check_is_fitted(self)
        d = self.n_features_in_
        n = ranking.as_number_of_items(n, d)
        columns = np.atleast_1d(ranking.as_items(items, d, "items"))
        if columns.ndim != 1 or not len(columns):
            raise ValueError(f"items must be an integer or a list of them, got {columns.shape}")
        ones = np.ones(len(columns), self.components_.dtype)
        alone = sparse.csr_array((ones, columns, np.arange(len(columns) + 1)), (len(columns), d))
        return self._best(alone, n, True, None, table_name(None, self, name="items"))

    def explain(
        self, user_rows: Table, items: ArrayLike, n: int = 5
    ) -> tuple[NDArray[np.int64], Reals]:
        """Return which of a user's items contribute most to the scores of recommended ones.

        The score of item j is ``Σ_i x_i B_ij``: item i of the user contributes ``x_i B_ij``.

        Parameters
        ----------
        user_rows : array-like or CSR matrix (n_samples, n_features)
        items : array-like of int (n_samples, m)
            Items to explain, as `recommend` returns them: −1 has no contributions.
        n : int, default=5
            Number of contributions to each item, at most n_features.

        Returns
        -------
        seen : ndarray (n_samples, m, n) of int64
            Items of the user by falling contribution, −1 where there are no more.
        contributions : ndarray (n_samples, m, n)
            0 where there are no more.
        """
        check_is_fitted(self)
        n = min(scalars.as_integer(n, "n"), self.n_features_in_)
        n = ranking.as_number_of_items(n, self.n_features_in_)
        rows = ranking.user_table(self, user_rows, "user_rows")
        given = ranking.as_items(items, self.n_features_in_, "items", or_none=True)
        wanted = np.maximum(given, 0)
        if wanted.ndim != 2 or len(wanted) != rows.shape[0]:
            raise ValueError(
                f"items must have shape ({rows.shape[0]}, m), a row for each user, got "
                f"{wanted.shape}"
            )
        return self._contributions(rows, wanted, given == -1, n)


def _check_weights(weight):
    if weight is not None and not weight.sum() > 0:
        raise ValueError("no users: all weights are zero")


def _is_sparse(rows):
    """Return whether rows are sparse, or dense with so few entries that they had better be."""
    if sparse.issparse(rows):
        return True
    return np.count_nonzero(rows) <= FEW_ENTRIES * rows.size


def _as_sparse(rows: Any, name: str) -> Any:
    return rows if sparse.issparse(rows) else check.as_csr(sparse.csr_array(rows), name)
