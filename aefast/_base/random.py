"""Random numbers by key: streams of different keys never meet, and each can be entered anywhere."""

import numpy as np
from sklearn.utils import check_random_state

# Purposes of random numbers: streams with different keys never meet.
WEIGHTS, SHUFFLE, SPLIT, LAYERS = range(4)


def random_stream(seed, purpose, counter=0):
    """A generator keyed by (seed, purpose, counter), so that training resumes anywhere with the
    numbers it would have drawn.
    """
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, 0, counter]))


def random_state_of(random_state):
    """The generator that scikit-learn makes of a parameter random_state, which errors name."""
    try:
        return check_random_state(random_state)
    except ValueError as error:
        raise ValueError(f"random_state cannot be used: {error}") from None


def rewind(random, counter):
    """Brings a generator of `random_stream` to another counter; a new one would ask the system for
    entropy first.
    """
    state = random.bit_generator.state
    state["state"]["counter"][:] = 0, 0, 0, counter
    state["buffer_pos"], state["has_uint32"] = 4, 0
    random.bit_generator.state = state
    return random


def split_rows(n, validation_fraction, seed):
    """Row numbers for training and for validation, at least one of each."""
    order = random_stream(seed, SPLIT).permutation(n)
    n_validation = min(max(1, round(validation_fraction * n)), n - 1)
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])
