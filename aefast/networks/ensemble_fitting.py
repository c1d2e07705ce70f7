"""The fit of an `AutoencoderEnsemble`: choices, initial values, training, report."""

from typing import Any

import numpy as np

from aefast._base.errors import table_name
from aefast._base.moments import statistics_of
from aefast._base.progress import note
from aefast._base.random import seed_of
from aefast.networks.ensemble_members import EnsembleState
from aefast.networks.ensemble_tables import rows_of_groups, sampled_rows
from aefast.networks.fitted import check_initial_values
from aefast.networks.outputs import resolve_output
from aefast.networks.precision import parameter_type
from aefast.networks.reading import Reading, find_logarithms
from aefast.networks.scaling import AUTO, find_scaling, in_units
from aefast.networks.scan import check_groups, scan_table
from aefast.networks.training import many_start
from aefast.networks.training.automatic import (
    PLAIN_RATE,
    RELATIVE_RATE,
    Settings,
    batch_size_of,
    is_scale_free,
)
from aefast.networks.training.budget import DECAY_BEGINS, FALLING, WINDOWS
from aefast.networks.training.many import ManyNetworks, curves_of, progress_of, train_many
from aefast.networks.training.report import _judge
from aefast.networks.training.size import is_overcomplete, overcomplete_size, size_of
from aefast.networks.training.start import (
    LINEAR_SPREAD,
    layers_start_near_pca,
    spread_of,
)
from aefast.networks.variants import noise_extremes, variant_of

SIZED_MEMBERS = 5  # members for which "auto" looks for the number of units
JUDGED_MEMBERS = 8  # members that the report compares with the best constant


class Training:
    """A training that is ready to run: called once, it trains all members in place."""

    def __init__(self, settings, X, rows, many, variant):
        self.settings, self.X, self.rows, self.many = settings, X, rows, many
        self.variant = variant
        self._losses = np.zeros((len(many.progress), 1))

    def __call__(self, stage=None):
        """Train all members, or go on from a stage of a checkpoint; return the loss curves."""
        most = max(1, int(self.many.progress["most_epochs"].max()))
        self._losses = np.zeros((len(self.many.progress), most))
        given = self.settings, self.X, self.rows, self.many, self.variant
        train_many(*given, losses=self._losses, stage=stage)
        return self.curves()

    def curves(self):
        """Return the loss curves of the epochs that have been made."""
        return curves_of(self._losses, self.many.progress)


def fitted_state_of(ensemble, X, labels, names, random, name):
    """Return the state before the first step, and the `Training` that goes on from there."""
    output = resolve_output(ensemble.output, X.shape[1], names)
    if any(segment.custom is not None for segment in output):
        raise ValueError(
            "an AutoencoderEnsemble has no user-defined distributions: use Autoencoder"
        )
    dtype = parameter_type("auto", X.dtype)
    seed = int(random.randint(np.iinfo(np.int64).max, dtype=np.int64))
    groups, sampling = None, None
    if labels is None:
        rows, sampling = sampled_rows(ensemble, X.shape, output, seed)
    else:
        groups, rows = rows_of_groups(labels)
    n = len(rows.counts)
    random_states = random.randint(np.iinfo(np.int32).max, size=n, dtype=np.int64)
    seeds = np.array([seed_of(int(s)) for s in random_states], np.uint64)
    settings = _settings(ensemble, rows)
    found = (_of_table if labels is None else _of_groups)(settings, X, rows, output, dtype, name)
    model, values, rates, found = _start(settings, X, rows, output, dtype, seeds, found, name)
    settings.n_components = model.n_components
    if ensemble.n_components == AUTO:
        settings.chosen["n_components"] = model.n_components
    progress = progress_of(settings, model, rows.counts, int(settings.batch_size))
    many = ManyNetworks(model, values, progress, seeds, rates)
    state = EnsembleState(
        model,
        ensemble.solver,
        X.shape[1],
        values,
        progress,
        random_states,
        seeds,
        rows.columns,
        found["table_means"],
        found["units"],
        rates,
        [np.zeros(0)] * n,
        groups,
        _settings_of_members(ensemble, settings),
        sampling,
    )
    variant = _variant(settings, model, dtype, found)
    return state, Training(settings, X, rows, many, variant)


# ---- choices ----


def with_fixed_parameters(ensemble, chosen=None):
    """Return the settings of an ensemble, with parameters of `Autoencoder` that it has not."""
    settings: Any = Settings(ensemble, {} if chosen is None else chosen)
    settings.top_k, settings.precision, settings.missing = None, "auto", "error"
    settings.weight_averaging = None
    return settings


def _settings(ensemble, rows):
    """Return the ensemble's parameters, with numbers for those that members share."""
    chosen: dict[str, Any] = {}
    if ensemble.batch_size == AUTO:
        chosen["batch_size"] = batch_size_of(int(np.median(rows.counts)))
    if isinstance(ensemble.corruption, str):
        chosen["corruption"] = None
    near_pca = layers_start_near_pca(ensemble)
    has_rates = near_pca and is_scale_free(ensemble.solver) and ensemble.learning_rate == AUTO
    if ensemble.learning_rate == AUTO:
        chosen["learning_rate"] = RELATIVE_RATE if has_rates else PLAIN_RATE
    if ensemble.learning_rate_schedule == AUTO:
        plans = ensemble.learning_rate == AUTO
        chosen["learning_rate_schedule"] = "trapezoid" if plans else "constant"
    return with_fixed_parameters(ensemble, chosen)


