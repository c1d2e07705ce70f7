"""Results, files and domains of models that scale columns, in the user's units."""

import numpy as np
import pytest
from reference import scaling as reference_scaling
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning
from support.model_files import edited
from support.scaled_rows import CENTRES, QUICK, SPREADS, as_scaled, rows_of, without_scaling

import aefast
from aefast import Autoencoder, StackedAutoencoder

# ---- results in the user's units ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("model", [Autoencoder(3), StackedAutoencoder((5, 3))])
def test_results_are_in_the_users_units(model, dtype, isa):
    X = rows_of(dtype=dtype)
    ae = model.set_params(scale="standard", max_epochs=2, random_state=0).fit(X)
    shift, scale, _ = ae._state.scaling
    plain, scaled = without_scaling(ae, X), as_scaled(ae, X)
    H = ae.transform(X)
    assert H.tobytes() == plain.transform(scaled).tobytes()
    wanted = reference_scaling.in_users_units(plain.reconstruct(scaled), shift, scale)
    for found in (ae.reconstruct(X), ae.inverse_transform(H)):
        assert found.dtype == dtype
        assert np.abs((found - wanted) / scale).max() < (
            2e-3 if dtype == np.float32 else 1e-10
        )  # a column's mean is up to 2e4 of its standard deviations
    wanted = reference_scaling.in_users_units(plain.sample_output(H, 0), shift, scale)
    off = np.abs(ae.sample_output(H, 0) - wanted) / (np.abs(shift) + scale)  # sums may cancel
    assert off.max() < (1e-6 if dtype == np.float32 else 1e-12)
    for per_feature in (False, True):
        losses = ae.reconstruction_error(X, per_feature)
        assert losses.tobytes() == plain.reconstruction_error(scaled, per_feature).tobytes()
    log_p = plain.score_samples(scaled, per_feature=True)
    wanted = reference_scaling.log_density(log_p, X, scale)
    np.testing.assert_allclose(ae.score_samples(X, per_feature=True), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ae.score_samples(X), wanted.sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("output", reference_scaling.REAL)
def test_densities_integrate_to_one(output):
    """The density of a column in the user's units, by the trapezoidal rule over its values."""
    X = rows_of()
    ae = Autoencoder(2, output=output, scale="standard", missing="mask", **QUICK).fit(X)
    x = np.full((4001, 7), np.nan)
    x[:, 0] = 1e3 + 200 * np.linspace(-400, 400, 4001)
    # the code must not depend on the column, so that only its own distribution is left
    ae._state.model.split(ae._state.parameters)[0].W[:, 0] = 0
    p = np.exp(ae.score_samples(x))
    assert np.trapezoid(p, x[:, 0]) == pytest.approx(1, abs=0.02)


def test_missing_entries_keep_the_users_units(isa):
    X = rows_of()
    gaps = np.random.default_rng(2).random(X.shape) < 0.2
    X[gaps] = np.nan
    ae = Autoencoder(3, missing="mask", **QUICK).fit(X)
    np.testing.assert_allclose(ae._state.fill, np.nanmean(X, axis=0))
    plain, scaled = without_scaling(ae, X), as_scaled(ae, X)
    filled = ae.impute(X)
    assert (filled[~gaps] == X[~gaps]).all()
    wanted = reference_scaling.in_users_units(plain.reconstruct(scaled), *ae._state.scaling[:2])
    np.testing.assert_allclose(filled[gaps], wanted[gaps], rtol=1e-9, atol=1e-9)
    log_p = plain.score_samples(scaled, per_feature=True)
    wanted = reference_scaling.log_density(log_p, X, ae._state.scaling.scale)
    np.testing.assert_allclose(ae.score_samples(X), wanted.sum(axis=1), rtol=1e-9)
    assert (ae.score_samples(X, per_feature=True)[gaps] == 0).all()


def test_walk_back():
    X = rows_of()
    ae = Autoencoder(3, corruption=("gaussian", 0.1), **QUICK).fit(X)
    chain = ae.walk_back(X, 3, random_state=0)
    spread = np.abs((chain - CENTRES) / SPREADS)
    assert 0.2 < np.median(spread) < 3
    plain = without_scaling(ae, X).walk_back(as_scaled(ae, X), 3, random_state=0)
    wanted = reference_scaling.in_users_units(plain, *ae._state.scaling[:2])
    assert np.abs((chain - wanted) / SPREADS).max() < 1e-8


def test_quality_does_not_depend_on_units():
    """A fit of raw columns reconstructs them as well as a fit of standardised ones."""
    X = load_wine().data
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    raw = Autoencoder(6, random_state=0, max_epochs=100).fit(X)
    standardised = Autoencoder(6, random_state=0, max_epochs=100).fit(Z)
    errors = [
        (((raw.reconstruct(X) - X) / X.std(axis=0)) ** 2).sum(axis=1).mean(),
        ((standardised.reconstruct(Z) - Z) ** 2).sum(axis=1).mean(),
    ]
    assert errors[0] == pytest.approx(errors[1], rel=1e-3)
    jacobian = np.log(X.std(axis=0)).sum()
    assert raw.score(X) == pytest.approx(standardised.score(Z) - jacobian, rel=1e-4)


@pytest.mark.parametrize("dtype, far", [(np.float32, 1e38), (np.float64, 1e200)])
def test_entries_too_far_from_the_quartiles(dtype, far):
    X = rows_of(dtype=dtype)
    X[7, 1] = far
    with pytest.raises(ValueError, match=r"column 1 of X has entries from .* set scale='standard'"):
        Autoencoder(2, scale="robust", **QUICK).fit(X)
    report = Autoencoder(2, scale="standard", **QUICK).fit(X).fit_report_
    assert report["loss"] < report["constant_loss"]


def test_results_that_overflow():
    X = (np.random.default_rng(0).normal(size=(50, 3)) * 1e37).astype(np.float32)
    ae = Autoencoder(1, scale="standard", **QUICK).fit(X)
    with pytest.raises(FloatingPointError, match=r"in the units of X overflows float32 at row 0"):
        ae.inverse_transform(np.full((1, 1), 1e3, np.float32))
    X = rows_of(dtype=np.float32)
    ae = Autoencoder(1, scale="standard", **QUICK).fit(X)
    far = X.copy()
    far[4, 3] = 3e38
    with pytest.raises(ValueError, match=r"too far from those of the fit .* at row 4, column 3"):
        ae.transform(far)


# ---- what goes on, and what is kept ----


@pytest.mark.parametrize("model", [Autoencoder(2), StackedAutoencoder((3, 2))])
def test_training_goes_on_in_the_units_of_the_first_fit(model):
    X = rows_of()
    ae = model.set_params(random_state=0, max_epochs=1).fit(X)
    kept = ae._state.scaling
    ae.partial_fit(X * 5)
    assert ae._state.scaling is kept
    ae.set_params(warm_start=True, scale=None).fit(X * 5)
    assert ae._state.scaling is kept
    assert ae.set_params(warm_start=False).fit(X)._state.scaling is None


@pytest.mark.parametrize("model", [Autoencoder(2), StackedAutoencoder((3, 2))])
def test_files(model, tmp_path):
    X = rows_of()
    ae = model.set_params(random_state=0, max_epochs=2, scale="robust", domain="clip").fit(X)
    ae.save(tmp_path / "model.safetensors")
    loaded = aefast.load(tmp_path / "model.safetensors")
    assert (loaded.scale, loaded.domain) == ("robust", "clip")
    for found, wanted in zip(loaded._state.scaling, ae._state.scaling, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert loaded.reconstruct(X).tobytes() == ae.reconstruct(X).tobytes()
    further = [m.partial_fit(X)._state.parameters.tobytes() for m in (loaded, ae)]
    assert further[0] == further[1]


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("column_scale", 0.0, "positive numbers in 'column_scale'"),
        ("column_scale", -1.0, "positive numbers in 'column_scale'"),
        ("column_scale", np.nan, "column_scale"),
        ("column_shift", np.inf, "column_shift"),
    ],
)
def test_hostile_files(name, value, message, tmp_path):
    path = tmp_path / "model.safetensors"
    Autoencoder(2, **QUICK).fit(rows_of()).save(path)
    with edited(path) as (header, _, data):
        begin = header[name]["data_offsets"][0]
        data[begin + 24 : begin + 32] = np.float64(value).tobytes()
    with pytest.raises(ValueError, match=message):
        aefast.load(path)


