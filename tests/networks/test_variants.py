"""Variants of the autoencoder: one step of each against the reference, and what each is for."""

import re
from pathlib import Path

import numpy as np
import pytest
from reference import autoencoder as reference
from reference import noise as reference_noise
from reference.autoencoder import Parameters
from reference.variants import PENALTIES
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import parametrize_with_checks
from support.helpers import WEIGHTS_OF_ROWS
from support.problems import (
    ALL_OUTPUTS,
    assert_same_gradients,
    expected_step,
    mixed_output,
    parameters_of,
    rows_of,
    step,
    thetas_of,
    with_gaps,
)
from support.textbook import Autoencoder

from aefast.networks import _autoencoder

ACTIVATIONS = [entry["name"] for entry in _autoencoder.activation_table()]
N, D, K = 45, 9, 6
VARIANTS = {
    "plain": {},
    "alpha": {"alpha": 0.3},
    "masking": {"corruption": ("masking", 0.3)},
    "salt and pepper": {"corruption": ("salt_and_pepper", 0.3)},
    "gaussian noise": {"corruption": ("gaussian", 0.5)},
    "dropout of inputs": {"corruption": ("dropout", 0.3)},
    "rows of norm 1": {"row_norm": "l2"},
    "rows of norm 1, with gaps and noise": {
        "missing": "mask",
        "row_norm": "l2",
        "corruption": ("dropout", 0.4),
    },
    "contraction": {"contraction": 0.2},
    **{
        name: {"sparsity": (name, *([penalty.example] if penalty.example else []), 0.5)}
        for name, penalty in PENALTIES.items()
    },
    "top_k": {"top_k": 2},
    "dropout": {"dropout": 0.4},
    "gaps": {"missing": "mask"},
    "gaps, filled by zeros": {"missing": "mask", "missing_fill": "zero"},
    "several": {
        "missing": "mask",
        "corruption": ("masking", 0.3),
        "contraction": 0.1,
        "sparsity": ("l1", 0.1),
        "dropout": 0.2,
        "alpha": 0.1,
    },
    "k-sparse and more": {"top_k": 3, "corruption": ("gaussian", 0.2), "contraction": 0.1},
}


def reference_options(X, output, options, seed, k=K):
    """Keyword arguments of the reference: the noise is what the kernel draws at its first rows."""
    options, corruption = dict(options), options.get("corruption")
    missing, fill = options.pop("missing", None), options.pop("missing_fill", "mean")
    if missing:
        options["fill"] = np.nanmean(X, axis=0) if fill == "mean" else np.zeros(X.shape[1])
    norm = options.pop("row_norm", None)
    if options.pop("corruption", None) or norm:
        whole = np.where(np.isnan(X), options.get("fill", 0.0), X)
        whole = reference_noise.divided_by_norms(whole) if norm else whole
        low, high = domain_ends(X, output)
        noise = (*(corruption or ("masking", 0.0)), seed)
        options["encoded"] = reference_noise.corrupted(whole, *noise, low=low, high=high)
    if "dropout" in options:
        options["dropout"] = reference_noise.dropout((len(X), k), options["dropout"], seed)
    return options


