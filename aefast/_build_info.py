"""What this build is and uses."""

from typing import Any

from aefast._base import _runtime, threads
from aefast._version import __version__
from aefast.networks import precision


def build_info() -> dict[str, Any]:
    """What this build is and uses, for reports of bugs and benchmarks.

    Returns
    -------
    info : dict
        ``version``; ``openmp`` (bool: built with it); ``n_threads`` (what ``n_threads=None`` means
        here, where the work is large enough); ``isa`` (instruction set whose kernels are in use;
        the environment variable ``AEFAST_ISA`` forces one); ``isa_available`` (list of names);
        ``bfloat16`` (bool: ``precision="bfloat16"`` can be used); ``products`` ("tiles": our own
        register tiles; "blas": SciPy's, forced by ``AEFAST_PRODUCTS=blas``); ``blas`` (library,
        version and architecture behind SciPy); ``compiler``; ``debug`` (bool).
    """
    return {
        "version": __version__,
        "openmp": _runtime.OPENMP,
        "n_threads": threads.default_n_threads(),
        "isa": _runtime.isa(),
        "isa_available": _runtime.isa_available(),
        "bfloat16": precision.is_available("bfloat16"),
        "products": _runtime.products(),
        "blas": threads.blas_description(),
        "compiler": _runtime.COMPILER_VERSION,
        "debug": _runtime.DEBUG,
    }
