"""Image denoising: public interface of `aefast.sparse_coding.denoising`."""

from aefast.sparse_coding.denoising import denoise, estimate_noise, psnr

__all__ = ["denoise", "estimate_noise", "psnr"]


def __dir__() -> list[str]:
    return __all__
