"""Pictures of a fitted autoencoder: its filters, its reconstructions, its loss.

Each function returns a `matplotlib.figure.Figure` that belongs to no window and touches no global state of pyplot;
`save` writes one to a file. matplotlib is an extra, imported when a picture is asked for: ``pip install 'aefast[plot]'``;
without it each function raises ImportError.

Features that are the pixels of an image are drawn as images, other features as a table.
"""

import math
import os

import numpy as np
from sklearn.utils.validation import check_is_fitted

from aefast import _outputs
from aefast.model_file import replacing

_DIVERGING = "RdBu_r"  # white at zero
_SMALLEST_GUESSED_IMAGE = 64  # 8 x 8: a table of 16 or 25 columns is rarely a picture
_MOST_FILTERS = 144
_MOST_NAMES = 40
_N_EXAMPLES = 12
_N_BARS = 20
_N_SCATTERS = 6
_MOST_POINTS = 1000


def filters(ae, image_shape=None, X=None):
    """Draw what the components of an autoencoder look for, those that matter most first.

    Early in training, and in directions in which the data do not vary, weights keep the noise they started from. With
    `X` a second panel shows what that hides: the pattern in the input that raises a component's activation,
    ``mean_i (x_i - mean x) (h_ij - mean h_j) / std h_j`` (Haufe et al. 2014, eq. 6, for one unit at a time), in
    the units of `X`.

    Parameters
    ----------
    ae : Autoencoder
        A fitted estimator.
    image_shape : tuple of int, optional
        ``(height, width)`` or ``(height, width, 3)`` when features are the pixels of an image; ``()`` when they are
        not. By default a square number of at least 64 features without names is taken for a square image.
    X : array-like of shape (n_samples, n_features), optional
        Rows to draw patterns from; a thousand are plenty. They also give the order: by what a component
        contributes, ``std h_j * ||W*_j||``; without `X` the order is by ``||W*_j||``.

    Returns
    -------
    figure : matplotlib.figure.Figure
        For images, one tile per component (at most 144); otherwise a heat map of features by components. One panel
        for tied weights, two for untied ones, one more with `X`, all in the same order.

    Raises
    ------
    ValueError
        If `image_shape` does not have as many pixels as there are features, or X does not suit the estimator.
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


def reconstructions(ae, X, image_shape=None):
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
        For images, at most 12 rows evenly spaced in rank from the smallest to the largest loss: input, reconstruction,
        difference, with the row's loss (nats) above. Otherwise the share of each feature's variance that the
        reconstructions miss, and scatter plots of the features from the best to the worst reconstructed.

    Raises
    ------
    ValueError
        If `image_shape` does not have as many pixels as there are features, or X does not suit the estimator.
    """
    image_shape = resolve_image_shape(ae, image_shape)
    if image_shape:
        return _draw_examples(ae, X, image_shape)
    return _draw_feature_fits(np.asarray(X, dtype=float), ae.reconstruct(X), feature_names(ae))


def loss(ae):
    """Draw the training loss by epoch, and the validation loss where there is one.

    Parameters
    ----------
    ae : Autoencoder
        A fitted estimator.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Loss (nats per sample, summed over features) against epoch, on a logarithmic scale where the loss falls to less
        than half; the smallest validation loss is marked.
    """
    check_is_fitted(ae)
    figure = new_figure(6.4, 4.0)
    axes = figure.add_subplot()
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
    k, d = ae.components_.shape
    title = f"{_outputs.description(ae._state.model.output)} autoencoder, {count_of(d, 'feature')}, {count_of(k, 'component')}"
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="epoch", ylabel="loss (nats per sample)", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure


def walk(ae, X, chain, image_shape=None):
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
            f"image_shape: rows of {ae.n_features_in_} features are no squares: give the shape of an image"
        )
    chain = np.concatenate([np.asarray(X, dtype=float)[np.newaxis], chain])
    n_steps, n_chains = chain.shape[:2]
    low, high = _intensity_range(chain.reshape(-1, chain.shape[2]))
    figure = new_figure(0.6 + 0.8 * n_steps, 0.6 + 0.8 * n_chains)
    grid = figure.subplots(n_chains, n_steps, squeeze=False)
    for line, images in zip(grid, chain.swapaxes(0, 1), strict=True):
        for axes, image in zip(line, images.reshape(-1, *image_shape), strict=True):
            show_image(axes, image, "gray", low, high)
            axes.set(xticks=[], yticks=[])
    for step, axes in enumerate(grid[0]):
        axes.set_title(f"step {step}" if step else "start", fontsize=9)
    return figure


def save(figure, path, dpi=150):
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


# ---- what is an image ----


