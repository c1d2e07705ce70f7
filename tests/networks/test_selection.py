"""The estimator that chooses its parameters on held-out rows."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks
from support.helpers import same_bits

import aefast
from aefast import Autoencoder, AutoencoderCV
from aefast.networks.held_out import PARTS, hidden_loss, parts_of
from aefast.networks.outputs import resolve_output


def factors(n, d, k, noise=0.7, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, k)) @ random.normal(size=(k, d)) + noise * random.normal(
        size=(n, d)
    )


QUICK = Autoencoder(max_epochs=6, batch_size=20)


def quick(**options):
    grid = {"n_components": [1, 2], "activation": ["sigmoid", "linear"]}
    return AutoencoderCV(clone(QUICK), grid, **({"cv": 2, "random_state": 0} | options))


@parametrize_with_checks([AutoencoderCV(clone(QUICK), {"n_components": [1, 2]}, cv=2)])
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("n, d, k", [(300, 15, 3), (400, 20, 5)])
def test_a_known_number_of_factors_is_found(n, d, k):
    grid = {"n_components": [1, 2, 3, 5, 8]}
    search = AutoencoderCV(param_grid=grid, cv=2, random_state=0).fit(factors(n, d, k))
    assert search.best_params_ == {"n_components": k}
    assert search.n_components_ == k


@pytest.mark.parametrize("scoring", ["hidden", "rows"])
def test_columns_of_any_units(scoring):
    """Candidates are judged in their own units: a table in other units gives the same choice."""
    X = factors(300, 15, 3)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    units = np.logspace(-3, 5, 15)
    options = {"param_grid": {"n_components": [1, 3, 8]}, "scoring": scoring, "cv": 2}
    own, other = (
        AutoencoderCV(Autoencoder(scale="standard"), random_state=0, **options).fit(rows)
        for rows in (X, X * units + 7 * units)
    )
    assert other.best_params_ == own.best_params_
    change = other.cv_results_["mean_test_score"] - own.cv_results_["mean_test_score"]
    np.testing.assert_allclose(change, -np.log(units).sum(), rtol=1e-3)


@pytest.mark.parametrize("scoring", ["hidden", "rows"])
def test_weights(scoring):
    """Rows of weight 0 have no part; other weights are those of training and of scores."""
    X = factors(120, 6, 2)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X))
    spoilt = np.concatenate([X, 1e3 * factors(30, 6, 4, seed=1)])
    first = quick(scoring=scoring).fit(X, sample_weight=weight)
    second = quick(scoring=scoring).fit(spoilt, sample_weight=np.append(weight, np.zeros(30)))
    assert second.best_params_ == first.best_params_
    np.testing.assert_allclose(
        second.best_estimator_.components_, first.best_estimator_.components_
    )
    scores = [search.cv_results_["mean_test_score"] for search in (first, second)]
    np.testing.assert_allclose(*scores)
    assert (scores[0] != quick(scoring=scoring).fit(X).cv_results_["mean_test_score"]).all()
    with pytest.raises(TypeError, match="'weights'"):
        quick().fit(X, weights=weight)


def test_whole_rows_would_choose_the_largest_code():
    """Which is why entries are hidden."""
    grid = {"n_components": [1, 3, 8]}
    search = AutoencoderCV(param_grid=grid, scoring="rows", cv=2, random_state=0)
    assert search.fit(factors(300, 15, 3)).best_params_ == {"n_components": 8}


def test_the_winner_is_an_autoencoder_of_all_rows(tmp_path):
    X = factors(120, 6, 2)
    search = quick().fit(X)
    best = search.best_estimator_
    seed = best.random_state
    same = clone(QUICK).set_params(**search.best_params_, random_state=seed).fit(X)
    assert same_bits(same, best)
    for name in ("transform", "reconstruct", "reconstruction_error", "score_samples"):
        np.testing.assert_array_equal(getattr(search, name)(X), getattr(same, name)(X))
    H = search.transform(X)
    np.testing.assert_array_equal(search.inverse_transform(H), same.inverse_transform(H))
    drawn = [model.sample_output(H, random_state=1) for model in (search, same)]
    np.testing.assert_array_equal(*drawn)
    assert search.score(X) == same.score(X) and search.n_features_in_ == 6
    assert search.walk_back(X, 2, random_state=0).shape == (2, 120, 6)
    search.save(tmp_path / "model")
    loaded = aefast.load(tmp_path / "model")
    assert type(loaded) is Autoencoder and same_bits(loaded, best)
    assert loaded.n_components == search.n_components_ == search.best_params_["n_components"]


def test_results_of_each_candidate(capsys):
    X = factors(120, 6, 2)
    grid = {"n_components": [1, 2, 3], "activation": ["sigmoid", "linear", "tanh"]}
    search = AutoencoderCV(clone(QUICK), grid, cv=3, random_state=0, verbose=1).fit(X)
    results = search.cv_results_
    assert len(results["params"]) == 9 and search.n_splits_ == 3
    assert np.bincount(results["round"]).tolist() == [6, 3]
    assert sorted(results["rank_test_score"]) == list(range(1, 10))
    assert results["rank_test_score"][search.best_index_] == 1
    assert results["params"][search.best_index_] == search.best_params_
    last = results["round"] == 1
    assert search.best_score_ == results["mean_test_score"][last].max()
    assert results["rank_test_score"][last].max() < results["rank_test_score"][~last].min()
    assert (results["std_test_score"] > 0).all()
    shown = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in shown] == ["round 1/2"] * 9 + ["round 2/2"] * 3


def test_budgets_of_rounds(monkeypatch):
    """A candidate of the last round has the epochs it asks for, in earlier ones a share."""
    budgets = []
    fit = Autoencoder._fit  # which `fit` calls, and the search for its best candidate

    def record(self, X, *arguments):
        budgets.append((self.max_epochs, len(X)))
        return fit(self, X, *arguments)

    monkeypatch.setattr(Autoencoder, "_fit", record)
    quick(cv=1).fit(factors(100, 4, 2))
    assert budgets == [(0, 100)] + [(2, 80)] * 4 + [(6, 80)] * 2 + [(6, 100)]
    budgets.clear()
    search = AutoencoderCV(param_grid={"n_components": [1, 2]}, cv=1).fit(factors(100, 4, 2))
    assert budgets == [(0, 100), ("auto", 80), ("auto", 80), ("auto", 100)]
    assert search.best_estimator_.max_epochs == "auto"


def test_same_seed_same_choice():
    X = factors(120, 6, 2)
    one, other = (
        quick(random_state=3).set_params(estimator__n_threads=n_threads).fit(X)
        for n_threads in (1, 2)
    )
    scores = [search.cv_results_["mean_test_score"] for search in (one, other)]
    np.testing.assert_array_equal(*scores)
    assert same_bits(one.best_estimator_, other.best_estimator_)


def test_automatic_candidates():
    X = factors(300, 12, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search = AutoencoderCV(clone(QUICK), random_state=0).fit(X)
        tried = search.cv_results_["params"]
        assert {(p["n_components"], p["corruption"]) for p in tried} == {
            (k, noise) for k in (1, 2, 4) for noise in (None, ("masking", 0.2))
        }
        noisy = clone(QUICK).set_params(corruption=("gaussian", 0.1))
        tried = AutoencoderCV(noisy, random_state=0).fit(X).cv_results_["params"]
        assert tried == [{"n_components": k} for k in (1, 2, 4)]


@pytest.mark.parametrize("missing", [False, True])
def test_the_loss_of_hidden_entries(missing):
    """Each entry is hidden once, with others of its row, and replaced by the column's mean."""
    X = factors(40, 11, 2)
    options = {}
    if missing:
        X[::3, 2] = np.nan
        options = {"missing": "mask"}
    ae = Autoencoder(2, max_epochs=3, random_state=0, **options).fit(X)
    fill = np.nanmean(X, axis=0)
    part = parts_of(ae._state.model.output, X.shape, np.random.default_rng(5))
    counts = [np.bincount(row, minlength=PARTS) for row in part]
    assert np.max(counts) == 3 and np.min(counts) == 2
    expected = 0.0
    for number in range(PARTS):
        hidden = part == number
        shown = np.where(hidden | np.isnan(X), fill, X)
        errors = 0.5 * (ae.reconstruct(shown) - X) ** 2
        expected += np.nansum(errors[hidden])
    assert hidden_loss(ae, X, fill, 5) == pytest.approx(expected / 40, rel=1e-12)


