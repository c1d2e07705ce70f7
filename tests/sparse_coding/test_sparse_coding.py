"""Sparse codes against their reference and the conditions of the minimum.

Starts, numbers of threads and awkward dictionaries are varied too.
"""

import warnings
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import sparse_coding as reference
from reference.sparse_coding import make_problem
from scipy import sparse
from sklearn.decomposition import sparse_encode as sklearn_sparse_encode
from sklearn.exceptions import ConvergenceWarning
from support.textbook import Autoencoder

from aefast import SparseCoder, sparse_encode
from aefast.sparse_coding import _sparse_coding

TABLE = {row["name"]: row for row in _sparse_coding.algorithm_table()}
PURSUITS = [name for name, row in TABLE.items() if row["pursues"] and name != "lars"]
LASSO = [name for name, row in TABLE.items() if row["has_gap"]]
DTYPES = [np.float32, np.float64]


# ---- against the reference ----


@cache
def lasso_problem(shape, dtype):
    """Rows, a dictionary, and the codes of the reference implementation."""
    X, D = make_problem(*shape, dtype)
    codes = [reference.lasso(x, D.astype(np.float64), 0.1) for x in X.astype(np.float64)]
    return X, D, np.array(codes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 5), (5, 7, 3), (29, 17, 33), (7, 19, 70)])
@pytest.mark.parametrize("algorithm", ["lasso_active", "lasso_lars"])
def test_lasso_codes_match_the_reference(algorithm, shape, dtype, isa):
    X, D, by_reference = lasso_problem(shape, dtype)
    tol = 1e-12 if dtype == np.float64 else 1e-6
    H = sparse_encode(X, D, algorithm=algorithm, alpha=0.1, tol=tol)
    assert H.dtype == dtype
    np.testing.assert_allclose(H, by_reference, rtol=0, atol=1e-6 if dtype == np.float64 else 2e-3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", LASSO)
def test_optimality_and_certificate(algorithm, dtype, positive, weighted, isa):
    """The gap is as promised, and the textbook's; the conditions of the minimum hold."""
    X, D = make_problem(31, 23, 41, dtype, seed=1)
    weights = np.random.default_rng(2).uniform(0.5, 2.0, 41) if weighted else None
    tol = 1e-5
    options = {"positive": positive, "atom_weights": weights, "max_iter": 20_000}
    H, gap = sparse_encode(
        X, D, algorithm=algorithm, alpha=0.2, tol=tol, return_gap=True, **options
    )
    assert (gap <= tol).all()
    assert 0 < np.count_nonzero(H) < H.size
    wide_X, wide_D, wide_H = (a.astype(np.float64) for a in (X, D, H))
    eps = float(np.finfo(dtype).eps)
    for x, h, g in zip(wide_X, wide_H, gap, strict=True):
        by_reference = reference.relative_gap(x, h, wide_D, 0.2, weights, positive)
        assert abs(by_reference - g) <= 32 * eps + 1e-2 * tol
        # strong duality of the residual: 1/2 ||r - r*||^2 <= gap, so that no correlation is further
        # off than ||D_j|| sqrt(2 gap)
        bound = np.sqrt(2 * max(by_reference, eps) * 0.5 * (x @ x)) / (
            0.2 * (0.5 if weighted else 1.0)
        )
        off = reference.optimality(x, h, wide_D, 0.2, weights, positive)
        assert off <= 2 * bound + 1e3 * eps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", PURSUITS)
@pytest.mark.parametrize("n_nonzero_coefs", [1, 4, 9])
def test_pursuit_matches_the_reference(algorithm, n_nonzero_coefs, dtype, isa):
    X, D = make_problem(40, 21, 37, dtype, seed=3)
    D *= np.random.default_rng(4).uniform(0.5, 2.0, (37, 1)).astype(dtype)
    H = sparse_encode(X, D, algorithm=algorithm, n_nonzero_coefs=n_nonzero_coefs)
    assert (np.count_nonzero(H, axis=1) <= n_nonzero_coefs).all()
    for x, h in zip(X.astype(np.float64), H.astype(np.float64), strict=True):
        wide = D.astype(np.float64)
        recursive = algorithm == "ormp"
        by_reference = reference.pursuit(x, wide, n_nonzero_coefs, recursive=recursive)
        if dtype == np.float64:
            np.testing.assert_allclose(h, by_reference, rtol=0, atol=1e-9)
        else:  # near ties may fall the other way: the residual is what counts
            ours, its = (np.sum((x - code @ wide) ** 2) for code in (h, by_reference))
            assert ours <= its * 1.05 + 1e-6
        chosen = np.flatnonzero(h)
        fit = np.linalg.lstsq(wide[chosen].T, x, rcond=None)[0]
        np.testing.assert_allclose(
            h[chosen], fit, rtol=0, atol=1e-9 if dtype == np.float64 else 1e-4
        )


def test_recursive_pursuit_takes_the_atom_that_reduces_the_residual_most():
    """The second atom is hardly correlated with the residual, and almost all of its direction."""
    x = np.array([[1.0, 0.1, 0.0]])
    D = np.array([[1.0, 0, 0], [0.9, np.sqrt(0.19), 0], [0, 0.5, np.sqrt(0.75)]])
    by_correlation, by_reduction = (
        sparse_encode(x, D, algorithm=name, n_nonzero_coefs=2) for name in ("omp", "ormp")
    )
    assert np.flatnonzero(by_correlation).tolist() == [0, 2]
    assert np.flatnonzero(by_reduction).tolist() == [0, 1]
    assert np.abs(x - by_reduction @ D).max() < 1e-12 < np.abs(x - by_correlation @ D).max()


@pytest.mark.parametrize("algorithm", PURSUITS)
def test_pursuit_until_a_target(algorithm):
    """Without a number of atoms, a row ends at the squared error alpha."""
    X, D = make_problem(60, 30, 50, seed=5)
    H = sparse_encode(X, D, algorithm=algorithm, alpha=0.5)
    recursive = algorithm == "ormp"
    by_reference = np.array([reference.pursuit(x, D, None, 0.5, recursive) for x in X])
    np.testing.assert_allclose(H, by_reference, atol=1e-9)
    assert (np.sum((X - H @ D) ** 2, axis=1) <= 0.5 + 1e-12).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(30, 21, 37), (20, 9, 5), (10, 6, 6), (5, 1, 1), (9, 40, 70)])
