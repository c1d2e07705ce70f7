"""Rotations of loadings towards simple structure, and their signs."""

from typing import Any

import numpy as np
from scipy import linalg
from sklearn.exceptions import ConvergenceWarning

from aefast._base import arrays as check
from aefast._base import scalars
from aefast._base.errors import shown
from aefast._base.warnings import warn
from aefast.linear.gradient_projection import (
    Oblique,
    Orthogonal,
    Problem,
    best_minimum,
    random_orthogonal,
)
from aefast.linear.planar_rotations import planar_rotations
from aefast.linear.rotation_criteria import Geomin, Oblimin, Orthomax, Target

# The rotations, and their options with defaults. Kaiser's normalisation scales the loadings of each
# column to length 1 for the rotation.
ROTATIONS: dict[str, dict[str, Any]] = {
    "varimax": {"normalize": True},
    "quartimax": {"normalize": True},
    "equamax": {"normalize": True},
    "promax": {"normalize": True, "power": 4},
    "oblimin": {"normalize": False, "gamma": 0.0},
    "geomin": {"normalize": False, "epsilon": 0.01, "orthogonal": False},
    "target": {"normalize": False, "target": None, "orthogonal": False},
}
# Options that are numbers: limits, the lower one excluded, and the error's words for them.
_LIMITS = {
    "power": (1, 20, "greater than 1 and at most 20"),
    "epsilon": (0, 1, "greater than 0 and at most 1"),
    "gamma": (
        -100,
        0,
        "at most 0 (0 is quartimin; for greater ones the criterion has no minimum) and greater "
        "than -100",
    ),
}
_GREATEST_TARGET = 1e6
_OPTIONS = {name for options in ROTATIONS.values() for name in options}
MOST_IN_PLANES = 12  # number of factors up to which orthomax turns one pair after another
_STARTS = 60  # random starts times the number of factors, of which there are at most ten


def fixed_signs(rows):
    """Return rows with signs such that the entry of largest magnitude is positive.

    The signs of eigenvectors are arbitrary otherwise.
    """
    largest = np.abs(rows).argmax(axis=1)
    signs = np.sign(rows[np.arange(len(rows)), largest])
    return rows * np.where(signs == 0, 1.0, signs)[:, None]


# ---- options ----


def rotation_options(method, given, shape):
    """Return the options of a rotation, checked.

    Parameters
    ----------
    method : str or None
    given : dict or None
        The user's `rotation_options`.
    shape : tuple of int
        ``(d, k)``: the shape of a target.
    """
    given = {} if given is None else dict(given)
    known = ROTATIONS[method] if method is not None else {}
    for name in given:
        if name not in known:
            options = ", ".join(known) or "none"
            raise ValueError(
                f"rotation_options: rotation={method!r} has no option {shown(name)}; its "
                f"options: {options}"
            )
    options = known | given
    for name in ("normalize", "orthogonal"):
        if name in options:
            options[name] = scalars.as_flag(options[name], _named(name))
    for name, (low, high, expected) in _LIMITS.items():
        if name in options:
            scalars.check_number(options[name], _named(name))
            if not low < options[name] <= high:
                raise ValueError(f"{_named(name)} must be {expected}, got {options[name]}")
    if method == "target":
        options["target"] = _as_target(options["target"], shape)
    return options


def _named(name):
    return f"rotation_options[{name!r}]"


def _as_target(target, shape):
    if target is None:
        raise ValueError(
            "rotation='target' needs rotation_options={'target': T}, T an array (n_features, "
            "n_components) of loadings in which NaN is an entry without a target"
        )
    if isinstance(target, (list, tuple)):  # None may stand for NaN
        target = [
            [np.nan if entry is None else entry for entry in row]
            if isinstance(row, (list, tuple))
            else row
            for row in target
        ]
    target = check.as_array(target, _named("target"), 2).astype(np.float64)
    if target.shape != shape:
        raise ValueError(
            f"{_named('target')} must have shape (n_features, n_components) = {shape}, got "
            f"{target.shape}"
        )
    if (np.abs(target) > _GREATEST_TARGET).any() or np.isnan(target).all():
        raise ValueError(
            f"{_named('target')} must have entries of magnitude up to {_GREATEST_TARGET:g}, or NaN "
            "for some of them"
        )
    return target


def options_to_json(given):
    """Return `rotation_options` in types of JSON, null for the free entries of a target."""
    if not given:
        return given
    made = {}
    for name, value in given.items():
        if name == "target" and value is not None:
            rows = np.array(value, dtype=np.float64)
            value = [[None if np.isnan(x) else float(x) for x in row] for row in rows]
        made[name] = value.item() if isinstance(value, np.generic) else value
    return made


def options_of_json(value):
    """Return `rotation_options` as a file has them; ValueError for what cannot be options."""
    if value is None:
        return None
    if not isinstance(value, dict) or not set(value) <= _OPTIONS:
        raise ValueError(f"expected an object of rotation options, got {shown(value)}")
    for name, part in value.items():
        is_table = isinstance(part, list) and all(
            isinstance(row, list) and all(entry is None or type(entry) is float for entry in row)
            for row in part
        )
        if not (is_table if name == "target" else type(part) in (bool, int, float)):
            raise ValueError(f"rotation option {name!r}: got {shown(part)}")
    return value


