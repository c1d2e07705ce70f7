"""Plain gradient descent on sparse rows whose steps do not depend on the number of columns.

With D = [V; cᵀ] (k + 1, d) the weights of the decoder and the visible bias, the kernel keeps
D = F U with F (k + 1, k + 1), so that a step changes all of F but only those columns of U that the
rows store (Vincent, de Brébisson & Bouthillier 2015; `src/kernels/autoencoder/factored.h`).

Each step shrinks F along the codes of its batch, and U grows by F⁻¹: digits are lost as the
condition number of F rises. Where the product of the Frobenius norms of F and F⁻¹ exceeds the limit
of `LIMITS` times k + 1, singular values outside [1/SPREAD, SPREAD] are moved from F to U, one
multiplication of U by a matrix of that rank. Every REFRESHED steps all of F is, and Q = D Dᵀ is
computed anew, so that its rounding errors do not add up.
"""

from typing import NamedTuple

import numpy as np

from aefast._base import threads
from aefast._base.saving import FLAG, Check, check_entries, is_number
from aefast._base.sparse_rows import SparseRows
from aefast._base.types import Array
from aefast.networks._autoencoder import NOT_FINITE, FactoredKernel
from aefast.networks.variants import is_corrupted

NAME = "factored"
LIMITS = {np.dtype(np.float64): 1e3, np.dtype(np.float32): 100.0}
SPREAD = 3.0  # singular values of F that stay: rounding errors of U grow by less than this
MOST_SCALE = 100.0  # factor by which an encoder's columns may be larger than its weights
REFRESHED = 1000  # steps after which Q is computed anew
STATUS_OK = 0
ALIGNED = 16  # columns of U have a multiple of this many numbers
SLICE = 1 << 14  # columns that are multiplied at a time

# checks of the state of factors in a checkpoint
_FACTORS = {
    "encoder_scale": Check(
        lambda value: isinstance(value, list) and len(value) == 2 and all(map(is_number, value)),
        "a list of two finite numbers",
    ),
    "is_due": FLAG,
}


class Factors(NamedTuple):
    """Factors of a decoder, and the encoder's weights column by column."""

    F: Array  # (m, m) float64, with m = k + 1
    F_inverse: Array  # (m, m) float64
    Q: Array  # (m, m) float64: D Dᵀ
    U: Array  # (d, at least m): columns of U
    W_columns: Array | None  # (d, at least k): columns of W, divided by their scale; None: tied


def check_parameters(estimator):
    """Raise ValueError for parameters that the factored step does not have."""
    if estimator.sparse_output != NAME:
        return
    needed = (
        ("output", "gaussian"),
        ("solver", "sgd"),
        ("momentum", 0),
        ("precision", "auto"),
        ("clip_norm", None),
        ("max_norm", None),
        ("weight_averaging", None),
        ("contraction", 0),
        ("sparsity", None),
        ("top_k", None),
        ("dropout", 0),
    )
    for name, value in needed:
        given = getattr(estimator, name)
        if given != value:
            raise ValueError(
                f"sparse_output='factored' needs {name}={value!r}, got {name}={given!r}: it is the "
                "exact step of plain gradient descent on squared errors. sparse_output='exact' has "
                "no such limits"
            )
    if is_corrupted(estimator.corruption) and estimator.corruption[0] not in ("masking", "dropout"):
        raise ValueError(
            f"sparse_output='factored' has no corruption={estimator.corruption!r}, which changes "
            "zeros: use 'masking' or 'dropout'"
        )


def is_factored(estimator, rows):
    """Return whether a fit takes factored steps: only on sparse rows."""
    return getattr(estimator, "sparse_output", None) == NAME and isinstance(rows, SparseRows)


