"""Counts and positive numbers: the encoder reads their logarithms, the loss has them themselves."""

import numpy as np
import pytest
from reference import autoencoder as reference
from reference import logarithms as reference_logarithms
from reference import noise as reference_noise

import aefast
from aefast import Autoencoder, StackedAutoencoder
from aefast.networks import _autoencoder
from aefast.networks.network import Parameters, single_layer
from aefast.networks.outputs import plain_output
from aefast.networks.reading import Logarithms, Reading, logarithmic_columns
from aefast.networks.variants import variant_of_rows

QUICK = {"max_epochs": 3, "random_state": 0}
OF_LOGARITHMS = ["poisson", "negative_binomial", "exponential", "gamma"]


def rows_of(output, n=300, d=7, heavy=1.2, spread=2.0, seed=0):
    """Return rows whose means span orders of magnitude, as products of three factors."""
    random = np.random.default_rng(seed)
    factors = random.normal(size=(n, 3)) @ random.normal(size=(3, d)) / np.sqrt(3)
    means = np.exp(spread * random.normal(size=d) + heavy * factors)
    draws = {
        "poisson": lambda: random.poisson(means),
        "negative_binomial": lambda: random.negative_binomial(2, 2 / (2 + means)),
        "exponential": lambda: random.exponential(means),
        "gamma": lambda: random.gamma(2.0, means / 2),
    }
    return np.maximum(draws[output](), 1e-20 if output == "gamma" else 0).astype(np.float64)


