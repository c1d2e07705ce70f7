"""Full-batch fits by L-BFGS."""

import numpy as np
import pytest
from reference import autoencoder as reference
from reference.autoencoder import flatten
from support.textbook import Autoencoder


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("output", ["gaussian", "bernoulli"])
def test_the_gradient_of_the_reference_vanishes(output, tied):
    """At the end of a small fit, penalty included; and the loss recorded is the reference's."""
    X = np.random.default_rng(0).random((30, 5))
    options = {"output": output, "activation": "tanh", "alpha": 0.01}
    ae = Autoencoder(
        2, tied=tied, solver="lbfgs", max_epochs=3000, tol=0, random_state=0, **options
    )
    ae.fit(X)
    decoder = None if tied else ae.decoder_components_
    parameters = reference.Parameters(ae.components_, ae.hidden_bias_, ae.visible_bias_, decoder)
    gradient = flatten(reference.gradients(X, parameters, **options))
    assert np.abs(gradient).max() < 1e-6
    assert ae.loss_curve_[-1] == pytest.approx(reference.loss(X, parameters, **options), rel=1e-12)
    assert (np.diff(ae.loss_curve_) <= 0).all()


def test_linear_is_pca(digits):
    """The tied linear autoencoder reaches the error of PCA to 1e-6 (Baldi & Hornik 1989)."""
    X = digits - digits.mean(axis=0)
    singular = np.linalg.svd(X, compute_uv=False)
    best = 0.5 * (singular[10:] ** 2).sum() / len(X)
    ae = Autoencoder(
        10, activation="linear", solver="lbfgs", max_epochs=2000, tol=0, random_state=0
    )
    assert ae.fit(X).reconstruction_error(X).mean() == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(
    "variant",
    [
        {"corruption": ("masking", 0.3)},
        {"corruption": ("gaussian", 0.2)},
        {"contraction": 0.1},
        {"sparsity": ("kl", 0.1, 0.5)},
        {"missing": "mask"},
        {"output": "gaussian_diagonal"},
        {"output": [("categorical", [0, 1, 2]), ("gaussian", slice(3, 64))]},
    ],
    ids=str,
)
def test_variants(variant, digits):
    """The loss falls at every iteration: it is one function, noise is drawn once."""
    X = digits[:600].copy()
    X[:, :3] = np.eye(3)[np.arange(len(X)) % 3]
    if "missing" in variant:
        X[::7, 5] = np.nan
    ae = Autoencoder(8, solver="lbfgs", max_epochs=15, tol=0, random_state=0, **variant).fit(X)
    assert len(ae.loss_curve_) == ae.n_epochs_ > 5
    assert (np.diff(ae.loss_curve_) <= 0).all() and ae.loss_curve_[-1] < ae.loss_curve_[0]


def test_weight_two_is_the_row_twice(digits):
    v = np.random.default_rng(0).integers(0, 3, 300)
    options = {"solver": "lbfgs", "max_epochs": 8, "tol": 0, "random_state": 0}
    weighted = Autoencoder(4, **options).fit(digits[:300], sample_weight=v)
    repeated = Autoencoder(4, **options).fit(np.repeat(digits[:300], v, axis=0))
    np.testing.assert_allclose(weighted.components_, repeated.components_, rtol=1e-6, atol=1e-8)


def test_callbacks_stop_and_see_the_iterate(digits):
    losses = []

    def callback(epoch, loss, validation_loss, estimator):
        losses.append(estimator.reconstruction_error(digits).mean())
        return epoch == 3

    ae = Autoencoder(4, solver="lbfgs", callbacks=callback, random_state=0).fit(digits)
    assert ae.n_epochs_ == 3
    np.testing.assert_allclose(losses, ae.loss_curve_, rtol=1e-12)
    ae.set_params(warm_start=True, callbacks=None, max_epochs=2, tol=0).fit(digits)
    assert ae.n_epochs_ == 2 and ae.loss_curve_[-1] < losses[-1]


def test_an_interrupt_keeps_the_last_iterate(digits):
    def callback(epoch, loss, validation_loss, estimator):
        if epoch == 2:
            raise KeyboardInterrupt

    ae = Autoencoder(4, solver="lbfgs", callbacks=callback, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        ae.fit(digits)
    assert ae.n_epochs_ == 2
    assert ae.reconstruction_error(digits).mean() == pytest.approx(ae.loss_curve_[-1], rel=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        {"early_stopping": True},
        {"clip_norm": 1.0},
        {"max_norm": 1.0},
        {"weight_decay": 0.1},
    ],
    ids=str,
)
def test_what_belongs_to_batches_is_refused(wrong, digits):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Autoencoder(4, solver="lbfgs", **wrong).fit(digits)


def test_partial_fit_is_refused(digits):
    assert not hasattr(Autoencoder(4, solver="lbfgs"), "partial_fit")
    with pytest.raises(AttributeError, match="partial_fit"):
        Autoencoder(4, solver="lbfgs").partial_fit(digits)


def test_float32_and_files(digits, path):
    X = digits.astype(np.float32)
    ae = Autoencoder(4, solver="lbfgs", max_epochs=5, random_state=0).fit(X)
    assert ae.components_.dtype == np.float32
    ae.save(path)
    import aefast

    np.testing.assert_array_equal(aefast.load(path).transform(X), ae.transform(X))
