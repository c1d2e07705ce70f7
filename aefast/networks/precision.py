"""The parameter `precision`: the type of the parameters, and whether this machine supports it."""

from typing import Any

import numpy as np

from aefast._base import _runtime
from aefast._base.arrays import real_type

PRECISIONS = ("auto", "bfloat16")


def parameter_type(precision: str, rows_dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of the parameters of a new fit to rows of the given type."""
    return np.dtype(np.float32) if precision == "bfloat16" else real_type(rows_dtype)


def is_available(precision: str) -> bool:
    """Return whether the kernels in use can train with a precision."""
    if precision != "bfloat16":
        return True
    return _runtime.isa() in _runtime.bfloat16_available() and _runtime.products() == "tiles"


def check_available(precision: str) -> None:
    """Raise ValueError if the kernels in use cannot train with a precision.

    bfloat16 is not emulated, because float32 would be faster.
    """
    if is_available(precision):
        return
    raise ValueError(
        f"precision={precision!r} needs a processor with AVX512_BF16 (AMD from Zen 4 on; Intel "
        "Xeon: Cooper Lake, and from "
        f"Sapphire Rapids on), but {_what_is_missing()}. precision='auto' computes in float32 or "
        "float64"
    )


def _what_is_missing():
    """Return the reason why bfloat16 is not available, as a clause of the error message."""
    isa, has = _runtime.isa(), _runtime.isa_available()
    if not _runtime.bfloat16_built():
        return "this build has no kernels for it: the compiler did not know the instructions"
    if not _runtime.bfloat16_available():
        return (
            "this one does not have it: of the instruction sets that aefast is built for, it "
            f"has {', '.join(has)}"
        )
    if _runtime.products() != "tiles":
        return f"AEFAST_PRODUCTS={_runtime.products()} chose products that do not know it"
    return f"AEFAST_ISA={isa} chose kernels that do not use it"
