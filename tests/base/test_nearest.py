"""Distances to the nearest references: the kernel against its reference."""

import numpy as np
import pytest
from reference import nearest as reference
from support.layouts import DTYPES, LAYOUTS

from aefast._base import _statistics
from aefast._base.arrays import ANYWHERE
from aefast._base.nearest import MOST_RANK, nearest_references

# n, d, number of sets, of references, rank
SHAPES = [
    (1, 1, 1, 1, 1),
    (3, 2, 2, 5, 5),
    (17, 7, 3, 4, 2),
    (33, 31, 2, 63, 4),
    (100, 5, 1, 130, MOST_RANK),
    (47, 130, 5, 9, 3),
]


def problem(shape, dtype=np.float64):
    n, d, n_sets, m, rank = shape
    rng = np.random.default_rng(sum(shape))
    X = (rng.normal(size=(n, d)) * 3 + 1).astype(dtype)
    units = rng.normal(size=d), rng.uniform(0.5, 2, d)
    return X, rng.normal(size=(n_sets, m, d)), rank, units


def check(X, references, rank, units, rounding):
    distance, place = nearest_references(X, references, units, rank)
    expected, every = reference.nearest(X, references, rank, *units)
    bound = rounding * (X.shape[1] + 4) * (np.nanmax(np.abs(X)) + 10) * X.shape[1]
    np.testing.assert_allclose(distance, expected, atol=bound, rtol=0)
    found = np.take_along_axis(every, place[:, :, None].astype(np.intp), axis=2)[:, :, 0]
    np.testing.assert_allclose(found, expected, atol=bound, rtol=0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("missing", [False, True])
def test_shapes(shape, missing, isa):
    X, references, rank, units = problem(shape)
    if missing:
        X[np.random.default_rng(0).random(X.shape) < 0.3] = np.nan
    check(X, references, rank, units, np.finfo(np.float32).eps)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_of_both_types(shape, dtype, isa):
    X, references, rank, units = problem(shape, dtype)
    references = references.astype(dtype)
    out = np.empty((len(X), len(references))), np.empty((len(X), len(references)), np.int32)
    status = _statistics.nearest(X, references, rank, units, ANYWHERE, False, 2, *out)
    expected, _ = reference.nearest(X, references, rank, *units)
    bound = np.finfo(dtype).eps * X.shape[1] ** 2 * 40
    assert status == 0
    np.testing.assert_allclose(out[0], expected, atol=bound, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_types_and_layouts(dtype, layout):
    X, references, rank, units = problem(SHAPES[3])
    X = LAYOUTS[layout](np.abs(X).astype(dtype) if dtype != np.bool_ else X > 0)
    if X.dtype not in (np.float32, np.float64, np.uint8, np.bool_):
        X = X.astype(np.float64)
    X = X if X.strides[1] == X.itemsize else np.ascontiguousarray(X)
    check(X, references, rank, units, np.finfo(np.float32).eps)


def test_same_bits_for_any_number_of_threads_and_rows(isa):
    X, references, rank, units = problem(SHAPES[3])
    X = np.tile(X, (9, 1))
    whole = nearest_references(X, references, units, rank, n_threads=1)
    for n_threads in (2, 5):
        found = nearest_references(X, references, units, rank, n_threads=n_threads)
        assert [a.tobytes() for a in found] == [a.tobytes() for a in whole]
    for i in (0, 17, 200):
        one = nearest_references(X[i : i + 1], references, units, rank)
        assert one[0].tobytes() == whole[0][i : i + 1].tobytes()


def test_rows_beyond_float32_are_scored_in_float64():
    X, references, rank, units = problem(SHAPES[2])
    X[3, 1], X[5, 2] = 1e300, np.nan
    check(X[[3]], references, rank, units, 1e-16)
    distance, _ = nearest_references(X, references, units, rank)
    assert np.isfinite(distance).all() and (distance[3] > 1e299).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_entries_are_named(value):
    X, references, rank, units = problem(SHAPES[2])
    X[4, 2] = value
    with pytest.raises(ValueError, match=r"row 4, column 2"):
        nearest_references(X, references, units, rank)


def test_overflow_names_the_row():
    X, references, rank, units = problem(SHAPES[2])
    X[6] = 1.7e308
    with pytest.raises((FloatingPointError, ValueError), match=r"row 6"):
        nearest_references(X, references, units, rank)
