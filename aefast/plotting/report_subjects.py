"""What a report is about: a model, rows, and the numbers that all sections of the page share."""

import copy
import inspect
import time
from typing import Any

import numpy as np

from aefast._base import arrays as check
from aefast._base.streams import NamedRows, opened
from aefast._base.types import Array
from aefast.plotting.anomalies import rows_of, text_of
from aefast.plotting.figures import (
    check_model,
    checked_labels,
    feature_names,
    resolve_image_shape,
    with_means,
)

MOST_ROWS = 2000  # that are drawn as points, and from which patterns of units are computed


def subject_of(model: Any, X: Any, labels: Any, image_shape: Any) -> "Subject":
    """Return what a report on a fitted model and rows is about.

    TypeError for a model without codes and reconstructions.
    """
    check_model(model, "model")
    kinds = {
        _Table: hasattr(model, "encoder_") and hasattr(model, "autoencoder_"),
        _Dictionary: hasattr(model, "objective_curve_"),
        Subject: all(hasattr(model, name) for name in ("transform", "score_samples")),
    }
    kind = next((kind for kind, suits in kinds.items() if suits), None)
    if kind is None:
        raise TypeError(
            f"model must have transform and score_samples, or be a DictionaryLearning, got "
            f"{type(model).__name__}"
        )
    return kind(model, X, labels, image_shape)


class Subject:
    """A model whose rows are numbers, and rows.

    Attributes
    ----------
    network : estimator
        What has curves, units and reconstructions: the model, or the network within it.
    codes : ndarray (n_samples, n_components)
    scores : ndarray (n_samples,)
        Larger ones are of rows that the model describes well.
    measure : str
        What scores are.
    seconds : float
        That the scores took.
    columns : list of str
        What `surprises` has a column for.
    few : ndarray of int
        Evenly spread rows, at most `MOST_ROWS`.
    """

    measure = "log p(x), nats"

    def __init__(self, model: Any, X: Any, labels: Any, image_shape: Any) -> None:
        self.model, self.network = model, self._network_of(model)
        self.shape = resolve_image_shape(self.network, image_shape, "model")
        self.X = opened(X, whole=True)
        started = time.perf_counter()
        self.scores = self._scores()
        self.seconds = time.perf_counter() - started
        n = len(self.scores)
        labels = [f"row {i}" for i in range(n)] if labels is None else labels
        self.labels = checked_labels(labels, n)
        self.matrix = self._matrix()
        codes = self.network.transform(self.rows(np.arange(n)))
        self.codes = np.asarray(codes.toarray() if hasattr(codes, "toarray") else codes, np.float64)
        self.few = np.unique(np.linspace(0, n - 1, min(n, MOST_ROWS)).astype(int))
        self.columns = self._columns()
        self.is_network = hasattr(self.network, "loss_curve_")
        self.is_deep = hasattr(self.network, "pretraining_loss_curves_")

    def rows(self, places: Array) -> Any:
        """Return some rows as the network takes them."""
        if hasattr(self.X, "iloc"):
            return self.X.iloc[places]
        return self._with_names(check.estimator_rows(self.network, self.X, reset=False)[places])

    def text(self, row: int, column: int) -> str:
        """Return what stands in a column of a row."""
        return f"{self.matrix[row, column]:.4g}"

    def surprises(self, places: Array) -> tuple[Array, str]:
        """Return how strange each column of some rows is, and what is written of the measure.

        Of a linear model with precision P it is the squared deviation of an entry from its
        expectation given the others, in variances of that: ((x − μ) P)_j² / P_jj.
        """
        if "per_feature" in inspect.signature(self.model.score_samples).parameters:
            nats = self.model.score_samples(self.rows(places), per_feature=True)
            return -np.asarray(nats), "nats"
        if not hasattr(self.model, "get_precision"):
            return self._of_residuals(places)
        P = self.model.get_precision()
        deviations = (with_means(self.matrix)[places] - self.model.mean_) @ P
        return deviations**2 / np.diagonal(P), "squared standard deviations"

    def reconstructed(self, places: Array) -> Array:
        return np.asarray(self.network.reconstruct(self.rows(places)), np.float64)

    @property
    def losses_are_scores(self) -> bool:
        """Whether rows are ordered by their scores, for there is no training loss of each row."""
        return not (self.is_network and hasattr(self.network, "reconstruction_error"))

    def losses(self, places: Array) -> Array:
        """Return what is large where a row is reconstructed badly."""
        if self.losses_are_scores:
            return -self.scores[places]
        return np.asarray(self.network.reconstruction_error(self.rows(places)))

    def _of_residuals(self, places):
        residuals = self.matrix[places] - self.reconstructed(places)
        variance = np.nanvar(self.matrix, axis=0)
        return residuals**2 / np.where(variance > 0, variance, 1.0), "variances of the column"

    def _network_of(self, model):
        return getattr(model, "best_estimator_", model)

    def _scores(self):
        return self.model.score_samples(self.X)

    def _matrix(self):
        return np.asarray(check.estimator_rows(self.network, self.X, reset=False), np.float64)

    def _columns(self):
        names = feature_names(self.network)
        return [str(name) for name in (range(self.matrix.shape[1]) if names is None else names)]

    def _with_names(self, rows):
        names = feature_names(self.network)
        return NamedRows(rows, None if names is None else list(map(str, names)))


class _Dictionary(Subject):
    """A dictionary: it has no density, and scores are those of squared errors."""

    measure = "minus half the squared error"

    def surprises(self, places):
        return self._of_residuals(places)

    def reconstructed(self, places):
        codes = self.model.transform(self.rows(places))
        return np.asarray(codes @ self.model.components_, np.float64)

    def _scores(self):
        rows = check.estimator_rows(self.model, self.X, reset=False)
        codes = self.model.transform(self.X)
        return -0.5 * np.sum((rows - codes @ self.model.components_) ** 2, axis=1, dtype=np.float64)


class _Table(Subject):
    """A model of tables: columns are the table's, the network reads their encoding."""

    def text(self, row, column):
        name, rows = self.model.variables_[column].name, rows_of(self.X, np.array([row]))
        if not hasattr(rows, "columns"):
            return text_of(np.asarray(rows)[0, list(self.model.roles_).index(name)])
        return text_of(next(iter(rows[name])))

    def rows(self, places):
        return self._with_names(self.matrix[places])

    def surprises(self, places):
        nats = self.model.score_samples(rows_of(self.X, places), per_feature=True)
        return -np.asarray(nats), "nats"

    def _network_of(self, model):
        network = copy.copy(model.autoencoder_)  # which does not know the names of its columns
        network.feature_names_in_ = np.array(model.encoder_.get_feature_names_out(), dtype=object)
        return network

    def _matrix(self):
        return np.asarray(self.model.encoder_.transform(self.X), np.float64)

    def _columns(self):
        return [str(variable.name) for variable in self.model.variables_]
