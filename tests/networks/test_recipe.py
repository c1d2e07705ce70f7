"""Every distribution against its reference and the others: mixed tables, gaps, weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import autoencoder as reference
from reference import outputs as reference_outputs
from reference.autoencoder import Parameters, flatten, unflatten
from reference.distributions import OUTPUTS
from reference.rounding import assert_within_rounding, rounding
from sklearn.base import clone
from support.problems import (
    ALL_OUTPUTS,
    assert_same_gradients,
    fixes_parameter,
    mixed_output,
    output_parameters_of,
    parameters_of,
    reference_output,
    reference_output_with_thetas,
    rows_of,
    step,
    thetas_of,
)
from support.textbook import Autoencoder

from aefast import ops
from aefast.distributions import FAMILIES
from aefast.networks import _autoencoder

ACTIVATIONS = [entry["name"] for entry in _autoencoder.activation_table()]
ELEMENTWISE = [name for name, output in OUTPUTS.items() if not output.is_group]
SHAPES = [(1, 1, 1), (5, 3, 1), (33, 17, 9), (129, 65, 31), (257, 130, 33), (521, 18, 7)]
D, K = 9, 5


def problem(output, n=23, d=D, k=K, tied=True, seed=0):
    """(X, parameters, theta, keyword arguments of `ops`)"""
    X, parameters, theta = (
        rows_of(output, n, d, seed),
        parameters_of(d, k, tied),
        thetas_of(output, d),
    )
    options = {"decoder_weights": parameters.decoder_weights, "output": output}
    return (
        X,
        parameters,
        theta,
        options | {"output_parameters": output_parameters_of(output, theta)},
    )


def assert_close(actual, expected, tolerance):
    """In units of the largest expected entry."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# ---- kernels against the reference ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", [*OUTPUTS, "mixed"])
def test_ops_match_the_reference(name, dtype, isa):
    """Loss, gradients and means of tables of all sizes, within the rounding of the arithmetic."""
    for n, d, k in SHAPES:
        output = mixed_output(d, seed=d) if name == "mixed" else name
        X, parameters, theta, options = problem(output, n, d, k, tied=n % 2 == 0)
        scale = 1 / np.sqrt(k)
        parameters = Parameters(
            *(None if part is None else (part * scale).astype(dtype) for part in parameters)
        )
        X, theta = X.astype(dtype), theta.astype(dtype).astype(np.float64)
        options["decoder_weights"] = parameters.decoder_weights
        weight = np.random.default_rng(5).uniform(0.2, 2.0, n)
        expected_output = reference_output_with_thetas(output, theta)
        bound = rounding(X, parameters, expected_output, sample_weight=weight)
        loss, gradients = ops.loss_and_gradients(
            X, parameters.W, parameters.b, parameters.c, sample_weight=weight, **options
        )
        expected = reference.loss(X, parameters, expected_output, sample_weight=weight)
        assert_within_rounding(np.asarray(loss, dtype), expected, bound.loss, slack=6.0)
        expected_gradients = reference.gradients(
            X, parameters, expected_output, sample_weight=weight
        )
        for part in Parameters._fields[: 3 if parameters.decoder_weights is None else 4]:
            mine = getattr(gradients, part)
            assert mine.dtype == dtype
            assert_within_rounding(
                mine, getattr(expected_gradients, part), getattr(bound.gradients, part), slack=6.0
            )
        check_theta_gradients(
            gradients.output_parameters, X, parameters, output, expected_output, weight, dtype
        )
        H = ops.encode(X, parameters.W, parameters.b)
        means = ops.decode(H, parameters.decoder, parameters.c, output=output)
        A_hat = reference.forward(X, parameters, expected_output).A_hat
        expected = reference_outputs.means(None, A_hat, expected_output)
        assert_within_rounding(means, expected, bound.X_hat + np.abs(expected), slack=6.0)


