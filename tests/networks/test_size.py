"""Numbers of hidden units that are left to the estimator."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from support.helpers import same_bits

import aefast
from aefast import Autoencoder, StackedAutoencoder
from aefast.networks.reading import Reading
from aefast.networks.training import size, start


def standardised(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


def factors(n, d, k, noise=1.0, seed=0):
    """Return rows of k factors with normal loadings, and noise."""
    random = np.random.default_rng(seed)
    return random.normal(size=(n, k)) @ random.normal(size=(k, d)) + noise * random.normal(
        size=(n, d)
    )


def chosen(X, weight=None, fill=None):
    return size.chosen_size(X, len(X), weight, Reading(fill), None)[0]


@pytest.mark.parametrize("weighted", [False, True])
def test_errors_are_those_of_predictions_from_the_other_entries(weighted):
    """Each entry is predicted by a conditional mean, for each k and column alone."""
    X = factors(90, 8, 3)
    weight = np.random.default_rng(1).uniform(0, 2, 30) if weighted else np.ones(30)
    train, held_out = X[30:], X[:30]
    values, U = np.linalg.eigh(np.cov(train.T, ddof=0))
    values, U = values[::-1], U[:, ::-1]
    R = held_out - train.mean(axis=0)
    T = (R * weight[:, np.newaxis]).T @ R / weight.sum()
    leading = U[:, :7]
    actual = size.entry_errors(values[:7], leading, values.sum(), np.diag(T), leading.T @ T)
    assert actual[0] == pytest.approx(np.trace(T), rel=1e-12)
    for k in range(1, 8):
        noise = values[k:].mean()
        C = (U[:, :k] * (values[:k] - noise)) @ U[:, :k].T + noise * np.eye(8)
        expected = 0.0
        for j in range(8):
            others = np.arange(8) != j
            coefficients = np.linalg.solve(C[np.ix_(others, others)], C[others, j])
            errors = R[:, j] - R[:, others] @ coefficients
            expected += weight @ errors**2 / weight.sum()
        assert actual[k] == pytest.approx(expected, rel=1e-9), k


@pytest.mark.parametrize("n, d, k", [(500, 20, 5), (200, 50, 6), (400, 300, 6), (300, 1100, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_known_number_of_factors_is_found(n, d, k, dtype):
    assert chosen(factors(n, d, k).astype(dtype)) == k


def test_noise_needs_one_unit():
    assert chosen(np.random.default_rng(0).normal(size=(500, 20))) == 1


@pytest.mark.parametrize(
    "X, low, high",
    [
        (standardised(load_iris().data), 2, 2),
        (standardised(load_wine().data), 3, 7),
        (standardised(load_breast_cancer().data), 5, 15),
        (load_digits().data / 16, 12, 32),
    ],
    ids=["iris", "wine", "cancer", "digits"],
)
def test_tables(X, low, high):
    assert low <= chosen(X) <= high


def test_units_do_not_depend_on_seeds_threads_or_the_order_of_rows():
    X = load_digits().data / 16
    fits = [Autoencoder(random_state=0, n_threads=n, max_epochs=1).fit(X) for n in (1, 2)]
    assert same_bits(*fits)
    other = Autoencoder(random_state=7, max_epochs=0).fit(np.ascontiguousarray(X[::-1]))
    assert other.components_.shape == fits[0].components_.shape


def test_what_is_chosen_is_reported_and_kept(tmp_path, capsys):
    X = standardised(load_wine().data)
    ae = Autoencoder(max_epochs=2, random_state=0, verbose=1).fit(X)
    k = ae.fit_report_["n_components"]
    assert f"{k} units, epoch 2/2" in capsys.readouterr().err
    assert ae.components_.shape == (k, 13) and k == chosen(X)
    assert ae.get_params()["n_components"] == "auto" and clone(ae).n_components == "auto"
    ae.verbose = 0
    ae.save(tmp_path / "model")
    loaded = aefast.load(tmp_path / "model")
    assert loaded.n_components == "auto"
    assert same_bits(loaded, ae)
    given = Autoencoder(k, max_epochs=2, random_state=0).fit(X)
    np.testing.assert_allclose(given.components_, ae.components_, rtol=1e-9, atol=1e-12)
    assert "n_components" not in given.fit_report_


def test_later_batches_keep_the_number_of_the_first(tmp_path):
    first, second = standardised(load_wine().data), factors(500, 13, 2)
    ae = Autoencoder(random_state=0).partial_fit(first)
    k = len(ae.components_)
    assert chosen(second) != k
    ae.partial_fit(second)
    ae.save(tmp_path / "model")
    for model in (ae, aefast.load(tmp_path / "model")):
        model.set_params(warm_start=True, max_epochs=1).fit(second)
        assert len(model.components_) == k
    assert len(ae.set_params(warm_start=False).fit(second).components_) == chosen(second)


@pytest.mark.parametrize(
    "parameters, expected",
    [
        ({"top_k": 3}, 26),
        ({"top_k": 20}, 80),
        ({"sparsity": ("l1", 0.1)}, 26),
        ({"gain": False}, 6),
        ({"corruption": ("masking", 0.2)}, 6),
        ({"dropout": 0.5}, 12),
        ({"dropout": 1 - 1e-9}, 512),
    ],
    ids=str,
)
def test_variants(parameters, expected):
    X = factors(500, 13, 6, noise=0.5)
    ae = Autoencoder(max_epochs=0, random_state=0, **parameters).fit(X)
    assert ae.components_.shape == (expected, 13)


def test_stacks():
    X = factors(300, 20, 3)
    stack = StackedAutoencoder(max_epochs=1, pretrain_epochs=1, random_state=0).fit(X)
    assert stack.fit_report_["layer_sizes"] == (12, 3)
    assert stack.transform(X).shape == (300, 3)
    assert len(stack.partial_fit(X[:20]).layers_) == 2


def test_the_covariance_is_computed_once(monkeypatch):
    """The start near PCA begins from the spectrum by which the number was chosen."""
    X = factors(300, 20, 3)
    rows = []
    monkeypatch.setattr(
        start, "statistics_of", lambda *_, **__: pytest.fail("a second pass over the rows")
    )
    counted = size.statistics_of

    def statistics_of(part, *arguments, **options):
        rows.append(len(part))
        return counted(part, *arguments, **options)

    monkeypatch.setattr(size, "statistics_of", statistics_of)
    Autoencoder(max_epochs=0, random_state=0).fit(X)
    assert sum(rows) == 300


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, bool])
def test_folds_follow_from_the_entries(dtype):
    random = np.random.default_rng(0)
    X = random.integers(0, 2 if dtype is bool else 5, (200, 40)).astype(dtype)
    folds = size.folds_of(X, None)
    order = random.permutation(200)
    np.testing.assert_array_equal(size.folds_of(X[order], None), folds[order])
    assert np.bincount(folds).tolist() == [40] * 5
    weight = random.integers(0, 3, 200).astype(float)
    repeated = np.repeat(X, weight.astype(int), axis=0)
    by_weight = np.repeat(size.folds_of(X, weight), weight.astype(int))
    np.testing.assert_array_equal(size.folds_of(repeated, None), by_weight)


def test_held_out_and_weightless_rows_have_no_part():
    X = factors(400, 12, 2)
    spoilt = np.concatenate([X, factors(400, 12, 6, seed=3) * 100])
    weight = np.repeat([1.0, 0.0], 400)
    ae = Autoencoder(max_epochs=0, random_state=0).fit(spoilt, sample_weight=weight)
    assert len(ae.components_) == 2
    train = np.arange(400)
    assert size.chosen_size(spoilt, train, None, Reading(), None)[0] == 2


@pytest.mark.parametrize("d", [6, 1030])
@pytest.mark.parametrize(
    "name", ["one row", "two rows", "constant", "little weight", "tiny", "huge", "missing", "few"]
)
def test_odd_tables_have_finite_fits(name, d):
    X = factors(30, d, 2)
    options, weight = {}, None
    if name == "one row":
        X = X[:1]
    elif name == "two rows":
        X = X[:2]
    elif name == "constant":
        X[:] = 3.0
    elif name == "little weight":
        weight = np.zeros(30)
        weight[5] = 1
    elif name == "tiny":
        X[:, 0] *= 1e-30
    elif name == "huge":
        X[:, 0] *= 1e30
    elif name == "missing":
        X[:, 1] = X[0, 2:] = np.nan
        options = {"missing": "mask"}
    else:
        X = X[:4]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ae = Autoencoder(max_epochs=0, random_state=0, **options)
        try:
            ae.fit(X, sample_weight=weight)
        except ValueError as error:
            assert name == "missing" and "column 1" in str(error)
            return
    assert 1 <= len(ae.components_) <= -(-d // 2)
    assert np.isfinite(ae.components_).all()


@pytest.mark.parametrize("d", [1, 2])
def test_narrow_tables(d):
    X = np.random.default_rng(0).normal(size=(50, d))
    assert Autoencoder(max_epochs=1, random_state=0).fit(X).components_.shape == (1, d)


@pytest.mark.parametrize("wrong", ["Auto", "many", 0, 1.5, None])
def test_other_words_are_refused(wrong):
    with pytest.raises((ValueError, TypeError), match="n_components"):
        Autoencoder(wrong).fit(np.eye(3))
    with pytest.raises((ValueError, TypeError), match="layer_sizes"):
        StackedAutoencoder(wrong).fit(np.eye(3))
