"""Losses of autoencoders for PyTorch: tensors in, a differentiable tensor out.

The mathematics of `aefast.ops` as functions of tensors on the CPU. Loss and gradients come from one
call of the fused kernel in the forward pass; the backward pass multiplies them by the incoming
gradient. Tensors are read where they are, without copies. PyTorch is imported with this module.
"""

import threading
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aefast import ops
from aefast._base.types import OutputLike

__all__ = ["autoencoder_loss", "tied_autoencoder_loss"]


def __dir__() -> list[str]:
    return __all__


def tied_autoencoder_loss(
    X: Tensor,
    W: Tensor,
    b: Tensor,
    c: Tensor,
    *,
    output: OutputLike = "gaussian",
    output_parameters: Mapping[str, Tensor] | None = None,
    sample_weight: Tensor | None = None,
    activation: str = "sigmoid",
    gain: Tensor | None = None,
    n_threads: int | None = None,
) -> Tensor:
    """Compute the mean loss of an autoencoder with tied weights, as `aefast.ops.loss` does.

    ``h = g(x Wᵀ + b)``, ``μ = o(h W + c)``, and the loss is the mean over rows of −log p(x | μ) in
    nats, without the constants of the log-likelihood. W is used twice, so that its gradient is the
    sum ``dAᵀ X + Hᵀ dÂ``.

    Parameters
    ----------
    X : Tensor (n, d)
        Rows, on the CPU; no gradient is computed for them.
    W, b, c : Tensor (k, d), (k,), (d,)
        float32 or float64 on the CPU.
    output, output_parameters, sample_weight, activation, gain
        As for `aefast.ops.loss`, with tensors for arrays.
    n_threads : int or None
        None: the cores that this process may use, or one if the work is small; PyTorch's number of
        threads is another setting.

    Returns
    -------
    loss : Tensor ()
        Of the type of W, differentiable once with respect to W, b, c, gain and output_parameters.

    Raises
    ------
    ValueError, TypeError
        For tensors of the wrong shape or type, on another device, sparse, or where X requires a
        gradient.

    Examples
    --------
    >>> import torch
    >>> from aefast.torch import tied_autoencoder_loss
    >>> X, W = torch.zeros(5, 3), torch.full((2, 3), 0.1, requires_grad=True)
    >>> loss = tied_autoencoder_loss(X, W, torch.zeros(2), torch.zeros(3), output="bernoulli")
    >>> loss.backward()
    >>> W.grad.shape
    torch.Size([2, 3])
    """
    return autoencoder_loss(
        X,
        W,
        b,
        c,
        output=output,
        output_parameters=output_parameters,
        sample_weight=sample_weight,
        activation=activation,
        gain=gain,
        n_threads=n_threads,
    )


def autoencoder_loss(
    X: Tensor,
    W: Tensor,
    b: Tensor,
    c: Tensor,
    decoder_weights: Tensor | None = None,
    *,
    output: OutputLike = "gaussian",
    output_parameters: Mapping[str, Tensor] | None = None,
    sample_weight: Tensor | None = None,
    activation: str = "sigmoid",
    gain: Tensor | None = None,
    n_threads: int | None = None,
) -> Tensor:
    """Compute the mean loss of an autoencoder with tied weights or with ``decoder_weights`` (k, d).

    Parameters, result and errors are those of `tied_autoencoder_loss`; decoder_weights None means
    tied weights.

    Returns
    -------
    loss : Tensor ()
    """
    named = dict(output_parameters or {})
    for name, tensor in (("X", X), ("W", W), ("b", b), ("c", c)):
        _check(name, tensor)
    for name, tensor in (("decoder_weights", decoder_weights), ("gain", gain), *named.items()):
        if tensor is not None:
            _check(name, tensor)
    for name, tensor in (("X", X), ("sample_weight", sample_weight)):
        if tensor is not None and tensor.requires_grad:
            raise ValueError(
                f"{name} must not require a gradient, which is not computed: pass {name}.detach()"
            )
    options: dict[str, Any] = {"output": output, "activation": activation, "n_threads": n_threads}
    if sample_weight is not None:
        _check("sample_weight", sample_weight)
    options["sample_weight"] = _array(sample_weight)
    given = [W, b, c, decoder_weights, gain, *named.values()]
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given):
        return _Loss.apply(X, tuple(named), options, *given)
    arrays = [_array(tensor) for tensor in given]
    parameters = dict(zip(named, arrays[5:], strict=True)) or None
    value = ops.loss(
        _array(X), *arrays[:4], gain=arrays[4], output_parameters=parameters, **options
    )
    return torch.tensor(value, dtype=W.dtype)


class _Kept(threading.local):
    """Memory of the kernel for the next call of a thread: that of its largest call so far."""

    def __init__(self):
        self.memory: dict[str, Any] = {}


_kept = _Kept()
_READ = {torch.float32, torch.float64, torch.uint8, torch.bool}


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, X: Tensor, names: tuple, options: dict, *given: Tensor | None) -> Tensor:
        arrays = [_array(tensor) for tensor in given]
        parameters = dict(zip(names, arrays[5:], strict=True)) or None
        W, b, c, V, gain = arrays[:5]
        output, weight = options["output"], options["sample_weight"]
        problem = ops.loss_problem(
            _array(X), W, b, c, V, output, parameters, weight, options["activation"], gain
        )
        value, gradients = ops.with_gradients(problem, options["n_threads"], _kept.memory)
        found = [gradients.W, gradients.b, gradients.c, gradients.decoder_weights, gradients.gain]
        found += [gradients.output_parameters[name] for name in names]
        kept = [
            None if array is None else _tensor(array, tensor.dtype)
            for array, tensor in zip(found, given, strict=True)
            if tensor is not None
        ]
        ctx.is_given = [tensor is not None for tensor in given]
        ctx.save_for_backward(*kept)
        of_W: Any = given[0]
        return torch.tensor(value, dtype=of_W.dtype)

    @staticmethod
    @once_differentiable  # the gradients are numbers to autograd
    def backward(ctx: Any, of_loss: Tensor) -> tuple:
        saved = iter(ctx.saved_tensors)
        gradients = [next(saved) if is_given else None for is_given in ctx.is_given]
        factor = of_loss.item()
        if factor != 1:  # usually it is, where the loss is what is minimised
            gradients = [None if g is None else g * factor for g in gradients]
        return None, None, None, *gradients


def _tensor(array, dtype):
    made = torch.from_numpy(array)
    return made if made.dtype is dtype else made.to(dtype)


def _check(name, tensor):
    if isinstance(tensor, Tensor) and tensor.is_cpu and tensor.dtype in _READ:
        if tensor.layout is torch.strided:
            return
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
    if tensor.device.type != "cpu":
        raise ValueError(f"{name} must be on the CPU, got a tensor on {tensor.device}")
    if tensor.layout != torch.strided:
        raise TypeError(f"{name} must be dense, got a tensor of layout {tensor.layout}")
    if tensor.dtype in (torch.bfloat16, torch.float16) or tensor.is_complex():
        raise TypeError(f"{name} must be float32 or float64, got {tensor.dtype}")


def _array(tensor):
    return None if tensor is None else tensor.detach().numpy()
