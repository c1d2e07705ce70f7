"""Report of a fit: what was chosen, how it ended, and warnings where it cannot be trusted."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from aefast._base.progress import note
from aefast._base.warnings import warn
from aefast.networks._autoencoder import BOUNDED_ACTIVATIONS, activation_table
from aefast.networks.one_pass import mean_loss, one_pass
from aefast.networks.training.constant import best_constant
from aefast.networks.training.start import judged_rows
from aefast.networks.variants import rows_variant

JUDGED_ROWS = 512  # rows on which the fit is compared with the constant
MARGIN = 1e-6  # relative excess over the constant's loss that rounding does not explain
SATURATED = 1e-3  # distance to an end of the activation, in its range, of a saturated code
MOST_SATURATED = 0.5  # share of saturated codes that is worth a warning
MOST_DEAD = 0.5  # share of dead units that is worth a warning

_RANGE = {row["name"]: (row["low"], row["high"]) for row in activation_table()}


def report_fit(estimator, settings, training, patience, X, train, weight, means):
    """Set the estimator's `fit_report_`, and warn of a poor fit."""
    state = estimator._state
    still_falls = getattr(patience, "still_falls", False)
    rows, weight = judged_rows(X, train, weight, JUDGED_ROWS)
    losses = _judge(state, rows, weight, means, estimator.n_threads)
    estimator.fit_report_ = {
        **settings.chosen,
        "n_epochs": estimator.n_epochs_,
        "n_steps": state.n_steps,
        "ended": _end(estimator, settings, still_falls),
        "loss": losses[0],
        "constant_loss": losses[1],
    }
    if estimator.n_epochs_ == 0:
        return
    note(estimator.verbose, description(estimator.fit_report_))
    if losses[0] > losses[1] + MARGIN * abs(losses[1]):
        warn(
            f"the fit does not beat the column means: its mean loss on training rows is "
            f"{losses[0]:.4g}, that of constant reconstructions {losses[1]:.4g} nats. Train longer "
            "(max_epochs='auto'), lower learning_rate, or scale the columns (scale='standard')",
            ConvergenceWarning,
        )
    elif still_falls:
        warn(
            f"the budget of {estimator.n_epochs_} epochs ended while the loss still fell: set "
            "max_epochs to a larger number",
            ConvergenceWarning,
        )
    _warn_of_codes(state, rows, estimator.n_threads)


def _end(estimator, settings, still_falls):
    """Return how training ended; a number of epochs that the user has set says nothing of it."""
    if "max_epochs" not in settings.chosen and estimator.n_epochs_ == settings.max_epochs:
        return "max_epochs"
    return "budget" if still_falls else "converged"


def description(report):
    """Return a fit's report in one line."""
    chosen = ", ".join(
        f"{name}={report[name]}"
        for name in ("batch_size", "learning_rate", "learning_rate_schedule", "max_epochs", "scale")
        if name in report
    )
    ended = f"{report['n_epochs']} epochs, {report['n_steps']} steps, {report['ended']}"
    losses = f"loss {report['loss']:.4g}, column means {report['constant_loss']:.4g} nats"
    return f"{ended}: {losses}" + (f" (chosen: {chosen})" if chosen else "")


def _judge(state, rows, weight, means, n_threads):
    """Return the mean losses of the fit and of the best constant."""
    options = {"sample_weight": weight, "variant": rows_variant(state)}
    parameters = state.model.split(state.parameters)
    loss = mean_loss(state.model, parameters, rows, len(rows), n_threads, **options)
    constant = best_constant(state, rows, weight, means, n_threads)
    return loss, constant.loss(rows, weight, n_threads)


def _warn_of_codes(state, rows, n_threads):
    layer = state.model.layers[-1]
    parameters = state.model.split(state.parameters)
    options = {"n_threads": n_threads, "check": False, "variant": rows_variant(state)}
    H = one_pass(state.model, parameters, rows, "codes", **options)
    if layer.activation in BOUNDED_ACTIVATIONS and not layer.top_k:
        low, high = _RANGE[layer.activation]
        margin = SATURATED * (high - low)
        share = float(np.mean((H < low + margin) | (H > high - margin)))
        if share > MOST_SATURATED:
            warn(
                f"{share:.0%} of the codes are saturated (at an end of the {layer.activation}'s "
                "range), so that training hardly moves them: scale the columns "
                "(scale='standard'), or lower learning_rate",
                ConvergenceWarning,
            )
    elif layer.activation == "relu" and not layer.top_k:
        dead = int((H == 0).all(axis=0).sum())
        if dead > MOST_DEAD * H.shape[1]:
            warn(
                f"{dead} of {H.shape[1]} units are dead (0 in all of {len(rows)} training rows): "
                "centre the columns, lower learning_rate, or use activation='elu'",
                ConvergenceWarning,
            )
