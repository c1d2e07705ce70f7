"""Gradients of the kernels against finite differences of their loss, and against each other."""

import numpy as np
import pytest
from reference import autoencoder as reference
from reference.autoencoder import Parameters, flatten, unflatten
from reference.rounding import assert_within_rounding, rounding
from support.helpers import PLAIN_OUTPUTS

from aefast import ops
from aefast.networks import _autoencoder

OUTPUTS = PLAIN_OUTPUTS  # the others: test_recipe.py
ACTIVATIONS = [entry["name"] for entry in _autoencoder.activation_table()]


def kernel_loss(vector, X, shape, tied, **options):
    W, b, c, decoder_weights = unflatten(vector, *shape, tied)
    return ops.loss(X, W, b, c, decoder_weights=decoder_weights, **options)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_finite_differences(output, activation, tied, weighted, isa, make_problem):
    """Relative error under 1e-8 in float64; the differences themselves are good to some 1e-12."""
    n, d, k = 7, 9, 5
    X, parameters = make_problem(n, d, k, tied=tied)
    sample_weight = np.random.default_rng(1).uniform(0.0, 2.0, n) if weighted else None
    W, b, c, decoder_weights = parameters
    options = {"output": output, "activation": activation, "sample_weight": sample_weight}
    _, gradients = ops.loss_and_gradients(X, W, b, c, decoder_weights=decoder_weights, **options)
    differences = reference.finite_differences(
        lambda vector: kernel_loss(vector, X, (k, d), tied, **options), flatten(parameters)
    )
    expected = unflatten(differences, k, d, tied)
    for name in Parameters._fields:
        actual, wanted = getattr(gradients, name), getattr(expected, name)
        if wanted is not None:
            assert np.abs(actual - wanted).max() < 1e-8 * np.abs(wanted).max(), name


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_finite_differences_of_the_reference(output, activation, tied, make_problem):
    """The reference is held to what it holds the kernels to, penalty included."""
    n, d, k = 6, 5, 4
    X, parameters = make_problem(n, d, k, tied=tied, seed=2)
    sample_weight = np.random.default_rng(3).uniform(0.0, 2.0, n)
    options = {"output": output, "activation": activation}
    options |= {"sample_weight": sample_weight, "alpha": 0.3}
    actual = flatten(reference.gradients(X, parameters, **options))
    expected = reference.finite_differences(
        lambda vector: reference.loss(X, unflatten(vector, k, d, tied), **options),
        flatten(parameters),
    )
    assert np.abs(actual - expected).max() < 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("output", OUTPUTS)
def test_tied_gradient_is_the_sum_of_its_parts(output, dtype, isa, make_problem):
    """Untied weights that happen to be equal give the encoder's and the decoder's part apart."""
    for shape in ((1, 1, 1), (33, 17, 9), (521, 131, 67)):
        X, (W, b, c, _) = make_problem(*shape, dtype=dtype)
        tied_loss, tied = ops.loss_and_gradients(X, W, b, c, output=output)
        untied_loss, untied = ops.loss_and_gradients(
            X, W, b, c, decoder_weights=W.copy(), output=output
        )
        assert tied.decoder_weights is None
        assert tied_loss == untied_loss
        bound = rounding(X, Parameters(W, b, c), output).gradients
        parts = untied.W.astype(np.float64) + untied.decoder_weights
        assert_within_rounding(tied.W, parts, bound.W)
        assert_within_rounding(tied.b, untied.b, bound.b)
        assert_within_rounding(tied.c, untied.c, bound.c)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_weight_of_two_is_the_row_twice(output, tied, make_problem):
    X, parameters = make_problem(45, 13, 6, tied=tied)
    W, b, c, decoder_weights = parameters
    options = {"decoder_weights": decoder_weights, "output": output}
    v = np.random.default_rng(7).integers(0, 3, len(X)).astype(float)  # zeros leave rows out
    repeated = np.repeat(X, v.astype(int), axis=0)
    loss, weighted = ops.loss_and_gradients(X, W, b, c, sample_weight=v, **options)
    loss_of_copies, copies = ops.loss_and_gradients(repeated, W, b, c, **options)
    assert loss == pytest.approx(loss_of_copies, rel=1e-14)
    assert ops.loss(X, W, b, c, sample_weight=v, **options) == pytest.approx(loss, rel=1e-14)
    bound = rounding(X, parameters, output, sample_weight=v).gradients
    for name in Parameters._fields[: 3 if tied else 4]:
        assert_within_rounding(getattr(weighted, name), getattr(copies, name), getattr(bound, name))


@pytest.mark.parametrize("output", OUTPUTS)
def test_only_the_ratios_of_weights_matter(output, make_problem):
    X, (W, b, c, _) = make_problem(45, 13, 6)
    v = np.random.default_rng(8).uniform(0.1, 2.0, len(X))
    loss, gradients = ops.loss_and_gradients(X, W, b, c, output=output, sample_weight=v)
    for factor in (1e-6, 1e6):
        scaled_loss, scaled = ops.loss_and_gradients(
            X, W, b, c, output=output, sample_weight=factor * v
        )
        assert scaled_loss == pytest.approx(loss, rel=1e-13)
        np.testing.assert_allclose(scaled.W, gradients.W, rtol=1e-12, atol=1e-14)
    unweighted, _ = ops.loss_and_gradients(X, W, b, c, output=output)
    equal, _ = ops.loss_and_gradients(X, W, b, c, output=output, sample_weight=np.full(len(X), 3.0))
    assert equal == pytest.approx(unweighted, rel=1e-13)
