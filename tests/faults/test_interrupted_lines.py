"""Ctrl-C at every line of a fit: the estimator is what it was, or a complete model."""

import os
import pickle
import warnings

import numpy as np
import pytest
from support.line_faults import call_with_fault, n_lines
from support.small_fits import SMALL_FITS, codes, fit, is_fitted
from threadpoolctl import threadpool_info

import aefast
from aefast import DictionaryLearning, SufficientStatistics
from aefast.sparse_coding.learner import Learner

WITHOUT_PARTIAL_FIT = {"ensemble", "items low rank"}
ADDING_ROWS = [
    name for name, of in SMALL_FITS.items() if not of.learns and name not in WITHOUT_PARTIAL_FIT
]
N_PLACES = 25  # of the default tier; the slow tier has every line

tiers = pytest.mark.parametrize("walk", ["some", pytest.param("all", marks=pytest.mark.slow)])


def places(walk, n):
    """Return the numbers of the lines to interrupt: all, or a few and the last ones."""
    every = range(n)
    return every if walk == "all" else [*every[:: max(1, n // N_PLACES)], *every[-4:]]


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def _quick_and_silent(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@tiers
@pytest.mark.parametrize("name", SMALL_FITS)
@pytest.mark.parametrize("before", ["unfitted", "fitted"])
def test_an_interrupted_fit_leaves_a_model_or_none(name, before, walk, tmp_path):
    of, limits = SMALL_FITS[name], blas_threads()
    new = codes(of.fitted(of.rows), of)
    old = None if before == "unfitted" else codes(of.fitted(of.others), of)

    def start():
        return of.make() if before == "unfitted" else of.fitted(of.others)

    estimator = start()
    n, states, seen = n_lines(lambda: fit(estimator, of.rows)), set(), set()
    for place in places(walk, n):
        estimator = start()
        where = call_with_fault(lambda e=estimator: fit(e, of.rows), place).where
        image = pickle.dumps(estimator)
        if image in seen:  # the same attributes with the same values
            continue
        seen.add(image)
        if not is_fitted(estimator):
            assert before == "unfitted", where
            states.add("unfitted")
        else:
            now = codes(estimator, of)
            assert of.learns or now in (old, new), where
            states.add("old" if now == old else "new")
            assert codes(pickle.loads(image), of) == now, where
            estimator.save(tmp_path / "model")
            assert codes(aefast.load(tmp_path / "model"), of) == now, where
        assert codes(fit(estimator, of.rows), of) == new, where
    assert blas_threads() == limits
    assert states == {"unfitted" if old is None else "old", "new"}


@tiers
@pytest.mark.parametrize("name", ADDING_ROWS)
def test_an_interrupted_partial_fit_adds_all_rows_or_none(name, walk):
    of = SMALL_FITS[name]
    if np.isnan(of.rows).any() or name == "krylov":
        of = SMALL_FITS["ppca"]
    first, second = of.rows[:14], of.rows[14:]
    twice = fit(of.make(), first).partial_fit(second)
    old, new = codes(fit(of.make(), first), of), codes(twice, of)
    assert old != new
    estimator = fit(of.make(), first)
    n = n_lines(lambda: estimator.partial_fit(second))
    for place in places(walk, n):
        estimator = fit(of.make(), first)
        where = call_with_fault(lambda e=estimator: e.partial_fit(second), place).where
        assert codes(estimator, of) in (old, new), where
        if estimator.n_samples_seen_ == len(first):
            estimator.partial_fit(second)
        assert codes(estimator, of) == new, where


@tiers
@pytest.mark.parametrize("name", ["autoencoder", "untied", "stacked"])
def test_an_interrupted_partial_fit_goes_on(name, walk):
    """A pass over the rows may end anywhere: the next one goes on from the steps taken."""
    of, states = SMALL_FITS[name], set()
    n = n_lines(lambda: of.fitted(of.rows).partial_fit(of.rows)) - n_lines(
        lambda: of.fitted(of.rows)
    )
    for place in places(walk, n):
        estimator = of.fitted(of.rows)
        n_steps = estimator._state.n_steps
        where = call_with_fault(lambda e=estimator: e.partial_fit(of.rows), place).where
        taken = estimator._state.n_steps - n_steps
        states.add((taken, codes(estimator, of)))
        estimator.partial_fit(of.rows)
        assert estimator._state.n_steps - n_steps - taken == 2, where
    assert sorted(taken for taken, _ in states) in ([0, 2], [0, 1, 2])


@tiers
@pytest.mark.parametrize("method", ["update", "downdate", "merge"])
def test_interrupted_statistics_have_all_rows_or_none(method, walk):
    X = np.random.default_rng(0).random((30, 4))
    argument = X[:10] if method != "merge" else SufficientStatistics(4).update(X[:10])

    def start():
        return SufficientStatistics(4).update(X)

    def values(statistics):
        matrices = statistics.mean_.tobytes() + statistics.covariance().tobytes()
        return matrices, statistics.n_samples_, statistics.weight_sum_

    changed = start()
    n = n_lines(lambda: getattr(changed, method)(argument))
    for place in places(walk, n):
        statistics = start()
        where = call_with_fault(lambda s=statistics: getattr(s, method)(argument), place).where
        assert values(statistics) in (values(start()), values(changed)), where


@tiers
@pytest.mark.parametrize("method", ["partial_fit", "accumulate", "update"])
def test_an_interrupted_dictionary_counts_rows_once(method, walk):
    X = np.random.default_rng(0).random((30, 4))

    def start():
        return DictionaryLearning(3, max_epochs=1, random_state=0).fit(X).accumulate(X[:20])

    def act(learner):
        getattr(learner, method)(*([] if method == "update" else [X]))
        return learner

    old, new = ((s.statistics_.n_rows, s._state.n_rows_seen) for s in (start(), act(start())))
    n = n_lines(lambda: act(start())) - n_lines(start)
    for place in places(walk, n):
        learner = start()
        where = call_with_fault(lambda s=learner: act(s), place).where
        assert np.isfinite(learner.transform(X)).all()
        assert (learner.statistics_.n_rows, learner._state.n_rows_seen) in (old, new), where


@tiers
def test_an_interrupted_dictionary_is_that_of_a_whole_number_of_batches(walk, monkeypatch):
    """Sums over codes of one batch belong to the dictionary before it or after it."""
    X, reached = np.random.default_rng(0).random((30, 4)), {}
    options = {"max_epochs": 2, "batch_size": 10, "shuffle": False, "random_state": 0}

    def values(state):
        return [array.tobytes() for array in state[:3]]

    def record(self, order):
        reached[self.n_rows_seen] = values(self.state())
        return learn(self, order)

    learn = Learner.learn
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "learn", record)
        whole = DictionaryLearning(3, **options).fit(X)
        reached[whole._state.n_rows_seen] = values(whole._state)
    assert sorted(reached) == [0, 10, 20, 30, 40, 50, 60]
    seen = set()
    for place in places(walk, n_lines(lambda: DictionaryLearning(3, **options).fit(X))):
        learner = DictionaryLearning(3, **options)
        where = call_with_fault(lambda s=learner: s.fit(X), place).where
        if is_fitted(learner):
            n = learner._state.n_rows_seen
            seen.add(n)
            assert values(learner._state) == reached[n], where
    assert len(seen) > 3


@tiers
def test_an_interrupted_save_leaves_the_old_file_or_the_new(walk, tmp_path):
    of, path = SMALL_FITS["ppca"], tmp_path / "model"
    old, new = of.fitted(of.others), of.fitted(of.rows)
    old.save(path)
    n = n_lines(lambda: new.save(path))
    for place in places(walk, n):
        old.save(path)
        where = call_with_fault(lambda: new.save(path), place).where
        assert codes(aefast.load(path), of) in (codes(old, of), codes(new, of)), where
    old.save(path)
    assert os.listdir(tmp_path) == ["model"]
