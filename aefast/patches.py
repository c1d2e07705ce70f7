"""Patches of images: public interface of `aefast.sparse_coding.patches`."""

from aefast.sparse_coding.patches import all_patches, assemble_patches, extract_patches

__all__ = ["all_patches", "assemble_patches", "extract_patches"]


def __dir__() -> list[str]:
    return __all__
