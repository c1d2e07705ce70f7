"""Patches of images: random patches, all patches, and images assembled from patches."""

import contextlib
import os
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike
from scipy import sparse

from aefast._base import arrays as check
from aefast._base import scalars
from aefast._base.errors import shown
from aefast._base.paths import as_path, check_is_regular_file
from aefast._base.random import random_state_of
from aefast._base.types import Array, PathLike, RandomState, Reals

__all__ = ["all_patches", "assemble_patches", "extract_patches", "load_image"]


def extract_patches(
    images: ArrayLike | PathLike | Iterable[Any],
    size: int | tuple[int, int],
    n_patches: int = 10_000,
    random_state: RandomState | None = None,
) -> Array:
    """Draw random patches from images.

    Every position in every image is equally likely. No position of an image is drawn a second time
    before all others of that image have been drawn. Memory holds one image at a time, and only the
    patches drawn from it.

    Parameters
    ----------
    images : array-like, path, or iterable of these
        One image (height, width) or (height, width, channels), a stack of images (n, height, width,
        channels), or an iterable (a list or a generator) of images and of paths to image files,
        which Pillow reads, as values in [0, 1]. Paths are opened one at a time.
    size : int or tuple (height, width)
    n_patches : int, default=10_000
    random_state : int, RandomState instance or None, default=None

    Returns
    -------
    patches : ndarray (n_patches, height · width [· channels])
        One patch in each row, pixels in row-major order, in the images' type.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import extract_patches
    >>> extract_patches(np.zeros((32, 32)), 8, 100).shape
    (100, 64)
    """
    size = _as_size(size)
    n_patches = scalars.as_integer(n_patches, "n_patches")
    if not 1 <= n_patches <= scalars.LARGEST_SIZE:
        raise ValueError(f"n_patches must be in [1, {scalars.LARGEST_SIZE}], got {n_patches}")
    random = random_state_of(random_state)
    chosen, shares = _shares(images, size, n_patches, random)
    rows = []
    for image, share in zip(chosen, shares, strict=True):
        image = as_image(image)
        _check_fits(image, size)
        rows.append(_random_patches(image, size, share, random))
        if rows[-1].shape[1] != rows[0].shape[1]:
            raise ValueError(
                f"images must all have as many channels, got patches of {rows[0].shape[1]} and "
                f"{rows[-1].shape[1]} values"
            )
    patches = np.concatenate(rows)
    return patches[random.permutation(len(patches))]


def _as_size(size):
    is_number = isinstance(size, str) or (isinstance(size, np.ndarray) and size.ndim == 0)
    pair = tuple(size) if isinstance(size, Iterable) and not is_number else (size, size)
    if len(pair) != 2 or any(scalars.as_integer(side, "size") < 1 for side in pair):
        raise ValueError(
            f"size must be a positive integer or (height, width) of them, got {shown(size)}"
        )
    return tuple(int(side) for side in pair)


def _shares(images, size, n_patches, random):
    """Return the images, and the number of patches to draw from each."""
    if isinstance(images, (str, os.PathLike)):
        return [images], [n_patches]
    if isinstance(images, (Set, Mapping)) or sparse.issparse(images):
        raise TypeError(
            "images must be an image, a path, or an iterable of these that has an order, got "
            f"{type(images).__name__}"
        )
    if isinstance(images, np.ndarray) and images.ndim == 4:
        images = list(images)  # views
    if isinstance(images, np.ndarray) or not isinstance(images, Iterable):
        return [images], [n_patches]
    images = list(images) if not hasattr(images, "__len__") else images
    if len(images) == 0:
        raise ValueError("images must hold at least one image, got none")
    if not isinstance(images[0], (str, os.PathLike)) and len(_shape_of(images[0])) < 2:
        return [check.as_array(images, "images")], [n_patches]
    shapes = [_shape_of(image) for image in images]
    for shape in shapes:
        _check_shape(shape, "images")
        _check_shape_fits(shape, size)
    places = np.array([_n_places(shape, size) for shape in shapes], dtype=np.float64)
    return images, random.multinomial(n_patches, places / places.sum())


def _shape_of(image):
    """Return the shape of an image, or raise a ValueError that names `images`."""
    try:
        return image_shape(image)
    except ValueError as error:  # raised by NumPy for ragged lists
        raise ValueError(f"images must be rectangular arrays of numbers: {error}") from None


def _n_places(shape, size):
    return (shape[0] - size[0] + 1) * (shape[1] - size[1] + 1)


