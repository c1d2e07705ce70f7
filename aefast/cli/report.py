"""Reports of the command: the quality of a fit, the contents of a model file."""

import os
from typing import Any

import numpy as np

import aefast
from aefast._base import threads
from aefast.networks.scaling import in_units
from aefast.networks.scan import scan_table
from aefast.networks.training.constant import best_constant
from aefast.networks.training.report import JUDGED_ROWS
from aefast.networks.training.start import judged_rows


def losses_before(model, subsets):
    """Return losses of an initialised autoencoder, and of the constant that predicts column means.

    `subsets` maps names to rows, of which those of "train" have the means, and the parameters of
    distributions that are best for these.
    """
    state, train, n_threads = model._state, subsets["train"], model.n_threads
    given = train, len(train), state.model.output, state.parameters.dtype, n_threads
    means = in_units(state.scaling, scan_table(*given, missing=state.fill is not None).means)
    judged, _ = judged_rows(train, len(train), None, JUDGED_ROWS)
    constant = best_constant(state, judged, None, means, n_threads)
    return {
        name: {"before": mean_loss(model, rows), "column_means": constant.loss(rows)}
        for name, rows in subsets.items()
    }


def mean_loss(model, rows):
    """Return the mean training loss of rows in nats, or None if it overflows."""
    try:
        return float(model.reconstruction_error(rows).mean(dtype=float))
    except FloatingPointError:
        return None


def n_passes(model):
    """Return the number of passes over the rows in training, pre-training of layers included."""
    return model.n_epochs_ + sum(map(len, getattr(model, "pretraining_loss_curves_", ())))


def metrics(arguments, model, subsets, losses, seconds, stopped):
    """Return the contents of metrics.json: the results of a fit and the conditions of the run."""
    ends = {
        type(None): "finished",
        KeyboardInterrupt: "interrupted",
        FloatingPointError: "diverged",
    }
    build = aefast.build_info()
    n_train, network = len(subsets["train"]), model._state.model
    chosen = model.fit_report_
    work = (
        10.0 * min(chosen.get("batch_size", model.batch_size), n_train) * network.n_multiplied
    )  # operations of a training step
    curves = getattr(model, "pretraining_loss_curves_", None)
    n_rows_seen = model._state.n_rows_seen + n_train * (n_passes(model) - model.n_epochs_)
    parameters = model.get_params(deep=False)
    for name in ("callbacks", *model._parameters_of_process):
        del parameters[name]
    return {
        "aefast_version": build["version"],
        "data": arguments.data,
        "scaled": arguments.scale,
        "n_rows": {name: len(rows) for name, rows in subsets.items()},
        "n_features": network.n_features,
        "parameters": parameters,
        "layer_sizes": [layer.n_components for layer in network.layers],
        "training": ends[type(stopped)],
        "n_epochs": model.n_epochs_,
        "n_rows_seen": n_rows_seen,
        "seconds": seconds,
        "rows_per_second": n_rows_seen / seconds,
        "n_threads": threads.effective_n_threads(model.n_threads, work),
        "isa": build["isa"],
        "blas": build["blas"],
        "loss_unit": "nats per row",
        "loss": losses,
        **({} if curves is None else {"pretraining_loss_curves": curves}),
        "loss_curve": model.loss_curve_,
        "validation_loss_curve": model.validation_loss_curve_,
    }


def beats_the_means(losses):
    """Return whether the loss of the training rows ends below that of the column means."""
    row = losses["train"]
    means = row["column_means"]
    return row["after"] is not None and row["after"] <= means + 1e-6 * abs(means)


