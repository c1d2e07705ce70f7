"""Sparse matrices whose indices lead out of the matrix, as SciPy lets pass; sparse DataFrames."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from aefast import (
    FactorAnalysis,
    ItemAutoencoder,
    MarginalizedAutoencoder,
    MixtureOfFactorAnalyzers,
    MixtureOfProbabilisticPCA,
    ProbabilisticPCA,
    SparseCoder,
    SufficientStatistics,
    Whitening,
)

D = 12
X = np.random.default_rng(0).random((40, D))
FITTED = {
    "item": ItemAutoencoder().fit(X).transform,
    "item recommend": lambda rows: ItemAutoencoder().fit(X).recommend(rows, 2),
    "marginalized": MarginalizedAutoencoder().fit(X).transform,
    "whitening": Whitening().fit(X).transform,
    "ppca": ProbabilisticPCA(2).fit(X).transform,
    "statistics": SufficientStatistics(D).update,
    "fit ppca": ProbabilisticPCA(2).fit,
    "mixture": MixtureOfFactorAnalyzers(1, 2).fit(X).score_samples,
    "fit mixture": MixtureOfProbabilisticPCA(2, 2).fit,
    "fit fa": FactorAnalysis(2).fit,
    "fit item": ItemAutoencoder().fit,
    "decode": SparseCoder(X[:D]).inverse_transform,
}
BAD = {  # indptr, indices, n_data, and what the error says
    "column too large": ([0, 1, 2, 2, 2], [1, D], 2, f"column index {D} in row 1"),
    "far column": ([0, 1, 2, 2, 2], [1, 2**31 - 1], 2, "column index 2147483647 in row 1"),
    "negative column": ([0, 0, 1, 2, 2], [-1, 3], 2, "column index -1 in row 1"),
    "offsets fall": ([0, 2, 1, 2, 2], [1, 3], 2, "indptr"),
    "offsets too large": ([0, 1, 2, 2, 99], [1, 3], 2, "indptr"),
    "offsets from 1": ([1, 1, 2, 2, 2], [1, 3], 2, "indptr"),
    "few values": ([0, 1, 2, 2, 2], [1, 3], 1, "indptr"),
}


def forged(format, indptr, indices, n_data, dtype=np.float64, index_type=np.int32):
    """A matrix of 4 lines of D entries whose arrays are put in place behind SciPy's checks."""
    made = sparse.csr_matrix if format == "csr" else sparse.csc_matrix
    matrix = made((4, D) if format == "csr" else (D, 4), dtype=dtype)
    matrix.indptr = np.array(indptr, index_type)
    matrix.indices = np.array(indices, index_type)
    matrix.data = np.ones(n_data, dtype)
    return matrix


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("method", FITTED)
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
def test_indices_out_of_range_are_refused(method, bad, index_type):
    indptr, indices, n_data, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        FITTED[method](forged("csr", indptr, indices, n_data, index_type=index_type))


def test_columns_stored_by_column_are_checked_before_they_are_converted():
    matrix = forged("csc", [0, 1, 2, 2, 2], [1, D + 88], 2)
    with pytest.raises(ValueError, match=f"row index {D + 88} in column 1"):
        SufficientStatistics(4).update(matrix)


@pytest.mark.parametrize("format", ["csr", "csc", "bsr", "coo", "lil", "dok", "dia"])
def test_every_format_gives_what_the_dense_rows_give(format):
    Z = np.where(X > 0.7, X, 0)
    stats = SufficientStatistics(D).update(sparse.csr_matrix(Z).asformat(format))
    np.testing.assert_allclose(stats.covariance(), np.cov(Z.T, ddof=0), rtol=1e-12, atol=1e-15)


def test_a_sparse_frame_is_a_sparse_matrix_with_names():
    Z = np.where(X > 0.7, X, 0)
    names = [f"item {i}" for i in range(D)]
    frame = pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(Z), columns=names)
    model = ItemAutoencoder().fit(frame)
    assert list(model.feature_names_in_) == names
    np.testing.assert_array_equal(
        model.transform(frame),
        ItemAutoencoder().fit(sparse.csr_matrix(Z)).transform(sparse.csr_matrix(Z)),
    )
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame.rename(columns={"item 0": "another"}))


@pytest.mark.parametrize("value", [1e160, 1e200, -1e300])
def test_huge_entries_give_no_warning_from_within(value):
    """Rows whose squares overflow end in the error that says so, and without NumPy's warning."""
    rows = sparse.csr_matrix(np.eye(6, D) * value)
    for learn in (ProbabilisticPCA(2).fit, Whitening().fit, SufficientStatistics(D).update):
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                learn(rows)
            except ValueError as error:
                assert "overflow" in str(error)
