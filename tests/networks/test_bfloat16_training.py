"""Training in bfloat16 against the reference implementation.

It needs an instruction set with bfloat16: AVX512_BF16, or `wide` of a debug build.
"""

import numpy as np
import pytest
from reference import autoencoder as reference
from reference import bfloat16 as reference_bfloat16
from reference.autoencoder import Parameters
from support.helpers import PLAIN_OUTPUTS, SOLVER_NAMES, SOLVERS, same_bits
from support.textbook import Autoencoder

import aefast
from aefast._base import _runtime
from aefast.networks import _autoencoder
from aefast.networks.network import single_layer
from aefast.networks.outputs import plain_output
from aefast.networks.training.hyperparameters import Hyperparameters
from aefast.networks.variants import PLAIN

pytestmark = pytest.mark.skipif(
    not _runtime.bfloat16_available(), reason="no instruction set here has bfloat16"
)

OUTPUTS = PLAIN_OUTPUTS  # the others: test_recipe.py


@pytest.fixture(params=_runtime.bfloat16_available(), autouse=True)
def bfloat16_isa(request):
    isa = _runtime.isa()
    _runtime.set_isa(request.param)
    yield request.param
    _runtime.set_isa(isa)


def step_gradients(X, parameters, output, n_threads=1):
    """The float32 gradients of one step on all rows: what the momentum of its first step is."""
    (k, d), tied = parameters.W.shape, parameters.decoder_weights is None
    network = single_layer(d, k, tied, "sigmoid", plain_output(output))
    flat = reference.flatten(parameters).astype(np.float32)
    state = np.zeros((1, flat.size), np.float32)
    trainer = _autoencoder.Trainer(
        network,
        X,
        flat,
        state,
        Hyperparameters("sgd", learning_rate=1e-3, momentum=0.5),
        batch_size=len(X),
        n_threads=n_threads,
        n_steps=0,
        variant=PLAIN,
        bfloat16=True,
    )
    loss_sum, status = trainer.run(np.arange(len(X)), 0.0)
    assert status == 0
    return loss_sum / len(X), reference.unflatten(trainer.values()[1][0], k, d, tied)


def test_operands_are_rounded_to_nearest_even():
    """Gradients show how numbers are rounded.

    With W = 0 and V nonzero for the last feature alone, dA is 1/4, and row j of the encoder's
    gradient is the rounded x_j / 4.
    """
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 20000, dtype=np.uint64).astype(np.uint32)
    bits[:4000] = (bits[:4000] & 0xFFFF0000) | 0x8000  # ties,
    bits[4000:8000] = (bits[4000:8000] & 0xFFFF0000) | 0x7FFF  # and next to them
    bits[8000:10000] &= 0x807FFFFF  # subnormal
    x = bits.view(np.float32)
    x = x[np.isfinite(x) & (np.abs(x) < 1e15) & ((np.abs(x) > 1e-35) | (np.abs(x) < 2.0**-126))]
    X = np.append(x, np.float32(0))[np.newaxis]
    d = X.shape[1]
    V, c = np.zeros((1, d)), np.zeros(d)
    V[0, -1], c[-1] = 1.0, 0.5
    _, gradients = step_gradients(X, Parameters(np.zeros((1, d)), np.zeros(1), c, V), "gaussian")
    assert gradients.b == [0.25]
    np.testing.assert_array_equal(4 * gradients.W[0], reference_bfloat16.rounded(X[0]))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (2, 3, 2), (33, 17, 9), (45, 64, 33), (129, 65, 31), (521, 131, 67)],
    ids=str,
)
def test_gradients(shape, output, tied, make_problem):
    """Gradients are within rounding of the reference, the roundings of operands included.

    Sizes are odd and even, and make several blocks of rows and more than a chunk of 512.
    """
    X, parameters = make_problem(*shape, tied=tied, dtype=np.float32)
    by_reference = reference.gradients(X, parameters, output, product=reference_bfloat16.product)
    bound = reference_bfloat16.rounding(X, parameters, output)
    loss, gradients = step_gradients(X, parameters, output)
    for name in Parameters._fields[: 3 if tied else 4]:
        error = np.abs(getattr(gradients, name) - getattr(by_reference, name))
        assert (error <= getattr(bound, name) + 1e-37).all(), name
        # few operands fall to the other side of a boundary: most entries agree as in float32
        assert np.median(error / np.abs(getattr(by_reference, name))) < 1e-5, name
    expected = reference.loss(X, parameters, output, product=reference_bfloat16.product)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_the_bound_tells_bfloat16_from_float32(make_problem):
    """The tolerance has teeth: nearly all gradients of exact operands lie outside it."""
    X, parameters = make_problem(33, 17, 9, dtype=np.float32)
    exact = reference.gradients(X, parameters, "bernoulli")
    by_reference = reference.gradients(
        X, parameters, "bernoulli", product=reference_bfloat16.product
    )
    bound = reference_bfloat16.rounding(X, parameters, "bernoulli")
    assert (np.abs(exact.W - by_reference.W) > bound.W).mean() > 0.8


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("solver, options", SOLVERS, ids=SOLVER_NAMES)
def test_training_follows_the_reference(solver, options, output, tied, make_problem):
    """Four epochs with a short last batch and a penalty.

    An operand that is rounded the other way moves a step by some 1e-4 of it; orthogonal steps
    spread it over the matrix.
    """
    X, _ = make_problem(149, 21, 11, dtype=np.float32)
    settings = {"output": output, "solver": solver, "alpha": 0.02, "batch_size": 32, **options}
    ae = Autoencoder(
        11, tied=tied, shuffle=False, tol=0, random_state=0, precision="bfloat16", **settings
    )
    start = ae.set_params(max_epochs=0).fit(X)._state.parameters.copy()
    ae.set_params(max_epochs=4).fit(X)
    by_reference = reference.train(
        X,
        reference.unflatten(start.astype(np.float64), 11, 21, tied),
        [np.arange(149)] * 4,
        product=reference_bfloat16.product,
        **settings,
    )
    expected = reference.flatten(by_reference.parameters)
    assert np.abs(ae._state.parameters - expected).max() < 0.02 * np.abs(expected - start).max()
    rtol = 3e-4 if solver == "muon" else 1e-4
    np.testing.assert_allclose(ae.loss_curve_, by_reference.loss_curve, rtol=rtol)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shape", [(301, 21, 11), (700, 300, 271)], ids=str)
