"""State of a fitted imputer, and its file."""

from typing import Any

import numpy as np
from sklearn.impute import MissingIndicator
from sklearn.utils._missing import is_pandas_na

from aefast._base import checkpoints
from aefast._base.saving import (
    COUNT,
    FLAG,
    OBJECT,
    SIZE,
    Check,
    Saved,
    Tensor,
    check_entries,
    is_count,
    is_list_of,
    one_of,
    optional,
)
from aefast._imputer_models import METHODS, factors, networks
from aefast._imputer_tables import MixedTable
from aefast.tables.encoder import TableEncoder

EMPTY, CONSTANT, VARYING = "empty", "constant", "varying"  # kinds of columns


class FittedImputer(Saved):
    """Columns and models that a fit has found, or a file holds."""

    missing_values: Any
    roles: Any
    max_categories: int

    def _set_fitted(self, method, model, units, kinds, indicator, keeps_empty, n_draws, mixed):
        """Set what a fit has found, or a file holds.

        `units` are means and standard deviations of the columns, `indicator` the columns for which
        the indicator has one, or None, `mixed` a `MixedTable` or None.
        """
        self._mixed = mixed
        self.encoder_ = None if mixed is None else mixed.encoder
        self._keeps_empty, self._n_draws = keeps_empty, n_draws
        self.method_, self._model, self._kinds = method, model, kinds
        self.mean_, self.scale_ = units
        self.n_components_ = 0 if model is None else model.n_components
        self.n_iter_ = 0 if model is None else int(model.n_iter)
        is_empty = np.array(kinds) == EMPTY
        self._varying = np.flatnonzero(np.array(kinds) == VARYING)
        self._kept = np.arange(len(kinds)) if self._keeps_empty else np.flatnonzero(~is_empty)
        self._indicator_columns = indicator
        n_features = len(kinds)
        if mixed is not None:
            self._kept = np.array(mixed.kept())
            self.n_features_in_ = n_features = mixed.encoder.n_features_in_
            self.__dict__.pop("feature_names_in_", None)
            if hasattr(mixed.encoder, "feature_names_in_"):
                self.feature_names_in_ = mixed.encoder.feature_names_in_
        self.indicator_ = None if indicator is None else _indicator(n_features, indicator)

    # ---- in a file ----

    _file_format = "aefast imputer"
    _file_version = 2
    _structured_parameters = ("roles",)
    _parameters_of_process = checkpoints.PARAMETERS

    @classmethod
    def _upgrade(cls, version, parameters, state):
        if version < 2:  # tables had columns of numbers alone
            parameters |= {"roles": None, "max_categories": 100} | parameters
            state.setdefault("encoder", None)

    def _saved_parameters(self):
        parameters = super()._saved_parameters()
        value = as_float(self.missing_values)
        if not np.isfinite(value):  # which JSON cannot hold
            parameters["missing_values"] = repr(value)
        if self._mixed is not None:
            parameters["roles"] = self._mixed.encoder._saved_parameters()["roles"]
        return parameters

    @classmethod
    def _parameter_of_json(cls, name, value):
        if name == "roles":
            return TableEncoder._parameter_of_json(name, value)
        is_text = name == "missing_values" and isinstance(value, str)
        return float(value) if is_text else value

    def _saved_state(self):
        is_network = self._model is not None and self.method_ == "autoencoder"
        return {
            "n_features": len(self._kinds),
            "column_kinds": self._kinds,
            "method": self.method_,
            "n_components": self.n_components_,
            "n_iter": self.n_iter_,
            "n_draws": self._n_draws,
            "keeps_empty": self._keeps_empty,
            "indicator_columns": self._indicator_columns,
            "networks": self._model.saved_state() if is_network else [],
            "encoder": None if self._mixed is None else self._mixed.encoder._saved_state(),
        }

    @classmethod
    def _state_checks(cls):
        is_kind = one_of([EMPTY, CONSTANT, VARYING]).is_valid
        indices = Check(is_list_of(is_count), "a list of column numbers")
        return {
            "n_features": SIZE,
            "column_kinds": Check(is_list_of(is_kind), "a list of kinds of columns"),
            "method": one_of(METHODS),
            "n_components": COUNT,
            "n_iter": COUNT,
            "n_draws": COUNT,
            "keeps_empty": FLAG,
            "indicator_columns": optional(indices),
            "networks": Check(is_list_of(OBJECT.is_valid), "a list of objects"),
            "encoder": optional(OBJECT),
        }

    @classmethod
    def _tensor_layout(cls, state):
        d, kinds = state["n_features"], state["column_kinds"]
        n_varying, n_models = kinds.count(VARYING), 1 + state["n_draws"]
        columns, k = state["indicator_columns"] or [], state["n_components"]
        n_columns = d
        if state["encoder"] is not None:
            check_entries("encoder", state["encoder"], TableEncoder._state_checks())
            n_columns = len(state["encoder"]["codings"])
        is_network = state["method"] == "autoencoder" and n_varying > 0
        are_columns = columns == sorted({*columns}) and max(columns, default=-1) < n_columns
        if len(kinds) != d or not are_columns:
            raise ValueError(f"expected kinds and numbers of {n_columns} columns")
        if (k > 0) != (n_varying > 0) or (state["method"] != "autoencoder" and k > n_varying):
            raise ValueError(f"expected components for {n_varying} columns, got {k}")
        if len(state["networks"]) != (n_models if is_network else 0):
            raise ValueError(f"expected {n_models} models, got {len(state['networks'])} networks")
        layout = dict.fromkeys(("mean", "scale"), Tensor((d,), "F64"))
        if is_network:
            return layout | networks().NetworkImputation.tensor_layout(state["networks"], n_varying)
        of_factors = factors().LinearImputation.tensor_layout(n_models, k, n_varying)
        return layout | (of_factors if n_varying else {})

    def _saved_tensors(self):
        tensors = {} if self._model is None else self._model.saved_tensors()
        return tensors | {"mean": self.mean_, "scale": self.scale_}

    def _restore(self, state, tensors):
        kinds, model = state["column_kinds"], None
        mean, scale = tensors.pop("mean"), tensors.pop("scale")
        is_varying = np.array(kinds) == VARYING
        if not ((scale > 0) == is_varying).all():
            raise ValueError("expected positive numbers in 'scale' for columns that vary, else 0")
        if is_varying.any() and state["method"] == "autoencoder":
            model = networks().NetworkImputation.restored(state["networks"], tensors)
        elif is_varying.any():
            model = factors().LinearImputation.restored(tensors, state["n_iter"])
        self.n_features_in_, mixed = state["n_features"], None
        if state["encoder"] is not None:
            encoder = TableEncoder(self.roles, max_categories=self.max_categories)
            encoder._restore(state["encoder"], {})
            if encoder._layout.n_columns != len(kinds) or not is_varying.all():
                raise ValueError(f"expected an encoder with {len(kinds)} columns that vary")
            mixed = MixedTable(encoder, state["keeps_empty"])
        names = ("indicator_columns", "keeps_empty", "n_draws")
        options = [state[name] for name in names] + [mixed]
        self._set_fitted(state["method"], model, (mean, scale), kinds, *options)


def as_float(missing_values: Any) -> float:
    """Return `missing_values` as a float, NaN for pandas' NA."""
    return np.nan if is_pandas_na(missing_values) else float(missing_values)


def _indicator(n_features: int, columns: list[int]) -> MissingIndicator:
    """Return scikit-learn's indicator, fitted to missing entries in these columns."""
    row = np.zeros((1, n_features))
    row[0, columns] = np.nan
    return MissingIndicator(error_on_new=False).fit(row)
