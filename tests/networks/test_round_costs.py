"""The model of the time of rounds: its formula, where rounds pay, what is measured."""

import math

import numpy as np
import pytest

from aefast import Autoencoder
from aefast._base.partitions import Part, PartsInMemory
from aefast.networks.training.partitioned import measured_costs
from aefast.networks.training.round_costs import Costs, predicted_seconds, suitable_batch

COSTS = Costs(
    call_seconds=0.01,
    task_seconds=0.001,
    bandwidth=1e8,
    row_seconds=1e-5,
    local_row_seconds=2e-5,
    update_seconds=1e-9,
    n_parameters=10**5,
    n_states=2,
    itemsize=4,
)


def test_a_round_is_the_sum_of_its_parts():
    """Eight shares of 128 rows on four workers, 100 000 parameters of 4 bytes."""
    found = predicted_seconds(COSTS, 80_000, 4, batch_size=1024, n_partitions=8)
    assert found.computing == pytest.approx(2 * 128 * 1e-5)
    assert found.messages == pytest.approx(3 * 4e5 / 1e8 + 3 * 8e5 / 1e8)
    assert found.scheduling == pytest.approx(0.01 + 7 * 0.001)
    assert found.updating == pytest.approx(1e-4)
    assert found.round_seconds == pytest.approx(sum(found[3:]))
    assert found.n_rounds == 79  # 79 blocks in each of eight partitions
    assert found.pass_seconds == found.n_rounds * found.round_seconds


def test_averages_carry_the_optimizers_state():
    options = {"method": "averaging", "batch_size": 256, "local_steps": 10}
    found = predicted_seconds(COSTS, 80_000, 4, **options)
    assert found.computing == pytest.approx(2560 * 2e-5)
    assert found.messages == pytest.approx(3 * (3 * 4e5 / 1e8 + 3 * 8e5 / 1e8))
    assert found.n_rounds == math.ceil(20_000 / 2560)
    assert found.updating == 0


@pytest.mark.parametrize("n_workers", [2, 10, 100])
def test_a_suitable_batch_keeps_workers_at_work(n_workers):
    batch = suitable_batch(COSTS, 10**8, n_workers)
    assert batch & (batch - 1) == 0
    works = [
        predicted_seconds(COSTS, 10**8, n_workers, batch_size=size) for size in (batch, batch // 2)
    ]
    shares = [of.computing / of.round_seconds for of in works]
    assert shares[1] < 0.5 <= shares[0]
    assert suitable_batch(COSTS._replace(bandwidth=1e3), 5000, n_workers) == 5000


def test_slow_links_are_for_averages():
    """With more parameters than a link carries in a step, averages are the faster pass."""
    slow = COSTS._replace(bandwidth=1e6)
    by_gradients = predicted_seconds(slow, 10**6, 8, batch_size=1024)
    by_averages = predicted_seconds(slow, 10**6, 8, batch_size=128, method="averaging")
    assert by_averages.pass_seconds < by_gradients.pass_seconds / 2


def test_more_workers_divide_what_they_compute():
    options = {"batch_size": 1 << 16, "n_partitions": 100}
    seconds = [predicted_seconds(COSTS, 10**7, n, **options).computing for n in (1, 10, 100)]
    np.testing.assert_allclose(seconds, [seconds[0] / n for n in (1, 10, 100)])


def test_costs_are_measured_without_a_fit():
    X = np.random.default_rng(0).normal(size=(120, 6)).astype(np.float32)
    parts = PartsInMemory([Part(i, part) for i, part in enumerate(np.split(X, 3))])
    ae = Autoencoder(3, batch_size=16, random_state=0)
    costs = measured_costs(ae, parts)
    assert not hasattr(ae, "n_epochs_")
    assert costs.n_parameters == 3 * 6 + 3 + 6 + 3
    assert (costs.n_states, costs.itemsize) == (2, 4)
    assert all(value > 0 or name == "task_seconds" for name, value in costs._asdict().items())
    assert predicted_seconds(costs, 120, 2, batch_size=16).pass_seconds > 0


@pytest.mark.parametrize(
    "name, wrong", [("n_rows", 0), ("n_workers", 2.5), ("batch_size", True), ("local_steps", -1)]
)
def test_arguments_are_checked(name, wrong):
    given = {"n_rows": 100, "n_workers": 2} | {name: wrong}
    with pytest.raises(ValueError, match=f"{name} must be a positive integer"):
        predicted_seconds(COSTS, **given)
    with pytest.raises(ValueError, match="'rounds' or 'averaging'"):
        predicted_seconds(COSTS, 100, 2, method="lbfgs")
