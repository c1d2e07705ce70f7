"""Calls of scikit-learn's examples of dictionary learning, with nothing but the import changed."""

import numpy as np
import pytest
from reference import sparse_coding as reference
from sklearn import decomposition
from sklearn.base import clone
from sklearn.datasets import load_digits, load_sample_image, make_sparse_coded_signal
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d
from sklearn.model_selection import GridSearchCV

import aefast


def mean_objective(X, D, alpha, positive=False):
    H = aefast.sparse_encode(X, D, alpha=alpha, positive=positive, tol=1e-6)
    return np.mean([reference.lasso_objective(x, h, D, alpha) for x, h in zip(X, H, strict=True)])


# ---- plot_image_denoising.py ----

TRANSFORMS = [
    ("omp", {"transform_n_nonzero_coefs": 1}),
    ("omp", {"transform_n_nonzero_coefs": 2}),
    ("lars", {"transform_n_nonzero_coefs": 4}),
    ("threshold", {"transform_alpha": 0.1}),
]


@pytest.fixture(scope="module")
def distorted():
    """An image whose right half is noisy, as (clean, noisy)."""
    clean = load_sample_image("flower.jpg")[180:260:2, 200:280:2].mean(axis=2) / 255
    noisy, middle = clean.copy(), clean.shape[1] // 2
    noisy[:, middle:] += 0.075 * np.random.default_rng(0).normal(size=noisy[:, middle:].shape)
    return clean, noisy