def test_layers_of_a_stack():
    X = rows_of()
    stack = StackedAutoencoder((4, 2), random_state=0, max_epochs=2, pretrain_epochs=2).fit(X)
    below, above = stack.layers_
    assert stack._state.scaling is not None
    assert below._state.scaling is stack._state.scaling
    assert above._state.scaling is None
    H = above.transform(below.transform(X))
    np.testing.assert_allclose(H, stack.transform(X), rtol=1e-12)
    assert stack.fit_report_["scale"] == "standard"


# ---- rows outside the domain ----

METHODS = ("transform", "reconstruct", "reconstruction_error", "score_samples", "score")


@pytest.mark.parametrize("model", [Autoencoder(2), StackedAutoencoder((3, 2))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_domain(model, dtype, isa):
    """Every method refuses a row outside the domain, or reads it as the nearest row inside."""
    X = np.random.default_rng(0).random((60, 7)).astype(dtype)
    outside = X.copy()
    outside[3, 2], outside[5, 6] = 1.0039, -0.01
    ae = model.set_params(output="bernoulli", domain="error", random_state=0, max_epochs=1).fit(X)
    for name in METHODS:
        with pytest.raises(ValueError, match=r"in \[0, 1\], got 1.00\d* at row 3, column 2"):
            getattr(ae, name)(outside)
    with pytest.raises(ValueError, match="row 3"):
        ae.walk_back(outside, 2)
    ae.set_params(domain="clip")
    inside = np.clip(outside, 0, 1)
    for name in METHODS:
        found, wanted = (np.asarray(getattr(ae, name)(rows)) for rows in (outside, inside))
        assert found.tobytes() == wanted.tobytes(), name
    for walk in (ae.walk_back(rows, 2, random_state=0) for rows in (outside, inside)):
        assert np.isfinite(walk).all()
    outside[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN at row 0"):
        ae.transform(outside)


def test_domains_of_single_columns_with_scaled_ones(isa):
    X = rows_of()
    X[:, 4] = X[:, 4] > 2
    output = [("gaussian", [0, 1, 2, 3, 5, 6]), ("bernoulli", [4])]
    ae = Autoencoder(2, output=output, domain="clip", missing="mask", **QUICK).fit(X)
    assert ae._state.scaling is not None
    outside = X.copy()
    outside[0, 4], outside[1, 4], outside[2, 1] = -3, 1.5, np.nan
    inside = outside.copy()
    inside[:, 4] = np.clip(outside[:, 4], 0, 1)
    for name in METHODS:
        found, wanted = (np.asarray(getattr(ae, name)(rows)) for rows in (outside, inside))
        assert found.tobytes() == wanted.tobytes(), name


def test_the_command(tmp_path, capsys):
    from aefast.cli import main

    np.save(tmp_path / "X.npy", rows_of())
    fit = ["fit", str(tmp_path / "X.npy"), "-k", "2", "--epochs", "2", "--no-plots"]
    for given, wanted in (("none", None), ("robust", "robust")):
        folder = tmp_path / given
        assert main([*fit, "--out", str(folder), "--column-scale", given]) in (0, 3)
        ae = aefast.load(folder / "model.safetensors")
        assert ae.scale == wanted
        assert (ae._state.scaling is None) == (wanted is None)


def test_a_raw_table_gives_no_warning(recwarn):
    X = load_breast_cancer().data
    Autoencoder(10, random_state=0, max_epochs=200).fit(X)
    assert not [w for w in recwarn if issubclass(w.category, ConvergenceWarning)]


@pytest.mark.parametrize(
    "output", ["poisson", "negative_binomial", "gamma", "exponential", "multinomial"]
)
def test_the_first_loss_of_heavy_tails(output):
    """Columns with means from 0.2 to 1e4, whose links stretch a start by principal components."""
    random = np.random.default_rng(0)
    Z = random.normal(size=(300, 3)) @ random.normal(size=(3, 9))
    X = random.poisson(np.exp(0.7 * Z + np.linspace(-1.5, 9, 9))).astype(float)
    X = X + 0.1 if output in ("gamma", "exponential") else X
    report = Autoencoder(3, output=output, max_epochs=0, random_state=0).fit(X).fit_report_
    assert report["loss"] <= report["constant_loss"] + 1e-9 * abs(report["constant_loss"])


def test_rows_are_completed_in_the_units_of_the_model():
    """A fit that prepares for missing entries does so alike whatever the units."""
    X = rows_of(200)
    gaps = np.random.default_rng(2).random(X.shape) < 0.2
    X[gaps] = np.nan
    unit = np.nanstd(X, axis=0)
    Z = (X - np.nanmean(X, axis=0)) / unit
    raw, standardised = (Autoencoder(3, missing="mask", random_state=0).fit(T) for T in (X, Z))
    assert raw.fit_report_["scale"] == "standard"
    assert standardised.fit_report_["scale"] is None
    sigmas = [ae.fit_report_["corruption"][1] for ae in (raw, standardised)]
    assert sigmas[0] == pytest.approx(sigmas[1], rel=1e-6)
    difference = (raw.impute(X) - np.nanmean(X, axis=0)) / unit - standardised.impute(Z)
    assert np.abs(difference).max() < 0.05


def test_the_number_of_units_does_not_depend_on_units():
    X = load_breast_cancer().data
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    raw, standardised = (Autoencoder(**QUICK).fit(T) for T in (X, Z))
    chosen = raw.fit_report_["n_components"]
    assert 1 < chosen == standardised.fit_report_["n_components"]
