"""The methods `fit` and `partial_fit` of all networks."""

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._available_if import available_if

from aefast._base import arrays as check
from aefast._base.checkpoints import Checkpoint
from aefast._base.epochs import run_epochs
from aefast._base.errors import table_name
from aefast._base.fingerprints import fingerprint
from aefast._base.random import held_out_rows, seed_of, split_rows
from aefast._base.stopping import EarlyStopping, Patience
from aefast._base.stream_parts import AllBut
from aefast._base.streams import StreamedRows, opened
from aefast.networks.fitted import (
    FittedState,
    check_initial_values,
    continued_state,
    initial_state,
)
from aefast.networks.one_pass import mean_loss
from aefast.networks.outputs import resolve_output, selects_columns, with_selected
from aefast.networks.precision import parameter_type
from aefast.networks.reading import Reading, find_logarithms
from aefast.networks.scaling import find_scaling, in_units
from aefast.networks.scan import scan_table
from aefast.networks.training import lbfgs
from aefast.networks.training.automatic import (
    AUTO,
    is_scale_free,
    settings_of,
    sizes_are_chosen,
)
from aefast.networks.training.budget import Budget
from aefast.networks.training.gaps import prepared_for_gaps, prepares_for_gaps
from aefast.networks.training.minibatches import divergence_error, start_training
from aefast.networks.training.parameters import check_parameters
from aefast.networks.training.report import report_fit
from aefast.networks.training.schedules import absolute_patience, patience_of
from aefast.networks.training.size import size_of
from aefast.networks.training.start import (
    LINEAR_SPREAD,
    layers_start_near_pca,
    rate_factors,
    spread_of,
    start_near_pca,
    starts_near_pca,
)
from aefast.networks.variants import check_precision_of_groups, needs_extremes, rows_variant