def domain_ends(X, output):
    """The domain's ends, the data's where it has none."""
    low, high = np.nanmin(X, axis=0), np.nanmax(X, axis=0)
    segments = reference.reference_outputs.segments(
        [(name if isinstance(name, str) else name[0], columns) for name, columns in output]
        if isinstance(output, list)
        else output,
        X.shape[1],
    )
    for name, columns, *_ in segments:
        reference_output = reference.OUTPUTS[name]
        low[columns] = reference_output.low if np.isfinite(reference_output.low) else low[columns]
        high[columns] = (
            reference_output.high if np.isfinite(reference_output.high) else high[columns]
        )
    return low, high


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ALL_OUTPUTS)
def test_steps_match_the_reference(name, variant, isa):
    """Loss and gradients for tied and untied weights, all activations, with row weights.

    Gradients agree in float64 to 1e-10 of their largest entry.
    """
    output, options = ALL_OUTPUTS[name], VARIANTS[variant]
    X, theta = rows_of(output, N), thetas_of(output, D)
    if "missing" in options:
        X = with_gaps(X, output)
    weight = np.random.default_rng(4).uniform(0.2, 2.0, N)
    for tied in (True, False):
        for activation in ACTIVATIONS:
            penalty = _autoencoder.PENALTIES.get(variant)
            if penalty and penalty["of_unit_codes"] and activation != "sigmoid":
                continue
            parameters = parameters_of(D, K, tied)
            settings = {"activation": activation, "sample_weight": weight}
            loss, gradients, of_theta, ae = step(
                X, parameters, theta, output=output, **settings, **options
            )
            by_reference = expected_step(
                X,
                parameters,
                theta,
                output,
                **settings,
                **reference_options(X, output, options, ae._state.seed),
            )
            assert loss == pytest.approx(by_reference[0], rel=1e-11), activation
            assert_same_gradients(gradients, by_reference[1], 1e-10)
            if len(of_theta):
                np.testing.assert_allclose(of_theta, by_reference[2], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["gaussian", "mixed"])
def test_steps_of_many_blocks_match_the_reference(name, variant, isa):
    """Rows fill several blocks; features and units several panels and calls of the generator."""
    n, d, k = 301, 131, 70
    output, options = mixed_output(d, seed=d) if name == "mixed" else name, VARIANTS[variant]
    X, theta = rows_of(output, n, d), thetas_of(output, d)
    if "missing" in options:
        X = with_gaps(X, output)
    weight = np.random.default_rng(4).uniform(0.2, 2.0, n)
    parameters = Parameters(
        *(0.2 * np.asarray(part) for part in parameters_of(d, k, tied=False))
    )  # pre-activations of the size of one
    settings = {"activation": "sigmoid", "sample_weight": weight}
    loss, gradients, of_theta, ae = step(X, parameters, theta, output=output, **settings, **options)
    options = reference_options(X, output, options, ae._state.seed, k)
    by_reference = expected_step(X, parameters, theta, output, **settings, **options)
    assert loss == pytest.approx(by_reference[0], rel=1e-11)
    assert_same_gradients(gradients, by_reference[1], 1e-10)
    if len(of_theta):
        np.testing.assert_allclose(of_theta, by_reference[2], rtol=1e-9, atol=1e-10)


def as_float32(array):
    return None if array is None else array.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ALL_OUTPUTS)
def test_steps_in_float32(name, variant, isa):
    """Gradients agree in float32 to 3e-5 of their largest entry, losses to 2e-6."""
    output, options = ALL_OUTPUTS[name], VARIANTS[variant]
    X, theta = as_float32(rows_of(output, N)), as_float32(thetas_of(output, D))
    if "missing" in options:
        X = with_gaps(X, output)
    for tied in (True, False):
        parameters = Parameters(*map(as_float32, parameters_of(D, K, tied)))
        loss, gradients, of_theta, ae = step(
            X.astype(np.float32), parameters, theta, output=output, **options
        )
        assert ae._state.parameters.dtype == np.float32
        for_reference = reference_options(X, output, options, ae._state.seed)
        by_reference = expected_step(X, parameters, theta, output, **for_reference)
        assert loss == pytest.approx(by_reference[0], rel=2e-6)
        assert_same_gradients(gradients, by_reference[1], 3e-5)
        if len(of_theta):
            assert np.abs(of_theta - by_reference[2]).max() <= 3e-5 * max(
                np.abs(by_reference[2]).max(), 0.01
            )


