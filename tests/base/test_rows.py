"""Checks of a table of rows in the base: whether kernels can read it, faults that a pass finds."""

import numpy as np
import pytest

from aefast._base import _rows, _statistics
from aefast._base.arrays import ANYWHERE
from aefast._base.errors import TableName
from aefast._base.scan import scan_rows
from aefast.sparse_coding import _sparse_coding

FLOAT64 = np.dtype(np.float64)
ROW_TYPES = [np.float32, np.float64, np.uint8, np.bool_]
STRANGE_TYPES = [np.int8, np.int64, np.float16, np.longdouble, np.complex64, "M8[s]", object]


def table(dtype=np.float64, n=531, d=277):
    """More columns than a kernel sums at a time."""
    return np.random.default_rng(0).integers(0, 5, (n, d)).astype(dtype)


def kernel_calls(X):
    """A call of each extension that reads rows of X (n, 3)."""
    sums, zeros, eye = np.zeros(3), np.zeros(3), np.eye(3)
    encoder = _sparse_coding.Encoder(
        eye,
        algorithm="threshold",
        alpha=1.0,
        tol=0.1,
        max_iter=1,
        positive=False,
        n_nonzero=3,
        target=0.0,
        step=0.0,
        weights=None,
        n_threads=1,
        prepare_threads=1,
    )
    return {
        "scan": lambda: _rows.scan(X, None, ANYWHERE, zeros, 1, sums, np.zeros(3)),
        "accumulate": lambda: _statistics.Accumulator(zeros, 1).add(X),
        "project": lambda: _statistics.project(X, zeros, eye, ANYWHERE, 1, 1, Z=np.empty((2, 3))),
        "encode": lambda: encoder.code(X, ANYWHERE, codes=np.empty((2, 3))),
    }


@pytest.mark.parametrize("dtype", STRANGE_TYPES, ids=str)
@pytest.mark.parametrize("kernel", ["scan", "accumulate", "project", "encode"])
def test_a_row_type_that_the_loader_does_not_know_is_an_error(kernel, dtype):
    X = np.zeros((2, 3), dtype)
    with pytest.raises(TypeError, match="float32, float64, uint8 or bool, got"):
        kernel_calls(X)[kernel]()


@pytest.mark.parametrize("dtype", ROW_TYPES)
@pytest.mark.parametrize("kernel", ["scan", "accumulate", "project", "encode"])
def test_row_types_that_the_loader_knows_are_read(kernel, dtype):
    assert kernel_calls(np.ones((2, 3), dtype))[kernel]() == 0


@pytest.mark.parametrize("dtype", ROW_TYPES)
@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("with_extremes", [False, True])
def test_a_scan_is_numpys_sums(dtype, some, weighted, with_extremes):
    X = table(dtype)
    rows = np.flatnonzero(np.arange(len(X)) % 3) if some else len(X)
    weight = np.random.default_rng(1).integers(0, 3, len(X)).astype(float) if weighted else None
    options = {"sample_weight": weight, "with_extremes": with_extremes}
    found = scan_rows(X, rows, FLOAT64, 1, **options)
    chosen = (X[rows] if some else X).astype(np.float64)
    expected = np.average(chosen, axis=0, weights=weight[rows] if weighted and some else weight)
    np.testing.assert_allclose(found.means, expected, rtol=1e-14)
    assert found.n_missing == 0
    if with_extremes:
        np.testing.assert_array_equal(found.low, chosen.min(axis=0))
        np.testing.assert_array_equal(found.high, chosen.max(axis=0))
    shared = scan_rows(X, rows, FLOAT64, 3, **options)
    np.testing.assert_array_equal(shared.means, found.means)


def test_a_scan_leaves_missing_entries_out():
    X = table()
    gone = np.random.default_rng(2).random(X.shape) < 0.3
    gone[:, 5], gone[:, 6] = True, False
    X[gone] = np.nan
    found = scan_rows(X, len(X), FLOAT64, 2, missing=True)
    expected = np.nanmean(np.where(np.arange(X.shape[1]) == 5, 0, X), axis=0)
    np.testing.assert_allclose(found.means, expected, rtol=1e-13)
    assert found.n_missing == X.shape[1] - 1


@pytest.mark.parametrize(
    "value, domain, says",
    [
        (np.nan, ANYWHERE, "contains NaN"),
        (np.inf, ANYWHERE, "contains infinity"),
        (-1.0, (0.0, np.inf), "Negative values"),
        (9.0, (np.zeros(277), np.full(277, 5.0)), r"expects values of Y in \[0, 5\], got 9"),
    ],
)
def test_a_scan_names_the_first_entry_that_fails(value, domain, says):
    X = table()
    X[400, 259] = value
    name = TableName("Y", [f"c{i}" for i in range(277)])
    with pytest.raises(ValueError, match=rf"{says}.* at row 400, column 'c259'"):
        scan_rows(X, len(X), FLOAT64, 2, name=name, domain=domain)


def test_that_entries_are_missing_is_a_result():
    X = table()
    X[3, 4] = np.nan
    assert scan_rows(X, len(X), FLOAT64, 1, none_if_missing=True) is None
    X[5, 6] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        scan_rows(X, len(X), FLOAT64, 1, none_if_missing=True)
    X[3, 4] = 0
    with pytest.raises(ValueError, match="infinity"):
        scan_rows(X, len(X), FLOAT64, 1, none_if_missing=True)


def read_only(X):
    X.flags.writeable = False
    return X


@pytest.mark.parametrize(
    "array, expected",
    [
        *((np.ones((2, 3), dtype), True) for dtype in ROW_TYPES),
        (read_only(np.ones((2, 3))), True),
        (np.ones((2, 3), np.int64), False),
        (np.ones((2, 3), ">f8"), False),
        (np.ones((2, 3))[:, ::2], False),
        (np.ones((3, 2)).T, False),
        (np.ones((0, 3)), False),
        (np.ones(3), False),
        (np.ma.ones((2, 3)), False),
        ([[1.0]], False),
    ],
)
def test_plain_is_what_kernels_read_as_it_is(array, expected):
    assert _rows.is_plain(array, 2) is expected


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("n, d", [(1, 1), (31, 5), (33, 100), (1000, 17)])
def test_columns_are_interleaved(n, d, dtype):
    table = np.random.default_rng(0).normal(size=(d, n + 7)).astype(dtype)
    columns = [np.ascontiguousarray(column) for column in table]
    room = np.full((n, d + 3), np.nan, dtype)
    _rows.interleave(columns, room[:, :d], 7)  # rows may be further apart than they are long
    np.testing.assert_array_equal(room[:, :d], table[:, 7:].T)
    assert np.isnan(room[:, d:]).all()
    with pytest.raises(ValueError, match="column 0 has"):
        _rows.interleave(columns, room[:, :d], 8)
