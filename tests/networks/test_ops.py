"""The functional interface: what it returns and accepts, and that it leaves arguments alone."""

import itertools

import numpy as np
import pandas as pd
import pytest
from reference import autoencoder as reference
from support.helpers import PLAIN_OUTPUTS
from support.textbook import Autoencoder

from aefast import ops

OUTPUTS = PLAIN_OUTPUTS  # the others: test_recipe.py


def test_the_gradients_have_names(make_problem):
    X, (W, b, c, decoder_weights) = make_problem(8, 5, 3, tied=False)
    result = ops.loss_and_gradients(X, W, b, c, decoder_weights)
    assert len(result) == 2
    loss, gradients = result
    assert isinstance(loss, float)
    assert gradients._fields == ("W", "b", "c", "decoder_weights", "output_parameters", "gain")
    assert [gradient.shape for gradient in gradients[:4]] == [(3, 5), (3,), (5,), (3, 5)]
    assert gradients.output_parameters == {}
    assert ops.loss_and_gradients(X, W, b, c)[1].decoder_weights is None


@pytest.mark.parametrize("output", OUTPUTS)
def test_decode_after_encode_is_reconstruct(output, make_problem, make_fitted):
    X, parameters = make_problem(70, 20, 9, tied=False)
    estimator = make_fitted(X, parameters, output=output)
    H = ops.encode(X, parameters.W, parameters.b)
    X_hat = ops.decode(H, parameters.decoder, parameters.c, output=output)
    np.testing.assert_allclose(X_hat, estimator.reconstruct(X), rtol=1e-13)


def test_the_parameters_of_an_estimator_go_in_as_they_are(digits):
    """components_ and its siblings are what the functions of ops ask for."""
    ae = Autoencoder(8, output="bernoulli", tied=False, max_epochs=2, random_state=0).fit(digits)
    parameters = (ae.components_, ae.hidden_bias_, ae.visible_bias_)
    loss = ops.loss(digits, *parameters, decoder_weights=ae.decoder_components_, output="bernoulli")
    assert loss == pytest.approx(np.mean(ae.reconstruction_error(digits)), rel=1e-12)
    np.testing.assert_array_equal(ops.encode(digits, *parameters[:2]), ae.transform(digits))


def test_results_are_new_arrays_and_arguments_stay(make_problem):
    X, (W, b, c, decoder_weights) = make_problem(40, 12, 5, tied=False)
    arguments = {"X": X, "W": W, "b": b, "c": c, "decoder_weights": decoder_weights}
    copies = {name: array.copy() for name, array in arguments.items()}
    for array in arguments.values():
        array.flags.writeable = False
    H = ops.encode(X, W, b)
    results = [H, ops.decode(H, decoder_weights, c), *ops.loss_and_gradients(**arguments)[1][:4]]
    for result in results:
        assert result.flags.writeable and result.flags.c_contiguous
        assert not any(np.shares_memory(result, array) for array in arguments.values())
    for name, array in arguments.items():
        np.testing.assert_array_equal(array, copies[name])


@pytest.mark.parametrize("x_type", [np.float32, np.float64, np.uint8, np.int64])
@pytest.mark.parametrize("w_type", [np.float32, np.float64])
def test_the_widest_argument_decides_the_type(x_type, w_type, make_problem):
    X, parameters = make_problem(30, 10, 4)
    X = (3 * X).astype(x_type)
    W, b, c, _ = (None if part is None else part.astype(w_type) for part in parameters)
    narrow = x_type in (np.float32, np.uint8) and w_type is np.float32
    dtype = np.dtype(np.float32 if narrow else np.float64)
    loss, gradients = ops.loss_and_gradients(X, W, b, c)
    assert ops.encode(X, W, b).dtype == dtype
    assert gradients.W.dtype == gradients.b.dtype == gradients.c.dtype == dtype
    expected = reference.loss(X, reference.Parameters(W, b, c), "gaussian")
    assert loss == pytest.approx(expected, rel=16 * float(np.finfo(dtype).eps))


def test_lists_and_strided_parameters(make_problem):
    X, (W, b, c, _) = make_problem(30, 10, 4)
    expected_loss, expected = ops.loss_and_gradients(X, W, b, c)
    wide = np.zeros((8, 30))
    wide[::2, ::3] = W
    for loss, gradients in (
        ops.loss_and_gradients(X.tolist(), W.tolist(), b.tolist(), c.tolist()),
        ops.loss_and_gradients(X, np.asfortranarray(W), b[::-1].copy()[::-1], c),
        ops.loss_and_gradients(X, wide[::2, ::3], b, np.repeat(c, 2)[::2]),
    ):
        assert loss == expected_loss
        np.testing.assert_array_equal(gradients.W, expected.W)


def test_gradient_descent_by_hand_lowers_the_loss(digits):
    """A training loop of the user's lowers the loss."""
    rng = np.random.default_rng(0)
    W, b, c = rng.uniform(-0.3, 0.3, (16, 64)), np.zeros(16), np.zeros(64)
    losses = []
    for _ in range(40):
        loss, gradients = ops.loss_and_gradients(digits, W, b, c, output="bernoulli")
        losses.append(loss)
        W, b, c = W - 0.1 * gradients.W, b - 0.1 * gradients.b, c - 0.1 * gradients.c
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_few_rows_do_not_change_each_others_bits(dtype, make_problem):
    """A service that answers one row at a time, or gathers some, gives the same answers."""
    X, (W, b, c, _) = make_problem(31, 83, 29, dtype=dtype)
    H = ops.encode(X, W, b)
    X_hat = ops.decode(H, W, c, output="bernoulli")
    for part in (slice(0, 1), slice(4, 7), slice(30, 31), slice(1, 31)):
        np.testing.assert_array_equal(ops.encode(X[part], W, b), H[part])
        np.testing.assert_array_equal(ops.decode(H[part], W, c, output="bernoulli"), X_hat[part])


def test_a_bias_that_is_not_given_is_refused(make_problem):
    """None is no vector of zeros: kernels would read from address 0."""
    X, (W, b, c, _) = make_problem(5, 4, 2)
    for call in (
        lambda: ops.encode(X, W, None),
        lambda: ops.loss(X, W, None, c),
        lambda: ops.loss_and_gradients(X, W, None, c),
    ):
        with pytest.raises(ValueError, match=r"b must have 1 dimension"):
            call()
    for call in (
        lambda: ops.decode(ops.encode(X, W, b), W, None),
        lambda: ops.loss(X, W, b, None),
        lambda: ops.loss_and_gradients(X, W, b, None),
    ):
        with pytest.raises(ValueError, match=r"c must have 1 dimension"):
            call()


@pytest.mark.parametrize("form", [np.ndarray.tolist, pd.DataFrame])
def test_groups_of_lists_and_frames(form):
    X, W, b, c = np.eye(3)[[0, 1, 2, 1]], np.ones((2, 3)), np.zeros(2), np.zeros(3)
    output = [("categorical", [0, 1, 2])]
    value, _ = ops.loss_and_gradients(form(X), W, b, c, output=output)
    assert value == ops.loss_and_gradients(X, W, b, c, output=output)[0]
    with pytest.raises(ValueError, match="row 0"):
        ops.loss_and_gradients(form(2 * X), W, b, c, output=output)
