"""Probabilistic principal component analysis."""

import warnings
from numbers import Integral, Real
from typing import cast

import numpy as np
from scipy import linalg
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions

from aefast._base import arrays as check
from aefast._base import checkpoints, gram, krylov, scalars, threads
from aefast._base.foreign_names import hints
from aefast._base.partitions import named
from aefast._base.saving import FLAG, NUMBER, Tensor
from aefast._base.types import PathLike, RandomState
from aefast._base.warnings import warn, warn_of_iterations
from aefast.linear import completed, foreign_names, observed, solvers
from aefast.linear.dimension import SMALLEST_NOISE
from aefast.linear.factor_model import FactorModel
from aefast.linear.number_of_components import CROSS_VALIDATED, NumberOfComponents
from aefast.linear.rotation import fixed_signs

# Tables with missing entries are fitted by EM over these alone where d is at most WIDEST_COMPLETED,
# or COMPLETED_RATIO times the number of components: an iteration takes d² k, otherwise d k².
WIDEST_COMPLETED = 64
COMPLETED_RATIO = 8
FEW = 4  # k eigenpairs are found without the others where they are fewer than this part of d


class ProbabilisticPCA(NumberOfComponents, FactorModel):
    """Probabilistic PCA: ``x = h W + μ + noise``, ``h ~ N(0, I)``, with isotropic noise.

    The noise has the variance σ² in every direction. The fit maximises ``Σ log p(x)``,
    ``x ~ N(μ, Wᵀ W + σ² I)``, with the factors h integrated out. On complete data the solution has
    a closed form and takes one pass over the rows: with the covariance ``C = U Λ Uᵀ`` (divided by
    n), ``W = (Λ_k − σ² I)^½ U_kᵀ``, and σ² is the mean of the d − k smallest eigenvalues. With
    missing entries the likelihood is maximised by EM over these entries, with the closed form as
    its M-step, or, for wide tables, by L-BFGS.

    Parameters
    ----------
    n_components : int, float in (0, 1), "mle", "cv", "cv-1se" or None, default=None
        k, the number of components. None: min(n_samples, n_features) − 1, at least 1, and at most
        the rank of the centred rows. A float: the fewest components with that share of the
        variance. "mle": Minka's estimate. "cv": the k of greatest held-out likelihood over 5 folds
        of the rows. On complete data 5 decompositions give the likelihoods of all k; where entries
        are missing, models are fitted for d − 1 and for each k that a bisection tries, which
        assumes that the likelihood rises with k and then falls. "cv-1se": the fewest components
        whose held-out likelihood is within one standard error of the best, which leaves out
        components that the folds cannot tell from noise (Breiman et al. 1984).
    svd_solver : {"auto", "covariance", "gram", "krylov"}, default="auto"
        "covariance": eigenvectors of the covariance from `SufficientStatistics`, which takes d²
        numbers. "gram": eigenvectors of the n × n products of rows with rows, for fewer rows than
        columns. "krylov": block Lanczos on products with X, for an int k, which takes a few passes
        over X and O((n + d) k) memory; where entries are missing, iterations start from its result.
        "auto": the covariance unless another solver takes at most half of its multiply-adds and
        these are many, or there are 5000 features; shapes, k and the number of stored entries
        decide. Only a fit from the covariance can go on by `partial_fit`.
    tol : float, default=1e-6
        Tolerance of the iterations. With missing entries they end when the mean log-likelihood
        rises by less than a thousandth of tol and than 1e-11, relative to its magnitude. Lanczos
        ends when every component's residual satisfies ``‖C v − λ v‖² ≤ tol λ²``, where tol bounds
        the relative error of the variance λ.
    max_iter : int, default=1000
        Largest number of iterations.
    random_state : int, RandomState instance or None, default=0
        Source of the Lanczos method's random starting vectors.
    checkpoint : str, path-like or None, default=None
    checkpoint_every : int, "epoch" or str, default="10 min"
    resume : bool or "auto", default="auto"
        As for `Autoencoder`: `fit` goes on from this file after the process has ended, with the
        bits of a fit that has not been interrupted. Steps and epochs are iterations, with
        missing entries or of Lanczos. The other solvers have none, and rows are fitted to anew.
    n_threads : int or None, default=None
        Number of threads, as for `Autoencoder`.
    verbose : int, default=0
        1: show the iterations of solvers.

    Attributes
    ----------
    components_ : ndarray (n_components, n_features)
        W; float64, as all attributes. The rows of W are orthogonal, and not of norm 1. In each row
        the entry of largest magnitude is positive, as in the components of scikit-learn's PCA
        (``svd_flip(U, Vt, u_based_decision=False)``).
    n_components_ : int
        k.
    mean_ : ndarray (n_features,)
    noise_variance_ : float
        σ².
    explained_variance_ : ndarray (n_components,)
        Λ_k, the variance of the rows along each component, noise included. It is divided by n, as
        the likelihood is; scikit-learn's PCA divides by n − 1.
    singular_values_ : ndarray (n_components,)
        Singular values of the centred rows, ``(n Λ_k)^½``: those of scikit-learn's PCA. n is the
        sum of weights.
    explained_variance_ratio_ : ndarray (n_components,)
        `explained_variance_` divided by the total variance.
    n_samples_seen_ : int
    n_iter_ : int
        Number of iterations of EM or of the Lanczos method; 1 in closed form.
    log_likelihood_curve_ : list of float
        Mean log-likelihood (nats) of the training rows: one value in closed form, one per iteration
        of EM.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X has string column names.

    Notes
    -----
    ``inverse_transform(transform(X))`` shrinks towards the mean, by ``1 − σ²/λ`` along a component,
    because the posterior mean allows for noise; the projection of PCA does not shrink. Where the
    rows span fewer directions than there are components, σ² is bounded below by 1e-10 of the mean
    variance, and a warning is issued. `partial_fit` and `fit_statistics` need complete data and
    `svd_solver` other than "krylov".

    References
    ----------
    .. [1] Tipping & Bishop (1999), Probabilistic principal component analysis, eqs. 7 and 8.
    .. [2] Minka (2000), Automatic choice of dimensionality for PCA, eq. 30.
    .. [3] Breiman, Friedman, Olshen & Stone (1984), Classification and regression trees, §3.4.3.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from aefast import ProbabilisticPCA
    >>> X = load_digits().data
    >>> model = ProbabilisticPCA(10).fit(X)
    >>> model.sample(3, random_state=0).shape
    (3, 64)
    """

    _parameter_constraints: dict = {
        "n_components": [
            None,
            Interval(Integral, 1, scalars.LARGEST_SIZE, closed="both"),
            Interval(Real, 0, 1, closed="neither"),
            StrOptions({"mle", *CROSS_VALIDATED}),
        ],
        "svd_solver": [StrOptions({"auto", "covariance", "gram", "krylov"})],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        **checkpoints.CONSTRAINTS,
        "n_threads": [None, Interval(Integral, 1, threads.MOST_THREADS, closed="both")],
        "verbose": ["verbose"],
    }

    @hints(foreign_names.PROBABILISTIC_PCA)
    def __init__(
        self,
        n_components: int | float | str | None = None,
        *,
        svd_solver: str = "auto",
        tol: float = 1e-6,
        max_iter: int = 1000,
        random_state: RandomState | None = 0,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        n_threads: int | None = None,
        verbose: int | bool = 0,
    ) -> None:
        self.n_components = n_components
        self.svd_solver = svd_solver
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.n_threads = n_threads
        self.verbose = verbose

    # ---- fitting ----

    def _fits_streams(self):
        return self.n_components not in CROSS_VALIDATED and self.svd_solver in (
            "auto",
            "covariance",
        )

    def _fit_complete(self, table, sample_weight, name):
        solver = self._solver(table)
        if self.n_components in CROSS_VALIDATED:
            found = self._cross_validated(table, sample_weight, name)
            if found is None:
                return False, None
            k, statistics = found
            self._fit_statistics(statistics, name, k)
            return True, statistics
        if solver == "covariance":
            return super()._fit_complete(table, sample_weight, name)
        weight = check.as_row_weights(sample_weight, table.shape[0])
        if weight is not None and not weight.any():
            raise ValueError("all weights are zero: there is nothing to fit to")
        if solver == "gram":
            return self._fit_gram(table, name, weight), None
        return self._fit_wide(table, name, weight), None

    def _fit_partitions(self, partitions):
        self._validate_params()
        if self.n_components not in CROSS_VALIDATED:
            return super()._fit_partitions(partitions)
        k, statistics = self._of_folds(self._folds_of_partitions(partitions))
        chosen = clone(self).set_params(n_components=k)
        chosen.fit_statistics(named(statistics, partitions, self.n_threads))
        made = self._apart()
        vars(made).pop("feature_names_in_", None)
        vars(made).update(vars(chosen) | self.get_params())
        return self._become(made)

    @property
    def n_components_(self) -> int:
        return len(self.components_)

    def _solver(self, table):
        """Return the name of the solver of a fit; only "covariance" needs a d x d matrix.

        Raises ValueError where svd_solver contradicts n_components.
        """
        n, d = table.shape
        k = self.n_components
        is_few = isinstance(k, Integral) and k < min(n, d)
        if self.svd_solver == "krylov" and not is_few:
            raise ValueError(
                "svd_solver='krylov' needs an integer n_components below min(n_samples, "
                f"n_features) = {min(n, d)}, "
                f"got {k!r}"
            )
        is_chosen = solvers.k_is_chosen(k)
        if self.svd_solver == "gram" and (n >= d or not (is_few or is_chosen)):
            raise ValueError(
                "svd_solver='gram' needs fewer rows than columns, and n_components below n_samples "
                f"or chosen by the spectrum, got X of shape {table.shape}, n_components={k!r}"
            )
        if self.svd_solver != "auto" or k in CROSS_VALIDATED:
            return self.svd_solver if self.svd_solver != "auto" else "covariance"
        return solvers.cheapest(table, int(cast(int, k)) if is_few else None, is_chosen)

    def _fit_gram(self, table, name, weight):
        """Fit from the Gram matrix and return True, or return False where an entry is missing."""
        k = int(self.n_components) if isinstance(self.n_components, Integral) else None
        found = gram.spectrum(table, weight, k, self.n_threads, name)
        if found is None:
            return False
        k = self._n_components(found.values, found) if k is None else k
        vectors = found.vectors(k)
        n = table.shape[0]
        weight_sum = float(n if weight is None else weight.sum())
        self._set_eigenpairs(found.values[:k], vectors, found.total, found.mean, n, weight_sum)
        return True

    @threads.with_same_bits
    def _fit_wide(self, table, name, weight=None, means=None):
        """Fit by the Lanczos method and return True, or return False where an entry is missing.

        With `means` of columns, missing entries count as the mean of their column.
        """
        found = krylov.leading_eigenpairs(
            table,
            int(cast(int, self.n_components)),
            self.tol,
            self.max_iter,
            self.random_state,
            self.n_threads,
            weight=weight,
            means=means,
            name=name,
            confirms=True,
        )
        if found is None:
            return False
        n = table.shape[0]
        weight_sum = float(n if weight is None else weight.sum())
        self._set_eigenpairs(found.values, found.vectors, found.total, found.mean, n, weight_sum)
        self.n_iter_ = found.n_iter
        return True

    @threads.with_same_bits
    def _fit_statistics(self, statistics, name="X", k=None):
        """Fit from statistics; k is the number of components where it is known already."""
        statistics._check_variance()
        covariance, d = statistics.covariance(), statistics.n_features_in_
        if k is None and isinstance(self.n_components, Integral):
            k = int(self.n_components)
        total = float(np.trace(covariance))
        few = None if k is None or FEW * k > d else [d - k, d - 1]
        values, vectors = linalg.eigh(
            covariance, overwrite_a=True, check_finite=False, subset_by_index=few
        )
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1].T
        k = self._n_components(values, statistics) if k is None else k
        if k > d:
            raise ValueError(f"n_components must be at most n_features = {d}, got {k}")
        of_rows = statistics.mean_, statistics.n_samples_, statistics.weight_sum_
        self._set_eigenpairs(values[:k], vectors[:k], total, *of_rows)

    def _set_eigenpairs(self, values, vectors, total, mean, n_samples, weight_sum):
        """Set the fitted attributes from leading eigenpairs and the total variance."""
        d, k = len(mean), len(values)
        floor = SMALLEST_NOISE * total / d
        left_out = (total - values.sum()) / (d - k) if d > k else 0.0
        noise = float(max(left_out, floor))
        if left_out < floor and d > k:
            warn(
                f"the rows lie in {k} directions or fewer: the noise variance is bounded at "
                f"{noise:.3g}",
                ConvergenceWarning,
            )
        vectors = fixed_signs(vectors)
        W = np.sqrt(np.maximum(values - noise, 0.0))[:, None] * vectors
        log_det = np.log(np.maximum(values, noise)).sum() + (d - k) * np.log(noise)
        distance = (values / np.maximum(values, noise)).sum() + (d - k) * left_out / noise
        self._set_fitted(
            mean_=mean,
            components_=W,
            noise_variance_=noise,
            explained_variance_=values.copy(),
            explained_variance_ratio_=values / total,
            singular_values_=np.sqrt(weight_sum) * np.sqrt(values),
            n_samples_seen_=n_samples,
            n_iter_=1,
            log_likelihood_curve_=[float(-0.5 * (d * np.log(2 * np.pi) + log_det + distance))],
        )

    @threads.with_same_bits
    def _fit_missing(self, rows, weight, name):
        means = self._means_of_observed(rows, name)
        d = rows.shape[1]
        start = clone(self)
        if self.n_components in CROSS_VALIDATED:
            # Refuses rows without variance, or whose squares overflow.
            self._statistics_of_filled(rows, means, weight)._check_variance()
            start.n_components = self._searched(rows, weight, name)
        elif self.n_components == d > 1:
            # d − 1 components and σ² describe the same distributions, without a noise of 0.
            start.n_components = d - 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            k = start.n_components
            is_few = isinstance(k, Integral) and k < min(rows.shape)
            is_wide = is_few and d >= solvers.WIDEST_COVARIANCE
            if is_wide or start._solver(rows) == "krylov":
                start._fit_wide(rows, name, weight, means)
            else:
                start._fit_statistics(self._statistics_of_filled(rows, means, weight), name)
        W = start.components_
        total = start.explained_variance_.sum() + (d - len(W)) * start.noise_variance_
        floor = SMALLEST_NOISE * total / d
        begin = start.mean_, W, np.full(d, start.noise_variance_)
        options = self.tol, self.max_iter, self.n_threads
        if len(W) < d <= max(WIDEST_COMPLETED, COMPLETED_RATIO * len(W)):
            mean, W, psi, curve, converged = completed.maximize(
                rows, weight, begin, floor, *options
            )
        else:
            mean, W, psi, curve, converged = observed.maximize(
                rows, weight, begin, True, np.full(d, floor), *options
            )
        if self.n_components == d > 1:
            W = np.vstack([W, np.zeros(d)])
        if not converged:
            warn_of_iterations(self.max_iter)
        _, s, vectors = linalg.svd(W, full_matrices=False)
        noise = float(psi[0])
        self._set_fitted(
            mean_=mean,
            components_=s[:, None] * fixed_signs(vectors),
            noise_variance_=noise,
            explained_variance_=s**2 + noise,
            explained_variance_ratio_=(s**2 + noise) / ((s**2).sum() + d * noise),
            singular_values_=np.sqrt(weight.sum()) * np.sqrt(s**2 + noise),
            n_samples_seen_=len(rows),
            n_iter_=len(curve),
            log_likelihood_curve_=curve,
        )

    def _n_parameters(self):
        k, d = self.components_.shape
        return d * k - k * (k - 1) // 2 + 1 + d

    # ---- in a file ----

    _file_format = "aefast probabilistic pca"

    def _saved_state(self):
        fields = {"noise_variance": self.noise_variance_, "has_singular_values": True}
        return super()._saved_state() | fields

    @classmethod
    def _upgrade(cls, version, parameters, state):
        super()._upgrade(version, parameters, state)
        if version < 2:
            state.setdefault("has_singular_values", False)

    @classmethod
    def _state_checks(cls):
        return super()._state_checks() | {"noise_variance": NUMBER, "has_singular_values": FLAG}

    @classmethod
    def _tensor_layout(cls, state):
        if not state["noise_variance"] > 0:
            raise ValueError(f"expected a positive noise variance, got {state['noise_variance']}")
        k = state["n_components"]
        names = ["explained_variance", "explained_variance_ratio"]
        names += ["singular_values"] if state["has_singular_values"] else []
        return super()._tensor_layout(state) | dict.fromkeys(names, Tensor((k,), "F64"))

    def _saved_tensors(self):
        return super()._saved_tensors() | {
            "explained_variance": self.explained_variance_,
            "explained_variance_ratio": self.explained_variance_ratio_,
            "singular_values": self.singular_values_,
        }

    def _restore(self, state, tensors):
        self.noise_variance_ = state["noise_variance"]
        if not state["has_singular_values"]:  # those of rows of equal weight
            n, values = state["n_samples_seen"], tensors["explained_variance"]
            tensors = tensors | {"singular_values": np.sqrt(n * np.maximum(values, 0))}
        super()._restore(state, tensors)
