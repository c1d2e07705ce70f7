"""Random numbers by key: streams of different keys never meet, and each can be entered anywhere."""

import threading
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from aefast._base.errors import shown
from aefast._base.types import Array

# Purposes of random numbers, the second part of a key.
WEIGHTS, SHUFFLE, SPLIT, LAYERS, PARALLEL, ROTATIONS, MEMBERS = range(7)
MOST_PERMUTED = 1 << 24  # rows whose numbers are shuffled to choose some of them


def random_stream(seed: int, purpose: int, counter: int = 0) -> np.random.Generator:
    """Return a generator keyed by (seed, purpose, counter).

    Training that is resumed anywhere draws the numbers that it would have drawn uninterrupted.
    """
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, 0, counter]))


def random_state_of(random_state: Any) -> np.random.RandomState:
    """Return scikit-learn's generator for a parameter `random_state`, which errors name."""
    try:
        return check_random_state(random_state)
    except (ValueError, RecursionError):
        raise ValueError(
            "random_state must be None, an integer in [0, 2**32) or a RandomState, got "
            f"{shown(random_state)}"
        ) from None


class _OwnRandomState(threading.local):
    """One RandomState for each thread, for integer seeds.

    Making a RandomState takes a hundred times as long as seeding an existing one.
    """

    def __init__(self):
        self.random = np.random.RandomState()

    def seeded(self, seed):
        self.random.seed(seed)
        return self.random


_own_random_state = _OwnRandomState()


def seed_of(random_state: Any) -> int:
    """Return the seed of `random_stream` that a parameter `random_state` gives."""
    is_seed = isinstance(random_state, Integral) and not isinstance(random_state, bool)
    random = _own_random_state.seeded(random_state) if is_seed else check_random_state(random_state)
    return int(random.randint(np.iinfo(np.int64).max, dtype=np.int64))


def rewind(random: np.random.Generator, counter: int) -> np.random.Generator:
    """Set a generator of `random_stream` to another counter, and return it.

    Constructing a new generator is slower, since it asks the system for entropy first.
    """
    state: Any = random.bit_generator.state
    state["state"]["counter"][:] = 0, 0, 0, counter
    state["buffer_pos"], state["has_uint32"] = 4, 0
    random.bit_generator.state = state
    return random


def rekey(random: np.random.Generator, seed: int, purpose: int) -> np.random.Generator:
    """Turn a generator of `random_stream` into that of another key, at counter 0; return it."""
    state: Any = random.bit_generator.state
    state["state"]["key"][:] = seed, purpose
    random.bit_generator.state = state
    return rewind(random, 0)


def split_rows(n: int, validation_fraction: float, seed: int) -> tuple[Array, Array]:
    """Return sorted row numbers for training and for validation, at least one of each."""
    order = random_stream(seed, SPLIT).permutation(n)
    n_validation = min(max(1, round(validation_fraction * n)), n - 1)
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])


def held_out_rows(n: int, validation_fraction: float, seed: int, most: int) -> Array:
    """Return sorted numbers of rows for validation, at most `most`.

    They are those of `split_rows` unless there are too many of them or of all rows.
    """
    if n <= MOST_PERMUTED and validation_fraction * n <= most:
        return split_rows(n, validation_fraction, seed)[1]
    n_validation = min(max(1, round(validation_fraction * n)), n - 1, max(1, most))
    random = random_stream(seed, SPLIT)
    return np.sort(random.choice(n, n_validation, replace=False, shuffle=False))
