"""Common parts of all pictures: figures, images, colour scales, image shapes."""

import math
import os
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from aefast._base import scalars
from aefast._base.errors import shown
from aefast._base.files import replacing
from aefast._base.paths import as_path
from aefast._base.types import PathLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_DPI = 10_000
DIVERGING = "RdBu_r"  # white at zero
# Fewest features (8 x 8) taken for a square image: a table of 16 or 25 columns is rarely one.
_SMALLEST_GUESSED_IMAGE = 64


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
    return _import_matplotlib().colormaps[DIVERGING].with_extremes(bad="0.8")


def robust_scale(weights):
    """Return the 99.5 % quantile of the weights' magnitudes, or 1 where it is 0.

    A colour scale up to it is not dominated by a few large weights.
    """
    return float(np.quantile(np.abs(weights), 0.995)) or 1.0


def count_of(number, noun):
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def save(figure: "Figure", path: PathLike, dpi: int = 150) -> None:
    """Write a figure to a file, in the format that the suffix names.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : str or path-like
        The file, PNG if it has no suffix. It is written under another name and then renamed, so
        that it is never incomplete.
    dpi : float, default=150
        Dots per inch.

    Raises
    ------
    OSError, ValueError
        If the file cannot be written, or matplotlib knows no such format.
    """
    if not hasattr(figure, "savefig"):
        raise TypeError(f"figure must be a matplotlib figure, got {shown(figure)}")
    scalars.check_number(dpi, "dpi")
    if not 0 < dpi <= MOST_DPI:
        raise ValueError(f"dpi must be in (0, {MOST_DPI}], got {dpi}")
    suffix = os.path.splitext(as_path(path))[1].lstrip(".")
    with replacing(path) as file:
        figure.savefig(file, format=suffix or "png", dpi=dpi)


# ---- images ----


def check_model(model, name):
    """TypeError unless a model is an estimator; NotFittedError unless it is fitted."""
    if isinstance(model, type) or not hasattr(model, "fit"):
        raise TypeError(f"{name} must be a fitted estimator, got {shown(model)}")
    check_is_fitted(model)


def resolve_image_shape(ae, image_shape, name="ae"):
    """Return the checked or guessed shape of a row as an image, or () for a table."""
    check_model(ae, name)
    n_features = ae.n_features_in_
    if image_shape is None:
        side = math.isqrt(n_features)
        is_image = side * side == n_features >= _SMALLEST_GUESSED_IMAGE
        return (side, side) if is_image and feature_names(ae) is None else ()
    try:
        given = tuple(image_shape)
    except TypeError:
        raise TypeError(
            f"image_shape must be a tuple of integers, got {shown(image_shape)}"
        ) from None
    image_shape = tuple(scalars.as_integer(side, "image_shape") for side in given)
    if image_shape and (len(image_shape) < 2 or image_shape[2:] not in ((), (1,), (3,))):
        raise ValueError(
            f"image_shape: expected (height, width) or (height, width, 3), got {image_shape}"
        )
    if image_shape and (min(image_shape) < 1 or math.prod(image_shape) != n_features):
        raise ValueError(
            f"image_shape: expected {n_features} pixels, one per feature, got {image_shape}, which "
            f"has {math.prod(image_shape)}"
        )
    return image_shape[:2] if image_shape[2:] == (1,) else image_shape


def checked_labels(labels, n_rows):
    """Return names of rows as texts; ValueError or TypeError unless there are as many as rows."""
    is_list = not isinstance(labels, str) and hasattr(labels, "__len__")
    if not is_list or getattr(labels, "ndim", 1) != 1:
        raise TypeError(f"labels must be a sequence of names of rows, got {shown(labels)}")
    if len(labels) != n_rows:
        raise ValueError(f"labels must have a name for each of {n_rows} rows, got {len(labels)}")
    return [str(label) for label in labels]


def feature_names(ae):
    return getattr(ae, "feature_names_in_", None)


def with_means(X):
    """Return X (n, d) with each NaN replaced by its column's mean, or by 0 in columns of NaN."""
    observed = ~np.isnan(X)
    means = np.where(observed, X, 0.0).sum(axis=0) / np.maximum(observed.sum(axis=0), 1)
    return np.where(observed, X, means)


def intensity_range(images):
    """Return the values drawn black and white: 0 and 1 for images in [0, 1], else the extremes."""
    low, high = float(np.nanmin(images)), float(np.nanmax(images))
    if 0 <= low and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1.0


def show_image(axes, image, color_map, low, high):
    """Draw an image with NaN in light grey (in white for colour images).

    Each channel of a colour image is scaled from [low, high], so that in a symmetric range a weight
    of 0 is mid-grey.
    """
    if image.ndim == 3:
        image = np.nan_to_num(np.clip((image - low) / (high - low), 0, 1), nan=1.0)
    return axes.imshow(image, cmap=color_map, vmin=low, vmax=high, interpolation="nearest")


def mosaic_of(images, n_columns):
    """Return images (n, h, w[, 3]) side by side, separated by lines of NaN."""
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
