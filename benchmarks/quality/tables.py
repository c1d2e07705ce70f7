"""Tables on which fits are judged: scikit-learn's, those of a folder, and MNIST from a file."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

LARGEST = 5000  # rows of a table of a folder that are used, evenly spread


class Table(NamedTuple):
    """Rows, and a label of each row: its class, or 1 for an anomaly."""

    name: str
    X: np.ndarray
    y: np.ndarray

    @property
    def rank(self):
        return int(np.linalg.matrix_rank(self.X - self.X.mean(axis=0)))


def standardised(X):
    """Return the columns that vary, centred, with standard deviation 1."""
    X = np.asarray(X, np.float64)
    X = X[:, X.std(axis=0) > 0]
    return (X - X.mean(axis=0)) / X.std(axis=0)


def small_tables():
    """Return scikit-learn's tables of real-valued columns, standardised."""
    loaders = {
        "iris": load_iris,
        "wine": load_wine,
        "diabetes": load_diabetes,
        "breast cancer": load_breast_cancer,
    }
    return [Table(name, standardised(load().data), load().target) for name, load in loaders.items()]


def digits():
    found = load_digits()
    return Table("digits", found.data / 16, found.target)


def labelled_tables(folder):
    """Return the tables of a folder: ``*.npz`` with X (n, d) and y (n,), 1 for an anomaly."""
    tables = []
    for path in sorted(Path(folder).glob("*.npz")) if folder else []:
        with np.load(path) as found:
            if not {"X", "y"} <= set(found):
                continue
            X, y = found["X"], found["y"]
        rows = np.unique(np.linspace(0, len(X) - 1, min(len(X), LARGEST)).astype(int))
        tables.append(Table(path.stem, standardised(X[rows]), y[rows]))
    return tables


class Images(NamedTuple):
    """Images for training and for testing, with values in [0, 1], and their classes."""

    name: str
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray

    def head(self, n):
        """Return the same images with the first n of those for training."""
        return self._replace(name=f"{self.name}, {n} rows", X=self.X[:n], y=self.y[:n])


def digits_in_parts():
    """Return the digits with a random 1400 of them for training."""
    table = digits()
    order = np.random.default_rng(0).permutation(len(table.X))
    X, y = table.X[order], table.y[order]
    return Images("digits, 1400 rows", X[:1400], y[:1400], X[1400:], y[1400:])


def mnist(path):
    """Return MNIST from a file with x_train (n, 28, 28) uint8, y_train, x_test and y_test."""
    with np.load(path) as found:
        parts = [found[name] for name in ("x_train", "y_train", "x_test", "y_test")]
    X, y, X_test, y_test = parts
    as_rows = [images.reshape(len(images), -1).astype(np.float32) / 255 for images in (X, X_test)]
    return Images("MNIST", as_rows[0], y, as_rows[1], y_test)
