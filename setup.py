"""Build of the extensions; all other settings of the package are in pyproject.toml.

Each kernel file is compiled once per instruction set and precision, with the flags of that set.
Beside each object in build/ stand its dependencies, as the compiler writes them, and its command
line: an object is compiled again if a dependency or the command line has changed. Objects of all
extensions are compiled in one pool. OpenMP is detected by compiling and running a small program.

AEFAST_DEBUG=1   build with address and undefined-behaviour sanitizers and poisoned gaps between
                 arrays (see CONTRIBUTING.md for tests of such a build), without instruction sets
                 that this processor cannot execute
AEFAST_ABI3=1    build for the stable ABI of CPython 3.11: one wheel for all later versions, but for
                 free-threaded ones, which ignore it (docs/develop/packaging.md)
AEFAST_OPENMP=0  build serial kernels
AEFAST_WERROR=1  treat warnings as errors
AEFAST_WITHOUT=  leave out instruction sets, for a quicker build: "avx512", "baseline avx2", ...;
                 wheels have all of them
AEFAST_RUNNER=   command before programs that the build runs: an emulator, when the compiler is one
                 for another processor (.ci/aarch64)
"""

import copy
import os
import platform
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# A universal Python builds for two architectures at once, but kernel flags belong to one of them.
if sys.platform == "darwin":
    os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")

DEBUG = os.environ.get("AEFAST_DEBUG", "0") not in ("", "0")
SERIAL = os.environ.get("AEFAST_OPENMP", "1") == "0"
WERROR = os.environ.get("AEFAST_WERROR", "0") not in ("", "0")
ABI3 = os.environ.get("AEFAST_ABI3", "0") not in ("", "0")
ABI3 = ABI3 and not sysconfig.get_config_var("Py_GIL_DISABLED")
RUNNER = shlex.split(os.environ.get("AEFAST_RUNNER", ""))
LINUX = sys.platform.startswith("linux")

# Flags that follow the environment's CFLAGS and override them, so that neither -march=native nor
# -ffast-math there can affect the baseline.
X86_64 = ["-march=x86-64", "-mtune=generic"]
X86_64_SETS = ["baseline", "avx2", "avx512"]
TRIALS_OF_PROCESSOR = {  # bodies of programs that fail where the processor lacks instructions
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
    "--param=asan-instrumentation-with-call-threshold=50",  # compiles in a third of the time
]
PRECISIONS = {  # macros that select the precision of an instance
    "f32": ["-DAEFAST_REAL_BITS=32"],
    "f64": ["-DAEFAST_REAL_BITS=64"],
    "bf16": ["-DAEFAST_REAL_BITS=32", "-DAEFAST_BFLOAT16"],
}
BFLOAT16_FLAGS = {"avx512": ["-mavx512bf16"], "wide": []}
KERNEL_FLAGS = [
    "-std=gnu17",
    "-D_GNU_SOURCE",
    "-fno-fast-math",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-Wall",
    "-Wextra",
    # Otherwise a name that a header no longer declares fails only when Python loads the library.
    "-Werror=implicit-function-declaration",
]
# -g0: Python's flags ask for debug information, which takes a third of the time to compile and most
# of the size of an extension.
# Bindings are called a few times a slice: they are small rather than fast, but for _rows, whose
# headers have loops over entries (csr.h, interleave.h). Kernels have further flags.
OPTIMIZE = ["-O1", "-g1", "-fno-omit-frame-pointer", "-fno-wrapv"] if DEBUG else ["-Os", "-g0"]
# C has no exceptions to unwind: tables for it are a twentieth of an extension.
if not DEBUG:
    OPTIMIZE.append("-fno-asynchronous-unwind-tables")