def test_columns_of_a_group_are_hidden_together():
    output = resolve_output([("gaussian", [0, 2]), ("categorical", [1, 3, 4])], 5, None)
    part = parts_of(output, (30, 5), np.random.default_rng(0))
    assert (part[:, [1]] == part[:, [3, 4]]).all()
    assert (part[:, 0] != part[:, 2]).any()


def test_tables_with_names_and_gaps(digits):
    frame = pd.DataFrame(factors(90, 5, 1), columns=list("abcde"))
    frame.loc[3, "b"] = np.nan
    base = Autoencoder(
        output=[("gaussian", list("abc")), ("laplace", ["d", "e"])], missing="mask", max_epochs=3
    )
    search = AutoencoderCV(base, {"n_components": [1, 2]}, cv=2, random_state=0).fit(frame)
    assert search.feature_names_in_.tolist() == list("abcde")
    assert not np.isnan(search.impute(frame)).any()
    codes = search.set_output(transform="pandas").transform(frame)
    assert codes.columns[0] == "autoencodercv0" and len(codes) == 90
    bits = (digits[:200] > 0.5).astype(np.uint8)
    bernoulli = Autoencoder(output="bernoulli", max_epochs=2)
    search = AutoencoderCV(bernoulli, {"n_components": [2, 4]}, cv=2, random_state=0).fit(bits)
    assert search.transform(bits).dtype == np.float32


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_candidates_that_diverge_lose():
    X = factors(60, 4, 1)
    base = Autoencoder(2, solver="sgd", gain=False, activation="linear", max_epochs=20)
    grid = {"learning_rate": [1e30, 1e-3]}
    search = AutoencoderCV(base, grid, cv=2, random_state=0).fit(X)
    assert search.best_params_ == {"learning_rate": 1e-3}
    assert search.cv_results_["mean_test_score"][0] == -np.inf
    before = vars(search).copy()
    with pytest.raises(FloatingPointError, match="all candidates diverged"):
        search.set_params(param_grid={"learning_rate": [1e30]}).fit(X)
    assert search.best_estimator_ is before["best_estimator_"]


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"estimator": "Autoencoder"}, "estimator"),
        ({"param_grid": "all"}, "param_grid"),
        ({"param_grid": {"n_units": [1]}}, "n_units"),
        ({"param_grid": {"n_components": [0]}}, "n_components"),
        ({"scoring": "r2"}, "scoring"),
        ({"cv": 0}, "cv"),
        ({"factor": 1}, "factor"),
    ],
    ids=str,
)
def test_wrong_parameters(parameters, message):
    with pytest.raises((ValueError, TypeError), match=message):
        quick().set_params(**parameters).fit(factors(20, 3, 1))


def test_wrong_rows():
    X = factors(20, 3, 1)
    with pytest.raises(ValueError, match="n_samples = 1"):
        quick().fit(X[:1])
    X[13, 1] = np.nan
    with pytest.raises(ValueError, match=re.escape("row 13")):
        quick().fit(X)
    for method in (quick().transform, quick().save):
        with pytest.raises(NotFittedError):
            method(X)
    assert not hasattr(quick(), "components_")
