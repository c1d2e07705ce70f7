"""Sparse codes and dictionaries of CSR rows against those of the same rows made dense."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from aefast import DictionaryLearning, SparseCoder, sparse_encode
from aefast.sparse_coding import _sparse_coding

TABLE = {row["name"]: row for row in _sparse_coding.algorithm_table()}
N, D, K = 61, 37, 19


def rows_and_atoms(dtype, n=N):
    """Return CSR rows, with an empty row, an empty column and stored zeros, and atoms."""
    random = np.random.default_rng(0)
    X = np.where(random.random((n, D)) < 0.15, random.normal(size=(n, D)), 0.0)
    X[3], X[:, 5] = 0, 0
    X = sparse.csr_array(X.astype(dtype))
    X.data[::11] = 0
    atoms = random.normal(size=(K, D)).astype(dtype)
    return X, atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


def unsorted(X):
    """Return the same matrix with the columns of each row in falling order."""
    order = np.concatenate(
        [np.arange(e - 1, b - 1, -1) for b, e in zip(X.indptr[:-1], X.indptr[1:], strict=True)]
    )
    return sparse.csr_array((X.data[order], X.indices[order], X.indptr.copy()), X.shape)


def duplicated(X):
    """Return the same matrix with each entry as two that are halves of it."""
    data, indices = np.repeat(X.data / 2, 2), np.repeat(X.indices, 2)
    return sparse.csr_array((data, indices, 2 * X.indptr), X.shape)


def with_wide_indices(X):
    wide = sparse.csr_array(X.shape, dtype=X.dtype)
    wide.indptr, wide.indices = X.indptr.astype(np.int64), X.indices.astype(np.int64)
    wide.data = X.data
    assert wide.indices.dtype == np.int64
    return wide


FORMS = {
    "csr": lambda X: X,
    "matrix": sparse.csr_matrix,
    "csc": lambda X: X.tocsc(),
    "int64": with_wide_indices,
    "unsorted": unsorted,
    "duplicated": duplicated,
    "frame": pd.DataFrame.sparse.from_spmatrix,
}


def copies_of(X):
    if isinstance(X, pd.DataFrame):
        return [X.sparse.to_coo().toarray()]
    return [getattr(X, name).copy() for name in ("data", "indices", "indptr")]


def options_of(algorithm):
    options = {"algorithm": algorithm, "alpha": 0.1}
    if TABLE[algorithm]["has_gap"]:
        options |= {"tol": 1e-6, "max_iter": 20_000}
    if algorithm in ("omp", "lars"):
        options = {"algorithm": algorithm, "n_nonzero_coefs": 4}
    return options


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("algorithm", TABLE)
def test_codes_are_those_of_dense_rows(algorithm, form, dtype):
    csr, atoms = rows_and_atoms(dtype)
    options = options_of(algorithm)
    if dtype == np.float32 and "tol" in options:
        options["tol"] = 1e-5
    X = FORMS[form](csr)
    before = copies_of(X)
    codes = sparse_encode(X, atoms, **options)
    for array, kept in zip(copies_of(X), before, strict=True):
        np.testing.assert_array_equal(array, kept)
    expected = sparse_encode(csr.toarray(), atoms, **options)
    assert codes.dtype == dtype
    # minima are as near as their gaps; what is computed without them, as rounding errors
    close = 2e-3 if "tol" in options else 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(codes, expected, rtol=0, atol=close)
    np.testing.assert_array_equal(codes[3], 0)
    as_csr = sparse_encode(X, atoms, output_format="csr", **options)
    np.testing.assert_array_equal(as_csr.toarray(), codes)


@pytest.mark.parametrize("options", [{"positive": True}, {"atom_weights": np.linspace(0.5, 2, K)}])
def test_options_and_starts(options):
    X, atoms = rows_and_atoms(np.float64)
    given = {"alpha": 0.1, "tol": 1e-8, "algorithm": "lasso_active"} | options
    expected = sparse_encode(X.toarray(), atoms, **given)
    np.testing.assert_allclose(sparse_encode(X, atoms, **given), expected, atol=1e-7)
    warm = sparse_encode(X, atoms, init=expected, **given)
    np.testing.assert_allclose(warm, expected, atol=1e-7)


def test_omp_to_a_target():
    for dtype in (np.float32, np.float64):
        X, atoms = rows_and_atoms(dtype)
        options = {"algorithm": "omp", "alpha": 0.5}
        expected = sparse_encode(X.toarray(), atoms, **options)
        codes = sparse_encode(X, atoms, **options)
        np.testing.assert_allclose(codes, expected, atol=1e-4 if dtype == np.float32 else 1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_coders(form):
    csr, atoms = rows_and_atoms(np.float64)
    X = FORMS[form](csr)
    options = {"alpha": 0.1, "tol": 1e-8}
    expected = SparseCoder(atoms, **options).fit_transform(csr.toarray())
    coder = SparseCoder(atoms, **options).fit(X)
    np.testing.assert_allclose(coder.transform(X), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS)
def test_dictionaries_are_those_of_dense_rows(form, dtype):
    csr, _ = rows_and_atoms(dtype, n=300)
    X = FORMS[form](csr)
    before = copies_of(X)
    options = {"alpha": 0.1, "max_epochs": 4, "batch_size": 64, "random_state": 0, "tol": 0}
    of_sparse = DictionaryLearning(7, **options).fit(X)
    of_dense = DictionaryLearning(7, **options).fit(csr.toarray())
    for array, kept in zip(copies_of(X), before, strict=True):
        np.testing.assert_array_equal(array, kept)
    close = {"atol": 1e-3} if dtype == np.float32 else {"atol": 1e-7}
    np.testing.assert_allclose(of_sparse.components_, of_dense.components_, **close)
    np.testing.assert_allclose(of_sparse.objective_curve_, of_dense.objective_curve_, rtol=1e-4)
    for method in (of_dense.transform, of_dense.score):
        np.testing.assert_allclose(method(X), method(csr.toarray()), atol=2e-3)


@pytest.mark.parametrize("algorithm", ["lasso_cd", "omp"])
def test_steps_of_learning_in_parts(algorithm):
    X, _ = rows_and_atoms(np.float64, n=300)
    options = {"alpha": 0.1, "algorithm": algorithm, "random_state": 0}
    of_sparse, of_dense = (DictionaryLearning(7, **options) for _ in range(2))
    for first in range(0, 300, 100):
        of_sparse.partial_fit(X[first : first + 100])
        of_dense.partial_fit(X[first : first + 100].toarray())
    np.testing.assert_allclose(of_sparse.components_, of_dense.components_, atol=1e-6)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [("data", np.nan, "NaN"), ("indices", D, "column"), ("indices", -1, "column")],
)
def test_bad_entries_are_named(place, value, message):
    X, atoms = rows_and_atoms(np.float64)
    getattr(X, place)[4] = value
    for call in (
        lambda: sparse_encode(X, atoms),
        lambda: SparseCoder(atoms).transform(X),
        lambda: DictionaryLearning(3, max_epochs=1).fit(X),
    ):
        with pytest.raises(ValueError, match=message):
            call()
