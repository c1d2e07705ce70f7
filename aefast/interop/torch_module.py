"""Fitted networks as modules of PyTorch, and modules of PyTorch as fitted networks."""

import copy
import math
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.nn import functional

from aefast._base.files import replacing
from aefast._base.paths import as_path
from aefast.interop.feed_forward import feed_forward
from aefast.networks.one_pass import AT_ZERO

ACTIVATIONS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "softplus": functional.softplus,
    "elu": functional.elu,
    "linear": lambda a: a,
}
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Layer(nn.Module):
    """One encoder ``h = g(x Wᵀ + b)`` and its decoder ``a = ((h − g(0)) ∘ gain) W* + c``."""

    def __init__(self, layer: Any, parameters: Any) -> None:
        super().__init__()
        self.activation, self.top_k = layer.activation, layer.top_k
        self.weight = _parameter(parameters.W)  # (k, d)
        self.bias = _parameter(parameters.b)
        self.visible_bias = _parameter(parameters.c)
        self.decoder_weight = None if layer.tied else _parameter(parameters.V)  # (k, d)
        self.gain = None if parameters.gain is None else _parameter(parameters.gain)

    def encode(self, x: Tensor) -> Tensor:
        h = ACTIVATIONS[self.activation](functional.linear(x, self.weight, self.bias))
        if not self.top_k:
            return h
        kept = torch.topk(h, self.top_k, dim=1)
        return torch.zeros_like(h).scatter(1, kept.indices, kept.values)

    def decode(self, h: Tensor) -> Tensor:
        if self.gain is not None:
            h = (h - AT_ZERO[self.activation]) * self.gain
        weight = self.weight if self.decoder_weight is None else self.decoder_weight
        return functional.linear(h, weight.T, self.visible_bias)


