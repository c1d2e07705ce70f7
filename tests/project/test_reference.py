"""The reference implementations: derivatives, special cases, invariants. No kernel is called."""

import numpy as np
import pytest
from reference import autoencoder as reference
from reference import outputs as reference_outputs
from reference import variants as reference_variants
from reference.autoencoder import Parameters, flatten, unflatten
from reference.distributions import OUTPUTS
from reference.functions import logsumexp, softmax
from reference.outputs import Segment
from reference.variants import ACTIVATIONS, PENALTIES
from scipy.optimize import brentq

N, D, K = 7, 6, 4
MIXED = [
    ("bernoulli", [0]),
    ("categorical", [1, 3, 4]),
    ("gamma", [2], None, 0.4),
    ("huber", [5], 0.3),
]
SPARSITIES = {
    name: (name, *([twin.example] if twin.example else []), 0.4) for name, twin in PENALTIES.items()
}


def rows_of(name, shape=(N, D), seed=0):
    """Rows in the domain of a distribution, no two alike."""
    random = np.random.default_rng(seed)
    if name == "categorical":
        return np.eye(shape[1])[random.integers(shape[1], size=shape[0])]
    if OUTPUTS[name].is_discrete:
        return random.poisson(2.0, shape).astype(float)
    if OUTPUTS[name].low == -np.inf:
        return random.normal(0.0, 1.5, shape)
    return random.uniform(0.05, 0.95, shape)


def rows_of_segments(output):
    X = np.empty((N, D))
    for name, columns, *_ in reference_outputs.segments(output, D):
        X[:, columns] = rows_of(name, (N, len(columns)))
    return X


def make_parameters(tied=True, seed=1):
    random = np.random.default_rng(seed)
    W, V = random.normal(0.0, 0.6, (2, K, D))
    return Parameters(W, random.normal(size=K), random.normal(size=D), None if tied else V)


def check_gradients(X, parameters, output, **options):
    """Both gradients against central differences of the loss: relative error under 1e-9."""
    tied = parameters.decoder_weights is None
    alpha = options.pop("alpha", 0.0)
    segments = reference_outputs.segments(output, D)
    n = len(flatten(parameters))
    thetas = [segment.theta for segment in segments if segment.theta is not None]

    def loss(vector):
        return reference.loss(
            X,
            unflatten(vector[:n], K, D, tied),
            reference.with_thetas(segments, vector[n:]),
            alpha=alpha,
            **options,
        )

    actual = [flatten(reference.gradients(X, parameters, output, alpha=alpha, **options))]
    actual += [
        part
        for part in reference.theta_gradients(X, parameters, output, **options)
        if part is not None
    ]
    expected = reference.finite_differences(loss, np.concatenate([flatten(parameters), *thetas]))
    assert np.abs(np.concatenate(actual) - expected).max() < 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", [*OUTPUTS, "mixed"])
def test_gradients(name, tied):
    """Of every distribution, with weights, a penalty, and missing entries."""
    output = MIXED if name == "mixed" else name
    X = rows_of_segments(output)
    if name != "mixed" and OUTPUTS[name].is_group:
        X[2] = np.nan
    else:
        X[2, [0, 5]], X[4, 2], X[5, [1, 3, 4]] = np.nan, np.nan, np.nan
    weight = np.random.default_rng(3).uniform(0.0, 2.0, N)
    check_gradients(X, make_parameters(tied), output, sample_weight=weight, alpha=0.3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "variant",
    [
        {"contraction": 0.7},
        *({"sparsity": sparsity} for sparsity in SPARSITIES.values()),
        {"top_k": 2},
        {"dropout": np.random.default_rng(4).integers(0, 2, (N, K)) / 0.5},
        {"encoded": rows_of("gaussian", seed=7), "contraction": 0.2, "sparsity": ("l1", 0.1)},
        {"fill": np.linspace(-1.0, 1.0, D), "contraction": 0.2},
    ],
    ids=["contraction", *SPARSITIES, "top_k", "dropout", "corrupted", "filled"],
)
def test_gradients_of_variants(variant, activation):
    X, parameters = rows_of("gaussian"), make_parameters(tied="top_k" not in variant)
    if "sparsity" in variant and PENALTIES[variant["sparsity"][0]].of_means:
        if activation != "sigmoid":  # mean activations in (0, 1) are what the divergence is about
            bias = brentq(lambda a: ACTIVATIONS[activation].function(np.float64(a)) - 0.5, -9, 9)
            parameters = parameters._replace(W=0.1 * parameters.W, b=np.full(K, bias))
    if "fill" in variant:
        X[[1, 3, 5], [0, 2, 4]] = np.nan
    weight = np.random.default_rng(6).uniform(0.5, 1.5, N)  # as in a batch of weighted training
    options = {"activation": activation, "sample_weight": weight, "total": N}
    check_gradients(X, parameters, "gaussian", **options, **variant)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_of_activations(name):
    f, A, step = ACTIVATIONS[name], np.linspace(-4.05, 4.0, 42), 1e-5
    first = (f.function(A + step) - f.function(A - step)) / (2 * step)
    second = (f.derivative(A + step) - f.derivative(A - step)) / (2 * step)
    np.testing.assert_allclose(f.derivative(A), first, atol=1e-9)
    np.testing.assert_allclose(f.second_derivative(A), second, atol=1e-9)