def test_noise_is_philox():
    """The generator gives its authors' known answers (Random123, kat_vectors, philox4x32-10)."""
    ones, pi = [0xFFFFFFFF] * 4, [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    known = [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (ones, ones[:2], "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (pi, [0xA4093822, 0x299F31D0], "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ]
    for counter, key, answer in known:
        words = reference_noise.philox([[word] for word in counter], key)[:, 0]
        assert " ".join(f"{int(word):08x}" for word in words) == answer


def test_noise_has_its_distribution():
    X = np.ones((2000, 70))
    assert reference_noise.corrupted(X, "masking", 0.3, 5).mean() == pytest.approx(0.7, abs=0.006)
    salted = reference_noise.corrupted(0.5 * X, "salt_and_pepper", 0.3, 5)
    for value, share in ((0.0, 0.15), (0.5, 0.7), (1.0, 0.15)):
        assert (salted == value).mean() == pytest.approx(share, abs=0.006)
    noise = reference_noise.corrupted(0 * X, "gaussian", 2.0, 5)
    assert noise.mean() == pytest.approx(0.0, abs=0.03)
    assert noise.std() == pytest.approx(2.0, abs=0.03)
    assert np.abs(np.corrcoef(noise.T) - np.eye(70)).max() < 0.12


def test_noise_goes_on_from_pass_to_pass():
    """The second epoch's noise is that of samples N, N + 1, …: no pass repeats another's."""
    X, parameters = rows_of("gaussian", N), parameters_of(D, K, True)
    options = {"corruption": ("masking", 0.5), "dropout": 0.3, "sparsity": ("l1", 0.01)}
    *_, ae = step(X, parameters, None, **options)
    now = reference.unflatten(ae._state.parameters.copy(), K, D, True)
    before = ae._state.parameters.copy()
    ae.fit(X)  # warm start
    seed = ae._state.seed
    by_reference = reference.gradients(
        X,
        now,
        "gaussian",
        encoded=reference_noise.corrupted(X, "masking", 0.5, seed, first_sample=N),
        dropout=reference_noise.dropout((N, K), 0.3, seed, first_sample=N),
        sparsity=("l1", 0.01),
    )
    moved = reference.unflatten(before - ae._state.parameters, K, D, True)
    assert_same_gradients(moved, by_reference, 1e-10)


@pytest.mark.parametrize(
    "corruption", [("masking", 0.3), ("salt_and_pepper", 0.2), ("gaussian", 0.3)]
)
def test_denoising_undoes_damage(corruption, digits):
    options = {"output": "bernoulli", "learning_rate": 0.01, "max_epochs": 15, "random_state": 0}
    plain = Autoencoder(64, **options).fit(digits)
    denoising = clone(plain).set_params(corruption=corruption).fit(digits)
    damaged = reference_noise.corrupted(digits, *corruption, seed=1).clip(0, 1)
    errors = [np.abs(ae.reconstruct(damaged) - digits).mean() for ae in (plain, denoising)]
    assert errors[1] < 0.95 * errors[0]


def test_contraction_flattens_the_code(digits):
    options = {"output": "bernoulli", "learning_rate": 0.01, "max_epochs": 10, "random_state": 0}
    norms = []
    for contraction in (0.0, 0.1, 1.0):
        ae = Autoencoder(32, contraction=contraction, **options).fit(digits)
        H = ae.transform(digits)
        norms.append(((H * (1 - H)) ** 2 @ (ae.components_**2).sum(axis=1)).mean())
    assert norms[1] < 0.6 * norms[0]
    assert norms[2] < 0.6 * norms[1]


def test_sparsity_reaches_its_mean(digits):
    options = {"output": "bernoulli", "learning_rate": 0.01, "max_epochs": 40, "random_state": 0}
    for rho in (0.03, 0.2):
        ae = Autoencoder(64, sparsity=("kl", rho, 20.0), **options).fit(digits)
        assert ae.transform(digits).mean() == pytest.approx(rho, rel=0.3)


def test_reference_and_guide_have_every_activation():
    """Codes at the ends of what the table says, or on the way there."""
    assert set(ACTIVATIONS) == set(reference.ACTIVATIONS)
    for row in _autoencoder.activation_table():
        codes = reference.ACTIVATIONS[row["name"]].function(np.array([-700.0, 0.0, 700.0]))
        assert codes[0] == pytest.approx(max(row["low"], -700.0), abs=1e-9)
        assert codes[2] == pytest.approx(min(row["high"], 700.0), abs=1e-9)
    page = (Path(__file__).parents[2] / "docs" / "guide" / "variants.md").read_text(
        encoding="utf-8"
    )
    table = page[page.index("## Activations") : page.index("## Denoising")]
    assert re.findall(r'^\| `"(\w+)"` \|', table, re.MULTILINE) == ACTIVATIONS


def test_reference_and_guide_have_every_penalty():
    assert set(PENALTIES) == set(_autoencoder.PENALTIES)
    page = (Path(__file__).parents[2] / "docs" / "guide" / "variants.md").read_text(
        encoding="utf-8"
    )
    for name, row in _autoencoder.PENALTIES.items():
        assert PENALTIES[name].of_means == row["of_means"]
        assert (PENALTIES[name].example is None) == (row["parameter"] is None)
        assert f'("{name}", ' in page


@pytest.mark.parametrize("bias", [-60.0, 60.0])
def test_the_divergence_of_saturated_units_is_finite(bias, isa):
    """Mean codes are kept off 0 and 1 by 1e-6."""
    X, (W, b, c, _) = rows_of("gaussian", N), parameters_of(D, K, True)
    parameters = Parameters(W, np.full_like(b, bias), c)
    plain, *_ = step(X, parameters, None)
    loss, gradients, *_ = step(X, parameters, None, sparsity=("kl", 0.1, 0.5))
    penalty = PENALTIES["kl"].value(1e-6 if bias < 0 else 1 - 1e-6, 0.1)
    assert loss - plain == pytest.approx(0.5 * K * penalty, rel=1e-9)
    assert all(np.isfinite(part).all() for part in gradients if part is not None)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_batch_without_weight_has_no_penalty_of_mean_codes(dtype):
    """Its mean codes would be 0/0; plain gradient descent makes no step with it."""
    X = np.random.default_rng(0).uniform(size=(24, 6)).astype(dtype)
    weight = np.repeat([1.0, 0.0], [8, 16])
    options = {"sparsity": ("kl", 0.1, 0.5), "solver": "sgd", "momentum": 0.0, "shuffle": False}
    ae = Autoencoder(3, batch_size=8, max_epochs=1, random_state=0, **options)
    first = ae.fit(X, sample_weight=weight)
    start = clone(ae).set_params(max_epochs=0).fit(X, sample_weight=weight)
    last = clone(ae).fit(X[::-1].copy(), sample_weight=weight[::-1])
    assert not np.array_equal(first.components_, start.components_)
    np.testing.assert_allclose(last.components_, first.components_, rtol=1e-5)
    np.testing.assert_allclose(last.loss_curve_, first.loss_curve_, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 5, 16])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_top_k_codes(k, activation, digits, isa):
    """Codes and reconstructions are the reference's."""
    ae = Autoencoder(16, activation=activation, top_k=k, max_epochs=2, random_state=0).fit(digits)
    parameters = Parameters(ae.components_, ae.hidden_bias_, ae.visible_bias_)
    by_reference = reference.forward(digits, parameters, "gaussian", activation, top_k=k)
    H = ae.transform(digits)
    np.testing.assert_allclose(H, by_reference.H, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(ae.reconstruct(digits), by_reference.X_hat, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(ae.inverse_transform(H), by_reference.X_hat, rtol=1e-10, atol=1e-10)


def test_dead_units_come_back(digits):
    """Units whose bias keeps them from ever being among the top are found and revived."""
    ae = Autoencoder(16, activation="linear", top_k=4, max_epochs=0, random_state=0)
    ae.set_params(learning_rate=0.01, warm_start=True, tol=0).fit(digits)
    ae.hidden_bias_[:4] = -3.0
    assert not ae.transform(digits)[:, :4].any()
    ae.set_params(max_epochs=200).fit(digits)
    assert (ae.transform(digits)[:, :4] != 0).any(axis=0).all()


def test_linear_reaches_pca(digits):
    """The tied linear autoencoder reaches the error of PCA to 1e-6 (Baldi & Hornik 1989)."""
    X = digits[::6] - digits[::6].mean(axis=0)
    pca = PCA(10).fit(X)
    best = 0.5 * ((pca.inverse_transform(pca.transform(X)) - X) ** 2).sum(axis=1).mean()
    ae = Autoencoder(
        10,
        activation="linear",
        solver="sgd",
        momentum=0.99,
        learning_rate=0.01,
        learning_rate_schedule="cosine",
        batch_size=len(X),
        max_epochs=4000,
        tol=0,
        random_state=0,
    ).fit(X)
    assert ae.reconstruction_error(X).mean() == pytest.approx(best, rel=1e-6)


def test_noise_and_penalties_play_no_part_afterwards(digits):
    """Codes, reconstructions and losses are those of the plain network with the same parameters."""
    ae = Autoencoder(
        8, corruption=("masking", 0.5), dropout=0.5, contraction=0.1, max_epochs=2, random_state=0
    ).fit(digits)
    parameters = Parameters(ae.components_, ae.hidden_bias_, ae.visible_bias_)
    by_reference = reference.forward(digits, parameters, "gaussian")
    np.testing.assert_allclose(ae.transform(digits), by_reference.H, rtol=1e-12)
    np.testing.assert_allclose(ae.reconstruct(digits), by_reference.X_hat, rtol=1e-10, atol=1e-12)
    losses = reference.row_losses(digits, parameters, "gaussian")
    np.testing.assert_allclose(ae.reconstruction_error(digits), losses, rtol=1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_bits_for_any_number_of_threads(variant, isa):
    X = rows_of("gaussian", 300, 70)
    ae = Autoencoder(33, batch_size=64, max_epochs=2, random_state=0, **VARIANTS[variant])
    one, two = (clone(ae).set_params(n_threads=n).fit(X) for n in (1, 2))
    assert one._state.parameters.tobytes() == two._state.parameters.tobytes()
    assert one.loss_curve_ == two.loss_curve_


@pytest.mark.parametrize(
    "options, message",
    [
        ({"corruption": "masking"}, "'corruption' parameter .* Got 'masking'"),
        ({"corruption": ("masking", 1.5)}, "the level must be a probability"),
        ({"corruption": ("dropout", 1.0)}, "the level must be a probability below 1"),
        ({"corruption": ("gaussian", -1.0)}, "the level must be a standard deviation"),
        ({"corruption": ("snow", 0.1)}, "salt_and_pepper"),
        ({"sparsity": ("kl", 0.1, 1.0), "activation": "relu"}, "activation='sigmoid', got 'relu'"),
        ({"sparsity": ("kl", 1.0, 1.0)}, "rho in"),
        ({"sparsity": ("l1", -1.0)}, r"must be \('l1', weight >= 0\), got \('l1', -1.0\)"),
        ({"top_k": 9}, "at most n_components = 8, got 9"),
        ({"top_k": 2, "dropout": 0.1}, "top_k and dropout"),
    ],
)
def test_refusals(options, message, digits):
    with pytest.raises(ValueError, match=message):
        Autoencoder(8, **options).fit(digits)


def what_noise_excludes(estimator):
    """A row that comes twice is corrupted twice, one of weight 2 once."""
    if estimator.corruption is None and estimator.dropout == 0:
        return {}
    return dict.fromkeys(WEIGHTS_OF_ROWS, "noise is drawn for each row")


@parametrize_with_checks(
    [
        Autoencoder(4, max_epochs=3, corruption=("masking", 0.3)),
        Autoencoder(4, max_epochs=3, contraction=0.1, sparsity=("kl", 0.1, 0.1)),
        Autoencoder(4, max_epochs=3, sparsity=("l1", 0.1), dropout=0.2),
        Autoencoder(4, max_epochs=3, activation="linear", top_k=1),
        Autoencoder(4, max_epochs=3, missing="mask"),
        Autoencoder(4, max_epochs=3, output="gaussian_diagonal"),
        Autoencoder(4, max_epochs=3, output="laplace"),
        Autoencoder(4, max_epochs=3, output=("huber", {"delta": 2.0})),
    ],
    expected_failed_checks=what_noise_excludes,
)
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)
