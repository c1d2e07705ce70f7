"""Every solver, storage and type, for columns far from zero and in any unit, against LAPACK."""

import numpy as np
import pytest
from reference import factors as reference
from scipy import sparse

from aefast import FactorAnalysis, ProbabilisticPCA

N, D, K = 160, 40, 3


def rows_of(dtype, offset, scale, k=K):
    """Return rows whose columns lie `offset` standard deviations from zero, in units of `scale`."""
    rng = np.random.default_rng(0)
    Z = 2 * rng.normal(size=(N, k)) @ rng.normal(size=(k, D)) + rng.normal(size=(N, D))
    Z = Z / Z.std(axis=0) + offset
    return (scale * Z).astype(dtype)


def stored_as(storage, X, folder):
    if storage == "csr":
        return sparse.csr_matrix(X)
    if storage == "memory map":
        np.save(folder / "X.npy", X)
        return np.load(folder / "X.npy", mmap_mode="r")
    return X


def moments(X):
    """Return mean and covariance of the stored values, in float64, centred in two passes."""
    X = X.astype(np.float64)
    mean = X.mean(axis=0)
    mean += (X - mean).mean(axis=0)
    return mean, (X - mean).T @ (X - mean) / len(X)


def check_components(model, mean, C, rtol):
    """Compare leading eigenvalues, their subspace and the noise with LAPACK's."""
    values, U = np.linalg.eigh(C)
    values, U = values[::-1], U[:, ::-1]
    np.testing.assert_allclose(model.explained_variance_, values[:K], rtol=rtol)
    assert model.noise_variance_ == pytest.approx(values[K:].mean(), rel=10 * rtol)
    V = model.components_ / np.linalg.norm(model.components_, axis=1)[:, None]
    np.testing.assert_allclose(np.linalg.svd(V @ U[:, :K])[1], 1.0, rtol=10 * rtol)
    bound = rtol * np.sqrt(np.diagonal(C)) + 1e-15 * np.abs(mean)
    assert (np.abs(model.mean_ - mean) <= bound).all()


def check_factors(model, C, rtol):
    """Compare the likelihood with its definition, whose derivatives vanish at a maximum."""
    scale = np.sqrt(np.diagonal(C))
    C = C / np.outer(scale, scale)
    W, psi = model.components_ / scale, model.noise_variance_ / scale**2
    Sigma = reference.covariance(W, psi)
    log_det = np.linalg.slogdet(Sigma)[1] + 2 * np.log(scale).sum()
    inverse = np.linalg.inv(Sigma)
    expected = -0.5 * (D * np.log(2 * np.pi) + log_det + np.trace(inverse @ C))
    assert model.log_likelihood_curve_[-1] == pytest.approx(expected, rel=rtol)
    slope = inverse - inverse @ C @ inverse
    assert np.abs(np.diagonal(slope) * psi).max() < 1e-5 + 10 * rtol
    assert np.abs(W @ slope).max() < 1e-5 + 10 * rtol


@pytest.mark.filterwarnings("ignore:Heywood")
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("storage", ["dense", "csr", "memory map"])
@pytest.mark.parametrize("solver", ["covariance", "krylov", "gram", "factors"])
def test_any_storage_offset_and_unit(solver, storage, dtype, offset, scale, tmp_path):
    if dtype == "float32" and offset > 1e4:
        offset = {1e6: 1e3, 1e8: 10.0}[offset]  # float32 has some 7 digits
    X = rows_of(dtype, offset, scale)
    if solver == "gram":
        X = X[: D - 10]  # fewer rows than columns
    mean, C = moments(X)
    table, rtol = stored_as(storage, X, tmp_path), 1e-5 if dtype == "float32" else 1e-9
    if solver == "factors":
        check_factors(FactorAnalysis(K).fit(table), C, rtol)
    else:
        model = ProbabilisticPCA(K, svd_solver=solver, tol=1e-14).fit(table)
        check_components(model, mean, C, rtol)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["covariance", "krylov"])
def test_year_beside_sparse_columns(solver, dtype):
    """A column of years, and a nearly full one, beside columns of few entries."""
    rng = np.random.default_rng(0)
    X = np.zeros((300, 120), dtype)
    X[np.arange(300), rng.integers(2, 120, 300)] = 1
    X[:, 0] = rng.integers(1950, 2020, 300)
    X[:, 1] = 40 + rng.integers(0, 3, 300)
    X[::150, 1] = 0
    X[:, 0] /= 100  # its variance is beside the others'
    mean, C = moments(X)
    model = ProbabilisticPCA(K, svd_solver=solver, tol=1e-14).fit(sparse.csr_matrix(X))
    check_components(model, mean, C, 1e-5 if dtype == "float32" else 1e-9)


def test_krylov_of_float32_finds_no_component_in_the_mean():
    """The mean is rounded to float32; what rounding leaves out is no direction of the rows."""
    rng = np.random.default_rng(1)
    X = (1e7 + rng.integers(-8, 9, (400, 60))).astype(np.float32)
    X[:, 0] += rng.integers(-40, 41, 400).astype(np.float32)
    mean, C = moments(X)
    model = ProbabilisticPCA(K, svd_solver="krylov", tol=1e-10).fit(X)
    check_components(model, mean, C, 1e-5)


@pytest.mark.filterwarnings("ignore:the rows lie in 29 directions")
@pytest.mark.parametrize("n_components", [None, 0.9, "mle", 5, 25])
def test_gram_chooses_what_the_covariance_does(n_components):
    X = rows_of("float64", 3.0, 1.0)[:30]
    weight = np.random.default_rng(0).integers(1, 4, 30)
    one, other = (
        ProbabilisticPCA(n_components, svd_solver=solver).fit(X, sample_weight=weight)
        for solver in ("covariance", "gram")
    )
    np.testing.assert_allclose(other.explained_variance_, one.explained_variance_, rtol=1e-8)
    np.testing.assert_allclose(other.get_covariance(), one.get_covariance(), atol=1e-8)
    if n_components is not None:  # else the noise is rounding
        likelihood = one.log_likelihood_curve_[-1]
        assert other.log_likelihood_curve_[-1] == pytest.approx(likelihood, rel=1e-8)
        np.testing.assert_allclose(other.score_samples(X), one.score_samples(X), rtol=1e-6)


def test_gram_needs_fewer_rows_than_columns():
    X = rows_of("float64", 0.0, 1.0)
    with pytest.raises(ValueError, match="fewer rows than columns"):
        ProbabilisticPCA(3, svd_solver="gram").fit(X)
    with pytest.raises(ValueError, match="n_components below n_samples"):
        ProbabilisticPCA(30, svd_solver="gram").fit(X[:30])


def test_the_solver_follows_from_the_shape():
    from aefast.linear.solvers import cheapest

    def of(n, d, k, density=None):
        if density is None:
            return cheapest(np.broadcast_to(0.0, (n, d)), k, k is None)
        table = sparse.random(n, d, density, "csr", random_state=0)
        return cheapest(table, k, k is None)

    assert of(150, 4, 2) == of(500, 300, 10) == of(100, 200, None) == "covariance"
    assert of(294, 3000, 16) == of(300, 6000, None) == of(300, 6000, 200) == "gram"
    assert of(2000, 1500, 20) == of(20_000, 5000, 20) == of(3000, 6000, 20, 0.001) == "krylov"
    assert of(20_000, 6000, None) == "covariance"  # nothing else finds all eigenvalues
