"""Biases longer than a block of 256 columns: their gradient is summed block by block."""

import numpy as np
import pytest
from reference import autoencoder as reference
from reference import solvers as reference_solvers
from support.textbook import Autoencoder


@pytest.mark.parametrize("n_features, n_components", [(300, 3), (3, 300)])
def test_clip_norm_is_of_all_blocks(n_features, n_components, make_problem):
    X, _ = make_problem(40, n_features, n_components)
    options = {"solver": "sgd", "momentum": 0.0, "learning_rate": 0.01, "batch_size": 40}
    ae = Autoencoder(n_components, shuffle=False, tol=0, random_state=0, max_epochs=0, **options)
    start = ae.fit(X)._state.parameters.copy()
    ae.set_params(max_epochs=1, clip_norm=0.1).fit(X)
    parameters = reference.unflatten(start, n_components, n_features, True)
    expected = reference_solvers.train(
        X, parameters, [np.arange(40)], output="gaussian", clip_norm=0.1, **options
    )
    moved = reference.flatten(expected.parameters) - start
    np.testing.assert_allclose(ae._state.parameters - start, moved, rtol=1e-9, atol=1e-12)
