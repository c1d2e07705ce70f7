"""Fixtures of the model files' tests."""

import numpy as np
import pytest
from support.textbook import Autoencoder


@pytest.fixture
def X():
    """A small table, (40, 6) float32."""
    return np.random.default_rng(0).random((40, 6), dtype=np.float32)


@pytest.fixture
def saved(X, path):
    """A model file: tied, two optimizer states, float32."""
    Autoencoder(3, max_epochs=2, batch_size=16, random_state=0).fit(X).save(path)
    return path
