"""Choice and fit of an imputer's model.

The families are imported when a model of theirs is fitted or read: `import aefast.imputation` loads
none.
"""

from typing import Any, NamedTuple

import numpy as np

from aefast._base.hidden_entries import HiddenEntries, Variables
from aefast._base.types import Array

METHODS = ("ppca", "fa", "autoencoder")
AUTO_METHODS = ("ppca", "fa")  # which "auto" compares


class Settings(NamedTuple):
    """Parameters of an imputer that concern its model, resolved."""

    method: str
    n_components: int | str
    max_iter: int
    n_threads: int | None
    random: np.random.RandomState
    variables: Variables | None = None  # of mixed tables: which columns belong together
    output: list | None = None  # of mixed tables: the distributions of an autoencoder


def factors() -> Any:
    """Return the module with imputation by linear factor models."""
    from aefast.linear import imputing

    return imputing


def networks() -> Any:
    """Return the module with imputation by autoencoders."""
    from aefast.networks import imputing

    return imputing


def fitted_models(rows: Array, weights: list[Array], settings: Settings) -> tuple[str, Any]:
    """Return the method and its models of standardised rows, one for each array of weights.

    The first array has the weights of the rows, by which method and number of components are
    chosen.
    """
    if settings.method == "autoencoder":
        of_network = networks().Options(
            settings.n_components,
            settings.n_threads,
            settings.random,
            settings.variables,
            settings.output,
        )
        return settings.method, networks().NetworkImputation.fitted(rows, weights, of_network)
    options = factors().Options(settings.max_iter, settings.n_threads)
    method, choice = _chosen(rows, weights[0], settings, options)
    return method, factors().LinearImputation.fitted(method, choice, rows, weights, options)


def _chosen(rows: Array, weight: Array, settings: Settings, options: Any) -> tuple[str, Any]:
    """Return the factor model and the number of components that predict hidden entries best."""
    k = settings.n_components
    methods = AUTO_METHODS if settings.method == "auto" else (settings.method,)
    entries = HiddenEntries.of(rows, weight, settings.random, settings.variables)
    if entries is None:
        return methods[0], factors().Choice(0.0, 0 if isinstance(k, str) else k, 1.0)
    found = {
        method: factors().best_choice(method, entries, options)
        if isinstance(k, str)
        else factors().choice_of(method, k, entries, options)
        for method in methods
    }
    best = max(found, key=lambda method: found[method].score)  # the first of equal ones
    return best, found[best]


def bootstrap_weights(weight: Array, random: np.random.RandomState) -> Array:
    """Return weights of a Bayesian bootstrap of rows with these weights.

    A row of weight 2 has the sum of two exponential numbers, as two rows have together.
    """
    drawn = np.maximum(random.gamma(weight), np.finfo(np.float64).tiny)
    return drawn / drawn.mean()
