"""All kernels under valgrind, which also sees numbers that are read before they are written."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.valgrind
def test_all_kernels_under_valgrind(tmp_path):
    valgrind, compiler = shutil.which("valgrind"), shutil.which(os.environ.get("CC", "cc"))
    if valgrind is None or compiler is None:
        pytest.skip("needs valgrind and a C compiler")
    build = ["bash", CHECKOUT / "tests" / "sanitizers" / "build", "plain", tmp_path]
    subprocess.run(build, check=True)
    checks = ["--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite", "-q"]
    done = subprocess.run(
        [valgrind, *checks, tmp_path / "harness", "2"],
        env=os.environ | {"OMP_WAIT_POLICY": "passive"},
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr + done.stdout
