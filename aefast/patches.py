"""Patches of images: random ones, all of them, and images put together from all."""

from aefast.sparse_coding.patches import all_patches, assemble_patches, extract_patches

__all__ = ["all_patches", "assemble_patches", "extract_patches"]


def __dir__() -> list[str]:
    return __all__
