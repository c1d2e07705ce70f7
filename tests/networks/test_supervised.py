"""`AutoencoderClassifier` and `AutoencoderRegressor`: fits, missing targets, weights, files."""

import pickle

import numpy as np
import pytest
from reference import heads as reference
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from support.helpers import WEIGHTS_OF_ROWS

import aefast
from aefast import Autoencoder, AutoencoderClassifier, AutoencoderRegressor, StackedAutoencoder

DIGITS = load_digits()
X, Y = DIGITS.data[:600] / 16, DIGITS.target[:600]
TEST_X, TEST_Y = DIGITS.data[600:] / 16, DIGITS.target[600:]
QUICK = {"pretrain_epochs": 3, "max_epochs": 5, "random_state": 0}


def same_bits(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def classifier(sizes=(20, 9), **options):
    return AutoencoderClassifier(sizes, **(QUICK | options))


def regressor(sizes=(20, 9), **options):
    return AutoencoderRegressor(sizes, **(QUICK | options))


def what_batches_exclude(estimator):
    if estimator.solver == "lbfgs" or estimator.batch_size == 128:
        return {}
    return dict.fromkeys(WEIGHTS_OF_ROWS, "batches hold rows, not weight")


@parametrize_with_checks(
    [
        AutoencoderClassifier(),
        AutoencoderClassifier((4,), pretrain_epochs=3, max_epochs=60, batch_size=128, alpha=1e-3),
        AutoencoderClassifier((8,), reconstruction_weight=0.1, early_stopping=True),
        AutoencoderClassifier(encoder=Autoencoder(4, tied=False, max_epochs=3)),
        AutoencoderRegressor(),
        AutoencoderRegressor((4,), pretrain_epochs=0, max_epochs=30, solver="lbfgs"),
        AutoencoderRegressor((8,), reconstruction_weight=0.1, missing="mask"),
    ],
    expected_failed_checks=what_batches_exclude,
)
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


def test_defaults_win_over_a_linear_classifier():
    model = AutoencoderClassifier(random_state=0).fit(X, Y)
    linear = LogisticRegression(max_iter=1000).fit(X, Y)
    assert model.score(TEST_X, TEST_Y) > linear.score(TEST_X, TEST_Y)
    assert model.fit_report_["ended"] in ("converged", "budget")


def test_rows_without_labels_help():
    """100 labels of 1797 rows: rows without one help in pre-training and in fine-tuning."""
    order = np.random.default_rng(1).permutation(len(DIGITS.data))
    y = DIGITS.target.copy()
    y[order[100:]] = -1
    few, others = order[:100], order[100:]
    linear = LogisticRegression(max_iter=1000).fit(DIGITS.data[few] / 16, y[few])
    found = [linear.score(DIGITS.data[others] / 16, DIGITS.target[others])]
    for weight in (0.0, 0.1):
        model = AutoencoderClassifier(reconstruction_weight=weight, random_state=0)
        model.fit(DIGITS.data, y)
        found.append(model.score(DIGITS.data[others], DIGITS.target[others]))
    assert found[0] + 0.005 < found[1] < found[2] - 0.005, found


# ---- what is computed ----


@pytest.mark.parametrize("weight", [0.0, 0.3])
@pytest.mark.parametrize("gain", [False, True])
def test_a_fit_by_lbfgs_reaches_a_stationary_point_of_the_reference(weight, gain):
    """The gradient of the twin at the end is small beside that at the start."""
    rows, y = X[:90, 20:33].astype(np.float64), Y[:90] % 3
    y = np.where(np.arange(90) % 4 == 0, -1, y)
    options = {"solver": "lbfgs", "pretrain_epochs": 2, "gain": gain, "scale": None, "tol": 0}
    alpha = 0.0 if gain else 1e-3
    given = {"reconstruction_weight": weight, "random_state": 0, "alpha": alpha, **options}
    sample_weight = np.random.default_rng(0).uniform(0.5, 2, 90)
    norms = []
    for n_epochs in (0, 1000):
        model = AutoencoderClassifier((7, 4), max_epochs=n_epochs, **given)
        model.fit(rows, y, sample_weight)
        labelled = sample_weight * (y != -1)
        one_hot = (y[:, np.newaxis] == model.classes_).astype(float)
        arguments = rows, one_hot, *parts_of(model, (13, 7, 4), 3, gain)
        share = {"v": labelled / labelled.sum(), "u": sample_weight / sample_weight.sum()}
        layers, head, gains = arguments[2:]
        found = reference.gradients(
            rows, one_hot, layers, head, ("sigmoid", "sigmoid"), "gaussian", "categorical", weight,
            gains=gains, alpha=alpha, **share,
        )  # fmt: skip
        norms.append(np.linalg.norm(found))
    assert norms[1] < 0.1 * norms[0]
    loss = reference.loss(
        rows, one_hot, layers, head, ("sigmoid", "sigmoid"), "gaussian", "categorical", weight,
        gains=gains, alpha=alpha, **share,
    )  # fmt: skip
    assert model.loss_curve_[-1] == pytest.approx(loss, rel=1e-9)


def parts_of(model, sizes, n_outputs, gain):
    flat = model._state.parameters.astype(np.float64)
    return reference.unflatten(flat, sizes, n_outputs, gain)


@pytest.mark.parametrize("gain", [False, True])
def test_predictions_are_the_references(gain):
    model = classifier(gain=gain, scale=None).fit(X, Y)
    layers, head, gains = parts_of(model, (64, 20, 9), 10, gain)
    expected = reference.predict(X, layers, head, ["sigmoid"] * 2, "categorical", gains)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(expected), rtol=1e-9, atol=1e-12)
    assert (model.predict(X) == model.classes_[expected.argmax(axis=1)]).all()
    assert same_bits(model.head_weights_, head.V) and same_bits(model.head_bias_, head.a)


