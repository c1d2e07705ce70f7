"""Variants of a training step (noise, penalties, dropped units) in the form that kernels read."""

from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from aefast._base.scalars import check_representable
from aefast.networks import outputs
from aefast.networks._autoencoder import (
    BOUNDED_ACTIVATIONS,
    CORRUPTIONS,
    PENALTIES,
    UNIT_ACTIVATIONS,
)
from aefast.networks.scaling import in_units

REVIVE = 1 / 32  # weight of the auxiliary loss of dead units (Gao et al. 2024)


class Variant(NamedTuple):
    """Differences of a training step, or of a one-pass operation, from the plain autoencoder.

    Every default switches a feature off, at no cost. Arrays have the real type of the computation.
    """

    fill: np.ndarray | None = None  # (d,), replacements of missing entries
    shift: np.ndarray | None = None  # (d,) float64; rows are read as (x − shift) factor
    factor: np.ndarray | None = None  # (d,) float64
    # (d,), the encoder reads log(x + offset) − centre where the offset is positive
    log_offset: np.ndarray | None = None
    log_centre: np.ndarray | None = None
    normed: bool = False  # whether the encoder reads rows divided by their Euclidean norm
    clips: bool = False  # whether checked entries are moved into their domain
    corruption: str | None = None  # kind of noise, one of CORRUPTIONS
    corruption_level: float = 0.0  # probability, or standard deviation of Gaussian noise
    low: np.ndarray | None = None  # (d,), values of pepper
    high: np.ndarray | None = None  # (d,), values of salt
    seed: int = 0  # seed of the noise
    layer: int = 0  # index of the layer, to key the noise
    first_sample: int = 0  # counter of the first row in one-pass operations, to key the noise
    contraction: float = 0.0  # weight λ of the contractive penalty
    penalty: str | None = None  # penalty of the codes, one of PENALTIES
    penalty_weight: float = 0.0  # weight of the penalty
    penalty_parameter: float = 0.0  # parameter of the penalty, for example ρ of "kl"
    dropout: float = 0.0  # probability that a unit is dropped
    revive: float = 0.0  # with top-k: weight of the auxiliary loss of dead units
    dead_rows: int = 0  # a unit is dead when this many rows in a row have not kept it
    rows_unused: np.ndarray | None = None  # (k,) int64, number of rows since each unit was kept
    # reconstruction sampling: number of zeros of each row in the loss, or number per stored entry
    sampled_zeros: int = 0
    sampled_ratio: float = 0.0

    def keeps_zeros(self, absent_missing):
        """Return whether the encoder reads 0 where rows in CSR form store nothing.

        Nothing stored means 0, or with `absent_missing` a missing entry. Noise is not considered.
        """
        changed = self.fill if absent_missing else self.shift
        if changed is not None and changed.any():
            return False
        if self.log_offset is None or self.log_centre is None:
            return True
        is_read = self.log_offset > 0
        return not (np.log(self.log_offset[is_read]) != self.log_centre[is_read]).any()

    @property
    def couples_rows(self):
        """Whether a row's loss depends on the rest of its batch."""
        return self.penalty is not None and PENALTIES[self.penalty]["of_means"]


PLAIN = Variant()


def without_noise(variant):
    """Return a variant that reads the same rows without noise, or None if it has no effect."""
    kept = ("fill", "shift", "factor", "log_offset", "log_centre", "normed", "clips")
    plain = Variant(**{name: getattr(variant, name) for name in kept})
    is_plain = all(getattr(plain, name) is None for name in kept[:-2])
    is_plain = is_plain and not (plain.clips or plain.normed)
    return None if is_plain else plain


def rows_variant(state, dtype=None, *, clips=False):
    """Return the variant in which a `FittedState` reads rows, or None if it reads them as they are.

    It replaces missing entries, scales columns and takes logarithms. `dtype` is the type of the
    computation; None: that of the parameters.
    """
    is_own = dtype is None or dtype == state.parameters.dtype
    variant = state.rows_variant if is_own else variant_of_rows(state.reading, dtype)
    if clips:
        return variant._replace(clips=True)
    return None if variant is PLAIN else variant


