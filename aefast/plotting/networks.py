"""Pictures of a fitted autoencoder: its filters, its reconstructions, its loss.

Each function returns a `matplotlib.figure.Figure` that belongs to no window and touches no global
state of pyplot; `save` writes one to a file. matplotlib is an extra, imported when a picture is
asked for: ``pip install 'aefast[plot]'``; without it each function raises ImportError.

Features that are the pixels of an image are drawn as images, other features as a table.
"""

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from aefast._base.types import PathLike
from aefast.model_file import replacing
from aefast.networks import outputs
from aefast.plotting.figures import (
    DIVERGING,
    count_of,
    diverging_map,
    feature_names,
    intensity_range,
    mosaic_of,
    new_figure,
    resolve_image_shape,
    robust_scale,
    show_image,
    with_means,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_FILTERS = 144
_MOST_NAMES = 40
_N_EXAMPLES = 12
_N_BARS = 20
_N_SCATTERS = 6
_MOST_POINTS = 1000


def filters(
    ae: Any, image_shape: tuple[int, ...] | None = None, X: ArrayLike | None = None
) -> "Figure":
    """Draw what the components of an autoencoder look for, those that matter most first.

    Early in training, and in directions in which the data do not vary, weights keep the noise they
    started from. With `X` a second panel shows what that hides: the pattern in the input that
    raises a component's activation, ``mean_i (x_i - mean x) (h_ij - mean h_j) / std h_j`` (Haufe et
    al. 2014, theorem 1, for one unit at a time), in the units of `X`.

    Parameters
    ----------
    ae : Autoencoder
        A fitted estimator.
    image_shape : tuple of int, optional
        ``(height, width)`` or ``(height, width, 3)`` when features are the pixels of an image;
        ``()`` when they are not. By default a square number of at least 64 features without names
        is taken for a square image.
    X : array-like of shape (n_samples, n_features), optional
        Rows to draw patterns from; a thousand are plenty. They also give the order: by what a
        component contributes, ``std h_j * ||W*_j||``; without `X` the order is by ``||W*_j||``.

    Returns
    -------
    figure : matplotlib.figure.Figure
        For images, one tile per component (at most 144); otherwise a heat map of features by
        components. One panel for tied weights, two for untied ones, one more with `X`, all in the
        same order.

    Raises
    ------
    ValueError
        If `image_shape` does not have as many pixels as there are features, or X does not suit the
        estimator.
    """
    image_shape = resolve_image_shape(ae, image_shape)
    importance = np.linalg.norm(ae.decoder_components_, axis=1)
    panels = {"weights": ae.components_}
    if not np.may_share_memory(ae.components_, ae.decoder_components_):
        panels = {"encoder's weights": ae.components_, "decoder's weights": ae.decoder_components_}
    if X is not None:
        panels["patterns that raise the activation"], spread = _patterns(ae, X)
        importance = importance * spread
    order = np.argsort(-importance, kind="stable")
    shown = order[:_MOST_FILTERS]
    panels = {name: rows[shown] for name, rows in panels.items()}
    figure = _draw_tiles(panels, image_shape) if image_shape else _draw_heat_maps(panels, ae, shown)
    part = "" if len(shown) == len(order) else f"{len(shown)} of "
    criterion = "norm" if X is None else "contribution"
    figure.suptitle(f"{part}{count_of(len(order), 'component')}, largest {criterion} first")
    return figure


def reconstructions(ae: Any, X: ArrayLike, image_shape: tuple[int, ...] | None = None) -> "Figure":
    """Draw rows of X beside what the autoencoder makes of them, from the best to the worst.

    Parameters
    ----------
    ae : Autoencoder
        A fitted estimator.
    X : array-like of shape (n_samples, n_features)
        The rows, best ones that the estimator was not fitted on.
    image_shape : tuple of int, optional
        As for `filters`.

    Returns
    -------
    figure : matplotlib.figure.Figure
        For images, at most 12 rows evenly spaced in rank from the smallest to the largest loss:
        input, reconstruction, difference, with the row's loss (nats) above. Otherwise the share of
        each feature's variance that the reconstructions miss, and scatter plots of the features
        from the best to the worst reconstructed.

    Raises
    ------
    ValueError
        If `image_shape` does not have as many pixels as there are features, or X does not suit the
        estimator.
    """
    image_shape = resolve_image_shape(ae, image_shape)
    if image_shape:
        return _draw_examples(ae, X, image_shape)
    return _draw_feature_fits(np.asarray(X, dtype=float), ae.reconstruct(X), feature_names(ae))


def loss(ae: Any) -> "Figure":
    """Draw the training loss by epoch, and the validation loss where there is one.

    Parameters
    ----------
    ae : Autoencoder
        A fitted estimator.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Loss (nats per sample, summed over features) against epoch, on a logarithmic scale where the
        loss falls to less than half; the smallest validation loss is marked.
    """
    check_is_fitted(ae)
    figure = new_figure(6.4, 4.0)
    draw_loss(
        figure.add_subplot(), ae, f"{outputs.description(ae._state.model.output)} autoencoder"
    )
    return figure


def draw_loss(axes, ae, what):
    """The picture of `loss`, in these axes; `what` begins its title."""
    training, validation = ae.loss_curve_, ae.validation_loss_curve_
    for name, curve in (("training", training), ("validation", validation)):
        if curve:
            label = f"{name}: {curve[-1]:.4g} at the end"
            axes.plot(range(1, len(curve) + 1), curve, marker=".", label=label)
    if validation:
        smallest = min(validation)
        epoch = 1 + validation.index(smallest)
        axes.plot(epoch, smallest, "k*", ms=10, label=f"smallest: {smallest:.4g} in epoch {epoch}")
    if training:
        axes.legend(frameon=False)
        if 0 < 2 * min(training + validation) < max(training + validation):
            _use_readable_log_scale(axes)
    d, k = ae._state.model.n_features, ae._state.model.n_components
    title = f"{what}, {count_of(d, 'feature')}, {count_of(k, 'component')}"
    finish_loss(axes, title, "loss (nats per sample)")


def finish_loss(axes, title, label):
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="epoch", ylabel=label, title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def walk(
    ae: Any, X: ArrayLike, chain: ArrayLike, image_shape: tuple[int, ...] | None = None
) -> "Figure":
    """Draw sampling chains: a line for each row, its start and what was drawn in each step.

    Parameters
    ----------
    ae : Autoencoder
    X : array-like (n_samples, n_features)
        Where the chains started.
    chain : ndarray (n_steps, n_samples, n_features)
        What ``ae.walk_back(X)`` gave.
    image_shape : tuple of int, optional
        As for `filters`.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the rows are no images.
    """
    image_shape = resolve_image_shape(ae, image_shape)
    if not image_shape:
        raise ValueError(
            f"image_shape: rows of {ae.n_features_in_} features are no squares: give the shape of "
            "an image"
        )
    chain = np.concatenate([np.asarray(X, dtype=float)[np.newaxis], chain])
    n_steps, n_chains = chain.shape[:2]
    low, high = intensity_range(chain.reshape(-1, chain.shape[2]))
    figure = new_figure(0.6 + 0.8 * n_steps, 0.6 + 0.8 * n_chains)
    grid = figure.subplots(n_chains, n_steps, squeeze=False)
    for line, images in zip(grid, chain.swapaxes(0, 1), strict=True):
        for axes, image in zip(line, images.reshape(-1, *image_shape), strict=True):
            show_image(axes, image, "gray", low, high)
            axes.set(xticks=[], yticks=[])
    for step, axes in enumerate(grid[0]):
        axes.set_title(f"step {step}" if step else "start", fontsize=9)
    return figure


def save(figure: "Figure", path: PathLike, dpi: int = 150) -> None:
    """Write a figure to a file, in the format its suffix names.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to write.
    path : str or path-like
        Where to; PNG where there is no suffix. Written beside its target and renamed into place.
    dpi : float, default=150
        Dots per inch.

    Raises
    ------
    OSError, ValueError
        If the file cannot be written, or matplotlib knows no such format.
    """
    suffix = os.path.splitext(os.fsdecode(path))[1].lstrip(".")
    with replacing(path) as file:
        figure.savefig(file, format=suffix or "png", dpi=dpi)


# ---- filters ----


def _patterns(ae, X):
    """Covariance of the input, means for gaps, with each standardised activation (k, d), and the
    activations' standard deviations (k,).
    """
    H = np.asarray(ae.transform(X), dtype=float)
    X = with_means(np.asarray(X, dtype=float))
    spread = H.std(axis=0)
    standardised = (H - H.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return standardised.T @ (X - X.mean(axis=0)) / len(X), spread


def _draw_tiles(panels, image_shape):
    """A mosaic of images for each panel, one scale a panel."""
    (height, width), n_tiles = image_shape[:2], len(next(iter(panels.values())))
    n_columns = min(n_tiles, max(1, round(math.sqrt(n_tiles * height / width))))
    figure = new_figure(6.0 * len(panels), 5.9)
    for axes, (name, rows) in zip(_panel_axes(figure, panels), panels.items(), strict=True):
        scale = robust_scale(rows)
        mosaic = mosaic_of(rows.reshape(-1, *image_shape), n_columns)
        image = show_image(axes, mosaic, diverging_map(), -scale, scale)
        axes.set_axis_off()
        axes.set_title(name, fontsize=10)
        if len(image_shape) == 2:
            figure.colorbar(image, ax=axes, shrink=0.5, extend="both")
    return figure


def _draw_heat_maps(panels, ae, shown):
    """Features by components, one panel per matrix, one scale a panel."""
    n_shown, n_features = next(iter(panels.values())).shape
    width, height = np.clip([0.2 * n_shown, 0.25 * n_features], 3.0, 9.0)
    figure = new_figure((width + 1.2) * len(panels) + 1.2, height + 1.2)
    names = feature_names(ae)
    for axes, (name, rows) in zip(_panel_axes(figure, panels), panels.items(), strict=True):
        scale = robust_scale(rows)
        image = axes.imshow(
            rows.T, cmap=DIVERGING, vmin=-scale, vmax=scale, aspect="auto", interpolation="nearest"
        )
        figure.colorbar(image, ax=axes, extend="both")
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("component")
        if n_shown <= _MOST_NAMES:
            axes.set_xticks(range(n_shown), shown, rotation=90 if n_shown > 10 else 0)
        else:
            axes.set_xticks([])
        axes.set_ylabel("feature" if names is None else "")
        if n_features <= _MOST_NAMES:
            axes.set_yticks(range(n_features), range(n_features) if names is None else names)
    return figure


def _panel_axes(figure, panels):
    return figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]


# ---- reconstructions ----


def _draw_examples(ae, X, image_shape):
    """Input, reconstruction and difference of rows evenly spaced in rank of loss."""
    losses = ae.reconstruction_error(X)
    ranks = np.linspace(0, len(losses) - 1, min(len(losses), _N_EXAMPLES)).round().astype(int)
    chosen = np.argsort(losses, kind="stable")[ranks]
    rows = X.iloc[chosen] if hasattr(X, "iloc") else np.asarray(X)[chosen]
    original = np.asarray(rows, dtype=float)
    reconstructed = np.asarray(ae.reconstruct(rows), dtype=float)
    difference = reconstructed - original
    low, high = intensity_range(original)
    scale = robust_scale(difference)
    panels = {
        "input": (original, "gray", low, high),
        "reconstruction": (reconstructed, "gray", low, high),
        "difference": (difference, DIVERGING, -scale, scale),
    }
    figure = new_figure(0.6 + 0.95 * max(len(chosen), 4), 3.8)
    grid = figure.subplots(len(panels), len(chosen), squeeze=False)
    for row, (name, (images, *style)) in zip(grid, panels.items(), strict=True):
        row[0].set_ylabel(name, fontsize=9)
        for axes, image in zip(row, images.reshape(-1, *image_shape), strict=True):
            show_image(axes, image, *style)
            axes.set(xticks=[], yticks=[])
    for axes, row_loss in zip(grid[0], losses[chosen], strict=True):
        axes.set_title(f"{row_loss:.3g}", fontsize=9)
    figure.suptitle(
        f"Best to worst reconstructed of {count_of(len(losses), 'row')}; above, the row's loss in "
        "nats"
    )
    return figure


def _draw_feature_fits(original, reconstructed, names):
    """What share of each feature's variance is missed, and scatter plots of features from the best
    to the worst.
    """
    n_rows, n_features = original.shape
    names = [f"feature {index}" for index in range(n_features)] if names is None else names
    gaps = np.isnan(original)  # which nothing can be compared with
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


# ---- loss ----


def _use_readable_log_scale(axes):
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
