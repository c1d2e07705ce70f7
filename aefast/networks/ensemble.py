"""The estimator `AutoencoderEnsemble`: many networks of equal shape, trained in one call."""

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from aefast._base import arrays as check
from aefast._base import checkpoints, scalars
from aefast._base.checkpoints import Checkpoint, identified, interval_of
from aefast._base.errors import table_name
from aefast._base.streams import opened
from aefast._base.types import PathLike
from aefast._base.warnings import warn
from aefast.networks.autoencoder import Autoencoder
from aefast.networks.ensemble_fitting import fitted_state_of, report_of, with_fixed_parameters
from aefast.networks.ensemble_inference import EnsembleInference
from aefast.networks.ensemble_members import FittedEnsemble
from aefast.networks.ensemble_tables import as_groups, tables_in_one
from aefast.networks.network import single_layer
from aefast.networks.variants import check_variants, has_gain

# parameters that have the meaning and the rules of `Autoencoder`'s
SHARED = (
    *("activation", "output", "scale", "domain", "tied", "gain", "init", "solver"),
    *("learning_rate", "momentum", "nesterov", "batch_size", "max_epochs", "n_epochs_no_change"),
    *("tol", "alpha", "corruption", "contraction", "sparsity", "dropout", "weight_decay"),
    *("clip_norm", "max_norm", "learning_rate_schedule", "shuffle"),
)