def test_least_angles_match_the_reference(shape, dtype, isa):
    n, d, k = shape
    X, D = make_problem(n, d, k, dtype, seed=3)
    D *= np.random.default_rng(4).uniform(0.5, 2.0, (k, 1)).astype(dtype)
    for count in {1, min(2, k), min(4, k), min(d, k)}:
        H = sparse_encode(X, D, algorithm="lars", n_nonzero_coefs=count)
        wide = X.astype(np.float64), D.astype(np.float64)
        expected = np.array([reference.least_angles(x, wide[1], count) for x in wide[0]])
        error = np.abs((H - expected) @ wide[1]).max()
        assert error <= (1e-9 if dtype == np.float64 else 1e-3) * np.abs(X).max()
        assert (np.count_nonzero(H, axis=1) <= count).all()
        csr = sparse_encode(X, D, algorithm="lars", n_nonzero_coefs=count, output_format="csr")
        np.testing.assert_array_equal(csr.toarray(), H)


def test_least_angles_are_those_of_scikit_learn():
    """With few atoms; with more, scikit-learn ends some paths early."""
    X, D = make_problem(200, 49, 60, seed=7)
    expected = sklearn_sparse_encode(X, D, algorithm="lars", n_nonzero_coefs=4)
    actual = sparse_encode(X, D, algorithm="lars", n_nonzero_coefs=4)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)


def test_least_angles_end_at_least_squares():
    X, D = make_problem(20, 12, 7, seed=8)
    H = sparse_encode(X, D, algorithm="lars", n_nonzero_coefs=7)
    np.testing.assert_allclose(H, np.linalg.lstsq(D.T, X.T, rcond=None)[0].T, atol=1e-9)


