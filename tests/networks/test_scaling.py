"""Units of the columns: a fit with `scale` is the fit of scaled rows, in the user's units."""

import tracemalloc

import numpy as np
import pytest
from reference import autoencoder as reference
from reference import scaling as reference_scaling
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from support import textbook
from support.model_files import edited

import aefast
from aefast import Autoencoder, StackedAutoencoder
from aefast.networks import scaling
from aefast.networks.training import start
from aefast.networks.variants import variant_of_rows

CENTRES = np.array([1e3, -40.0, 0.0, 7e-3, 2.5, 1e4, 0.3])
SPREADS = np.array([200.0, 1e-2, 1.0, 1e-3, 30.0, 0.5, 9.0])
QUICK = {"max_epochs": 3, "random_state": 0}


def rows_of(n=90, dtype=np.float64, seed=0):
    """Return rows whose columns have very different units, and depend on each other."""
    random = np.random.default_rng(seed)
    Z = random.normal(size=(n, 3)) @ random.normal(size=(3, 7)) + 0.3 * random.normal(size=(n, 7))
    if dtype == np.uint8:
        return np.clip(np.rint(40 * Z / Z.std(axis=0) + 90), 0, 255).astype(np.uint8)
    return (CENTRES + SPREADS * Z / Z.std(axis=0)).astype(dtype)


def as_scaled(ae, X):
    """Return X in the units of a fitted model, by the reference."""
    return reference_scaling.scaled(X, *ae._state.scaling[:2])


def without_scaling(ae, X):
    """Return an estimator with the same state that reads scaled rows."""
    plain = type(ae)(**ae.get_params()).set_params(scale=None)
    vars(plain).update({k: v for k, v in vars(ae).items() if k not in plain.get_params()})
    state = ae._state
    fill = (
        state.fill
        if state.fill is None
        else (state.fill - state.scaling.shift) * (1 / state.scaling.scale)
    )
    plain._state = state._replace(
        parameters=state.parameters.copy(),
        optimizer_state=state.optimizer_state.copy(),
        scaling=None,
        fill=fill,
    )
    return plain


# ---- shift and scale ----


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("missing", [False, True])
def test_standard(missing, weighted):
    X, weight = rows_of(), None
    weight = np.random.default_rng(1).uniform(0, 2, len(X)) if weighted else None
    if missing:
        X[np.random.default_rng(2).random(X.shape) < 0.2] = np.nan
    ae = Autoencoder(2, scale="standard", missing="mask", **QUICK).fit(X, sample_weight=weight)
    shift, scale = reference_scaling.standard(X, weight)
    np.testing.assert_allclose(ae._state.scaling.shift, shift, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ae._state.scaling.scale, scale, rtol=1e-12)


def test_robust():
    X = rows_of()
    X[0] *= 1e9  # which a standard deviation would not survive
    X[:, 2] = np.where(np.arange(len(X)) % 5, 3.0, X[:, 2])  # no distance between the quartiles
    ae = Autoencoder(2, scale="robust", **QUICK).fit(X)
    shift, scale = reference_scaling.robust(X)
    assert scale[2] == 0
    scale[2] = X[:, 2].std()
    np.testing.assert_allclose(ae._state.scaling.shift, shift, rtol=1e-12)
    np.testing.assert_allclose(ae._state.scaling.scale, scale, rtol=0.02)
    np.testing.assert_allclose(np.delete(ae._state.scaling.scale - scale, 2), 0, atol=1e-9)


def test_common():
    X = rows_of()
    found = Autoencoder(2, scale="common", **QUICK).fit(X)._state.scaling
    shift, scale = reference_scaling.standard(X)
    np.testing.assert_allclose(found.shift, shift, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.scale, np.sqrt(np.mean(scale**2)), rtol=1e-12)


