"""Builds the extensions. What is particular: every file of src/kernels is compiled once per
(instruction set, precision), each with that set's flags; OpenMP is found by compiling and running a
trial. Everything else is in pyproject.toml.

AEFAST_DEBUG=1   address and undefined-behaviour sanitizers, poisoned gaps between arrays
(CONTRIBUTING.md says how to run the tests under them)
                 the sets of instructions that this processor cannot execute are left out
AEFAST_OPENMP=0  a serial build
AEFAST_WITHOUT=  "avx512" or "avx2 avx512": instruction sets to leave out, for a quicker build;
wheels have all
"""

import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

if (
    sys.platform == "darwin"
):  # a universal Python asks for two processors at once; the kernels are one processor's
    os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")

DEBUG = os.environ.get("AEFAST_DEBUG", "0") not in ("", "0")

# Later flags win: they stand after the environment's CFLAGS, so that -march=native or -ffast-math
# there cannot reach the baseline.
X86_64 = ["-march=x86-64", "-mtune=generic"]
OPTIONAL = {  # what a processor must have; a build may leave these out
    "avx2": 'return !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));',
    "avx512": 'return !(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"));',
}
ISA_FLAGS = {
    "baseline": X86_64,
    "avx2": [*X86_64, "-mavx2", "-mfma"],
    "avx512": [*X86_64, "-mavx2", "-mfma", "-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq"],
    "generic": [],
}
WIDE_FLAGS = [
    "-DAEFAST_VEC_BYTES=64",
    "-Wno-psabi",
    "--param=asan-instrumentation-with-call-threshold=50",  # a third of the time to compile
]
PRECISIONS = {  # macros of an instance
    "f32": [("AEFAST_REAL_BITS", "32")],
    "f64": [("AEFAST_REAL_BITS", "64")],
    "bf16": [("AEFAST_REAL_BITS", "32"), ("AEFAST_BFLOAT16", None)],
}
BFLOAT16_FLAGS = {"avx512": ["-mavx512bf16"], "wide": []}
KERNEL_FLAGS = [
    "-std=gnu17",
    "-D_GNU_SOURCE",
    "-fno-fast-math",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    # or a name gone from a header is found missing when Python loads the library
    "-Werror=implicit-function-declaration",
]
OPTIMIZE = ["-O1", "-g1", "-fno-omit-frame-pointer"] if DEBUG else ["-O3"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
OPENMP_CANDIDATES = [
    ["-fopenmp"],
    ["-Xpreprocessor", "-fopenmp", "-lomp"],
]  # GCC and clang; Apple's clang

OPENMP_TRIAL = """
#include <omp.h>
int main(void) {
    int n = 0;
#pragma omp parallel num_threads(2) reduction(+ : n)
    n += 1;
    return n >= 1 && omp_get_max_threads() >= 1 ? 0 : 1;
}
"""

BFLOAT16_TRIAL = """
#include <immintrin.h>
__m512 add_products(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
__m256i rounded(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }
int main(void) { return __builtin_cpu_supports("avx512bf16") < 0; }
"""


class Trial:
    """Asks the compiler what it can do, by small programs."""

    def __init__(self, compiler):
        self.compiler = compiler

    def compiles(self, source, flags=(), run=False):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "trial.c")
            path.write_text(source)
            compile_flags = [flag for flag in flags if not flag.startswith("-l")]
            try:
                objects = self.compiler.compile(
                    [str(path)], output_dir=folder, extra_postargs=compile_flags
                )
                self.compiler.link_executable(
                    objects, "trial", output_dir=folder, extra_postargs=list(flags)
                )
                if run:
                    subprocess.run([Path(folder, "trial")], check=True, timeout=60)
            except Exception:  # distutils has many ways to say no
                return False
        return True

    def openmp_flags(self):
        if os.environ.get("AEFAST_OPENMP", "1") == "0":
            return []
        for flags in OPENMP_CANDIDATES:
            if self.compiles(OPENMP_TRIAL, flags, run=True):
                return flags
        return []

    def instruction_sets(self):
        x86 = self.compiles("#ifndef __x86_64__\n#error no\n#endif\nint main(void) { return 0; }")
        unwanted = os.environ.get("AEFAST_WITHOUT", "").split()
        if strange := set(unwanted) - set(OPTIONAL):
            raise SystemExit(f"AEFAST_WITHOUT names {sorted(strange)}: expected {list(OPTIONAL)}")
        names = ["baseline", "avx2", "avx512"] if x86 else ["generic"]
        table = {
            name: ISA_FLAGS[name]
            for name in names
            if name not in unwanted and not (DEBUG and name in OPTIONAL and not self.runs(name))
        }
        if DEBUG:
            table["wide"] = [*ISA_FLAGS["avx2" if "avx2" in table else names[0]], *WIDE_FLAGS]
        return table

    def bfloat16_instruction_sets(self, instances):
        """Those of `instances` that have a form for bfloat16, and its further flags."""
        table = {name: flags for name, flags in BFLOAT16_FLAGS.items() if name in instances}
        if "avx512" in table and not self.compiles(
            BFLOAT16_TRIAL, [*ISA_FLAGS["avx512"], *BFLOAT16_FLAGS["avx512"]]
        ):
            del table["avx512"]
        return table

    def runs(self, name):
        return self.compiles(f"int main(void) {{ {OPTIONAL[name]} }}", run=True)

    def sanitizer_flags(self):
        return SANITIZE if DEBUG and self.compiles("int main(void) { return 0; }", SANITIZE) else []


