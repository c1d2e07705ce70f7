"""Pictures of a fitted deep autoencoder: effects of the units of each layer, training losses."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from aefast.networks.network import Network
from aefast.networks.one_pass import one_pass
from aefast.plotting import figures
from aefast.plotting.networks import draw_loss, finish_loss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_UNITS = 64
_MOST_NAMES = 40


def layers(stack: Any, X: ArrayLike, image_shape: tuple[int, ...] | None = None) -> "Figure":
    """Draw the effect of the units of each layer on the reconstruction, the largest first.

    The units of upper layers have no weights to pixels. The effect of a unit is therefore the
    change of the reconstruction when all units of the layer are at their means over `X` and this
    one rises by its standard deviation.

    Parameters
    ----------
    stack : StackedAutoencoder
        A fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows for the means and standard deviations of activations; a thousand are plenty.
    image_shape : tuple of int, optional
        As for `aefast.plotting.filters`.

    Returns
    -------
    figure : matplotlib.figure.Figure
        One panel per layer: for images, one small image per unit, at most 64; otherwise a heat map
        of features by units.

    Raises
    ------
    ValueError
        If `image_shape` does not have as many pixels as there are features, or X does not suit the
        estimator.
    """
    image_shape = figures.resolve_image_shape(stack, image_shape, "stack")
    codes, panels = X, {}
    for number, layer in enumerate(stack.layers_, 1):
        codes = layer.transform(codes)
        effects = _effects_of_units(stack, number, codes)
        order = np.argsort(-np.linalg.norm(effects, axis=1), kind="stable")[:_MOST_UNITS]
        part = "" if len(order) == len(effects) else f"{len(order)} of "
        panels[f"layer {number}: {part}{figures.count_of(len(effects), 'unit')}"] = effects[order]
    if image_shape:
        figure = _draw_images(panels, image_shape)
    else:
        figure = _draw_tables(panels, figures.feature_names(stack))
    figure.suptitle("what a unit adds when its activation rises, those that do most first")
    return figure


def _effects_of_units(stack, number, codes):
    """Return the effects (k, d) of a layer's k units on the reconstruction.

    `codes` (n, k) are the layer's activations; `number` counts layers from 1.
    """
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


def losses(
    stack: Any, held_out: Sequence[float] | None = None, baseline: float | None = None
) -> "Figure":
    """Draw the losses of pre-training and of fine-tuning.

    The pre-training losses are divided by their first values, because losses of different layers
    differ in size.

    Parameters
    ----------
    stack : StackedAutoencoder
        A fitted estimator.
    held_out, baseline : sequence of float, float, optional
        As of `aefast.plotting.loss`, for fine-tuning.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    figures.check_model(stack, "stack")
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
    draw_loss(after, stack, "fine-tuning", held_out, baseline)
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
