"""Build the extensions. Everything that is not particular to them is in pyproject.toml.

Each kernel file is compiled once per instruction set and precision, with that set's flags. Beside
an object in build/ lie the names of the files that it was made from, as the compiler writes them,
and its command line: a build compiles what either has changed for, all extensions' objects in one
pool. OpenMP is found by compiling and running a trial.

AEFAST_DEBUG=1   address and undefined-behaviour sanitizers and poisoned gaps between arrays
                 (CONTRIBUTING.md says how to run the tests under them); instruction sets that this
                 processor cannot execute are left out
AEFAST_OPENMP=0  a serial build
AEFAST_WERROR=1  warnings are errors
AEFAST_WITHOUT=  instruction sets to leave out, for a quicker build: "avx512", "baseline avx2", ...;
                 wheels have all
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

# A universal Python asks for two processors at once; the kernels are one processor's.
if sys.platform == "darwin":
    os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")

DEBUG = os.environ.get("AEFAST_DEBUG", "0") not in ("", "0")
SERIAL = os.environ.get("AEFAST_OPENMP", "1") == "0"
WERROR = os.environ.get("AEFAST_WERROR", "0") not in ("", "0")
LINUX = sys.platform.startswith("linux")

# Later flags win: they stand after the environment's CFLAGS, so that -march=native or -ffast-math
# there cannot reach the baseline.
X86_64 = ["-march=x86-64", "-mtune=generic"]
X86_64_SETS = ["baseline", "avx2", "avx512"]
TRIALS_OF_PROCESSOR = {  # programs that fail where the processor lacks the instructions
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
    # or a name gone from a header is found missing when Python loads the library
    "-Werror=implicit-function-declaration",
]
# -g0: Python's own flags ask for debug information, a third of the time and most of the bytes.
OPTIMIZE = ["-O1", "-g1", "-fno-omit-frame-pointer"] if DEBUG else ["-O3", "-g0"]
COMMON_FLAGS = [*OPTIMIZE, "-fvisibility=hidden", *(["-Werror"] if WERROR else [])]
# An extension exports its PyInit function alone, whatever stands in the archives linked into it.
LINK_FLAGS = ["-Wl,--exclude-libs,ALL"] if LINUX else []
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# GCC and clang; Apple's clang
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
        if SERIAL:
            return []
        for flags in OPENMP_CANDIDATES:
            if self.compiles(OPENMP_TRIAL, flags, run=True):
                return flags
        return []

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
        """The further flags of each of `instances` that has a form for bfloat16."""
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
    """One object: its source, the folder in the build directory that it goes to, its flags."""

    source: str
    folder: str
    flags: list[str]


class Objects:
    """Compiles jobs that are out of date.

    An object is up to date where its command line is the one that it was made with and no file that
    it was made from is newer. Beside it stand FILE.o.d, a rule of make written by the compiler, and
    FILE.o.command, which is missing while and after a compilation that does not succeed.
    """

    def __init__(self, compiler, build_dir, force):
        self.compiler, self.build_dir, self.force = compiler, build_dir, force

    def compile_all(self, jobs):
        """Return the objects of jobs, which begin in this order, one a processor."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(self.compile, jobs))

    def compile(self, job):
        folder = os.path.join(self.build_dir, job.folder)
        (path,) = self.compiler.object_filenames([job.source], output_dir=folder)
        rule, stamp = path + ".d", Path(path + ".command")
        arguments = [*job.flags, "-MMD", "-MF", rule]
        # Not Python's include directory, which an isolated build has elsewhere each time: a binding
        # names its headers, and a kernel includes none of them.
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
            # "path: source header \\\n header ...", blanks in names escaped as in a shell
            _, _, sources = Path(rule).read_text().replace("\\\n", " ").partition(": ")
            return all(os.path.getmtime(source) <= made for source in shlex.split(sources))
        except FileNotFoundError:
            return False


class BuildKernels(build_ext):
    """Compiles the bindings and the kernels' instances, and links them."""

    def finalize_options(self):
        # An editable install would build in a temporary directory, and all of it each time.
        if self.build_temp is None:
            kind = "debug" if DEBUG else "serial" if SERIAL else "release"
            tag = f"{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
            abi = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
            self.build_temp = os.path.join("build", f"{kind}.{tag}{abi}")
        super().finalize_options()

    def build_extensions(self):
        self.check_extensions_list(self.extensions)
        self.ask_the_compiler()
        jobs = {}  # of each extension, and in it, those that take longest come first
        for ext, bindings in zip(self.extensions, self.generate(), strict=True):
            jobs[ext.name] = [*self.kernel_jobs(ext), *self.binding_jobs(ext, bindings)]
        objects = Objects(self.compiler, self.build_temp, self.force)
        made = iter(objects.compile_all([job for some in jobs.values() for job in some]))
        self.force = True  # linking is quick, and build/lib... may hold another kind of build
        for ext in self.extensions:
            self.link(ext, [next(made) for _ in jobs[ext.name]])

    def ask_the_compiler(self):
        trial = Trial(self.compiler)
        self.openmp = trial.openmp_flags()
        self.sanitizers = trial.sanitizer_flags()
        self.instances = trial.instruction_sets()
        self.bfloat16_instances = trial.bfloat16_instruction_sets(self.instances)
        left_out = [name for name in X86_64_SETS if name not in self.instances]
        # What there is to dispatch to. No kernel depends on which others there are.
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
        """Return each extension's C sources of its bindings."""
        # Cython's bounds checks stay on: its code holds no loop over data.
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
        ]
        return [Job(source, "bindings", flags) for source in sources]

    def kernel_jobs(self, ext):
        def job(source, isa, precision, more_flags=()):
            flags = [*self.common_flags, *KERNEL_FLAGS, *self.instances[isa], *more_flags]
            flags += [f"-DAEFAST_ISA={isa}", *PRECISIONS[precision]]
            flags += [] if self.openmp else ["-Wno-unknown-pragmas"]
            return Job(source, f"{isa}-{precision}", flags)

        full = [
            job(source, isa, precision)
            for source in ext.kernels
            for isa in reversed(self.instances)  # the widest take longest
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
        ],
        library_dirs=[str(Path(numpy.random.__file__).parent / "lib")],
        libraries=[*libraries, *([] if sys.platform == "darwin" else ["m"])],
    )
    ext.kernels, ext.bfloat16_kernels = kernels, bfloat16_kernels
    return ext


setup(
    ext_modules=[  # those that take longest to compile come first
        extension(
            "networks._autoencoder",
            ["src/bindings/_autoencoder.pyx"],
            ["src/kernels/autoencoder/autoencoder.c"],
            bfloat16_kernels=["src/kernels/autoencoder/autoencoder.c"],
            libraries=["npyrandom"],  # NumPy's: draws from its generators, in compiled code
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
        extension("_base._rows", ["src/bindings/_rows.pyx"], ["src/kernels/products/scan.c"]),
        extension(
            "_base._runtime",
            ["src/bindings/_runtime.pyx", "src/runtime/dispatch.c"],
            ["src/runtime/peak.c"],
        ),
    ],
    cmdclass={"build_ext": BuildKernels},
)
