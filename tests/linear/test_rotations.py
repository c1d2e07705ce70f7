"""Rotations of loadings: their criteria, minima and certificates."""

import warnings

import numpy as np
import pytest
from reference import rotations as reference
from scipy import optimize
from sklearn.decomposition._factor_analysis import _ortho_rotation
from sklearn.exceptions import ConvergenceWarning
from support.factor_problems import make_rows

from aefast import FactorAnalysis
from aefast.linear import rotation
from aefast.linear.gradient_projection import Oblique, Orthogonal, Problem, minimum
from aefast.linear.rotation_criteria import Geomin, Oblimin, Orthomax, Target

OBLIQUE = ("promax", "oblimin", "geomin", "target")


def make_loadings(k=3, d=12, seed=0):
    """Loadings (d, k) near simple structure, turned by a random rotation."""
    rng = np.random.default_rng(seed)
    simple = np.kron(np.eye(k), np.full((d // k, 1), 0.7)) + 0.1 * rng.normal(size=(d, k))
    return simple @ np.linalg.qr(rng.normal(size=(k, k)))[0]


def balanced_rows(n=400):
    """Rows whose covariance has exactly two factors of correlation 0.5, each of three columns."""
    W = np.kron(np.eye(2), np.full(3, 0.8))
    Sigma = W.T @ [[1, 0.5], [0.5, 1]] @ W
    np.fill_diagonal(Sigma, 1)
    X = np.random.default_rng(0).normal(size=(n, 6))
    X = np.linalg.qr(X - X.mean(axis=0))[0] * np.sqrt(n)
    return X @ np.linalg.cholesky(Sigma).T


def options(method, **given):
    if method == "target":
        given.setdefault("target", np.where(np.kron(np.eye(3), np.ones((4, 1))) > 0, np.nan, 0))
    return rotation.rotation_options(method, given, (12, 3))


# ---- saddles ----


def test_varimax_leaves_the_saddle_of_a_balanced_design():
    """The unrotated loadings are a saddle: criterion 1.32 rather than 2.25, factors (g, ±g')."""
    X = balanced_rows()
    plain = FactorAnalysis(2).fit(X).loadings_
    loadings = FactorAnalysis(2, rotation="varimax").fit(X).loadings_
    normalised = reference.normalised(loadings)
    best = reference.planar(normalised, 1.0)
    assert reference.orthomax(reference.normalised(plain), 1.0) < 0.7 * best
    assert reference.orthomax(normalised, 1.0) >= best * (1 - 1e-9)
    np.testing.assert_allclose(np.sort(loadings, axis=1)[:, 0], 0.207, atol=1e-3)
    theirs = _ortho_rotation(reference.normalised(plain), "varimax", 1e-12, 10_000)
    assert reference.orthomax(theirs, 1.0) < 0.7 * best  # scikit-learn stays at the saddle
    promax = FactorAnalysis(2, rotation="promax").fit(X)
    assert promax.factor_covariance_[0, 1] > 0.45


@pytest.mark.parametrize("per_factor", [3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_varimax_of_sampled_correlated_factors(per_factor, seed):
    rng = np.random.default_rng(seed)
    W = np.kron(np.eye(2), np.full(per_factor, 0.8))
    H = rng.normal(size=(5000, 2)) @ np.linalg.cholesky([[1, 0.5], [0.5, 1]]).T
    X = H @ W + 0.6 * rng.normal(size=(5000, 2 * per_factor))
    loadings = reference.normalised(FactorAnalysis(2, rotation="varimax").fit(X).loadings_)
    assert reference.orthomax(loadings, 1.0) >= reference.planar(loadings, 1.0) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("criterion", "matrices"),
    [(Orthomax(1.0), Orthogonal()), (Orthomax(0.0), Orthogonal()), (Oblimin(0.0), Oblique())],
    ids=["varimax", "quartimax", "oblimin"],
)
def test_second_derivatives_find_a_saddle(criterion, matrices):
    """From a general factor and a bipolar one, where the gradient vanishes, descents go on."""
    A = np.array([[0.8, 0.5]] * 3 + [[0.8, -0.5]] * 3)
    problem = Problem(A, criterion, matrices)
    assert np.linalg.norm(problem.slope(np.eye(2))[0]) < 1e-15
    assert problem.curvature(np.eye(2))[0][0] < -1e-2
    assert problem.descend(np.eye(2))[1] == problem.value(np.eye(2))
    found = minimum(problem, np.eye(2))
    assert found.is_minimum and found.value < problem.value(np.eye(2)) - 1e-2
    assert problem.curvature(found.T)[0][0] > -1e-6


def test_many_factors_are_certified_by_lanczos(monkeypatch):
    from aefast.linear import gradient_projection

    problem = Problem(make_loadings(6, 30), Orthomax(1.0), Orthogonal())
    T = minimum(problem, np.eye(6)).T
    by_lapack = problem.curvature(T)[0]
    monkeypatch.setattr(gradient_projection, "MOST_DIRECTIONS", 0)
    by_lanczos = problem.curvature(T)[0]
    np.testing.assert_allclose(by_lanczos, by_lapack[[0, -1]], rtol=1e-2)
    assert minimum(problem, np.eye(6)).is_minimum


@pytest.mark.parametrize("method", ["varimax", "quartimax", "equamax"])
def test_both_descents_of_orthomax_agree(method, monkeypatch):
    A = make_loadings(4, 24)
    by_planes, _ = rotation.rotate(A.T, method)
    monkeypatch.setattr(rotation, "MOST_IN_PLANES", 1)
    by_slopes, _ = rotation.rotate(A.T, method)
    np.testing.assert_allclose(by_slopes, by_planes, atol=1e-6)


def test_an_uncertified_rotation_warns(monkeypatch):
    monkeypatch.setattr(Problem, "curvature", lambda *args: None)
    with pytest.warns(ConvergenceWarning, match="rotation='geomin' ended where no minimum"):
        rotation.rotate(make_loadings().T, "geomin", options("geomin"))


# ---- criteria ----

CRITERIA = {
    "varimax": (Orthomax(1.0), lambda L: -reference.orthomax(L, 1.0) / 4),
    "equamax": (Orthomax(1.5), lambda L: -reference.orthomax(L, 1.5) / 4),
    "quartimin": (Oblimin(0.0), lambda L: reference.oblimin(L, 0.0)),
    "oblimin": (Oblimin(-0.7), lambda L: reference.oblimin(L, -0.7)),
    "geomin": (Geomin(0.01), lambda L: reference.geomin(L, 0.01)),
    "target": (
        Target(np.where(np.eye(12, 3) > 0, np.nan, 0.1)),
        lambda L: reference.target(L, np.where(np.eye(12, 3) > 0, np.nan, 0.1)),
    ),
}


@pytest.mark.parametrize("name", CRITERIA)
def test_criteria_and_their_derivatives(name):
    criterion, expected = CRITERIA[name]
    L = make_loadings()
    value, gradient = criterion(L)
    assert value == pytest.approx(expected(L), rel=1e-12)
    numeric = optimize.approx_fprime(L.ravel(), lambda x: expected(x.reshape(L.shape)), 1e-7)
    np.testing.assert_allclose(gradient.ravel(), numeric, atol=1e-5)


@pytest.mark.parametrize("matrices", [Orthogonal(), Oblique()], ids=["orthogonal", "oblique"])
def test_slopes_along_the_set(matrices):
    rng = np.random.default_rng(1)
    problem = Problem(make_loadings(), Geomin(0.01), matrices)
    T = matrices.nearest(rng.normal(size=(3, 3)))
    size = matrices.n_directions(3)
    slope = matrices.coordinates(T, problem.slope(T)[0])
    for coordinates, derivative in zip(np.eye(size), slope, strict=True):
        V = matrices.tangent(T, coordinates)
        np.testing.assert_allclose(matrices.coordinates(T, V), coordinates, atol=1e-14)
        values = [problem.value(matrices.nearest(T + step * V)) for step in (1e-6, -1e-6)]
        assert derivative == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-6)


def test_oblique_rotations_are_minima_of_the_written_out_criteria():
    """No other start of a general optimiser finds a lower value."""
    A, rng = make_loadings(), np.random.default_rng(0)
    for method, criterion in (
        ("oblimin", lambda L: reference.oblimin(L, 0.0)),
        ("geomin", lambda L: reference.geomin(L, 0.01)),
    ):
        W, Phi = rotation.rotate(A.T, method, options(method))

        def value(x, criterion=criterion):
            T = x.reshape(3, 3)
            return criterion(A @ np.linalg.inv(T / np.linalg.norm(T, axis=0)).T)

        lowest = min(optimize.minimize(value, rng.normal(size=9)).fun for _ in range(8))
        assert criterion(W.T) <= lowest * (1 + 1e-9)
        np.testing.assert_allclose(W.T @ Phi @ W, A @ A.T, atol=1e-12)


def test_promax_is_hendrickson_and_whites():
    A = make_loadings()
    varimax, _ = rotation.rotate(A.T, "varimax", options("varimax"))
    W, Phi = rotation.rotate(A.T, "promax", options("promax", power=3))
    loadings, correlations = reference.promax(varimax.T, 3)
    np.testing.assert_allclose(np.sort(np.abs(W), axis=None), np.sort(np.abs(loadings), axis=None))
    np.testing.assert_allclose(
        np.sort(np.abs(Phi), axis=None), np.sort(np.abs(correlations), axis=None)
    )


def test_target_is_met_where_it_can_be():
    """A target that a rotation of the loadings reaches is reached, factors in its order."""
    A, rng = make_loadings(), np.random.default_rng(2)
    T = rng.normal(size=(3, 3))
    T /= np.linalg.norm(T, axis=0)
    target = A @ np.linalg.inv(T).T
    W, Phi = rotation.rotate(A.T, "target", options("target", target=target))
    np.testing.assert_allclose(W.T, target, atol=1e-7)
    np.testing.assert_allclose(Phi, T.T @ T, atol=1e-7)
    Q = np.linalg.qr(T)[0]
    given = options("target", target=A @ Q, orthogonal=True)
    W, Phi = rotation.rotate(A.T, "target", given)
    np.testing.assert_allclose(W.T, A @ Q, atol=1e-7)
    np.testing.assert_array_equal(Phi, np.eye(3))


# ---- as the estimator has them ----


@pytest.mark.parametrize("method", rotation.ROTATIONS)
def test_rotations_keep_the_distribution(method):
    X = make_rows(d=12)
    given = {"target": np.where(np.eye(12, 3) > 0, 0.0, np.nan)} if method == "target" else None
    plain = FactorAnalysis(3).fit(X)
    rotated = FactorAnalysis(3, rotation=method, rotation_options=given).fit(X)
    np.testing.assert_allclose(rotated.get_covariance(), plain.get_covariance(), rtol=1e-9)
    np.testing.assert_allclose(rotated.score_samples(X), plain.score_samples(X), rtol=1e-9)
    Phi, W = rotated.factor_covariance_, rotated.components_
    np.testing.assert_allclose(np.diagonal(Phi), 1.0, rtol=1e-12)
    assert (method in OBLIQUE) == (np.abs(Phi - np.eye(3)).max() > 1e-3)
    deviation = np.sqrt(np.diagonal(rotated.get_covariance()))
    np.testing.assert_allclose(rotated.structure_, (Phi @ W / deviation).T, rtol=1e-9)
    np.testing.assert_allclose(rotated.communalities_ + rotated.uniquenesses_, 1.0, rtol=1e-9)
    np.testing.assert_allclose(rotated.ss_loadings_.sum(), rotated.communalities_.sum())
    np.testing.assert_allclose(rotated.explained_variance_ratio_ * 12, rotated.ss_loadings_)
    assert (rotated.communalities_ > 0).all() and (rotated.uniquenesses_ > 0).all()


@pytest.mark.parametrize("method", ["varimax", "geomin"])
def test_units_and_signs_do_not_matter(method):
    X, scale = make_rows(d=12), 10.0 ** np.arange(-6, 6)
    model = FactorAnalysis(3, rotation=method).fit(X)
    scaled = FactorAnalysis(3, rotation=method).fit(X * scale)
    np.testing.assert_allclose(scaled.loadings_, model.loadings_, atol=1e-4)


def test_factors_without_loadings_stay_unrotated():
    A = np.column_stack([make_loadings(2), np.zeros(12)])
    for method in ("varimax", "oblimin", "geomin"):
        W, Phi = rotation.rotate(A.T, method, options(method))
        assert not W[2].any() and (Phi[2] == [0, 0, 1]).all()
    one = A[:, [0]].T
    np.testing.assert_array_equal(rotation.rotate(one, "oblimin", options("oblimin"))[0], one)


def test_the_target_of_one_factor_fixes_nothing():
    X = make_rows(k=1)
    given = {"target": np.full((10, 1), -0.5)}
    one = FactorAnalysis(1, rotation="target", rotation_options=given).fit(X)
    plain = FactorAnalysis(1).fit(X).loadings_
    np.testing.assert_array_equal(one.loadings_, -plain if plain.sum() > 0 else plain)


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("oblimin", {"gama": 0}, r"rotation='oblimin' has no option 'gama'; its options: .*gamma"),
        (None, {"gamma": 0}, r"rotation=None has no option 'gamma'; its options: none"),
        ("oblimin", {"gamma": 0.5}, r"rotation_options\['gamma'\] must be at most 0 .* got 0.5"),
        ("oblimin", {"gamma": -np.inf}, r"rotation_options\['gamma'\] must be at most 0"),
        ("promax", {"power": 1e300}, r"rotation_options\['power'\] must be greater than 1 and"),
        ("promax", {"power": 1}, r"rotation_options\['power'\] must be .*, got 1"),
        (
            "geomin",
            {"epsilon": 0},
            r"rotation_options\['epsilon'\] must be greater than 0 .*, got 0",
        ),
        ("geomin", {"epsilon": np.nan}, r"rotation_options\['epsilon'\] must be greater than 0"),
        ("geomin", {"normalize": np.eye(2)}, r"rotation_options\['normalize'\] must be True or"),
        ("target", None, r"needs rotation_options=\{'target': T\}"),
        ("target", {"target": np.eye(3, 10)}, r"= \(10, 3\), got \(3, 10\)"),
        ("target", {"target": np.full((10, 3), np.nan)}, "must have entries of magnitude up to 1e"),
        ("target", {"target": np.full((10, 3), np.inf)}, "must have entries of magnitude up to 1e"),
        ("target", {"target": 7}, r"rotation_options\['target'\] must"),
    ],
)
def test_options_are_refused_by_name(method, given, message):
    with pytest.raises(ValueError, match=message):
        FactorAnalysis(3, rotation=method, rotation_options=given).fit(make_rows())


def test_a_power_that_is_no_number():
    with pytest.raises(TypeError, match=r"rotation_options\['power'\] must be a number, got 'a'"):
        FactorAnalysis(3, rotation="promax", rotation_options={"power": "a"}).fit(make_rows())


def test_the_same_rotation_every_time():
    X = make_rows(d=12)
    first, second = (FactorAnalysis(3, rotation="geomin").fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.components_, second.components_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FactorAnalysis(3, rotation="varimax").fit(X)


def test_options_in_a_file(tmp_path):
    from aefast import load

    X = make_rows(d=12)
    target = [[0.0, None, None]] * 3 + [[None, 0.0, 0.0]] * 9
    given = {"target": np.array(target, dtype=float), "orthogonal": np.bool_(True)}
    model = FactorAnalysis(3, rotation="target", rotation_options=given).fit(X)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.rotation_options == {"target": target, "orthogonal": True}
    np.testing.assert_array_equal(loaded.fit(X).components_, model.components_)
