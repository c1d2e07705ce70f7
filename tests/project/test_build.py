"""Facts, symbols and imports of the build, and (slow) its variants."""

import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.helpers import run_python

import aefast
from aefast._base import _runtime

ROOT = Path(__file__).parents[2]
KERNELS = [
    "kernels/autoencoder/autoencoder.c",
    "kernels/items/items.c",
    "kernels/products/scan.c",
    "kernels/sparse_coding/sparse_coding.c",
    "kernels/statistics/statistics.c",
    "runtime/peak.c",
]
EXTENSIONS = [
    "aefast._base._items",
    "aefast._base._rows",
    "aefast._base._runtime",
    "aefast._base._statistics",
    "aefast.networks._autoencoder",
    "aefast.sparse_coding._sparse_coding",
]
X86_64 = ["-mavx2", "-mfma", "-DAEFAST_ISA=avx2"]
ARM_HEADERS = "/usr/aarch64-linux-gnu/include"
AARCH64 = ["--target=aarch64-linux-gnu", "-isystem", ARM_HEADERS, "-DAEFAST_ISA=generic"]
needs_sources = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="reads the sources")
KERNEL_FLAGS = ["-std=gnu17", "-ffp-contract=off", "-fno-math-errno", f"-I{ROOT / 'src'}"]


@needs_sources
def test_the_lists_here_are_those_of_the_build():
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    built = re.findall(r"extension\(\s*\"([\w.]+)\"", setup)
    assert sorted(f"aefast.{name}" for name in built) == EXTENSIONS
    kernels = re.findall(r"\"src/((?:kernels|runtime)/[\w/]+\.c)\"", setup)
    assert set(KERNELS) == set(kernels) - {"runtime/dispatch.c"}


@needs_sources
def test_bindings_need_no_global_lock():
    """Free-threaded Python would take its lock back for an extension that does not say so."""
    sources = sorted((ROOT / "src" / "bindings").glob("*.pyx"))
    assert len(sources) == len(EXTENSIONS)
    for source in sources:
        first = source.read_text(encoding="utf-8").partition("\n")[0]
        assert first == "# cython: freethreading_compatible=True", source.name


def test_build_info():
    info = aefast.build_info()
    assert info["version"] == aefast.__version__
    assert info["isa"] in info["isa_available"]
    assert info["products"] in ("tiles", "blas")
    assert info["n_threads"] >= 1 and (info["openmp"] or info["n_threads"] == 1)
    assert info["blas"] != "unknown" and info["compiler"]
    assert info["debug"] is _runtime.DEBUG


