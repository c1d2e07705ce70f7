"""The functional backend: arrays in, arrays out, no state, no scikit-learn.

Rows are samples: X (n, d); W (k, d); b (k,); c (d,); decoder_weights (k, d), or None for tied
weights, with which the decoder uses W. Losses are in nats. Computations are in float32 if all
arrays are float32, uint8 or bool, and in float64 otherwise; results have the type of the
computation. X is not copied if the columns of each row are adjacent; parameters are not copied if
they are C-contiguous and have the type of the computation.

All functions raise ValueError or TypeError for arrays of the wrong shape or type and for entries
that are not finite, naming the argument, and FloatingPointError if finite input overflows.

``n_threads`` is a positive integer, or None for the cores that this process may use (one if the
work is small). Results have the same bits for any number.

``out`` is an array for the result, instead of a new one. It must be writeable, aligned and
C-contiguous, have the shape and type of the result, and share no memory with the arguments, except
where a function permits it (overlap of two memory maps of one file is not noticed). Its content is
undefined after an error. In repeated calls it saves the time in which the operating system clears
new memory.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from aefast._base import _runtime, scalars, threads
from aefast._base import arrays as check
from aefast._base.errors import bad_row_error
from aefast._base.types import Array, OutputLike, Reals
from aefast.networks import _autoencoder, outputs
from aefast.networks.network import Parameters, single_layer
from aefast.networks.one_pass import one_pass, overflow_error
from aefast.networks.scan import check_groups
from aefast.networks.variants import PLAIN

__all__ = ["Gradients", "decode", "encode", "loss", "loss_and_gradients", "sigmoid", "softplus"]


def __dir__() -> list[str]:
    return __all__


# number of rows whose sums are accumulated in the type of the computation, before float64
GRADIENT_CHUNK_ROWS = 512


class Gradients(NamedTuple):
    """Gradients of the loss, named by parameter.

    ``decoder_weights`` is None when tied, ``gain`` where there is none, ``output_parameters`` a
    dict like the argument.
    """

    W: np.ndarray
    b: np.ndarray
    c: np.ndarray
    decoder_weights: np.ndarray | None
    output_parameters: dict
    gain: np.ndarray | None = None


UNUSED = object()  # a bias that an operation does not read


def _network(
    X,
    W,
    b,
    c,
    decoder_weights=None,
    *,
    output="gaussian",
    output_parameters=None,
    activation="sigmoid",
    gain=None,
):
    """Check names, shapes and types; return a network of one layer and its parameters.

    A bias that the caller does not use is UNUSED, and None among the parameters.
    """
    scalars.check_name(activation, "activation", _autoencoder.ACTIVATIONS)
    scalars.check_representable(output, "output")
    scalars.check_representable(output_parameters, "output_parameters")
    W = check.as_array(W, "W", 2)
    k, d = W.shape
    scalars.check_sizes(n_components=k, n_features=d)
    tied = decoder_weights is None
    arrays = [
        check.as_parameter(W, "W", (k, d)),
        None if tied else check.as_parameter(decoder_weights, "decoder_weights", (k, d)),
        None if b is UNUSED else check.as_parameter(b, "b", (k,)),
        None if c is UNUSED else check.as_parameter(c, "c", (d,)),
        None if gain is None else check.as_parameter(gain, "gain", (k,)),
    ]
    dtypes = {array.dtype for array in arrays if array is not None}
    dtype = check.real_type(X.dtype, *dtypes)
    if dtypes != {dtype}:
        arrays = [None if array is None else array.astype(dtype, copy=False) for array in arrays]
    V: Any
    W, V, b, c, gain = arrays
    segments, theta = outputs.resolve_output(output, d), None
    if outputs.has_parameters(segments) or output_parameters is not None:
        theta = outputs.from_names(segments, output_parameters, d)
        theta = theta.astype(dtype) if outputs.has_parameters(segments) else None
    network = single_layer(d, k, tied, activation, segments, gain=gain is not None)
    return network, (Parameters(W, W if tied else V, b, c, theta, gain),)


def encode(
    X: ArrayLike,
    W: ArrayLike,
    b: ArrayLike,
    *,
    activation: str = "sigmoid",
    n_threads: int | None = None,
    out: Array | None = None,
) -> Reals:
    """Compute the codes ``H = g(X Wᵀ + b)``, where g is the activation.

    Parameters
    ----------
    X : array-like (n, d)
    W : array-like (k, d)
    b : array-like (k,)
    activation : {"sigmoid", "tanh", "relu", "softplus", "linear", ...}
        ``1 / (1 + exp(-a))``, ``tanh(a)``, ``max(a, 0)``, ``log(1 + exp(a))``, ``a``.
    n_threads : int or None
    out : ndarray (n, k) or None

    Returns
    -------
    H : ndarray (n, k)
        `out` if it is given.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import ops
    >>> ops.encode(np.zeros((1, 3)), np.ones((2, 3)), [0.0, 100.0])
    array([[0.5, 1. ]])
    """
    X = check.as_rows(X, "X")
    network, parameters = _network(X, W, b, UNUSED, activation=activation)
    _check_width(X, "X", network.n_features)
    if out is None:
        return one_pass(network, parameters, X, "codes", n_threads=n_threads)
    layer = parameters[0]
    shape = (len(X), network.n_components)
    plain = check.as_out(out, shape, layer.W.dtype, X=X, W=layer.W, b=layer.b)
    one_pass(network, parameters, X, "codes", n_threads=n_threads, out=plain)
    return out


def decode(
    H: ArrayLike,
    W: ArrayLike,
    c: ArrayLike,
    *,
    output: OutputLike = "gaussian",
    output_parameters: Mapping[str, ArrayLike] | None = None,
    gain: ArrayLike | None = None,
    activation: str = "sigmoid",
    n_threads: int | None = None,
    out: Array | None = None,
) -> Reals:
    """Compute the reconstructions ``X̂ = o(H W + c)``, the means of p(x | h).

    The function o is the identity for "gaussian", the sigmoid for "bernoulli". With a gain,
    ``X̂ = o(((H − g(0)) ∘ gain) W + c)``, where g is the activation that made the codes.

    Parameters
    ----------
    H : array-like (n, k)
        Codes; any finite numbers.
    W : array-like (k, d)
        Weights of the decoder.
    c : array-like (d,)
        Bias of the output.
    output : str, (str, dict) or list of (one of these, columns)
        The distribution p(x | μ) as for `Autoencoder`, with columns by number. Reconstructions of a
        "multinomial" group are the means of one trial, which are its probabilities.
    output_parameters : dict or None
        As for `loss`; the means of p(x | h) do not depend on it.
    gain : array-like (k,) or None
        Factor of each unit's code; None: codes are decoded as they are.
    activation : str
        The activation g that made the codes; only read where there is a gain.
    n_threads : int or None
    out : ndarray (n, d) or None

    Returns
    -------
    X_hat : ndarray (n, d)
        `out` if it is given.
    """
    H = check.as_rows(H, "H")
    network, parameters = _network(
        H,
        W,
        UNUSED,
        c,
        output=output,
        output_parameters=output_parameters,
        activation=activation,
        gain=gain,
    )
    _check_width(H, "H", network.n_components)
    options = {"name": "H", "from_codes": True, "n_threads": n_threads}
    if out is None:
        return one_pass(network, parameters, H, "reconstructions", **options)
    V, c = parameters[0].V, parameters[0].c
    read = {"H": H, "W": V, "c": c} | ({} if gain is None else {"gain": parameters[0].gain})
    plain = check.as_out(out, (len(H), network.n_features), V.dtype, **read)
    one_pass(network, parameters, H, "reconstructions", **options, out=plain)
    return out


def loss(
    X: ArrayLike,
    W: ArrayLike,
    b: ArrayLike,
    c: ArrayLike,
    decoder_weights: ArrayLike | None = None,
    *,
    output: OutputLike = "gaussian",
    output_parameters: Mapping[str, ArrayLike] | None = None,
    sample_weight: ArrayLike | None = None,
    activation: str = "sigmoid",
    gain: ArrayLike | None = None,
    n_threads: int | None = None,
) -> float:
    """Compute the mean over samples of the training loss, which is a sum over features.

    The loss is in nats, without the constants of the log-likelihood: ``½ Σ_j (x̂_j − x_j)²`` for
    "gaussian", ``−Σ_j [x_j log x̂_j + (1 − x_j) log(1 − x̂_j)]`` for "bernoulli". The latter is
    computed from the pre-activation, so that it is finite and accurate for pre-activations of any
    size.

    Parameters
    ----------
    X : array-like (n, d)
        Rows; in [0, 1] for "bernoulli".
    W, b, c : array-like (k, d), (k,), (d,)
    decoder_weights : array-like (k, d) or None
        Weights of the decoder; None: tied, the decoder uses W.
    output : str, (str, dict) or list of (one of these, columns)
        The distribution p(x | μ) as for `Autoencoder`, with columns by number.
    output_parameters : dict or None
        Parameters that distributions have for each column, {"log_variance": (d,)} for example;
        None: 0.
    sample_weight : array-like (n,) or None
        Non-negative weights v of the weighted mean ``Σ v_i l_i / Σ v_i``.
    activation : {"sigmoid", "tanh", "relu", "softplus", "linear", ...}
    gain : array-like (k,) or None
        Gain of each unit, as in `decode`; None: codes are decoded as they are.
    n_threads : int or None

    Returns
    -------
    loss : float
    """
    network, parameters, X, weight = loss_problem(
        X, W, b, c, decoder_weights, output, output_parameters, sample_weight, activation, gain
    )
    losses = one_pass(network, parameters, X, "row_losses", n_threads=n_threads)
    value = float(losses.mean() if weight is None else (weight * losses).sum())
    if not np.isfinite(value):
        raise overflow_error("X", parameters)
    return value


def loss_and_gradients(
    X: ArrayLike,
    W: ArrayLike,
    b: ArrayLike,
    c: ArrayLike,
    decoder_weights: ArrayLike | None = None,
    output: OutputLike = "gaussian",
    sample_weight: ArrayLike | None = None,
    *,
    output_parameters: Mapping[str, ArrayLike] | None = None,
    activation: str = "sigmoid",
    gain: ArrayLike | None = None,
    n_threads: int | None = None,
) -> tuple[float, Gradients]:
    """Compute the mean loss, as `loss` does, and its gradients by backpropagation.

    With ``dÂ = (dl/dÂ) v_i / Σv`` and ``dA = (dÂ W*ᵀ) ∘ g'(A)``, the gradients are ``dc = Σ dÂ``,
    ``db = Σ dA``, ``dW = dAᵀ X``, ``dW* = Hᵀ dÂ``. Tied weights are used in the encoder and in the
    decoder, so that their gradient is the sum ``dAᵀ X + Hᵀ dÂ``. With a gain, the decoder reads
    ``Z = (H − g(0)) ∘ gain`` in place of H, and with ``dZ = dÂ W*ᵀ`` the gradients are
    ``dgain = Σ dZ ∘ (H − g(0))`` and ``dA = dZ ∘ gain ∘ g'(A)``.

    Parameters
    ----------
    X, W, b, c, decoder_weights, output, sample_weight, output_parameters, activation, gain, \
    n_threads
        As for `loss`.

    Returns
    -------
    loss : float
    gradients : Gradients
        Named tuple ``(W, b, c, decoder_weights, output_parameters, gain)`` of arrays of the type of
        the computation; ``decoder_weights`` is None when tied, ``gain`` where there is none,
        ``output_parameters`` a dict of arrays
        (d,), with 0 for columns that do not have or do not learn the parameter. Sums over more than
        512 samples are accumulated in float64.
    """
    return with_gradients(
        loss_problem(
            X, W, b, c, decoder_weights, output, output_parameters, sample_weight, activation, gain
        ),
        n_threads,
    )


def with_gradients(problem, n_threads, memory=None):
    """Return the loss and the `Gradients` of a problem of `loss_problem`.

    `memory` is that of `_autoencoder.loss_and_gradients`.
    """
    network, parameters, rows, weight = problem
    d, k, n = network.n_features, network.n_components, len(rows)
    chunk_rows, domain = min(n, GRADIENT_CHUNK_ROWS), outputs.domain_of(network.output, d)
    n_threads = threads.effective_n_threads(n_threads, 10.0 * chunk_rows * d * k)
    with threads.single_threaded_blas(_runtime.products() == "blas"):
        value, flat, status = _autoencoder.loss_and_gradients(
            network, rows, parameters, weight, domain, chunk_rows, n_threads, PLAIN, memory
        )
    if status & _autoencoder.BAD_ROWS:
        raise bad_row_error(rows, "X", domain, parameters[0].W.dtype, output=network.output)
    check_groups(rows, "X", network.output)
    # products pass over zeros of X, and with them over weights of a column that no row has
    is_finite = np.isfinite(flat).all() and np.isfinite(parameters[0].W).all()
    if status & _autoencoder.NOT_FINITE or not is_finite:
        raise overflow_error("X", parameters)
    [layer] = network.layers
    # with kept memory the array is that of the next call too
    arrays = layer.arrays(flat.astype(parameters[0].W.dtype, copy=memory is not None))
    return value, Gradients(
        arrays["components"],
        arrays["hidden_bias"],
        arrays["visible_bias"],
        arrays.get("decoder_components"),
        outputs.by_name(network.output, arrays["output_parameters"], rest=0)
        if "output_parameters" in arrays
        else {},
        arrays.get("gain"),
    )


def loss_problem(
    X, W, b, c, decoder_weights, output, output_parameters, sample_weight, activation, gain
):
    X = check.as_rows(X, "X")
    network, parameters = _network(
        X,
        W,
        b,
        c,
        decoder_weights,
        output=output,
        output_parameters=output_parameters,
        activation=activation,
        gain=gain,
    )
    _check_width(X, "X", network.n_features)
    return network, parameters, X, check.as_sample_weight(sample_weight, len(X))


def _check_width(rows, name, n_columns):
    if rows.shape[1] != n_columns:
        raise ValueError(f"{name} must have {n_columns} columns to fit W, got shape {rows.shape}")


def sigmoid(x: ArrayLike, *, n_threads: int | None = None, out: Array | None = None) -> Any:
    """Compute ``1 / (1 + exp(-x))`` elementwise.

    Results are at most 2 ULP off in float32, at most 4 in float64.

    Parameters
    ----------
    x : array-like
        Numbers, in an array of any shape. float32, uint8 and bool give float32, others float64. NaN
        gives NaN.
    n_threads : int or None
    out : ndarray or None
        Array of the shape of x for the result, which may be x itself.

    Returns
    -------
    y : ndarray or NumPy scalar
        `out` if it is given; otherwise an array of the shape of x, or a scalar for a scalar.
    """
    return _elementwise("sigmoid", x, n_threads, out)


def softplus(x: ArrayLike, *, n_threads: int | None = None, out: Array | None = None) -> Any:
    """Compute ``log(1 + exp(x))`` elementwise, without overflow.

    Results are at most 2 ULP off in float32, at most 4 in float64.

    Parameters
    ----------
    x : array-like
        Numbers, in an array of any shape. float32, uint8 and bool give float32, others float64. NaN
        gives NaN.
    n_threads : int or None
    out : ndarray or None
        Array of the shape of x for the result, which may be x itself.

    Returns
    -------
    y : ndarray or NumPy scalar
        `out` if it is given; otherwise an array of the shape of x, or a scalar for a scalar.
    """
    return _elementwise("softplus", x, n_threads, out)


def _elementwise(name, x, n_threads, out):
    x = check.as_array(x, "x")
    x = np.require(x, check.real_type(x.dtype), "C")
    y = np.empty_like(x) if out is None else check.as_out(out, x.shape, x.dtype, in_place="x", x=x)
    _autoencoder.apply(name, x, y, threads.effective_n_threads(n_threads, 20.0 * x.size))
    return y[()] if out is None else out