def resolve_image_shape(ae, image_shape):
    """A checked image shape, or () for a table."""
    check_is_fitted(ae)
    n_features = ae.n_features_in_
    if image_shape is None:
        side = math.isqrt(n_features)
        is_image = side * side == n_features >= _SMALLEST_GUESSED_IMAGE
        return (side, side) if is_image and feature_names(ae) is None else ()
    image_shape = tuple(image_shape)
    if image_shape and (len(image_shape) < 2 or image_shape[2:] not in ((), (1,), (3,))):
        raise ValueError(
            f"image_shape: expected (height, width) or (height, width, 3), got {image_shape}"
        )
    if image_shape and (min(image_shape) < 1 or math.prod(image_shape) != n_features):
        raise ValueError(
            f"image_shape: expected {n_features} pixels, one per feature, got {image_shape}, which has "
            f"{math.prod(image_shape)}"
        )
    return image_shape[:2] if image_shape[2:] == (1,) else image_shape


def feature_names(ae):
    return getattr(ae, "feature_names_in_", None)


# ---- filters ----


def _patterns(ae, X):
    """Covariance of the input with each standardised activation (k, d), and the activations' standard deviations (k,)."""
    H = np.asarray(ae.transform(X), dtype=float)
    X = np.asarray(X, dtype=float)
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


def mosaic_of(images, n_columns):
    """Images (n, h, w[, 3]) side by side, with lines of NaN between them."""
    n_images, height, width = images.shape[:3]
    n_rows = math.ceil(n_images / n_columns)
    gap = 1 + height // 20
    shape = n_rows * (height + gap) - gap, n_columns * (width + gap) - gap, *images.shape[3:]
    mosaic = np.full(shape, np.nan)
    for index, image in enumerate(images):
        row, column = divmod(index, n_columns)
        top, left = row * (height + gap), column * (width + gap)
        mosaic[top : top + height, left : left + width] = image
    return mosaic


def _draw_heat_maps(panels, ae, shown):
    """Features by components, one panel per matrix, one scale a panel."""
    n_shown, n_features = next(iter(panels.values())).shape
    width, height = np.clip([0.2 * n_shown, 0.25 * n_features], 3.0, 9.0)
    figure = new_figure((width + 1.2) * len(panels) + 1.2, height + 1.2)
    names = feature_names(ae)
    for axes, (name, rows) in zip(_panel_axes(figure, panels), panels.items(), strict=True):
        scale = robust_scale(rows)
        image = axes.imshow(
            rows.T, cmap=_DIVERGING, vmin=-scale, vmax=scale, aspect="auto", interpolation="nearest"
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


def robust_scale(weights):
    """The magnitude that all but one in two hundred weights stay under, so that a few large ones leave colour to the rest."""
    return float(np.quantile(np.abs(weights), 0.995)) or 1.0


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
    low, high = _intensity_range(original)
    scale = robust_scale(difference)
    panels = {
        "input": (original, "gray", low, high),
        "reconstruction": (reconstructed, "gray", low, high),
        "difference": (difference, _DIVERGING, -scale, scale),
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
        f"Best to worst reconstructed of {count_of(len(losses), 'row')}; above, the row's loss in nats"
    )
    return figure


def _intensity_range(images):
    """Black and white: [0, 1] for values that lie there, else their own range."""
    low, high = float(images.min()), float(images.max())
    if 0 <= low and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1.0


def show_image(axes, image, color_map, low, high):
    """Draw an image, NaN as grey lines; colour scales each channel to [low, high], so that a weight of 0 is mid-grey."""
    if image.ndim == 3:
        image = np.nan_to_num(np.clip((image - low) / (high - low), 0, 1), nan=1.0)
    return axes.imshow(image, cmap=color_map, vmin=low, vmax=high, interpolation="nearest")


def _draw_feature_fits(original, reconstructed, names):
    """What share of each feature's variance is missed, and scatter plots of features from the best to the worst."""
    n_rows, n_features = original.shape
    names = [f"feature {index}" for index in range(n_features)] if names is None else names
    observed = np.ma.masked_invalid(original)  # the others are missing
    variance = observed.var(axis=0).filled(0)
    mean_square = ((reconstructed - observed) ** 2).mean(axis=0).filled(0)
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
    low, high = min(original.min(), reconstructed.min()), max(original.max(), reconstructed.max())
    margin = 0.05 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.locator_params(nbins=4)


# ---- figures ----


def new_figure(width, height):
    _import_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _import_matplotlib():
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'aefast[plot]'") from error
    return matplotlib


def diverging_map():
    return _import_matplotlib().colormaps[_DIVERGING].with_extremes(bad="0.8")


def _use_readable_log_scale(axes):
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def count_of(number, noun):
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