def variant_of_rows(reading, dtype):
    """Return the variant of a `Reading`."""
    if not reading.changes_rows():
        return PLAIN
    fill, scaling, logarithms, normed = reading
    arrays: dict[str, Any] = {"normed": normed}
    if fill is not None:
        arrays["fill"] = (fill if scaling is None else scaling.scaled(fill)).astype(dtype)
    if scaling is not None:
        arrays |= {"shift": scaling.shift, "factor": scaling.factor}
    if logarithms is not None:
        arrays["log_offset"] = logarithms.offset.astype(dtype)
        arrays["log_centre"] = logarithms.centre.astype(dtype)
    return Variant(**arrays)


def check_variants(estimator):
    """Check parameters that scikit-learn's constraints do not cover, and their combinations."""
    check_corruption(estimator.corruption)
    check_sparsity(estimator.sparsity, estimator.activation)
    has_gain(estimator)
    check_dropped_units(estimator, "n_components", estimator.n_components)


def check_dropped_units(estimator, name, size):
    """Raise ValueError where `top_k` does not go with a code's size, the parameter `name`."""
    is_given = not isinstance(size, str)
    if is_given and estimator.top_k is not None and estimator.top_k > size:
        raise ValueError(f"top_k must be at most {name} = {size}, got {estimator.top_k}")
    if estimator.top_k is not None and estimator.dropout > 0:
        raise ValueError("top_k and dropout both drop units of the code: choose one of them")
    if estimator.precision == "bfloat16" and estimator.top_k is not None:
        raise ValueError("precision='bfloat16' has no form for top_k: set precision='auto'")


SOLVERS_WITHOUT_GAIN = ("sgd", "muon")  # unless it is asked for

# Parameters that lose their meaning where a free gain undoes what they ask of the weights or codes
# (or that a gain does not serve), with the values that switch them off.
WITHOUT_GAIN = (
    ("top_k", None),
    ("alpha", 0),
    ("weight_decay", 0),
    ("max_norm", None),
    ("contraction", 0),
    ("sparsity", None),
)


def has_gain(estimator):
    """Return whether a network has gains; raise ValueError where it cannot.

    "auto": where weights are tied and the activation is bounded on both sides, so that codes of
    small weights have little scale, and nothing in WITHOUT_GAIN is on. Plain gradient descent would
    need a tiny rate beside large gains; orthogonal steps have one size for all units.
    """
    if not isinstance(estimator.gain, str) and not estimator.gain:
        return False
    on = [name for name, off in WITHOUT_GAIN if getattr(estimator, name, off) != off]
    if estimator.gain == "auto":
        is_tied = getattr(estimator, "tied", True)
        bends = estimator.activation in BOUNDED_ACTIVATIONS
        return is_tied and bends and not on and estimator.solver not in SOLVERS_WITHOUT_GAIN
    on = [name for name in on if not isinstance(getattr(estimator, name), str)]  # "auto": none
    if on:
        raise ValueError(
            f"gain=True leaves {on[0]}={getattr(estimator, on[0])!r} without meaning, because the "
            "gain of a unit undoes it: set gain='auto' or gain=False"
        )
    return True


def is_corrupted(given):
    """Return whether the parameter `corruption` asks for noise; "auto" leaves it to a fit."""
    return given is not None and not (isinstance(given, str) and given == "auto")


def check_corruption(given, name="corruption", others="None, 'auto'"):
    """Raise ValueError for an invalid `corruption`, the parameter `name`.

    `others` are the values that are no tuples.
    """
    check_representable(given, name)
    if not is_corrupted(given):
        return
    if not (isinstance(given, tuple) and len(given) == 2 and given[0] in CORRUPTIONS):
        raise ValueError(
            f"{name} must be {others} or a tuple (one of {list(CORRUPTIONS)}, level), got {given!r}"
        )
    kind, level = given
    limit = np.inf if kind == "gaussian" else 1
    is_level = isinstance(level, Real) and not isinstance(level, bool)
    if not is_level or not 0 <= float(level) <= limit or (kind == "dropout" and level == 1):
        what = "standard deviation" if kind == "gaussian" else "probability"
        what += " below 1" if kind == "dropout" else ""
        raise ValueError(f"{name}={given!r}: the level must be a {what}, got {level!r}")