def test_large_tables_are_judged_by_a_part(monkeypatch):
    monkeypatch.setattr(scaling, "MOST_ENTRIES", 700)
    X = rows_of(20_000)
    found = Autoencoder(2, scale="standard", random_state=0, max_epochs=0).fit(X)._state.scaling
    shift, scale = reference_scaling.standard(X)
    np.testing.assert_allclose(found.shift, shift, rtol=1e-12, atol=1e-14)
    assert 0 < np.abs(found.scale / scale - 1).max() < 0.4


def test_only_real_valued_columns_are_scaled():
    X = np.abs(rows_of()) + 0.5
    X[:, 5], X[:, 6] = X[:, 5] > np.median(X[:, 5]), X[:, 6] < np.median(X[:, 6])
    output = [
        ("gaussian", [0]),
        ("gaussian_diagonal", [1]),
        ("laplace", [2]),
        ("poisson", [3]),
        ("gamma", [4]),
        ("bernoulli", [5, 6]),
    ]
    found = Autoencoder(2, output=output, scale="standard", **QUICK).fit(X)._state.scaling
    assert (found.scale[3:] == 1).all()
    assert (found.shift[3:] == 0).all()
    np.testing.assert_allclose(found.scale[:3], X[:, :3].std(axis=0))
    for name in reference_scaling.REAL:
        assert Autoencoder(2, output=name, scale="standard", **QUICK).fit(X)._state.scaling
    plain = Autoencoder(2, output="poisson", scale="standard", **QUICK).fit(np.rint(X))
    assert plain._state.scaling is None


@pytest.mark.parametrize("load", [load_iris, load_wine, load_diabetes, load_breast_cancer])
def test_auto_scales_raw_tables_and_leaves_standardised_ones(load):
    X = load().data
    raw = Autoencoder(2, **QUICK).fit(X)
    assert raw.fit_report_["scale"] == "standard"
    np.testing.assert_allclose(raw._state.scaling.scale, X.std(axis=0))
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    ae = Autoencoder(2, **QUICK).fit(X)
    assert ae.fit_report_["scale"] is ae._state.scaling is None
    off = Autoencoder(2, scale=None, **QUICK).fit(X)
    assert "scale" not in off.fit_report_
    assert off._state.parameters.tobytes() == ae._state.parameters.tobytes()


def test_auto_keeps_the_proportions_of_pixels():
    X = load_digits().data
    assert Autoencoder(2, **QUICK).fit(X / 16)._state.scaling is None
    ae = Autoencoder(2, **QUICK).fit(X.astype(np.uint8))
    assert ae.fit_report_["scale"] == "common"
    varies = X.std(axis=0) > 0
    assert len(np.unique(ae._state.scaling.scale[varies])) == 1


def test_auto_is_off_for_the_textbooks_network():
    X = rows_of()
    assert textbook.Autoencoder(2, max_epochs=1).fit(X)._state.scaling is None
    assert Autoencoder(2, init="glorot", max_epochs=1).fit(X)._state.scaling is None
    assert textbook.Autoencoder(2, max_epochs=1, scale="robust").fit(X)._state.scaling is not None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["auto", "standard", "robust"])
@pytest.mark.parametrize("spread", [1e-30, 1e30])
def test_extreme_units(spread, kind, dtype):
    """A fit is the same whatever the units, up to rounding; constant columns stay as they are."""
    Z = np.random.default_rng(0).normal(size=(60, 5))
    X = (Z * np.array([1, spread, 1, spread, 1])).astype(dtype)
    X[:, 2] = 0.1  # whose mean is rounded
    ae = Autoencoder(2, scale=kind, **QUICK).fit(X)
    assert ae._state.scaling.scale[2] == 1
    report = ae.fit_report_
    assert 0 < report["loss"] < report["constant_loss"] < 5
    assert np.isfinite(ae.reconstruct(X)).all()
    assert np.isfinite(ae.score_samples(X)).all()
    starts = [
        Autoencoder(2, scale=kind, max_epochs=0, random_state=0).fit(rows).fit_report_["loss"]
        for rows in (X, np.where(np.arange(5) == 2, 0.1, 8 * Z))
    ]
    assert starts[0] == pytest.approx(starts[1], rel=1e-4)


