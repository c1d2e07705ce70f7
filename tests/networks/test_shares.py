"""Shares of partitions in rounds: which rows make a batch, in which order."""

from itertools import chain

import numpy as np
import pytest
from reference import rounds as reference_rounds

from aefast.networks.training import shares


@pytest.mark.parametrize("batch_size", [1, 33, 64, 200, 10**6])
def test_a_pass_visits_each_row_once(batch_size):
    sizes = (20, 70, 3, 118, 1)
    division = shares.division_of(sizes, batch_size)
    rounds = list(shares.rounds_of_pass(division, 5, 1000))
    assert len(rounds) == division.n_rounds
    assert max(sum(one.n_rows for one in of_round) for of_round in rounds) <= division.batch_size
    visited = {place: [] for place in range(len(sizes))}
    seen = 1000
    for one in chain.from_iterable(rounds):
        assert one.first_sample == seen
        seen += one.n_rows
        visited[one.partition] += range(one.first, one.last)
    assert visited == {place: list(range(size)) for place, size in enumerate(sizes)}


def test_batches_are_those_of_the_reference(monkeypatch):
    monkeypatch.setattr(shares, "LEAST_SHARE", 8)
    sizes, seed, seen = (20, 70, 3, 118), 7, 422
    of_parts = [shares.PartitionRows(p, n, 0, seed, True) for p, n in enumerate(sizes)]
    found = [
        [
            (one.partition, of_parts[one.partition].order(seen, one.first, one.last).tolist())
            for one in of_round
        ]
        for of_round in shares.rounds_of_pass(shares.division_of(sizes, 30), seed, seen)
    ]
    expected = reference_rounds.batches(sizes, 30, 8, seed, seen)
    assert found == [[(p, of.tolist()) for p, of in of_round] for of_round in expected]


def test_rounds_mix_partitions_in_proportion_to_their_rows():
    sizes = (4000, 12_000)
    division = shares.division_of(sizes, 256)
    assert division == (sizes, 128, 2)
    assert shares.division_of(sizes, 255) == (sizes, 255, 1)
    rounds = list(shares.rounds_of_pass(division, 0, 0))
    for some in np.array_split(np.arange(len(rounds)), 4):  # in each quarter of the pass
        of_first = sum(one.n_rows for i in some for one in rounds[i] if one.partition == 0)
        of_all = sum(one.n_rows for i in some for one in rounds[i])
        assert abs(of_first / of_all - 0.25) < 0.07


def test_partitions_hold_out_their_part():
    assert shares.held_out_sizes((100, 30, 1), 0.1) == (10, 3, 0)
    assert shares.held_out_sizes((3, 4, 1), 0.1) == (0, 1, 0)  # one at least
    with pytest.raises(ValueError, match="at least 2 samples"):
        shares.held_out_sizes((1,), 0.1)
    of = shares.PartitionRows(2, 30, 3, 5, True)
    assert sorted([*of.training(), *of.held_out()]) == list(range(30))
    assert sorted(of.order(60, 0, 27)) == of.training().tolist()


def test_orders_are_kept_as_far_as_there_is_room(monkeypatch):
    monkeypatch.setattr(shares, "MOST_BYTES", 4 * 250)
    kept = shares._Orders()
    of = [shares.PartitionRows(p, 100, 0, 5, True) for p in range(3)]
    for part in of:
        kept.keep(part, 7, np.arange(100))
    assert kept.get(of[0], 7) is None
    assert kept.get(of[1], 7) is not None
    kept.keep(of[0], 7, np.arange(100))
    assert kept.get(of[2], 7) is None  # the one that was longest not asked for
    assert kept.get(of[1], 8) is None  # of another pass
