"""Base of `AutoencoderClassifier` and `AutoencoderRegressor`: a stack with a head on its code."""

from abc import ABC, abstractmethod
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _num_samples

from aefast._base import arrays as check
from aefast._base import checkpoints
from aefast._base.foreign_arrays import refuse_collection
from aefast._base.progress import note
from aefast._base.random import split_rows
from aefast._base.stopping import EarlyStopping
from aefast._base.streams import StreamedRows, opened
from aefast._base.types import Callbacks, OutputLike, PathLike, RandomState
from aefast.networks.fitted import FittedNetwork, FittedState, n_optimizer_states
from aefast.networks.headed import SHARED, HeadedStack
from aefast.networks.heads import (
    JUDGED_ROWS,
    Head,
    Targets,
    begin_head,
    mean_loss_of_targets,
    with_gain,
)
from aefast.networks.scaling import in_units
from aefast.networks.stacked import StackedAutoencoder
from aefast.networks.training import lbfgs
from aefast.networks.training.automatic import AUTO, is_scale_free
from aefast.networks.training.parts import spread_rows
from aefast.networks.training.start import rate_factors
from aefast.networks.variants import rows_variant

INPUT_DROPOUT = 0.2
WIDE = 32  # columns from which on entries are dropped: fewer ones say too much by themselves


class _Learning(NamedTuple):
    """What a fit learns from, besides rows, while it runs."""

    targets: Targets
    of_val: Targets | None  # those of X_val
    found: dict[str, Any]  # attributes with which predictions are read
    encoder: FittedState | None  # from which the network begins
    n_targets: float  # the sum of the given weights of rows with a target, at least 1


