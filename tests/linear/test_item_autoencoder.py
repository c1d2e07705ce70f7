"""The item autoencoder in its forms, and what it recommends, against slow definitions."""

import warnings

import numpy as np
import pytest
from reference import items as reference
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import aefast
from aefast import ItemAutoencoder
from aefast._base import _runtime, memory, ranking
from aefast.linear import item_autoencoder, item_model, item_solvers, low_rank_items

FORMS = {
    "dense": {},
    "float32": {"precision": "float32"},
    "sparse": {"density": 0.3},
    "low rank": {"n_components": 5, "max_iter": 4},
}


@parametrize_with_checks(
    [
        ItemAutoencoder(),
        ItemAutoencoder(0.5),
        ItemAutoencoder(5.0, density=0.5),
        ItemAutoencoder(n_components=2, max_iter=3),
    ]
)
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


def choices(n_users=300, n_items=37, seed=2, dtype=float):
    """Choices by taste: CSR with a user and an item of no choice at all."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=(n_users, 2)) @ rng.normal(size=(2, n_items))
    X = taste + rng.normal(size=taste.shape) > 1.5
    X[7] = X[:, 3] = False
    return sparse.csr_array((X * rng.integers(1, 6, X.shape)).astype(dtype))


@pytest.fixture(params=["kept", "direct"])
def path_of_fit(request, monkeypatch):
    """Whether the sums are kept for partial_fit, or the Gram matrix is summed in place."""
    if request.param == "direct":
        monkeypatch.setattr(item_autoencoder, "KEPT_ITEMS", 0)


# ---- closed form ----


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("n_items", [1, 2, 37, 131, 300])
@pytest.mark.parametrize("weighted", [False, True])
def test_closed_form(precision, n_items, weighted, isa, path_of_fit):
    X = choices(n_items=max(n_items, 4))[:, :n_items]
    weight = np.random.default_rng(0).integers(0, 3, 300) if weighted else None
    model = ItemAutoencoder(20.0, precision=precision).fit(X, sample_weight=weight)
    B = reference.closed_form(X.toarray(), 20.0, weight)
    # the errors of a Cholesky inverse are some epsilon times the condition
    condition = 1 + np.linalg.norm(X.toarray(), 2) ** 2 * 2 / 20.0
    tolerance = 10 * np.finfo(precision).eps * condition
    assert model.components_.dtype == precision
    np.testing.assert_allclose(model.components_, B, rtol=1e-9, atol=tolerance)
    scale = abs(X).sum(axis=1).max()
    for rows in (X, X.toarray()):
        scores = model.transform(rows)
        np.testing.assert_allclose(scores, X @ B, rtol=1e-9, atol=scale * tolerance)
        assert scores.dtype == np.float64
    dense = ItemAutoencoder(20.0, precision=precision).fit(X.toarray(), sample_weight=weight)
    np.testing.assert_allclose(dense.components_, B, rtol=1e-9, atol=tolerance)


@pytest.mark.parametrize("form", FORMS)
def test_bits_do_not_depend_on_threads(form, path_of_fit):
    X, found = choices(n_items=300), set()
    for n_threads in (1, 2, 5):
        model = ItemAutoencoder(20.0, n_threads=n_threads, **FORMS[form]).fit(X)
        items, scores = model.recommend(X, 7)
        B = model.components_.toarray() if form == "sparse" else model.components_
        found.add(B.tobytes() + items.tobytes() + scores.tobytes())
    assert len(found) == 1


def test_each_column_is_the_ridge_regression_on_the_others():
    X = choices(n_items=12).toarray()
    B = ItemAutoencoder(3.0).fit(X).components_
    for j in range(12):
        others = np.delete(np.arange(12), j)
        A = X[:, others]
        ridge = np.linalg.solve(A.T @ A + 3.0 * np.eye(11), A.T @ X[:, j])
        np.testing.assert_allclose(B[others, j], ridge, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("density", "n_items"), [(0.02, 37), (0.3, 37), (0.99, 37), (0.1, 301)])
def test_sparse_columns_are_fitted_again(density, n_items, isa, path_of_fit, monkeypatch):
    monkeypatch.setattr(item_solvers, "BLOCK", 16)
    X = choices(n_items=n_items)
    model = ItemAutoencoder(20.0, density=density).fit(X)
    n_kept = min(max(1, round(density * n_items)), n_items - 1)
    dense = X.toarray()
    B = reference.refitted(dense, 20.0, reference.closed_form(dense, 20.0), n_kept)
    assert model.components_.nnz == n_kept * n_items
    np.testing.assert_allclose(model.components_.toarray(), B, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(model.transform(X), X @ B, rtol=1e-8, atol=1e-9)


def test_item_features_are_further_rows(path_of_fit):
    X, tags = choices(), np.random.default_rng(1).integers(0, 2, (37, 5))
    weight = np.random.default_rng(2).random(300)
    stacked = np.vstack([X.toarray(), tags.T])
    B = reference.closed_form(stacked, 20.0, np.r_[weight, np.full(5, 4.0)])
    for features in (tags, sparse.csc_matrix(tags)):
        model = ItemAutoencoder(20.0, item_feature_weight=4.0)
        model.fit(X, sample_weight=weight, item_features=features)
        np.testing.assert_allclose(model.components_, B, rtol=1e-9, atol=1e-12)
        assert model.n_samples_seen_ == 300
    with pytest.raises(ValueError, match="a row for each of the 37 items"):
        model.fit(X, item_features=tags[:5])


# ---- low rank ----


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_gradient_of_low_rank(weighted):
    X, rng = choices(), np.random.default_rng(3)
    weight = rng.integers(0, 3, 300).astype(float) if weighted else None
    V, direction = rng.normal(size=(2, 37, 4))
    loss = low_rank_items.CosineLoss(X, weight, 1)
    value, gradient = loss(V)
    A = V / np.linalg.norm(V, axis=1, keepdims=True)
    assert value == pytest.approx(reference.cosine_loss(X.toarray(), A, weight), rel=1e-10)
    slope = (loss(V + 1e-6 * direction)[0] - loss(V - 1e-6 * direction)[0]) / 2e-6
    assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-6)


def test_low_rank_fit():
    X = choices()
    model = ItemAutoencoder(n_components=6, max_iter=40).fit(X)
    A = model.components_.T
    np.testing.assert_allclose(np.linalg.norm(A, axis=1), np.arange(37) != 3)  # nobody chose it
    scores = X @ A @ A.T - X.toarray()
    np.testing.assert_allclose(np.diagonal(model.transform(np.eye(37))), 0, atol=1e-12)
    np.testing.assert_allclose(model.transform(X), scores, atol=1e-11)
    loss = reference.cosine_loss(X.toarray(), A)
    assert loss == pytest.approx(model.loss_curve_[-1]) and model.n_iter_ == 40
    assert np.all(np.diff(model.loss_curve_) <= 0)
    random = np.random.default_rng(0).normal(size=A.shape)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    assert loss < 0.85 * reference.cosine_loss(X.toarray(), random)
    repeated = ItemAutoencoder(n_components=6, max_iter=40).fit(X, sample_weight=np.full(300, 2.0))
    np.testing.assert_allclose(repeated.components_, model.components_)
    more = ItemAutoencoder(n_components=50, max_iter=3).fit(X)  # more than items
    assert more.components_.shape == (50, 37)
    with pytest.raises(AttributeError):
        model.partial_fit(X)


# ---- recommendations ----


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_recommendations(form, dtype, exclude_seen, isa, monkeypatch):
    monkeypatch.setattr(ranking, "SCORES_AT_ONCE", 500)
    X = choices(n_items=131, dtype=dtype)
    model = ItemAutoencoder(20.0, **FORMS[form]).fit(X)
    scores = model.transform(X.astype(model.components_.dtype))
    filtered = [5, 1, 130]
    allowed = np.ones(131, bool)
    allowed[filtered] = False
    options = {"exclude_seen": exclude_seen, "filter_items": filtered}
    items, best = model.recommend(X, 9, **options)
    assert items.dtype == np.int64
    assert best.dtype == (np.float64 if dtype == np.float64 else np.float32)
    seen = X.toarray() if exclude_seen else None
    expected = reference.ranking(scores, 9, seen, allowed)
    if form == "dense":
        np.testing.assert_array_equal(items, expected)
    found = np.take_along_axis(scores, np.maximum(items, 0), axis=1)
    wanted = np.take_along_axis(scores, np.maximum(expected, 0), axis=1)
    np.testing.assert_array_equal(items < 0, expected < 0)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(best[items >= 0], found[items >= 0], rtol=1e-5, atol=1e-5)
    assert not np.isin(items, filtered).any()
    for rows in (X.toarray(), X.tocsc()):
        np.testing.assert_array_equal(model.recommend(rows, 9, **options)[0], items)
    mask = model.recommend(X, 9, exclude_seen=exclude_seen, filter_items=~allowed)
    np.testing.assert_array_equal(mask[0], items)


@pytest.mark.parametrize("n", [1, 2, 16, 100, 131])
def test_order_with_equal_scores(n, isa):
    """Scores are small integers: of equal ones the smaller item comes first."""
    rng = np.random.default_rng(n)
    model = ItemAutoencoder(20.0).fit(choices(n_items=131))
    model.components_ = rng.integers(-1, 2, (131, 131)).astype(float)
    X = sparse.random_array((70, 131), density=0.04, rng=rng, format="csr")
    X.data[:] = rng.integers(1, 3, X.nnz)
    items, best = model.recommend(X, n)
    expected = reference.ranking(X @ model.components_, n, X.toarray())
    np.testing.assert_array_equal(items, expected)
    assert (np.isneginf(best) == (items < 0)).all()


def test_seen_is_what_is_not_zero():
    X = choices()
    model = ItemAutoencoder(20.0).fit(X)
    stored = X.copy()
    stored.data[::2] = 0
    clean = stored.copy()
    clean.eliminate_zeros()
    assert stored.nnz > clean.nnz
    for given, other in zip(model.recommend(stored, 5), model.recommend(clean, 5), strict=True):
        np.testing.assert_array_equal(given, other)
    full, none = model.recommend(np.ones((1, 37)), 2)
    assert (full == -1).all() and np.isneginf(none).all()


@pytest.mark.parametrize("form", FORMS)
def test_similar_items_and_explanations(form, monkeypatch):
    monkeypatch.setattr(item_model, "ENTRIES_AT_ONCE", 60)
    X = choices()
    model = ItemAutoencoder(20.0, **FORMS[form]).fit(X)
    B = model.transform(np.eye(37))
    similar, scores = model.similar_items([4, 9], 3)
    np.testing.assert_allclose(scores, B[np.array([[4], [9]]), similar], atol=1e-6)
    np.testing.assert_allclose(
        scores, -np.sort(-np.where(np.eye(37), -9, B)[[4, 9]])[:, :3], atol=1e-6
    )
    assert model.similar_items(4, 3)[0].tolist() == similar[:1].tolist()
    items, best = model.recommend(X, 4)
    seen, parts = model.explain(X, items, 37)
    np.testing.assert_allclose(parts.sum(axis=2)[items >= 0], best[items >= 0], atol=1e-4)
    assert (np.diff(parts, axis=2)[seen[..., 1:] >= 0] <= 0).all()
    few, _ = model.explain(X, items, 2)
    np.testing.assert_array_equal(few, seen[..., :2])
    user, place = 11, 1
    chosen = X[user].toarray().ravel()
    expected = chosen * B[:, items[user, place]]
    order = [i for i in np.argsort(-expected, kind="stable") if chosen[i]]
    assert seen[user, place, : len(order)].tolist() == order
    none, nothing = model.explain(X[:1], [[-1, 3]], 2)
    assert (none[0, 0] == -1).all() and not nothing[0, 0].any()


# ---- files, streams, memory, refusals ----


@pytest.mark.parametrize("form", FORMS)
def test_files(form, path):
    X = choices()
    model = ItemAutoencoder(20.0, **FORMS[form]).fit(X)
    model.save(path)
    loaded = aefast.load(path)
    assert loaded.get_params() == model.get_params() and loaded.n_iter_ == model.n_iter_
    for one, other in zip(loaded.recommend(X, 4), model.recommend(X, 4), strict=True):
        assert one.tobytes() == other.tobytes()
    assert type(loaded.components_) is type(model.components_)


def test_a_file_of_the_first_version():
    """Written by the version before precision, density and n_components."""
    model = aefast.load("tests/data/item-autoencoder-version-1.safetensors")
    X = choices(n_items=12)
    assert model.get_params() == ItemAutoencoder(5.0).get_params()
    np.testing.assert_allclose(
        model.components_, ItemAutoencoder(5.0).fit(X).components_, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_partial_fit_goes_on_where_the_sums_are_kept(form, monkeypatch):
    X = choices()
    expected = ItemAutoencoder(20.0, **FORMS[form]).fit(X).transform(X)
    model = ItemAutoencoder(20.0, **FORMS[form]).fit(X[:100]).partial_fit(X[100:])
    np.testing.assert_allclose(model.transform(X), expected, rtol=1e-8, atol=1e-10)
    monkeypatch.setattr(item_autoencoder, "KEPT_ITEMS", 36)
    model.fit(X)
    with pytest.raises(ValueError, match="partial_fit cannot go on"):
        model.partial_fit(X)


def test_memory_is_told_beforehand(monkeypatch, capsys):
    model = ItemAutoencoder(verbose=1)
    monkeypatch.setattr(item_autoencoder, "KEPT_ITEMS", 0)
    monkeypatch.setattr(memory, "available_bytes", lambda: 10_000)
    for fit in (model.fit, model.partial_fit):
        with pytest.raises(MemoryError, match=r"37 × 37 items in float64 takes 10.7 KiB .10,952"):
            fit(choices())
    monkeypatch.setattr(memory, "available_bytes", lambda: 11_000)
    monkeypatch.setattr(item_solvers, "NOTED_BYTES", 10_000)
    model.fit(choices())
    assert "a matrix of 37 × 37 items: 10.7 KiB" in capsys.readouterr().err
    with pytest.raises(MemoryError, match="factors takes"):
        ItemAutoencoder(n_components=20).fit(choices())


def test_memory_of_this_machine():
    assert memory.available_bytes() is None or memory.available_bytes() > 1 << 20
    assert memory.as_text(3 << 30) == "3 GiB"


def test_float32_warns_where_its_digits_are_lost(monkeypatch):
    monkeypatch.setattr(item_autoencoder, "KEPT_ITEMS", 0)
    X = choices() * 1e3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ItemAutoencoder(1e4, precision="float32").fit(X)
        ItemAutoencoder(1e-3, precision="float64").fit(X)
    copied = sparse.csr_array(sparse.hstack([X, X[:, :5]]))
    with pytest.warns(RuntimeWarning, match="float32' has too few digits for l2=400"):
        ItemAutoencoder(400.0, precision="float32").fit(copied)
    with pytest.raises(ValueError, match=r"rounding: l2 = 40\.0 .*'float64' has more"):
        ItemAutoencoder(40.0, precision="float32").fit(copied)


def test_refusals(path_of_fit):
    X = choices()
    for options, match in (
        ({"l2": 0.0}, "parameter of"),
        ({"density": 1.0}, "parameter of"),
        ({"precision": "float16"}, "parameter of"),
    ):
        with pytest.raises(ValueError, match=match):
            ItemAutoencoder(**options).fit(X)
    with pytest.warns(UserWarning, match="density=0.5 has no use with n_components=2"):
        ItemAutoencoder(n_components=2, density=0.5, max_iter=1).fit(X)
    with pytest.raises(NotFittedError):
        ItemAutoencoder().recommend(X, 2)
    model = ItemAutoencoder().fit(X)
    for n, error in ((0, ValueError), (38, ValueError), (2.5, TypeError)):
        with pytest.raises(error, match="n must be"):
            model.recommend(X, n)
    for filtered, match in (([37], "filter_items must be in"), ([True, False], "as a mask")):
        with pytest.raises(ValueError, match=match):
            model.recommend(X, 2, filter_items=filtered)
    with pytest.raises(TypeError, match="items must be integers"):
        model.similar_items([0.5], 2)
    with pytest.raises(ValueError, match="a row for each user"):
        model.explain(X, [[1, 2]])
    with pytest.raises(ValueError, match="NaN at row 1, column 2"):
        bad = X.toarray()
        bad[1, 2] = np.nan
        ItemAutoencoder().fit(bad)
    with pytest.raises(ValueError, match="expecting 37 features"):
        model.recommend(X[:, :5], 2)
    for options in ({}, {"n_components": 2}):
        with pytest.raises(ValueError, match="weights are zero"):
            ItemAutoencoder(**options).fit(X, sample_weight=np.zeros(300))
    with pytest.raises(ValueError, match="no user has chosen an item"):
        ItemAutoencoder(n_components=2).fit(np.zeros((3, 4)))


def test_users_matrix_is_not_changed():
    """Unsorted and repeated indices are summed in a copy, 64-bit ones are read."""
    X = choices()
    coo = X.tocoo()
    order = np.random.default_rng(0).permutation(coo.nnz)
    rows, columns = np.r_[coo.row[order], 0, 0], np.r_[coo.col[order], 2, 2]
    twice = X.copy()
    twice[0, 2] = twice[0, 2] + 2.0
    begin = np.r_[0, np.cumsum(np.bincount(rows, minlength=300))].astype(np.int64)
    sort = np.argsort(rows, kind="stable")
    data = np.r_[coo.data[order], 1.0, 1.0][sort]
    messy = sparse.csr_array((data, columns[sort].astype(np.int64), begin), (300, 37))
    before = messy.indices.copy(), messy.data.copy()
    model = ItemAutoencoder(20.0).fit(messy)
    np.testing.assert_array_equal(model.components_, ItemAutoencoder(20.0).fit(twice).components_)
    np.testing.assert_array_equal(model.recommend(messy, 3)[0], model.recommend(twice, 3)[0])
    assert np.array_equal(messy.indices, before[0]) and np.array_equal(messy.data, before[1])
    assert _runtime.isa() in _runtime.isa_available()