def test_the_validation_loss_is_that_of_the_labels():
    y_val = np.where(np.arange(100) % 3 == 0, -1, TEST_Y[:100])
    model = classifier(reconstruction_weight=0.1)
    model.fit(X, Y, X_val=TEST_X[:100], y_val=y_val)
    known = y_val != -1
    expected = log_loss(y_val[known], model.predict_proba(TEST_X[:100][known]), labels=range(10))
    assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-9)


def test_a_head_before_fine_tuning_has_the_frequencies():
    model = classifier(max_epochs=0).fit(X, Y, sample_weight=1.0 + Y)
    expected = np.bincount(Y, 1.0 + Y) / (1.0 + Y).sum()
    np.testing.assert_allclose(model.predict_proba(TEST_X), np.tile(expected, (len(TEST_X), 1)))


def test_rows_without_labels_have_no_part_in_fine_tuning_without_reconstruction():
    """Their number does not matter either: with no pre-training they could as well be absent."""
    options = {"pretrain_epochs": 0, "init": "glorot", "scale": None, "gain": False}
    y = np.where(np.arange(600) < 200, Y, -1)
    with_them = classifier(**options).fit(X, y)
    without = classifier(**options).fit(X[:200], Y[:200])
    pairs = zip(with_them.loss_curve_, without.loss_curve_, strict=True)
    assert all(a == pytest.approx(b, rel=1e-12) for a, b in pairs)


def test_class_weights_are_sample_weights():
    weights = {0: 3.0, 1: 0.5, **dict.fromkeys(range(2, 10), 1.0)}
    options = {"pretrain_epochs": 0, "init": "glorot", "scale": None, "gain": False}
    given = classifier(class_weight=weights, **options).fit(X, Y)
    factors = np.array([weights[label] for label in Y])
    other = classifier(**options).fit(X, Y, sample_weight=factors)
    np.testing.assert_allclose(given.predict_proba(X), other.predict_proba(X), rtol=1e-6)
    balanced = classifier(class_weight="balanced", max_epochs=0).fit(X, Y)
    np.testing.assert_allclose(balanced.predict_proba(X[:1]), 0.1, rtol=1e-10)