def elf_facts(name, *tool):
    if sys.platform != "linux" or shutil.which(tool[0]) is None:
        pytest.skip("reads ELF files")
    path = importlib.import_module(name).__file__
    return subprocess.run([*tool, path], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", EXTENSIONS)
def test_extensions_export_their_modules_alone(name):
    """No function compiled for one instruction set, and none of NumPy's archive, can be linked into
    another library's path."""
    symbols = elf_facts(name, "nm", "-D", "--defined-only").split()[2::3]
    assert symbols == [f"PyInit_{name.rpartition('.')[2]}"]


def test_extensions_link_the_mathematics_library():
    """Extensions link libm and do not rely on Python having loaded it."""
    for name in EXTENSIONS:
        needs_it = re.search(
            r" U (lgamma|log|exp|pow|tgamma|log1p)(@|$)", elf_facts(name, "nm", "-D")
        )
        linked = "libm.so" in elf_facts(name, "readelf", "-d")
        assert linked or not needs_it, name
        assert linked or name != "aefast.networks._autoencoder"


@pytest.mark.parametrize("name", EXTENSIONS)
def test_extensions_are_hardened(name):
    """Addresses of functions are bound at import and read-only, the stack is never executed."""
    if _runtime.DEBUG:
        pytest.skip("a debug build has sanitizers instead")
    dynamic = elf_facts(name, "readelf", "-d", "-W")
    assert re.search(r"\(FLAGS\)\s+BIND_NOW|FLAGS_1\).*\bNOW\b", dynamic)
    assert "TEXTREL" not in dynamic
    headers = elf_facts(name, "readelf", "-l", "-W")
    assert "GNU_RELRO" in headers
    (stack,) = (line.split() for line in headers.splitlines() if "GNU_STACK" in line)
    assert stack[-2] == "RW"  # not RWE


def test_copies_and_the_stack_are_guarded():
    if _runtime.DEBUG:
        pytest.skip("a debug build has sanitizers instead")
    used = "".join(elf_facts(name, "nm", "-D", "--undefined-only") for name in EXTENSIONS)
    assert " __stack_chk_fail" in used
    if platform.libc_ver()[0] == "glibc":  # musl has no guarded copies
        assert re.search(r" __(memcpy|memset|snprintf|sprintf|memmove)_chk", used)


def compiler(name):
    """The path of a compiler and the flags that it reads kernels with."""
    if not (ROOT / "src").is_dir():
        pytest.skip("reads the sources")
    path = shutil.which(name.split()[0]) or shutil.which(f"{name.split()[0]}-14")
    if path is None:
        pytest.skip(f"needs {name}")
    if "AArch64" in name:
        if not os.path.isdir(ARM_HEADERS):
            pytest.skip(f"needs the C library's headers in {ARM_HEADERS}")
        return [path, *AARCH64, *KERNEL_FLAGS]
    if platform.machine() != "x86_64":
        pytest.skip("needs x86-64")
    return [path, *X86_64, *KERNEL_FLAGS]


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("reader", ["gcc", "clang", "clang for AArch64"])
def test_compilers_read_the_kernels(reader, name, bits):
    """Every compiler there is accepts kernels, with no warning but of OpenMP's pragmas."""
    flags = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-O1"]
    done = subprocess.run(
        [*compiler(reader), *flags, f"-DAEFAST_REAL_BITS={bits}", ROOT / "src" / name],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("bits, lanes", [(32, "4s"), (64, "2d")])
def test_clang_fuses_multiply_adds_on_aarch64(bits, lanes):
    """`vec_fma` compiles to one instruction on a whole vector, without a loop over lanes."""
    flags = ["-S", "-O3", "-o", "-", f"-DAEFAST_REAL_BITS={bits}"]
    assembly = subprocess.run(
        [*compiler("clang for AArch64"), *flags, ROOT / "src/runtime/peak.c"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert re.search(rf"fmla\tv\d+\.{lanes}", assembly)
    assert "fmadd" not in assembly


def test_clang_keeps_the_sums_of_a_tile_in_registers():
    """Where it leaves the loop over a tile's rows rolled, no loop has so many multiply-adds."""
    flags = ["-S", "-O3", "-o", "-", "-DAEFAST_REAL_BITS=32"]
    assembly = subprocess.run(
        [*compiler("clang"), *flags, ROOT / "src/kernels/statistics/statistics.c"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    blocks = re.split(r"^\.?\w+:", assembly, flags=re.MULTILINE)
    assert max(len(re.findall(r"vfmadd\w+\t%ymm", block)) for block in blocks) >= 4 * 12


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_peak_is_a_rate(dtype):
    assert 1e8 < _runtime.fma_peak(dtype, 1, 0.01) < 1e13


@pytest.mark.parametrize(
    "before, statement",
    [
        ("pass", "import aefast"),
        (
            "import scipy.linalg.cython_blas",
            "import aefast.ops as o; o.encode([[0.0]], [[1.0]], [0.0])",
        ),
        ("import scipy.linalg.cython_blas, sklearn.base", "from aefast import Autoencoder"),
    ],
)
def test_nothing_is_imported_but_what_is_needed(before, statement):
    """Each interface loads no package but aefast, beyond those it is built on."""
    code = f"""
        import sys
        {before}
        known = set(sys.modules)
        {statement}
        new = {{name.partition(".")[0] for name in set(sys.modules) - known}}
        new -= sys.stdlib_module_names
        print(*(name for name in new if not name.startswith("_cython_")))
    """
    done = run_python(code)
    assert done.stdout.split() == ["aefast"], done.stderr


def test_unknown_products_are_refused_at_import():
    done = run_python("import aefast.ops", AEFAST_PRODUCTS="fpga")
    assert done.returncode != 0
    assert "AEFAST_PRODUCTS must be" in done.stderr and "'fpga'" in done.stderr


def test_products_by_blas_agree():
    """The second opinion: the same fit with SciPy's products, to rounding."""
    code = """
import numpy as np
from aefast import Autoencoder
X = np.random.default_rng(0).random((300, 70))
for tied in (True, False):
    ae = Autoencoder(37, output="bernoulli", tied=tied, max_epochs=3, random_state=0).fit(X)
    print(repr(ae.loss_curve_[-1]), repr(ae.score(X)), repr(float(np.abs(ae.components_).sum())))
"""
    tiles, blas = (run_python(code, AEFAST_PRODUCTS=name).stdout for name in ("tiles", "blas"))
    assert [float(x) for x in tiles.split()] == pytest.approx(
        [float(x) for x in blas.split()], rel=1e-12
    )
    assert len(tiles.split()) == 6


COMPILER = """#!/bin/sh
# Notes the sources of objects, which are empty: the compiler only reads them.
case "$*" in *trial*) exec cc "$@" ;; esac
for argument in "$@"; do
    case "$last" in -o) object=$argument ;; -c) source=$argument ;; esac
    last=$argument
done
[ -z "$source" ] && exec cc "$@"
echo "$source" >> "$COMPILED"
cc "$@" -w -fsyntax-only && cc -c -x c /dev/null -o "$object"
"""


class Tree:
    """A copy of the sources that is built for one instruction set."""

    def __init__(self, folder):
        self.root, self.log = folder / "tree", folder / "compiled"
        for name in ("aefast", "src"):
            ignored = shutil.ignore_patterns("*.so", "__pycache__")
            shutil.copytree(ROOT / name, self.root / name, ignore=ignored)
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, self.root)
        (folder / "compiler").write_text(COMPILER)
        (folder / "compiler").chmod(0o755)
        self.environment = {
            **os.environ,
            "CC": str(folder / "compiler"),
            "COMPILED": str(self.log),
            "AEFAST_WITHOUT": "avx2 avx512",
        }

    def build(self, **environment):
        """The names of the files that a build compiles."""
        self.log.write_text("")
        subprocess.run(
            [sys.executable, "setup.py", "build_ext", "--inplace"],
            cwd=self.root,
            env={**self.environment, **environment},
            capture_output=True,
            check=True,
        )
        return sorted(Path(line).name for line in self.log.read_text().splitlines())

    def touch(self, name):
        (self.root / name).touch()


@pytest.mark.slow
def test_builds_compile_what_has_changed(tmp_path):
    pytest.importorskip("Cython")
    if platform.machine() != "x86_64":
        pytest.skip("counts the objects of x86-64")
    tree = Tree(tmp_path)
    kernels = sorted(2 * [Path(name).name for name in KERNELS])
    bindings = [f"{name.rpartition('.')[2]}.c" for name in EXTENSIONS] + ["dispatch.c"]
    everything = sorted(kernels + bindings)
    assert tree.build() == everything
    assert tree.build() == []

    tree.touch("src/kernels/statistics/projection.h")
    assert tree.build() == 2 * ["statistics.c"]
    tree.touch("src/kernels/products/packing.h")
    assert tree.build() == [name for name in kernels if name != "peak.c"]
    tree.touch("src/bindings/_arrays.pxd")
    assert tree.build() == ["_autoencoder.c", "_sparse_coding.c", "_statistics.c"]
    tree.touch("src/runtime/dispatch.h")
    assert tree.build() == everything

    assert tree.build(AEFAST_WERROR="1") == everything
    assert tree.build(AEFAST_WERROR="1") == []


@pytest.mark.slow
def test_an_interrupted_compilation_is_made_again(tmp_path):
    pytest.importorskip("Cython")
    tree = Tree(tmp_path)
    tree.build()
    source = tree.root / "src/runtime/peak.c"
    text = source.read_text()
    source.write_text(text + "\n#error no\n")
    with pytest.raises(subprocess.CalledProcessError):
        tree.build()
    source.write_text(text)
    os.utime(source, (0, 0))
    assert "peak.c" in tree.build()


@pytest.mark.slow
def test_serial_build_says_so_and_works(tmp_path):
    environment = {**os.environ, "AEFAST_OPENMP": "0"}
    target = tmp_path / "site"
    built = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-v", "--no-deps", "--target", target, ROOT],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "SERIAL" in built.stdout + built.stderr
    code = (
        "import aefast, numpy as np; i = aefast.build_info(); "
        "assert not i['openmp'] and i['n_threads'] == 1; "
        "print(aefast.Autoencoder(2, n_threads=2, max_epochs=2).fit(np.eye(5)).n_epochs_)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
    )
    assert done.stdout.strip() == "2", done.stderr
