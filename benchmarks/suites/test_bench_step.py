"""Benchmark of a training step at every shape, without call overhead; ``--peers`` adds rivals.

To track aefast from one version to the next::

    cd benchmarks/suites
    pytest test_bench_step.py --benchmark-autosave
    pytest test_bench_step.py --benchmark-compare --benchmark-compare-fail=median:10%

To compare it with rivals, add ``--peers all`` or ``--peers aefast,numpy``.
"""

import pytest

from benchmarks.conftest import reported_seconds
from benchmarks.harness.checks import LOSS_TOLERANCE


@pytest.mark.benchmark(timer=reported_seconds)
def test_step(benchmark_worker, peer, shape):
    result = benchmark_worker(peer, shape, "step")
    assert result["loss"] == pytest.approx(result["reference_loss"], rel=LOSS_TOLERANCE)