def pillow() -> Any:
    """Return Pillow's module Image, an optional dependency imported on first use."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("image files need Pillow: pip install 'aefast[plot]'") from error
    return Image


@contextlib.contextmanager
def _opened(path):
    """Give an open image file; ValueError for what is damaged, too large or no file."""
    path = as_path(path)
    check_is_regular_file(path)
    reader = pillow()
    try:
        with reader.open(Path(path)) as file:
            yield file
    except Exception as error:  # Pillow raises nearly any, of its own for decompression bombs
        has_cause = isinstance(error, OSError) and error.errno is not None
        if has_cause or isinstance(error, MemoryError):
            raise
        raise ValueError(f"{os.fspath(path)}: cannot be read as an image: {error}") from error


def image_shape(image: ArrayLike) -> tuple[int, ...]:
    """Return the shape of an array, or of an image file without reading its pixels."""
    if not isinstance(image, (str, os.PathLike)):
        return np.shape(image)
    with _opened(image) as file:
        return (file.height, file.width)


def load_image(path: PathLike, grey: bool = False) -> Array:
    """Return the pixels of an image file as float64 in [0, 1].

    The shape is (height, width) for grey images, (height, width, 3) for others.

    Parameters
    ----------
    path : path
    grey : bool, default=False
        Convert colours to luminance.

    Returns
    -------
    image : ndarray
    """
    with _opened(path) as file:
        depth = 65535.0 if file.mode.startswith("I") else 255.0
        if depth == 255.0:
            is_grey = grey or file.mode in ("1", "L", "LA")
            file = file.convert("L" if is_grey else "RGB")
        return np.asarray(file, np.float64) / depth


def as_image(image: ArrayLike, name: str = "images") -> Array:
    """Return an image (height, width) or (height, width, channels) from an array or a path."""
    if isinstance(image, (str, os.PathLike)):
        return load_image(image)
    image = check.as_array(image, name)
    _check_shape(image.shape, name)
    return image


def _check_shape(shape, name):
    """Raise a ValueError unless this is the shape of an image that is not empty."""
    if len(shape) not in (2, 3) or 0 in shape:
        raise ValueError(
            f"{name} must be (height, width) or (height, width, channels), got shape {shape}"
        )


def _check_fits(image, size):
    _check_shape_fits(image.shape, size)


def _check_shape_fits(shape, size):
    if shape[0] < size[0] or shape[1] < size[1]:
        raise ValueError(f"size must fit into every image, got {size} for an image {tuple(shape)}")


def _windows(image, size):
    """Return a view (rows, columns, height, width[, channels]) of every patch."""
    views = sliding_window_view(image, size, axis=(0, 1))
    return np.moveaxis(views, 2, -1) if image.ndim == 3 else views


def _random_patches(image, size, n, random):
    views = _windows(image, size)
    n_places, n_columns = views.shape[0] * views.shape[1], views.shape[1]
    whole, rest = divmod(n, n_places)
    drawn = [np.arange(n_places)] * whole + [_sample(n_places, rest, random)]
    rows, columns = np.divmod(np.concatenate(drawn), n_columns)
    return views[rows, columns].reshape(n, -1)


def _sample(n_places, n, random):
    """Draw n different integers below n_places."""
    from sklearn.utils.random import sample_without_replacement

    return sample_without_replacement(n_places, n, random_state=random)


def all_patches(
    image: ArrayLike, size: int | tuple[int, int], first_row: int = 0, end_row: int | None = None
) -> Array:
    """Return every patch whose top row lies in rows [first_row, end_row) of an image.

    Parameters
    ----------
    image : ndarray (height, width) or (height, width, channels)
    size : int or tuple (height, width)
    first_row, end_row : int
        Range of top rows, for processing an image in strips without all patches in memory.

    Returns
    -------
    patches : ndarray (n, height · width [· channels])
        A copy, in row-major order of the patches' positions.
    """
    image, (height, width) = as_image(image, "image"), _as_size(size)
    _check_fits(image, (height, width))
    n_rows = image.shape[0] - height + 1
    first_row = scalars.as_integer(first_row, "first_row")
    end_row = n_rows if end_row is None else min(scalars.as_integer(end_row, "end_row"), n_rows)
    if not 0 <= first_row < end_row:
        raise ValueError(
            f"first_row and end_row must be a range within the {n_rows} rows of patches, got "
            f"{first_row} and {end_row}"
        )
    views = _windows(image, (height, width))[first_row:end_row]
    return views.reshape(views.shape[0] * views.shape[1], -1)


def assemble_patches(
    patches: Reals, total: Array, count: Array, size: int | tuple[int, int], first_row: int = 0
) -> None:
    """Add overlapping patches to an image of sums, and count the patches at each pixel.

    After all patches, ``total / count`` is each pixel's mean over the patches that cover it.

    Parameters
    ----------
    patches : array (n, height · width [· channels])
        Patches in the order of `all_patches`.
    total : ndarray (height, width) or (height, width, channels), float64
        Sums over patches, changed in place.
    count : ndarray (height, width), float64
        Numbers of patches, changed in place.
    size : int or tuple (height, width)
    first_row : int
        Row of the image in which the first patch begins.
    """
    height, width = _as_size(size)
    first_row = scalars.as_integer(first_row, "first_row")
    patches = check.as_array(patches, "patches", 2)
    for name, array, n_dimensions in (("total", total, (2, 3)), ("count", count, (2,))):
        if not (isinstance(array, np.ndarray) and array.ndim in n_dimensions):
            raise TypeError(f"{name} must be an ndarray of an image's shape, got {shown(array)}")
        if array.dtype != np.float64 or array.shape[:2] != total.shape[:2]:
            raise ValueError(
                f"{name} must be float64, and as high and wide as total, {total.shape[:2]}, got "
                f"{array.dtype} and shape {array.shape}"
            )
    channels, n_columns = total.shape[2:], total.shape[1] - width + 1
    n_rows = len(patches) // max(n_columns, 1)
    n_values = height * width * int(np.prod(channels))
    if n_columns < 1 or not len(patches) or patches.shape != (n_rows * n_columns, n_values):
        raise ValueError(
            f"patches must have {n_values} columns, and all patches of some rows of an image of "
            f"shape {total.shape}, got shape {patches.shape} for size {(height, width)}"
        )
    if not 0 <= first_row <= total.shape[0] - height + 1 - n_rows:
        raise ValueError(
            f"first_row must leave room for patches of {n_rows} rows in total, of shape "
            f"{total.shape}, got {first_row}"
        )
    tiles = patches.reshape(n_rows, n_columns, height, width, *channels)
    for i in range(height):
        for j in range(width):
            rows, columns = slice(first_row + i, first_row + i + n_rows), slice(j, j + n_columns)
            total[rows, columns] += tiles[:, :, i, j]
            count[rows, columns] += 1
