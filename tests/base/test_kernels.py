"""Compare every kernel with its float64 reference implementation.

Types, memory layouts, shapes, numbers of threads and instruction sets vary. The bound of each
comparison follows from the arithmetic, not from observed errors: see `reference/rounding.py`.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import autoencoder as reference
from reference.rounding import assert_within_rounding, rounding
from support.helpers import PLAIN_OUTPUTS
from support.layouts import DTYPES, LAYOUTS, strided
from support.textbook import Autoencoder

from aefast import ops
from aefast.networks import _autoencoder

OUTPUTS = PLAIN_OUTPUTS  # the others: test_recipe.py
BUILT_IN = [entry for entry in _autoencoder.output_table() if entry["name"] != "custom"]
ACTIVATIONS = [entry["name"] for entry in _autoencoder.activation_table()]
# No multiples of 16 lanes but (2, 64, 32); blocks hold up to 256 rows or columns, chunks 512 rows.
SHAPES = [(1, 1, 1), (1, 7, 3), (5, 1, 3), (3, 5, 1), (2, 64, 32), (33, 17, 9)]
SHAPES += [(129, 257, 65), (257, 33, 130), (513, 131, 19), (521, 18, 257), (1031, 3, 2)]
SHAPES += [(3, 2101, 301)]  # few rows: sums longer than a chunk in both directions


def result_type(dtype):
    return np.dtype(np.float32 if dtype in (np.float32, np.uint8, np.bool_) else np.float64)


def check_all_kernels(X, parameters, output, make_fitted, sample_weight=None, activation="sigmoid"):
    """Compare every result with the reference within rounding, with one thread and with two."""
    W, b, c, decoder_weights = parameters
    model = (X, parameters, output, activation)
    expected = reference.forward(*model)
    bound = rounding(*model, sample_weight=sample_weight)
    log_p = reference.log_likelihood(*model)
    row_losses = reference.row_losses(*model)
    entry_losses = reference.entry_losses(*model)
    expected_loss = reference.loss(*model, sample_weight=sample_weight)
    expected_gradients = reference.gradients(*model, sample_weight=sample_weight)
    dtype = result_type(X.dtype.type)

    for n_threads in (1, 2):
        estimator = make_fitted(
            X, parameters, output=output, activation=activation, n_threads=n_threads
        )
        H = ops.encode(X, W, b, activation=activation, n_threads=n_threads)
        assert H.dtype == dtype
        assert_within_rounding(H, expected.H, bound.H)
        assert_within_rounding(estimator.transform(X), expected.H, bound.H)
        X_hat = ops.decode(H, parameters.decoder, c, output=output, n_threads=n_threads)
        assert_within_rounding(X_hat, expected.X_hat, bound.X_hat)
        assert_within_rounding(estimator.inverse_transform(H), expected.X_hat, bound.X_hat)
        assert_within_rounding(estimator.reconstruct(X), expected.X_hat, bound.X_hat)

        errors = estimator.reconstruction_error(X)
        assert_within_rounding(errors.astype(dtype), row_losses, bound.row_losses)
        errors = estimator.reconstruction_error(X, per_feature=True)
        assert_within_rounding(errors, entry_losses, bound.entry_losses)
        scores = estimator.score_samples(X)
        assert_within_rounding(scores.astype(dtype), log_p, bound.row_losses + np.abs(log_p))

        options = {"decoder_weights": decoder_weights, "output": output}
        options |= {"sample_weight": sample_weight, "n_threads": n_threads}
        options |= {"activation": activation}
        loss = ops.loss(X, W, b, c, **options)
        assert_within_rounding(np.asarray(loss, dtype), expected_loss, bound.loss)
        loss, gradients = ops.loss_and_gradients(X, W, b, c, **options)
        assert_within_rounding(np.asarray(loss, dtype), expected_loss, bound.loss)
        for name in reference.Parameters._fields:
            actual, wanted = getattr(gradients, name), getattr(expected_gradients, name)
            if wanted is None:
                assert actual is None
            else:
                assert actual.dtype == dtype
                assert_within_rounding(actual, wanted, getattr(bound.gradients, name))


@pytest.mark.parametrize(
    "table, references",
    [
        (lambda: BUILT_IN, reference.OUTPUTS),
        (_autoencoder.activation_table, reference.ACTIVATIONS),
        (_autoencoder.solver_table, reference.SOLVERS),
    ],
)
def test_every_entry_of_a_table_has_its_reference(table, references):
    assert sorted(entry["name"] for entry in table()) == sorted(references)


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda entry: entry["name"])
def test_domains_and_constants_agree(entry):
    reference_output = reference.OUTPUTS[entry["name"]]
    np.testing.assert_allclose(
        (entry["low"], entry["high"]), (reference_output.low, reference_output.high), atol=1e-29
    )
    assert entry["is_group"] == reference_output.is_group
    assert (entry["parameter"] is None) == (reference_output.theta_gradient is None)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_types_and_layouts(dtype, layout, isa, make_problem, make_fitted):
    rng = np.random.default_rng(3)
    for output in OUTPUTS:
        for tied in (True, False):
            X, parameters = make_problem(37, 19, 11, tied=tied, dtype=result_type(dtype))
            if dtype not in (np.float32, np.float64):
                X = rng.integers(0, 2, X.shape).astype(dtype)
            X = LAYOUTS[layout](X)
            X.flags.writeable = tied
            before = X.copy()
            check_all_kernels(X, parameters, output, make_fitted)
            np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape, dtype, isa, make_problem, make_fitted):
    sample_weight = np.random.default_rng(4).uniform(0.0, 3.0, shape[0])
    for output in OUTPUTS:
        for tied in (True, False):
            X, parameters = make_problem(*shape, tied=tied, dtype=dtype)
            check_all_kernels(X, parameters, output, make_fitted, None if tied else sample_weight)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation, dtype, isa, make_problem, make_fitted):
    for shape in ((1, 1, 1), (33, 17, 9), (300, 21, 40)):
        for output in OUTPUTS:
            for tied in (True, False):
                X, parameters = make_problem(*shape, tied=tied, dtype=dtype)
                check_all_kernels(X, parameters, output, make_fitted, activation=activation)


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40)),
    steps=st.tuples(st.sampled_from([1, -1, 2, -3]), st.sampled_from([1, -1, 2])),
    output=st.sampled_from(OUTPUTS),
    tied=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_any_shape(shape, steps, output, tied, dtype, seed, make_problem, make_fitted):
    X, parameters = make_problem(*shape, tied=tied, dtype=dtype, seed=seed)
    X = strided(X, *steps)
    check_all_kernels(X, parameters, output, make_fitted)


@pytest.mark.parametrize("output", OUTPUTS)
def test_bytes_up_to_255(output, make_problem, make_fitted):
    """uint8 is read as numbers from 0 to 255: nothing is scaled, nothing wraps around."""
    low, high = reference.OUTPUTS[output].low, reference.OUTPUTS[output].high
    X = np.random.default_rng(5).integers(
        max(0, low), min(255, high), (41, 21), np.uint8, endpoint=True
    )
    _, parameters = make_problem(41, 21, 5, dtype=np.float32)
    parameters = parameters._replace(W=parameters.W / np.float32(X.max()))
    check_all_kernels(X, parameters, output, make_fitted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_bernoulli_far_from_zero(dtype, isa, make_fitted):
    """Pre-activations of ±1e4, beyond any probability, still have exact losses and gradients."""
    A_hat = np.array([1e4, 1e4, 1e4, -1e4, -1e4, -1e4, 30.0, -30.0], dtype)
    X = np.array([[0.0, 0.25, 1.0, 0.0, 0.25, 1.0, 1.0, 0.0]], dtype)
    tail = np.log1p(np.exp(-30.0))
    expected = np.array([[1e4, 7.5e3, 0.0, 0.0, 2.5e3, 1e4, tail, tail]])
    parameters = reference.Parameters(np.zeros((2, 8), dtype), np.zeros(2, dtype), A_hat)
    estimator = make_fitted(X, parameters, output="bernoulli")
    eps = float(np.finfo(dtype).eps)
    actual = estimator.reconstruction_error(X, per_feature=True)
    np.testing.assert_allclose(actual, expected, rtol=4 * eps)
    loss, gradients = ops.loss_and_gradients(X, *parameters[:3], output="bernoulli")
    assert loss == pytest.approx(expected.sum(), rel=4 * eps)
    residual = np.array([1.0, 0.75, 0.0, 0.0, -0.25, -1.0, -np.exp(-30.0), np.exp(-30.0)])
    np.testing.assert_allclose(gradients.c, residual, rtol=0, atol=eps)
    np.testing.assert_allclose(gradients.W, [0.5 * residual] * 2, rtol=0, atol=eps)
    np.testing.assert_array_equal(gradients.b, 0.0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_starting_point(output, activation):
    """b = 0, c the link of column means, W uniform in ±s √(6 / (d + k)), s = 4 for the sigmoid."""
    X = np.random.default_rng(6).uniform(0.1, 0.9, (5000, 11))
    reference_output = reference.OUTPUTS[output]
    for tied in (True, False):
        initial = Autoencoder(
            300, output=output, activation=activation, tied=tied, max_epochs=0, random_state=0
        ).fit(X)
        np.testing.assert_array_equal(initial.hidden_bias_, np.zeros(300))
        np.testing.assert_allclose(
            initial.visible_bias_, reference_output.link(X.mean(axis=0)), rtol=1e-12, atol=1e-12
        )
        r = (4.0 if activation == "sigmoid" else 1.0) * np.sqrt(6.0 / (11 + 300))
        for W in (initial.components_, initial.decoder_components_):
            assert 0.99 * r < np.abs(W).max() <= r
            assert abs(W.mean()) < 5 * r / np.sqrt(3 * W.size)  # five standard errors
            assert abs(np.mean(W**2) / (r**2 / 3) - 1) < 5 * np.sqrt(0.8 / W.size)
