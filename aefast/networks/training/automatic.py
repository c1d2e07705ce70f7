"""Parameters of training that are left to the estimator: "auto" becomes a number here.

Choices follow from the shapes of table and network alone, never from times or threads.
"""

from typing import Any

from aefast.networks.training import lbfgs
from aefast.networks.training.hyperparameters import SOLVERS_OF_MATRICES

AUTO = "auto"
# A rate that multiplies rate_factors: parameters move by a tenth of their size in a step, at most.
RELATIVE_RATE = 0.1
LAYERS_AT_FULL_RATE = 2  # more layers share their sum of rates: moves multiply through layers
PLAIN_RATE = 1e-3  # for solvers, starts and single passes that have no rate factors
ORTHOGONAL_RATE = 1e-2  # of "muon"
PASS_RATE = 0.01  # relative rate of partial_fit, which cannot know how many passes follow
FEWEST_STEPS = 4000  # of a whole fit
FEWEST_PASSES = 80
MOST_OPERATIONS = 3e13  # of a whole fit, about a minute or two; at least LEAST_PASSES passes
LEAST_PASSES = 2
LBFGS_ITERATIONS = 1000
SMALLEST_BATCH, LARGEST_BATCH = 32, 256
STEPS_IN_PASS = 16  # steps of a pass over a small table


class Settings:
    """An estimator's parameters, with numbers where it has "auto"."""

    def __init__(self, estimator: Any, chosen: dict[str, Any]) -> None:
        self._estimator, self.chosen = estimator, chosen
        vars(self).update(chosen)

    def __getattr__(self, name):
        return getattr(self._estimator, name)


def is_scale_free(solver):
    """Return whether a solver's steps do not depend on the size of gradients."""
    return solver in ("adam", "adagrad")


def settings_of(estimator, state, n_rows, *, has_rates, single_pass=False, suitable_batch=None):
    """Return the settings of a training on n_rows rows, which begins at a `FittedState`.

    With `has_rates` the learning rate multiplies rate factors. A single pass has no end to plan.
    `suitable_batch` is the function of n_rows that chooses the batch size; None: `batch_size_of`.
    """
    sizes_chosen = sizes_are_chosen(estimator)
    chosen: dict[str, Any] = sizes_of(estimator, state.model) if sizes_chosen else {}
    if estimator.scale == AUTO:
        chosen["scale"] = None if state.scaling is None else state.scaling.kind
        if state.logarithms is not None:
            chosen["n_logarithms"] = int((state.logarithms.offset > 0).sum())
    if getattr(estimator, "alpha", 0) == AUTO:
        chosen["alpha"] = estimator._suitable_alpha(state)
    if estimator.batch_size == AUTO:
        chosen["batch_size"] = (suitable_batch or batch_size_of)(n_rows)
    batch_size = chosen.get("batch_size", estimator.batch_size)
    if estimator.max_epochs == AUTO:
        chosen["max_epochs"] = (
            LBFGS_ITERATIONS
            if estimator.solver == lbfgs.NAME
            else n_epochs_of(state.model, n_rows, int(batch_size))
        )
    if estimator.learning_rate == AUTO:
        relative = PASS_RATE if single_pass else relative_rate_of(len(state.model.layers))
        plain = ORTHOGONAL_RATE if estimator.solver in SOLVERS_OF_MATRICES else PLAIN_RATE
        chosen["learning_rate"] = relative if has_rates else plain
    if estimator.learning_rate_schedule == AUTO:
        plans = estimator.learning_rate == AUTO and not single_pass
        chosen["learning_rate_schedule"] = "trapezoid" if plans else "constant"
    return Settings(estimator, chosen)


def relative_rate_of(n_layers):
    """Return the rate that multiplies the rate factors of a network of so many layers."""
    return RELATIVE_RATE * LAYERS_AT_FULL_RATE / max(LAYERS_AT_FULL_RATE, n_layers)


def sizes_are_chosen(estimator):
    """Return whether the numbers of hidden units are left to the estimator."""
    given = [getattr(estimator, name, None) for name in ("n_components", "layer_sizes")]
    return any(isinstance(size, str) and size == AUTO for size in given)


def sizes_of(estimator, model):
    """Return the estimator's parameter for the numbers of hidden units of a network, by name."""
    sizes = tuple(layer.n_components for layer in model.layers)
    return (
        {"layer_sizes": sizes} if hasattr(estimator, "layer_sizes") else {"n_components": sizes[0]}
    )


def batch_size_of(n_rows):
    """Return the power of two that gives a pass about STEPS_IN_PASS steps, within bounds."""
    size = SMALLEST_BATCH
    while size < LARGEST_BATCH and size * 2 * STEPS_IN_PASS <= n_rows:
        size *= 2
    return size


def n_epochs_of(model, n_rows, batch_size):
    """Return the number of passes of a whole fit, at most."""
    steps = -(-n_rows // min(batch_size, n_rows))
    wanted = max(FEWEST_PASSES, -(-FEWEST_STEPS // steps))
    affordable = int(MOST_OPERATIONS / (10.0 * n_rows * model.n_multiplied))
    return max(LEAST_PASSES, min(wanted, affordable))
