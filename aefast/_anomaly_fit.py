"""Fit and state of `AnomalyDetector`."""

import copy
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from aefast._anomaly_labels import Head
from aefast._anomaly_models import FittedEstimator
from aefast._anomaly_references import References, Slots
from aefast._anomaly_rows import Calibration, Given, Usual, weighted_threshold
from aefast._anomaly_state import SavedDetector
from aefast._anomaly_tables import Rows
from aefast._base import arrays as check
from aefast._base.types import Array


class FittedDetector(SavedDetector):
    """The parts of a detector that its methods share: how it learns, and what it has learnt."""

    contamination: float | str
    false_alarm_rate: float
    calibration_fraction: float
    n_sets: int
    n_references: int
    n_threads: int | None

    def _unfitted_copy(self, X, columns, rows, seed):
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made.__dict__.pop("feature_names_in_", None)
        if columns.encoder is None:
            check.remember_features(made, X)
        else:
            of_encoder = columns.encoder.__dict__
            names = ("n_features_in_", "feature_names_in_")
            made.__dict__.update({name: of_encoder[name] for name in names if name in of_encoder})
        made._columns, made._seed, made._n_calls = columns, seed, 1
        made._model = made._head = None
        made._calibration = Calibration.empty(rows.matrix.shape[1], rows.matrix.dtype)
        return made

    def _given(self, matrix, sample_weight, labels):
        """Return the rows to learn from; which are left out follows from their contents."""
        weight = check.as_row_weights(sample_weight, len(matrix))
        weight = np.ones(len(matrix)) if weight is None else weight
        if not weight.any():
            raise ValueError("all weights are zero: there is nothing to fit to")
        seed = self._seed + self._n_calls
        return Given.of(matrix, weight, labels, seed, float(self.calibration_fraction))

    def _learn(self, given):
        """Set the model, the calibration rows and what is usual after a fit to more rows."""
        held, seen = given.is_held_out, ~given.is_held_out
        self._model = self._fitted_model(given, seen)
        calibration = self._calibration
        if not held.any() and not (calibration.is_held_out and len(calibration.rows)):
            held = seen if given.labels is None else seen & (given.labels != 1)
            held = held if held.any() else seen
            calibration = calibration._replace(is_held_out=False)
        elif held.any() and not calibration.is_held_out:
            calibration = Calibration.empty(given.rows.shape[1], given.rows.dtype)
        seed = self._seed + self._n_calls
        self._calibration = calibration.with_rows(given.rows[held], given.weight[held], seed)
        self._set_usual()

    def _fitted_model(self, given, seen):
        rows, weight, model = given.rows[seen], given.weight[seen], self._model
        if self.estimator is None:
            order = np.argsort(given.keys[seen], kind="stable")
            arguments = rows, weight, order, np.random.RandomState([self._seed, self._n_calls])
            if model is not None:
                return model.with_rows(*arguments)
            shape = int(self.n_sets), int(self.n_references)
            return References(Slots.filled(shape, *arguments), self._columns.shares)
        if model is None:
            estimator = self._columns.prepared(clone(self.estimator))
            learn = estimator.fit
        else:
            estimator = copy.deepcopy(model.estimator)  # which stays as it is if this fails
            learn = estimator.partial_fit
        learn(rows, **({} if (weight == 1).all() else {"sample_weight": weight}))
        return FittedEstimator.of(estimator, rows)

    def _set_usual(self):
        model, calibration = self._model, self._calibration
        usual = Usual.of(model, calibration, self.n_threads)
        model.usual = usual.surprise  # of missing entries
        found = model.strangeness(calibration.rows, "X", self.n_threads)
        self._usual = usual.with_strangeness(found, calibration.weight)
        if self._head is not None:
            found = self._head.logits(self._features(calibration.rows, "X"))
            self._usual = usual.with_strangeness(found, calibration.weight)

    def _learn_labels(self, given):
        seen = ~given.is_held_out
        features = self._features(given.rows[seen], "X")
        self._head = Head.fitted(features, given.labels[seen], given.weight[seen])
        self._set_usual()

    def _features(self, matrix, name):
        """Return what the logistic regression reads of rows."""
        parts, _ = self._model.surprise(matrix, name, self.n_threads)
        parts = np.where(np.isnan(parts), self._usual.surprise, parts)
        strangeness = self._model.strangeness(matrix, name, self.n_threads)
        excess = self._columns.by_variable(parts) - self.usual_surprise_
        return np.column_stack([strangeness, excess, self._model.codes(matrix)])

    def _set_offset(self, given):
        if self.contamination == "auto" and self._calibration.is_held_out:
            self.offset_ = -self._usual.threshold(float(self.false_alarm_rate))
            return
        share = self.false_alarm_rate if self.contamination == "auto" else self.contamination
        found, weight = self._usual.strangeness, self._usual.weight
        if given is not None:
            found, weight = self._strangeness(Rows(given.rows, None), "X"), given.weight
        self.offset_ = -weighted_threshold(found, weight, float(share))

    def _checked(self, X):
        check_is_fitted(self)
        return self._columns.rows(self, X)

    def _strangeness(self, rows, name):
        if self._head is not None:
            return self._head.logits(self._features(rows.matrix, name))
        found = self._model.strangeness(rows.matrix, name, self.n_threads)
        return found if rows.unseen is None else found + rows.unseen.sum(axis=1)

    @property
    def estimator_(self) -> Any:
        return None if self._is_of_references else self._model.estimator

    @property
    def references_(self) -> Array:
        if not self._is_of_references:
            raise AttributeError("only a detector without an estimator has references_")
        return self._model.slots.rows

    @property
    def variables_(self) -> list:
        return list(self._columns.names)

    @property
    def usual_surprise_(self) -> Array:
        return self._columns.by_variable(self._usual.surprise[None])[0]

    @property
    def encoder_(self) -> Any:
        return self._columns.encoder

    @property
    def _is_of_references(self) -> bool:
        return isinstance(self._model, References)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_usual")
