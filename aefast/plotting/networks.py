"""Pictures of a fitted autoencoder: its filters, its losses, its sampling chains."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from aefast._base import arrays as check
from aefast.networks import outputs
from aefast.plotting.figures import (
    DIVERGING,
    check_model,
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


# ---- filters ----


def filters(
    ae: Any, image_shape: tuple[int, ...] | None = None, X: ArrayLike | None = None
) -> "Figure":
    """Draw the weights of the components of an autoencoder, the most important ones first.

    Early in training, and in directions in which the data do not vary, the initial noise remains in
    the weights. With `X`, another panel shows a pattern without this noise: the change of the input
    that goes with a component's activation,
    ``mean_i (x_i - mean x) (h_ij - mean h_j) / std h_j`` (Haufe et al. 2014, theorem 1, for one
    unit at a time), in the units of `X`.

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
        For images, one small image per component (at most 144); otherwise a heat map of features
        by components. One panel for tied weights, two for untied ones, one more with `X`, with the
        components of all panels in the same order.

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
    figure = (
        _draw_mosaics(panels, image_shape) if image_shape else _draw_heat_maps(panels, ae, shown)
    )
    part = "" if len(shown) == len(order) else f"{len(shown)} of "
    criterion = "norm" if X is None else "contribution"
    figure.suptitle(f"{part}{count_of(len(order), 'component')}, largest {criterion} first")
    return figure


def _patterns(ae, X):
    """Return the patterns (k, d) and the standard deviations (k,) of the activations.

    The patterns are the covariances of the input, with NaN replaced by column means, with each
    standardised activation.
    """
    H = np.asarray(ae.transform(X), dtype=float)
    X = with_means(np.asarray(X, dtype=float))
    spread = H.std(axis=0)
    standardised = (H - H.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return standardised.T @ (X - X.mean(axis=0)) / len(X), spread


def _draw_mosaics(panels, image_shape):
    """Draw one mosaic of images per panel, each panel with its own colour scale."""
    (height, width), n_images = image_shape[:2], len(next(iter(panels.values())))
    n_columns = min(n_images, max(1, round(math.sqrt(n_images * height / width))))
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
    """Draw one heat map of features by components per panel, each with its own colour scale."""
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


# ---- losses ----


def loss(ae: Any) -> "Figure":
    """Draw the training loss over the epochs, and the validation loss where there is one.

    Parameters
    ----------
    ae : Autoencoder
        A fitted estimator.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Loss (nats per sample, summed over features) over the epochs, on a logarithmic scale if the
        loss falls to less than half; the smallest validation loss is marked.
    """
    check_model(ae, "ae")
    figure = new_figure(6.4, 4.0)
    draw_loss(
        figure.add_subplot(), ae, f"{outputs.description(ae._state.model.output)} autoencoder"
    )
    return figure


def draw_loss(axes, ae, what):
    """Draw the loss curves of an estimator into axes; the title begins with `what`."""
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


def _use_readable_log_scale(axes):
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


# ---- sampling chains ----


def walk(
    ae: Any, X: ArrayLike, chain: ArrayLike, image_shape: tuple[int, ...] | None = None
) -> "Figure":
    """Draw sampling chains, one line of images for each: the start and the sample of each step.

    Parameters
    ----------
    ae : Autoencoder
    X : array-like (n_samples, n_features)
        Starting rows of the chains.
    chain : ndarray (n_steps, n_samples, n_features)
        Result of ``ae.walk_back(X)``.
    image_shape : tuple of int, optional
        As for `filters`.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the rows are not images.
    """
    image_shape = resolve_image_shape(ae, image_shape)
    if not image_shape:
        raise ValueError(
            f"image_shape: rows of {ae.n_features_in_} features are no squares: give the shape of "
            "an image"
        )
    X, chain = check.as_rows(X, "X"), check.as_array(chain, "chain", 3)
    if chain.shape[1:] != X.shape or 0 in chain.shape or X.shape[1] != ae.n_features_in_:
        raise ValueError(
            f"chain must have shape (n_steps, {len(X)}, {ae.n_features_in_}) for the X and ae that "
            f"are given, got {chain.shape} and X of shape {X.shape}"
        )
    check.check_finite(X, "X")
    check.check_finite(chain, "chain")
    chain = np.concatenate([X.astype(float)[np.newaxis], chain])
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