class AutoencoderModule(nn.Module):
    """The network of a fitted `Autoencoder` or `StackedAutoencoder` in PyTorch.

    ``module(X)`` is `reconstruct`, ``module.encode(X)`` `transform`, ``module.decode(H)``
    `inverse_transform`, and ``module.log_prob(X)`` `score_samples`, to rounding; all are
    differentiable.

    Names of the state dict, with i the number of the layer from below: ``layers.i.weight`` (k, d),
    ``layers.i.bias`` (k,), ``layers.i.visible_bias`` (d,), ``layers.i.decoder_weight`` (k, d) where
    weights are not tied, ``layers.i.gain`` (k,) where there is one, ``theta`` (d,), the parameters
    of the columns' distributions, and buffers (d,) of what the encoder reads: ``fill`` (missing
    entries), ``shift`` and ``scale``, ``log_offset`` and ``log_centre``.
    """

    _model: Any
    theta: Tensor | None
    fill: Tensor | None
    shift: Tensor | None
    scale: Tensor | None
    log_offset: Tensor | None
    log_centre: Tensor | None

    def __init__(self, model: Any) -> None:
        super().__init__()
        model = getattr(model, "best_estimator_", model)
        forward, state = feed_forward(model), model._fitted_state()
        self._model, self._normed = model, forward.normed
        network, parameters = state.model, state.model.split(state.parameters)
        self.layers = nn.ModuleList(map(Layer, network.layers, parameters))
        theta = parameters[0].theta
        self.theta = None if theta is None else _parameter(theta)
        for name in ("fill", "shift", "scale", "log_offset", "log_centre"):
            array = getattr(forward, name)
            self.register_buffer(name, None if array is None else _tensor(array, forward.dtype))
        self._blocks = [
            (block.distribution, torch.from_numpy(block.columns), block.constant, block.is_fixed)
            for block in forward.blocks
        ]

    def forward(self, X: Tensor) -> Tensor:
        """Return the reconstructions of rows (n, d)."""
        return self.decode(self.encode(X), X)

    def encode(self, X: Tensor) -> Tensor:
        """Return the codes (n, k) of rows (n, d)."""
        h = self._read(X)
        for layer in self.layers:
            h = layer.encode(h)
        return h

    def decode(self, H: Tensor, X: Tensor | None = None) -> Tensor:
        """Return the means (n, d) of p(x | h); X has the numbers of trials of multinomials."""
        eta = self._pre_activations(H)
        out = torch.empty_like(eta)
        for name, columns, *_ in self._blocks:
            mean = MEANS[name](eta[:, columns])
            if name == "multinomial" and X is not None:
                total = X[:, columns].nansum(dim=1, keepdim=True)
                mean = mean * torch.where(X[:, columns].isnan().all(1, keepdim=True), 1, total)
            out[:, columns] = mean
        if self.scale is not None and self.shift is not None:
            out = out * self.scale + self.shift
        return out

    def log_prob(self, X: Tensor) -> Tensor:
        """Return ``log p(x | μ(h(x)))`` (n,) of rows, in nats; missing entries count nothing."""
        eta, observed = self._pre_activations(self.encode(X)), ~X.isnan()
        x = X if self.fill is None else torch.where(observed, X, self.fill)
        log_p = torch.zeros(len(X), dtype=eta.dtype, device=eta.device)
        if self.scale is not None and self.shift is not None:
            x = (x - self.shift) / self.scale
            log_p = log_p - (observed * self.scale.log()).sum(1)
        for name, columns, constant, is_fixed in self._blocks:
            theta = None if self.theta is None else self.theta[columns]
            theta = theta.detach() if theta is not None and is_fixed else theta
            terms = MINUS_LOG_P[name](x[:, columns], eta[:, columns], theta, constant)
            log_p = log_p - (terms * observed[:, columns]).sum(1)
        return log_p

    def _read(self, X):
        x = X if self.fill is None else torch.where(X.isnan(), self.fill, X)
        if self.scale is not None and self.shift is not None:
            x = (x - self.shift) / self.scale
        if self._normed:
            norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
            x = x / torch.where(norm > 0, norm, 1)
        if self.log_offset is not None and self.log_centre is not None:
            logarithms = torch.log(x.clamp(min=0) + self.log_offset) - self.log_centre
            x = torch.where(self.log_offset > 0, logarithms, x)
        return x

    def _pre_activations(self, H):
        a = H
        for number in reversed(range(len(self.layers))):
            a = self.layers[number].decode(a)
            if number:
                a = ACTIVATIONS[self.layers[number - 1].activation](a)
        return a


def _tensor(array, dtype):
    return torch.from_numpy(np.array(array, dtype))


def _parameter(array):
    return nn.Parameter(torch.from_numpy(array.copy()))


# ---- distributions: means of η, and −log p(x | η), constants included ----


def _log_normalizer(eta):
    """log((exp(η) − 1) / η) of the continuous Bernoulli distribution; a series near 0."""
    near, z = eta.abs() < 0.25, eta * eta
    series = eta / 2 + z * (1 / 24 - z * (1 / 2880 - z * (1 / 181440 - z / 9676800)))
    safe = torch.where(near, torch.ones_like(eta), eta)
    size = safe.abs()
    exact = safe.clamp(min=0) + torch.log(-torch.expm1(-size) / size)
    return torch.where(near, series, exact)


def _continuous_bernoulli_mean(eta):
    near, z = eta.abs() < 0.25, eta * eta
    series = 0.5 + eta * (1 / 12 - z * (1 / 720 - z * (1 / 30240 - z / 1209600)))
    safe = torch.where(near, torch.ones_like(eta), eta)
    return torch.where(near, series, -1 / torch.expm1(-safe) - 1 / safe + 0.0)


def _gaussian_diagonal(x, eta, theta, floor):
    s = floor + theta.exp()
    return 0.5 * (eta - x) ** 2 / s + 0.5 * s.log() + HALF_LOG_2PI


def _gamma(x, eta, theta, _):
    k = theta.exp()
    return k * (x * torch.exp(-eta) + eta - theta) + torch.lgamma(k) - (k - 1) * x.log()