def test_contraction_is_the_jacobians_norm():
    """By differences of the code itself."""
    X, (W, b, c, _) = rows_of("gaussian"), make_parameters()
    code = lambda x: ACTIVATIONS["tanh"].function(W @ x + b)  # noqa: E731
    squares = 0.0
    for x in X:
        for j in range(K):
            squares += (reference.finite_differences(lambda y, j=j: code(y)[j], x) ** 2).sum()
    plain = reference.loss(X, Parameters(W, b, c), "gaussian", "tanh")
    contractive = reference.loss(X, Parameters(W, b, c), "gaussian", "tanh", contraction=0.5)
    assert contractive - plain == pytest.approx(0.5 * squares / N, rel=1e-9)


def test_top_k_keeps_the_first_of_equals():
    b = np.array([0.3, 0.5, 0.3, 0.3])
    parameters = Parameters(np.zeros((K, D)), b, np.zeros(D))
    H = reference.forward(np.ones((1, D)), parameters, "gaussian", "linear", top_k=2).H
    np.testing.assert_array_equal(H, [[0.3, 0.5, 0.0, 0.0]])


@pytest.mark.parametrize("name", OUTPUTS)
def test_links_invert_means(name):
    twin, a = OUTPUTS[name], np.linspace(-3.0, 3.0, 13)[np.newaxis]
    eta = twin.link(twin.mean(a))
    expected = a - logsumexp(a) if twin.is_group else a
    np.testing.assert_allclose(eta, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [1.0, 3.5])
def test_gamma_of_shape_one_is_exponential(shape):
    """And its constants are those of SciPy."""
    from scipy import stats

    x, a = rows_of("gamma"), rows_of("gaussian")
    gamma, theta = OUTPUTS["gamma"], np.log(shape)
    log_p = -gamma.loss(x, a, theta, None) - gamma.log_base(x)
    expected = stats.gamma.logpdf(x, shape, scale=np.exp(a) / shape)
    np.testing.assert_allclose(log_p, expected, rtol=1e-12, atol=1e-12)
    if shape == 1.0:
        np.testing.assert_allclose(log_p, -OUTPUTS["exponential"].loss(x, a, None, None))


def test_negative_binomial_is_scipys():
    from scipy import stats

    x, a, r = rows_of("poisson"), rows_of("gaussian"), 1.7
    twin = OUTPUTS["negative_binomial"]
    log_p = -twin.loss(x, a, np.log(r), None) - twin.log_base(x)
    np.testing.assert_allclose(log_p, stats.nbinom.logpmf(x, r, r / (r + np.exp(a))), rtol=1e-11)


def test_multinomial_is_scipys():
    from scipy import stats

    x, a = rows_of("multinomial"), rows_of("gaussian")
    log_p = reference.log_likelihood(
        x, Parameters(np.zeros((1, D)), np.zeros(1), a[0]), "multinomial", per_feature=True
    )
    p = softmax(a[:1])
    assert log_p.shape == (N, D)
    np.testing.assert_allclose(log_p[:, 0], stats.multinomial.logpmf(x, x.sum(axis=1), p))