class NetworkFitting:
    """`fit` and `partial_fit` of an estimator with a `_state` and loss curves.

    The estimator defines its network (`_model_of`), the numbers of units that it was given or that
    suit a code of k units (`_given_sizes`, `_sizes_around`), and the variants of a training step
    (`_check_variants`, `_variant_of`).
    """

    # attributes and methods that the estimator defines
    _parameter_constraints: dict
    _state: FittedState
    _model_of: Callable[..., Any]
    _given_sizes: Callable[[], tuple[int, ...]]
    _sizes_around: Callable[[int], tuple[int, ...]]
    _check_variants: Callable[[], None]
    _variant_of: Callable[..., Any]
    _describe: Callable[..., str]
    _history_rows: Callable[[], list[Any]]
    __sklearn_is_fitted__: Callable[[], bool]
    output: Any
    missing: str
    missing_fill: str
    sparse_means: str
    row_norm: str | None
    corruption: Any
    solver: str
    momentum: float
    batch_size: int | str
    max_epochs: int | str
    learning_rate: float | str
    init: str
    scale: str | None
    gain: bool | str
    tol: float
    n_epochs_no_change: int
    early_stopping: bool
    validation_fraction: float
    warm_start: bool
    weight_averaging: float | None
    precision: str
    n_threads: int | None
    random_state: Any
    callbacks: Any
    checkpoint_every: int | str
    verbose: Any
    _history: list[Any]
    fit_report_: dict[str, Any]
    loss_curve_: list[float]
    validation_loss_curve_: list[float]
    n_epochs_: int

    _linear_spread = LINEAR_SPREAD  # of a start near PCA, for one layer with linear output
    _stage = ""  # beginning of the progress bar, in trainings of several stages

    def _check_parameters(self):
        check_parameters(self)
        self._check_variants()

    def _draw_seed(self):
        return seed_of(self.random_state)

    def _begin(self, X, state, keep_features, record=None):
        """Make the estimator a fitted one, with the state from which training starts.

        All attributes change in one call, between whose parts no KeyboardInterrupt arrives and no
        other thread reads.
        """
        fitted = self._beginning(state, record or ([], [], 0), keep_features)
        if not keep_features:
            names = check.feature_names(X)
            if names is None:
                vars(self).pop("feature_names_in_", None)
            else:
                fitted["feature_names_in_"] = names
        vars(self).update(fitted)

    def _beginning(self, state, record, keep_features):
        """Return the attributes of an estimator whose training starts, by name."""
        names = ("loss_curve_", "validation_loss_curve_", "n_epochs_")
        rows = getattr(self, "_history", []) if keep_features else []
        return {"_state": state, "_history": rows} | dict(zip(names, record, strict=True))

    def _validation(self, training, held_out, weight, X_val):
        """Return the validation by held-out rows, whose numbers are given, or by those of X_val."""
        if held_out is not None and isinstance(training.X, StreamedRows):
            rows = training.X.take(held_out)
            weight = None if weight is None else weight[held_out]
            variant = rows_variant(self._state)
            loss = partial(self._loss_of_others, training, rows, variant, weight)
        elif held_out is not None:
            loss = partial(training.mean_loss, held_out, self.n_threads, weight)
        elif X_val is not None:
            loss = partial(self._loss_of_others, training, X_val, rows_variant(self._state))
        else:
            return None
        return EarlyStopping(training, loss, only_watches=not self.early_stopping)

    def _loss_of_others(self, training, rows, variant, weight=None):
        """Return the mean loss of other rows than those of the training."""
        model = self._state.model
        parameters = model.split(training.values()[0])
        options = {"variant": variant, "sample_weight": weight}
        return mean_loss(model, parameters, rows, len(rows), self.n_threads, **options)

    def _run(
        self, training, n_epochs, validation=None, patience=None, checkpoint=None, name="training"
    ):
        """Train, and keep the estimator's state up to date.

        `validation` is an `EarlyStopping` or None, `checkpoint` a `Checkpoint` or None, of which
        this is the stage `name`.
        """
        if patience is None:
            is_lbfgs = self.solver == lbfgs.NAME
            patience = absolute_patience(self) if is_lbfgs else patience_of(self, training.trainer)
        stage = self._stage
        if sizes_are_chosen(self):
            sizes = [f"{layer.n_components}" for layer in self._state.model.layers]
            stage += f"{', '.join(sizes)} units, "
        stored = None if checkpoint is None else checkpoint.stage(name)
        given = training, n_epochs, patience, validation
        run_epochs(self, *given, stage=stage, checkpoint=stored)

    # ---- hooks of run_epochs ----

    def _curves(self):
        return self.loss_curve_, self.validation_loss_curve_

    def _keep(self, training):
        """Update the counters of the state, which shares its arrays with the training."""
        n_steps = training.values()[2]
        self._state = self._state._replace(n_steps=n_steps, n_rows_seen=training.n_rows_seen)

    def _divergence_error(self, epoch, column):
        return divergence_error(self, epoch, column)

    # ---- fitting ----

    def fit(
        self,
        X: ArrayLike,
        y: object = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
    ) -> Self:
        """Train on X.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
            Rows in the domain of the output's distributions and finite (or NaN with
            missing="mask"). The notes of the class say when they are copied. What `aefast.stream`
            returns, and paths of files and datasets, are read pass by pass.
        y : ignored
        sample_weight : array-like (n_samples,) or None, default=None
            Non-negative weights, scaled to mean 1. The loss of a batch is the sum of its weighted
            losses divided by the number of its rows. `early_stopping` holds out rows of positive
            weight.
        X_val : array-like or stream (n_validation_samples, n_features) or None, default=None
            Rows whose mean loss after each epoch is the validation loss. `early_stopping` then
            holds out no rows of X; without it training does not depend on them.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For invalid parameters (or a precision that this processor does not have) or input, or a
            checkpoint of another fit; the fitted state does not change.
        FloatingPointError
            If training diverges; the last finite parameters are kept.
        """
        self._check_parameters()
        X, X_val = opened(X), opened(X_val, "X_val")
        before, is_stream = dict(vars(self)), isinstance(X, StreamedRows)
        try:
            return self._fit(X, sample_weight, X_val, Checkpoint.of(self))
        except (ValueError, OSError):
            if is_stream:  # which can fail at any row: the former model stays
                vars(self).clear()
                vars(self).update(before)
            raise

    def _fit(self, X, sample_weight, X_val, checkpoint):
        goes_on = self.warm_start and self.__sklearn_is_fitted__()
        rows = self._table(X, reset=not goes_on)
        weight = check.as_mean_weight(sample_weight, len(rows))
        X_val = None if X_val is None else self._table_like(X, rows, X_val)
        draw = self._draw_seed if checkpoint is None else partial(checkpoint.seed, self._draw_seed)
        seed = self._state.seed if goes_on else draw()
        train, held_out = self._parts(rows, weight, seed, X_val)
        if checkpoint is not None:
            tables = {"X": rows, "sample_weight": weight, "X_val": X_val} | self._more_tables()
            start = self._description_of_start() if goes_on else None
            checkpoint.identify(seed, tables, check.feature_names(X), start)
        state, variant, means = self._start(X, rows, weight, train, held_out, seed, goes_on)
        if X_val is not None:
            output, dtype = state.model.output, state.parameters.dtype
            missing = self.missing == "mask" or getattr(X_val, "absent_missing", False)
            options = {"missing": missing, "name": "X_val"}
            scan_table(X_val, len(X_val), output, dtype, self.n_threads, **options)
        if checkpoint is not None:
            shift = np.empty(0) if state.scaling is None else state.scaling.shift
            checkpoint.confirm(column_means=np.concatenate([means, shift]))
        given = rows, weight, train, held_out, state, variant, means, goes_on
        self._fit_from(X, *given, X_val=X_val, checkpoint=checkpoint)
        return self

    def _more_tables(self):
        """Return what else is fitted to, by the names of arguments, for a checkpoint."""
        return {}

    def _description_of_start(self):
        """Return the parameters that a warm start goes on from, for a checkpoint."""
        return {"parameters": fingerprint(self._state.parameters), "n_steps": self._state.n_steps}

    def _fit_from(
        self, X, rows, weight, train, held_out, state, variant, means, goes_on, *, X_val, checkpoint
    ):
        seen, variant = prepared_for_gaps(self, rows, train, weight, state, variant, goes_on)
        if seen is not rows:
            state = self._initialised(state, seen, train, weight, means)
        settings, training = self._training(seen, train, state, variant, weight)
        if prepares_for_gaps(self) and variant.corruption:
            settings.chosen["corruption"] = variant.corruption, variant.corruption_level
        self._begin(X, state, keep_features=goes_on)
        self.fit_report_ = dict(settings.chosen)
        patience = self._patience(settings, training)
        validation = self._validation(training, held_out, weight, X_val)
        self._run(training, settings.max_epochs, validation, patience, checkpoint)
        report_fit(self, settings, training, patience, rows, train, weight, means)

    def _training(self, rows, train, state, variant, weight, **options):
        """Return the settings and a training on the rows by the estimator's solver."""
        n_rows = train if isinstance(train, int) else len(train)
        uses_rates = self.learning_rate == AUTO and state.rates is not None
        single = {"single_pass": "n_epochs_made" in options}
        settings = settings_of(self, state, n_rows, has_rates=uses_rates, **single)
        if self.solver == lbfgs.NAME:
            lbfgs.refuse_stream(rows)
            head = options.get("head")
            return settings, lbfgs.FullBatch(settings, rows, state, variant, weight, head)
        rates = state.rates if uses_rates else None
        return settings, start_training(
            settings, rows, train, state, variant, weight, rate_factors=rates, **options
        )

    def _patience(self, settings, training):
        """Return what ends the training before its number of epochs, or None for the usual."""
        if self.max_epochs != AUTO:
            return None if self.solver == lbfgs.NAME else patience_of(settings, training.trainer)
        if self.solver == lbfgs.NAME:
            return Patience(self.tol, self.n_epochs_no_change, relative=True)
        decays = settings.learning_rate_schedule == "trapezoid"
        return Budget(training.trainer, settings.max_epochs, self.tol, decays)

    _trains_on_partitions = True

    def _fit_partitions(self, partitions, method="auto", local_steps=None):
        """Fit to rows in partitions; `aefast.dask.fit` documents it."""
        from aefast.networks.training.partitioned import fit_partitions

        return fit_partitions(self, partitions, method, local_steps)

    @available_if(lbfgs.works_in_batches)
    def partial_fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one pass over X, from the fitted parameters and optimizer state.

        The first call initialises them, and determines the type of the computation. `max_epochs`,
        `early_stopping` and `tol` are not used.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
            The rows of an iterator are gathered to windows (see `aefast.stream`) and trained on
            window by window, as by one call for each of them.
        y : ignored
        sample_weight : array-like (n_samples,) or None, default=None

        Returns
        -------
        self
        """
        self._check_parameters()
        X = opened(X)
        if isinstance(X, StreamedRows) and X.source.reads_once:
            X.refuse_weights(sample_weight)
            for part in X.parts():
                self._partial_fit(part, None)
            return self
        return self._partial_fit(X, sample_weight)

    def _partial_fit(self, X, sample_weight):
        goes_on = self.__sklearn_is_fitted__()
        rows = self._table(X, reset=not goes_on)
        weight = check.as_mean_weight(sample_weight, len(rows))
        seed = self._state.seed if goes_on else self._draw_seed()
        state, variant, _ = self._start(X, rows, weight, len(rows), None, seed, goes_on)
        record = (
            (self.loss_curve_, self.validation_loss_curve_, self.n_epochs_)
            if goes_on
            else ([], [], 0)
        )
        settings, training = self._training(
            rows, len(rows), state, variant, weight, n_epochs_made=record[-1]
        )
        self._begin(X, state, keep_features=goes_on, record=record)
        self._run(training, 1, patience=patience_of(settings, training.trainer))
        return self

    def _start(self, X, rows, weight, train, held_out, seed, goes_on, *, scan=None, n_missing=0):
        """Check the rows; return the state and variant of the start, and the column means.

        The means are in the model's units. Held-out rows are checked but do not enter the state.
        The estimator does not change. `scan` is that of all rows where these are a sample of them;
        None: it is that of the rows. `n_missing` counts columns with gaps in rows elsewhere.
        """
        d = rows.shape[1]
        output, dtype = self._output_and_type(X, rows, goes_on)
        name, absent_missing = self._name_of(X, goes_on), getattr(rows, "absent_missing", False)
        if scan is None:
            scan, of_held_out = self._scan(rows, train, held_out, output, dtype, weight, name)
            n_missing += of_held_out
        n_missing += scan.n_missing
        fill = None
        if self.missing == "mask":
            fill = scan.means if self.missing_fill == "mean" else np.zeros(d)
        if goes_on:
            reading = self._state.reading
        else:
            reading = self._reading(rows, train, weight, output, fill, scan.means, name)
        if absent_missing:
            fill = reading.zeros(d)
        reading = reading._replace(fill=fill)
        means = in_units(reading.scaling, scan.means)
        of_rows = reading if n_missing else reading._replace(fill=None)
        sizes, spectrum = self._sizes_and_spectrum(rows, train, weight, of_rows, goes_on)
        model = self._model_of(d, output, sizes)
        if goes_on:
            state = continued_state(self._state, model, self)
            state = state._replace(fill=fill if state.fill is None else state.fill)
        else:
            state = initial_state(model, self, means, dtype, seed, reading)
            state = self._initialised(state, rows, train, weight, means, spectrum)
        check_initial_values(state, means, name, only_fill=goes_on)
        check_precision_of_groups(model, self.precision)
        variant = self._variant_of(
            model,
            dtype,
            seed=seed,
            reading=state.reading if n_missing else state.reading._replace(fill=None),
            extremes=(scan.low, scan.high),
            n_rows=train if held_out is None else len(train),
        )
        state = state._replace(fill=None) if fill is None else state
        return state, variant, means

    def _output_and_type(self, X, rows, goes_on):
        """Return the output for the columns of X, and the type of the parameters."""
        if goes_on and selects_columns(self.output):
            output = self._state.model.output
        else:
            names = getattr(self, "feature_names_in_", None) if goes_on else check.feature_names(X)
            output = resolve_output(with_selected(self.output, X), rows.shape[1], names)
        dtype = parameter_type(self.precision, rows.dtype)
        return output, self._state.parameters.dtype if goes_on else dtype

    def _name_of(self, X, goes_on):
        return table_name(X, self if goes_on else None)

    def _scan(self, rows, train, held_out, output, dtype, weight, name):
        """Check the rows; return the `Scan` of those for training, and n_missing of the others."""
        absent_missing = getattr(rows, "absent_missing", False)
        options = {"missing": self.missing == "mask" or absent_missing, "sample_weight": weight}
        options |= {"with_extremes": needs_extremes(self), "name": name}
        scan = scan_table(rows, train, output, dtype, self.n_threads, **options)
        if held_out is None:
            return scan, 0
        found = scan_table(rows, held_out, output, dtype, self.n_threads, **options)
        return scan, found.n_missing

    def _table_like(self, X, rows, X_val):
        """Return the table of X_val, whose columns must be those of X."""
        absent_missing = self.sparse_means == "missing"
        return check.validation_rows(self, X, rows, X_val, absent_missing=absent_missing)

    def _table(self, X, *, reset):
        """Return X as rows that kernels can read, dense or `SparseRows`."""
        absent_missing = self.sparse_means == "missing"
        return check.sparse_or_dense_rows(self, X, reset=reset, absent_missing=absent_missing)

    def _reading(self, rows, train, weight, output, fill, means, name):
        """Return how a new network reads the rows."""
        normed = self.row_norm is not None
        if self.scale is None or (self.scale == AUTO and not layers_start_near_pca(self)):
            return Reading(fill, normed=normed)
        given = rows, train, weight, output
        scaling = find_scaling(self.scale, *given, means, name)
        return Reading(fill, scaling, None if normed else find_logarithms(*given), normed)

    def _sizes_and_spectrum(self, rows, train, weight, reading, goes_on):
        """Return each layer's number of units, and the rows' spectrum if it has been computed."""
        if not sizes_are_chosen(self):
            return self._given_sizes(), None
        if goes_on:
            return tuple(layer.n_components for layer in self._state.model.layers), None
        k, spectrum = size_of(self, rows, train, weight, reading)
        return self._sizes_around(k), spectrum

    def _initialised(self, state, X, train, weight, means, spectrum=None):
        """Return the state before the first step, with initial values that suit the rows."""
        if not starts_near_pca(self, state.model):
            return state
        spread = spread_of(state.model, self._linear_spread)
        start_near_pca(state, X, train, weight, means, self.n_threads, spread, spectrum)
        rates = rate_factors(state.model, state.parameters, spread)
        return state._replace(rates=rates if is_scale_free(self.solver) else None)

    def _parts(self, rows, weight, seed, X_val=None):
        """Return the rows for training and those that early stopping holds out.

        Without early stopping, or with X_val, these are the number of all rows and None. Rows are
        held out among those of positive weight, because the others have no part in a mean loss.
        """
        n_rows = len(rows)
        if not self.early_stopping or X_val is not None:
            return n_rows, None
        if n_rows < 2:
            raise ValueError(
                "early_stopping=True needs at least 2 samples to hold one out, got n_samples = "
                f"{n_rows}"
            )
        if isinstance(rows, StreamedRows):
            return self._parts_of_stream(rows, weight, seed)
        if weight is None:
            return split_rows(n_rows, self.validation_fraction, seed)
        weighted = np.flatnonzero(weight > 0)
        if len(weighted) < 2:
            raise ValueError(
                "early_stopping=True needs at least 2 rows of positive sample_weight to hold one "
                f"out, got {len(weighted)} of {n_rows}"
            )
        _, held_out = split_rows(len(weighted), self.validation_fraction, seed)
        held_out = weighted[held_out]
        return np.delete(np.arange(n_rows), held_out), held_out

    def _parts_of_stream(self, rows, weight, seed):
        """Return the rows of a stream for training, and the held-out ones, which stay in memory.

        These take at most as much memory as a window.
        """
        if weight is not None:
            raise ValueError(
                "early_stopping=True holds out rows of a stream without sample_weight alone: give "
                "rows for the validation as X_val"
            )
        held_out = held_out_rows(len(rows), self.validation_fraction, seed, most=rows.window_rows())
        return AllBut(len(rows), held_out), held_out
