"""One epoch at every shape, everything that a call costs included; with ``--peers``, of rivals.

aefast's epoch is `Autoencoder.partial_fit`: checks of the data, workspace and threads count. The
others' epochs are loops over ready batches and check nothing.
"""

import pytest

from benchmarks.conftest import reported_seconds
from benchmarks.harness.checks import LOSS_TOLERANCE


@pytest.mark.benchmark(timer=reported_seconds)
def test_epoch(benchmark_worker, peer, shape):
    result = benchmark_worker(peer, shape, "epoch")
    assert result["loss"] == pytest.approx(result["reference_loss"], rel=LOSS_TOLERANCE)
