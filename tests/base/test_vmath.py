"""Errors of the elementary functions in units in the last place (ULP).

They are measured against mpmath and, for every float32, against float64.
"""

from functools import cache

import mpmath
import numpy as np
import pytest
from reference import autoencoder as reference

from aefast import ops

FUNCTIONS = ("sigmoid", "softplus")
LARGEST = np.finfo(np.float32).max
MAX_ULP = {np.float32: 2.0, np.float64: 4.0}


def exact(function, x):
    """The value at one number to some 100 bits."""
    if function == "tanh":
        return mpmath.tanh(x)
    e = mpmath.exp(x)
    return mpmath.log1p(e) if function == "softplus" else e / (1 + e)


@cache
def exact_sample(function, dtype):
    """Exact values of a function at `sample(dtype)`, and the type's spacing at each of them.

    The spacing is constant below the smallest normal number.
    """
    values, spacings = [], []
    largest = np.finfo(dtype).max / 2  # beyond, the spacing itself overflows
    with mpmath.workprec(120):
        for argument in sample(dtype):
            value = exact(function, mpmath.mpf(float(argument)))
            values.append(value)
            spacings.append(float(np.spacing(min(dtype(abs(value)), largest))))
    return values, spacings


def ulp_errors(actual, function, dtype):
    """The error of each element at `sample(dtype)` in units of the spacing at the exact value."""
    errors = np.empty(actual.size)
    values, spacings = exact_sample(function, dtype)
    with mpmath.workprec(120):
        for i, (y, value) in enumerate(zip(actual.ravel(), values, strict=True)):
            errors[i] = abs(mpmath.mpf(float(y)) - value) / mpmath.mpf(spacings[i])
    return errors


