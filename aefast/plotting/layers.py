"""Pictures of a fitted deep autoencoder: what the units of each layer draw, and how it was
trained.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from aefast.networks.network import Network
from aefast.networks.one_pass import one_pass
from aefast.plotting import figures
from aefast.plotting.networks import draw_loss, finish_loss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_TILES = 64
_MOST_NAMES = 40


def layers(stack: Any, X: ArrayLike, image_shape: tuple[int, ...] | None = None) -> "Figure":
    """Draw, for each layer, what the network adds to its reconstruction when a unit's activation
    rises, units that do most first.

    Units of upper layers have no weights to pixels. Here all units of a layer stand at their means
    over `X`, one rises by its standard deviation, and the difference goes down through the decoder
    to the reconstruction.

    Parameters
    ----------
    stack : StackedAutoencoder
        Fitted.
    X : array-like of shape (n_samples, n_features)
        Rows that say how activations vary; a thousand are plenty.
    image_shape : tuple of int, optional
        As for `aefast.plotting.filters`.

    Returns
    -------
    figure : matplotlib.figure.Figure
        A panel for each layer: for images one tile per unit, at most 64; otherwise a heat map of
        features by units.

    Raises
    ------
    ValueError
        If `image_shape` does not have as many pixels as there are features, or X does not suit the
        estimator.
    """
    image_shape = figures.resolve_image_shape(stack, image_shape)
    codes, panels = X, {}
    for number, layer in enumerate(stack.layers_, 1):
        codes = layer.transform(codes)
        drawn = _what_units_draw(stack, number, codes)
        order = np.argsort(-np.linalg.norm(drawn, axis=1), kind="stable")[:_MOST_TILES]
        part = "" if len(order) == len(drawn) else f"{len(order)} of "
        panels[f"layer {number}: {part}{figures.count_of(len(drawn), 'unit')}"] = drawn[order]
    if image_shape:
        figure = _draw_images(panels, image_shape)
    else:
        figure = _draw_tables(panels, figures.feature_names(stack))
    figure.suptitle("what a unit adds when its activation rises, those that do most first")
    return figure


def _what_units_draw(stack, number, codes):
    """(k, d) of the layers up to this one, whose codes are (n, k)."""
    state = stack._state
    network = Network(state.model.layers[:number])
    parameters = state.model.split(state.parameters)[:number]
    mean, spread = codes.mean(axis=0, dtype=float), codes.std(axis=0, dtype=float)
    H = np.vstack([mean, mean + np.diag(spread)]).astype(state.parameters.dtype)
    means = one_pass(network, parameters, H, "reconstructions", from_codes=True)
    return means[1:].astype(float) - means[0]


def _draw_images(panels, image_shape):
    height, width = image_shape[:2]
    figure = figures.new_figure(5.0 * len(panels), 5.2)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, rows) in zip(grid, panels.items(), strict=True):
        scale = figures.robust_scale(rows)
        n_columns = max(1, math.ceil(math.sqrt(len(rows) * height / width)))
        mosaic = figures.mosaic_of(rows.reshape(-1, *image_shape), n_columns)
        figures.show_image(axes, mosaic, figures.diverging_map(), -scale, scale)
        axes.set_axis_off()
        axes.set_title(f"{title}, \u00b1{scale:.2g}", fontsize=10)
    return figure


def losses(stack: Any) -> "Figure":
    """Draw the losses of pre-training, each over that of its first epoch (codes of different layers
    have losses of different size), and of fine-tuning.

    Parameters
    ----------
    stack : StackedAutoencoder
        Fitted.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    check_is_fitted(stack)
    figure = figures.new_figure(12.0, 4.0)
    before, after = figure.subplots(1, 2)
    for number, curve in enumerate(stack.pretraining_loss_curves_, 1):
        if curve:
            epochs, relative = range(1, len(curve) + 1), np.divide(curve, abs(curve[0]) or 1.0)
            label = f"layer {number}: {curve[0]:.4g} to {curve[-1]:.4g}"
            before.plot(epochs, relative, marker=".", label=label)
    if before.lines:
        before.legend(frameon=False)
    finish_loss(before, "pre-training", "loss over that of the first epoch")
    draw_loss(after, stack, "fine-tuning")
    return figure


def _draw_tables(panels, names):
    figure = figures.new_figure(4.0 * len(panels) + 1.0, 5.0)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, rows) in zip(grid, panels.items(), strict=True):
        scale = figures.robust_scale(rows)
        style = {"vmin": -scale, "vmax": scale, "aspect": "auto", "interpolation": "nearest"}
        image = axes.imshow(rows.T, cmap=figures.diverging_map(), **style)
        figure.colorbar(image, ax=axes, extend="both")
        axes.set_title(title, fontsize=10)
        axes.set(xlabel="unit", xticks=[])
        if rows.shape[1] <= _MOST_NAMES:
            axes.set_yticks(range(rows.shape[1]), range(rows.shape[1]) if names is None else names)
    return figure
