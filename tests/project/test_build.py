"""What the build is: its facts, its symbols, its imports, and (slow) its variants."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.helpers import run_python

import aefast
from aefast._base import _runtime
from aefast.networks import _autoencoder

ROOT = Path(__file__).parents[2]
KERNELS = [
    "kernels/autoencoder/autoencoder.c",
    "kernels/products/scan.c",
    "kernels/sparse_coding/sparse_coding.c",
    "kernels/statistics/statistics.c",
    "runtime/peak.c",
]


def test_build_info():
    info = aefast.build_info()
    assert info["version"] == aefast.__version__
    assert info["isa"] in info["isa_available"]
    assert info["products"] in ("tiles", "blas")
    assert info["n_threads"] >= 1 and (info["openmp"] or info["n_threads"] == 1)
    assert info["blas"] != "unknown" and info["compiler"]
    assert info["debug"] is _runtime.DEBUG


def test_instances_export_their_tables_alone():
    """No function compiled for one instruction set can be linked into the path of another."""
    if sys.platform != "linux":
        pytest.skip("reads ELF symbols")
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", _autoencoder.__file__], capture_output=True, text=True
    ).stdout.split()[2::3]
    assert "PyInit__autoencoder" in symbols
    assert not [name for name in symbols if name.endswith(("_avx2", "_avx512", "_baseline"))]


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", KERNELS)
def test_clang_reads_the_kernels(name, bits):
    """Whichever compiler built this: no error, and no warning but of pragmas that it does not know."""
    clang = next((path for path in map(shutil.which, ("clang", "clang-14")) if path), None)
    if clang is None or platform.machine() != "x86_64":
        pytest.skip("needs clang on x86-64")
    flags = ["-std=gnu17", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-O1"]
    flags += [f"-I{ROOT / 'src'}", "-mavx2", "-mfma", f"-DAEFAST_REAL_BITS={bits}"]
    source = ROOT / "src" / name
    done = subprocess.run(
        [clang, "-fsyntax-only", *flags, "-DAEFAST_ISA=avx2", source],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


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
    """Start-up: what each door to the library costs beyond what it is built on is our own modules."""
    code = f"""
        import sys
        {before}
        known = set(sys.modules)
        {statement}
        new = {{name.partition(".")[0] for name in set(sys.modules) - known}} - sys.stdlib_module_names
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
        "import aefast, numpy as np; i = aefast.build_info(); assert not i['openmp'] and i['n_threads'] == 1; "
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
