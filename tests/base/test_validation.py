"""Bad input: the error names the argument, what was expected and what came.

Nothing that was fitted changes.
"""

import pickle
import re

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from sklearn.exceptions import NotFittedError
from support.helpers import PLAIN_OUTPUTS
from support.textbook import Autoencoder

from aefast import ops
from aefast.networks import _autoencoder

ACTIVATIONS = [entry["name"] for entry in _autoencoder.activation_table()]
OUTPUTS = PLAIN_OUTPUTS  # the others: test_recipe.py
SOLVERS = [entry["name"] for entry in _autoencoder.solver_table()]
COMPUTE_LOSSES = ("fit", "partial_fit", "score", "score_samples", "reconstruction_error")
TAKE_X = (
    "fit",
    "partial_fit",
    "transform",
    "reconstruct",
    "score",
    "score_samples",
    "reconstruction_error",
)


@pytest.fixture
def fitted(digits):
    return Autoencoder(
        4, output="bernoulli", max_epochs=2, early_stopping=True, random_state=0
    ).fit(digits)


def state_of(estimator):
    """The bytes of everything that fitting left."""
    parameters = estimator.get_params()
    return pickle.dumps(
        {name: value for name, value in vars(estimator).items() if name not in parameters}
    )


def check_refusal(estimator, call, error, *fragments):
    """A call raises an error whose message holds every fragment, a regular expression.

    The fitted state stays.
    """
    before = state_of(estimator)
    with pytest.raises(error) as raised:
        call()
    for fragment in fragments:
        assert re.search(fragment, str(raised.value)), f"{fragment!r} is not in: {raised.value}"
    assert state_of(estimator) == before


# ---- the data ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_entry_of_a_row_is_looked_at(dtype, isa):
    """Whole vectors, every lane of them, and what is left of a row."""
    edge = np.finfo(dtype)
    for d in (*range(1, 20), 33, 37):
        W, b, c = np.zeros((1, d), dtype), np.zeros(1, dtype), np.zeros(d, dtype)
        X = np.full((1, d), 0.5, dtype)
        X[0, 0], X[0, -1] = 0.0, 1.0
        ops.loss(X, W, b, c, output="bernoulli")
        ops.encode(np.full((1, d), edge.max), W, b)
        for column in range(d):
            for bad in (np.nan, np.inf, -np.inf, -edge.tiny, 1 + edge.eps):
                broken = X.copy()
                broken[0, column] = bad
                with pytest.raises(ValueError, match=rf"\bX\b.*column {column}\b"):
                    ops.loss(broken, W, b, c, output="bernoulli")
                if not np.isfinite(bad):
                    with pytest.raises(ValueError, match=rf"\bX\b.*column {column}\b"):
                        ops.encode(broken, W, b)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", TAKE_X)
def test_not_finite(method, dtype, value, fitted, digits):
    X = digits.astype(dtype)
    X[170, 3] = value
    name = "NaN" if np.isnan(value) else "infinity"
    check_refusal(
        fitted,
        lambda: getattr(fitted, method)(X),
        ValueError,
        r"\bX\b",
        name,
        "row 170",
        "column 3",
    )


@pytest.mark.parametrize("value", [-0.01, 1.01, -5.0, 255.0])
@pytest.mark.parametrize("method", COMPUTE_LOSSES)
def test_outside_the_domain(method, value, fitted, digits):
    """The domain is that of the loss: the encoder takes any real number."""
    X = digits.copy()
    X[170, 3] = value
    call = getattr(fitted, method)
    check_refusal(
        fitted,
        lambda: call(X),
        ValueError,
        r"\bX\b",
        r"\[0, 1\]",
        "bernoulli",
        "row 170",
        "column 3",
        str(value),
    )


def test_bytes_outside_the_domain(fitted, digits):
    X = (digits * 16).astype(np.uint8)
    row, column = np.argwhere(X > 1)[0]
    call = fitted.fit
    check_refusal(
        fitted,
        lambda: call(X),
        ValueError,
        r"\[0, 1\]",
        f"row {row}",
        f"column {column}",
        str(X[row, column]),
    )


