"""Pictures of rows or features beside their reconstructions."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from aefast.plotting.figures import (
    DIVERGING,
    checked_labels,
    count_of,
    feature_names,
    intensity_range,
    new_figure,
    resolve_image_shape,
    robust_scale,
    show_image,
    with_means,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_N_EXAMPLES = 12
_N_BARS = 20
_N_SCATTERS = 6
_MOST_POINTS = 1000


def reconstructions(
    ae: Any,
    X: ArrayLike,
    image_shape: tuple[int, ...] | None = None,
    labels: Sequence[str] | None = None,
) -> "Figure":
    """Draw rows or features of X beside their reconstructions, from the best to the worst.

    Parameters
    ----------
    ae : Autoencoder
        A fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows, preferably ones that the estimator was not fitted on.
    image_shape : tuple of int, optional
        As for `aefast.plotting.filters`.
    labels : sequence of str, optional
        Names of the rows.

    Returns
    -------
    figure : matplotlib.figure.Figure
        For images, input, reconstruction and difference of at most 12 rows, evenly spaced in rank
        from the smallest to the largest loss, with the row's name and its loss (nats) above.
        Otherwise the share of each feature's variance that the reconstructions miss, and scatter
        plots of features from the best to the worst reconstructed, with the name of the row that
        is furthest off.

    Raises
    ------
    ValueError
        If `image_shape` does not have as many pixels as there are features, or X does not suit the
        estimator.
    """
    image_shape = resolve_image_shape(ae, image_shape)
    if labels is not None:
        labels = checked_labels(labels, np.shape(X)[0])
    if image_shape:
        losses = ae.reconstruction_error(X)
        chosen = examples_of(losses)
        rows = X.iloc[chosen] if hasattr(X, "iloc") else np.asarray(X)[chosen]
        return draw_examples(rows, ae.reconstruct(rows), losses, image_shape, labels)
    reconstructed = ae.reconstruct(X)  # which checks X
    return draw_feature_fits(X, reconstructed, feature_names(ae), labels)


def examples_of(losses):
    """Return the numbers of at most 12 rows, evenly spaced in rank of loss."""
    ranks = np.linspace(0, len(losses) - 1, min(len(losses), _N_EXAMPLES)).round().astype(int)
    return np.argsort(losses, kind="stable")[ranks]


def draw_examples(rows, reconstructed, losses, image_shape, labels, what="loss in nats"):
    """Draw input, reconstruction and difference of the rows `examples_of(losses)`."""
    chosen = examples_of(losses)
    original, reconstructed = np.asarray(rows, dtype=float), np.asarray(reconstructed, dtype=float)
    difference = reconstructed - original
    low, high = intensity_range(original)
    scale = robust_scale(difference)
    panels = {
        "input": (original, "gray", low, high),
        "reconstruction": (reconstructed, "gray", low, high),
        "difference": (difference, DIVERGING, -scale, scale),
    }
    figure = new_figure(1.4 + 0.95 * max(len(chosen), 4), 4.0)
    grid = figure.subplots(len(panels), len(chosen), squeeze=False)
    for row, (name, (images, *style)) in zip(grid, panels.items(), strict=True):
        row[0].set_ylabel(name, fontsize=9)
        for axes, image in zip(row, images.reshape(-1, *image_shape), strict=True):
            shown = show_image(axes, image, *style)
            axes.set(xticks=[], yticks=[])
    if len(image_shape) == 2:
        key = figure.colorbar(shown, ax=grid[-1], aspect=8, pad=0.01, extend="both")
        key.ax.tick_params(labelsize=7)
        key.set_label("too dark   too bright", fontsize=7)
    for axes, row, row_loss in zip(grid[0], chosen, losses[chosen], strict=True):
        name = "" if labels is None else f"{labels[row]}\n"
        axes.set_title(f"{name}{row_loss:.3g}", fontsize=8)
    figure.suptitle(
        f"Best to worst reconstructed of {count_of(len(losses), 'row')}; above, the row's {what}",
        fontsize=11,
    )
    return figure


def draw_feature_fits(rows, reconstructed, names, labels):
    """Draw the share of each feature's variance that is missed, and scatter plots of features."""
    original = np.asarray(rows, dtype=float)
    n_rows, n_features = original.shape
    names = [f"feature {index}" for index in range(n_features)] if names is None else names
    gaps = np.isnan(original)  # missing entries, which are left out of the comparison
    n_observed = np.maximum((~gaps).sum(axis=0), 1)
    deviation = np.where(gaps, 0.0, original - with_means(original).mean(axis=0))
    variance = (deviation**2).sum(axis=0) / n_observed
    mean_square = (np.where(gaps, 0.0, reconstructed - original) ** 2).sum(axis=0) / n_observed
    missed = np.full(n_features, np.nan)  # a constant feature has no variance to miss
    np.divide(mean_square, variance, out=missed, where=variance > 0)
    worst_first = np.argsort(-missed, kind="stable")
    figure = new_figure(11.0, 5.6)
    figure.suptitle(
        f"Reconstruction of {count_of(n_rows, 'row')}; features from the best to the worst"
    )
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.7))
    _draw_missed_shares(left.add_subplot(), missed, worst_first[:_N_BARS], names)
    ranks = np.linspace(n_features - 1, 0, min(n_features, _N_SCATTERS)).round().astype(int)
    points = slice(None, None, math.ceil(n_rows / _MOST_POINTS))
    grid = right.subplots(math.ceil(len(ranks) / 3), min(len(ranks), 3), squeeze=False).ravel()
    for axes, feature in zip(grid, worst_first[ranks], strict=False):
        _draw_scatter(axes, original[points, feature], reconstructed[points, feature])
        if labels is not None:
            _name_furthest(
                axes, original[points, feature], reconstructed[points, feature], labels[points]
            )
        axes.set_title(str(names[feature]), fontsize=9)
    for axes in grid[len(ranks) :]:
        axes.set_axis_off()
    right.supxlabel("input", fontsize=10)
    right.supylabel("reconstruction", fontsize=10)
    return figure


