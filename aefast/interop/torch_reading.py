"""Modules of PyTorch as fitted networks."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aefast.interop.torch_module import ACTIVATIONS, AutoencoderModule

_NAMES: dict[type, str] = {
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.Softplus: "softplus",
    nn.ELU: "elu",
    nn.Identity: "linear",
}
_OUTPUTS: dict[str, str] = {"linear": "gaussian", "sigmoid": "bernoulli"}


def estimator_of(module: AutoencoderModule, kind: type, parameters: dict[str, Any]) -> Any:
    """Return a copy of the estimator that a module was made from, with the module's parameters.

    `parameters` are set on the copy. Raises TypeError where it is not of this kind.
    """
    made: Any = copy.copy(module._model).set_params(**parameters)
    if not issubclass(type(made), kind):
        name = type(made).__name__
        raise TypeError(f"the module was made from a {name}: use {name}.from_torch")
    state = made._fitted_state()
    flat = np.empty_like(state.parameters)
    names = {
        "components": "weight",
        "decoder_components": "decoder_weight",
        "hidden_bias": "bias",
        "visible_bias": "visible_bias",
        "gain": "gain",
    }
    for number, name, array in state.model.arrays(flat):
        own = names.get(name, "theta")
        place = own if own == "theta" else f"layers.{number}.{own}"
        array[...] = _of_shape(module, place, array.shape)
    if not np.isfinite(flat).all():
        raise ValueError("the module has parameters that are not finite")
    made._state = state._replace(
        parameters=flat, optimizer_state=np.zeros_like(state.optimizer_state), n_steps=0
    )
    return made


def _of_shape(module, name, shape):
    """Return a parameter of a module that `to_torch` made, by its name in the state dict."""
    tensor: Any = module
    for part in name.split("."):
        tensor = getattr(tensor, part, None)
    if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
        got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise ValueError(f"the module must have {name} of shape {shape}, got {got}")
    return _array(tensor, name)


def parameters_of(module: nn.Module) -> dict[str, Any]:
    """Return the arguments of `Autoencoder.from_parameters` that a module stands for.

    Raises
    ------
    TypeError, ValueError
        Naming the part of the module that aefast has no equivalent of.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    linear, between = _linear_layers(module)
    if len(linear) != 2:
        raise ValueError(
            "module must have two Linear layers, an encoder and a decoder, got "
            f"{len(linear)}: aefast's deeper networks are read from no module"
        )
    encoder, decoder = linear
    activation, last = between
    k, d = encoder.weight.shape
    if tuple(decoder.weight.shape) != (d, k):
        raise ValueError(
            f"the decoder must have a weight of shape {(d, k)}, the transpose of the encoder's, "
            f"got {tuple(decoder.weight.shape)}"
        )
    if last not in _OUTPUTS:
        raise ValueError(
            f"the output must be linear (gaussian) or a Sigmoid (bernoulli), got {last}: give "
            "from_torch the layers before it and output=..."
        )
    W, V = _array(encoder.weight), _array(decoder.weight).T
    if not isinstance(module, nn.Sequential):
        _check_runs_in_order(module, (encoder, activation, decoder, last))
    return {
        "W": W,
        "b": np.zeros(k, W.dtype) if encoder.bias is None else _array(encoder.bias),
        "c": np.zeros(d, W.dtype) if decoder.bias is None else _array(decoder.bias),
        "decoder_weights": None if np.array_equal(W, V) else V,
        "activation": activation,
        "output": _OUTPUTS[last],
    }


def _array(tensor, name="parameters"):
    if tensor.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64, got {tensor.dtype}")
    if tensor.is_meta:
        raise ValueError(f"{name} must have values, got tensors on the device meta")
    return tensor.detach().cpu().numpy().copy()


def _check_runs_in_order(module, layers):
    """Raise ValueError unless a module's own `forward` does what its layers do in order."""
    encoder, activation, decoder, last = layers
    x = torch.linspace(-1, 1, 3 * encoder.weight.shape[1], dtype=encoder.weight.dtype)
    x = x.reshape(3, -1).to(encoder.weight.device)
    with torch.no_grad():
        expected = ACTIVATIONS[last](decoder(ACTIVATIONS[activation](encoder(x))))
        try:
            got = module(x)
        except Exception as error:
            raise ValueError(f"module cannot be run on rows of {x.shape[1]} columns") from error
    if not isinstance(got, Tensor) or got.shape != expected.shape:
        what = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise ValueError(f"module must return a tensor {tuple(expected.shape)}, got {what}")
    if not torch.allclose(got, expected, rtol=1e-3, atol=1e-5):
        raise ValueError(
            "the module's forward is not that of its layers in the order in which they stand: give "
            "from_torch a Sequential, or from_parameters the arrays"
        )


def _linear_layers(module):
    """Return the Linear layers of a module in order, and the name of what follows each."""
    layers: list[nn.Linear] = []
    names: list[str] = []
    for name, part in module.named_modules():
        if any(True for _ in part.children()):
            if not isinstance(part, nn.Sequential) and part is not module:
                raise TypeError(
                    f"{name} is a {type(part).__name__}: only Sequential containers are read, "
                    "whose layers run in the order in which they stand"
                )
            continue
        if isinstance(part, nn.Linear):
            layers.append(part)
            names.append("linear")
        elif type(part) in _NAMES and layers and names[-1] == "linear":
            _refuse_options(name, part)
            names[-1] = _NAMES[type(part)]
        else:
            raise TypeError(
                f"{name or 'module'} is a {type(part).__name__}, which aefast has no equivalent "
                f"of: expected Linear layers, each followed by at most one of "
                f"{sorted(kind.__name__ for kind in _NAMES)}"
            )
    return layers, names


def _refuse_options(name, part):
    usual = type(part)()
    for option in ("alpha", "beta", "threshold"):
        if getattr(part, option, None) != getattr(usual, option, None):
            raise ValueError(
                f"{name} has {option}={getattr(part, option)}, aefast's {_NAMES[type(part)]} has "
                f"{getattr(usual, option)}"
            )