def sample(dtype):
    """Numbers of both signs from every binade, the subnormal ones included.

    More of them lie in the range in which the functions bend, and at its edges.
    """
    rng = np.random.default_rng(0)
    limits = np.finfo(dtype)
    lowest = int(np.log2(float(limits.smallest_normal))) - limits.nmant
    exponents = np.repeat(np.arange(lowest, limits.maxexp), 2 if dtype is np.float64 else 8)
    binades = np.ldexp(rng.uniform(1.0, 2.0, exponents.size).astype(dtype), exponents)
    edge = -np.log(float(limits.smallest_subnormal))
    bend = rng.uniform(0.0, 1.1 * edge, 3000).astype(dtype)
    middle = rng.uniform(0.0, 2.0, 3000).astype(dtype)
    thresholds = np.array(
        [edge, -np.log(float(limits.tiny)), -np.log(limits.eps), np.log(2.0)], dtype
    )
    near_thresholds = np.concatenate(
        [thresholds, *(np.nextafter(thresholds, side) for side in (0, np.inf))]
    )
    extremes = np.array([0.0, limits.smallest_subnormal, limits.tiny, limits.max, 1.0], dtype)
    x = np.concatenate([binades, bend, middle, near_thresholds, extremes]).astype(dtype)
    return np.concatenate([x, -x])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_ulp_over_all_binades(function, dtype, isa):
    x = sample(dtype)
    actual = getattr(ops, function)(x)
    assert actual.dtype == dtype
    errors = ulp_errors(actual, function, dtype)
    worst = np.argmax(errors)
    assert errors[worst] <= MAX_ULP[dtype], (
        f"{errors[worst]:.2f} ULP at {x[worst]!r}: {actual[worst]!r}"
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_ulp_over_all_binades(dtype, isa):
    """There is no `ops.tanh`: a unit with weight 1 and bias 0 computes it."""
    x = sample(dtype)
    actual = ops.encode(
        x[:, np.newaxis], np.ones((1, 1), dtype), np.zeros(1, dtype), activation="tanh"
    )
    errors = ulp_errors(actual, "tanh", dtype)
    worst = np.argmax(errors)
    assert errors[worst] <= MAX_ULP[dtype], f"{errors[worst]:.2f} ULP at {x[worst]!r}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(dtype, isa):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)
    limits = np.finfo(dtype)
    np.testing.assert_array_equal(ops.sigmoid(x), np.array([0.5, 0.5, 1.0, 0.0, np.nan], dtype))
    log_2 = dtype(np.log(2.0))
    np.testing.assert_array_equal(
        ops.softplus(x), np.array([log_2, log_2, np.inf, 0.0, np.nan], dtype)
    )
    huge = np.array([limits.max, 1e30, 1e4], dtype)
    np.testing.assert_array_equal(ops.sigmoid(huge), np.ones(3, dtype))
    np.testing.assert_array_equal(ops.sigmoid(-huge), np.zeros(3, dtype))
    np.testing.assert_array_equal(ops.softplus(huge), huge)
    np.testing.assert_array_equal(ops.softplus(-huge), np.zeros(3, dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_value_does_not_depend_on_its_place(function, dtype, isa):
    """The tail of an array, shorter than a vector, gets the same bits as its middle."""
    x = np.random.default_rng(1).normal(scale=5.0, size=71).astype(dtype)
    apply = getattr(ops, function)
    alone = np.array([apply(x[i : i + 1])[0] for i in range(x.size)])
    for start in (0, 1, 3):
        for stop in range(start, x.size + 1):
            np.testing.assert_array_equal(apply(x[start:stop]), alone[start:stop])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_shapes_and_types(function):
    apply, reference_function = getattr(ops, function), getattr(reference, function)
    x = np.random.default_rng(2).normal(size=(3, 5, 4))
    for view in (x, x[:, ::2], x.T, np.asfortranarray(x), x[::-1], x[0, 0, 0], x[:0]):
        np.testing.assert_allclose(apply(view), reference_function(view), rtol=1e-14)
        assert np.shape(apply(view)) == view.shape
    for argument, dtype in (
        (x.astype(np.float32), np.float32),
        (np.arange(3, dtype=np.uint8), np.float32),
        (np.array([True, False]), np.float32),
        (np.arange(-3, 3), np.float64),
        ([0.5, -1.0], np.float64),
        (2.0, np.float64),
    ):
        result = apply(argument)
        assert result.dtype == dtype
        np.testing.assert_allclose(
            result, reference_function(np.asarray(argument, np.float64)), rtol=1e-6
        )


def test_the_argument_is_left_as_it_was():
    x = np.linspace(-5.0, 5.0, 101)
    before = x.copy()
    x.flags.writeable = False
    assert ops.sigmoid(x) is not x
    ops.softplus(x)
    np.testing.assert_array_equal(x, before)


def check_float32(function, bits):
    """Check bit patterns against the float64 reference, which is right to a few 1e-16."""
    x = bits.astype(np.uint32).view(np.float32)
    actual = getattr(ops, function)(x)
    number = ~np.isnan(x)
    assert np.array_equal(np.isnan(actual), ~number)
    x, actual = x[number], actual[number]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        expected = getattr(reference, function)(x.astype(np.float64))
        rounded = expected.astype(np.float32)
        finite = np.isfinite(rounded)
        spacing = np.spacing(np.minimum(rounded[finite], LARGEST / 2))  # beyond, it overflows
        errors = np.abs(actual - expected)[finite] / spacing
    assert np.array_equal(actual[~finite], rounded[~finite])
    for worst in np.flatnonzero(errors == errors.max(initial=0.0))[:1]:
        assert errors[worst] <= MAX_ULP[np.float32], f"{errors[worst]} ULP at {x[finite][worst]!r}"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_one_float32_in_a_thousand(function, isa):
    """Some eight thousand numbers of each binade."""
    check_float32(function, np.arange(0, 1 << 32, 1021, dtype=np.uint64))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_float32_where_errors_are_largest(function, isa):
    """Below softplus(x) = 1/2 an ULP is half an ULP of exp(x).

    Without fused multiply-adds softplus was off by 2.018 ULP at the middle number.
    """
    middle = int(np.float32(-0.4402959).view(np.uint32))
    check_float32(function, np.arange(middle - (1 << 15), middle + (1 << 15), dtype=np.uint64))


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_float32(function, isa):
    chunk = 1 << 22
    for first in range(0, 1 << 32, chunk):
        check_float32(function, np.arange(first, first + chunk, dtype=np.uint64))