def test_the_automatic_penalty():
    y = np.where(np.arange(600) < 200, Y, -1)
    assert classifier().fit(X, y).fit_report_["alpha"] == 0.1 / 200
    assert classifier(gain=True).fit(X, y).fit_report_["alpha"] == 0.0
    assert regressor().fit(X, Y).fit_report_["alpha"] == 1 / 600
    assert classifier(alpha=0.0).fit(X, y)._state.model.layers[0].gain
    assert classifier().fit(X, y).autoencoder_.alpha == 0.0


# ---- encoders ----


@pytest.mark.parametrize("weight", [0.0, 0.01])
@pytest.mark.parametrize(
    "encoder",
    [
        Autoencoder(20, max_epochs=20, random_state=0),
        Autoencoder(20, tied=False, max_epochs=20, random_state=0),
        Autoencoder(40, top_k=8, max_epochs=20, random_state=0),
        Autoencoder(20, output="bernoulli", gain=False, max_epochs=20, random_state=0),
        StackedAutoencoder((30, 12), pretrain_epochs=9, max_epochs=5, random_state=0),
    ],
    ids=["tied", "untied", "top-k", "bernoulli", "stack"],
)
def test_fine_tuning_of_an_encoder(encoder, weight, tmp_path):
    encoder = clone(encoder).fit(X)
    options = {"reconstruction_weight": weight, "random_state": 0}
    start = AutoencoderClassifier(encoder=encoder, max_epochs=0, **options).fit(X, Y)
    np.testing.assert_allclose(start.transform(X), encoder.transform(X), rtol=1e-12)
    np.testing.assert_allclose(start.reconstruct(X), encoder.reconstruct(X), rtol=1e-7, atol=1e-9)
    again = start.autoencoder_
    assert type(again) is type(encoder) and same_bits(again.transform(X), start.transform(X))
    model = AutoencoderClassifier(encoder=encoder, max_epochs=40, **options).fit(X, Y)
    assert model.score(TEST_X, TEST_Y) > 0.75
    model.save(tmp_path / "model.safetensors")
    loaded = aefast.load(tmp_path / "model.safetensors")
    assert same_bits(loaded.predict_proba(TEST_X), model.predict_proba(TEST_X))


def test_an_encoder_that_is_not_fitted_is_fitted_to_all_rows():
    encoder = Autoencoder(12, max_epochs=5, random_state=0)
    y = np.where(np.arange(600) < 50, Y, -1)
    model = AutoencoderClassifier(encoder=encoder, max_epochs=0).fit(X, y)
    assert not encoder.__sklearn_is_fitted__()
    np.testing.assert_allclose(model.transform(X), clone(encoder).fit(X).transform(X), rtol=1e-12)


def test_cross_validation_with_a_frozen_encoder():
    encoder = FrozenEstimator(Autoencoder(12, max_epochs=30, random_state=0).fit(X))
    model = AutoencoderClassifier(encoder=encoder, max_epochs=20, random_state=0)
    assert cross_val_score(model, X, Y, cv=3).min() > 0.7


# ---- fits ----


@pytest.mark.parametrize("make", [classifier, regressor])
@pytest.mark.parametrize("options", [{}, {"reconstruction_weight": 0.1}, {"solver": "lbfgs"}])
def test_the_same_bits_for_any_number_of_threads(make, options):
    models = [make(n_threads=n, **options).fit(X, Y) for n in (1, 3)]
    assert same_bits(models[0]._state.parameters, models[1]._state.parameters)


@pytest.mark.parametrize("options", [{}, {"reconstruction_weight": 0.1}])
def test_warm_starts_go_on(options):
    options |= {"tol": 0, "learning_rate_schedule": "constant"}
    whole = classifier(max_epochs=6, **options).fit(X, Y)
    part = classifier(max_epochs=4, **options).fit(X, Y)
    part.set_params(warm_start=True, max_epochs=2).fit(X, Y)
    assert same_bits(whole._state.parameters, part._state.parameters)
    with pytest.raises(ValueError, match="has the label 10, but the classes are"):
        part.fit(X, Y + 2)