@pytest.mark.parametrize("method", TAKE_X)
def test_wrong_dimensions(method, fitted, digits):
    call = getattr(fitted, method)
    check_refusal(fitted, lambda: call(digits[0]), ValueError, "2D array", "1D array")
    check_refusal(
        fitted, lambda: call(digits.reshape(-1, 8, 8)), ValueError, r"\bX\b|dim", "3", "2"
    )
    check_refusal(fitted, lambda: call(0.5), ValueError, "2D array", "scalar")


@pytest.mark.parametrize("method", TAKE_X[1:])
def test_wrong_number_of_features(method, fitted, digits):
    call = getattr(fitted, method)
    check_refusal(
        fitted, lambda: call(digits[:, :63]), ValueError, r"\bX\b", "63 features", "64 features"
    )


@pytest.mark.parametrize("method", TAKE_X)
def test_no_data(method, fitted, digits):
    call = getattr(fitted, method)
    check_refusal(fitted, lambda: call(digits[:0]), ValueError, "0 sample", "minimum of 1")
    check_refusal(
        fitted, lambda: call(digits[:, :0]), ValueError, "0 feature", "minimum of 1|expecting 64"
    )


@pytest.mark.parametrize("method", TAKE_X)
@pytest.mark.parametrize("kind", ["text", "object", "complex", "date"])
def test_not_numbers(kind, method, fitted):
    X = {
        "text": np.full((5, 64), "three"),
        "object": np.full((5, 64), {}, dtype=object),
        "complex": np.full((5, 64), 1j),
        "date": np.full((5, 64), np.datetime64("2020-01-01")),
    }[kind]
    check_refusal(
        fitted,
        lambda: getattr(fitted, method)(X),
        (ValueError, TypeError),
        "three|dict|[Cc]omplex|date",
    )


def test_codes(fitted, digits):
    H = fitted.transform(digits)
    broken = H.copy()
    broken[17, 2] = np.nan
    inverse = fitted.inverse_transform
    check_refusal(
        fitted, lambda: inverse(broken), ValueError, r"\bH\b", "NaN", "row 17", "column 2"
    )
    check_refusal(fitted, lambda: inverse(H[:, :3]), ValueError, r"\bH\b", r"\b4\b", r"\b3\b")
    check_refusal(fitted, lambda: inverse(H[0]), ValueError, r"\bH\b|2D array", "1D|1-D|dim")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("output", OUTPUTS)
def test_more_features_than_blas_can_count(output, dtype):
    """Rows of 2³¹ entries, which all are one and the same byte of memory."""
    X = as_strided(np.zeros(1, dtype), shape=(2, 2**31), strides=(0, 0))
    ae = Autoencoder(1, output=output)
    check_refusal(ae, lambda: ae.fit(X), ValueError, r"\bX\b|features", str(2**31), str(2**31 - 1))


def test_more_components_than_blas_can_count(digits):
    ae = Autoencoder(2**31)
    check_refusal(
        ae, lambda: ae.fit(digits), ValueError, "n_components", str(2**31), str(2**31 - 1)
    )


def test_ops_beyond_blas():
    X = as_strided(np.zeros(1), shape=(2, 2**31), strides=(0, 0))
    wide, tall = X[:1], as_strided(np.zeros(1), shape=(2**31, 1), strides=(0, 0))
    for call in (
        lambda: ops.encode(X, wide, np.zeros(1)),
        lambda: ops.encode(np.zeros((2, 1)), tall, tall[:, 0]),
        lambda: ops.loss(X, wide, np.zeros(1), X[0]),
        lambda: ops.loss_and_gradients(X, wide, np.zeros(1), X[0]),
        lambda: ops.decode(np.zeros((2, 1)), wide, X[0]),
    ):
        with pytest.raises(ValueError, match=str(2**31)):
            call()


# ---- the parameters ----