class FactoredTrainer:
    """`_autoencoder.Trainer` of the factored step; parameters are those of that class.

    X is `SparseRows` without missing entries whose zeros the encoder reads as 0.
    """

    def __init__(self, network, X, flat, state, hyperparameters, *, variant, **options):
        if X.absent_missing or not variant.keeps_zeros(absent_missing=False):
            raise ValueError(
                "sparse_output='factored' needs rows whose zeros stay zeros: sparse_means='zero', "
                "without columns that are centred"
            )
        self.layer, self.flat, self.state, self.variant = network.layers[0], flat, state, variant
        self.solver = hyperparameters.solver
        limit = LIMITS[flat.dtype] * (self.layer.n_components + 1)
        self.kernel = FactoredKernel(
            network, X, flat, hyperparameters, variant=variant, limit=limit, **options
        )
        self.n_threads = options["n_threads"]
        self.is_unpacked = True  # whether the flat array is up to date

    @property
    def factors(self):
        """The `Factors`, None before it runs."""
        return self.kernel.factors

    @property
    def n_steps(self):
        return self.kernel.n_steps

    @property
    def n_rows_done(self):
        return self.kernel.n_rows_done

    @property
    def loss_sum(self):
        return self.kernel.loss_sum

    @property
    def rate(self):
        """The learning rate of the last step, with the schedule's factor; 0 before a step."""
        return self.kernel.rate

    def go_on_from(self, n_rows_done, loss_sum, rate):
        """Set the counters to those of a trainer that was interrupted."""
        self.kernel.go_on_from(n_rows_done, loss_sum, rate)

    @property
    def learning_rate(self):
        return self.kernel.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate):
        self.kernel.learning_rate = rate

    @property
    def schedule(self):
        return self.kernel.schedule

    @schedule.setter
    def schedule(self, place):
        self.kernel.schedule = place

    def values(self):
        """Bring the given arrays up to date, and return (parameters, state, n_steps)."""
        if not self.is_unpacked:
            with threads.same_bits():
                self._unpack()
        return self.flat, self.state, self.n_steps

    def _unpack(self):
        k, (scale, _) = self.layer.n_components, self.kernel.encoder_scale
        W, V, _, c, _, _ = self.layer.split(self.flat)
        for part in self._slices():
            columns = self.factors.F @ self._columns(self.factors, part)
            V[:, part], c[part] = columns[:k], columns[k]
            if self.factors.W_columns is not None:
                W[:, part] = scale * self.factors.W_columns[part, :k].T
        self.is_unpacked = True

    def moving_parameters(self):
        return self.values()[0]

    def reread(self):
        """Read the parameters anew from their array, which may have been changed."""
        self.kernel.hold(None, (1.0, 0.0), False)

    def restore(self, flat, state, n_steps):
        """Go back to earlier values."""
        self.flat[...], self.state[...], self.kernel.n_steps = flat, state, n_steps
        self.reread()
        self.is_unpacked = True

    def run(self, order, loss_sum):
        """Train on these rows of X, and return (loss_sum, status)."""
        with threads.same_bits():
            return self._run(order, loss_sum)

    def _run(self, order, loss_sum):
        while True:
            if self.factors is None:
                self._pack()
            if self.kernel.is_due:
                self._renew(all_of_it=self.n_steps % REFRESHED == 0)
            if not len(order):
                return loss_sum, STATUS_OK
            last_step = (self.n_steps // REFRESHED + 1) * REFRESHED
            self.is_unpacked = False
            loss_sum, status, n_done = self.kernel.run(order, last_step, loss_sum)
            order = order[n_done:]
            if status & NOT_FINITE:
                return loss_sum, status

    # ---- checkpoints ----

    def saved(self):
        """Return the factors and what belongs to them, as JSON and as arrays; None without any."""
        if self.factors is None:
            return None, {}
        state = {
            "encoder_scale": list(self.kernel.encoder_scale),
            "is_due": self.kernel.is_due,
        }
        return state, _arrays(self.factors)

    def blank(self):
        """Return arrays of the shapes and types of `saved`."""
        k, d, dtype = self.layer.n_components, self.layer.n_features, self.flat.dtype
        small = np.empty((k + 1, k + 1))
        W_columns = None if self.layer.tied else np.empty((d, _aligned(k)), dtype)
        return _arrays(
            Factors(small, small, small, np.empty((d, _aligned(k + 1)), dtype), W_columns)
        )

    def go_on_with(self, state, tensors):
        """Take the factors of a checkpoint, whose arrays have been compared with `blank`."""
        check_entries("factors", state, _FACTORS)
        arrays = {name: tensors.get(f"factors.{name}") for name in Factors._fields}
        self.kernel.hold(Factors(**arrays), tuple(state["encoder_scale"]), state["is_due"])
        self.is_unpacked = False

    # ---- factors ----

    def _slices(self):
        d = self.layer.n_features
        return [slice(first, min(first + SLICE, d)) for first in range(0, d, SLICE)]

    def _columns(self, factors, part):
        """Return some columns of U, (k + 1, n) in float64."""
        return factors.U[part, : self.layer.n_components + 1].T.astype(np.float64)

    def _pack(self):
        k, d, dtype = self.layer.n_components, self.layer.n_features, self.flat.dtype
        W, V, _, c, _, _ = self.layer.split(self.flat)
        U = np.zeros((d, _aligned(k + 1)), dtype)
        U[:, :k], U[:, k] = V.T, c
        W_columns = None
        if not self.layer.tied:
            W_columns = np.zeros((d, _aligned(k)), dtype)
            W_columns[:, :k] = W.T
        squares = float(np.einsum("ij,ij->", W, W, dtype=np.float64))
        identity = np.eye(k + 1)
        factors = Factors(identity, identity.copy(), np.zeros_like(identity), U, W_columns)
        self.kernel.hold(factors._replace(Q=self._gram(factors)), (1.0, squares), False)

    def _gram(self, factors):
        """Return D Dᵀ."""
        Q = np.zeros_like(factors.F)
        for part in self._slices():
            columns = factors.F @ self._columns(factors, part)
            Q += columns @ columns.T
        return Q

    def _renew(self, all_of_it=False):
        """Move singular values of F that are far from 1 to U, or all of F.

        What an interrupt leaves undone is done before the next step, with the same bits: a part
        that is repeated changes nothing.
        """
        kernel, scale = self.kernel, self.kernel.encoder_scale[0]
        if scale != 1 and (all_of_it or scale < 1 / MOST_SCALE):
            self._renew_encoder()
        left, values, right = np.linalg.svd(self.factors.F)
        far = (values > SPREAD) | (values < 1 / SPREAD)
        if all_of_it or 2 * far.sum() > len(far):
            identity = np.eye(len(far))
            kernel.renew(None, None, identity, identity, is_last=not all_of_it)
        elif far.any():
            directions, changes = np.ascontiguousarray(right[far]), values[far] - 1
            values = np.where(far, 1.0, values)
            new = (left * values) @ right, (right.T / values) @ left.T
            kernel.renew(directions, changes, *new, is_last=True)
        factors = self.factors
        if all_of_it:
            factors = factors._replace(Q=self._gram(factors))
        kernel.hold(factors, kernel.encoder_scale, False)

    def _renew_encoder(self):
        """Move the scale of the encoder's weights to its columns."""
        scale, squares = self.kernel.encoder_scale
        columns = self.factors.W_columns
        columns = None if columns is None else (columns * scale).astype(columns.dtype)
        self.kernel.hold(
            self.factors._replace(W_columns=columns), (1.0, squares * scale**2), self.kernel.is_due
        )


def _arrays(factors):
    """Return the arrays of factors by their names in checkpoints."""
    return {f"factors.{name}": of for name, of in factors._asdict().items() if of is not None}


def _aligned(width):
    return -(-width // ALIGNED) * ALIGNED