# Kernels name their vectors, and gain nothing from GCC's own vectors, versions of loops and clones
# of functions, which take a quarter of their size at -O3. What they need of it is that short loops
# over registers are unrolled, and that functions are inlined. Other compilers get -O3.
KERNEL_OPTIMIZE = [
    "-O2",
    "-fpeel-loops",
    "-finline-functions",
    "--param=max-completely-peeled-insns=200",
    "--param=max-inline-insns-single=200",
    "--param=max-inline-insns-auto=30",
    "--param=early-inlining-insns=14",
    "--param=inline-min-speedup=15",
]
# Guards of the stack and of copies cost less than can be measured (docs/develop/packaging.md). The
# sanitizers of a debug build find more.
HARDENED = LINUX and not DEBUG
HARDENING = ["-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
COMMON_FLAGS = [
    *OPTIMIZE,
    "-fvisibility=hidden",
    *(HARDENING if HARDENED else []),
    *(["-Werror"] if WERROR else []),
]
LINK_FLAGS = ["-Wl,--version-script=src/bindings/exports.map"] if LINUX else []
# All symbols are bound at import, and the table of their addresses is read-only afterwards.
LINK_FLAGS += ["-Wl,-z,relro,-z,now,-z,noexecstack"] if HARDENED else []
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# Flags of GCC and clang, then those of Apple's clang.
OPENMP_CANDIDATES = [["-fopenmp"], ["-Xpreprocessor", "-fopenmp", "-lomp"]]

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
    """Tests of the compiler's capabilities by small programs."""

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
                    subprocess.run([*RUNNER, Path(folder, "trial")], check=True, timeout=60)
            except Exception:  # failures of distutils have many types
                return False
        return True

    def openmp_flags(self):
        if SERIAL:
            return []
        for flags in OPENMP_CANDIDATES:
            if self.compiles(OPENMP_TRIAL, flags, run=True):
                return flags
        return []

    def optimization_of_kernels(self):
        if DEBUG:
            return []
        known = self.compiles("int main(void) { return 0; }", [*KERNEL_OPTIMIZE, "-Werror"])
        return KERNEL_OPTIMIZE if known else ["-O3"]

    def instruction_sets(self):
        x86 = self.compiles("#ifndef __x86_64__\n#error no\n#endif\nint main(void) { return 0; }")
        names = X86_64_SETS if x86 else ["generic"]
        unwanted = set(os.environ.get("AEFAST_WITHOUT", "").split())
        if strange := unwanted - set(X86_64_SETS):
            raise SystemExit(f"AEFAST_WITHOUT names {sorted(strange)}: none of {X86_64_SETS}")
        if DEBUG:
            unwanted |= {name for name in names if not self.runs(name)}
        table = {name: ISA_FLAGS[name] for name in names if name not in unwanted}
        if not table:
            raise SystemExit("AEFAST_WITHOUT leaves no instruction set")
        if DEBUG:
            table["wide"] = [*ISA_FLAGS["avx2" if "avx2" in table else names[0]], *WIDE_FLAGS]
        return table

    def bfloat16_instruction_sets(self, instances):
        """Return the additional flags of each of `instances` that has a bfloat16 version."""
        table = {name: flags for name, flags in BFLOAT16_FLAGS.items() if name in instances}
        if "avx512" in table and not self.compiles(
            BFLOAT16_TRIAL, [*ISA_FLAGS["avx512"], *BFLOAT16_FLAGS["avx512"]]
        ):
            del table["avx512"]
        return table

    def runs(self, name):
        test = TRIALS_OF_PROCESSOR.get(name, "return 0;")
        return self.compiles(f"int main(void) {{ {test} }}", run=True)

    def sanitizer_flags(self):
        return SANITIZE if DEBUG and self.compiles("int main(void) { return 0; }", SANITIZE) else []


class Job(NamedTuple):
    """Compilation of one object."""

    source: str
    folder: str  # folder of the object in the build directory
    flags: list[str]


class Objects:
    """Compiler of objects that are out of date.

    An object is up to date if its command line has not changed and none of its dependencies is
    newer. FILE.o.d, beside the object, is a rule for make written by the compiler; FILE.o.command
    holds the command line, and is absent during a compilation and after one that failed.
    """

    def __init__(self, compiler, build_dir, force):
        self.compiler, self.build_dir, self.force = compiler, build_dir, force

    def compile_all(self, jobs):
        """Compile jobs in this order, one per processor, and return their objects."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(self.compile, jobs))

    def compile(self, job):
        folder = os.path.join(self.build_dir, job.folder)
        (path,) = self.compiler.object_filenames([job.source], output_dir=folder)
        rule, stamp = path + ".d", Path(path + ".command")
        arguments = [*job.flags, "-MMD", "-MF", rule]
        # Python's include directory is left out of the command line, since each isolated build has
        # another one. Bindings list Python's headers as dependencies, and kernels include none.
        command = "\n".join([*self.compiler.compiler_so, job.source, *arguments])
        if self.force or not self.is_up_to_date(path, rule, stamp, command):
            stamp.unlink(missing_ok=True)
            self.compiler.compile([job.source], output_dir=folder, extra_postargs=arguments)
            stamp.write_text(command)
        return path

    def is_up_to_date(self, path, rule, stamp, command):
        try:
            if stamp.read_text() != command:
                return False
            made = os.path.getmtime(path)
            # The rule is "path: source header \\\n header ...", with blanks escaped as in a shell.
            _, _, sources = Path(rule).read_text().replace("\\\n", " ").partition(": ")
            return all(os.path.getmtime(source) <= made for source in shlex.split(sources))
        except FileNotFoundError:
            return False


class BuildKernels(build_ext):
    """Command that compiles the bindings and the instances of kernels, and links them."""

    def finalize_options(self):
        # The default of an editable install is a temporary directory: a full build each time.
        if self.build_temp is None:
            kind = "debug" if DEBUG else "serial" if SERIAL else "release"
            tag = f"{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
            abi = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
            self.build_temp = os.path.join("build", f"{kind}.{tag}{abi}")
        super().finalize_options()

    def build_extensions(self):
        self.check_extensions_list(self.extensions)
        self.ask_the_compiler()
        jobs = {}  # jobs of each extension; the longest come first
        for ext, bindings in zip(self.extensions, self.generate(), strict=True):
            jobs[ext.name] = [*self.kernel_jobs(ext), *self.binding_jobs(ext, bindings)]
        objects = Objects(self.compiler, self.build_temp, self.force)
        made = iter(objects.compile_all([job for some in jobs.values() for job in some]))
        self.force = True  # always link: it is quick, and build/lib... may hold another build
        for ext in self.extensions:
            self.link(ext, [next(made) for _ in jobs[ext.name]])

    def ask_the_compiler(self):
        trial = Trial(self.compiler)
        self.openmp = trial.openmp_flags()
        self.sanitizers = trial.sanitizer_flags()
        self.kernel_flags = [*KERNEL_FLAGS, *trial.optimization_of_kernels()]
        self.instances = trial.instruction_sets()
        self.bfloat16_instances = trial.bfloat16_instruction_sets(self.instances)
        left_out = [name for name in X86_64_SETS if name not in self.instances]
        # Macros that tell bindings and dispatch.c which instances exist; kernels do not use them.
        self.tables = [f"-DAEFAST_WITHOUT_{name.upper()}" for name in left_out]
        if "avx512" in self.bfloat16_instances:
            self.tables.append("-DAEFAST_AVX512_BFLOAT16")
        self.common_flags = [
            *COMMON_FLAGS,
            *self.sanitizers,
            *(flag for flag in self.openmp if not flag.startswith("-l")),
            *(["-DAEFAST_DEBUG"] if DEBUG else []),
            "-Isrc",
        ]
        if not self.openmp:
            self.announce_serial()

    def announce_serial(self):
        lines = [
            "aefast: no working OpenMP found: building SERIAL kernels, which use one thread only.",
            "aefast: install libomp (clang) or libgomp (GCC) and build again for parallel ones.",
        ]
        print("\n".join(["*" * 88, *lines, "*" * 88]), file=sys.stderr, flush=True)

    def generate(self):
        """Return the generated C sources of the bindings of each extension."""
        # Bounds checks of Cython stay on: the bindings have no loops over data.
        generated = cythonize(
            self.extensions,
            build_dir=self.build_temp,
            language_level=3,
            include_path=["src/bindings"],
        )
        return [ext.sources for ext in generated]

    def binding_jobs(self, ext, sources):
        flags = [
            *self.common_flags,
            *self.tables,
            *(f"-D{name}={value}" for name, value in ext.define_macros),
            *(f"-I{path}" for path in ext.include_dirs),
            *(["-O2"] if ext.name == "aefast._base._rows" and not DEBUG else []),
        ]
        return [Job(source, "bindings", flags) for source in sources]

    def kernel_jobs(self, ext):
        def job(source, isa, precision, more_flags=()):
            flags = [*self.common_flags, *self.kernel_flags, *self.instances[isa], *more_flags]
            flags += [f"-DAEFAST_ISA={isa}", *PRECISIONS[precision]]
            flags += [] if self.openmp else ["-Wno-unknown-pragmas"]
            return Job(source, f"{isa}-{precision}", flags)

        full = [
            job(source, isa, precision)
            for source in ext.kernels
            for isa in reversed(self.instances)  # the widest vectors take longest to compile
            for precision in ("f32", "f64")
        ]
        return full + [
            job(source, isa, "bf16", more_flags)
            for source in ext.bfloat16_kernels
            for isa, more_flags in self.bfloat16_instances.items()
        ]

    def link(self, ext, objects):
        linked = copy.copy(ext)
        linked.sources, linked.extra_objects = [], objects
        linked.extra_link_args = [*self.sanitizers, *self.openmp, *LINK_FLAGS]
        self.build_extension(linked)


def extension(name, sources, kernels, bfloat16_kernels=(), libraries=()):
    ext = Extension(
        f"aefast.{name}",
        sources,
        include_dirs=[numpy.get_include()],
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
            *([("Py_LIMITED_API", "0x030B0000")] if ABI3 else []),
        ],
        py_limited_api=ABI3,
        library_dirs=[str(Path(numpy.random.__file__).parent / "lib")],
        libraries=[*libraries, *([] if sys.platform == "darwin" else ["m"])],
    )
    ext.kernels, ext.bfloat16_kernels = kernels, bfloat16_kernels
    return ext


setup(
    ext_modules=[  # in the order of falling times to compile
        extension(
            "networks._autoencoder",
            ["src/bindings/_autoencoder.pyx"],
            ["src/kernels/autoencoder/autoencoder.c"],
            bfloat16_kernels=["src/kernels/autoencoder/autoencoder.c"],
            libraries=["npyrandom"],  # NumPy's library of functions that draw random numbers
        ),
        extension(
            "sparse_coding._sparse_coding",
            ["src/bindings/_sparse_coding.pyx"],
            ["src/kernels/sparse_coding/sparse_coding.c"],
        ),
        extension(
            "_base._statistics",
            ["src/bindings/_statistics.pyx"],
            ["src/kernels/statistics/statistics.c"],
        ),
        extension("_base._items", ["src/bindings/_items.pyx"], ["src/kernels/items/items.c"]),
        extension("_base._rows", ["src/bindings/_rows.pyx"], ["src/kernels/products/scan.c"]),
        extension(
            "_base._runtime",
            ["src/bindings/_runtime.pyx", "src/runtime/dispatch.c"],
            ["src/runtime/peak.c"],
        ),
    ],
    cmdclass={"build_ext": BuildKernels},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {},
)
