# cython: freethreading_compatible=True
"""Selection of the kernels that this process uses, and facts of the build."""

import os
import time

from libc.stdint cimport int64_t, uint64_t


cdef extern from "runtime/dispatch.h":
    enum: AEFAST_N_ISAS
    const char* aefast_isa_name(int)
    int aefast_isa_supported(int)
    int aefast_bfloat16_built(int)
    int aefast_bfloat16_supported(int)


cdef extern from "kernels/base/float_mode.h":
    enum: FLOAT_MODE_IEEE
    uint64_t float_mode_swap(uint64_t) noexcept nogil
    uint64_t float_mode_bits(int) noexcept nogil


cdef extern from "runtime/peak.h":
    ctypedef struct peak_kernels:
        double (*multiply_adds)(int64_t rounds, int n_threads, double* sink) noexcept nogil
    const peak_kernels* peak_tables[][2]


cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    enum { BUILT_WITH_OPENMP = 1 };
    static int openmp_threads(void) { return omp_get_max_threads(); }
    #else
    enum { BUILT_WITH_OPENMP = 0 };
    static int openmp_threads(void) { return 1; }
    #endif
    #ifdef AEFAST_DEBUG
    enum { BUILT_FOR_DEBUGGING = 1 };
    #else
    enum { BUILT_FOR_DEBUGGING = 0 };
    #endif
    #ifdef __clang__
    #define COMPILER_NAME "clang "
    #elif defined(__GNUC__)
    #define COMPILER_NAME "gcc "
    #else
    #define COMPILER_NAME ""
    #endif
    #ifdef __VERSION__
    #define COMPILER COMPILER_NAME __VERSION__
    #else
    #define COMPILER "unknown"
    #endif
    """
    enum: BUILT_WITH_OPENMP
    enum: BUILT_FOR_DEBUGGING
    int openmp_threads()
    const char* COMPILER


OPENMP = bool(BUILT_WITH_OPENMP)
DEBUG = bool(BUILT_FOR_DEBUGGING)
COMPILER_VERSION = COMPILER.decode()

# The instruction set "wide" is for tests: it runs on all processors and is used on request only.
_NAMES = [aefast_isa_name(i).decode() for i in range(AEFAST_N_ISAS)]
cdef int _current = 0


def openmp_max_threads():
    """Return the team size that OpenMP would use now; 1 in a serial build.

    OMP_NUM_THREADS and threadpoolctl determine it."""
    return openmp_threads()


def isa_available():
    """Return the names of the instruction sets that kernels can use, in rising order.

    The build has kernels for these, and the processor can execute them."""
    return [name for i, name in enumerate(_NAMES) if aefast_isa_supported(i)]


def isa():
    """Return the name of the instruction set in use."""
    return _NAMES[_current]


def isa_index():
    """Return the index, in the tables of kernels, of the instruction set in use."""
    return _current


def set_isa(name):
    """Select the instruction set. For tests; no kernel may be running."""
    global _current
    if name not in isa_available():
        raise ValueError(
            f"AEFAST_ISA must be one of {isa_available()} "
            f"(what this build has and this processor can execute), got {name!r}"
        )
    _current = _NAMES.index(name)


def bfloat16_built():
    """Return the names of the instruction sets for which this build has kernels for bfloat16."""
    return [name for i, name in enumerate(_NAMES) if aefast_bfloat16_built(i)]


def bfloat16_available():
    """Return the names of the instruction sets with kernels for bfloat16 that can be executed."""
    return [name for i, name in enumerate(_NAMES) if aefast_bfloat16_supported(i)]


cdef class IeeeArithmetic:
    """Context in which the calling thread rounds to nearest and keeps subnormal numbers.

    The thread's mode is restored afterwards. One object serves for one `with`."""

    cdef uint64_t found

    def __enter__(self):
        self.found = float_mode_swap(float_mode_bits(FLOAT_MODE_IEEE))

    def __exit__(self, *error):
        float_mode_swap(self.found)


cdef class Holding:
    """Context that is a holder of a limit: `limit.acquire(holder)`, then `limit.release(holder)`.

    An interrupt, which Python code sees between any two bytecodes and compiled code does not, may
    end either of them: the release is repeated then, and does nothing where there is no holder."""

    cdef object limit

    def __init__(self, limit):
        self.limit = limit

    def __enter__(self):
        try:
            self.limit.acquire(self)
        except BaseException:
            self.limit.release(self)
            raise

    def __exit__(self, *error):
        try:
            self.limit.release(self)
        except BaseException:
            self.limit.release(self)
            raise


cdef class SameBits(Holding):
    """Context that is a holder of a limit, in the arithmetic of `IeeeArithmetic`."""

    cdef uint64_t found

    def __enter__(self):
        Holding.__enter__(self)
        self.found = float_mode_swap(float_mode_bits(FLOAT_MODE_IEEE))

    def __exit__(self, *error):
        float_mode_swap(self.found)
        Holding.__exit__(self)


def products():
    """Return which matrix products are in use: "tiles", those of aefast, or "blas", SciPy's."""
    return _products


def set_products(name):
    """Select the matrix products, "tiles" or "blas". For tests and benchmarks."""
    global _products
    if name not in ("tiles", "blas"):
        raise ValueError(f"AEFAST_PRODUCTS must be 'tiles' or 'blas', got {name!r}")
    _products = name


def fma_peak(str dtype="float32", int n_threads=1, double seconds=0.2):
    """Measure the peak of fused multiply-adds in floating-point operations per second.

    The loop works in registers alone; no matrix product can be faster."""
    cdef const peak_kernels* kernels = peak_tables[_current][dtype == "float64"]
    cdef int64_t rounds = 200_000
    cdef double sink = 0, made, best = 0
    deadline = time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        with nogil:
            made = kernels.multiply_adds(rounds, n_threads, &sink)
        stop = time.perf_counter()
        best = max(best, made / (stop - start))
        if stop >= deadline:
            return best


if not isa_available():
    raise ImportError(
        f"aefast was built for {', '.join(_NAMES)} alone, which this processor cannot execute")
set_isa(os.environ.get("AEFAST_ISA") or [name for name in isa_available() if name != "wide"][-1])
set_products(os.environ.get("AEFAST_PRODUCTS") or "tiles")