def denoised(MiniBatchDictionaryLearning, clean, noisy):
    """Return the dictionary, the rows that it is learnt from, and the error of each transform."""
    height, width = clean.shape
    patch_size = (7, 7)
    data = extract_patches_2d(noisy[:, : width // 2], patch_size)
    data = data.reshape(data.shape[0], -1)
    data -= np.mean(data, axis=0)
    data /= np.std(data, axis=0)
    dico = MiniBatchDictionaryLearning(
        n_components=50, batch_size=200, alpha=1.0, max_iter=10, random_state=0
    )
    V = dico.fit(data).components_
    assert 1 <= dico.n_iter_ <= 10 and 1 <= dico.n_steps_ <= 10 * -(-len(data) // 200)
    rows = extract_patches_2d(noisy[:, width // 2 :], patch_size)
    rows = rows.reshape(rows.shape[0], -1)
    intercept = np.mean(rows, axis=0)
    rows -= intercept
    errors = []
    for transform_algorithm, kwargs in TRANSFORMS:
        dico.set_params(transform_algorithm=transform_algorithm, **kwargs)
        code = dico.transform(rows)
        patches = np.dot(code, V) + intercept
        patches = patches.reshape(len(rows), *patch_size)
        if transform_algorithm == "threshold":
            patches -= patches.min()
            patches /= patches.max()
        half = reconstruct_from_patches_2d(patches, (height, width // 2))
        errors.append(np.linalg.norm(half - clean[:, width // 2 :]))
    return V, data, errors


def test_denoising_an_image(distorted):
    V, data, errors = denoised(aefast.DictionaryLearning, *distorted)
    W, _, theirs = denoised(decomposition.MiniBatchDictionaryLearning, *distorted)
    assert mean_objective(data, V, 1.0) <= mean_objective(data, W, 1.0)
    assert (np.array(errors[:3]) <= 1.02 * np.array(theirs[:3])).all()


# ---- plot_faces_decomposition.py, on digits ----


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"positive_dict": True},
        {"fit_algorithm": "cd", "positive_code": True},
        {"fit_algorithm": "cd", "positive_code": True, "positive_dict": True},
    ],
    ids=lambda options: " ".join(options),
)
def test_parts_of_digits(options):
    X = load_digits().data[:600] / 16
    X -= X.mean(axis=0)
    X -= X.mean(axis=1).reshape(len(X), -1)
    learnt = [
        MiniBatchDictionaryLearning(
            n_components=6,
            alpha=0.1,
            max_iter=50,
            batch_size=3,
            random_state=np.random.RandomState(0),
            **options,
        ).fit(X)
        for MiniBatchDictionaryLearning in (
            aefast.DictionaryLearning,
            decomposition.MiniBatchDictionaryLearning,
        )
    ]
    positive = "positive_code" in options
    ours, theirs = (mean_objective(X, model.components_, 0.1, positive) for model in learnt)
    assert ours <= theirs
    if "positive_dict" in options:
        assert learnt[0].components_.min() >= 0


# ---- plot_sparse_coding.py ----


def ricker_matrix(width, resolution, n_components):
    centers = np.linspace(0, resolution - 1, n_components)[:, np.newaxis]
    x = (np.arange(resolution) - centers) ** 2 / width**2
    D = (1 - x) * np.exp(-x / 2)
    return D / np.linalg.norm(D, axis=1, keepdims=True)


@pytest.mark.filterwarnings("ignore:Objective did not converge")  # scikit-learn's
@pytest.mark.parametrize("widths", [(25,), (3, 12, 25, 125, 250)], ids=["fixed", "multiple"])
@pytest.mark.parametrize(
    "algo, alpha, n_nonzero",
    [("omp", None, 15), ("lasso_lars", 2, None), ("lasso_cd", 2, None), ("threshold", 2, None)],
)
def test_wavelets(widths, algo, alpha, n_nonzero):
    resolution, n_components = 256, 85
    D = np.r_[
        tuple(ricker_matrix(width, resolution, n_components // len(widths)) for width in widths)
    ]
    y = np.where(np.arange(resolution) < resolution / 4, 3.0, -1.0)
    ours, theirs = (
        SparseCoder(
            dictionary=D,
            transform_n_nonzero_coefs=n_nonzero,
            transform_alpha=alpha,
            transform_algorithm=algo,
        )
        .transform(y.reshape(1, -1))
        .ravel()
        for SparseCoder in (aefast.SparseCoder, decomposition.SparseCoder)
    )
    if algo == "threshold":
        np.testing.assert_allclose(ours, theirs, atol=1e-10)
    elif algo == "omp":
        assert np.count_nonzero(ours) <= 15
        assert np.sum((y - ours @ D) ** 2) <= 1.001 * np.sum((y - theirs @ D) ** 2)
    else:
        objectives = [reference.lasso_objective(y, h, D, 2.0) for h in (ours, theirs)]
        assert objectives[0] <= objectives[1] * (1 + 1e-4)


# ---- the examples of the reference ----


@pytest.mark.parametrize(
    "theirs, options",
    [
        (decomposition.DictionaryLearning, {}),
        (decomposition.MiniBatchDictionaryLearning, {"batch_size": 3, "max_iter": 20}),
    ],
    ids=["DictionaryLearning", "MiniBatchDictionaryLearning"],
)
def test_a_sparse_coded_signal(theirs, options):
    """Codes at transform_alpha = 0.1, of a dictionary learnt at alpha = 1."""
    X, _, _ = make_sparse_coded_signal(
        n_samples=30, n_components=15, n_features=20, n_nonzero_coefs=10, random_state=42
    )
    objectives = []
    for cls in (aefast.DictionaryLearning, theirs):
        dict_learner = cls(
            n_components=15,
            transform_algorithm="lasso_lars",
            transform_alpha=0.1,
            random_state=42,
            **options,
        )
        H, D = dict_learner.fit(X).transform(X), dict_learner.components_
        assert dict_learner.n_iter_ >= 1
        per_row = [reference.lasso_objective(x, h, D, 0.1) for x, h in zip(X, H, strict=True)]
        objectives.append(np.mean(per_row))
    assert objectives[0] <= objectives[1] * (1 + 1e-3)


def test_codes_of_five_atoms():
    """As in the docstring of scikit-learn's SparseCoder."""
    X = np.array([[-1, -1, -1], [0, 0, 3]])
    dictionary = np.array(
        [[0, 1, 0], [-1, -1, 2], [1, 1, 1], [0, 1, 1], [0, 2, 1]], dtype=np.float64
    )
    coder = aefast.SparseCoder(
        dictionary=dictionary, transform_algorithm="lasso_lars", transform_alpha=1e-10
    )
    expected = np.array([[0.0, 0.0, -1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0, 0.0]])
    np.testing.assert_allclose(coder.transform(X), expected, atol=1e-8)


# ---- parameters of these calls ----


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(60, 8))


def test_codes_unlike_those_of_learning(X):
    dico = aefast.DictionaryLearning(10, alpha=0.5, max_iter=3, random_state=0).fit(X)
    D, score = dico.components_, dico.score(X)
    settings = [
        (
            {"transform_algorithm": "lars", "transform_n_nonzero_coefs": 4},
            {"algorithm": "lars", "n_nonzero_coefs": 4},
        ),
        ({"transform_algorithm": None, "transform_n_nonzero_coefs": None}, {"alpha": 0.5}),
        ({"transform_alpha": 0.1}, {"alpha": 0.1}),
        ({"transform_algorithm": "threshold"}, {"algorithm": "threshold", "alpha": 0.1}),
        (
            {"transform_algorithm": "omp", "transform_n_nonzero_coefs": 3},
            {"algorithm": "omp", "n_nonzero_coefs": 3},
        ),
    ]
    for given, expected in settings:
        H = dico.set_params(**given).transform(X)
        np.testing.assert_array_equal(H, aefast.sparse_encode(X, D, **expected))
        assert dico.score(X) == score
    again = clone(dico).fit(X)
    np.testing.assert_array_equal(again.components_, D)  # nothing of transform is learnt with
    np.testing.assert_array_equal(again.transform(X), dico.transform(X))


@pytest.mark.parametrize(
    "options, match",
    [
        ({"transform_algorithm": "abacus"}, "transform_algorithm"),
        ({"transform_alpha": 0.0}, "transform_alpha"),
        ({"transform_n_nonzero_coefs": 5}, r"transform_n_nonzero_coefs must be in \[1, 4\]"),
        ({"transform_algorithm": "omp", "positive_code": True}, "positive.*'omp'"),
        ({"split_sign": "no"}, "split_sign"),
    ],
    ids=str,
)
def test_bad_options_of_transform_are_named(options, match, X):
    dico = aefast.DictionaryLearning(4, max_iter=1, random_state=0).fit(X)
    with pytest.raises(ValueError, match=match):
        dico.set_params(**options).transform(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["learner", "coder"])
def test_split_signs_are_those_of_scikit_learn(kind, dtype, X):
    X, D = X.astype(dtype), np.random.default_rng(1).normal(size=(5, 8)).astype(dtype)
    model = {
        "learner": aefast.DictionaryLearning(5, alpha=0.2, max_iter=2, random_state=0),
        "coder": aefast.SparseCoder(D, alpha=0.2),
    }[kind].fit(X)
    H = model.transform(X)
    split = model.set_params(split_sign=True).transform(X)
    np.testing.assert_array_equal(split, np.hstack([np.maximum(H, 0), -np.minimum(H, 0)]))
    assert split.dtype == dtype and not np.signbit(split).any()
    assert list(model.get_feature_names_out())[-1].endswith("9")
    csr = model.set_params(output_format="csr").transform(X)
    np.testing.assert_array_equal(csr.toarray(), split)
    out = np.empty_like(split)
    assert model.set_params(output_format="dense").transform(X, out=out) is out
    np.testing.assert_array_equal(out, split)
    back = clone(model).set_params(split_sign=False).fit(X).inverse_transform(H)
    for codes in (split, csr):
        np.testing.assert_allclose(model.inverse_transform(codes), back, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="10 columns, two an atom"):
        model.inverse_transform(H)


def test_signs_of_integers_and_flags_are_joined(X):
    coder = aefast.SparseCoder(np.eye(3), split_sign=True)
    H = np.array([[0, 1, 0, 1, 0, 1]], np.uint8)
    for codes in (H, H.astype(bool), H.astype(np.int64)):
        np.testing.assert_array_equal(coder.inverse_transform(codes), [[-1, 1, -1]])


def test_as_many_atoms_as_columns(X):
    dico = aefast.DictionaryLearning(None, max_iter=2, random_state=0).fit(X)
    expected = aefast.DictionaryLearning(8, max_iter=2, random_state=0).fit(X)
    np.testing.assert_array_equal(dico.components_, expected.components_)
    dico.partial_fit(X)
    assert dico.set_params(n_components=8).partial_fit(X).components_.shape == (8, 8)
    with pytest.raises(ValueError, match="n_components=7 does not continue"):
        dico.set_params(n_components=7).partial_fit(X)


def test_passes_and_batches_are_counted(X):
    dico = aefast.DictionaryLearning(4, max_iter=3, tol=0, batch_size=25, random_state=0).fit(X)
    assert (dico.n_iter_, dico.n_steps_) == (dico.n_epochs_, 9) == (3, 9)
    dico.partial_fit(X)
    assert dico.n_steps_ == 12
    for name in ("n_iter_", "n_steps_"):
        assert not hasattr(aefast.DictionaryLearning(), name)


def test_a_search_over_scikit_learns_names(X):
    grid = {"max_iter": [1, 2], "transform_alpha": [0.1, None], "fit_algorithm": ["cd"]}
    search = GridSearchCV(aefast.DictionaryLearning(4, random_state=0), grid, cv=2).fit(X)
    best = search.best_estimator_
    assert best.max_epochs in (1, 2) and best.algorithm == "lasso_cd"


def test_parameters_of_transform_are_saved(X, tmp_path):
    options = {"transform_algorithm": "omp", "transform_n_nonzero_coefs": 2, "split_sign": True}
    dico = aefast.DictionaryLearning(None, max_iter=1, random_state=0, **options).fit(X)
    dico.save(tmp_path / "dictionary")
    loaded = aefast.load(tmp_path / "dictionary")
    assert loaded.get_params() == dico.get_params() | {"dict_init": None}
    np.testing.assert_array_equal(loaded.transform(X), dico.transform(X))
