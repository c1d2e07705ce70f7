"""Reconstruction sampling: steps against the reference, unbiasedness, what cannot be sampled."""

import numpy as np
import pytest
from reference import noise as reference_noise
from reference import sampling as reference
from scipy import sparse
from support.problems import assert_same_gradients, expected_step, parameters_of, step
from support.textbook import Autoencoder

import aefast

D, K = 83, 21
MIXED = [
    ("gaussian_diagonal", list(range(10))),
    ("poisson", list(range(10, 50))),
    (("huber", {"delta": 0.4}), list(range(50, 83))),
]
OUTPUTS = {
    "gaussian": "gaussian",
    "bernoulli": "bernoulli",
    "poisson": "poisson",
    "student_t": "student_t",
    "mixed": MIXED,
}
VARIANTS = {
    "one": (1, {}),
    "a number": (7, {}),
    "a ratio": (0.6, {"corruption": ("dropout", 0.3), "row_norm": "l2"}),
    "penalties": (2.0, {"contraction": 0.2, "alpha": 0.3, "sparsity": ("l1", 0.1)}),
    "all": (D, {"corruption": ("masking", 0.3)}),
}


def sparse_rows(n=141, d=D, dtype=np.float64, seed=0):
    """Return counts with an empty row, a full row, an empty column and stored zeros."""
    random = np.random.default_rng(seed)
    X = random.poisson(1.0, (n, d)) * (random.random((n, d)) < 0.2)
    X[3], X[5], X[:, 2] = 0, 1, 0
    X = sparse.csr_array(X.astype(dtype))
    X.data[::17] = 0
    return X


def rows_of(output, **sizes):
    X = sparse_rows(**sizes)
    if output == "bernoulli":
        X.data[:] = X.data > 0
    return X


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", OUTPUTS)
def test_steps_match_the_reference(name, variant, isa):
    """Gradients in float64 agree to 1e-10 of their largest entry."""
    output, (wanted, options) = OUTPUTS[name], VARIANTS[variant]
    X = rows_of(output)
    dense = X.toarray()
    weight = np.random.default_rng(4).uniform(0.2, 2.0, len(dense))
    has_theta = name in ("student_t", "mixed")
    theta = np.full(D, 0.1 if has_theta else 0.0)
    if name == "mixed":
        theta[10:] = 0.0
    for tied in (True, False):
        parameters = parameters_of(D, K, tied)
        loss, gradients, of_theta, ae = step(
            X,
            parameters,
            theta,
            output=output,
            sample_weight=weight,
            reconstruction_sampling=wanted,
            **options,
        )
        seed, encoded = ae._state.seed, dense
        if "row_norm" in options:
            encoded = reference_noise.divided_by_norms(dense)
        if "corruption" in options:
            encoded = reference_noise.corrupted(encoded, *options["corruption"], seed)
        drawn = reference.weights(X, wanted, seed)
        given = {n: v for n, v in options.items() if n not in ("corruption", "row_norm")}
        given |= {"encoded": encoded, "entry_weight": drawn, "sample_weight": weight}
        expected_loss, expected, expected_theta = expected_step(
            dense, parameters, theta, output, **given
        )
        assert loss == pytest.approx(expected_loss, rel=1e-12)
        assert_same_gradients(gradients, expected, 1e-10)
        if len(of_theta):
            np.testing.assert_allclose(of_theta, expected_theta, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("output", ["bernoulli", "poisson"])
def test_the_mean_over_samples_is_the_step_of_all_columns(output):
    """A batch of copies of a row averages independent samples: their error falls with n."""
    row, n = rows_of(output)[7:8], 40_000
    X = sparse.vstack([row] * n, format="csr")
    parameters = parameters_of(D, 3, tied=False)
    exact_loss, exact, _, _ = step(row, parameters, np.zeros(D), output=output)
    loss, mean, _, ae = step(
        X, parameters, np.zeros(D), output=output, reconstruction_sampling=4, n_threads=2
    )
    drawn = reference.weights(X[:400], 4, ae._state.seed)
    # a column's weight is that of its stratum, or 0: its variance is at most size - 1
    deviation = np.sqrt((drawn.max(axis=0) - 1).clip(0) / n)
    error = np.abs(mean.c - exact.c)
    assert (error <= 5 * deviation * np.abs(exact.c) + 1e-12).all()
    assert error.max() > 0
    assert loss == pytest.approx(exact_loss, rel=5 * deviation.max())
    for name in ("W", "decoder_weights", "b"):
        got, wanted = getattr(mean, name), getattr(exact, name)
        assert np.abs(got - wanted).max() <= 5 * deviation.max() * np.abs(wanted).max()


FITS = {
    "adam": {},
    "sgd": {"solver": "sgd", "momentum": 0.0, "tied": False, "learning_rate": 0.01},
    "clipping, norms": {"clip_norm": 0.1, "max_norm": 0.5, "tied": False},
    "gain": {"gain": True},
    "codes": {"dropout": 0.3, "activation": "relu", "weight_decay": 0.01},
    "large batches": {"batch_size": 700},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FITS)
def test_all_zeros_sampled_are_the_loss_of_all_columns(name, dtype):
    X = rows_of("poisson", n=700, d=37, dtype=dtype)
    options = {"output": "poisson", "max_epochs": 3, "random_state": 0} | FITS[name]
    of_entries = Autoencoder(17, reconstruction_sampling=37, **options).fit(X)
    of_all = Autoencoder(17, **options).fit(X)
    close = {"rtol": 1e-3, "atol": 2e-4} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-11}
    np.testing.assert_allclose(of_entries.loss_curve_, of_all.loss_curve_, **close)
    np.testing.assert_allclose(of_entries.components_, of_all.components_, **close)


