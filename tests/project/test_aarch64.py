"""The kernels, and the package, cross-compiled for AArch64 and run under qemu."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.aarch64
@pytest.mark.parametrize("what", ["harness", "package"])
def test_under_qemu(what):
    arguments = ["package"] if what == "package" else []
    done = subprocess.run(
        ["bash", CHECKOUT / ".ci" / "aarch64", *arguments],
        env=os.environ | {"AEFAST_PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    if done.returncode == 77:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "checks, 0 failed" in done.stdout
    assert ("everything agrees" in done.stdout) == (what == "package")