def test_columns_of_one_type_may_be_split():
    X, parameters = rows_of("poisson"), make_parameters()
    split = [("poisson", [4, 0]), ("poisson", [1, 2, 3, 5])]
    whole = reference.gradients(X, parameters, "poisson")
    for part, expected in zip(reference.gradients(X, parameters, split), whole, strict=True):
        np.testing.assert_array_equal(part, expected)


def test_per_feature_adds_up():
    X, parameters = rows_of_segments(MIXED), make_parameters()
    X[3, [1, 3, 4]] = np.nan
    entries = reference.log_likelihood(X, parameters, MIXED, per_feature=True)
    assert not entries[:, [3, 4]].any()  # the group of 1, 3 and 4 stands in 1
    assert (entries[:, 1] != 0.0).tolist() == [i != 3 for i in range(N)]
    np.testing.assert_allclose(
        entries.sum(axis=1), reference.log_likelihood(X, parameters, MIXED), rtol=1e-12
    )


def test_a_column_that_is_missing_everywhere_is_no_column():
    X, parameters = rows_of("poisson"), make_parameters()
    X[:, 2] = np.nan
    others = np.delete(np.arange(D), 2)
    W, b, c, _ = parameters
    without = Parameters(W[:, others], b, c[others])
    actual = reference.gradients(X, parameters, "poisson")
    expected = reference.gradients(X[:, others], without, "poisson")
    np.testing.assert_allclose(actual.W[:, others], expected.W, rtol=1e-12)
    np.testing.assert_array_equal(actual.W[:, 2], 0.0)
    assert actual.c[2] == 0.0
    assert reference.loss(X, parameters, "poisson") == pytest.approx(
        reference.loss(X[:, others], without, "poisson"), rel=1e-14
    )


def test_training_learns_what_distributions_keep():
    """The variances learnt in full batches are those of the residuals; weight 2 is a row twice."""
    X = rows_of("gaussian", (40, D)) * np.linspace(0.5, 2.0, D)
    v = np.r_[np.full(10, 2.0), np.ones(30)]
    parameters = Parameters(np.zeros((K, D)), np.zeros(K), np.zeros(D))
    options = {"batch_size": 100, "output": [Segment("gaussian_diagonal", slice(None))]}
    options |= {"solver": "sgd", "learning_rate": 0.2}
    weighted = reference.train(X, parameters, [np.arange(40)] * 300, sample_weight=v, **options)
    copies = np.r_[X, X[:10]]
    twice = reference.train(copies, parameters, [np.arange(50)] * 300, **options)
    np.testing.assert_allclose(weighted.thetas[0], twice.thetas[0], rtol=1e-9)
    residual = copies - reference.forward(copies, twice.parameters, "gaussian").A_hat
    np.testing.assert_allclose(np.exp(twice.thetas[0]), (residual**2).mean(axis=0), rtol=0.02)


def test_auxiliary_loss_of_dead_units():
    """Its gradient by differences, the residual held fixed."""
    X, parameters = rows_of("gaussian"), make_parameters(tied=False)
    variant = reference.Variant(top_k=2, revive=np.random.default_rng(8).uniform(0.1, 1.0, K))
    share = np.random.default_rng(9).uniform(0.1, 0.4, N)
    A, _, A_hat, _ = reference.forward(X, parameters, "gaussian", "linear", top_k=2)
    V, dropped = parameters.decoder_weights, reference_variants.passed(A, variant) == 0

    def of_code(flat):
        G = np.where(dropped, flat.reshape(A.shape), A)
        left = (X - A_hat)[:, np.newaxis] - G[:, :, np.newaxis] * V
        return share @ (0.5 * (left**2).sum(axis=2) * dropped * variant.revive).sum(axis=1)

    dH = (share[:, np.newaxis] * (A_hat - X)) @ V.T
    expected = reference.finite_differences(of_code, A.ravel()).reshape(A.shape)
    actual = reference_variants.auxiliary_gradient(A, dH, V, share, variant)
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-10)
    auxiliary = reference_variants.auxiliary_loss(A, X - A_hat, V, share, variant)
    assert auxiliary == pytest.approx(of_code(A.ravel()))