def check_theta_gradients(actual, X, parameters, output, expected_output, weight, dtype):
    """Zero where nothing is learnt; a fixed parameter has none."""
    expected = {name: np.zeros(X.shape[1]) for name in actual}
    parts = reference.theta_gradients(X, parameters, expected_output, sample_weight=weight)
    given = output if isinstance(output, list) else [(output, None)]
    for segment, part, (distribution, _) in zip(expected_output, parts, given, strict=True):
        if part is not None and not fixes_parameter(distribution):
            expected[FAMILIES[segment.name].parameter][segment.columns] = part
    for name, values in expected.items():
        tolerance = {np.float32: 2e-4, np.float64: 1e-11}[dtype]
        np.testing.assert_allclose(
            actual[name], values, rtol=0, atol=tolerance * (1 + np.abs(values).max())
        )


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ALL_OUTPUTS)
def test_finite_differences(name, activation, tied):
    """Gradients equal differences of the kernels' loss, to a relative 1e-7 in float64."""
    output = ALL_OUTPUTS[name]
    X, parameters, theta, options = problem(output, 7, tied=tied)
    n_parameters, options = len(flatten(parameters)), options | {"activation": activation}

    def loss(vector):
        W, b, c, V = unflatten(vector[:n_parameters], K, D, tied)
        of_theta = output_parameters_of(output, vector[n_parameters:])
        return ops.loss(
            X, W, b, c, **(options | {"decoder_weights": V, "output_parameters": of_theta})
        )

    W, b, c, _ = parameters
    _, gradients = ops.loss_and_gradients(X, W, b, c, **options)
    at = np.concatenate([flatten(parameters), theta])
    differences = reference.finite_differences(loss, at, step=2e-4)  # short: losses may have kinks
    expected = unflatten(differences[:n_parameters], K, D, tied)
    assert_same_gradients(Parameters(*gradients[:4]), expected, 1e-7)
    learnt = np.zeros(D)
    for values in gradients.output_parameters.values():
        learnt += values
    fixed = [segment.columns for segment, given in segments_and_options(output) if given]
    moving = np.setdiff1d(np.arange(D), np.concatenate([np.arange(0), *fixed]))
    np.testing.assert_allclose(
        learnt[moving], differences[n_parameters:][moving], rtol=1e-6, atol=1e-9
    )


def segments_and_options(output):
    given = output if isinstance(output, list) else [(output, None)]
    segments = reference_outputs.segments(reference_output(output), D)
    return [
        (segment, fixes_parameter(distribution))
        for segment, (distribution, _) in zip(segments, given, strict=True)
    ]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 40),
    d=st.integers(1, 40),
    k=st.integers(1, 20),
    seed=st.integers(0, 2**31),
    size=st.floats(0.0, 3.0),
)
def test_any_table_of_mixed_columns(n, d, k, seed, size):
    """Columns dealt out at random among distributions, with parameters of any size."""
    output = mixed_output(d, seed)
    X, parameters, theta, options = problem(output, n, d, k)
    W, b, c, _ = Parameters(*(None if part is None else size * part for part in parameters))
    expected_output = reference_output_with_thetas(output, theta)
    expected = reference.gradients(X, Parameters(W, b, c), expected_output)
    loss, gradients = ops.loss_and_gradients(X, W, b, c, **options)
    assert loss == pytest.approx(
        reference.loss(X, Parameters(W, b, c), expected_output), rel=1e-10, abs=1e-10
    )
    largest = max(np.abs(part).max() for part in expected[:3])  # of terms that may cancel in one
    for name in Parameters._fields[:3]:
        actual, wanted = getattr(gradients, name), getattr(expected, name)
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-9 * largest)


# ---- invariants ----


@pytest.mark.parametrize("name", ALL_OUTPUTS)
def test_a_weight_of_two_is_the_row_twice(name):
    output = ALL_OUTPUTS[name]
    X, (W, b, c, _), _, options = problem(output)
    v = np.random.default_rng(7).integers(0, 3, len(X)).astype(float)
    copies = np.repeat(X, v.astype(int), axis=0)
    loss, weighted = ops.loss_and_gradients(X, W, b, c, sample_weight=v, **options)
    loss_of_copies, twice = ops.loss_and_gradients(copies, W, b, c, **options)
    assert loss == pytest.approx(loss_of_copies, rel=1e-13)
    for part in ("W", "b", "c"):
        assert_close(getattr(weighted, part), getattr(twice, part), 1e-12)
    for key, values in weighted.output_parameters.items():
        assert_close(values, twice.output_parameters[key], 1e-12)


