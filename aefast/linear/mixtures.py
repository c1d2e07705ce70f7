"""Mixtures of factor analysers and of probabilistic PCA."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import Interval, StrOptions

from aefast._base import checkpoints, scalars, threads
from aefast._base.foreign_names import hints
from aefast._base.types import PathLike, RandomState
from aefast.linear.foreign_names import MIXTURES
from aefast.linear.mixture_model import LinearMixture

_SIZES = [Interval(Integral, 1, scalars.LARGEST_SIZE, closed="both"), list, tuple]
_CONSTRAINTS: dict[str, Any] = {
    "n_mixtures": [*_SIZES, StrOptions({"bic"})],
    "n_components": _SIZES,
    "min_noise": [Interval(Real, 0, 1, closed="neither")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "n_init": [Interval(Integral, 1, None, closed="left")],
    "random_state": ["random_state"],
    **checkpoints.CONSTRAINTS,
    "n_threads": [None, Interval(Integral, 1, threads.MOST_THREADS, closed="both")],
    "verbose": ["verbose"],
}


class MixtureOfFactorAnalyzers(LinearMixture):
    """Mixture of factor analysers: clusters that have factors, and a noise per column, each.

    ``p(x) = Σ_m π_m N(x | μ_m, W_mᵀ W_m + Ψ_m)`` with diagonal Ψ_m: a row belongs to component m
    with probability π_m, and is then ``x = h W_m + μ_m + noise``, ``h ~ N(0, I)``. A Gaussian
    mixture with full covariances has d (d + 1) / 2 numbers in each; here there are d (k + 1), so
    that it can be estimated from fewer rows, and ψ does not depend on units. The likelihood is
    maximised by EM. On complete rows an iteration is one pass, in which each component's weighted
    mean and covariance are summed; its loadings and noise then follow from its covariance alone.

    Parameters
    ----------
    n_mixtures : int, list of int or "bic", default=2
        M, the number of components of the mixture (`GaussianMixture` calls it n_components). A
        list: the one of least Bayesian criterion. "bic": 1, 2, 3, ... are tried until two in a row
        have not lowered the criterion.
    n_components : int or list of int, default=2
        k, the number of factors of each component. A list: the one of least Bayesian criterion,
        together with n_mixtures.
    min_noise : float in (0, 1), default=1e-3
        Least noise variance of a column in any component, as a fraction of the column's variance
        over all rows. It keeps the likelihood finite where a component's rows agree in a column.
    tol : float, default=1e-3
        EM ends when the mean log-likelihood rises by less than tol (nats).
    max_iter : int, default=200
        Largest number of iterations of EM, of each start.
    n_init : int, default=1
        Number of starts, of which the one with the greatest likelihood is kept.
    random_state : int, RandomState instance or None, default=None
        Source of k-means++'s draws, from which EM starts.
    checkpoint : str, path-like or None, default=None
    checkpoint_every : int, "epoch" or str, default="10 min"
    resume : bool or "auto", default="auto"
        As for `Autoencoder`: `fit` goes on from this file after the process has ended, with the
        bits of a fit that has not been interrupted. Steps and epochs are iterations of EM.
    n_threads : int or None, default=None
        Number of threads, as for `Autoencoder`; results have the same bits for any number.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    weights_ : ndarray (n_mixtures,)
        π, falling; float64, as all attributes.
    means_ : ndarray (n_mixtures, n_features)
        μ_m.
    components_ : ndarray (n_mixtures, n_components, n_features)
        W_m, the loadings: ``W_m Ψ_m⁻¹ W_mᵀ`` is diagonal with falling entries, and of each factor
        the loading that is largest beside the noise of its column is positive.
    noise_variance_ : ndarray (n_mixtures, n_features)
        ψ_m.
    n_mixtures_ : int
        Number of components: fewer than were asked for where some lost their rows.
    n_components_ : int
        Number of factors.
    lower_bound_ : float
        Mean log-likelihood (nats) of the training rows, which is the bound of EM.
    log_likelihood_curve_ : list of float
        Mean log-likelihood of each iteration's parameters; rising, from the last restart of a
        component on.
    sizes_tried_ : list of tuple
        (n_mixtures, n_components, BIC of the training rows) of each size that was fitted.
    converged_ : bool
    n_iter_ : int
    n_samples_seen_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X has string column names.

    Notes
    -----
    EM starts from k-means, itself started by k-means++, on the leading principal components (64 at
    most) of at most 10 000 of the rows, with columns in units of their standard deviations.
    Responsibilities below 2.2e-16 count as 0.

    A component whose responsibilities add up to fewer than n_components + 2 rows is restarted: it
    takes half of the component of largest weight, which is split along its largest loading. After
    as many restarts as components, one that has lost its rows is removed, with a warning.

    Memory: M d² numbers in a fit, M k d afterwards. Missing entries take EM over patterns of what
    is observed.

    References
    ----------
    .. [1] Ghahramani & Hinton (1996), The EM algorithm for mixtures of factor analyzers.
    .. [2] Liu, Rubin & Wu (1998), Parameter expansion to accelerate EM.
    .. [3] Arthur & Vassilvitskii (2007), k-means++: the advantages of careful seeding.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from aefast import MixtureOfFactorAnalyzers
    >>> model = MixtureOfFactorAnalyzers(3, 1, random_state=0).fit(load_iris().data)
    >>> model.means_.shape, model.components_.shape
    ((3, 4), (3, 1, 4))
    """

    _is_isotropic = False
    _parameter_constraints: dict = _CONSTRAINTS

    @hints(MIXTURES)
    def __init__(
        self,
        n_mixtures: int | Sequence[int] | str = 2,
        n_components: int | Sequence[int] = 2,
        *,
        min_noise: float = 1e-3,
        tol: float = 1e-3,
        max_iter: int = 200,
        n_init: int = 1,
        random_state: RandomState | None = None,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        n_threads: int | None = None,
        verbose: int | bool = 0,
    ) -> None:
        self.n_mixtures = n_mixtures
        self.n_components = n_components
        self.min_noise = min_noise
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.n_threads = n_threads
        self.verbose = verbose

    _file_format = "aefast mixture of factor analyzers"


class MixtureOfProbabilisticPCA(LinearMixture):
    """Mixture of probabilistic PCA: clusters with principal components of their own.

    ``p(x) = Σ_m π_m N(x | μ_m, W_mᵀ W_m + σ_m² I)``: a row belongs to component m with probability
    π_m, and is then ``x = h W_m + μ_m + noise``, ``h ~ N(0, I)``. The likelihood is maximised by
    EM. On complete rows an iteration is one pass, in which each component's weighted mean and
    covariance are summed; W_m and σ_m² then have the closed form of `ProbabilisticPCA`.

    Parameters
    ----------
    n_mixtures : int, list of int or "bic", default=2
        M, the number of components of the mixture (`GaussianMixture` calls it n_components). A
        list: the one of least Bayesian criterion. "bic": 1, 2, 3, ... are tried until two in a row
        have not lowered the criterion.
    n_components : int or list of int, default=2
        k, the number of principal components of each component of the mixture. A list: the one of
        least Bayesian criterion, together with n_mixtures.
    min_noise : float in (0, 1), default=1e-6
        Least noise variance σ_m², as a fraction of the mean variance of the columns over all rows.
    tol : float, default=1e-3
        EM ends when the mean log-likelihood rises by less than tol (nats).
    max_iter : int, default=200
        Largest number of iterations of EM, of each start.
    n_init : int, default=1
        Number of starts, of which the one with the greatest likelihood is kept.
    random_state : int, RandomState instance or None, default=None
        Source of k-means++'s draws, from which EM starts.
    checkpoint : str, path-like or None, default=None
    checkpoint_every : int, "epoch" or str, default="10 min"
    resume : bool or "auto", default="auto"
        As for `Autoencoder`: `fit` goes on from this file after the process has ended, with the
        bits of a fit that has not been interrupted. Steps and epochs are iterations of EM.
    n_threads : int or None, default=None
        Number of threads, as for `Autoencoder`; results have the same bits for any number.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    weights_ : ndarray (n_mixtures,)
        π, falling; float64, as all attributes.
    means_ : ndarray (n_mixtures, n_features)
        μ_m.
    components_ : ndarray (n_mixtures, n_components, n_features)
        W_m, whose rows are orthogonal, of falling norm, and have a positive entry of largest
        magnitude.
    noise_variance_ : ndarray (n_mixtures,)
        σ_m².
    n_mixtures_ : int
        Number of components: fewer than were asked for where some lost their rows.
    n_components_ : int
        Number of principal components.
    lower_bound_ : float
        Mean log-likelihood (nats) of the training rows, which is the bound of EM.
    log_likelihood_curve_ : list of float
        Mean log-likelihood of each iteration's parameters; rising, from the last restart of a
        component on.
    sizes_tried_ : list of tuple
        (n_mixtures, n_components, BIC of the training rows) of each size that was fitted.
    converged_ : bool
    n_iter_ : int
    n_samples_seen_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X has string column names.

    Notes
    -----
    The start, components that lose their rows, memory and missing entries are those of
    `MixtureOfFactorAnalyzers`; columns keep their units.

    References
    ----------
    .. [1] Tipping & Bishop (1999), Mixtures of probabilistic principal component analyzers.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from aefast import MixtureOfProbabilisticPCA
    >>> X = load_digits().data
    >>> model = MixtureOfProbabilisticPCA(10, 5, random_state=0).fit(X)
    >>> rows, labels = model.sample(3, random_state=0)
    >>> rows.shape, labels.shape
    ((3, 64), (3,))
    """

    _is_isotropic = True
    _parameter_constraints: dict = _CONSTRAINTS

    @hints(MIXTURES)
    def __init__(
        self,
        n_mixtures: int | Sequence[int] | str = 2,
        n_components: int | Sequence[int] = 2,
        *,
        min_noise: float = 1e-6,
        tol: float = 1e-3,
        max_iter: int = 200,
        n_init: int = 1,
        random_state: RandomState | None = None,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        n_threads: int | None = None,
        verbose: int | bool = 0,
    ) -> None:
        self.n_mixtures = n_mixtures
        self.n_components = n_components
        self.min_noise = min_noise
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.n_threads = n_threads
        self.verbose = verbose

    _file_format = "aefast mixture of probabilistic pca"