class SupervisedAutoencoder(HeadedStack, ABC):
    """A stack that is fitted to targets of its rows."""

    _parameter_constraints: dict = {
        name: StackedAutoencoder._parameter_constraints[name] for name in ("layer_sizes", *SHARED)
    } | {
        **checkpoints.CONSTRAINTS,
        "encoder": "no_validation",
        "reconstruction_weight": [Interval(Real, 0, 1e6, closed="both")],
        "alpha": [*StackedAutoencoder._parameter_constraints["alpha"], StrOptions({"auto"})],
        "input_dropout": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
    }
    _penalty: ClassVar[float]  # automatic weight of the penalty, times the rows with a target
    encoder: Any
    reconstruction_weight: float
    input_dropout: float | str

    def __init__(
        self,
        layer_sizes: Any = "auto",
        *,
        encoder: Any = None,
        reconstruction_weight: float = 0.0,
        input_dropout: float | str = "auto",
        activation: str = "sigmoid",
        code_activation: str | None = None,
        gain: bool | str = "auto",
        init: str = "auto",
        output: OutputLike = "gaussian",
        scale: str | None = "auto",
        missing: str = "error",
        missing_fill: str = "mean",
        corruption: tuple[str, float] | str | None = "auto",
        solver: str = "adam",
        learning_rate: float | str = "auto",
        momentum: float = 0.9,
        nesterov: bool = False,
        batch_size: int | str = "auto",
        pretrain_epochs: int | str = "auto",
        max_epochs: int | str = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_epochs_no_change: int = 5,
        tol: float = 1e-4,
        alpha: Any = "auto",
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        learning_rate_schedule: str = "auto",
        shuffle: bool = True,
        warm_start: bool = False,
        n_threads: int | None = None,
        random_state: RandomState | None = None,
        callbacks: Callbacks | None = None,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        verbose: int | bool = 0,
    ) -> None:
        self.layer_sizes = layer_sizes
        self.encoder = encoder
        self.reconstruction_weight = reconstruction_weight
        self.input_dropout = input_dropout
        self.activation = activation
        self.code_activation = code_activation
        self.gain = gain
        self.init = init
        self.output = output
        self.scale = scale
        self.missing = missing
        self.missing_fill = missing_fill
        self.corruption = corruption
        self.solver = solver
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov
        self.batch_size = batch_size
        self.pretrain_epochs = pretrain_epochs
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_epochs_no_change = n_epochs_no_change
        self.tol = tol
        self.alpha = alpha
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.max_norm = max_norm
        self.learning_rate_schedule = learning_rate_schedule
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.n_threads = n_threads
        self.random_state = random_state
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.verbose = verbose

    # ---- fitting ----

    @abstractmethod
    def _targets_of(self, y, name, weight, *, reset, known=None):
        """Return the `Targets` of y, and the attributes with which predictions are read.

        `weight` (n,) is that of the rows, or None. The attributes are found in y with `reset`;
        otherwise they are `known`, or those of the fit.
        """

    @abstractmethod
    def _first_means(self, rows, share):
        """Return the means (m,) of the targets with which the head begins."""

    def _fit_to(self, X, y, sample_weight, X_val, y_val):
        self._check_parameters()
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both of them or none")
        X, X_val = _not_streamed(X, "X"), _not_streamed(X_val, "X_val")
        goes_on = self.warm_start and self.__sklearn_is_fitted__()
        _check_lengths(X, y, "X", "y")
        weight = check.as_mean_weight(sample_weight, _num_samples(y))
        targets, found = self._targets_of(y, "y", weight, reset=not goes_on)
        of_val = None
        if X_val is not None:
            _check_lengths(X_val, y_val, "X_val", "y_val")
            of_val, _ = self._targets_of(y_val, "y_val", None, reset=False, known=found)
        encoder = None if goes_on else self._fitted_encoder(X, sample_weight)
        n_targets = _sum_of_weights(sample_weight, targets)
        self._learning = _Learning(targets, of_val, found, encoder, n_targets)
        try:
            return self._fit(X, sample_weight, X_val, checkpoints.Checkpoint.of(self))
        finally:
            del self._learning

    def _fitted_encoder(self, X, sample_weight):
        """Return the encoder, which is fitted to all rows unless it is fitted already, or None."""
        encoder = self.encoder
        if encoder is None:
            return None
        network = getattr(encoder, "estimator", encoder)  # of scikit-learn's FrozenEstimator
        if not isinstance(network, FittedNetwork) or isinstance(network, SupervisedAutoencoder):
            raise TypeError(
                "encoder must be an Autoencoder, a StackedAutoencoder or None, got "
                f"{type(network).__name__}"
            )
        if not network.__sklearn_is_fitted__():
            network = clone(network)
            if network.random_state is None:
                network.set_params(random_state=self.random_state)
            network.fit(X, sample_weight=sample_weight)
        if any(segment.custom is not None for segment in network._state.model.output):
            raise ValueError("encoder must not have an output distribution of your own")
        state = network._state
        return with_gain(state) if len(state.model.layers) == 1 else state

    def _more_tables(self):
        targets, of_val = self._learning.targets, self._learning.of_val
        return {
            "y": targets.rows,
            "class_weight": targets.balance,
            "y_val": None if of_val is None else of_val.rows,
        }

    def _parts(self, rows, weight, seed, X_val=None):
        """Hold out rows with targets: a loss of the head is that of targets."""
        if not self.early_stopping or X_val is not None:
            return len(rows), None
        known = np.flatnonzero(self._learning.targets.weight(weight) > 0)
        if len(known) < 2:
            raise ValueError(
                "early_stopping=True needs at least 2 rows with a target (and positive "
                f"sample_weight) to hold one out, got n_samples = {len(known)}"
            )
        _, held_out = split_rows(len(known), self.validation_fraction, seed)
        held_out = known[held_out]
        return np.delete(np.arange(len(rows)), held_out), held_out

    def _model_of(self, n_features, output, sizes):
        if self._learning.encoder is not None:
            network = self._learning.encoder.model
        elif self.encoder is not None:  # a warm start
            network = self._state.model
        else:
            network = super()._model_of(n_features, output, sizes)
        return network.with_head(self._learning.targets.rows.shape[1], self._distribution)

    def _variant_of(self, model, dtype, **found):
        """Return the variant of fine-tuning, in which entries of rows are dropped."""
        variant = super()._variant_of(model, dtype, **found)
        level = self.input_dropout
        if level == AUTO:
            is_wide = model.n_features >= WIDE and self.solver != lbfgs.NAME
            level = INPUT_DROPOUT if is_wide else 0.0
        if not level:
            return variant
        noise = {"corruption": "dropout", "corruption_level": float(level)}
        return variant._replace(seed=found["seed"], **noise)

    def _start(self, X, rows, weight, train, held_out, seed, goes_on, **options):
        of = self._learning.encoder
        if of is None:
            return super()._start(X, rows, weight, train, held_out, seed, goes_on, **options)
        if rows.shape[1] != of.model.n_features:
            raise ValueError(
                f"X has {rows.shape[1]} features, but the encoder was fitted to "
                f"{of.model.n_features}"
            )
        dtype, output, name = of.parameters.dtype, of.model.output, self._name_of(X, False)
        scan, n_missing = self._scan(rows, train, held_out, output, dtype, weight, name)
        model, reading = self._model_of(of.model.n_features, output, None), of.reading
        flat = np.zeros(model.n_parameters, dtype)
        flat[: of.model.n_parameters] = of.parameters
        n_states = n_optimizer_states(self.solver, self.momentum)
        states = np.zeros((n_states, flat.size), dtype)
        state = FittedState(model, self.solver, flat, states, 0, 0, seed, **reading._asdict())
        is_complete = scan.n_missing + n_missing == 0
        reading = reading._replace(fill=None) if is_complete else reading
        variant = self._variant_of(model, dtype, reading=reading, seed=seed)
        return state, variant, in_units(state.scaling, scan.means)

    def _beginning(self, state, record, keep_features):
        return super()._beginning(state, record, keep_features) | self._learning.found

    def _fit_from(
        self, X, rows, weight, train, held_out, state, variant, means, goes_on, *, X_val, checkpoint
    ):
        targets = self._learning.targets
        of_targets = targets.weight(weight)
        order = np.arange(train) if isinstance(train, int) else train
        known = order[of_targets[order] > 0]
        if not len(known):
            raise ValueError("no row for training has a target and a positive sample_weight")
        self._begin(X, state, keep_features=goes_on)
        self.fit_report_ = {}
        if not goes_on:
            if self._learning.encoder is None:
                self._pretrain(X, rows, weight, train, checkpoint)
            self._begin_head(rows, known, targets, of_targets)
        train = known if self.reconstruction_weight == 0 else train
        settings, training = self._training(rows, train, self._state, variant, weight)
        self.fit_report_ = dict(settings.chosen)
        patience = self._patience(settings, training)
        validation = self._validation_of_targets(training, rows, held_out, of_targets, X_val)
        self._run(training, settings.max_epochs, validation, patience, checkpoint)
        self._report(settings, patience)

    def _begin_head(self, rows, known, targets, of_targets):
        """Set the parameters with which the head begins, and the rates of all layers' steps."""
        state, judged = self._state, spread_rows(known, JUDGED_ROWS)
        share = of_targets[known] / of_targets[known].sum()
        means = self._first_means(targets.rows[known], share)
        given = rows, judged, of_targets[judged], means, rows_variant(state)
        factors = begin_head(state, *given, self.n_threads)
        if is_scale_free(self.solver):
            of_layers = rate_factors(state.model, state.parameters)
            self._state = state._replace(rates=np.vstack([of_layers, factors]))

    def _training(self, rows, train, state, variant, weight, **options):
        """Return the settings and a training whose loss has weights of its two parts.

        The losses of targets are scaled to the mean over the rows with a target.
        """
        targets = self._learning.targets
        of_targets = targets.weight(weight)
        visited = of_targets if isinstance(train, int) else of_targets[train]
        of_targets *= len(visited) / visited.sum()
        head = Head(
            state.model.head,
            state.model.head_of(state.parameters),
            targets.rows,
            of_targets,
            alone=self.reconstruction_weight == 0,
        )
        weight = np.ones(len(rows)) if weight is None else weight
        weight = weight * float(self.reconstruction_weight)
        return super()._training(rows, train, state, variant, weight, head=head, **options)

    def _suitable_alpha(self, state):
        """Return the weight of the penalty: less, the more rows have targets.

        Gains, which could undo it, have none.
        """
        if any(layer.gain for layer in state.model.layers):
            return 0.0
        return self._penalty / self._learning.n_targets

    def _validation_of_targets(self, training, rows, held_out, of_targets, X_val):
        """Return the validation by the head's loss of held-out rows, or of those of X_val."""
        targets = self._learning.targets.rows
        if X_val is not None:
            rows, held_out = X_val, np.arange(len(X_val))
            of_val: Any = self._learning.of_val
            targets, of_targets = of_val.rows, of_val.weight(None)
        if held_out is None:
            return None
        held_out = held_out[of_targets[held_out] > 0]
        if not len(held_out):
            raise ValueError("y_val has no target")

        def loss():
            training.values()
            given = rows, held_out, targets, of_targets, rows_variant(self._state)
            return mean_loss_of_targets(self._state, *given, self.n_threads)

        return EarlyStopping(training, loss, only_watches=not self.early_stopping)

    def _report(self, settings, patience):
        state, still_falls = self._state, getattr(patience, "still_falls", False)
        given = "max_epochs" not in settings.chosen and self.n_epochs_ == settings.max_epochs
        self.fit_report_ = {
            **settings.chosen,
            "n_epochs": self.n_epochs_,
            "n_steps": state.n_steps,
            "ended": "max_epochs" if given else "budget" if still_falls else "converged",
        }
        if self.n_epochs_:
            self.fit_report_["loss"] = self.loss_curve_[-1]
            note(self.verbose, ", ".join(f"{k}={v}" for k, v in self.fit_report_.items()))


def _sum_of_weights(sample_weight: Any, targets: Targets) -> float:
    """Return the sum of the weights of rows with a target: one of weight 2 counts as two."""
    weight = np.asarray(1.0 if sample_weight is None else sample_weight, np.float64)
    return max(1.0, float(targets.weight(weight).sum()))


def _check_lengths(X: Any, y: Any, of_X: str, of_y: str) -> None:
    """Raise TypeError or ValueError unless there is a target for each row."""
    sizes = []
    for value, name in ((X, of_X), (y, of_y)):
        try:
            sizes.append(_num_samples(value))
        except TypeError as error:
            raise TypeError(f"{name} must have a row for each sample: {error}") from None
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"{of_X} and {of_y} must have the same number of rows, got inconsistent numbers of "
            f"samples: {sizes[0]} in {of_X} and {sizes[1]} in {of_y}"
        )


def _not_streamed(X: Any, name: str) -> Any:
    refuse_collection(X, name)
    X = opened(X, name)
    if isinstance(X, StreamedRows):
        raise ValueError(
            f"{name} must be rows in memory, got a stream: give aefast.stream(...).read_whole()"
        )
    return X
