"""Tests of `benchmarks.compare`: it accepts noise and reports a slower head."""

import shutil

import pytest

from benchmarks import compare
from benchmarks.harness import runner

# A fit that sleeps as long as it has computed, so that all steps take twice their time.
SLOW = """

def _slow_fit(self, X, fast=Autoencoder.fit):
    import time

    start = time.perf_counter()
    fast(self, X)
    time.sleep(time.perf_counter() - start)
    return self


Autoencoder.fit = _slow_fit
"""


def test_the_interval_is_the_binomial_one():
    # Probability outside: 6: 2 / 2^6 = 0.03; 9: 2 (1 + 9) / 2^9 = 0.039;
    # 20: 2 (1 + 20 + ... + C(20, 5)) / 2^20 = 0.041
    for n, rank in ((6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (20, 5)):
        assert compare.interval(range(n, 0, -1)) == (rank + 1, n - rank)


def test_noise_is_no_slowdown():
    noise = [0.7, 0.98, 1.0, 1.02, 1.05, 1.1, 1.6]
    assert not compare.is_slower(noise, 0.05)
    assert not compare.is_slower([1.04] * 9, 0.05)
    assert compare.is_slower([1.06] * 9, 0.05)
    assert compare.is_slower([0.9, *[1.2] * 8], 0.05)  # one lucky pair


@pytest.fixture
def checkouts(tmp_path):
    """Make two copies of this checkout with its compiled modules."""
    for name in ("base", "head"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(runner.ROOT / "aefast", tmp_path / name / "aefast", ignore=ignored)
    return tmp_path / "base", tmp_path / "head"


ARGUMENTS = ["--built", "--shapes", "64x32x32", "--pairs", "6", "--budget", "0.1", "--margin"]


def test_an_injected_slowdown_is_seen(checkouts, capsys):
    base, head = checkouts
    with open(head / "aefast" / "networks" / "autoencoder.py", "a") as file:
        file.write(SLOW)
    with pytest.raises(SystemExit, match="head is slower than base by more than 20% at: 64x32x32"):
        compare.main([str(base), str(head), *ARGUMENTS, "0.2"])
    assert "SLOWER" in capsys.readouterr().out
    compare.main([str(head), str(base), *ARGUMENTS, "0.2"])  # a faster head passes


def test_what_is_not_built_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="expected a checkout built in place"):
        compare.main([str(tmp_path), str(tmp_path), *ARGUMENTS, "0.2"])