def test_early_stopping_holds_out_labelled_rows():
    y = np.where(np.arange(600) < 30, Y, -1)
    model = classifier(early_stopping=True, validation_fraction=0.3, max_epochs=20).fit(X, y)
    assert len(model.validation_loss_curve_) == model.n_epochs_
    assert min(model.validation_loss_curve_) == model.validation_loss_curve_[model.best_epoch_ - 1]
    with pytest.raises(ValueError, match="at least 2 rows with a target"):
        regressor(early_stopping=True).fit(X, np.where(np.arange(600) < 1, Y, np.nan))


@pytest.mark.parametrize("solver", ["sgd", "adam", "adagrad", "lbfgs"])
def test_solvers(solver):
    rate = {"learning_rate": 0.05} if solver == "sgd" else {}
    options = {"solver": solver, "max_epochs": 40, "pretrain_epochs": 10, "batch_size": 32}
    model = AutoencoderClassifier((30,), random_state=0, **options, **rate).fit(X, Y)
    assert model.score(TEST_X, TEST_Y) > 0.85


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_types(dtype):
    rows = (X * 16).astype(dtype)
    model = classifier().fit(rows, Y)
    assert model.predict_proba(rows).dtype == np.float32
    assert model._state.parameters.dtype == np.float32


def test_sparse_rows_are_dense_ones():
    options = {"scale": None, "pretrain_epochs": 0, "init": "glorot", "gain": False}
    dense = classifier(**options).fit(X, Y)
    of_csr = classifier(**options).fit(sparse.csr_array(X), Y)
    np.testing.assert_allclose(dense.predict_proba(X), of_csr.predict_proba(X), rtol=1e-9)


def test_missing_entries():
    gaps = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    model = classifier(missing="mask", max_epochs=20).fit(gaps, Y)
    assert model.score(gaps, Y) > 0.8
    assert np.isfinite(model.impute(gaps)).all()


# ---- files ----


@pytest.mark.parametrize(
    ("make", "y"),
    [
        (classifier, Y),
        (classifier, Y.astype(str)),
        (classifier, Y > 4),
        (classifier, Y.astype(float)),
        (regressor, Y.astype(float)),
        (regressor, np.stack([Y, -2.0 * Y], axis=1)),
    ],
)
def test_files_and_pickles(make, y, tmp_path):
    y = y.astype(object) if y.dtype.kind == "U" else y
    model = make().fit(X.astype(np.float32), y)
    model.save(tmp_path / "model.safetensors")
    for other in (aefast.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))):
        assert same_bits(np.array(other.predict(X).tolist()), np.array(model.predict(X).tolist()))
        assert other.predict(X).dtype == model.predict(X).dtype
        assert other.history_.keys() == model.history_.keys()
        other.set_params(warm_start=True, max_epochs=1)
        model.set_params(warm_start=True, max_epochs=1)
        assert same_bits(
            clone_of(model).fit(X, y)._state.parameters, other.fit(X, y)._state.parameters
        )


def clone_of(model):
    return pickle.loads(pickle.dumps(model))


# ---- checkpoints ----


class Stopped(Exception):
    """Raised by a callback to end a fit."""


def stop_at(epoch):
    def callback(number, loss, validation_loss, estimator):
        if number == epoch:
            raise Stopped

    return callback


@pytest.mark.parametrize("options", [{}, {"reconstruction_weight": 0.1}, {"solver": "lbfgs"}])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_fit_that_was_killed_goes_on_to_the_same_bits(make, options, tmp_path):
    path = tmp_path / "fit.checkpoint"
    whole = make(**options).fit(X, Y)
    with pytest.raises(Stopped):
        make(callbacks=stop_at(3), checkpoint=path, checkpoint_every="epoch", **options).fit(X, Y)
    with pytest.raises(ValueError, match="y"):
        make(checkpoint=path, resume=True, **options).fit(X, Y[::-1])
    resumed = make(checkpoint=path, resume=True, **options).fit(X, Y)
    assert same_bits(resumed._state.parameters, whole._state.parameters)
    assert resumed.loss_curve_ == whole.loss_curve_


def test_c_headers_are_of_the_network_without_its_head(tmp_path):
    model = classifier().fit(X, Y)
    with pytest.raises(TypeError, match="autoencoder_"):
        aefast.export_c(model, tmp_path / "model.h")
    aefast.export_c(model.autoencoder_, tmp_path / "model.h")