def _settings_of_members(ensemble, settings):
    """Return parameters of the members: numbers that depend on the whole ensemble."""
    names = ("n_components", "batch_size")
    return {name: int(getattr(settings, name)) for name in names} | {
        "corruption": settings.corruption
    }


def _size(settings, X, rows, units):
    """Return the number of units that suits the median of a few members."""
    if settings.n_components != AUTO:
        return int(settings.n_components)
    if is_overcomplete(settings):
        return overcomplete_size(settings, _width(X, rows))
    n, sizes = len(rows.counts), []
    for b in np.unique(np.linspace(0, n - 1, min(n, SIZED_MEMBERS)).astype(int)):
        table = rows.table_of(X, b, slice(0, many_start.SURVEYED_ROWS))
        sizes.append(size_of(settings, table, len(table), None, units.reading(b))[0])
    return int(np.sort(sizes)[len(sizes) // 2])


def _width(X, rows):
    return X.shape[1] if rows.columns is None else rows.columns.shape[1]


# ---- statistics of the rows ----


def _of_table(settings, X, rows, output, dtype, name):
    """Return statistics and units of members that share a table."""
    n_rows, d, n = len(X), X.shape[1], len(rows.counts)
    scan = scan_table(X, n_rows, output, dtype, settings.n_threads, name=name, with_extremes=True)
    near_pca = layers_start_near_pca(settings)
    scaling = logarithms = None
    if settings.scale is not None and (settings.scale != AUTO or near_pca):
        given = X, n_rows, None, output
        scaling = find_scaling(settings.scale, *given, scan.means, name)
        logarithms = find_logarithms(*given)
    if settings.scale == AUTO:
        settings.chosen["scale"] = None if scaling is None else scaling.kind

    def of_members(values):
        return np.stack([values] * n) if rows.columns is None else values[rows.columns]

    covariances = None
    if near_pca:
        seen = _spread_rows(X, n_rows, d)
        seen = Reading(None, scaling, logarithms).encoder_rows(seen)
        statistics = statistics_of(seen, None, n_threads=settings.n_threads)
        whole = statistics.scatter_ / max(statistics.weight_sum_, 1)
        covariances = (
            np.broadcast_to(whole, (n, d, d))
            if rows.columns is None
            else whole[rows.columns[:, :, np.newaxis], rows.columns[:, np.newaxis]]
        )
        centres = of_members(statistics.mean_)
    return {
        "units": many_start.units_of_columns(scaling, logarithms, rows.columns, n),
        "table_means": scan.means,
        "means": of_members(in_units(scaling, scan.means)),
        "centres": centres if near_pca else None,
        "extremes": (of_members(scan.low), of_members(scan.high)),
        "covariances": covariances,
    }


def _spread_rows(X, n_rows, d):
    from aefast._base.passes import copied_rows
    from aefast.networks.training.parts import MOST_ENTRIES, spread_rows

    rows = copied_rows(X, spread_rows(n_rows, max(2, MOST_ENTRIES // d)))
    return rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64)


def _of_groups(settings, X, rows, output, dtype, name):
    """Return statistics and units of members that each have rows of their own."""
    near_pca = layers_start_near_pca(settings)
    found = many_start.survey_rows(
        X,
        rows,
        dtype,
        settings.n_threads,
        output=output,
        name=name,
        covariances=near_pca,
    )
    check_groups(X, name, output)
    units = many_start.units_of_groups(settings, X, rows, found, output, name, near_pca)
    if settings.scale == AUTO:  # the kinds of the groups' units, each of which may differ
        kinds = {None if scaling is None else scaling.kind for scaling in units.scalings}
        settings.chosen["scale"] = kinds.pop() if len(kinds) == 1 else "auto"
    means = np.stack([in_units(s, m) for s, m in zip(units.scalings, found.means, strict=True)])
    covariances, centres = None, means
    if near_pca:
        covariances = many_start.scaled_covariances(found.covariances, units.scalings)
        if any(log is not None for log in units.logarithms):
            covariances, centres = _of_logarithms(X, rows, units, settings)
    weights = rows.counts / rows.counts.sum()
    return {
        "units": units,
        "table_means": weights @ found.means,
        "means": means,
        "centres": centres,
        "extremes": (found.low, found.high),
        "covariances": covariances,
    }


def _of_logarithms(X, rows, units, settings):
    """Return covariances and means of rows as encoders read them, where these take logarithms."""
    covariances, means = [], []
    for b in range(len(rows.counts)):
        table = rows.table_of(X, b, slice(0, many_start.SURVEYED_ROWS))
        table = units.reading(b).encoder_rows(table.astype(np.float64))
        found = statistics_of(table, None, n_threads=settings.n_threads)
        covariances.append(found.scatter_ / found.weight_sum_)
        means.append(found.mean_)
    return np.stack(covariances), np.stack(means)


# ---- initial values ----


def _start(settings, X, rows, output, dtype, seeds, found, name):
    """Return the model, values, rate factors or None, and the statistics."""
    ensemble, units = settings, found["units"]
    k = _size(settings, X, rows, units)
    model = ensemble._model_of(_width(X, rows), output, (k,))
    values = many_start.blank_values(model, settings, dtype, len(seeds), found["means"])
    _check_biases(model, values, rows, found, name)
    rates = None
    if layers_start_near_pca(settings):
        spread = spread_of(model, LINEAR_SPREAD)
        given = settings, X, rows, model, values, seeds, units, found["means"], spread
        factor = many_start.judged_factor(*given)
        rates = many_start.start_many_near_pca(
            *(model, values, seeds, found["centres"], found["covariances"]),
            factor,
            settings.n_threads,
            spread,
        )
        uses_rates = is_scale_free(settings.solver) and ensemble._estimator.learning_rate == AUTO
        rates = rates if uses_rates else None
    else:
        many_start.draw_weights_of_many(model, values, seeds, settings.init)
    return model, values, rates, found


def _check_biases(model, values, rows, found, name):
    """Raise the error of `check_initial_values` for the first member that has one."""
    biases = model.layers[0].split(values[:, 0]).c
    bad = np.flatnonzero(~np.isfinite(biases).all(axis=1))
    if len(bad):
        from aefast.networks.ensemble_members import FittedState

        b = int(bad[0])
        state = FittedState(model, "", values[b, 0], values[b, 1:], 0, 0, 0)
        label = name if rows.columns is None else table_name(None)
        check_initial_values(state, found["means"][b], label)


def _variant(settings, model, dtype, found):
    """Return the variant of all members, whose arrays have a first dimension for the members."""
    plain = variant_of(
        settings,
        model,
        dtype,
        seed=0,
        reading=Reading(),
        extremes=(np.zeros(model.n_features), np.zeros(model.n_features)),
    )
    scalings, logarithms = found["units"]
    d, arrays = model.n_features, {}
    if any(s is not None for s in scalings):
        arrays["shift"] = np.stack([np.zeros(d) if s is None else s.shift for s in scalings])
        arrays["factor"] = np.stack([np.ones(d) if s is None else s.factor for s in scalings])
    if any(log is not None for log in logarithms):
        for i, field in enumerate(("log_offset", "log_centre")):
            parts = [np.zeros(d) if log is None else log[i] for log in logarithms]
            arrays[field] = np.stack(parts).astype(dtype)
    if plain.corruption == "salt_and_pepper":
        ends = [noise_extremes(model, ends) for ends in zip(*found["extremes"], strict=True)]
        for i, field in enumerate(("low", "high")):
            parts = [in_units(s, end[i]) for s, end in zip(scalings, ends, strict=True)]
            arrays[field] = np.stack(parts).astype(dtype)
    return plain._replace(**arrays)


# ---- report ----


def report_of(ensemble, X, training):
    """Return the `fit_report_` of an ensemble."""
    state, settings = ensemble._state, training.settings
    losses = []
    for b in np.unique(np.linspace(0, len(state.curves) - 1, JUDGED_MEMBERS).astype(int)):
        if state.progress["has_diverged"][b]:
            continue
        member = state.fitted_state(int(b))
        table = training.rows.table_of(X, b, slice(0, 512))
        means = in_units(member.scaling, table.mean(axis=0, dtype=np.float64))
        losses.append(_judge(member, table, None, means, ensemble.n_threads))
    loss, constant = np.mean(losses, axis=0) if losses else (np.nan, np.nan)
    still_falling = 0
    if ensemble.max_epochs == AUTO:
        budgets = progress_of(settings, state.model, training.rows.counts, settings.batch_size)
        decays = settings.learning_rate_schedule == "trapezoid"
        still_falling = sum(
            _still_falls(curve, int(budget), decays)
            for curve, budget in zip(state.curves, budgets["most_epochs"], strict=True)
        )
    report = {
        **settings.chosen,
        "n_members": len(state.progress),
        "n_diverged": int(state.progress["has_diverged"].sum()),
        "n_still_falling": int(still_falling),
        "n_epochs": (int(state.progress["n_epochs"].min()), int(state.progress["n_epochs"].max())),
        "loss": float(loss),
        "constant_loss": float(constant),
    }
    n_epochs = "{} to {}".format(*report["n_epochs"])
    note(
        ensemble.verbose,
        f"{report['n_members']} networks, {n_epochs} epochs: loss {loss:.4g}, column means "
        f"{constant:.4g} nats",
    )
    return report


def _still_falls(curve, budget, decays):
    """Return `Budget.still_falls` of a loss curve."""
    if len(curve) < budget:
        return False
    width = max(1, budget // WINDOWS)
    means = curve[: len(curve) // width * width].reshape(-1, width).mean(axis=1)
    if len(means) < 4:
        return False
    old, new = means[: max(2, int(len(means) * (DECAY_BEGINS if decays else 1.0)))][-2:]
    return bool(old - new > FALLING * abs(new))
