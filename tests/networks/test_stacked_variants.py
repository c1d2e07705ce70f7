"""Deep autoencoders with weights, missing entries, noise, penalties, L-BFGS and chains."""

import numpy as np
import pytest
from sklearn.base import clone
from support.helpers import same_bits
from support.textbook import Autoencoder, StackedAutoencoder


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_weight_of_two_is_the_row_twice(early_stopping, digits):
    """In both stages; a weight of 0 is no row."""
    X = digits[:50]
    weight = np.r_[np.full(10, 2.0), np.ones(30), np.zeros(10)]
    stack = StackedAutoencoder((9, 4), output="bernoulli", pretrain_epochs=4, max_epochs=4)
    stack.set_params(batch_size=200, shuffle=False, tol=0, random_state=0, solver="sgd")
    if early_stopping:  # the same rows are held out; some weigh twice
        stack.set_params(early_stopping=True)
        np.testing.assert_array_equal(
            clone(stack).fit(X, sample_weight=np.full(50, 3.0))._state.parameters,
            clone(stack).fit(X, sample_weight=np.ones(50))._state.parameters,
        )
        other = clone(stack).fit(X, sample_weight=weight)
        assert other.validation_loss_curve_ != stack.fit(X).validation_loss_curve_
        return
    weighted = clone(stack).fit(X, sample_weight=weight)
    copies = clone(stack).fit(np.repeat(X, weight.astype(int), axis=0))
    np.testing.assert_allclose(weighted.loss_curve_, copies.loss_curve_, rtol=1e-9)
    for one, other in zip(
        weighted.pretraining_loss_curves_, copies.pretraining_loss_curves_, strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    np.testing.assert_allclose(
        weighted._state.parameters, copies._state.parameters, rtol=1e-8, atol=1e-11
    )


def test_missing_entries(digits):
    """Entries hidden from rows are told better than by column means; both stages see no NaN."""
    gaps = digits.copy()
    hidden = np.random.default_rng(0).random(gaps.shape) < 0.1
    gaps[hidden] = np.nan
    stack = StackedAutoencoder((40, 20), output="bernoulli", missing="mask", learning_rate=0.005)
    stack.set_params(corruption=("masking", 0.1), pretrain_epochs=10, max_epochs=15, random_state=0)
    filled = stack.fit(gaps).impute(gaps)
    np.testing.assert_array_equal(filled[~hidden], digits[~hidden])
    error = np.abs(filled - digits)[hidden].mean()
    means = np.broadcast_to(np.nanmean(gaps, axis=0), digits.shape)
    assert error < 0.7 * np.abs(means - digits)[hidden].mean()
    assert np.isfinite(stack.score_samples(gaps)).all()
    zero = clone(stack).set_params(missing_fill="zero", max_epochs=1, pretrain_epochs=1).fit(gaps)
    assert not zero._state.fill.any()
    layer = stack.layers_[0]
    np.testing.assert_array_equal(layer.transform(gaps).shape, (len(gaps), 40))
    with pytest.raises(ValueError, match="NaN at row"):
        StackedAutoencoder((4,)).fit(gaps)


def test_walking_back(digits):
    stack = StackedAutoencoder((30, 15), output="bernoulli", corruption=("salt_and_pepper", 0.2))
    stack.set_params(pretrain_epochs=5, max_epochs=5, random_state=0).fit(digits)
    chain = stack.walk_back(digits[:3], n_steps=4, random_state=1)
    assert chain.shape == (4, 3, 64)
    np.testing.assert_array_equal(chain, stack.walk_back(digits[:3], n_steps=4, random_state=1))
    assert set(np.unique(chain)) == {0.0, 1.0}
    one = StackedAutoencoder((7,), output="bernoulli", pretrain_epochs=0, max_epochs=2)
    one.set_params(corruption=("masking", 0.3), random_state=0).fit(digits)
    flat = Autoencoder(7, output="bernoulli", max_epochs=0, corruption=("masking", 0.3)).fit(digits)
    flat._state.parameters[:] = one._state.parameters
    np.testing.assert_array_equal(
        one.walk_back(digits[:5], 3, random_state=2), flat.walk_back(digits[:5], 3, random_state=2)
    )


@pytest.mark.parametrize(
    "penalty", [{"contraction": 0.2}, {"sparsity": ("kl", 0.05, 1.0)}, {"sparsity": ("l1", 0.5)}]
)
def test_penalties_are_for_pretraining(penalty, digits):
    options = {"output": "bernoulli", "random_state": 0, "tol": 0, "max_epochs": 0}
    options |= {"pretrain_epochs": 10, "learning_rate": 0.01}
    plain = StackedAutoencoder((20, 8), **options).fit(digits)
    penalised = StackedAutoencoder((20, 8), **options, **penalty).fit(digits)
    first = [stack.layers_[0].transform(digits) for stack in (plain, penalised)]
    if "sparsity" in penalty:
        assert first[1].mean() < 0.9 * first[0].mean()
    else:
        slopes = [
            ((H * (1 - H)) ** 2 @ (stack.layers_[0].components_ ** 2).sum(axis=1)).mean()
            for H, stack in zip(first, (plain, penalised), strict=True)
        ]
        assert slopes[1] < 0.8 * slopes[0]
    tune = {"pretrain_epochs": 0, "max_epochs": 2}
    tuned = [
        StackedAutoencoder((20, 8), **(options | tune), **given).fit(digits)
        for given in ({}, penalty)
    ]
    assert same_bits(*tuned)


def test_lbfgs_fine_tunes_all_layers(digits):
    options = {"output": "bernoulli", "solver": "lbfgs", "random_state": 0, "tol": 0}
    stack = StackedAutoencoder((15, 6), pretrain_epochs=10, max_epochs=40, **options).fit(digits)
    assert all(np.diff(stack.loss_curve_) <= 0)
    assert [len(curve) for curve in stack.pretraining_loss_curves_] == [10, 10]
    assert stack.loss_curve_[-1] < stack.loss_curve_[0] - 2
    assert not hasattr(stack, "partial_fit")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sparsity": ("kl", 0.1, 1.0), "activation": "tanh"}, "activation='sigmoid', got 'tanh'"),
        ({"sparsity": ("kl", 0.1, 1.0), "code_activation": "linear"}, "got 'linear'"),
        ({"sparsity": ("l3", 1.0)}, r"None, \('kl', rho in \(0, 1\), weight >= 0\) or \('l1'"),
        ({"corruption": ("snow", 0.1)}, "salt_and_pepper"),
        ({"missing": "ignore"}, "'missing' parameter"),
        ({"solver": "lbfgs", "early_stopping": True}, "solver='lbfgs' minimises the loss of all"),
    ],
)
def test_refusals(options, message, digits):
    with pytest.raises(ValueError, match=message):
        StackedAutoencoder((5, 3), **options).fit(digits)


