"""Base class of `SparseCoder`: its file format."""

from collections.abc import Callable
from typing import Any

from aefast._base.saving import FLAG, SIZE, Saved, Tensor
from aefast.sparse_coding import coding


class CoderState(Saved):
    """A dictionary and weights of its atoms in a model file."""

    # Attributes and methods that the estimator defines.
    dictionary: Any
    atom_weights: Any
    n_features_in_: int
    _settings: Callable[..., Any]

    _file_format = "aefast sparse coder"
    _parameters_not_saved = ("dictionary", "atom_weights", "init")  # the first two are tensors

    def _saved_state(self):
        k, d = self._settings()[1].shape
        if getattr(self, "n_features_in_", d) != d:
            raise ValueError(
                f"dictionary has {d} columns, but fit has met rows of {self.n_features_in_}: fit "
                "anew to save"
            )
        has_weights = self.atom_weights is not None
        return {"n_components": k, "n_features": d, "has_atom_weights": has_weights}

    def _saved_tensors(self):
        D = self._settings()[1]
        weights = coding.as_atom_weights(self.atom_weights, len(D))
        return {"dictionary": D} | ({} if weights is None else {"atom_weights": weights})

    @classmethod
    def _state_checks(cls):
        return {"n_components": SIZE, "n_features": SIZE, "has_atom_weights": FLAG}

    @classmethod
    def _tensor_layout(cls, state):
        k, d = state["n_components"], state["n_features"]
        weights = {"atom_weights": Tensor((k,), "F64")} if state["has_atom_weights"] else {}
        return {"dictionary": Tensor((k, d))} | weights

    def _restore(self, state, tensors):
        self.dictionary, self.atom_weights = tensors["dictionary"], tensors.get("atom_weights")
        self.n_features_in_ = state["n_features"]

    def _check_restored(self):
        _, D = self._settings()
        coding.as_atom_weights(self.atom_weights, len(D))