def test_least_angles_need_a_number_of_atoms():
    X, D = make_problem(5, 4, 7)
    with pytest.raises(ValueError, match=r"n_nonzero_coefs must be given.*'lars'"):
        sparse_encode(X, D, algorithm="lars")
    with pytest.raises(ValueError, match=r"positive=True: expected another.*'lars'"):
        sparse_encode(X, D, algorithm="lars", n_nonzero_coefs=2, positive=True)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_threshold_matches_the_reference(dtype, positive, isa):
    X, D = make_problem(13, 9, 21, dtype, seed=6)
    weights = np.linspace(0.5, 2.0, 21)
    H = sparse_encode(
        X, D, algorithm="threshold", alpha=0.3, positive=positive, atom_weights=weights
    )
    wide_X, wide_D = X.astype(np.float64), D.astype(np.float64)
    by_reference = np.array(
        [reference.threshold(x, wide_D, 0.3, weights, positive) for x in wide_X]
    )
    np.testing.assert_allclose(H, by_reference, rtol=0, atol=1e-12 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("algorithm", ["lasso_active", "lasso_lars", "lasso_cd"])
def test_scikit_learns_codes(algorithm):
    X, D = make_problem(50, 16, 40, seed=7)
    expected = sklearn_sparse_encode(X, D, algorithm="lasso_lars", alpha=0.1)
    actual = sparse_encode(X, D, algorithm=algorithm, alpha=0.1, tol=1e-13)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_scikit_learns_pursuit():
    X, D = make_problem(50, 16, 40, seed=7)
    expected = sklearn_sparse_encode(X, D, algorithm="omp", n_nonzero_coefs=5)
    actual = sparse_encode(X, D, algorithm="omp", n_nonzero_coefs=5)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


@given(
    sizes=st.tuples(st.integers(1, 30), st.integers(1, 40), st.integers(1, 40)),
    alpha=st.floats(1e-3, 2.0),
    positive=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    algorithm=st.sampled_from(["lasso_active", "lasso_lars", "lasso_cd"]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=120, deadline=None, derandomize=True)
def test_any_problem_keeps_the_promise(sizes, alpha, positive, dtype, algorithm, seed):
    X, D = make_problem(*sizes, dtype, seed)
    options = {"algorithm": algorithm, "alpha": alpha, "positive": positive}
    H, gap = sparse_encode(X, D, return_gap=True, **options)
    assert (gap <= 1e-4).all()
    for x, h in zip(X.astype(np.float64), H.astype(np.float64), strict=True):
        assert reference.relative_gap(x, h, D.astype(np.float64), alpha, None, positive) <= 1.1e-4


# ---- formats, company, threads, starts ----


@pytest.mark.parametrize("algorithm", TABLE)
def test_csr_holds_the_dense_codes(algorithm):
    X, D = make_problem(2000, 12, 30, seed=8)
    options = {"algorithm": algorithm, "alpha": 0.3, "n_nonzero_coefs": 3, "tol": 1e-3}
    dense = sparse_encode(X, D, **options)
    codes = sparse_encode(X, D, output_format="csr", **options)
    assert sparse.issparse(codes) and codes.format == "csr"
    assert codes.nnz == np.count_nonzero(dense) == np.count_nonzero(codes.data)
    np.testing.assert_array_equal(codes.toarray(), dense)
    codes.has_sorted_indices = False
    before = codes.indices.copy()
    codes.sort_indices()
    np.testing.assert_array_equal(codes.indices, before)


@pytest.mark.parametrize("algorithm", TABLE)
def test_codes_depend_on_neither_threads_nor_company(algorithm, isa):
    X, D = make_problem(131, 14, 35, np.float32, seed=9)
    options = {
        "algorithm": algorithm,
        "alpha": 0.2,
        "n_nonzero_coefs": 4,
        "max_iter": 5000,
        "tol": 1e-3,
    }
    H = sparse_encode(X, D, n_threads=1, **options)
    for n_threads in (2, 3):
        np.testing.assert_array_equal(sparse_encode(X, D, n_threads=n_threads, **options), H)
    for part in (slice(0, 1), slice(7, 40), slice(130, 131)):
        np.testing.assert_array_equal(sparse_encode(X[part], D, **options), H[part])
    np.testing.assert_array_equal(sparse_encode(X[::-1], D, **options), H[::-1])


@pytest.mark.parametrize("algorithm", [name for name, row in TABLE.items() if row["starts"]])
def test_starts_change_no_code(algorithm):
    X, D = make_problem(60, 12, 30, seed=10)
    options = {"algorithm": algorithm, "alpha": 0.2, "tol": 1e-10, "max_iter": 100_000}
    H = sparse_encode(X, D, **options)
    rng = np.random.default_rng(0)
    for init in (
        H,
        H + 0.1 * rng.normal(size=H.shape),
        rng.normal(size=H.shape),
        sparse.csr_matrix(H),
    ):
        np.testing.assert_allclose(sparse_encode(X, D, init=init, **options), H, atol=1e-4)
    weights = np.linspace(0.5, 2, 30)
    weighted = sparse_encode(X, D, atom_weights=weights, **options)
    again = sparse_encode(X, D, atom_weights=weights, init=weighted, **options)
    np.testing.assert_allclose(again, weighted, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_starts_with_more_atoms_than_can_be_active(dtype):
    X, D = make_problem(20, 9, 50, dtype, seed=20)
    init = np.random.default_rng(21).normal(size=(20, 50))
    for algorithm in ("lasso_active", "lasso_cd"):
        options = {"algorithm": algorithm, "alpha": 0.05, "tol": 1e-5}
        _, gap = sparse_encode(X, D, init=init, return_gap=True, **options)
        assert (gap <= 1e-5).all()


def test_a_start_at_the_codes_needs_no_steps():
    X, D = make_problem(60, 12, 30, seed=11)
    for algorithm in ("lasso_cd", "fista", "ista"):
        H = sparse_encode(X, D, alpha=0.2, tol=1e-8)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = sparse_encode(
                X, D, alpha=0.2, algorithm=algorithm, init=H, max_iter=1, tol=1e-6
            )
        np.testing.assert_array_equal(again, H)


def test_an_autoencoder_predicts_the_start():
    X, _ = make_problem(300, 20, 25, seed=12)
    ae = Autoencoder(25, max_epochs=5, random_state=0).fit(X)
    D = ae.decoder_components_
    coder = SparseCoder(D, algorithm="lasso_cd", alpha=0.3, init=ae)
    cold = SparseCoder(D, alpha=0.3)
    assert (coder.duality_gap(X) <= 1e-4).all()
    difference = np.linalg.norm((coder.transform(X) - cold.transform(X)) @ D, axis=1)
    assert (difference <= 0.05 * np.linalg.norm(X, axis=1)).all()


# ---- degenerate dictionaries and rows ----


def degenerate_dictionaries():
    rng = np.random.default_rng(13)
    D = rng.normal(size=(12, 8))
    return {
        "duplicates": np.vstack([D, D, D[:3]]),
        "opposites": np.vstack([D, -D]),
        "collinear": np.vstack([D, D[:5] * 2, D[:5] + D[5:10]]),
        "nearly the same": np.vstack([D, D + 1e-7 * rng.normal(size=D.shape)]),
        "one direction": np.outer(rng.uniform(0.5, 2, 10), D[0]),
        "more atoms than features": rng.normal(size=(200, 5)),
        "one atom": D[:1],
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", degenerate_dictionaries())
def test_degenerate_dictionaries(name, dtype):
    D = degenerate_dictionaries()[name].astype(dtype)
    X = np.random.default_rng(14).normal(size=(40, D.shape[1])).astype(dtype)
    X[0], X[1], X[2] = 0.0, D[0], 1.0
    for alpha in (1e-2, 0.3):
        for algorithm in ("lasso_active", "lasso_lars", "lasso_cd"):
            H, gap = sparse_encode(X, D, algorithm=algorithm, alpha=alpha, return_gap=True)
            assert (gap <= 1e-4).all()
            assert np.isfinite(H).all() and not H[0].any()
    for count in (1, min(5, len(D)), len(D)):
        for algorithm in (*PURSUITS, "lars"):
            H = sparse_encode(X, D, algorithm=algorithm, n_nonzero_coefs=count)
            assert np.isfinite(H).all() and not H[0].any()
            assert (np.count_nonzero(H, axis=1) <= min(count, D.shape[1])).all()
            # those of least angles end at least squares, which such atoms make as large
            assert algorithm == "lars" or np.abs(H).max() < 1e4


def test_orthonormal_atoms_have_a_formula():
    Q = np.linalg.qr(np.random.default_rng(15).normal(size=(9, 9)))[0]
    X = np.random.default_rng(16).normal(size=(20, 9))
    for algorithm in (*LASSO, "threshold"):
        H = sparse_encode(X, Q, algorithm=algorithm, alpha=0.4, tol=1e-14)
        np.testing.assert_allclose(H, reference.soft(X @ Q.T, 0.4), atol=1e-6)


def test_large_alpha_gives_nothing():
    X, D = make_problem(10, 8, 12, seed=17)
    largest = np.abs(X @ D.T).max()
    for algorithm in (*LASSO, "threshold"):
        assert not sparse_encode(X, D, algorithm=algorithm, alpha=1.0001 * largest).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.int64])
def test_other_types(dtype):
    X = np.random.default_rng(18).integers(0, 2, (30, 9)).astype(dtype)
    _, D = make_problem(1, 9, 15, np.float32)
    H = sparse_encode(X, D, alpha=0.1)
    assert H.dtype == (np.float64 if dtype == np.int64 else np.float32)
    np.testing.assert_allclose(
        H, sparse_encode(X.astype(np.float64), D.astype(np.float64), alpha=0.1), atol=2e-3
    )


def test_a_memory_map_is_coded_in_place(tmp_path):
    X, D = make_problem(500, 10, 20, np.float32)
    np.save(tmp_path / "rows.npy", X)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        sparse_encode(mapped, D, alpha=0.2), sparse_encode(X, D, alpha=0.2)
    )


@pytest.mark.parametrize("n_atoms", [1, 2])
def test_more_threads_than_atoms(n_atoms):
    D = np.random.default_rng(0).normal(size=(n_atoms, 7))
    X = np.random.default_rng(1).normal(size=(9, 7))
    one, five = (sparse_encode(X, D, alpha=0.1, n_threads=n) for n in (1, 5))
    np.testing.assert_array_equal(one, five)


@pytest.mark.parametrize("output_format", ["dense", "csr"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [1e-2, 1e-5, 1e-8])
def test_float32_pursuit_ends_below_its_residual(alpha, weighted, output_format, isa):
    rng = np.random.default_rng(0)
    for k, d in ((128, 64), (64, 64), (256, 32)):
        D, X = rng.normal(size=(k, d)), rng.normal(size=(200, d))
        D = (D / np.linalg.norm(D, axis=1, keepdims=True)).astype(np.float32)
        X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
        weights = rng.uniform(0.5, 2, k) if weighted else None
        options = {"algorithm": "omp", "alpha": alpha, "atom_weights": weights}
        H = sparse_encode(X, D, output_format=output_format, **options)
        assert H.dtype == np.float32
        residuals = X.astype(float) - H.astype(float) @ D.astype(float)
        assert np.square(residuals).sum(axis=1).max() <= alpha
        alone = sparse_encode(X[7:8], D, output_format=output_format, **options)
        assert (alone != H[7:8]).sum() == 0


def test_pursuit_names_a_residual_that_float32_cannot_hold(recwarn):
    rng = np.random.default_rng(1)
    D, X = rng.normal(size=(64, 64)).astype("f4"), rng.normal(size=(50, 64)).astype("f4")
    few = sparse_encode(X, D[:8], algorithm="omp", alpha=1e-6)  # 8 atoms lead no nearer
    np.testing.assert_allclose(few, np.linalg.lstsq(D[:8].T, X.T)[0].T, atol=1e-5)
    assert not recwarn
    with pytest.warns(ConvergenceWarning, match="residual above alpha=1e-20"):
        sparse_encode(X, D, algorithm="omp", alpha=1e-20)
