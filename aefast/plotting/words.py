"""Pictures and lists of the features with the largest weights of each unit: words of topics."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from aefast._base import scalars
from aefast._base.errors import shown
from aefast._base.ranking import as_items
from aefast.plotting.figures import check_model, count_of, feature_names, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_UNITS = 12  # drawn unless the caller chooses
_PANELS = 4  # in a row of the picture
_LONGEST_NAME = 24  # characters of a name that are drawn


def top_features(
    model: Any,
    names: Sequence[str] | None = None,
    *,
    n: int = 10,
    units: ArrayLike | None = None,
) -> list[list[tuple[str, float]]]:
    """Return the names and weights of the n features that each unit writes most strongly.

    Parameters
    ----------
    model : Autoencoder or linear factor model
        A fitted estimator with one layer: weights are its `decoder_components_`, `loadings_` of
        `FactorAnalysis`, or `components_`.
    names : sequence of str (n_features,), optional
        Names of the features, such as the words of `CountVectorizer.get_feature_names_out()`. By
        default those that the model was fitted with, else x0, x1, ...
    n : int, default=10
        Number of features of a unit.
    units : array-like of int, optional
        Numbers of units; by default all.

    Returns
    -------
    top : list of lists of (name, weight)
        A list for each unit, by falling magnitude. The weights of a unit all change their sign with
        the unit's in linear models.
    """
    weights, labels = _weights(model), _labels(model, names)
    n = scalars.as_integer(n, "n")
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    chosen = np.arange(len(weights)) if units is None else as_items(units, len(weights), "units")
    if chosen.ndim != 1:
        raise ValueError(f"units must be a list of integers, got shape {chosen.shape}")
    order = np.argsort(-np.abs(weights[chosen]), axis=1, kind="stable")[:, :n]
    return [
        [(labels[j], float(weights[unit, j])) for j in row]
        for unit, row in zip(chosen, order, strict=True)
    ]


def words(
    model: Any,
    names: Sequence[str] | None = None,
    *,
    n: int = 10,
    units: ArrayLike | None = None,
) -> "Figure":
    """Draw the features with the largest weights of each unit as bars beside their names.

    Parameters
    ----------
    model, names, n
        As for `top_features`.
    units : array-like of int, optional
        Numbers of units; by default the 12 whose weights are largest (root of their mean square).

    Returns
    -------
    figure : matplotlib.figure.Figure
        A panel for each unit; bars of negative weights are of another colour. All panels have one
        scale.
    """
    weights = _weights(model)
    if units is None:
        largest = np.argsort(-np.square(weights).mean(axis=1), kind="stable")[:_MOST_UNITS]
        units = np.sort(largest)
    top = top_features(model, names, n=n, units=units)
    if not top:
        raise ValueError("units must have at least one unit to draw")
    n_columns = min(_PANELS, len(top))
    n_rows = math.ceil(len(top) / n_columns)
    n_bars = len(top[0])
    figure = new_figure(2.6 * n_columns, 0.6 + (0.5 + 0.19 * n_bars) * n_rows)
    panels = np.atleast_1d(figure.subplots(n_rows, n_columns, sharex=True)).ravel()
    for axes, unit, row in zip(panels, np.asarray(units).tolist(), top, strict=False):
        values = np.array([weight for _, weight in row])
        places = np.arange(len(row))[::-1]
        axes.barh(places, values, color=np.where(values < 0, "C3", "C0"), height=0.7)
        axes.axvline(0, color="0.3", linewidth=0.6)
        axes.set_yticks(places, [_short(name) for name, _ in row], fontsize=8)
        axes.set_title(f"unit {unit}", fontsize=9)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=7)
        axes.spines[["top", "right", "left"]].set_visible(False)
    for axes in panels[len(top) :]:
        axes.set_axis_off()
    figure.suptitle(
        f"{type(model).__name__}: largest weights of {len(top)} of {count_of(len(weights), 'unit')}"
    )
    return figure


def _weights(model: Any) -> Any:
    """Return the weights of units (k, d) with which a model writes features."""
    check_model(model, "model")
    weights = getattr(model, "loadings_", None)
    if weights is not None:
        return np.asarray(weights).T
    for name in ("decoder_components_", "components_"):
        weights = getattr(model, name, None)
        if isinstance(weights, np.ndarray) and weights.ndim == 2:
            return weights
    raise TypeError(f"model must have one matrix of weights, got {type(model).__name__}")


def _labels(model: Any, names: Sequence[str] | None) -> list[str]:
    d = model.n_features_in_
    names = feature_names(model) if names is None else names
    if names is None:
        return [f"x{j}" for j in range(d)]
    try:
        labels = [] if isinstance(names, str) else [str(name) for name in names]
    except (TypeError, ValueError, RecursionError):  # no sequence, or of objects without a text
        labels = []
    if len(labels) != d:
        raise ValueError(f"names must have {d} texts, one for each feature, got {shown(names)}")
    return labels


def _short(name: str) -> str:
    name = name.replace("$", r"\$")  # no formula
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