BAD_PARAMETERS = [
    *(("n_components", value) for value in (0, -3, 2.5, "many", None)),
    *(("batch_size", value) for value in (0, -1, 1.5, "all")),
    *(("max_epochs", value) for value in (-1, 2.5, None)),
    *(("learning_rate", value) for value in (-0.1, 0.0, np.nan, np.inf, "fast", None)),
    *(("momentum", value) for value in (-0.1, 1.0, 1.5, np.nan, "some")),
    *(("alpha", value) for value in (-1e-9, np.nan, np.inf, "small")),
    *(("weight_decay", value) for value in (-1e-9, np.nan, np.inf, "small")),
    *(("weight_averaging", value) for value in (0, 0.0, 1.0, -0.5, np.nan, "ema")),
    *((name, value) for name in ("clip_norm", "max_norm") for value in (0, -1.0, np.nan, "short")),
    *(("learning_rate_schedule", value) for value in ("adaptive", None, 3)),
    *(("tol", value) for value in (-1e-9, np.nan, "none")),
    *(("validation_fraction", value) for value in (0.0, 1.0, -0.5, np.nan)),
    *(("n_epochs_no_change", value) for value in (0, -2, 1.5)),
    *(("n_threads", value) for value in (0, -1, 1.5, "all")),
    *(("random_state", value) for value in ("dice", -1, 1.5)),
    *(("callbacks", value) for value in (3, [3], "print")),
    *((name, "yes") for name in ("tied", "nesterov", "early_stopping", "shuffle", "warm_start")),
    *((name, value) for name in ("output", "solver") for value in ("squared", None, 3)),
]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("name, value", BAD_PARAMETERS)
def test_parameters_out_of_range(name, value, method, digits):
    fitted = Autoencoder(4, max_epochs=1, random_state=0).fit(digits)
    fitted.set_params(**{name: value})
    call = getattr(fitted, method)
    check_refusal(
        fitted,
        lambda: call(digits),
        (ValueError, TypeError),
        f"'?{name}'?",
        "must be|[Ee]xpected",
        re.escape(repr(value)[:6]),
    )


@pytest.mark.parametrize(
    "name, known", [("activation", ACTIVATIONS), ("output", OUTPUTS), ("solver", SOLVERS)]
)
def test_unknown_names_list_the_known(name, known, digits):
    ae = Autoencoder(4, **{name: "squared"})
    check_refusal(ae, lambda: ae.fit(digits), ValueError, name, "squared", *known)


def test_partial_fit_keeps_the_shape(fitted, digits):
    """Parameters that decide the shape of the state cannot change between calls of partial_fit."""
    for name, value in (("n_components", 5), ("tied", False), ("activation", "tanh")):
        before = fitted.get_params()[name]
        fitted.set_params(**{name: value})
        check_refusal(fitted, lambda: fitted.partial_fit(digits), ValueError, name)
        fitted.set_params(**{name: before})


@pytest.mark.parametrize("method", [*TAKE_X[2:], "inverse_transform", "save"])
def test_unfitted(method, digits, tmp_path):
    ae = Autoencoder(4)
    argument = tmp_path / "model" if method == "save" else digits
    check_refusal(ae, lambda: getattr(ae, method)(argument), NotFittedError, "Autoencoder", "fit")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_first_fit_leaves_no_fitted_attribute(digits):
    X = digits.copy()
    X[0, 0] = np.nan
    ae = Autoencoder(4)
    check_refusal(ae, lambda: ae.fit(X), ValueError, "NaN")
    with pytest.raises(NotFittedError):
        ae.transform(digits)


# ---- the functions ----


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("tied", [True, False])
def test_weights_of_columns_of_zeros_are_finite(value, tied, make_problem):
    """Products pass over columns of zeros, and must not pass over such weights."""
    X, (W, b, c, V) = make_problem(48, 100, 5, tied=tied)
    X[:, ::2] = 0
    W[1, 0] = value
    for function in (ops.loss, ops.loss_and_gradients, ops.encode):
        given = (X, W, b) if function is ops.encode else (X, W, b, c, V)
        with pytest.raises(ValueError, match=r"\bW\b"):
            function(*given)