@pytest.mark.parametrize("output", OF_LOGARITHMS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("missing", [False, True])
def test_offsets_and_centres(output, missing, weighted):
    X, random = rows_of(output), np.random.default_rng(1)
    weight = random.uniform(0, 2, len(X)) * (random.random(len(X)) < 0.8) if weighted else None
    if missing:
        X[random.random(X.shape) < 0.2] = np.nan
    ae = Autoencoder(2, output=output, missing="mask", **QUICK).fit(X, sample_weight=weight)
    has_counts = output in ("poisson", "negative_binomial")
    offset, centre = reference_logarithms.offset_and_centre(X, has_counts, weight)
    np.testing.assert_allclose(ae._state.logarithms.offset, offset, rtol=1e-12)
    np.testing.assert_allclose(ae._state.logarithms.centre, centre, rtol=1e-10, atol=1e-12)
    assert ae.fit_report_["n_logarithms"] == 7


def test_columns_of_other_distributions_are_read_as_they_are():
    X = rows_of("poisson")
    X[:, 2:4] = np.random.default_rng(0).random((300, 2))
    output = [("poisson", [0, 1]), ("bernoulli", [2, 3]), ("poisson", [4, 5, 6])]
    ae = Autoencoder(2, output=output, **QUICK).fit(X)
    offset, centre = ae._state.logarithms
    np.testing.assert_array_equal(offset, [1, 1, 0, 0, 1, 1, 1])
    assert (centre[2:4] == 0).all()
    assert ae.fit_report_["n_logarithms"] == 5
    assert Autoencoder(2, **QUICK).fit(X)._state.logarithms is None  # gaussian


@pytest.mark.parametrize("given", [{"scale": None}, {"gain": False}, {"init": "glorot"}])
def test_without_scale_and_in_the_textbook_network_rows_are_read_as_they_are(given):
    ae = Autoencoder(2, output="poisson", **QUICK, **given).fit(rows_of("poisson"))
    assert ae._state.logarithms is None and "n_logarithms" not in ae.fit_report_


def test_logarithms_are_a_part_of_given_units():
    ae = Autoencoder(2, output="poisson", gain=False, scale="standard", **QUICK)
    assert ae.fit(rows_of("poisson"))._state.logarithms is not None


def test_which_columns():
    output = plain_output("poisson")
    assert all(part.all() for part in logarithmic_columns(output, 3))
    of_gamma = logarithmic_columns(plain_output("gamma"), 3)
    assert of_gamma[0].all() and not of_gamma[1].any()
    assert not any(part.any() for part in logarithmic_columns(plain_output("multinomial"), 3))


# ---- kernels against the reference ----


@pytest.mark.parametrize("corruption", [None, ("gaussian", 2.0), ("masking", 0.3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(131, 7, 4), (40, 67, 19)])
def test_gradients(shape, dtype, corruption, isa):
    """Gradients of the loss of X where the encoder reads logarithms, with noise before them."""
    n, d, k = shape
    X = rows_of("poisson", n, d, heavy=0.7, spread=0.5).astype(dtype)
    random = np.random.default_rng(3)
    W, b, c = random.normal(size=(k, d)) / np.sqrt(d), random.normal(size=k), random.normal(size=d)
    typed = [array.astype(dtype) for array in (W, b, c)]
    offset = np.where(np.arange(d) % 3, random.uniform(0.5, 2, d), 0).astype(dtype)
    centre = np.where(offset > 0, random.normal(size=d), 0).astype(dtype)
    found = Logarithms(offset.astype(np.float64), centre.astype(np.float64))
    variant, encoded = variant_of_rows(Reading(logarithms=found), dtype), X.astype(np.float64)
    if corruption:
        kind, level = corruption
        variant = variant._replace(corruption=kind, corruption_level=level, seed=5)
        encoded = reference_noise.corrupted(encoded, kind, level, 5)
    encoded = reference_logarithms.encoded(encoded, *found)
    network = single_layer(d, k, True, "sigmoid", plain_output("poisson"))
    loss, gradient, status = _autoencoder.loss_and_gradients(
        network, X, (Parameters(typed[0], typed[0], *typed[1:]),), None, None, 128, 2, variant
    )
    parameters = reference.Parameters(*(array.astype(np.float64) for array in typed), None)
    options = {"output": "poisson", "encoded": encoded}
    wanted = reference.flatten(reference.gradients(X, parameters, **options))
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    assert status == 0
    assert loss == pytest.approx(reference.loss(X, parameters, **options), rel=tolerance)
    np.testing.assert_allclose(gradient, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("n", [1, 3, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("output", OF_LOGARITHMS)
def test_codes_and_reconstructions(output, dtype, n, isa):
    X = rows_of(output).astype(dtype)
    ae = Autoencoder(3, output=output, **QUICK).fit(X)
    rows, tolerance = X[:n], 1e-9 if dtype == np.float64 else 2e-3
    parameters = reference.Parameters(
        *(np.float64(a) for a in (ae.components_, ae.hidden_bias_, ae.visible_bias_)), None
    )
    given = {"encoded": reference_logarithms.encoded(rows, *ae._state.logarithms)}
    given["gain"] = np.float64(ae.gain_)
    wanted = reference.forward(rows, parameters, "poisson", **given)  # means do not depend on theta
    np.testing.assert_allclose(ae.transform(rows), wanted.H / ae.gain_ + 0.5, atol=tolerance)
    np.testing.assert_allclose(ae.reconstruct(rows), wanted.X_hat, rtol=tolerance)


# ---- what it is for ----


@pytest.mark.parametrize("output", OF_LOGARITHMS)
def test_heavy_tails(output):
    """New rows are far better explained than by the column means, and than from raw counts."""
    X = rows_of(output, 1200, 12, heavy=1.5, spread=2.5)
    train, new = X[:900], X[900:]
    given = {"output": output, "random_state": 0, "max_epochs": 200}
    loss, raw = (-Autoencoder(3, scale=s, **given).fit(train).score(new) for s in ("auto", None))
    constant = Autoencoder(1, **given | {"max_epochs": 0}, gain=False, init="glorot").fit(train)
    constant.components_[...] = 0
    assert loss < raw
    assert loss < -constant.score(new)


def test_kept_by_files_stacks_and_later_fits(tmp_path):
    X = rows_of("poisson")
    ae = Autoencoder(3, output="poisson", **QUICK).fit(X)
    ae.save(tmp_path / "model")
    loaded = aefast.load(tmp_path / "model")
    assert loaded.reconstruct(X).tobytes() == ae.reconstruct(X).tobytes()
    offset, centre = ae._state.logarithms
    loaded.partial_fit(10 * X)
    np.testing.assert_array_equal(loaded._state.logarithms.centre, centre)
    stack = StackedAutoencoder((5, 3), output="poisson", **QUICK).fit(X)
    np.testing.assert_array_equal(stack._state.logarithms.offset, offset)
    first, second = stack.layers_
    assert second._state.logarithms is None
    codes = second.transform(first.transform(X))
    np.testing.assert_allclose(stack.transform(X), codes, rtol=1e-6)


def test_hostile_files_are_refused(tmp_path):
    ae = Autoencoder(3, output="poisson", **QUICK).fit(rows_of("poisson"))
    offset, centre = ae._state.logarithms
    ae._state = ae._state._replace(logarithms=Logarithms(-offset, centre))
    ae.save(tmp_path / "model")
    with pytest.raises(ValueError, match="'log_offset'"):
        aefast.load(tmp_path / "model")


@pytest.mark.parametrize("value", [0.0, 3.0, 1e30])
def test_constant_columns(value):
    X = rows_of("poisson")
    X[:, 1] = value
    ae = Autoencoder(2, output="poisson", **QUICK).fit(X)
    assert np.isfinite(ae.reconstruct(X)).all()
