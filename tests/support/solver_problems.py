"""Training that is compared with the reference of solvers, schedules and limits on norms."""

import numpy as np
from reference import autoencoder as reference
from reference import solvers as reference_solvers

from support.textbook import Autoencoder

N, D, K, EPOCHS = 149, 37, 21, 3  # no multiples of anything; steps of 32 rows, the last shorter


def check_against_reference(X, *, tied=True, tolerance=1e-11, n_threads=None, **options):
    """Three epochs: every parameter, the optimizer's state and the losses are the reference's."""
    settings = {"batch_size": 32, **options}
    ae = Autoencoder(
        K, tied=tied, shuffle=False, tol=0, random_state=0, n_threads=n_threads, **settings
    )
    start = ae.set_params(max_epochs=0).fit(X)._state.parameters.copy()
    ae.set_params(max_epochs=EPOCHS).fit(X)
    parameters = reference.unflatten(start.astype(np.float64), K, X.shape[1], tied)
    orders = [np.arange(len(X))] * EPOCHS
    by_reference = reference_solvers.train(
        X, parameters, orders, **{"output": "gaussian"} | settings
    )
    expected = reference.flatten(by_reference.parameters)
    moved = np.abs(expected - start).max()
    assert moved > 1e-3
    scale = moved if X.dtype == np.float32 else 1.0
    np.testing.assert_allclose(ae._state.parameters, expected, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(
        ae._state.optimizer_state, by_reference.state, rtol=tolerance * 10, atol=tolerance
    )
    np.testing.assert_allclose(ae.loss_curve_, by_reference.loss_curve, rtol=tolerance)
    return ae, parameters
