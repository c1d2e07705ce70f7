"""Kernels, and the package, cross-compiled for AArch64 and Windows and run under qemu and wine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.cross
@pytest.mark.parametrize(
    "command", [["aarch64"], ["aarch64", "package"], ["windows"]], ids=" ".join
)
def test_kernels_are_right(command):
    done = subprocess.run(
        ["bash", CHECKOUT / ".ci" / command[0], *command[1:]],
        env=os.environ | {"AEFAST_PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    if done.returncode == 77:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "checks, 0 failed" in done.stdout
    assert ("everything agrees" in done.stdout) == ("package" in command)