def test_sums_of_many_entries():
    """More entries than are added at a time in one sum."""
    X = rows_of("poisson", n=150, d=1700)
    options = {"output": "poisson", "max_epochs": 1, "random_state": 0, "batch_size": 150}
    of_entries = Autoencoder(5, reconstruction_sampling=1700, **options).fit(X)
    of_all = Autoencoder(5, **options).fit(X)
    np.testing.assert_allclose(of_entries.components_, of_all.components_, rtol=1e-9)


def test_bits_do_not_depend_on_threads_and_samples_on_the_seed():
    X = rows_of("poisson", n=500, d=1500, dtype=np.float32)
    options = {"output": "poisson", "max_epochs": 3, "reconstruction_sampling": 1.5}
    fits = [
        Autoencoder(5, n_threads=threads, random_state=seed, **options).fit(X)
        for threads, seed in ((1, 0), (2, 0), (2, 1))
    ]
    np.testing.assert_array_equal(fits[0].components_, fits[1].components_)
    assert fits[0].loss_curve_ == fits[1].loss_curve_
    assert fits[0].loss_curve_ != fits[2].loss_curve_


def test_held_out_rows_and_dense_rows_have_the_loss_of_all_columns():
    X = rows_of("poisson", n=300)
    options = {"output": "poisson", "max_epochs": 3, "random_state": 0, "early_stopping": True}
    ae = Autoencoder(5, reconstruction_sampling=3, **options).fit(X, X_val=X[:50])
    losses = ae.reconstruction_error(X[:50])
    assert min(ae.validation_loss_curve_) == pytest.approx(losses.mean(), rel=1e-9)
    dense = Autoencoder(5, reconstruction_sampling=3, **options).fit(X.toarray())
    plain = Autoencoder(5, **options).fit(X.toarray())
    np.testing.assert_array_equal(dense.components_, plain.components_)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "multinomial"}, "logarithm of a sum over all columns"),
        ({"solver": "lbfgs"}, "solver='lbfgs': its line searches"),
        ({"precision": "bfloat16"}, "bfloat16"),
        ({"sparse_output": "factored", "solver": "sgd", "momentum": 0}, "sparse_output='factored'"),
        ({"sparse_means": "missing"}, "entries that are not stored have no loss"),
        ({"top_k": 2}, "top_k=2"),
        ({"corruption": ("gaussian", 0.1)}, "changes zeros"),
        ({"reconstruction_sampling": 0}, "'reconstruction_sampling' parameter"),
        ({"reconstruction_sampling": -0.5}, "'reconstruction_sampling' parameter"),
    ],
)
def test_what_cannot_be_sampled_is_named(options, message):
    ae = aefast.Autoencoder(4, reconstruction_sampling=5, max_epochs=1).set_params(**options)
    with pytest.raises(ValueError, match=message):
        ae.fit(sparse_rows())
    assert not hasattr(ae, "components_")


def test_centred_columns_are_refused():
    X = sparse_rows()
    ae = aefast.Autoencoder(4, max_epochs=1, scale="standard").fit(X.toarray())
    ae.set_params(reconstruction_sampling=5)
    with pytest.raises(ValueError, match="zeros stay zeros"):
        ae.partial_fit(X)


@pytest.mark.parametrize("wanted", [None, 5])
def test_shares_weighted_by_totals_are_poisson_with_the_total_as_exposure(wanted):
    """Loss and gradient are those of ``Σ_j N μ_j − x_j log(N μ_j)``, but for terms in x alone."""
    X = rows_of("poisson", n=40)
    totals = np.maximum(X.sum(axis=1), 1.0)
    shares = sparse.csr_array(X / totals[:, np.newaxis])
    parameters = parameters_of(D, 4, tied=False)
    given = {"output": "poisson", "row_norm": "l2", "reconstruction_sampling": wanted}
    _, found, _, ae = step(shares, parameters, np.zeros(D), sample_weight=totals, **given)
    W, b, c, V = parameters
    H = 1 / (1 + np.exp(-(reference_noise.divided_by_norms(X.toarray()) @ W.T + b)))
    drawn = 1.0 if wanted is None else reference.weights(shares, wanted, ae._state.seed)
    dA_hat = drawn * (totals[:, np.newaxis] * np.exp(H @ V + c) - X.toarray())
    np.testing.assert_allclose(found.c * totals.sum(), dA_hat.sum(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        found.decoder_weights * totals.sum(), H.T @ dA_hat, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("place", [0, 9, 30])
def test_poisson_with_exposure_has_the_gradient_of_multinomial_where_shares_add_up_to_1(place):
    row = rows_of("poisson", n=40)[[place]]
    total = row.sum()
    W, b, c, V = parameters_of(D, 4, tied=False)
    x = reference_noise.divided_by_norms(row.toarray())
    eta = 1 / (1 + np.exp(-(x @ W.T + b))) @ V + c
    parameters = parameters_of(D, 4, tied=False)._replace(c=c - np.log(np.exp(eta).sum()))
    _, of_counts, _, _ = step(
        row, parameters, np.zeros(D), output="multinomial", row_norm="l2", sample_weight=None
    )
    _, of_shares, _, _ = step(row / total, parameters, np.zeros(D), output="poisson", row_norm="l2")
    scaled = type(of_shares)(*(total * part for part in of_shares))
    assert_same_gradients(scaled, of_counts, 1e-10)
