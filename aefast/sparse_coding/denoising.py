"""Image denoising by sparse coding of overlapping patches (Elad & Aharon 2006)."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from aefast._base import arrays as check
from aefast._base import scalars
from aefast.sparse_coding import coding
from aefast.sparse_coding.coder import sparse_encode
from aefast.sparse_coding.patches import all_patches, as_image, assemble_patches

__all__ = ["denoise", "estimate_noise", "psnr"]

# A patch of pure noise has a squared norm below (1.15 σ)² d with probability 0.96 for d = 64
# (Elad & Aharon 2006).
NOISE_GAIN = 1.15
PATCHES_PER_STRIP = 1 << 16
GREAT = 1e307  # size from which a sum of four pixels may overflow
TINY = np.finfo(np.float64).tiny


def denoise(
    image: ArrayLike, dictionary: ArrayLike, noise: float, n_threads: int | None = None
) -> NDArray[np.float64]:
    """Remove Gaussian noise from an image.

    Each overlapping patch of d pixels, less its mean, is coded by orthogonal matching pursuit until
    the squared error is ``(1.15 noise)² d``; each pixel becomes the mean over the patches that
    cover it. The channels of a colour image are denoised one after another.

    Parameters
    ----------
    image : array-like (height, width) or (height, width, channels)
    dictionary : array-like (n_components, side²)
        Atoms of square patches, learnt from patches less their means.
    noise : float
        Standard deviation of the noise, in units of the image.
    n_threads : int or None, default=None

    Returns
    -------
    denoised : ndarray of the image's shape, float64

    References
    ----------
    .. [1] Elad & Aharon (2006), Image denoising via sparse and redundant representations over
       learned dictionaries.
    """
    image = as_image(image, "image").astype(np.float64)
    D = coding.as_dictionary(dictionary)
    side = round(D.shape[1] ** 0.5)
    if side * side != D.shape[1]:
        raise ValueError(f"dictionary must have atoms of square patches, got {D.shape[1]} features")
    scalars.check_number(noise, "noise")
    if not 0 < noise < np.inf:
        raise ValueError(f"noise must be positive and finite, got {noise}")
    check.check_finite(image, "image")
    target = _error_of_noise(noise, side)
    if min(image.shape[:2]) < side:
        raise ValueError(
            f"image must be at least {side} x {side}, as the atoms, got {image.shape[:2]}"
        )
    channels = [image] if image.ndim == 2 else list(np.moveaxis(image, 2, 0))
    cleaned = [
        _denoise_channel(np.ascontiguousarray(c), D, side, target, n_threads) for c in channels
    ]
    return cleaned[0] if image.ndim == 2 else np.stack(cleaned, axis=2)


def _error_of_noise(noise, side):
    """Return the squared error at which the coding of a patch ends."""
    try:
        with np.errstate(over="raise"):
            target = (NOISE_GAIN * noise) ** 2 * side * side
    except (OverflowError, FloatingPointError):
        target = np.inf
    if target == np.inf:
        raise ValueError(f"noise must have a square within float64, got {noise}")
    return target


def _denoise_channel(image, D, side, target, n_threads):
    total, count = np.zeros_like(image), np.zeros_like(image)
    n_rows, n_columns = image.shape[0] - side + 1, image.shape[1] - side + 1
    step = max(1, PATCHES_PER_STRIP // n_columns)
    for first in range(0, n_rows, step):
        patches = all_patches(image, side, first, min(n_rows, first + step))
        with np.errstate(over="ignore", invalid="ignore"):
            patches = patches.astype(D.dtype)
            means = patches.mean(axis=1, keepdims=True)
            patches -= means
        if not np.isfinite(patches).all():
            raise FloatingPointError(
                f"the mean of a patch of image overflows {D.dtype}: scale image down"
            )
        codes = sparse_encode(
            patches, D, algorithm="omp", alpha=target, output_format="csr", n_threads=n_threads
        )
        assemble_patches(codes @ D + means, total, count, side, first)
    return total / count


def estimate_noise(image: ArrayLike) -> float:
    """Estimate the standard deviation of an image's white noise from its finest diagonal details.

    The estimate is ``median |w| / 0.6745`` over the diagonal coefficients w of the Haar wavelet
    (Donoho & Johnstone 1994), averaged over channels.

    Parameters
    ----------
    image : array-like (height, width) or (height, width, channels)

    Returns
    -------
    noise : float
    """
    image = as_image(image, "image").astype(np.float64)
    if min(image.shape[:2]) < 2:
        raise ValueError(f"image must be at least 2 x 2, got {image.shape[:2]}")
    check.check_finite(image, "image")
    scale = 0.25 if np.abs(image).max() > GREAT else 1.0  # a power of two changes no digit
    squares = sliding_window_view(image * scale, (2, 2), axis=(0, 1))[::2, ::2]
    details = (
        squares[..., 0, 0] + squares[..., 1, 1] - squares[..., 0, 1] - squares[..., 1, 0]
    ) / 2
    noise = np.median(np.abs(details), axis=(0, 1)).mean() / 0.6745
    if noise > np.finfo(np.float64).max * scale:
        raise FloatingPointError("the noise of image overflows float64: scale image down")
    return float(noise / scale)


def psnr(image: ArrayLike, clean: ArrayLike, peak: float = 1.0) -> float:
    """Return the peak signal-to-noise ratio in decibels.

    The ratio is ``10 log10(peak² / mean((image − clean)²))``.

    Parameters
    ----------
    image, clean : array-like
        Images of the same shape.
    peak : float, default=1.0

    Returns
    -------
    decibels : float
    """
    image, clean = check.as_array(image, "image"), check.as_array(clean, "clean")
    if image.shape != clean.shape or image.size == 0:
        raise ValueError(
            f"image and clean must have one shape and pixels, got {image.shape} and {clean.shape}"
        )
    check.check_finite(image, "image")
    check.check_finite(clean, "clean")
    scalars.check_number(peak, "peak")
    if not 0 < peak < np.inf:
        raise ValueError(f"peak must be positive and finite, got {peak}")
    with np.errstate(over="ignore"):
        error = np.mean((image.astype(np.float64) - clean) ** 2)
    if TINY < error < np.inf and 1e-150 < peak < 1e150:
        return float(10 * np.log10(peak**2 / error))
    # halves, whose difference cannot overflow, in units of the largest difference
    halves = image.astype(np.float64) / 2 - clean.astype(np.float64) / 2
    largest = np.abs(halves).max()
    if largest == 0:
        return float("inf")
    error = np.mean((halves / largest) ** 2)
    return float(
        20 * (np.log10(float(peak)) - np.log10(2) - np.log10(largest)) - 10 * np.log10(error)
    )
