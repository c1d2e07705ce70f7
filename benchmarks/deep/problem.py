"""The networks, the errors, and the curve of a run."""

import json
import time
from typing import NamedTuple

import numpy as np

from benchmarks.quality import tables

TRAINING_ROWS = 10_000  # rows of the training table whose error is measured


class Shape(NamedTuple):
    """A network: hidden units from the data to the code, and the levels of its table."""

    name: str
    sizes: tuple[int, ...]
    test_levels: tuple[float, ...]
    training_levels: tuple[float, ...]


SHAPES = {
    "deep": Shape(
        "784-1000-500-250-30", (1000, 500, 250, 30), (8, 5, 4, 3, 2.5), (4, 3, 2, 1, 0.73)
    ),
    "middle": Shape("784-128-30", (128, 30), (10, 8, 7, 6, 5.5), (10, 8, 7, 6, 5.5)),
    "single": Shape("784-500", (500,), (4, 2, 1.5, 1, 0.75), (4, 2, 1.5, 1, 0.75)),
}


class Images(NamedTuple):
    X: np.ndarray  # (60000, 784) float32 in [0, 1]
    X_test: np.ndarray


def images(path, n_rows=None):
    found = tables.mnist(path)
    return Images(*(np.asarray(X[:n_rows], np.float32) for X in (found.X, found.X_test)))


class Watch:
    """Curve of squared errors of images over seconds of training, evaluation left out.

    The result of each call is a line of JSON: the epoch, the seconds, and the mean over images of
    ‖x − x̂‖² for the test images and for the first TRAINING_ROWS training images.
    """

    def __init__(self, given, limit):
        self.given, self.limit, self.epoch = given, limit, 0
        self.began = time.perf_counter()

    def __call__(self, reconstruct):
        """Print the errors; return whether the seconds are over."""
        now = time.perf_counter()
        self.epoch += 1
        row = {
            "epoch": self.epoch,
            "seconds": round(now - self.began, 3),
            "test": squared_error(self.given.X_test, reconstruct),
            "training": squared_error(self.given.X[:TRAINING_ROWS], reconstruct),
        }
        print(json.dumps(row), flush=True)
        over = now - self.began >= self.limit
        self.began += time.perf_counter() - now
        return over


def squared_error(X, reconstruct):
    """Return the mean squared error of an image, summed over pixels, in float64."""
    total = 0.0
    for part in np.array_split(X, max(1, len(X) // 2000)):
        difference = np.asarray(reconstruct(part), np.float64) - part
        total += float(np.sum(difference**2))
    return total / len(X)