@pytest.mark.parametrize("name", ALL_OUTPUTS)
def test_a_weight_of_two_is_the_row_twice_in_full_batches(name):
    """A whole fit agrees but for the last bits of sums."""
    output = ALL_OUTPUTS[name]
    X = rows_of(output, 30)
    v = np.r_[np.full(10, 2.0), np.ones(15), np.zeros(5)]
    ae = Autoencoder(K, output=output, batch_size=100, shuffle=False, tol=0, random_state=0)
    ae.set_params(max_epochs=20, solver="sgd", learning_rate=0.01, momentum=0.5)
    weighted = clone(ae).fit(X, sample_weight=v)
    copies = clone(ae).fit(np.repeat(X, v.astype(int), axis=0))
    np.testing.assert_allclose(weighted.components_, copies.components_, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(weighted.visible_bias_, copies.visible_bias_, rtol=1e-9, atol=1e-11)
    for key, values in weighted.output_parameters_.items():
        np.testing.assert_allclose(values, copies.output_parameters_[key], rtol=1e-9, atol=1e-11)
    assert weighted.score(X, sample_weight=v) == pytest.approx(
        copies.score(np.repeat(X, v.astype(int), axis=0)), rel=1e-12
    )


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_column_of_gaps_is_no_column(name):
    """Masking everything in it: the other parameters move as if it were not there."""
    X, others = rows_of(name, 25), np.delete(np.arange(D), 4)
    parameters, theta = parameters_of(D, K, True), np.zeros(D)
    X[:, 4] = np.nan
    W, b, c, _ = parameters
    without = Parameters(W[:, others].copy(), b, c[others].copy())
    options = {"output": name, "missing": "mask", "missing_fill": "zero"}
    loss, gradients, _, _ = step(X, parameters, theta, **options)
    loss_without, expected, _, _ = step(X[:, others], without, theta[others], **options)
    assert loss == pytest.approx(loss_without, rel=1e-13)
    assert_close(gradients.W[:, others], expected.W, 1e-12)
    assert_close(gradients.b, expected.b, 1e-12)
    assert not gradients.W[:, 4].any()
    assert gradients.c[4] == 0.0


@pytest.mark.parametrize("name", ALL_OUTPUTS)
def test_permuted_columns_permute_results(name):
    output, order = ALL_OUTPUTS[name], np.random.default_rng(8).permutation(D)
    X, (W, b, c, _), theta, options = problem(output)
    place = np.argsort(order)
    moved = output
    if isinstance(output, list):
        moved = [(given, sorted(int(i) for i in place[columns])) for given, columns in output]
    loss, gradients = ops.loss_and_gradients(X, W, b, c, **options)
    options |= {"output": moved, "output_parameters": output_parameters_of(moved, theta[order])}
    permuted_loss, permuted = ops.loss_and_gradients(
        X[:, order], W[:, order], b, c[order], **options
    )
    assert permuted_loss == pytest.approx(loss, rel=1e-13)
    assert_close(permuted.W, gradients.W[:, order], 1e-12)
    assert_close(permuted.c, gradients.c[order], 1e-12)
    for key, values in gradients.output_parameters.items():
        assert_close(permuted.output_parameters[key], values[order], 1e-12)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_columns_of_one_type_may_be_split(name):
    """To the last bit: parts of equal distributions are one."""
    X, (W, b, c, _), _, options = problem(name)
    whole = ops.loss_and_gradients(X, W, b, c, **options)
    split = [(name, [8, 2, 0]), (name, slice(3, 8)), (name, 1)]
    parts = ops.loss_and_gradients(X, W, b, c, **(options | {"output": split}))
    assert whole[0] == parts[0]
    for one, other in zip(whole[1][:3], parts[1][:3], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "one, other",
    [
        ("exponential", ("gamma", {"shape": 1.0})),
        ("gaussian", ("huber", {"delta": 1e6})),
        ("laplace", ("huber", {"delta": 1e-9})),
        ("poisson", ("negative_binomial", {"r": 1e9})),
    ],
)
def test_special_cases_of_each_other(one, other):
    """Also where a table's columns are split between the two."""
    X, (W, b, c, _), _, _ = problem(one)
    name = other[0]
    scale = 1e9 if other[1].get("delta") == 1e-9 else 1.0  # the slope of a tiny huber
    tolerance = 1e-6 if name == "negative_binomial" or scale != 1.0 else 1e-12
    expected = ops.loss_and_gradients(X, W, b, c, output=one)[1]
    actual = ops.loss_and_gradients(X, W, b, c, output=other)[1]
    assert_close(scale * actual.W, expected.W, tolerance)
    if scale == 1.0:
        split = [(one, slice(0, 5)), (other, slice(5, D))]
        assert_close(ops.loss_and_gradients(X, W, b, c, output=split)[1].W, expected.W, tolerance)
