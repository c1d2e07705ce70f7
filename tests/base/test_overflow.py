"""Results beyond the range of their type: finite, or an error with row, column and cause."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import aefast
from aefast._base.float_range import mean_of, sum_of
from aefast.sparse_coding.denoising import denoise, estimate_noise, psnr

X = np.random.default_rng(0).normal(size=(60, 4))
GAPS = np.where(np.random.default_rng(1).random(X.shape) < 0.1, np.nan, X)
MODELS = {
    "ppca": lambda rows: aefast.ProbabilisticPCA(1).fit(rows),
    "factors": lambda rows: aefast.FactorAnalysis(1).fit(rows),
}
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "ignore:Heywood")


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param](X)


def with_entry(rows, row, column, value):
    changed = rows[:5].copy()
    changed[row, column] = value
    return changed


# ---- factor models ----


@pytest.mark.parametrize("rows", [X, GAPS], ids=["complete", "gaps"])
@pytest.mark.parametrize("method", ["score_samples", "score", "mahalanobis", "aic", "bic"])
def test_distances_that_overflow_name_row_and_column(model, method, rows):
    large = with_entry(rows, 2, 1, 1e160)
    where = (
        r"distance overflows float64 at row 2, though X is finite: column 1 of the row is 1e\+160"
    )
    with pytest.raises(FloatingPointError, match=where):
        getattr(model, method)(large)
    named = MODELS["ppca"](pd.DataFrame(X, columns=list("abcd")))
    with pytest.raises(FloatingPointError, match=r"column 'b' of the row"):
        getattr(named, method)(pd.DataFrame(large, columns=list("abcd")))


@pytest.mark.parametrize("rows", [X, GAPS], ids=["complete", "gaps"])
def test_large_distances_within_float64_are_finite(model, rows):
    large = with_entry(rows, 2, 1, 1e150)
    log_p, distances = model.score_samples(large), model.mahalanobis(large)
    residual = np.where(np.arange(4) == 1, 1e150, 0)
    expected = residual @ model.get_precision() @ residual
    if not np.isnan(rows[2]).any():
        np.testing.assert_allclose(distances[2], expected, rtol=1e-6)
    np.testing.assert_allclose(log_p[2], -0.5 * distances[2], rtol=1e-12)
    assert np.isfinite(model.aic(large)) and np.isfinite(model.bic(large))


@pytest.mark.parametrize("rows", [X, GAPS], ids=["complete", "gaps"])
@pytest.mark.parametrize("method", ["impute", "transform", "score_samples"])
def test_infinite_entries_are_refused(model, method, rows):
    with pytest.raises(ValueError, match=r"infinity \(inf\) at row 3, column 2"):
        getattr(model, method)(with_entry(rows, 3, 2, np.inf))


def test_imputed_rows_keep_their_values(model):
    np.testing.assert_array_equal(model.impute(X), X)
    filled = model.impute(GAPS)
    np.testing.assert_array_equal(filled[~np.isnan(GAPS)], GAPS[~np.isnan(GAPS)])
    assert np.isfinite(filled).all()


@pytest.mark.parametrize("rows", [X, GAPS], ids=["complete", "gaps"])
def test_posterior_means_that_overflow_float32(rows):
    model = aefast.ProbabilisticPCA(1).fit(X * 1e-9)
    large = with_entry(rows, 4, 0, 3e38).astype(np.float32)
    with pytest.raises(FloatingPointError, match=r"overflows float32 at row 4.*pass X as float64"):
        model.transform(large)
    assert np.isfinite(model.transform(large.astype(np.float64))).all()


def test_sums_and_means_of_log_likelihoods():
    values = np.array([-1e308, -1.5e308, 1.0])
    np.testing.assert_allclose(mean_of(values), -(1e308 / 3 + 1.5e308 / 3))
    weight = np.array([3.0, 0.0, 0.0])
    np.testing.assert_allclose(mean_of(values, weight), -1e308)
    with pytest.raises(FloatingPointError, match="sum of 3 log-likelihoods overflows"):
        sum_of(values)
    assert sum_of(values[2:]) == 1.0


# ---- products of sparse rows ----


def products():
    """Return linear maps of rows that multiply by some 1e30, by name."""
    items = aefast.ItemAutoencoder(1.0).fit(np.abs(X))
    items.components_ *= 1e30
    linear = aefast.MarginalizedAutoencoder().fit(X)
    linear.coef_ *= 1e30
    return {
        "whitening": aefast.Whitening(epsilon=0).fit(X * 1e-30).transform,
        "items": items.transform,
        "marginalized": linear.reconstruct,
        "ppca": aefast.ProbabilisticPCA(2).fit(X * 1e-30).transform,
    }


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", ["whitening", "items", "marginalized", "ppca"])
def test_projections_that_overflow_name_the_place(name, is_sparse):
    project = products()[name]
    rows = np.zeros((40, 4), np.float32)
    rows[:, 1] = 1
    rows[33, 1] = 1e15
    given = sparse.csr_matrix if is_sparse else np.asarray
    where = r"at row 33, column \d, though X is finite: column 1 of the row is 1e\+15; pass X as"
    with pytest.raises(FloatingPointError, match=f"a result overflows float32 {where}"):
        project(given(rows))
    wide = rows.astype(np.float64)
    results = project(given(wide))
    assert np.isfinite(results).all()
    wide[33, 1] = 1e290
    with pytest.raises(FloatingPointError, match=r"overflows float64 at row 33, .*; scale it down"):
        project(given(wide))


def test_sparse_rows_have_the_offset_of_dense_rows():
    shifted = X + 3
    model = aefast.MarginalizedAutoencoder().fit(shifted)
    actual = model.reconstruct(sparse.csr_matrix(shifted))
    np.testing.assert_allclose(actual, model.reconstruct(shifted), rtol=1e-12)
    tanh = aefast.MarginalizedAutoencoder(activation="tanh").fit(shifted)
    np.testing.assert_allclose(
        tanh.transform(sparse.csr_matrix(shifted)), tanh.transform(shifted), rtol=1e-12
    )


# ---- dictionaries and images ----


@pytest.fixture(scope="module")
def dictionary():
    return aefast.DictionaryLearning(3, max_epochs=1, random_state=0).fit(X)


def test_codes_and_reconstructions_that_overflow(dictionary):
    large = np.full((2, 4), 3e38, np.float32)
    large[0] = 1
    for output_format in ("dense", "csr"):
        dictionary.set_params(output_format=output_format)
        with pytest.raises(FloatingPointError, match=r"a code overflows float32 at row 1, column"):
            dictionary.transform(large)
    H = np.ones((3, 3))
    H[2] = np.copysign(1.7e308, dictionary.components_[:, 0])
    for given in (H, sparse.csr_matrix(H)):
        with pytest.raises(
            FloatingPointError, match=r"a result overflows float64 at row 2, column"
        ):
            dictionary.inverse_transform(given)
    H[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"H must be finite, got nan at \(1, 2\)"):
        dictionary.inverse_transform(H)


@pytest.mark.parametrize("output_format", ["dense", "csr"])
@pytest.mark.parametrize("algorithm", ["lasso_active", "lasso_cd", "omp", "threshold"])
def test_rows_that_cannot_be_coded_are_named(algorithm, output_format):
    rows = np.random.default_rng(0).random((60, 4))
    rows[41, 2] = -1e308
    frame = pd.DataFrame(rows, columns=list("abcd"))
    D = np.random.default_rng(1).normal(size=(6, 4))
    options = {"n_nonzero_coefs": 2} if algorithm == "omp" else {}
    with pytest.raises(FloatingPointError, match=r"entry is -1e\+308 at row 41, column 'c'; scale"):
        aefast.sparse_encode(
            frame, D, algorithm=algorithm, output_format=output_format, alpha=0.1, **options
        )
    with pytest.raises(FloatingPointError, match=r"at row 41, column 2; scale X down"):
        aefast.DictionaryLearning(3, random_state=0).fit(rows)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_images_that_are_not_finite_are_refused(bad):
    image = np.zeros((6, 5))
    image[4, 3] = bad
    for call in (
        lambda: estimate_noise(image),
        lambda: psnr(image, np.zeros((6, 5))),
        lambda: denoise(image, np.eye(4), 1.0),
    ):
        with pytest.raises(ValueError, match=r"image must be finite, got (nan|inf) at \(4, 3\)"):
            call()
    with pytest.raises(ValueError, match=r"clean must be finite"):
        psnr(np.zeros((6, 5)), image)


def test_noise_and_decibels_of_any_scale():
    image = np.random.default_rng(0).normal(size=(40, 30))
    usual, clean = estimate_noise(image), np.zeros_like(image)
    decibels = psnr(image, clean)
    for exponent in (1018, -1000):
        scaled = np.ldexp(image, exponent)
        assert estimate_noise(scaled) == np.ldexp(usual, exponent)
        assert psnr(scaled, clean) == pytest.approx(decibels - 20 * np.log10(2) * exponent)
    assert psnr(image, clean, peak=1e300) == pytest.approx(decibels + 6000)
    ends = np.array([[1.7e308, -1.7e308], [-1.7e308, 1.7e308]])
    with pytest.raises(FloatingPointError, match="noise of image overflows"):
        estimate_noise(ends)
    assert psnr(ends, -ends) == pytest.approx(-20 * (np.log10(3.4) + 308))


def test_images_and_noise_that_are_too_large():
    with pytest.raises(FloatingPointError, match=r"mean of a patch of image overflows"):
        denoise(np.full((4, 4), 1.7e308), np.eye(4), 1.0)
    for noise in (1e200, np.float64(1e200)):
        with pytest.raises(ValueError, match="noise must have a square within float64"):
            denoise(np.zeros((4, 4)), np.eye(4), noise)
    for peak in (0.0, -1.0, np.inf):
        with pytest.raises(ValueError, match="peak must be positive"):
            psnr(np.zeros((2, 2)), np.ones((2, 2)), peak)
    with pytest.raises(ValueError, match="must have one shape and pixels"):
        psnr(np.zeros((0, 2)), np.zeros((0, 2)))
