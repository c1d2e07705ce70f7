"""Tests that every rival has the parameters of the reference after three steps."""

import pytest

from benchmarks.harness import checks, runner
from benchmarks.harness.problems import (
    LEARNING_RATES,
    initial_parameters,
    make_problem,
    parse_shape,
    reference_loss,
    reference_training,
)

SIZES = "65x33x17"  # not multiples of any vector width


@pytest.mark.parametrize("solver", LEARNING_RATES)
def test_three_steps_equal_the_reference(installed_peer, solver):
    peer = installed_peer
    result = runner.run_worker(peer, SIZES, measure="updates", solver=solver, threads=2)
    assert set(result["update_errors"]) == {"W", "b", "c"} | ({"V"} if not peer.tied else set())
    assert max(result["update_errors"].values()) <= checks.UPDATE_TOLERANCE


class WrongPeer:
    """Rival whose loss is off by a thousandth and whose learning rate is halved."""

    name, tied, output = "wrong", True, "bernoulli"

    def __init__(self, problem, n_threads):
        self.problem = problem

    def loss(self):
        return 1.001 * reference_loss(self.problem)

    def run(self, n_steps):
        self.trained = reference_training(self.problem, n_steps)

    def parameters(self):
        start = initial_parameters(self.problem)
        return {name: (start[name] + self.trained[name]) / 2 for name in start}


def test_a_wrong_rival_is_not_timed():
    shape = parse_shape(SIZES)
    with pytest.raises(checks.WrongResult, match="wrong: loss"):
        checks.check_loss(WrongPeer(make_problem(shape), 1))
    with pytest.raises(checks.WrongResult, match="update of W is off by"):
        checks.check_updates(WrongPeer, shape, "sgd", 1)
