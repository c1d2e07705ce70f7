"""Teams shed members beside busy processes and regain them; results have the same bits."""

from contextlib import nullcontext

import numpy as np
import pytest
from support.textbook import Autoencoder

from aefast import DictionaryLearning, sparse_encode
from aefast._base import team_size
from aefast._base.team_size import QUIET, TeamSize
from aefast.networks.training.minibatches import MiniBatches
from aefast.sparse_coding import coding, learner


class Machine:
    """A clock, and cores on which slices of a given speed run."""

    def __init__(self, monkeypatch, speeds, share, idle=0.0):
        self.speeds, self.share, self.idle = speeds, share, idle
        self.now = self.used = self.idle_for = 0.0
        monkeypatch.setattr(team_size.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(team_size.time, "process_time", lambda: self.used)
        monkeypatch.setattr(team_size, "idle_seconds", lambda: self.idle_for)

    def run(self, team, n_slices, n_rows=100):
        """Run slices and return the sizes with which they ran."""
        sizes = []
        for _ in range(n_slices):
            sizes.append(team.size)
            with team.slice(n_rows):
                seconds = n_rows / self.speeds[team.size]
                self.now += seconds
                self.used += seconds * team.size * self.share[team.size]
                self.idle_for += seconds * self.idle
        return sizes


def test_a_quiet_machine(monkeypatch):
    machine = Machine(monkeypatch, {1: 1e3, 2: 1.9e3}, {1: 1.0, 2: QUIET + 0.05})
    assert machine.run(TeamSize(2, is_fixed=False), 500) == [2] * 500


def test_waiting_is_noticed_at_once(monkeypatch):
    machine = Machine(monkeypatch, {1: 1e3, 2: 0.4e3}, {1: 1.0, 2: 0.6})
    sizes = machine.run(TeamSize(2, is_fixed=False), 200)
    assert sizes[:3] == [2, 2, 1]  # the first slice, in which threads start, says nothing
    assert set(sizes[2:]) == {1}  # no core is idle: a larger team is not tried


def test_threads_that_start_are_not_contended(monkeypatch):
    """The first slice is slow, and short slices are judged together."""
    machine = Machine(monkeypatch, {1: 1e3, 2: 1.9e3}, {1: 1.0, 2: 0.4})
    team = TeamSize(2, is_fixed=False)
    assert machine.run(team, 1) == [2]
    for share in [0.6, 1.4] * 200:  # of time that is counted in ticks
        machine.share[2] = share
        assert machine.run(team, 1, n_rows=40) == [2]


def test_a_contended_team_that_is_faster_stays(monkeypatch):
    machine = Machine(monkeypatch, {1: 1e3, 2: 1.4e3}, {1: 1.0, 2: 0.7})
    sizes = machine.run(TeamSize(2, is_fixed=False), 1000)
    assert np.mean(np.equal(sizes, 2)) > 0.95


def test_members_are_regained(monkeypatch):
    machine = Machine(monkeypatch, {1: 1e3, 2: 0.4e3}, {1: 1.0, 2: 0.6})
    team = TeamSize(2, is_fixed=False)
    machine.run(team, 50)
    assert team.size == 1
    machine.speeds[2], machine.share[2], machine.idle = 1.9e3, 0.99, 1.0
    sizes = machine.run(team, 50)
    assert sizes[-30:] == [2] * 30


def test_larger_teams_are_halved(monkeypatch):
    speeds = {1: 1e3, 2: 1.9e3, 4: 0.8e3, 8: 0.5e3}
    machine = Machine(monkeypatch, speeds, {1: 1.0, 2: 0.95, 4: 0.6, 8: 0.5})
    team = TeamSize(8, is_fixed=False)
    sizes = machine.run(team, 100)
    assert sizes[0] == 8
    assert set(sizes[-50:]) == {2}


@pytest.mark.parametrize("most", [1, 3])
def test_a_number_that_the_user_has_set_stays(most, monkeypatch):
    machine = Machine(monkeypatch, {1: 1e3, 3: 0.1e3}, {1: 0.2, 3: 0.2})
    assert machine.run(TeamSize(most, is_fixed=True), 50) == [most] * 50


def test_bits_do_not_depend_on_the_sizes(monkeypatch):
    """Slices with one to three members, in any order, give the bits of one thread."""
    X = np.random.default_rng(0).random((900, 130), dtype=np.float32)
    options = {"max_epochs": 3, "batch_size": 50, "random_state": 0, "tol": 0}
    wanted = Autoencoder(70, n_threads=1, **options).fit(X)
    ran, run_slice = [], MiniBatches._slice

    def of_any_size(self, rows, loss_sum):
        self.team.size = 1 + len(ran) % 3
        ran.append(self.team.size)
        return run_slice(self, rows, loss_sum)

    monkeypatch.setattr(MiniBatches, "_slice", of_any_size)
    given = Autoencoder(70, n_threads=3, **options).fit(X)
    assert set(ran) == {1, 2, 3}
    assert given._state.parameters.tobytes() == wanted._state.parameters.tobytes()


def test_bits_of_sparse_coding_do_not_depend_on_the_sizes(monkeypatch):
    """Batches and slices with one to three members give the bits of one thread."""
    X = np.random.default_rng(0).normal(size=(3000, 40))
    options = {"max_epochs": 2, "batch_size": 100, "random_state": 0, "alpha": 1.0}
    wanted = DictionaryLearning(150, n_threads=1, **options).fit(X)
    codes = sparse_encode(X, wanted.components_, alpha=0.5, n_threads=1)
    ran = []

    class OfAnySize:
        def __init__(self, most, is_fixed):
            self.size = 3

        def slice(self, n_rows):
            ran.append(self.size)
            self.size = 1 + len(ran) % 3
            return nullcontext()

    monkeypatch.setattr(learner, "TeamSize", OfAnySize)
    monkeypatch.setattr(coding, "TeamSize", OfAnySize)
    monkeypatch.setattr(coding, "threads_for", lambda *_: 3)
    given = DictionaryLearning(150, n_threads=3, **options).fit(X)
    assert given.components_.tobytes() == wanted.components_.tobytes()
    assert sparse_encode(X, wanted.components_, alpha=0.5).tobytes() == codes.tobytes()
    assert set(ran) == {1, 2, 3}


def test_idle_seconds():
    idle = team_size.idle_seconds()
    assert idle is None or idle >= 0