def summary(arguments, metrics, written):
    """Return the text that `fit` prints at its end; `written` lists the files written."""
    n_rows, losses = metrics["n_rows"], metrics["loss"]
    n_held_out = n_rows.get("test", 0)
    lines = [
        f"{arguments.data}: {n_rows['train']:,} rows of {metrics['n_features']:,} features to "
        f"train on, {n_held_out:,} held out",
        "",
        f"{'loss in nats per row':<22}{'before':>12}{'after':>12}{'column means':>16}",
    ]
    for name, label in (("train", "training rows"), ("test", "held-out rows")):
        if name in losses:
            row = losses[name]
            cells = _cell(row["before"]), _cell(row["after"]), _cell(row["column_means"])
            lines.append("  {:<20} {:>11} {:>11} {:>15}".format(label, *cells))
    shown = losses.get("test", losses["train"])
    means, after = shown["column_means"], shown["after"]
    if after is not None and means:
        side = "below" if after <= means else "above"
        # logarithms of densities have no zero that means anything
        is_share = means > 0 and after >= 0
        much = f"{abs(1 - after / means):.1%}" if is_share else f"{abs(after - means):.3g} nats"
        rows = "held-out" if n_held_out else "training"
        lines.append(f"  the {rows} loss ends {much} {side} that of predicting each column's mean")
    n_threads, sizes = metrics["n_threads"], " → ".join(map(str, metrics["layer_sizes"]))
    if (arguments.layer_sizes or arguments.n_components) == "auto":
        lines += ["", f"hidden units, chosen for the training rows: {sizes}"]
    lines += [
        "",
        f"{metrics['n_epochs']} epochs in {metrics['seconds']:.2f} s: "
        f"{metrics['rows_per_second']:,.0f} rows/s with {n_threads} "
        f"thread{'s' * (n_threads > 1)}, {metrics['isa']} instructions",
        f"{arguments.out}: {written}",
    ]
    return "\n".join(lines)


def _cell(loss):
    if loss is None:
        return "overflows"
    return f"{loss:.4f}" if abs(loss) < 1e5 else f"{loss:.4g}"


def model_facts(path):
    """Return the facts about a model file that `info` prints, by name."""
    model = aefast.load(path)
    facts: dict[str, Any] = {
        "file": f"{path} ({os.path.getsize(path):,} bytes)",
        "model": type(model).__name__,
    }
    if not hasattr(model, "_saved_parameters"):  # scikit-learn's, a pipeline
        steps = getattr(model, "steps", [])
        return facts | {"steps": [f"{name}: {type(step).__name__}" for name, step in steps]}
    facts["features"] = f"{model.n_features_in_:,}"
    is_network = isinstance(model, aefast.Autoencoder | aefast.StackedAutoencoder)
    facts |= _network_facts(model) if is_network else _facts(model)
    if hasattr(model, "feature_names_in_"):
        facts["feature names"] = list(model.feature_names_in_)
    return facts | model._saved_parameters()


def _network_facts(model):
    curve, validation_curve = model.loss_curve_, model.validation_loss_curve_
    state = model._state
    layers = [layer for layer, _ in state.model.layer_views(state.parameters)]
    facts = {
        "components": " → ".join(f"{layer.n_components:,}" for layer in layers),
        "weights": f"{'tied' if layers[0].tied else 'untied'}, {state.parameters.dtype}",
        "parameters": f"{state.parameters.size:,}",
        "training": f"{model.n_epochs_:,} epochs, {state.n_steps:,} steps, {state.n_rows_seen:,} "
        "rows",
    }
    for number, losses in enumerate(getattr(model, "pretraining_loss_curves_", ()), 1):
        if losses:
            facts[f"pre-training of layer {number}"] = (
                f"{len(losses):,} epochs, loss {losses[0]:.6g} in the first, {losses[-1]:.6g} in "
                "the last"
            )
    if curve:
        facts["loss"] = (
            f"{curve[0]:.6g} in the first epoch, {curve[-1]:.6g} in the last (nats per row)"
        )
    if validation_curve:
        best = int(np.argmin(validation_curve))
        facts["validation loss"] = f"{validation_curve[best]:.6g} at best, in epoch {best + 1}"
    return facts


def _facts(model):
    """Return the facts about a model other than a network, from its usual attributes."""
    facts = {}
    if hasattr(model, "components_"):
        facts["components"] = f"{len(model.components_):,}"
    if isinstance(model, aefast.SparseCoder):
        facts["components"] = f"{model.n_components_:,}"
    if hasattr(model, "n_mixtures_"):
        facts["factors of each"] = f"{model.n_components_:,}"
    for name in ("n_samples_seen_", "n_samples_"):
        if hasattr(model, name):
            facts["rows seen"] = f"{getattr(model, name):,}"
    if getattr(model, "log_likelihood_curve_", None):
        facts["log-likelihood"] = f"{model.log_likelihood_curve_[-1]:.6g} nats per row fitted to"
    return facts