class AutoencoderEnsemble(FittedEnsemble, EnsembleInference, BaseEstimator):
    """Many autoencoders of equal shape, trained at once: a bagged ensemble, or a model per group.

    Fitted to one table, members read random subsets of its rows and columns, and the ensemble
    pools their results. Fitted to groups of rows (``fit(X, groups=ids)``: one model for each
    machine, customer or sensor) or to a list of tables, it has one member for each, which reads
    all of the group's rows and columns. One call trains all members, in compiled code: each thread
    trains one network after another, in its caches. Training gives a member the bits that
    `Autoencoder` gives it alone, from the same initial values and units of the columns.

    Parameters
    ----------
    n_estimators : int, default=50
        B, the number of members of one table. Groups have one member each.
    n_components : int or "auto", default="auto"
        k, the number of hidden units of each member. "auto": the median of what `Autoencoder`
        chooses for a few of the members.
    max_samples : int, float or "auto", default="auto"
        Rows of each member of one table: their number, or a share of all. "auto": all, at most
        4096. Not used with groups.
    max_features : int, float or "auto", default="auto"
        Columns of each member of one table: their number, or a share of all. Every column is in as
        many members as any other, to within one. "auto": half of the columns, rounded up; all of
        them where `output` has several distributions or groups of columns, which subsets cannot
        have. Not used with groups.
    bootstrap : bool, default=False
        Whether rows are drawn with replacement.
    activation, output, scale, domain, tied, gain, init, solver, learning_rate, momentum, \
nesterov, batch_size, max_epochs, n_epochs_no_change, tol, alpha, corruption, contraction, \
sparsity, dropout, weight_decay, clip_norm, max_norm, learning_rate_schedule, shuffle
        As for `Autoencoder`, with these differences. Members of one table share the units of its
        columns (`scale`), each group has its own. With "auto" the batch size follows from the
        median number of rows of a member, and the scale of the output near PCA from a few members;
        ``corruption="auto"`` means None. There is no solver "lbfgs", no schedule "plateau", no
        `top_k`, no early stopping on held-out rows and no missing entries.
    n_threads : int or None, default=None
        Number of threads, as for `Autoencoder`; members are shared among them. Results have the
        same bits for any number.
    random_state : int, RandomState instance or None, default=None
        Source of the members' seeds, rows and columns.
    checkpoint : str, path-like or None, default=None
    checkpoint_every : int, "epoch" or str, default="10 min"
    resume : bool or "auto", default="auto"
        As for `Autoencoder`: `fit` goes on from this file after the process has ended, with the
        bits of a fit that has not been interrupted. Steps are counted over all members; "epoch" is
        whenever further members are done.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    members_ : sequence of Autoencoder
        ``members_[i]`` is a fitted `Autoencoder` on the columns ``estimators_features_[i]``, in
        the ensemble's memory, made when it is asked for. With groups, ``member(group)`` finds one
        by its label.
    groups_ : ndarray (n_groups,) or None
        Labels of the groups, sorted; the numbers 0, 1, ... of a list of tables; None for one table.
    estimators_features_ : list of ndarray
        The columns that each member reads.
    estimators_samples_ : list of ndarray
        The rows that each member of one table was trained on, drawn anew from their seeds.
    n_components_ : int
        k.
    n_epochs_ : ndarray (n_members,)
        Passes of each member over its rows.
    loss_curves_ : list of ndarray
        For each member the mean loss of each epoch, as `Autoencoder.loss_curve_`.
    fit_report_ : dict
        What the fit chose for parameters that were "auto", the number of members, how many of them
        converged, spent their budget while the loss still fell, or diverged, and for a few members
        the mean loss of their rows and that of the best constant.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns; only if X has string column names.

    Notes
    -----
    X is read in place, as by `Autoencoder`; a list of tables is copied into one. Members have
    ``4 B k d`` numbers or so with "adam". Ctrl-C leaves a usable ensemble, whose members have the
    epochs of `n_epochs_`, and raises KeyboardInterrupt. A member that diverges keeps its last
    finite parameters, and the fit warns; FloatingPointError is raised where all diverge.

    References
    ----------
    .. [1] Breiman (1996), Bagging predictors. Machine Learning 24.
    .. [2] Ho (1998), The random subspace method for constructing decision forests. IEEE TPAMI 20.
    .. [3] Mirsky et al. (2018), Kitsune: an ensemble of autoencoders for online network intrusion
       detection. NDSS.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import AutoencoderEnsemble
    >>> X = np.random.default_rng(0).normal(size=(600, 6)) @ np.diag([5, 4, 3, 1, 1, 1.0])
    >>> machine = np.repeat(["drill", "lathe", "press"], 200)
    >>> models = AutoencoderEnsemble(2, n_components=2, max_epochs=20, random_state=0)
    >>> models = models.fit(X, groups=machine)
    >>> models.groups_.tolist(), models.member("lathe").components_.shape
    (['drill', 'lathe', 'press'], (2, 6))
    >>> models.score_samples(X[:2], groups=["drill", "drill"]).shape
    (2,)
    """

    _dense_because = (
        "the columns of each member are gathered from dense ones. An Autoencoder takes sparse rows"
    )
    _parameter_constraints: dict = {
        "n_estimators": [Interval(Integral, 1, scalars.LARGEST_SIZE, closed="both")],
        "n_components": Autoencoder._parameter_constraints["n_components"],
        "max_samples": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="right"),
            StrOptions({"auto"}),
        ],
        "max_features": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="right"),
            StrOptions({"auto"}),
        ],
        "bootstrap": ["boolean"],
        **{name: Autoencoder._parameter_constraints[name] for name in SHARED},
        "solver": [StrOptions({"sgd", "adam", "adagrad"})],
        "learning_rate_schedule": [
            StrOptions({"auto", "constant", "trapezoid", "invscaling", "cosine"})
        ],
        "n_threads": Autoencoder._parameter_constraints["n_threads"],
        "random_state": ["random_state"],
        **checkpoints.CONSTRAINTS,
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_estimators: int = 50,
        *,
        n_components: int | str = "auto",
        max_samples: float | str = "auto",
        max_features: float | str = "auto",
        bootstrap: bool = False,
        activation: str = "sigmoid",
        output: Any = "gaussian",
        scale: str | None = "auto",
        domain: str = "error",
        tied: bool = True,
        gain: bool | str = "auto",
        init: str = "auto",
        solver: str = "adam",
        learning_rate: float | str = "auto",
        momentum: float = 0.9,
        nesterov: bool = False,
        batch_size: int | str = "auto",
        max_epochs: int | str = "auto",
        n_epochs_no_change: int = 5,
        tol: float = 1e-4,
        alpha: float = 0.0,
        corruption: tuple[str, float] | str | None = "auto",
        contraction: float = 0.0,
        sparsity: tuple[Any, ...] | None = None,
        dropout: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        learning_rate_schedule: str = "auto",
        shuffle: bool = True,
        n_threads: int | None = None,
        random_state: Any = None,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        verbose: int | bool = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.n_components = n_components
        self.max_samples = max_samples
        self.max_features = max_features
        self.bootstrap = bootstrap
        self.activation = activation
        self.output = output
        self.scale = scale
        self.domain = domain
        self.tied = tied
        self.gain = gain
        self.init = init
        self.solver = solver
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.n_epochs_no_change = n_epochs_no_change
        self.tol = tol
        self.alpha = alpha
        self.corruption = corruption
        self.contraction = contraction
        self.sparsity = sparsity
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.max_norm = max_norm
        self.learning_rate_schedule = learning_rate_schedule
        self.shuffle = shuffle
        self.n_threads = n_threads
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.verbose = verbose

    def fit(self, X: Any, y: object = None, groups: ArrayLike | None = None) -> Self:
        """Train all members.

        Parameters
        ----------
        X : array-like (n_samples, n_features), or list of such tables
            Dense, finite rows, in the domain of the output's distributions. A list of arrays or
            data frames has one member for each table; all have the same columns.
        y : ignored
        groups : array-like (n_samples,) of integers or strings, or None, default=None
            The group of each row: one member is trained for each group. None: all members are
            trained on parts of X.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For invalid parameters or input, or a checkpoint of another fit; the fitted state does
            not change.
        FloatingPointError
            If all members diverge; the last finite parameters are kept.
        """
        self._validate_params()
        interval_of(self.checkpoint_every)
        self._check_variants()
        return self._fit(X, groups, Checkpoint.of(self))

    def _fit(self, X, groups, checkpoint):
        given, groups = tables_in_one(opened(X, whole=True), groups)
        rows = check.estimator_rows(self, given, reset=True)
        labels = None if groups is None else as_groups(groups, len(rows))
        names = check.feature_names(given)
        tables = {"X": rows, "groups": labels}
        random = check_random_state(identified(checkpoint, self.random_state, tables, names))
        state, training = fitted_state_of(self, rows, labels, names, random, table_name(given))
        stage = None
        if checkpoint is not None:
            checkpoint.confirm(column_means=state.means)
            stage = checkpoint.stage("training")
        self._begin(names, state)
        try:
            curves = training(stage)
        except BaseException:
            self._state = self._state._replace(curves=training.curves())
            raise
        self._state = self._state._replace(curves=curves)
        self._report(rows, training)
        return self

    def _begin(self, names, state):
        fitted: dict[str, Any] = {"_state": state, "fit_report_": dict(state.settings)}
        own: dict[str, Any] = self.__dict__
        if names is None:
            own.pop("feature_names_in_", None)
        else:
            fitted["feature_names_in_"] = names
        own.update(fitted)

    def _report(self, rows, training):
        """Set the `fit_report_`, and warn of members that diverged or do not beat the means."""
        self.fit_report_ = report = report_of(self, rows, training)
        n, n_diverged = report["n_members"], report["n_diverged"]
        advice = f"Lower learning_rate (it is {self.learning_rate!r}) or scale the columns"
        if n_diverged == n:
            raise FloatingPointError(
                f"training of all {n} members diverged: a loss or a parameter is no longer finite. "
                f"The last finite parameters are kept. {advice}"
            )
        if n_diverged:
            warn(
                f"training of {n_diverged} of {n} members diverged; they keep the parameters of "
                f"their last finite epoch. {advice}",
                ConvergenceWarning,
            )
        elif report["n_still_falling"] > n / 2:
            warn(
                f"the budget of epochs ended while the loss of {report['n_still_falling']} of {n} "
                "members still fell: set max_epochs to a larger number",
                ConvergenceWarning,
            )
        elif report["loss"] > report["constant_loss"] + 1e-6 * abs(report["constant_loss"]):
            warn(
                "the fit does not beat the column means: the mean loss of a few members on their "
                f"rows is {report['loss']:.4g}, that of constant reconstructions "
                f"{report['constant_loss']:.4g} nats. Train longer (max_epochs='auto'), lower "
                "learning_rate, or scale the columns (scale='standard')",
                ConvergenceWarning,
            )

    # ---- hooks ----

    def _check_variants(self):
        check_variants(with_fixed_parameters(self))

    def _model_of(self, n_features, output, sizes):
        [k] = sizes
        return single_layer(
            n_features, k, bool(self.tied), self.activation, output, gain=has_gain(self)
        )

    @property
    def estimators_samples_(self) -> list[np.ndarray]:
        from aefast.networks.ensemble_tables import drawn_rows

        state = self._fitted_state()
        if state.sampling is None:
            raise AttributeError(
                "an ensemble of groups has drawn no rows: see the groups of its fit"
            )
        seed, n, size, bootstrap = state.sampling
        return [drawn_rows(seed, b, n, size, bootstrap) for b in range(len(state.progress))]