def _negative_binomial(x, eta, theta, _):
    r, q = theta.exp(), eta - theta
    rising = torch.lgamma(x + r) - torch.lgamma(r)
    return (x + r) * functional.softplus(q) - x * q - rising + torch.lgamma(x + 1)


def _huber(x, eta, _, delta):
    r = eta - x
    inner = r.clamp(-delta, delta)
    middle = math.sqrt(2 * math.pi) * math.erf(delta * math.sqrt(0.5))
    tails = 2 / delta * math.exp(-0.5 * delta * delta)
    return inner * (r - 0.5 * inner) + math.log(middle + tails)


def _student_t(x, eta, theta, df):
    s_squared = torch.exp(2 * theta) + 1e-6
    normalizer = math.lgamma(df / 2) - math.lgamma((df + 1) / 2) + 0.5 * math.log(math.pi * df)
    tail = (df + 1) / 2 * torch.log1p((eta - x) ** 2 / (df * s_squared))
    return tail + 0.5 * s_squared.log() + normalizer


def _categorical(x, eta, *_):
    return -x * functional.log_softmax(eta, 1)


def _multinomial(x, eta, *_):
    terms = torch.lgamma(x + 1) - x * functional.log_softmax(eta, 1)
    total = torch.lgamma(x.sum(1, keepdim=True) + 1)
    return terms - total / x.shape[1]


MEANS = {
    **dict.fromkeys(
        ("gaussian", "gaussian_diagonal", "laplace", "huber", "student_t"), lambda eta: eta
    ),
    **dict.fromkeys(("poisson", "exponential", "gamma", "negative_binomial"), torch.exp),
    **dict.fromkeys(("categorical", "multinomial"), lambda eta: torch.softmax(eta, 1)),
    "bernoulli": torch.sigmoid,
    "continuous_bernoulli": _continuous_bernoulli_mean,
}
MINUS_LOG_P = {
    "gaussian": lambda x, eta, *_: 0.5 * (eta - x) ** 2 + HALF_LOG_2PI,
    "bernoulli": lambda x, eta, *_: functional.softplus(eta) - x * eta,
    "continuous_bernoulli": lambda x, eta, *_: _log_normalizer(eta) - x * eta,
    "gaussian_diagonal": _gaussian_diagonal,
    "poisson": lambda x, eta, *_: eta.exp() - x * eta + torch.lgamma(x + 1),
    "exponential": lambda x, eta, *_: eta + x * torch.exp(-eta),
    "gamma": _gamma,
    "negative_binomial": _negative_binomial,
    "laplace": lambda x, eta, *_: (eta - x).abs() + math.log(2),
    "huber": _huber,
    "student_t": _student_t,
    "categorical": _categorical,
    "multinomial": _multinomial,
}


# ---- modules of PyTorch as networks ----

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
        owner = module if name == "output_parameters" else module.layers[number]
        array[...] = _array(getattr(owner, names.get(name, "theta")))
    if not np.isfinite(flat).all():
        raise ValueError("the module has parameters that are not finite")
    made._state = state._replace(
        parameters=flat, optimizer_state=np.zeros_like(state.optimizer_state), n_steps=0
    )
    return made


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
    return {
        "W": W,
        "b": np.zeros(k, W.dtype) if encoder.bias is None else _array(encoder.bias),
        "c": np.zeros(d, W.dtype) if decoder.bias is None else _array(decoder.bias),
        "decoder_weights": None if np.array_equal(W, V) else V,
        "activation": activation,
        "output": _OUTPUTS[last],
    }


def _array(tensor):
    if tensor.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"parameters must be float32 or float64, got {tensor.dtype}")
    return tensor.detach().cpu().numpy().copy()


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


def save_state(model: Any, path: Any) -> None:
    """Write the state dict of a fitted network's module as a safetensors file."""
    tensors = AutoencoderModule(model).state_dict()
    contents = serialize({name: tensor.contiguous() for name, tensor in tensors.items()})
    with replacing(as_path(path)) as file:
        file.write(contents)