class BuildKernels(build_ext):
    """Compiles the kernels' instances and links them into the extension that calls them."""

    def finalize_options(self):
        super().finalize_options()
        self.force = (
            True  # an extension built with other flags is not up to date, whatever its date says
        )

    def build_extensions(self):
        trial = Trial(self.compiler)
        self.openmp = trial.openmp_flags()
        self.sanitizers = trial.sanitizer_flags()
        self.instances = trial.instruction_sets()
        self.bfloat16_instances = trial.bfloat16_instruction_sets(self.instances)
        self.left_out = [
            (f"AEFAST_WITHOUT_{name.upper()}", None)
            for name in OPTIONAL
            if name not in self.instances
        ]
        if not self.openmp:
            self.announce_serial()
        super().build_extensions()

    def announce_serial(self):
        lines = [
            "aefast: no working OpenMP found: building SERIAL kernels, which use one thread only.",
            "aefast: install libomp (clang) or libgomp (GCC) and build again for parallel ones.",
        ]
        print("\n".join(["*" * 88, *lines, "*" * 88]), file=sys.stderr, flush=True)

    def build_extension(self, ext):
        # Cython's bounds checks stay on: its code holds no loop over data.
        generated = cythonize(
            [ext],
            build_dir=self.build_temp,
            language_level=3,
            include_path=["src/bindings"],
            force=True,
        )
        pyx = list(ext.sources)
        ext.sources = generated[0].sources
        flags = [*OPTIMIZE, *self.sanitizers]
        ext.define_macros = [*ext.define_macros, *self.left_out]
        if DEBUG:
            ext.define_macros = [*ext.define_macros, ("AEFAST_DEBUG", None)]
        if "avx512" in self.bfloat16_instances:
            ext.define_macros = [*ext.define_macros, ("AEFAST_AVX512_BFLOAT16", None)]
        ext.extra_compile_args = [
            *flags,
            *(flag for flag in self.openmp if not flag.startswith("-l")),
        ]
        ext.extra_link_args = [*self.sanitizers, *self.openmp]
        ext.extra_objects = self.kernel_objects(ext, flags)
        super().build_extension(ext)
        ext.sources = pyx

    def kernel_objects(self, ext, flags):
        jobs = [
            (source, isa, precision, [])
            for source in ext.kernels
            for isa in reversed(self.instances)  # the widest take longest: they begin
            for precision in ("f32", "f64")
        ] + [
            (source, isa, "bf16", more_flags)
            for source in ext.bfloat16_kernels
            for isa, more_flags in self.bfloat16_instances.items()
        ]

        def compile_one(job):
            source, isa, precision, more_flags = job
            compile_flags = [flag for flag in self.openmp if not flag.startswith("-l")]
            return self.compiler.compile(
                [source],
                output_dir=os.path.join(self.build_temp, f"{isa}-{precision}"),
                include_dirs=["src"],
                macros=[*ext.define_macros, ("AEFAST_ISA", isa), *PRECISIONS[precision]],
                extra_postargs=[
                    *flags,
                    *compile_flags,
                    *KERNEL_FLAGS,
                    *self.instances[isa],
                    *more_flags,
                ],
                depends=ext.depends,
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return [path for paths in pool.map(compile_one, jobs) for path in paths]


def extension(name, sources, kernels, bfloat16_kernels=(), libraries=()):
    ext = Extension(
        f"aefast.{name}",
        sources,
        include_dirs=["src", numpy.get_include()],
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
        ],
        depends=[str(path) for path in sorted(Path("src").rglob("*.[ch]"))],
        library_dirs=[str(Path(numpy.random.__file__).parent / "lib")],
        libraries=libraries,
    )
    ext.kernels, ext.bfloat16_kernels = kernels, bfloat16_kernels
    return ext


setup(
    ext_modules=[
        extension(
            "_base._runtime",
            ["src/bindings/_runtime.pyx", "src/runtime/dispatch.c"],
            ["src/runtime/peak.c"],
        ),
        extension(
            "_base._rows",
            ["src/bindings/_rows.pyx"],
            ["src/kernels/products/scan.c"],
        ),
        extension(
            "networks._autoencoder",
            ["src/bindings/_autoencoder.pyx"],
            ["src/kernels/autoencoder/autoencoder.c"],
            bfloat16_kernels=["src/kernels/autoencoder/autoencoder.c"],
            libraries=["npyrandom"],  # NumPy's: draws from its generators, in compiled code
        ),
        extension(
            "_base._statistics",
            ["src/bindings/_statistics.pyx"],
            ["src/kernels/statistics/statistics.c"],
        ),
        extension(
            "sparse_coding._sparse_coding",
            ["src/bindings/_sparse_coding.pyx"],
            ["src/kernels/sparse_coding/sparse_coding.c"],
        ),
    ],
    cmdclass={"build_ext": BuildKernels},
)