def test_the_number_of_threads_changes_no_bit(shape, tied, make_problem):
    n, d, k = shape
    X, _ = make_problem(n, d, k, dtype=np.float32)
    options = {
        "output": "bernoulli",
        "tied": tied,
        "batch_size": 600 if n > 600 else 63,
        "max_epochs": 2,
        "random_state": 0,
        "precision": "bfloat16",
    }
    one, *others = (
        Autoencoder(k, n_threads=n_threads, **options).fit(X) for n_threads in (1, 2, 3)
    )
    assert all(same_bits(one, other) for other in others)


def test_stops_and_callbacks_change_no_bit(digits):
    """The rounded copies of the weights follow from the float32 weights, whenever they are made."""
    options = {"batch_size": 50, "random_state": 0, "precision": "bfloat16", "tol": 0}
    X = digits.astype(np.float32)
    whole = Autoencoder(13, max_epochs=3, **options).fit(X)
    watched = Autoencoder(13, max_epochs=3, callbacks=[lambda *_: None], **options).fit(X)
    resumed = Autoencoder(13, max_epochs=1, **options).fit(X)
    for _ in range(2):
        resumed.partial_fit(X)
    assert same_bits(whole, watched) and same_bits(whole, resumed)


def test_any_type_is_trained_in_float32(digits):
    options = {"output": "bernoulli", "max_epochs": 1, "random_state": 0, "precision": "bfloat16"}
    in_float32 = Autoencoder(9, **options).fit(digits.astype(np.float32))
    in_float64 = Autoencoder(9, **options).fit(digits)
    assert in_float64.components_.dtype == np.float32
    assert in_float64.transform(digits).dtype == np.float64
    np.testing.assert_allclose(in_float64.components_, in_float32.components_, atol=1e-6)
    in_float64.set_params(precision="auto").partial_fit(digits)
    in_float64.set_params(precision="bfloat16").partial_fit(digits > 0.5)
    assert in_float64.components_.dtype == np.float32


def test_float64_parameters_are_not_continued(digits):
    estimator = Autoencoder(9, max_epochs=1, warm_start=True).fit(digits)
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=r"precision='bfloat16' does not continue .* float64"):
            getattr(estimator.set_params(precision="bfloat16"), method)(digits)


def test_products_by_blas_have_no_bfloat16(digits):
    _runtime.set_products("blas")
    try:
        assert aefast.build_info()["bfloat16"] is False
        with pytest.raises(ValueError, match="AEFAST_PRODUCTS=blas"):
            Autoencoder(9, precision="bfloat16").fit(digits)
    finally:
        _runtime.set_products("tiles")


def test_divergence_is_reported(digits):
    options = {"solver": "sgd", "learning_rate": 1e30, "max_epochs": 3, "precision": "bfloat16"}
    estimator = Autoencoder(9, **options)
    with pytest.raises(FloatingPointError, match="diverged"):
        estimator.fit(digits)
    assert np.isfinite(estimator.components_).all()


@pytest.mark.parametrize("solver, options", [SOLVERS[1], SOLVERS[3]], ids=["momentum", "adam"])
def test_the_loss_follows_float32s(solver, options, digits):
    """Within 1 % in every epoch, though bfloat16 has 8 significant bits."""
    settings = {"output": "bernoulli", "solver": solver, "max_epochs": 10, "tol": 0, **options}
    X = digits.astype(np.float32)
    curves = [
        Autoencoder(64, random_state=0, precision=precision, **settings).fit(X).loss_curve_
        for precision in ("auto", "bfloat16")
    ]
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.01)
    assert curves[0] != curves[1]
