"""Pictures of what the units of an autoencoder stand for."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from aefast.plotting.figures import (
    count_of,
    diverging_map,
    feature_names,
    mosaic_of,
    new_figure,
    resolve_image_shape,
    robust_scale,
    show_image,
    with_means,
)
from aefast.plotting.heat_maps import draw_heat_map, size_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_FILTERS = 144
_MOST_ROWS = 60  # variables of a heat map


def filters(
    ae: Any, image_shape: tuple[int, ...] | None = None, X: ArrayLike | None = None
) -> "Figure":
    """Draw what the components of an autoencoder stand for, the most important ones first.

    With `X` this is the pattern of each component: the change of the input that goes with its
    activation, ``mean_i (x_i - mean x) (h_ij - mean h_j) / std h_j`` (Haufe et al. 2014, theorem 1,
    for one unit at a time). Without `X` it is its weights, in which the initial noise remains early
    in training, and in directions in which the data do not vary.

    Parameters
    ----------
    ae : Autoencoder
        A fitted estimator. Weights are those of its scaled columns (see `scale`).
    image_shape : tuple of int, optional
        ``(height, width)`` or ``(height, width, 3)`` if the features are the pixels of an image,
        ``()`` if they are not. By default, features without names are taken for a square image if
        their number is a square of at least 64.
    X : array-like of shape (n_samples, n_features), optional
        Rows from which patterns are computed; a thousand are plenty. With them the components are
        ordered by their contribution, ``std h_j * ||W*_j||``; without, by ``||W*_j||``.

    Returns
    -------
    figure : matplotlib.figure.Figure
        For images, one small image per component (at most 144), patterns in the units of X.
        Otherwise a heat map of features by components, which have their numbers of `components_`;
        patterns are in standard deviations of the features: correlations with the activation. Of
        more than 60 features those of the largest entries are drawn. Untied weights are two panels
        of images, and a heat map of the decoder's.

    Raises
    ------
    ValueError
        If `image_shape` does not have as many pixels as there are features, or X does not suit the
        estimator.
    """
    image_shape = resolve_image_shape(ae, image_shape)
    importance = np.linalg.norm(ae.decoder_components_, axis=1)
    spreads = np.ones(ae.n_features_in_)
    if X is not None:
        patterns, spread, spreads = _patterns(ae, X)
        panels = {"patterns": patterns}
        importance = importance * spread
    elif np.may_share_memory(ae.components_, ae.decoder_components_):
        panels = {"weights": ae.components_}
    else:
        panels = {"encoder's weights": ae.components_, "decoder's weights": ae.decoder_components_}
    order = np.argsort(-importance, kind="stable")
    shown = order[:_MOST_FILTERS]
    panels = {name: rows[shown] for name, rows in panels.items()}
    part = "" if len(shown) == len(order) else f"{len(shown)} of "
    criterion = "norm" if X is None else "contribution"
    title = f"{part}{count_of(len(order), 'component')}, largest {criterion} first"
    if image_shape:
        figure = _draw_mosaics(panels, image_shape, X is not None)
    else:
        figure = _draw_table(panels, ae, shown, spreads)
    figure.suptitle(title, fontsize=11)
    return figure


def _patterns(ae, X):
    """Return patterns (k, d), standard deviations of the activations (k,) and of the features (d,).

    The patterns are the covariances of the input, with NaN replaced by column means, with each
    standardised activation.
    """
    H = np.asarray(ae.transform(X), dtype=float)
    X = with_means(np.asarray(X, dtype=float))
    spread = H.std(axis=0)
    standardised = (H - H.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return standardised.T @ (X - X.mean(axis=0)) / len(X), spread, X.std(axis=0)


def _draw_mosaics(panels, image_shape, are_patterns):
    """Draw one mosaic of images per panel, each panel with its own colour scale."""
    (height, width), n_images = image_shape[:2], len(next(iter(panels.values())))
    n_columns = min(n_images, max(1, round(math.sqrt(n_images * height / width))))
    figure = new_figure(6.0 * len(panels) + 0.6, 6.0)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, rows) in zip(grid, panels.items(), strict=True):
        scale = robust_scale(rows)
        mosaic = mosaic_of(rows.reshape(-1, *image_shape), n_columns)
        image = show_image(axes, mosaic, diverging_map(), -scale, scale)
        axes.set_axis_off()
        axes.set_title(name, fontsize=10)
        if len(image_shape) == 2:
            label = "brighter (red) or darker as the unit rises" if are_patterns else ""
            figure.colorbar(image, ax=axes, shrink=0.5, extend="both", label=label)
    return figure


def _draw_table(panels, ae, shown, spreads):
    """Draw a heat map of features by components, of the last panel."""
    names = feature_names(ae)
    names = [f"feature {j}" for j in range(len(spreads))] if names is None else list(names)
    columns = [str(j) for j in shown]
    name, rows = list(panels.items())[-1]
    label = name
    if name == "patterns":
        label = "correlation with the activation"
        rows = np.where(spreads > 0, rows / np.where(spreads > 0, spreads, 1.0), np.nan)
    chosen = _most_involved(rows)
    limit = 1.0 if name == "patterns" else robust_scale(rows)
    names = [str(names[j]) for j in chosen]
    figure = new_figure(*size_of(len(chosen), len(shown), names))
    axes = figure.add_subplot()
    draw_heat_map(axes, rows.T[chosen], names, columns, limit, label)
    part = "" if len(chosen) == len(spreads) else f", {len(chosen)} of {len(spreads):,} features"
    axes.set_title(f"{name}{part}", fontsize=10)
    axes.set_xlabel("component")
    return figure


def _most_involved(rows):
    """Return the numbers of the features of largest entries, in their order."""
    size = np.nan_to_num(np.abs(rows)).max(axis=0)
    return np.sort(np.argsort(-size, kind="stable")[:_MOST_ROWS])