def test_noise_is_for_pretraining(digits):
    """Noise changes the pre-training of a stacked denoising autoencoder, not its fine-tuning."""
    options = {"output": "bernoulli", "random_state": 0, "tol": 0, "max_epochs": 2}
    clean = StackedAutoencoder((9, 4), pretrain_epochs=2, **options).fit(digits)
    noisy = StackedAutoencoder((9, 4), pretrain_epochs=2, corruption=("masking", 0.3), **options)
    assert noisy.fit(digits).pretraining_loss_curves_ != clean.pretraining_loss_curves_
    clean = StackedAutoencoder((9, 4), pretrain_epochs=0, **options).fit(digits)
    noisy = StackedAutoencoder((9, 4), pretrain_epochs=0, corruption=("masking", 0.3), **options)
    assert same_bits(clean, noisy.fit(digits))


def test_outputs_with_parameters_and_groups(digits):
    """The bottom's distributions are an Autoencoder's."""
    X = np.column_stack([np.eye(3)[np.arange(60) % 3], digits[:60, 10:16], digits[:60, 20:23] * 4])
    output = [
        ("categorical", [0, 1, 2]),
        ("gaussian_diagonal", slice(3, 9)),
        ("poisson", slice(9, 12)),
    ]
    X[:, 9:] = np.round(X[:, 9:])
    options = {"output": output, "max_epochs": 3, "tol": 0, "random_state": 0, "pretrain_epochs": 0}
    one = StackedAutoencoder((7,), **options).fit(X)
    options.pop("pretrain_epochs")
    flat = Autoencoder(7, **options).fit(X)
    assert same_bits(one, flat)
    np.testing.assert_allclose(one.score_samples(X), flat.score_samples(X), rtol=1e-12)
    deep = StackedAutoencoder((7, 3), pretrain_epochs=2, **options).fit(X)
    assert np.isfinite(deep.score_samples(X, per_feature=True)).all()
    assert deep.output_parameters_.keys() == flat.output_parameters_.keys()
    assert deep.sample_output(deep.transform(X), random_state=0).shape == X.shape
