"""Pictures of a fitted deep autoencoder: what the units of each layer look for, and how it was trained."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from aefast.plotting import (
    count_of,
    diverging_map,
    draw_loss,
    draw_tiles,
    feature_names,
    finish_loss,
    new_figure,
    patterns,
    resolve_image_shape,
    robust_scale,
)

_MOST_TILES = 64
_MOST_NAMES = 40


def layers(stack, X, image_shape=None):
    """Draw, for each layer, the patterns in the input that raise its units' activations, those that vary most first.

    Units of upper layers have no weights to pixels; their patterns ``mean_i (x_i - mean x) (h_ij - mean h_j) / std h_j`` (Haufe et al. 2014, eq. 6, for one
    unit at a time) are in the units of `X` for every layer.

    Parameters
    ----------
    stack : StackedAutoencoder
        Fitted.
    X : array-like of shape (n_samples, n_features)
        Rows to draw patterns from; a thousand are plenty.
    image_shape : tuple of int, optional
        As for `aefast.plotting.filters`.

    Returns
    -------
    figure : matplotlib.figure.Figure
        A panel for each layer: for images one tile per unit, at most 64; otherwise a heat map of features by units.

    Raises
    ------
    ValueError
        If `image_shape` does not have as many pixels as there are features, or X does not suit the estimator.
    """
    image_shape = resolve_image_shape(stack, image_shape)
    codes, panels = X, {}
    for number, layer in enumerate(stack.layers_, 1):
        codes = layer.transform(codes)
        drawn, spread = patterns(codes, X)
        order = np.argsort(-spread, kind="stable")[:_MOST_TILES]
        part = "" if len(order) == len(drawn) else f"{len(order)} of "
        name = f"layer {number}: {part}{count_of(len(drawn), 'unit')}"
        panels[name] = drawn[order]
    figure = draw_tiles(panels, image_shape) if image_shape else _draw_tables(panels, stack)
    figure.suptitle("patterns that raise the activation, those that vary most first")
    return figure


def losses(stack):
    """Draw the losses of pre-training, each over that of its first epoch (codes of different layers have losses of different size), and of fine-tuning.

    Parameters
    ----------
    stack : StackedAutoencoder
        Fitted.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    check_is_fitted(stack)
    figure = new_figure(12.0, 4.0)
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


def _draw_tables(panels, stack):
    names = feature_names(stack)
    figure = new_figure(4.0 * len(panels) + 1.0, 5.0)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, rows) in zip(grid, panels.items(), strict=True):
        scale = robust_scale(rows)
        style = {"vmin": -scale, "vmax": scale, "aspect": "auto", "interpolation": "nearest"}
        image = axes.imshow(rows.T, cmap=diverging_map(), **style)
        figure.colorbar(image, ax=axes, extend="both")
        axes.set_title(title, fontsize=10)
        axes.set(xlabel="unit", xticks=[])
        if rows.shape[1] <= _MOST_NAMES:
            axes.set_yticks(range(rows.shape[1]), range(rows.shape[1]) if names is None else names)
    return figure
