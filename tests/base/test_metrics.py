"""Measures of recommendations against their definitions."""

import numpy as np
import pytest
from reference import items as reference
from scipy import sparse

from aefast.metrics import coverage_at_k, ndcg_at_k, recall_at_k

MEASURES = {"recall": (recall_at_k, reference.recall), "ndcg": (ndcg_at_k, reference.ndcg)}


def problem(seed=0):
    """Choices of 40 users among 23 items, one of them of nobody, and scores of all items."""
    rng = np.random.default_rng(seed)
    chosen = rng.random((40, 23)) < rng.random((40, 1)) * 0.4
    chosen[5] = False
    return chosen, rng.integers(0, 9, (40, 23)).astype(float)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("k", [1, 4, 23, 30])
def test_definitions(name, k):
    measure, definition = MEASURES[name]
    chosen, scores = problem()
    items = reference.ranking(scores, min(k, 23))
    items[3, 1:] = -1
    expected = definition(items, chosen, k)
    stored = sparse.csr_array(chosen * 2.0)
    for given in (chosen, stored, stored.tocsc(), sparse.csr_matrix(stored)):
        assert measure(given, items, k) == pytest.approx(expected, rel=1e-12)
    by_scores = definition(reference.ranking(scores, min(k, 23)), chosen, k)
    for dtype in (np.float32, np.float64):
        assert measure(chosen, scores.astype(dtype), k) == pytest.approx(by_scores, rel=1e-12)
    rows = measure(chosen, items, k, per_user=True)
    assert np.nanmean(rows) == pytest.approx(expected, rel=1e-12)
    weight = np.arange(40.0)
    some = chosen.any(axis=1)
    assert np.array_equal(np.isnan(rows), ~some)
    mean = np.average(rows[some], weights=weight[some])
    assert measure(chosen, items, k, sample_weight=weight) == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("k", [1, 4, 30])
def test_sparse_scores_rank_what_is_stored(k):
    chosen, scores = problem()
    kept = np.random.default_rng(1).random(scores.shape) < 0.3
    rows, columns = np.nonzero(kept)
    stored = sparse.csr_array((scores[kept] - 5, (rows, columns)), scores.shape)
    items = reference.ranking(scores, 23, seen=~kept)
    assert ndcg_at_k(chosen, stored, k) == pytest.approx(reference.ndcg(items, chosen, k))
    assert coverage_at_k(stored, 23, k) == reference.coverage(items, 23, k)


def test_coverage():
    _, scores = problem()
    items = reference.ranking(scores, 6)
    for k in (1, 6):
        assert coverage_at_k(items, 23, k) == reference.coverage(items, 23, k)
        assert coverage_at_k(scores, 23, k) == reference.coverage(items, 23, k)
    assert coverage_at_k(np.full((3, 2), -1), 4, 2) == 0


def test_perfect_and_useless():
    chosen = np.eye(4, dtype=int)
    for measure in (recall_at_k, ndcg_at_k):
        assert measure(chosen, np.arange(4)[:, None], 1) == 1
        assert measure(chosen, (np.arange(4)[:, None] + 1) % 4, 1) == 0
        assert measure(chosen, chosen.astype(float), 2) == 1


def test_refusals():
    chosen, scores = problem()
    items = reference.ranking(scores, 6)
    for call, error, match in (
        (lambda: recall_at_k(chosen, items, 0), ValueError, "k must be at least 1"),
        (lambda: recall_at_k(chosen, items, 1.5), TypeError, "k must be an integer"),
        (lambda: recall_at_k(chosen, items, 7), ValueError, "must have k=7 items"),
        (lambda: recall_at_k(chosen, items[:9], 2), ValueError, "each of the 40 users, got 9"),
        (lambda: recall_at_k(chosen, items + 20, 2), ValueError, "recommended must be in"),
        (lambda: recall_at_k(chosen, np.zeros_like(items), 2), ValueError, "not so row 0"),
        (lambda: recall_at_k(chosen, scores[:, :9], 2), ValueError, "each of the 23 items, got 9"),
        (lambda: recall_at_k(chosen, scores * np.nan, 2), ValueError, "recommended must be finite"),
        (lambda: recall_at_k(chosen, [["a"]], 1), TypeError, "items or scores"),
        (lambda: recall_at_k(chosen * np.inf, items, 2), ValueError, "chosen"),
        (lambda: ndcg_at_k(chosen * 0, items, 2), ValueError, "there is no mean"),
        (lambda: coverage_at_k(items, 0, 2), ValueError, "n_items"),
    ):
        with pytest.raises(error, match=match), np.errstate(invalid="ignore"):
            call()