def test_ops_name_the_argument(make_problem):
    X, (W, b, c, _) = make_problem(6, 5, 3)
    H = np.full((6, 3), 0.5)
    broken = X.copy()
    broken[4, 2] = np.nan
    calls = [
        (lambda: ops.encode(X[:, :4], W, b), r"\bW\b|\bX\b", "5", "4"),
        (lambda: ops.encode(X, W[0], b), r"\bW\b", "2"),
        (lambda: ops.encode(X, W, b[:2]), r"\bb\b", "3", "2"),
        (lambda: ops.encode(X, W, b[:, np.newaxis]), r"\bb\b"),
        (lambda: ops.encode(broken, W, b), r"\bX\b", "NaN", "row 4", "column 2"),
        (lambda: ops.encode(X, W * np.nan, b), r"\bW\b", "NaN"),
        (lambda: ops.encode(X[0], W, b), r"\bX\b|2D array"),
        (lambda: ops.decode(H, W, c[:4]), r"\bc\b", "5", "4"),
        (lambda: ops.decode(H[:, :2], W, c), r"\bH\b|\bW\b", "3", "2"),
        (lambda: ops.decode(H, W, c, output="squared"), "output", "squared", *OUTPUTS),
        (lambda: ops.loss(X, W, b, c[:-1]), r"\bc\b", "5", "4"),
        (lambda: ops.loss(X, W, b, c, output="squared"), "output", "squared", *OUTPUTS),
        (
            lambda: ops.loss(X + 1.0, W, b, c, output="bernoulli"),
            r"\bX\b",
            r"\[0, 1\]",
            "row 0",
            "column 0",
        ),
        (lambda: ops.loss(X, W, b, c, decoder_weights=W[:, :4]), "decoder_weights", "5", "4"),
        (lambda: ops.loss(X, W, b, c, decoder_weights=W[:2]), "decoder_weights", "3", "2"),
        (lambda: ops.loss(X, W, b, c, sample_weight=np.ones(5)), "sample_weight", "6", "5"),
        (lambda: ops.loss(X, W, b, c, sample_weight=-np.ones(6)), "sample_weight", "-1"),
        (
            lambda: ops.loss(X, W, b, c, sample_weight=np.zeros(6)),
            "sample_weight",
            "zero|positive|0",
        ),
        (
            lambda: ops.loss(X, W, b, c, sample_weight=np.full(6, np.nan)),
            "sample_weight",
            "NaN|nan",
        ),
        (lambda: ops.loss_and_gradients(broken, W, b, c), r"\bX\b", "NaN", "row 4", "column 2"),
        (
            lambda: ops.loss_and_gradients(X, W, b, c, sample_weight=np.full(6, np.inf)),
            "sample_weight",
            "inf",
        ),
        (lambda: ops.sigmoid("three"), "x", "three|str|numeric"),
        (lambda: ops.softplus(1j), "x", "[Cc]omplex"),
    ]
    for number, (call, *fragments) in enumerate(calls):
        with pytest.raises((ValueError, TypeError)) as raised:
            call()
        for fragment in fragments:
            assert re.search(fragment, str(raised.value)), (
                f"call {number}: {fragment!r} is not in: {raised.value}"
            )


# ---- divergence ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_divergence_in_the_first_epoch(method, dtype, digits):
    """The parameters kept are the initial ones."""
    X = digits.astype(dtype)
    ae = Autoencoder(4, solver="sgd", learning_rate=1e30, batch_size=50, random_state=0)
    with pytest.raises(FloatingPointError, match=r"epoch 1.*learning_rate|learning_rate.*epoch 1"):
        getattr(ae, method)(X)
    start = Autoencoder(4, max_epochs=0, random_state=0).fit(X)
    np.testing.assert_array_equal(ae._state.parameters, start._state.parameters)
    np.testing.assert_array_equal(ae.transform(X), start.transform(X))


def test_divergence_later(digits):
    """The parameters of the last whole epoch are kept, and training goes on from them."""
    snapshots = []

    def remember(epoch, loss, validation_loss, estimator):
        snapshots.append(estimator._state.parameters.copy())

    options = {"solver": "sgd", "momentum": 0.0, "tol": 0, "max_epochs": 2000, "random_state": 0}
    ae = Autoencoder(4, learning_rate=1e6, batch_size=2000, callbacks=[remember], **options)
    with pytest.raises(FloatingPointError) as raised:
        ae.fit(digits)
    assert len(snapshots) > 2
    assert f"epoch {len(snapshots) + 1}" in str(raised.value)
    np.testing.assert_array_equal(ae._state.parameters, snapshots[-1])
    assert np.isfinite(ae._state.parameters).all()
    assert np.isfinite(ae.transform(digits)).all()


def test_data_too_large_for_its_type():
    """Squared errors of 1e200 are past float64: an error that says so, not an infinite loss."""
    X = np.full((20, 3), 1e200) * np.random.default_rng(0).normal(size=(20, 3))
    ae = Autoencoder(2, random_state=0)
    with pytest.raises((FloatingPointError, ValueError), match=r"finite|large"):
        ae.fit(X)
