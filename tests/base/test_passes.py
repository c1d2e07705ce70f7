"""How a pass is cut into slices: by the clock, by memory, or not at all."""

import numpy as np
import pytest

from aefast._base import passes
from aefast._base.passes import Pace, slices, slices_of_windows


@pytest.fixture
def clock(monkeypatch):
    """A clock that `work` sets forward."""

    class Clock:
        now = 0.0

        def work(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(passes.time, "perf_counter", lambda: clock.now)
    return clock


def cut(n_rows, pace, clock, seconds_a_row):
    """The lengths of the slices of a pass whose rows take so long each; every row is in one of
    them, in order.
    """
    lengths, last = [], 0
    for part in slices(n_rows, pace):
        assert part.start == last
        lengths.append(part.stop - part.start)
        last = part.stop
        clock.work(seconds_a_row * lengths[-1])
    assert last == n_rows
    return lengths


def test_slices_grow_to_fifty_milliseconds_and_no_faster_than_eightfold(clock):
    assert cut(20_000, Pace(8), clock, 1e-5) == [8, 64, 512, 4096, 5000, 5000, 5000, 320]


def test_slices_shrink_at_once(clock):
    assert cut(200, Pace(8, first=10), clock, 1e-3) == [80, 48, 48, 24]
    assert cut(20, Pace(8, first=2), clock, 1.0) == [16, 4]


@pytest.mark.parametrize("most, expected", [(20, [8, 16, 16, 10]), (3, [8] * 6 + [2])])
def test_memory_limits_slices_to_a_unit_at_least(most, expected, clock):
    assert cut(50, Pace(8, most=most), clock, 1e-9) == expected


def test_equal_slices_do_not_hear_the_clock(clock):
    for seconds in (0.0, 1e-3, 10.0):
        assert cut(50, Pace.fixed(20), clock, seconds) == [20, 20, 10]


def test_the_first_slice_follows_from_what_a_unit_is_expected_to_take():
    assert Pace.expecting(4, 0.01).n_rows == 20
    assert Pace.expecting(4, 1.0).n_rows == 4
    assert Pace.expecting(4, 0.01, most=11).n_rows == 8


def test_the_pace_is_kept_from_window_to_window(clock):
    windows = [np.arange(100)[::-1], np.arange(100, 103)]
    found = []
    for part in slices_of_windows(windows, Pace(10)):
        found.append(part)
        clock.work(1e-9)
    assert [len(part) for part in found] == [10, 80, 10, 3]
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(windows))


def test_no_rows_no_slices():
    assert list(slices(0, Pace(5))) == []
