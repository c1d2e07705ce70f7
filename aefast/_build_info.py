"""Properties of this build and of the machine that it runs on."""

from typing import Any

from aefast._base import _runtime, threads
from aefast._version import __version__
from aefast.networks import precision


def build_info() -> dict[str, Any]:
    """Return properties of this build and of the machine, for reports of bugs and benchmarks.

    Returns
    -------
    info : dict
        The keys are:

        * ``version``: version of aefast;
        * ``openmp`` (bool): whether it was built with OpenMP;
        * ``n_threads``: number of threads that ``n_threads=None`` stands for, for large work;
        * ``isa``: instruction set of the kernels in use, which the environment variable
          ``AEFAST_ISA`` can force;
        * ``isa_available``: list of the instruction sets that can be used;
        * ``bfloat16`` (bool): whether ``precision="bfloat16"`` can be used;
        * ``products``: "tiles" for aefast's own matrix products, or "blas" for SciPy's BLAS, which
          ``AEFAST_PRODUCTS=blas`` forces;
        * ``blas``: library, version and architecture of SciPy's BLAS;
        * ``compiler``: compiler of the kernels;
        * ``debug`` (bool): whether this is a debug build.
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
