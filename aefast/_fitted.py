"""The state of a fitted estimator: how it starts, goes on, and is kept."""

from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from aefast import _autoencoder
from aefast._model import Model
from aefast._training import WEIGHTS, random_stream

GLOROT_SIGMOID_SCALE = 4.0  # Glorot & Bengio (2010) for the logistic sigmoid


class FittedState(NamedTuple):
    """Everything that training goes on from."""

    model: Model
    solver: str
    parameters: np.ndarray  # flat, in Model.layout
    optimizer_state: np.ndarray  # (n_state, n_parameters)
    n_steps: int  # updates made
    n_rows_seen: int  # rows trained on, over all passes
    seed: int  # of all random numbers


def n_optimizer_states(solver, momentum):
    """Arrays of the parameters' size that a solver keeps."""
    row = next(row for row in _autoencoder.solver_table() if row["name"] == solver)
    return 0 if row["only_with_momentum"] and momentum == 0 else row["n_state"]


def initial_state(model, solver, momentum, column_means, dtype, seed):
    """Weights uniform in ±4·sqrt(6 / (d + k)), hidden bias 0, visible bias at the link of the column means."""
    flat = np.zeros(model.n_parameters, dtype)
    limit = GLOROT_SIGMOID_SCALE * np.sqrt(6.0 / (model.n_features + model.n_components))
    random = random_stream(seed, WEIGHTS)
    for name, part in model.parts(flat).items():
        if part.ndim == 2:
            part[...] = random.uniform(-limit, limit, part.shape)
        elif name == "visible_bias":
            part[...] = _autoencoder.output_link(model.output, column_means)
    optimizer_state = np.zeros((n_optimizer_states(solver, momentum), flat.size), dtype)
    return FittedState(model, solver, flat, optimizer_state, 0, 0, seed)


def continued_state(state, model, solver, momentum):
    """A copy to train on. Another solver starts with a state of its own.

    Raises ValueError if the constructor's parameters now ask for another network than the fitted one.
    """
    for field in ("n_components", "tied", "output"):
        fitted, wanted = getattr(state.model, field), getattr(model, field)
        if fitted != wanted:
            raise ValueError(
                f"{field}={wanted!r} does not continue the fitted network, which has {field}={fitted!r}: fit anew, or set it back"
            )
    flat = state.parameters.copy()
    n_states = n_optimizer_states(solver, momentum)
    if solver == state.solver and n_states == len(state.optimizer_state):
        return state._replace(parameters=flat, optimizer_state=state.optimizer_state.copy())
    zeros = np.zeros((n_states, flat.size), flat.dtype)
    return state._replace(solver=solver, parameters=flat, optimizer_state=zeros, n_steps=0)


class FittedNetwork:
    """What an estimator shows of its `_state`: views of the parameters, so that there is one truth to train, pickle and save."""

    @property
    def components_(self):
        return self._part("components")

    @property
    def decoder_components_(self):
        return self._part("components" if self._fitted_model().tied else "decoder_components")

    @property
    def hidden_bias_(self):
        return self._part("hidden_bias")

    @property
    def visible_bias_(self):
        return self._part("visible_bias")

    @property
    def _n_features_out(self):
        return self._fitted_model().n_components

    def _fitted_model(self):
        check_is_fitted(self)
        return self._state.model

    def _part(self, name):
        return self._fitted_model().parts(self._state.parameters)[name]

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_state")

    def save(self, path):
        """Writes the estimator to one safetensors file, optimizer state included: `aefast.load` reads it, and `partial_fit` goes on.

        Parameters
        ----------
        path : str or path-like
            Replaced as a whole, or left as it was.

        See Also
        --------
        aefast.model_file.save : what is kept and what is not.
        """
        from aefast.model_file import save

        save(self, path)
