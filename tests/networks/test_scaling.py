"""Units of the columns: a fit with `scale` is the fit of scaled rows, in the user's units."""

import tracemalloc

import numpy as np
import pytest
from reference import autoencoder as reference
from reference import scaling as reference_scaling
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from support import textbook
from support.scaled_rows import QUICK, as_scaled, rows_of, without_scaling

from aefast import Autoencoder
from aefast.networks import scaling
from aefast.networks.reading import Reading
from aefast.networks.training import start
from aefast.networks.variants import variant_of_rows

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
        variant_of_rows(Reading(scaling=found), dtype),
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n, d", [(1, 1), (3, 7), (40, 37)])
def test_units_are_restored_with_a_rounding_after_each_operation(n, d, dtype, isa):
    rng = np.random.default_rng(d)
    units = scaling.Scaling(rng.normal(size=d), np.exp(rng.normal(size=d)), scaling.STANDARD)
    values = (rng.normal(size=(n, d)) * 10.0 ** rng.integers(-40, 30, (n, d))).astype(dtype)
    expected = values.copy()
    np.multiply(expected, units.scale, out=expected, casting="same_kind")
    np.add(expected, units.shift, out=expected, casting="same_kind")
    for n_threads in (1, 2, None):
        given = values.copy()
        assert units.restore_units(given, n_threads=n_threads) is given
        np.testing.assert_array_equal(given, expected)
    values[-1, -1] = np.finfo(dtype).max
    units.scale[-1] = 4.0
    with pytest.raises(FloatingPointError, match=f"at row {n - 1}, column {d - 1}"):
        units.restore_units(values)


def test_units_of_other_layouts_are_refused():
    units = scaling.Scaling(np.zeros(3), np.ones(3), scaling.STANDARD)
    for values in (np.zeros((3, 4), np.float32).T[:, :3], np.zeros((2, 3), np.int64)):
        with pytest.raises(TypeError):
            units.restore_units(values)


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
