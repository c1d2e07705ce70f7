"""Denoising of images by sparse codes of their patches, estimates of noise, and PSNR."""

from aefast.sparse_coding.denoising import denoise, estimate_noise, psnr

__all__ = ["denoise", "estimate_noise", "psnr"]


def __dir__() -> list[str]:
    return __all__