@pytest.mark.parametrize("X", [np.full((4, 3), 7.0), np.ones((1, 1)), np.zeros((5, 2))])
@pytest.mark.parametrize("kind", ["auto", "standard", "robust", "common"])
def test_constant_tables(kind, X):
    ae = Autoencoder(2, scale=kind, **QUICK).fit(X)
    np.testing.assert_allclose(ae.reconstruct(X), X, atol=1e-6)


def test_columns_without_entries_and_rows_without_weight():
    X = rows_of()
    X[:, 1] = np.nan
    weight = (np.arange(len(X)) % 2).astype(float)
    X[::2, 0] = 1e12  # rows without weight are not counted
    ae = Autoencoder(2, missing="mask", scale="standard", **QUICK).fit(X, sample_weight=weight)
    np.testing.assert_allclose(ae._state.scaling.scale[0], X[1::2, 0].std())
    assert ae._state.scaling.scale[1] == 1
    assert np.isfinite(ae.impute(X)).all()


# ---- the loader ----


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"missing": "mask"},
        {"corruption": ("masking", 0.3)},
        {"corruption": ("salt_and_pepper", 0.3), "missing": "mask"},
        {"top_k": 2, "activation": "relu"},
        {"tied": False, "output": [("huber", [0, 3]), ("gaussian_diagonal", [1, 2, 4, 5, 6])]},
        {"early_stopping": True},
    ],
)
def test_training_has_the_bits_of_scaled_rows(options, dtype, n_threads, isa):
    """In float32 too, because differences are taken in double."""
    X = rows_of(dtype=dtype)
    if "missing" in options and dtype != np.uint8:
        X[np.random.default_rng(2).random(X.shape) < 0.2] = np.nan
    ae = Autoencoder(
        5, scale="standard", batch_size=32, n_threads=n_threads, **options, **QUICK
    ).fit(X)
    plain = without_scaling(ae, X)
    scaled = as_scaled(ae, X)
    for estimator, rows in ((ae, X), (plain, scaled)):
        estimator.set_params(warm_start=True).fit(rows)
    if "salt_and_pepper" not in str(options):  # whose extremes are rounded once more
        assert ae._state.parameters.tobytes() == plain._state.parameters.tobytes()
        assert ae.transform(X).tobytes() == plain.transform(scaled).tobytes()
    np.testing.assert_allclose(ae._state.parameters, plain._state.parameters, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_training_matches_the_reference(solver, isa):
    X = rows_of(149)
    ae = textbook.Autoencoder(
        4, scale="standard", solver=solver, shuffle=False, tol=0, batch_size=32, random_state=0
    )
    start = ae.set_params(max_epochs=0).fit(X)._state.parameters.copy()
    ae.set_params(max_epochs=3).fit(X)
    scaled = reference_scaling.scaled(X, *reference_scaling.standard(X))
    if solver == "lbfgs":
        parameters = reference.unflatten(ae._state.parameters, 4, 7, True)
        loss = reference.loss(scaled, parameters, output="gaussian")
        assert ae.loss_curve_[-1] == pytest.approx(loss, rel=1e-9)
        return
    options = {"momentum": 0.9} if solver == "sgd" else {}
    expected = reference.train(
        scaled,
        reference.unflatten(start, 4, 7, True),
        [np.arange(149)] * 3,
        batch_size=32,
        output="gaussian",
        solver=solver,
        learning_rate=1e-3,
        **options,
    )
    flat = reference.flatten(expected.parameters)
    assert np.abs(flat - start).max() > 1e-3
    np.testing.assert_allclose(ae._state.parameters, flat, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ae.loss_curve_, expected.loss_curve, rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients(dtype, isa):
    """Gradients of the kernels, which read rows in the user's units, against the reference."""
    from aefast.networks import _autoencoder
    from aefast.networks.network import Parameters, single_layer
    from aefast.networks.outputs import plain_output

    X, random = rows_of(300, dtype), np.random.default_rng(3)
    W, b, c = random.normal(size=(4, 7)), random.normal(size=4), random.normal(size=7)
    network = single_layer(7, 4, True, "sigmoid", plain_output("gaussian"))
    typed = [array.astype(dtype) for array in (W, b, c)]
    found = scaling.Scaling(*reference_scaling.standard(X), "standard")
    loss, gradient, status = _autoencoder.loss_and_gradients(
        network,
        X,
        (Parameters(typed[0], typed[0], typed[1], typed[2]),),
        None,
        None,
        128,
        2,
        variant_of_rows(None, found, dtype),
    )
    parameters = reference.Parameters(*(array.astype(np.float64) for array in typed), None)
    scaled = reference_scaling.scaled(X, *found[:2]).astype(np.float64)
    wanted = reference.flatten(reference.gradients(scaled, parameters, output="gaussian"))
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    assert status == 0
    assert loss == pytest.approx(
        reference.loss(scaled, parameters, output="gaussian"), rel=tolerance
    )
    np.testing.assert_allclose(gradient, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def test_rows_of_any_layout(tmp_path, isa):
    X = rows_of(101)
    np.save(tmp_path / "X.npy", X)
    wide = np.zeros((101, 9))
    wide[:, :7] = X
    ae = Autoencoder(3, **QUICK).fit(X)
    layouts = (np.load(tmp_path / "X.npy", mmap_mode="r"), wide[:, :7], X[::-1].copy()[::-1])
    for rows in layouts:
        other = Autoencoder(3, **QUICK).fit(rows)
        assert other._state.parameters.tobytes() == ae._state.parameters.tobytes()
        assert other.reconstruct(rows).tobytes() == ae.reconstruct(X).tobytes()


def test_no_copy_of_a_memory_map(tmp_path, monkeypatch):
    """Statistics come from a bounded part; training reads the map itself."""
    for module in (scaling, start):
        monkeypatch.setattr(module, "MOST_ENTRIES", 1 << 15)
    X = 1e4 + 100 * np.random.default_rng(0).random((40_000, 64), dtype=np.float32)
    np.save(tmp_path / "X.npy", X)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    ae = Autoencoder(2, max_epochs=1, batch_size=256, random_state=0)
    ae.fit(X[:300])  # imports and caches
    tracemalloc.start()
    ae.fit(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ae.fit_report_["scale"] == "standard"
    assert peak < X.nbytes / 4


# ---- results in the user's units ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("model", [Autoencoder(3), StackedAutoencoder((5, 3))])
def test_results_are_in_the_users_units(model, dtype, isa):
    X = rows_of(dtype=dtype)
    ae = model.set_params(scale="standard", max_epochs=2, random_state=0).fit(X)
    shift, scale, _ = ae._state.scaling
    plain, scaled = without_scaling(ae, X), as_scaled(ae, X)
    near = {"rtol": 1e-6, "atol": 0} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-13}
    H = ae.transform(X)
    assert H.tobytes() == plain.transform(scaled).tobytes()
    wanted = reference_scaling.in_users_units(plain.reconstruct(scaled), shift, scale)
    for found in (ae.reconstruct(X), ae.inverse_transform(H)):
        assert found.dtype == dtype
        assert np.abs((found - wanted) / scale).max() < (
            2e-3 if dtype == np.float32 else 1e-10
        )  # a column's mean is up to 2e4 of its standard deviations
    wanted = reference_scaling.in_users_units(plain.sample_output(H, 0), shift, scale)
    np.testing.assert_allclose(ae.sample_output(H, 0), wanted, **near)
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
