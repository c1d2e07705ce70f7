"""Benchmark of one epoch at every shape, with all costs of a call; ``--peers`` adds rivals.

An epoch of aefast is `Autoencoder.partial_fit`, which includes checks of the data, allocation and
threads. Epochs of the rivals are loops over prepared batches without any checks.
"""

import pytest

from benchmarks.conftest import reported_seconds
from benchmarks.harness.checks import LOSS_TOLERANCE


@pytest.mark.benchmark(timer=reported_seconds)
def test_epoch(benchmark_worker, peer, shape):
    result = benchmark_worker(peer, shape, "epoch")
    assert result["loss"] == pytest.approx(result["reference_loss"], rel=LOSS_TOLERANCE)
