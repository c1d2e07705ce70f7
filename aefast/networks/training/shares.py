"""Shares of partitions in rounds of training: which rows make a batch where rows are in partitions.

A pass over partitioned rows is a sequence of rounds. The batch of a round consists of *shares*, the
blocks of adjacent places in the shuffled orders of one partition each. All of it follows from the
numbers of rows in the partitions, the batch size and the seed: who computes has no part in it, and
one machine that holds all partitions can name the same batches.

Partition p with n_p rows has m_p = ⌈n_p / b⌉ blocks of b rows (the last one may be smaller), and
block i stands at (i + u_p) / m_p with u_p uniform in [0, 1): the blocks of a pass in the order of
these places come from the partitions in proportion to their rows, and S of them in a row are the
batch of a round. A single partition has the batches of training in memory, in the same order.
"""

import heapq
import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from aefast._base.random import SHUFFLE, SPLIT
from aefast._base.types import Array

LEAST_SHARE = 128  # rows, at least: a task costs an engine milliseconds, whatever it does
MOST_BYTES = 1 << 29  # of shuffled orders that a process keeps, 4 for each row


class Share(NamedTuple):
    """Rows of a partition in a round, in the order of the partition's pass."""

    partition: int
    first: int  # place of its first row in the shuffled order
    last: int  # the place after its last row
    pass_began: int  # rows seen by all trainings when the pass began, the key of the order
    first_sample: int  # rows seen before the share's first row, the counter of its noise

    @property
    def n_rows(self) -> int:
        return self.last - self.first


class Division(NamedTuple):
    """Division of a pass into rounds of shares."""

    sizes: tuple[int, ...]  # rows for training in each partition
    share_rows: int  # rows of a share, but for the last one of a partition
    n_shares: int  # shares of a round, but for the last one of a pass

    @property
    def n_rows(self) -> int:
        return sum(self.sizes)

    @property
    def batch_size(self) -> int:
        """Rows of a round, at most."""
        return min(self.share_rows * self.n_shares, self.n_rows)

    @property
    def n_rounds(self) -> int:
        """Rounds of a pass."""
        return -(-sum(-(-size // self.share_rows) for size in self.sizes) // self.n_shares)


def division_of(sizes: tuple[int, ...], batch_size: int) -> Division:
    """Return the division of batches of about batch_size rows into shares.

    A round has one share of as many partitions as there are, or fewer where shares would have less
    than LEAST_SHARE rows.
    """
    batch_size = min(batch_size, sum(sizes))
    n_shares = min(sum(size > 0 for size in sizes), max(1, batch_size // LEAST_SHARE))
    return Division(sizes, -(-batch_size // n_shares), n_shares)


def rounds_of_pass(division: Division, seed: int | None, pass_began: int) -> Iterator[list[Share]]:
    """Yield the shares of each round of a pass, in the order in which their sums are added.

    seed : int or None
        Seed of the places of blocks; None: all u_p are 1/2.
    pass_began : int
        Number of rows seen by all trainings before the pass.
    """
    sizes, b, n_shares = division
    blocks = [-(-size // b) for size in sizes]
    starts = np.full(len(sizes), 0.5)
    if seed is not None:  # a counter that no partition's order has
        starts = _stream(seed, SHUFFLE, len(sizes), pass_began).uniform(size=len(sizes))
    heap = [(starts[p] / m, p, 0) for p, m in enumerate(blocks) if m]
    heapq.heapify(heap)
    seen, shares = pass_began, []
    while heap:
        _, p, i = heap[0]
        share = Share(p, i * b, min(sizes[p], (i + 1) * b), pass_began, seen)
        seen += share.n_rows
        shares.append(share)
        if i + 1 < blocks[p]:
            heapq.heapreplace(heap, ((i + 1 + starts[p]) / blocks[p], p, i + 1))
        else:
            heapq.heappop(heap)
        if len(shares) == n_shares or not heap:
            yield shares
            shares = []


def local_rounds(sizes: tuple[int, ...], rows: int, pass_began: int) -> Iterator[list[Share]]:
    """Yield the shares of rounds in which each partition goes on by `rows` rows of its order."""
    seen = pass_began
    for first in range(0, max(sizes), rows):
        shares = []
        for p, size in enumerate(sizes):
            if first < size:
                shares.append(Share(p, first, min(size, first + rows), pass_began, seen))
                seen += shares[-1].n_rows
        yield shares


def _stream(seed: int, purpose: int, partition: int, counter: int) -> np.random.Generator:
    """Return a generator keyed by all arguments; that of partition 0 is `random_stream`'s."""
    place = [0, 0, partition, counter]
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=place))


# ---- rows of a partition ----


def held_out_sizes(sizes: tuple[int, ...], fraction: float) -> tuple[int, ...]:
    """Return how many rows each partition holds out, at least one in all.

    Raises ValueError where there are fewer than two rows.
    """
    if sum(sizes) < 2:
        raise ValueError(
            "early_stopping=True needs at least 2 samples to hold one out, got n_samples = "
            f"{sum(sizes)}"
        )
    found = [min(round(fraction * size), max(size - 1, 0)) for size in sizes]
    if not sum(found):
        found[int(np.argmax(sizes))] = 1
    return tuple(found)


class PartitionRows(NamedTuple):
    """Which rows of a partition are for training, and in which order a pass visits them."""

    place: int  # of the partition among those that have rows
    n_rows: int
    n_held_out: int
    seed: int
    shuffles: bool

    @property
    def n_training(self) -> int:
        return self.n_rows - self.n_held_out

    def _split(self) -> tuple[Array, Array]:
        order = _stream(self.seed, SPLIT, self.place, 0).permutation(self.n_rows)
        return np.sort(order[self.n_held_out :]), np.sort(order[: self.n_held_out])

    def held_out(self) -> Array:
        return self._split()[1]

    def training(self) -> Array:
        """Return the sorted numbers of the rows for training."""
        return self._split()[0] if self.n_held_out else np.arange(self.n_rows)

    def order(self, pass_began: int, first: int, last: int) -> Array:
        """Return the numbers of some rows for training: places [first, last) of a pass's order.

        Orders are kept, since a round asks for a few rows of one.
        """
        pass_began = pass_began if self.shuffles else 0
        rows = _orders.get(self, pass_began)
        if rows is None:
            rows = self.training()
            if self.shuffles:
                rows = _stream(self.seed, SHUFFLE, self.place, pass_began).permutation(rows)
            _orders.keep(self, pass_began, rows)
        return rows[first:last].astype(np.int64)


class _Orders:
    """The last order of each partition that this process has been asked for, up to MOST_BYTES."""

    def __init__(self) -> None:
        self._kept: dict[PartitionRows, tuple[int, Array]] = {}  # the least recently used first
        self._lock = threading.Lock()

    def get(self, rows: PartitionRows, pass_began: int) -> Array | None:
        with self._lock:
            kept = self._kept.pop(rows, None)
            if kept is None:
                return None
            self._kept[rows] = kept
            return kept[1] if kept[0] == pass_began else None

    def keep(self, rows: PartitionRows, pass_began: int, order: Array) -> None:
        small = order.astype(np.uint32) if rows.n_rows < 2**32 else order
        with self._lock:
            self._kept.pop(rows, None)
            self._kept[rows] = pass_began, small
            n_bytes = sum(kept.nbytes for _, kept in self._kept.values())
            while n_bytes > MOST_BYTES:
                _, oldest = self._kept.pop(next(iter(self._kept)))
                n_bytes -= oldest.nbytes


_orders = _Orders()
