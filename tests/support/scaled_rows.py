"""Rows whose columns have very different units, and their fits in scaled units."""

import numpy as np
from reference import scaling as reference_scaling

CENTRES = np.array([1e3, -40.0, 0.0, 7e-3, 2.5, 1e4, 0.3])
SPREADS = np.array([200.0, 1e-2, 1.0, 1e-3, 30.0, 0.5, 9.0])
QUICK = {"max_epochs": 3, "random_state": 0}


def rows_of(n=90, dtype=np.float64, seed=0):
    """Return rows whose columns have very different units, and depend on each other."""
    random = np.random.default_rng(seed)
    Z = random.normal(size=(n, 3)) @ random.normal(size=(3, 7)) + 0.3 * random.normal(size=(n, 7))
    if dtype == np.uint8:
        return np.clip(np.rint(40 * Z / Z.std(axis=0) + 90), 0, 255).astype(np.uint8)
    return (CENTRES + SPREADS * Z / Z.std(axis=0)).astype(dtype)


def as_scaled(ae, X):
    """Return X in the units of a fitted model, by the reference."""
    return reference_scaling.scaled(X, *ae._state.scaling[:2])


def without_scaling(ae, X):
    """Return an estimator with the same state that reads scaled rows."""
    plain = type(ae)(**ae.get_params()).set_params(scale=None)
    vars(plain).update({k: v for k, v in vars(ae).items() if k not in plain.get_params()})
    state = ae._state
    fill = (
        state.fill
        if state.fill is None
        else (state.fill - state.scaling.shift) * (1 / state.scaling.scale)
    )
    plain._state = state._replace(
        parameters=state.parameters.copy(),
        optimizer_state=state.optimizer_state.copy(),
        scaling=None,
        fill=fill,
    )
    return plain