def check_sparsity(given, activation):
    """Raise ValueError for an invalid `sparsity`, or one that does not suit the activation."""
    if given is None:
        return
    if not (isinstance(given, tuple) and given and given[0] in PENALTIES):
        forms = " or ".join(map(_sparsity_form, PENALTIES.values()))
        raise ValueError(f"sparsity must be None, {forms}, got {given!r}")
    row, numbers = PENALTIES[given[0]], given[1:]
    good = len(numbers) == 1 + (row["parameter"] is not None) and all(
        isinstance(x, Real) and not isinstance(x, bool) and 0 <= float(x) < np.inf for x in numbers
    )
    if not good or (row["parameter"] and not row["low"] < numbers[0] < row["high"]):
        raise ValueError(f"sparsity must be {_sparsity_form(row)}, got {given!r}")
    if row["of_unit_codes"] and activation not in UNIT_ACTIVATIONS:
        wanted = " or ".join(map(repr, UNIT_ACTIVATIONS))
        raise ValueError(
            f"sparsity=({given[0]!r}, ...) needs codes in (0, 1): activation={wanted}, got "
            f"{activation!r}"
        )


def _sparsity_form(row):
    parameter = (
        f"{row['parameter']} in ({row['low']:g}, {row['high']:g}), " if row["parameter"] else ""
    )
    return f"({row['name']!r}, {parameter}weight >= 0)"


def variant_of(estimator, model, dtype, *, seed, reading, extremes=None, n_rows=0):
    """Return the variant of a fit on rows with this `Reading`.

    `extremes` are arrays (low, high) of shape (d,) with the extremes of the rows in their own
    units, for salt and pepper; `n_rows` is the number of rows in a pass.
    """
    options: dict[str, Any] = {"seed": seed}
    if is_corrupted(estimator.corruption):
        kind, level = estimator.corruption
        options |= {"corruption": kind, "corruption_level": float(level)}
        if kind == "salt_and_pepper":
            low, high = noise_extremes(model, extremes)
            low, high = (in_units(reading.scaling, end) for end in (low, high))
            options |= {"low": low.astype(dtype), "high": high.astype(dtype)}
    if estimator.sparsity is not None:
        name, *parameter, weight = estimator.sparsity
        options |= {"penalty": name, "penalty_weight": float(weight)}
        options["penalty_parameter"] = parameter[0] if parameter else 0.0
    if estimator.top_k is not None:
        options |= {
            "revive": REVIVE,
            "dead_rows": n_rows,
            "rows_unused": np.zeros(model.n_components, np.int64),
        }
    given = getattr(estimator, "reconstruction_sampling", None)
    if given is not None:
        is_number = isinstance(given, Integral)
        options |= {"sampled_zeros": int(given)} if is_number else {"sampled_ratio": float(given)}
    return variant_of_rows(reading, dtype)._replace(
        contraction=float(estimator.contraction), dropout=float(estimator.dropout), **options
    )


def check_precision_of_groups(model, precision):
    if model.has_groups and precision == "bfloat16":
        raise ValueError(
            "precision='bfloat16' has no form for categorical and multinomial outputs: set "
            "precision='auto'"
        )


def noise_extremes(model, extremes):
    """Return the ends (low, high) of each column's domain, or its `extremes` if it is unbounded."""
    low, high = (
        np.broadcast_to(end, model.n_features).astype(float)
        for end in outputs.domain_of(model.output, model.n_features)
    )
    return np.where(np.isfinite(low), low, extremes[0]), np.where(
        np.isfinite(high), high, extremes[1]
    )


def needs_extremes(estimator):
    """Return whether the noise of a training on the rows needs their extremes."""
    noise = getattr(estimator, "fine_tuning_corruption", estimator.corruption)
    return is_corrupted(noise) and noise[0] == "salt_and_pepper"
