"""Pictures of what an anomaly detector has found."""

from typing import TYPE_CHECKING, Any

import numpy as np

from aefast._base import scalars
from aefast.plotting.figures import check_model, checked_labels, count_of, new_figure
from aefast.plotting.heat_maps import draw_heat_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

_MOST_VARIABLES = 14
_MOST_ROWS = 40
_N_BINS = 60
_LONGEST_TEXT = 11  # characters of a value in a cell


def anomalies(
    detector: Any, X: Any, labels: "Sequence[str] | None" = None, top: int = 20
) -> "Figure":
    """Draw how strange rows are, and what makes the strangest ones so.

    Parameters
    ----------
    detector : AnomalyDetector
        A fitted estimator.
    X : frame or array-like (n_samples, n_features)
    labels : sequence of str, optional
        Names of the rows; by default their numbers from 1.
    top : int, default=20
        How many of the strangest rows are drawn, at most 40.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Above, a histogram of the strangeness of all rows, in nats, on a logarithmic scale of
        counts, with the threshold beyond which `predict` flags a row. Below, the strangest rows
        by the variables that surprise most in them: colours are nats beyond the variable's usual
        surprise, texts are the values.
    """
    check_model(detector, "detector")
    top = min(scalars.as_integer(top, "top"), _MOST_ROWS)
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    strangeness = -detector.score_samples(X)
    n = len(strangeness)
    labels = [f"row {i + 1}" for i in range(n)] if labels is None else checked_labels(labels, n)
    order = np.argsort(-strangeness, kind="stable")[:top]
    surprise, values, names = _surprises(detector, rows_of(X, order))
    figure = new_figure(
        2.6 + 0.085 * max(len(labels[row]) for row in order) + max(0.72 * len(names), 4.0),
        3.6 + max(0.26 * len(order), 1.2),
    )
    above, below = figure.subplots(2, 1, height_ratios=(2.2, max(0.26 * len(order), 1.2) + 0.6))
    _draw_histogram(above, strangeness, -detector.offset_)
    limit = max(float(np.nanquantile(np.abs(surprise), 0.98)), 1.0) if surprise.size else 1.0
    draw_heat_map(
        below,
        surprise,
        [labels[row] for row in order],
        names,
        limit,
        "surprise beyond the usual (nats)",
        values,
    )
    below.set_title(f"the {count_of(len(order), 'strangest row')}, values by variable", fontsize=10)
    return figure


def rows_of(X, numbers):
    """Return rows of a frame or an array, by their numbers; they are numbered anew."""
    if hasattr(X, "iloc"):
        return X.iloc[numbers].reset_index(drop=True)
    if hasattr(X, "take") and hasattr(X, "schema"):  # of pyarrow
        return X.take(numbers)
    return X[numbers] if hasattr(X, "shape") else np.asarray(X)[numbers]


def _surprises(detector, rows):
    """Return surprises (n, v) and texts of values of the most surprising variables, and names."""
    variables = list(detector.variables_)
    reasons = detector.explain(rows, top=len(variables))
    surprise = np.full((len(rows), len(variables)), np.nan)
    texts = [[""] * len(variables) for _ in range(len(rows))]
    place = {name: j for j, name in enumerate(variables)}
    columns = (list(reasons[name]) for name in ("row", "variable", "surprise", "value"))
    for row, variable, nats, value in zip(*columns, strict=True):
        surprise[row, place[variable]] = nats
        texts[row][place[variable]] = text_of(value)
    size = np.nan_to_num(surprise, nan=-np.inf).max(axis=0)
    chosen = np.sort(np.argsort(-size, kind="stable")[:_MOST_VARIABLES])
    return (
        surprise[:, chosen],
        [[line[j] for j in chosen] for line in texts],
        [str(variables[j]) for j in chosen],
    )


def text_of(value: Any) -> str:
    """Return a short text of a value."""
    if isinstance(value, float | np.floating):
        number = float(value)
        return f"{number:,.0f}" if 1e4 <= abs(number) < 1e8 else f"{number:.4g}"
    text = str(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _draw_histogram(axes, strangeness, threshold):
    low, high = float(strangeness.min()), float(max(strangeness.max(), threshold))
    bins = np.linspace(low, high if high > low else low + 1.0, _N_BINS + 1)
    flagged = strangeness > threshold
    n = int(flagged.sum())
    for rows, color, label in (
        (strangeness[~flagged], "0.6", f"usual: {len(strangeness) - n:,}"),
        (strangeness[flagged], "C3", f"strange: {n:,}"),
    ):
        axes.hist(rows, bins, color=color, label=label)
    axes.axvline(
        threshold, color="k", linestyle="--", linewidth=1, label=f"threshold: {threshold:.4g}"
    )
    axes.set_yscale("log")
    axes.set(xlabel="strangeness (nats)", ylabel="rows")
    axes.legend(frameon=False)
    axes.set_title(f"how strange {count_of(len(strangeness), 'row')} are", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