def _draw_missed_shares(axes, missed, features, names):
    axes.barh(range(len(features)), missed[features], color="0.45")
    axes.set_yticks(range(len(features)), [str(names[feature]) for feature in features])
    axes.invert_yaxis()
    axes.set(xlim=(0, None), xlabel="share of the variance missed")
    part = "all" if len(features) == len(missed) else f"the {len(features)} worst"
    axes.set_title(f"{part} features", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_scatter(axes, original, reconstructed):
    observed = ~np.isnan(original)
    original, reconstructed = original[observed], reconstructed[observed]
    axes.axline((0, 0), slope=1, color="0.7", linewidth=1, zorder=0)
    axes.tick_params(labelsize=7)
    if not len(original):
        return
    axes.scatter(original, reconstructed, s=6, alpha=0.5, linewidths=0)
    shown = np.concatenate([original[np.isfinite(original)], reconstructed])
    low, high = shown.min(), shown.max()
    margin = 0.05 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.locator_params(nbins=4)


def _name_furthest(axes, original, reconstructed, labels):
    """Write the name of the row furthest from the diagonal beside its point."""
    distance = np.abs(original - reconstructed)
    if np.isnan(distance).all() or not np.nanmax(distance) > 0:
        return
    row = int(np.nanargmax(distance))
    x, y = original[row], reconstructed[row]
    low, high = axes.get_xlim()
    is_right = x > (low + high) / 2
    axes.annotate(
        labels[row],
        (x, y),
        xytext=(-4 if is_right else 4, 0),
        textcoords="offset points",
        ha="right" if is_right else "left",
        va="center",
        fontsize=7,
        color="0.25",
    )
    axes.scatter([x], [y], s=14, facecolors="none", edgecolors="C3", linewidths=0.9)
