"""Streaming statistics: the kernel against its reference, chunks, merging, files, bad input."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import statistics as reference
from scipy import sparse
from sklearn.base import clone
from support.layouts import DTYPES, LAYOUTS

import aefast
from aefast import SufficientStatistics
from aefast._base import _runtime

SHAPES = [(1, 1), (2, 7), (5, 33), (130, 17), (256, 16), (257, 8), (300, 65), (513, 130), (1031, 3)]


def assert_same(stats, X, weight=None, dtype=np.float64, expected=None):
    """Against two passes in extended precision."""
    expected, (bound, mean_bound) = expected or expected_of(X, weight, dtype)
    assert stats.weight_sum_ == pytest.approx(expected.weight_sum, rel=1e-14)
    assert stats.n_samples_ == len(X)
    assert (np.abs(stats.mean_ - expected.mean) <= mean_bound).all()
    error = np.abs(stats.covariance() - expected.scatter / expected.weight_sum)
    assert (error <= bound).all()
    assert np.array_equal(stats.scatter_, stats.scatter_.T)


def expected_of(X, weight, dtype):
    return reference.statistics(X, weight), reference.rounding(X, weight, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape, dtype, isa):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=shape) * rng.uniform(0.1, 10, shape[1]) + 3).astype(dtype)
    weight = rng.uniform(0, 3, shape[0])
    weight[::7] = 0
    for weights in (None, weight) if weight.sum() > 0 else (None,):
        expected = expected_of(X, weights, dtype)
        for n_threads in (1, 2, 5):
            stats = SufficientStatistics(shape[1], n_threads=n_threads).update(X, weights)
            assert_same(stats, X, weights, dtype, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_types_and_layouts(dtype, layout, isa):
    X = np.random.default_rng(1).normal(2, 3, (270, 21))
    X = LAYOUTS[layout](np.abs(X).astype(dtype) if dtype != np.bool_ else X > 2)
    X.flags.writeable = False
    real = np.float64 if dtype in (np.float64, np.int32) else np.float32
    assert_same(SufficientStatistics(21).update(X), X, None, real)


def test_same_bits_for_any_number_of_threads(isa):
    X = np.random.default_rng(2).normal(size=(1500, 70)).astype(np.float32)
    parts = [SufficientStatistics(70, n_threads=n).update(X) for n in (1, 2, 3, 8)]
    for other in parts[1:]:
        assert other.scatter_.tobytes() == parts[0].scatter_.tobytes()
        assert other.mean_.tobytes() == parts[0].mean_.tobytes()


@pytest.mark.parametrize("mean", [0.0, 1e4, -1e8, 1e12])
def test_large_means_lose_nothing(mean):
    """Values of unit variance are rounded to 1e12 · 1e-16 in float64, and nothing more is lost."""
    X = np.random.default_rng(3).normal(mean, 1.0, (5000, 6))
    stats = SufficientStatistics(6)
    for chunk in np.array_split(X, 11):
        stats.update(chunk)
    expected = reference.covariance(X)
    np.testing.assert_allclose(stats.covariance(), expected, rtol=1e-12, atol=1e-12)


def test_an_outlier_in_front_loses_nothing_once_it_is_gone():
    X = np.random.default_rng(4).normal(size=(4000, 3))
    outlier = np.full((1, 3), 1e6)
    stats = SufficientStatistics(3).update(outlier)
    for chunk in np.array_split(X, 40):
        stats.update(chunk)
    np.testing.assert_allclose(
        stats.downdate(outlier).covariance(), reference.covariance(X), atol=1e-4
    )


def test_trend_in_float32():
    """Rows that rise by 1000 standard deviations in one pass."""
    rng = np.random.default_rng(5)
    X = (rng.normal(size=(20_000, 4)) + np.linspace(0, 1000, 20_000)[:, None]).astype(np.float32)
    np.testing.assert_allclose(
        SufficientStatistics(4).update(X).covariance(), reference.covariance(X), rtol=1e-6
    )


@given(
    n=st.integers(2, 700),
    d=st.integers(1, 20),
    cuts=st.lists(st.integers(0, 700), max_size=6),
    mean=st.sampled_from([0.0, 5.0, 1e6]),
    weighted=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_chunks_and_merging(n, d, cuts, mean, weighted, seed):
    """Rows give the same statistics however they are cut, streamed, merged or taken away."""
    rng = np.random.default_rng(seed)
    X = rng.normal(mean, rng.uniform(0.1, 10, d), (n, d))
    weight = rng.integers(0, 4, n).astype(float) if weighted else None
    if weighted and weight.sum() == 0:
        weight[0] = 1.0
    edges = sorted({0, n, *(min(cut, n) for cut in cuts)})
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]

    def of(part):
        return SufficientStatistics(d).update(X[part], None if weight is None else weight[part])

    streamed = SufficientStatistics(d)
    for part in parts:
        streamed.update(X[part], None if weight is None else weight[part])
    merged = SufficientStatistics(d)
    for index in rng.permutation(len(parts)):
        merged = of(parts[index]) + merged
    for stats in (streamed, merged, SufficientStatistics(d).merge(merged)):
        assert_same(stats, X, weight)
    more = rng.normal(mean, 1, (17, d))
    again = merged.copy().update(more).downdate(more)
    np.testing.assert_allclose(again.mean_, merged.mean_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        again.scatter_,
        merged.scatter_,
        rtol=1e-9,
        atol=1e-9 * (1 + np.abs(merged.scatter_).max() + n),
    )


def test_integer_weights_are_repetitions():
    rng = np.random.default_rng(6)
    X, weight = rng.normal(7, 2, (50, 5)), rng.integers(0, 4, 50)
    stats = SufficientStatistics(5).update(X, weight)
    repeated = SufficientStatistics(5).update(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(stats.mean_, repeated.mean_, rtol=1e-14)
    np.testing.assert_allclose(stats.scatter_, repeated.scatter_, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(stats.covariance(1), np.cov(X.T, fweights=weight), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("offset", [0, 1000])
def test_sparse(dtype, offset, isa):
    """CSR rows as they are; with a column of large mean they are made dense."""
    X = sparse.random(600, 40, 0.1, format="csr", random_state=7)
    X.data = np.ceil(10 * X.data)
    X = X.astype(dtype)
    if offset:
        X = sparse.hstack([X, sparse.csr_matrix(offset + np.arange(600)[:, None] % 2)]).astype(
            dtype
        )
    weight = np.random.default_rng(7).uniform(0, 2, 600)
    for of in (X.tocsr(), X.tocoo(), X.tocsc(), sparse.csr_array(X)):
        stats = SufficientStatistics(X.shape[1]).update(of, weight)
        assert_same(stats, X.toarray(), weight, np.float32 if dtype == np.float32 else np.float64)


def test_sparse_with_duplicates_and_unsorted_columns():
    X = sparse.csr_matrix(
        (np.array([1.0, 2.0, 3.0, 4.0]), np.array([2, 0, 2, 1]), np.array([0, 3, 4])), (2, 3)
    )
    before = X.copy()
    stats = SufficientStatistics(3).update(X)
    assert_same(stats, before.toarray())
    assert np.array_equal(X.indices, before.indices) and X.nnz == 4


def test_memory_map(tmp_path):
    X = np.random.default_rng(8).normal(size=(3000, 9)).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    stats = SufficientStatistics(9).update(np.load(tmp_path / "X.npy", mmap_mode="r"))
    assert stats.scatter_.tobytes() == SufficientStatistics(9).update(X).scatter_.tobytes()


def test_file(tmp_path):
    X = np.random.default_rng(9).normal(1e5, 1, (100, 4))
    stats = SufficientStatistics(4).update(X[:60])
    stats.save(tmp_path / "s")
    loaded = aefast.load(tmp_path / "s")
    assert repr(loaded) == repr(stats)
    assert loaded.update(X[60:]).scatter_.tobytes() == stats.update(X[60:]).scatter_.tobytes()


BAD_ROWS = {
    "NaN": (lambda X: X.__setitem__((301, 2), np.nan), "NaN at row 301, column 2"),
    "infinity": (lambda X: X.__setitem__((7, 0), -np.inf), "infinity .* at row 7, column 0"),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("change, match", BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_entries_change_nothing(change, match, dtype):
    X = np.random.default_rng(10).normal(size=(600, 5)).astype(dtype)
    stats = SufficientStatistics(5).update(X)
    before = stats.scatter_.tobytes()
    change(X)
    for bad in (X, sparse.csr_matrix(X)):
        with pytest.raises(ValueError, match=match):
            stats.update(bad)
    assert stats.scatter_.tobytes() == before and stats.n_samples_ == 600


def test_overflow_is_named():
    X = np.full((3, 2), 1e30, np.float32) * np.array([[1.0], [2.0], [3.0]], np.float32)
    with pytest.raises(ValueError, match="overflow float32"):
        SufficientStatistics(2).update(X)
    assert np.isfinite(SufficientStatistics(2).update(X.astype(np.float64)).scatter_).all()
    with pytest.raises(ValueError, match="overflow float64"):
        SufficientStatistics(1).update([[1.7e308], [-1.7e308]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("exponent", [-1000, -200, -150, -133, -61, 61, 120, 200, 1000])
def test_the_unit_of_weights_cancels(exponent, dtype, isa):
    rng = np.random.default_rng(3)
    X, weight = rng.normal(3, 1, (300, 4)).astype(dtype), rng.uniform(0.5, 2, 300)
    usual = SufficientStatistics(4).update(X, weight)
    scaled = SufficientStatistics(4).update(X, np.ldexp(weight, exponent))
    rtol = 1e-6 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(scaled.covariance(), usual.covariance(), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(scaled.mean_, usual.mean_, rtol=rtol)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("exponent", [-60, -65, -75, -100, -120])
def test_small_float32_rows(exponent, weighted, isa):
    rng = np.random.default_rng(4)
    X = rng.normal(3, 1, (300, 5)).astype(np.float32)
    weight = rng.uniform(0.5, 2, 300) if weighted else None
    scale = np.ldexp(1.0, [exponent, exponent, 0, 0, 0])
    X[:, 3:] = [7, 2.0**exponent]  # constant columns
    expected = SufficientStatistics(5).update(X.astype(float), weight).covariance()
    found = SufficientStatistics(5).update((X * scale).astype(np.float32), weight).covariance()
    np.testing.assert_allclose(found / np.outer(scale, scale), expected, rtol=1e-6, atol=1e-6)
    assert not found[3:].any()


@pytest.mark.parametrize("as_table", [np.asarray, sparse.csr_matrix], ids=["dense", "csr"])
def test_squares_that_underflow_float64_are_named(as_table):
    X = np.random.default_rng(5).normal(1, 1, (300, 3))
    stats = SufficientStatistics(3)
    for scale in (1e-155, 1e-165, 1e-300):
        with pytest.raises(ValueError, match="underflow float64: scale X up"):
            stats.update(as_table(X * scale))
    assert stats.n_samples_ == 0
    with pytest.warns(RuntimeWarning, match=r"column\(s\) 1 of X underflow float64"):
        stats.update(as_table(X * [1, 1e-160, 1]))
    with pytest.raises(ValueError, match="sample_weight underflow"):
        stats.update(as_table(X), np.full(300, 1e-315))


def test_constant_small_columns_are_no_fault(recwarn):
    X = np.random.default_rng(6).normal(1, 1, (301, 3))
    for level in (0.0, 1e-150, 1e-170, 1e-310, np.nextafter(0, 1)):
        X[:, 1] = level
        SufficientStatistics(3).update(X)
    assert not recwarn


def test_mergers_and_moves_that_overflow_change_nothing():
    stats = SufficientStatistics(2).update(np.array([[0.0, 1.0], [2.0, 4.0]]))
    before = stats.copy()
    far = SufficientStatistics(2).update(np.full((3, 2), 1e160))  # without a scatter of its own
    for change in (
        lambda: stats.update(np.full((3, 2), 1e160)),
        lambda: stats.merge(far),
        lambda: stats + far,
        far.second_moments,
    ):
        with pytest.raises(ValueError, match="overflow float64: scale X down"):
            change()
    assert stats.n_samples_ == 2 and np.array_equal(stats.scatter_, before.scatter_)
    heavy = SufficientStatistics(1).update(np.zeros((1, 1)), [1.7e308])
    with pytest.raises(ValueError, match="sample_weight"):
        heavy + heavy


def test_bad_arguments():
    stats = SufficientStatistics(3).update(np.eye(3))
    for X, match in [
        (np.ones((2, 4)), "must have 3 columns"),
        (np.ones(3), "2 dimension"),
        (np.ones((0, 3)), "at least one row"),
        ([[1, 2], [3]], "rectangular"),
        (np.ones((2, 3), complex), "complex"),
    ]:
        with pytest.raises(ValueError, match=match):
            stats.update(X)
    for weight, match in [
        ([1, -1], "not negative, got -1.0 at row 1"),
        ([1, np.nan], "finite"),
        ([1.0], "shape"),
    ]:
        with pytest.raises(ValueError, match=match):
            stats.update(np.ones((2, 3)), weight)
    for n_features in (0, -1, 2**31):
        with pytest.raises(ValueError, match="n_features"):
            SufficientStatistics(n_features)
    with pytest.raises(TypeError, match="n_features"):
        SufficientStatistics(2.5)
    with pytest.raises(ValueError, match="n_threads"):
        SufficientStatistics(2, n_threads=0)
    with pytest.raises(ValueError, match="3 features, got 2"):
        stats.merge(SufficientStatistics(2))
    with pytest.raises(TypeError, match="SufficientStatistics"):
        stats.merge(3)
    with pytest.raises(TypeError):
        stats + 3
    with pytest.raises(ValueError, match="ddof"):
        stats.covariance(ddof=3)


def test_empty():
    empty = SufficientStatistics(2)
    for result in (lambda: empty.mean_, lambda: empty.scatter_, empty.covariance):
        with pytest.raises(ValueError, match="all weights are zero"):
            result()
    X = np.random.default_rng(11).normal(size=(5, 2))
    zero = SufficientStatistics(2).update(X, np.zeros(5))
    assert (zero.n_samples_, zero.weight_sum_) == (5, 0.0)
    stats = (zero + empty).update(X)
    np.testing.assert_allclose(stats.covariance(), reference.covariance(X), rtol=1e-13)
    stats.downdate(X)
    assert stats.weight_sum_ == 0 and stats.n_samples_ == 5


def test_rows_never_added_cannot_be_taken_away():
    X = np.random.default_rng(12).normal(size=(20, 3))
    stats = SufficientStatistics(3).update(X)
    before = stats.scatter_.tobytes()
    for rows in (np.vstack([X, X]), 100 * X[:5]):
        with pytest.raises(ValueError, match=r"cannot take away|not all added"):
            stats.downdate(rows)
    assert stats.scatter_.tobytes() == before


def test_interrupt_changes_nothing(monkeypatch):
    from aefast._base import dense_rows as module

    X = np.random.default_rng(13).normal(size=(2000, 3))
    stats = SufficientStatistics(3).update(X)
    before = stats.scatter_.tobytes()

    class Interrupted(module.Accumulator):
        def add(self, rows, weight):
            super().add(rows, weight)
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "Accumulator", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        stats.update(X)
    assert stats.scatter_.tobytes() == before and stats.n_samples_ == 2000


def test_update_returns_self_and_operators_do_not_change():
    X = np.random.default_rng(14).normal(size=(30, 2))
    a, b = SufficientStatistics(2), SufficientStatistics(2).update(X)
    assert a.update(X) is a and a.merge(b) is a and a.downdate(X) is a
    before = b.scatter_.tobytes()
    assert (b + b).weight_sum_ == 60 and (b + b - b).weight_sum_ == 30
    assert b.scatter_.tobytes() == before
    assert _runtime.isa() in _runtime.isa_available()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_slices_change_no_bit(dtype, isa, monkeypatch):
    """How many rows a slice has depends on the clock; the sums do not."""
    X = np.random.default_rng(0).normal(3, 1, (5000, 21)).astype(dtype)
    found = set()
    for seconds in (0.0, 1e-4, 1e9):
        monkeypatch.setattr("aefast._base.passes.SLICE_SECONDS", seconds)
        found.add(SufficientStatistics(21).update(X).scatter_.tobytes())
    assert len(found) == 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "model",
    [
        aefast.Whitening(),
        aefast.Whitening("pca", epsilon=0.0),
        aefast.ProbabilisticPCA(2),
        aefast.FactorAnalysis(1),
        aefast.MarginalizedAutoencoder(),
        aefast.ItemAutoencoder(),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("as_table", [np.asarray, sparse.csr_matrix], ids=["dense", "csr"])
def test_rows_whose_squares_overflow_leave_a_model_as_it_was(model, as_table):
    X = np.random.default_rng(0).random((27, 3))
    model = clone(model).fit(X)
    before = {name: np.copy(value) for name, value in vars(model).items() if name != "_statistics"}
    huge = as_table(np.array([[1e155, 0.5, 0.3], [0, 0.2, 0.8], [0.1, 0, 0.9]]))
    for method in (model.partial_fit, model.fit):
        with pytest.raises(ValueError, match=r"overflow|finite"):
            method(huge)
    for name, value in before.items():
        if value.dtype != object:
            np.testing.assert_array_equal(getattr(model, name), value)
    assert model.partial_fit(X).n_samples_seen_ == 54
    assert np.isfinite(model.transform(X)).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    "model",
    [aefast.FactorAnalysis(2), aefast.FactorAnalysis(), aefast.ProbabilisticPCA(2)],
    ids=["two", "default", "ppca"],
)
def test_huge_weights_are_named_or_right(model, missing):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 5)) + rng.normal(size=(40, 1))
    if missing:
        X[rng.random(X.shape) < 0.05] = np.nan
    with pytest.raises(ValueError, match="sample_weight must have a finite sum"):
        model.fit(X, sample_weight=np.full(40, 1e308))
    usual = clone(model).fit(X)
    # so many rows support other numbers of factors than 40 do
    same = clone(model).set_params(n_components=len(usual.components_))
    weighted = same.fit(X, sample_weight=np.full(40, 2.0**1010))
    assert weighted.score(X) == pytest.approx(usual.score(X))
    assert np.isfinite(clone(model).fit(X, sample_weight=np.full(40, 2.0**1010)).score(X))