# ---- rotations ----


def rotate(W, method, options=None):
    """Return rotated loadings (k, d) and the factors' covariance Φ; ``Wᵀ Φ W`` does not change.

    "varimax" (Kaiser 1958), "quartimax" and "equamax" are orthogonal: Φ is the identity. "promax"
    (Hendrickson & White 1964) fits oblique axes to powers of varimax's loadings. "oblimin"
    (Jennrich & Sampson 1966), "geomin" (Yates 1987) and "target" (Browne 1972) are oblique unless
    an option says otherwise. Φ has a diagonal of 1. Factors without loadings come last and are not
    rotated. A warning tells where no minimum of the criterion could be certified.

    Parameters
    ----------
    W : ndarray (k, d)
        Loadings in units of the columns' standard deviations.
    method : str or None
        One of ROTATIONS.
    options : dict, optional
        Result of `rotation_options`.
    """
    size = np.square(W).sum(axis=1)
    live = size > 1e-12 * size.max()
    if method is None or (live.sum() < 2 and method != "target"):
        return W[np.argsort(-size, kind="stable")], np.eye(len(W))
    options = ROTATIONS[method] if options is None else options
    if method == "target":
        return _rotated(W, method, options)
    rotated, Phi = np.zeros_like(W), np.eye(len(W))
    n = live.sum()
    rotated[:n], Phi[:n, :n] = _in_order(*_rotated(W[live], method, options))
    return rotated, Phi


def _rotated(W, method, options):
    """Return loadings and covariance Φ of factors in any order and with any signs."""
    k, d = W.shape
    length = np.linalg.norm(W, axis=0) if options["normalize"] else np.ones(d)
    scale = np.where(length > 0, length, 1.0)
    A = (W / scale).T
    if method in ("varimax", "quartimax", "equamax", "promax"):
        gamma = {"quartimax": 0.0, "equamax": k / 2}.get(method, 1.0)
        T = _orthomax(A, gamma, method)
        if method == "promax":
            T = T @ _promax(A @ T, options["power"])
            return linalg.solve(T, W), T.T @ T
        return T.T @ W, np.eye(k)
    criterion: Any = {
        "oblimin": lambda: Oblimin(options["gamma"]),
        "geomin": lambda: Geomin(options["epsilon"]),
        "target": lambda: Target(options["target"] / scale[:, None]),
    }[method]()
    is_orthogonal = options.get("orthogonal", False)
    matrices = Orthogonal() if is_orthogonal else Oblique()
    starts = [np.eye(k)]
    if method == "target":
        U, _, Vt = linalg.svd(A.T @ criterion.target)
        starts.insert(0, U @ Vt)
    else:
        starts.insert(0, _orthomax_descent(A, 1.0)[1](np.eye(k))[0])
    T = _certified(Problem(A, criterion, matrices), starts, method)
    if is_orthogonal:
        return T.T @ W, np.eye(k)
    return linalg.solve(T, W), T.T @ T


def _orthomax(A, gamma, method):
    """Return the orthogonal T for which ``A T`` maximises the criterion."""
    problem, descend = _orthomax_descent(A, gamma)
    return _certified(problem, [np.eye(A.shape[1])], method, descend)


def _orthomax_descent(A, gamma):
    """Return the problem, and its method of descent: by planes for few factors, else by slopes."""
    problem = Problem(A, Orthomax(gamma), Orthogonal())
    if A.shape[1] > MOST_IN_PLANES:
        return problem, problem.descend

    def descend(T):
        T, is_stationary = planar_rotations(A, gamma, T)
        return T, problem.value(T), is_stationary

    return problem, descend


def _certified(problem, starts, method, descend=None):
    """Return T of the lowest minimum from these starts and from random ones."""
    k = problem.A.shape[1]
    starts = [*starts, *random_orthogonal(k, min(10, _STARTS // k))]
    found = best_minimum(problem, starts, descend)
    if not found.is_minimum:
        warn(
            f"rotation={method!r} ended where no minimum of its criterion could be certified: "
            "fewer components, or another rotation, may help",
            ConvergenceWarning,
        )
    return found.T


def _promax(L, power):
    """Return the oblique T for which ``L T⁻ᵀ`` is near to powers of the loadings L (d, k)."""
    U = linalg.lstsq(L, L * np.abs(L) ** (power - 1))[0]
    inverse = linalg.inv(U)
    # Loadings L U, covariance U⁻¹ U⁻ᵀ, each factor scaled to variance 1.
    return (inverse / np.linalg.norm(inverse, axis=1, keepdims=True)).T


def _in_order(W, Phi):
    """Return factors in the order of falling sums of squares, their largest loadings positive.

    The sum of correlated factors is that of the products of pattern and structure.
    """
    order = np.argsort(-(W * (Phi @ W)).sum(axis=1), kind="stable")
    W, Phi = W[order], Phi[np.ix_(order, order)]
    signs = np.sign(W[np.arange(len(W)), np.abs(W).argmax(axis=1)])
    signs = np.where(signs == 0, 1.0, signs)
    return signs[:, None] * W, signs[:, None] * Phi * signs
