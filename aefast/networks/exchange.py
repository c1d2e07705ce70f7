"""Networks from given parameters, and from and to modules of PyTorch."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from aefast._base import arrays as check
from aefast._base import scalars
from aefast._base.exchange import ToOnnx, interop
from aefast._base.types import OutputLike
from aefast.networks import outputs
from aefast.networks.fitted import FittedState, n_optimizer_states
from aefast.networks.network import single_layer


class TorchExchange(ToOnnx):
    """Methods of networks from and to modules of PyTorch, and to ONNX."""

    def to_torch(self) -> Any:
        """Return an equivalent ``torch.nn.Module`` with a copy of the parameters.

        ``module(X)`` is `reconstruct`, ``module.encode(X)`` `transform`, ``module.decode(H)``
        `inverse_transform`, and ``module.log_prob(X)`` `score_samples`, to rounding. Units of
        columns, replacements of missing entries and logarithms are part of it; rows are neither
        checked nor clipped. `from_torch` reads it back, after training in PyTorch.

        Returns
        -------
        module : torch.nn.Module
            Names of its state dict, with i the number of the layer from below: ``layers.i.weight``
            (k, d), ``layers.i.bias`` (k,), ``layers.i.visible_bias`` (d,),
            ``layers.i.decoder_weight`` (k, d) where weights are not tied, ``layers.i.gain`` (k,)
            where there is one, ``theta`` (d,), and the buffers (d,) ``fill``, ``shift``,
            ``scale``, ``log_offset``, ``log_centre`` where rows are read so.

        Raises
        ------
        ImportError
            Without PyTorch.
        ValueError
            For a user-defined distribution.
        """
        return interop("torch_module").AutoencoderModule(self)

    @classmethod
    def from_torch(cls, module: Any, **parameters: Any) -> Self:
        """Return a fitted estimator with the parameters of a ``torch.nn.Module``.

        Parameters
        ----------
        module : torch.nn.Module
            What `to_torch` made, trained on or not: the estimator then has the units, distributions
            and other parameters of the one that it was made from. Or, for an `Autoencoder`, a
            ``Sequential`` of an encoder
            ``Linear(d, k)``, an activation (Sigmoid, Tanh, ReLU, Softplus, ELU or none), and a
            decoder ``Linear(k, d)``, whose output is real, or with a final Sigmoid Bernoulli.
            Decoder weights that equal the transposed encoder's become tied weights.
        **parameters
            Other parameters of the constructor; those of `from_parameters` that the module does not
            determine, such as ``output="poisson"`` where the Sequential ends in a Linear layer.

        Returns
        -------
        estimator
            A fitted one.

        Raises
        ------
        TypeError, ValueError
            Naming the part of the module that has no equivalent, or the shape that does not fit.
        """
        door = interop("torch_reading")
        if isinstance(module, door.AutoencoderModule):
            return door.estimator_of(module, cls, parameters)
        from_parameters = getattr(cls, "from_parameters", None)
        if from_parameters is None:
            raise TypeError(
                f"module must be one that {cls.__name__}.to_torch made, got "
                f"{type(module).__name__}: others are read by Autoencoder.from_torch"
            )
        return from_parameters(**(door.parameters_of(module) | parameters))


class GivenParameters:
    """The class method `from_parameters`."""

    @classmethod
    def from_parameters(
        cls,
        W: ArrayLike,
        b: ArrayLike,
        c: ArrayLike,
        decoder_weights: ArrayLike | None = None,
        *,
        gain: ArrayLike | None = None,
        output: OutputLike = "gaussian",
        output_parameters: Mapping[str, ArrayLike] | None = None,
        activation: str = "sigmoid",
        **parameters: Any,
    ) -> Self:
        """Return a fitted estimator with the given parameters.

        Rows are read as they are (``scale=None``). Training can go on from it by `partial_fit`, and
        by `fit` with ``warm_start=True``.

        Parameters
        ----------
        W : array-like (k, d)
            Weights of the encoder ``h = g(W x + b)``.
        b : array-like (k,)
        c : array-like (d,)
        decoder_weights : array-like (k, d) or None, default=None
            Weights of the decoder; None: it uses W (tied).
        gain : array-like (k,) or None, default=None
        output, activation
            As for the constructor, with columns by number.
        output_parameters : dict of str to array-like (d,), optional
            As for `aefast.ops.loss`.
        **parameters
            Other parameters of the constructor.

        Returns
        -------
        estimator : Autoencoder
            Its type is that of the arrays: float32 if all are, float64 otherwise. They are copied.

        Raises
        ------
        ValueError, TypeError
            For arrays of the wrong shape or type, or with entries that are not finite.
        """
        given = {"W": W, "b": b, "c": c, "decoder_weights": decoder_weights, "gain": gain}
        arrays = _checked(given)
        k, d = arrays["W"].shape
        make: Any = cls
        estimator = make(
            n_components=k,
            output=output,
            activation=activation,
            tied=decoder_weights is None,
            gain=gain is not None,
            **({"scale": None, "init": "glorot"} | parameters),
        )
        estimator._check_parameters()
        dtype = check.real_type(*[array.dtype for array in arrays.values()])
        segments = outputs.resolve_output(output, d)
        theta = outputs.from_names(segments, output_parameters, d)
        network = single_layer(
            d, k, estimator.tied, activation, segments, estimator.top_k or 0, estimator.gain
        )
        flat = np.zeros(network.n_parameters, dtype)
        names = {
            "components": "W",
            "decoder_components": "decoder_weights",
            "hidden_bias": "b",
            "visible_bias": "c",
            "gain": "gain",
        }
        for _, name, array in network.arrays(flat):
            array[...] = theta if name == "output_parameters" else arrays[names[name]]
        averages = estimator.weight_averaging is not None
        n_states = n_optimizer_states(estimator.solver, estimator.momentum, averages)
        states = np.zeros((n_states, flat.size), dtype)
        of_fit = network, estimator.solver, flat, states, 0, 0, estimator._draw_seed()
        state = FittedState(*of_fit, averages=averages)
        vars(estimator).update(estimator._beginning(state, ([], [], 0), False))
        estimator.fit_report_ = {}
        return estimator


def _checked(given):
    """Return the arrays that are not None, checked against the shape (k, d) of W."""
    W = check.as_array(given["W"], "W", 2)
    k, d = W.shape
    scalars.check_sizes(n_components=k, n_features=d)
    shapes = {"W": (k, d), "b": (k,), "c": (d,), "decoder_weights": (k, d), "gain": (k,)}
    arrays = {
        name: check.as_parameter(value, name, shapes[name])
        for name, value in given.items()
        if value is not None or name in ("b", "c")
    }
    for name, array in arrays.items():
        check.check_finite(array, name)
    return arrays
