"""Fitted state of a `TableAutoencoder`, and its form in files."""

from typing import Any

import numpy as np

from aefast._base.saving import COUNT, OBJECT, SIZE, Saved, Tensor, check_entries, one_of
from aefast._base.types import Array
from aefast.networks.autoencoder import Autoencoder
from aefast.networks.stacked import StackedAutoencoder
from aefast.tables.encoder import TableEncoder

NETWORKS: dict[str, Any] = {cls._file_format: cls for cls in (Autoencoder, StackedAutoencoder)}


# checks of what a file says of a network: the parameter, and the fitted one
_PARAMETER = {"format": one_of(NETWORKS), "version": COUNT, "parameters": OBJECT}
_FITTED = _PARAMETER | {"state": OBJECT}


def _upgrade_network(described: dict[str, Any], checks: dict[str, Any]) -> None:
    """Bring what a file says of a network to the present version of networks, in place."""
    check_entries("network", described, checks)
    of_network = NETWORKS[described["format"]]
    if not 1 <= described["version"] <= of_network._file_version:
        raise ValueError(
            f"expected a version up to {of_network._file_version} of {described['format']!r}, got "
            f"{described['version']}: upgrade aefast"
        )
    of_network._upgrade(described["version"], described["parameters"], described.get("state", {}))


class FittedTableModel(Saved):
    """A fitted encoder, a network of its matrix, and codes of some of the fit's rows."""

    autoencoder: Any
    roles: Any
    max_categories: int
    encoder_: TableEncoder
    autoencoder_: Any
    feature_names_in_: Array

    def _set_fitted(self, encoder: TableEncoder, network: Any, codes: Array) -> None:
        """Set what a fit has found, or a file holds."""
        self.encoder_, self.autoencoder_, self._codes = encoder, network, codes
        self.n_features_in_ = encoder.n_features_in_
        if hasattr(encoder, "feature_names_in_"):
            self.feature_names_in_ = encoder.feature_names_in_
        else:
            self.__dict__.pop("feature_names_in_", None)

    _file_format = "aefast table autoencoder"
    _file_version = 2

    @classmethod
    def _upgrade(cls, version, parameters, state):
        found = (parameters.get("autoencoder"), _PARAMETER), (state.get("network"), _FITTED)
        for described, checks in found:
            if isinstance(described, dict):
                if version < 2:  # versions of networks were not written
                    described.setdefault("version", 3)
                _upgrade_network(described, checks)

    _structured_parameters = ("roles", "autoencoder")

    def _saved_parameters(self):
        parameters = self.encoder_._saved_parameters()
        network = None
        if self.autoencoder is not None:
            network = {
                "format": self.autoencoder._file_format,
                "version": self.autoencoder._file_version,
                "parameters": self.autoencoder._saved_parameters(),
            }
        return parameters | {"autoencoder": network}

    @classmethod
    def _parameter_of_json(cls, name, value):
        if name != "autoencoder":
            return TableEncoder._parameter_of_json(name, value)
        if value is None:
            return None
        check_entries("autoencoder", value, _PARAMETER)
        return NETWORKS[value["format"]]._from_parameters(value["parameters"])

    def _saved_state(self):
        network = self.autoencoder_
        return {
            "n_codes": len(self._codes),
            "encoder": self.encoder_._saved_state(),
            "network": {
                "format": network._file_format,
                "version": network._file_version,
                "parameters": network._saved_parameters(),
                "state": network._saved_state(),
            },
        }

    @classmethod
    def _state_checks(cls):
        return {
            "n_codes": SIZE,
            "encoder": TableEncoder._state_checks(),
            "network": _FITTED,
        }

    @classmethod
    def _tensor_layout(cls, state):
        described = state["network"]
        of_network = NETWORKS[described["format"]]
        check_entries("state", described["state"], of_network._state_checks())
        layout = of_network._tensor_layout(described["state"])
        if not described["state"]["fills"]:
            raise ValueError("expected a network that was fitted with missing entries")
        k = of_network._model_of_file(described["state"]).n_components
        prefixed = {f"network.{name}": tensor for name, tensor in layout.items()}
        return prefixed | {"codes": Tensor((state["n_codes"], k), "F64")}

    def _saved_tensors(self):
        of_network = self.autoencoder_._saved_tensors().items()
        tensors = {f"network.{name}": array for name, array in of_network}
        return tensors | {"codes": self._codes.astype(np.float64)}

    def _restore(self, state, tensors):
        encoder = TableEncoder(self.roles, max_categories=self.max_categories)
        encoder._restore(state["encoder"], {})
        described, codes = state["network"], tensors.pop("codes")
        network = NETWORKS[described["format"]]._from_parameters(described["parameters"])
        own = {name.removeprefix("network."): array for name, array in tensors.items()}
        network._restore(described["state"], own)
        network._check_restored()
        width = encoder._layout.n_columns
        if network.n_features_in_ != width:
            raise ValueError(f"expected a network of {width} columns, got {network.n_features_in_}")
        self._set_fitted(encoder, network, codes)
