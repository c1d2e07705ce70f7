"""Dictionary learning against its reference, against long batch runs, and within scikit-learn."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from reference import sparse_coding as reference
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_sample_image
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from support.helpers import run_python

import aefast
from aefast import DictionaryLearning, Whitening, extract_patches, sparse_encode
from aefast.sparse_coding import _sparse_coding

DATA = Path(__file__).parents[1] / "data"
DTYPES = [np.float32, np.float64]


def make_rows(n=400, d=12, k=20, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    D = rng.normal(size=(k, d))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    H = rng.normal(size=(n, k)) * (rng.random((n, k)) < 0.15)
    return (H @ D + 0.05 * rng.normal(size=(n, d))).astype(dtype), D


def mean_objective(X, D, alpha):
    X, D = X.astype(np.float64), D.astype(np.float64)
    H = sparse_encode(X, D, alpha=alpha, tol=1e-8)
    return np.mean([reference.lasso_objective(x, h, D, alpha) for x, h in zip(X, H, strict=True)])


@parametrize_with_checks(
    [
        DictionaryLearning(5, max_epochs=2),
        DictionaryLearning(5, alpha=0.1, max_epochs=2, algorithm="lasso_cd", early_stopping=True),
        DictionaryLearning(5, max_epochs=2, algorithm="omp", n_nonzero_coefs=1),
        DictionaryLearning(
            5, max_epochs=2, algorithm="fista", positive_code=True, positive_dict=True
        ),
        DictionaryLearning(5, max_epochs=2, algorithm="threshold", shuffle=False),
        DictionaryLearning(
            None,
            max_epochs=2,
            transform_algorithm="threshold",
            transform_alpha=0.5,
            split_sign=True,
        ),
    ]
)
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it one check skips itself
    check(estimator)


# ---- kernels against the reference ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 5, 7), (60, 33, 61), (70, 300, 26)])
def test_update_matches_the_reference(shape, positive, dtype, isa):
    n, d, k = shape
    rng = np.random.default_rng(1)
    H = rng.normal(size=(n, k)) * (rng.random((n, k)) < 0.4)
    H[:, -1] = 0  # an atom that nobody uses
    if k == 1:
        H[:] = 1.0
    X, D = rng.normal(size=(n, d)), rng.normal(size=(k, d))
    D = np.abs(D) if positive else D
    D = (D / np.linalg.norm(D, axis=1, keepdims=True)).astype(dtype)
    A, B = reference.statistics(H, X)
    expected = reference.update_dictionary(D.astype(np.float64), A, B, positive, n_sweeps=3)
    for n_threads in (1, 2, 3):
        atoms = D.copy()
        _sparse_coding.update(
            atoms,
            A,
            B,
            positive=positive,
            n_sweeps=3,
            least_use=1e-12 * A.diagonal().max(),
            n_threads=n_threads,
        )
        tolerance = 1e-9 if dtype == np.float64 else 2e-3
        np.testing.assert_allclose(atoms, expected, rtol=0, atol=tolerance)
        assert (np.linalg.norm(atoms.astype(np.float64), axis=1) <= 1 + 1e-6).all()
        if n_threads == 1:
            first = atoms
        np.testing.assert_array_equal(atoms, first)
    assert reference.surrogate(first, A, B) <= reference.surrogate(D, A, B) + 1e-5


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_statistics_match_the_reference(dtype, isa):
    rng = np.random.default_rng(2)
    n, d, k = 50, 270, 23
    X = rng.integers(0, 9, (n, d)).astype(dtype)
    real = np.float64 if dtype == np.float64 else np.float32
    H = (rng.normal(size=(n, k)) * (rng.random((n, k)) < 0.3)).astype(real)
    counts = np.count_nonzero(H, axis=1).astype(np.int64)
    indices, values = np.zeros((n, k), np.int32), np.zeros((n, k), real)
    for i in range(n):
        places = np.flatnonzero(H[i])
        indices[i, : len(places)], values[i, : len(places)] = places, H[i, places]
    order = rng.permutation(n)
    expected = reference.statistics(H[np.arange(n)].astype(np.float64), X[order].astype(np.float64))
    for n_threads in (1, 2, 5):
        A, B = np.zeros((k, k)), np.zeros((k, d))
        _sparse_coding.accumulate(X, order, indices, values, counts, A, B, n_threads)
        np.testing.assert_allclose(A, expected[0], rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(B, expected[1], rtol=1e-13, atol=1e-13)


# ---- learning ----


def test_online_learning_is_as_good_as_a_long_batch_run():
    X, _ = make_rows(1500)
    held_out, X = X[:500], X[500:]
    online = DictionaryLearning(
        20, alpha=0.1, batch_size=50, max_epochs=20, tol=0, random_state=0
    ).fit(X)
    batch = DictionaryLearning(20, alpha=0.1, dict_init=X[:20])
    for _ in range(60):
        batch.accumulate(X).update(5)
    falling = np.diff(batch.objective_curve_)
    assert (falling <= 1e-4 * batch.objective_curve_[0]).all()  # batch learning never goes uphill
    ours, its = (mean_objective(held_out, m.components_, 0.1) for m in (online, batch))
    assert ours <= 1.02 * its
    assert ours <= 0.8 * mean_objective(
        held_out, batch.set_params(max_epochs=0).fit(X).components_, 0.1
    )


def test_the_dictionary_that_made_the_rows_is_found():
    X, D = make_rows(4000, d=16, k=20)
    learner = DictionaryLearning(
        20, alpha=0.1, max_epochs=60, batch_size=100, tol=0, random_state=0
    ).fit(X)
    cosines = np.abs(learner.components_ @ D.T)
    assert np.mean(cosines.max(axis=0) > 0.97) >= 0.9


def test_curves_and_score():
    X, _ = make_rows(300)
    learner = DictionaryLearning(
        15, alpha=0.2, max_epochs=4, tol=0, early_stopping=True, random_state=0
    ).fit(X)
    assert learner.n_epochs_ == len(learner.objective_curve_) == 4
    assert len(learner.validation_objective_curve_) == 4
    assert learner.score(X) == pytest.approx(-mean_objective(X, learner.components_, 0.2), rel=1e-3)
    first = DictionaryLearning(
        15, alpha=0.2, max_epochs=1, batch_size=300, shuffle=False, random_state=0
    )
    start = clone(first).set_params(max_epochs=0).fit(X)
    assert first.fit(X).objective_curve_[0] == pytest.approx(-start.score(X), rel=1e-9)


def test_learning_stops_early():
    X, _ = make_rows(300)
    learner = DictionaryLearning(
        10, alpha=0.2, max_epochs=500, tol=0.05, n_epochs_no_change=2, random_state=0
    )
    assert learner.fit(X).n_epochs_ < 30
    assert learner.set_params(early_stopping=True).fit(X).n_epochs_ < 30
    best = min(learner.validation_objective_curve_)
    assert best == pytest.approx(learner._mean_objective(X, held_out_rows(learner, X)), rel=1e-12)
    stopped = DictionaryLearning(10, callbacks=lambda epoch, *_: epoch == 3, tol=0, random_state=0)
    assert stopped.fit(X).n_epochs_ == 3


def held_out_rows(learner, X):
    from aefast._base.random import split_rows

    return split_rows(len(X), learner.validation_fraction, learner._state.seed)[1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_changes_no_bit(dtype):
    X, _ = make_rows(700, d=37, k=30, dtype=dtype)
    fits = [
        DictionaryLearning(
            45, alpha=0.1, max_epochs=3, batch_size=64, n_threads=n, random_state=1
        ).fit(X)
        for n in (1, 2, 3)
    ]
    for other in fits[1:]:
        np.testing.assert_array_equal(fits[0].components_, other.components_)
        assert fits[0].objective_curve_ == other.objective_curve_
    assert fits[0].components_.dtype == dtype


def test_more_components_than_rows():
    X, _ = make_rows(9)
    learner = DictionaryLearning(40, alpha=0.1, max_epochs=3, random_state=0).fit(X)
    assert learner.components_.shape == (40, 12)
    np.testing.assert_allclose(np.linalg.norm(learner.components_, axis=1), 1.0, atol=1e-9)


def test_constant_rows_and_zeros():
    X = np.zeros((50, 6))
    X[::2] = 3.0
    learner = DictionaryLearning(10, alpha=0.1, max_epochs=3, random_state=0).fit(X)
    assert np.isfinite(learner.components_).all()
    assert np.abs(learner.inverse_transform(learner.transform(X)) - X).max() < 0.2
    assert np.isfinite(
        DictionaryLearning(4, random_state=0).fit(np.zeros((20, 3))).components_
    ).all()


def test_positive_codes_and_atoms():
    X = np.abs(make_rows(300)[0])
    learner = DictionaryLearning(
        15, alpha=0.1, positive_code=True, positive_dict=True, random_state=0
    ).fit(X)
    assert learner.components_.min() >= 0 and learner.transform(X).min() >= 0


def test_unused_atoms_are_replaced():
    X, _ = make_rows(600)
    X = np.hstack([X, np.zeros((600, 1))])
    nowhere = np.eye(13)[[12] * 10]  # atoms of a feature that no row has
    options = {"alpha": 0.3, "dict_init": np.vstack([X[:10], nowhere]), "max_epochs": 6, "tol": 0}
    kept = DictionaryLearning(20, replace_unused=False, random_state=0, **options).fit(X)
    replaced = DictionaryLearning(20, random_state=0, **options).fit(X)
    np.testing.assert_array_equal(kept.components_[10:], nowhere)
    assert replaced.transform(X).any(axis=0).all()
    assert replaced.score(X) > kept.score(X)


def test_partial_fit_goes_on():
    X, _ = make_rows(400)
    learner = DictionaryLearning(20, alpha=0.1, random_state=0)
    for _ in range(5):
        learner.partial_fit(X)
    whole = DictionaryLearning(20, alpha=0.1, max_epochs=5, tol=0, random_state=0).fit(X)
    np.testing.assert_array_equal(learner.components_, whole.components_)
    with pytest.raises(ValueError, match="n_components=7 does not continue"):
        learner.set_params(n_components=7).partial_fit(X)


# ---- statistics ----


def test_statistics_merge_exactly():
    X, _ = make_rows(101)
    init = X[:15]

    def learner():
        return DictionaryLearning(15, alpha=0.1, dict_init=init, batch_size=16)

    whole = learner().accumulate(X)
    parts = [learner().accumulate(part) for part in (X[:30], X[30:31], X[31:])]
    merged = parts[0].merge(parts[1]).merge(parts[2])
    assert merged.statistics_.n_rows == 101
    for mine, its in zip(merged.statistics_, whole.statistics_, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-13, atol=1e-12)
    H = whole.transform(X)
    A, B = reference.statistics(H, X)
    np.testing.assert_allclose(whole.statistics_.A, A, atol=1e-10)
    np.testing.assert_allclose(whole.statistics_.B, B, atol=1e-10)
    assert whole.statistics_.objective == pytest.approx(-101 * whole.score(X), rel=1e-9)
    np.testing.assert_array_equal(
        whole.components_, DictionaryLearning(15, dict_init=init, max_epochs=0).fit(X).components_
    )
    before = whole.components_.copy()
    whole.update()
    expected = reference.update_dictionary(before, A, B, n_sweeps=10)
    np.testing.assert_allclose(whole.components_, expected, atol=1e-8)
    assert whole.statistics_.n_rows == 0


def test_merging_refuses_other_dictionaries():
    X, _ = make_rows(50)
    one = DictionaryLearning(5, dict_init=X[:5]).accumulate(X)
    other = DictionaryLearning(5, dict_init=X[5:10]).accumulate(X)
    with pytest.raises(ValueError, match="same dictionary"):
        one.merge(other)
    with pytest.raises(ValueError, match="alpha"):
        one.merge(DictionaryLearning(5, alpha=2.0, dict_init=X[:5]).accumulate(X))
    with pytest.raises(TypeError, match="DictionaryLearning, got list"):
        one.merge([1])
    with pytest.raises(ValueError, match="accumulate"):
        one.update().update()


# ---- forgetting ----


@pytest.mark.parametrize("sizes", [(40, 40, 40), (90, 1, 29), (1, 2, 117)], ids=str)
def test_forgetting_counts_rows(sizes):
    """A is the sum over batches of (s / t)^forgetting times the batch's own sum, s, t in rows."""
    X, _ = make_rows(120)
    learner = DictionaryLearning(
        8, alpha=0.1, batch_size=120, forgetting=3.0, shuffle=False, replace_unused=False
    ).set_params(random_state=0, code_tol=1e-9)
    learner.set_params(max_epochs=0).fit(X)
    A, B, end, first = 0.0, 0.0, np.cumsum(sizes), 0
    for last in end:
        batch = X[first:last]
        own = reference.statistics(learner.transform(batch), batch)
        weight = (last / end[-1]) ** 3
        A, B, first = A + weight * own[0], B + weight * own[1], last
        learner.partial_fit(batch)
    np.testing.assert_allclose(learner._state.A, A, atol=1e-6)
    np.testing.assert_allclose(learner._state.B, B, atol=1e-6)


def test_single_rows_undo_nothing():
    X, _ = make_rows(1030, d=16, k=20)
    learner = DictionaryLearning(20, alpha=0.1, batch_size=1000, random_state=0)
    for _ in range(5):
        learner.partial_fit(X[:1000])
    before = -learner.score(X)
    for row in X[1000:]:
        learner.partial_fit(row[None])
    assert -learner.score(X) < 1.01 * before


# ---- rows at the ends of the floating-point range ----


@pytest.mark.parametrize("algorithm", ["lasso_active", "lasso_cd"])
@pytest.mark.parametrize("exponent", [-61, 61])
def test_float32_atoms_do_not_depend_on_the_unit(algorithm, exponent):
    X, _ = make_rows(120, dtype=np.float32)
    scale = 2.0**exponent  # sums of squares that float32 cannot hold
    options = {"algorithm": algorithm, "max_epochs": 8, "forgetting": 0.0, "tol": 0.0}
    options |= {"batch_size": 30, "random_state": 0}
    one = DictionaryLearning(8, alpha=0.1, **options).fit(X)
    scaled = DictionaryLearning(8, alpha=0.1 * scale, **options).fit(X * np.float32(scale))
    assert np.isfinite(scaled.components_).all()
    np.testing.assert_allclose(scaled.components_, one.components_, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_sums_that_overflow_leave_the_learner_as_it_was():
    X, _ = make_rows(100)
    learner = DictionaryLearning(5, alpha=1e-5, batch_size=10, random_state=0).fit(X).accumulate(X)
    before, statistics, n_epochs = learner._state, learner.statistics_, learner.n_epochs_
    huge = np.full((1000, 12), 3e153)  # the square of each row is finite
    huge[:20] = X[:20]  # two batches that could be learnt from
    with pytest.raises(FloatingPointError, match="nothing has been added"):
        learner.accumulate(huge)
    assert learner.statistics_ is statistics
    with pytest.raises(FloatingPointError, match="Scale X"):
        learner.set_params(shuffle=False).partial_fit(huge)
    assert learner.n_epochs_ == n_epochs
    for mine, its in zip(learner._state, before, strict=True):
        np.testing.assert_array_equal(mine, its)


# ---- company ----


def test_files_and_copies(tmp_path):
    X, _ = make_rows(200, dtype=np.float32)
    learner = DictionaryLearning(15, alpha=0.1, max_epochs=2, random_state=0).fit(X)
    learner.save(tmp_path / "dictionary.safetensors")
    loaded = aefast.load(tmp_path / "dictionary.safetensors")
    for other in (loaded, pickle.loads(pickle.dumps(learner))):
        np.testing.assert_array_equal(other.transform(X), learner.transform(X))
        assert other.objective_curve_ == learner.objective_curve_
        expected = clone(learner).fit(X).partial_fit(X).components_
        np.testing.assert_array_equal(other.partial_fit(X).components_, expected)


def test_a_file_of_version_2():
    """Files without parameters of `transform` have codes as in learning; numbers of then."""
    learner = aefast.load(DATA / "dictionary-version-2.safetensors")
    assert learner.transform_algorithm is learner.transform_alpha is None
    assert learner.transform_n_nonzero_coefs is None and learner.split_sign is False
    X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    known = [[0.0, -0.06633310765028, 0.0], [0.0, -1.0782700777053833, 0.10424219816923141]]
    np.testing.assert_allclose(learner.transform(X)[:2], known, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(learner.score(X), -1.2412882131058722, rtol=1e-4)
    np.testing.assert_allclose(learner.objective_curve_, [1.3678586015123984, 1.2853870649880264])
    before = learner.n_epochs_
    assert learner.partial_fit(X).n_epochs_ == before + 1


def test_csr_and_pipelines():
    X, _ = make_rows(100)
    pipeline = make_pipeline(
        Whitening(epsilon=0.1), DictionaryLearning(10, output_format="csr", random_state=0)
    )
    H = pipeline.fit_transform(X)
    assert sparse.issparse(H) and H.shape == (100, 10)
    back = pipeline[-1].inverse_transform(H)
    np.testing.assert_allclose(back, H.toarray() @ pipeline[-1].components_)


@pytest.mark.parametrize(
    "options, fragments",
    [
        ({"alpha": 0.0}, ["alpha"]),
        ({"n_components": 0}, ["n_components"]),
        ({"forgetting": -1.0}, ["forgetting"]),
        ({"algorithm": "omp", "n_nonzero_coefs": 6}, ["n_nonzero_coefs", "[1, 5]"]),
        ({"algorithm": "omp", "positive_code": True}, ["positive", "omp"]),
        ({"dict_init": np.ones((4, 12))}, ["dict_init", "(5, 12)", "(4, 12)"]),
        ({"dict_init": np.zeros((5, 12))}, ["dict_init", "atom 0", "zero"]),
        ({"dict_init": -np.ones((5, 12)), "positive_dict": True}, ["dict_init", "positive_dict"]),
        ({"batch_size": 0}, ["batch_size"]),
    ],
    ids=str,
)
def test_bad_options_are_named(options, fragments):
    X, _ = make_rows(30)
    with pytest.raises(ValueError) as caught:
        DictionaryLearning(**{"n_components": 5, **options}).fit(X)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_bad_rows_leave_the_learner_as_it_was():
    X, _ = make_rows(100)
    learner = DictionaryLearning(5, random_state=0).fit(X)
    before = learner.components_.copy()
    bad = X.copy()
    bad[7, 3] = np.nan
    for method in (
        learner.partial_fit,
        learner.fit,
        learner.accumulate,
        learner.transform,
        learner.score,
    ):
        with pytest.raises(ValueError, match="NaN at row 7, column 3"):
            method(bad)
    np.testing.assert_array_equal(learner.components_, before)


def test_an_interrupt_keeps_the_dictionary():
    script = """
        import os, signal, threading, time
        import numpy as np
        from aefast import DictionaryLearning

        # a shell's background jobs ignore the signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        X = np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32)
        learner = DictionaryLearning(128, alpha=2.0, max_epochs=100_000, tol=0, random_state=0)
        threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            learner.fit(X)
        except KeyboardInterrupt:
            finite = np.isfinite(learner.transform(X[:10])).all()
            print("interrupted", learner._state.n_batches > 0, finite)
    """
    result = run_python(script)
    assert result.stdout.split() == ["interrupted", "True", "True"], result.stderr


# ---- what is published ----


def localisation(atom, side):
    """Share of an atom's energy within a quarter of its area, around its centre of energy."""
    energy = atom.reshape(side, side) ** 2 / np.sum(atom**2)
    y, x = np.mgrid[:side, :side]
    centre = (energy * y).sum(), (energy * x).sum()
    near = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= side * side / 4 / np.pi
    return energy[near].sum()


def orientation(atom, side):
    """The coherence of the power spectrum's second moments.

    It is 1 for a grating of one orientation, and 0 for an atom without orientation.
    """
    power = (
        np.abs(np.fft.fftshift(np.fft.fft2(atom.reshape(side, side), (4 * side, 4 * side)))) ** 2
    )
    f = np.arange(-2 * side, 2 * side)
    xx, yy, xy = (
        (power * f**2).sum(),
        (power * f[:, None] ** 2).sum(),
        (power * f * f[:, None]).sum(),
    )
    return np.hypot(xx - yy, 2 * xy) / (xx + yy)


def test_atoms_of_natural_images_are_localised_and_oriented():
    """Most atoms are more localised and oriented than 99 % of white noise.

    This is the result of Olshausen & Field (1996).
    """
    side = 12
    images = [load_sample_image(name).mean(axis=2) / 255 for name in ("china.jpg", "flower.jpg")]
    patches = extract_patches(images, side, 12_000, random_state=0)
    patches -= patches.mean(axis=1, keepdims=True)
    patches = Whitening(epsilon=1e-2).fit_transform(patches).astype(np.float32)
    alpha = 2 * patches.std()
    learner = DictionaryLearning(100, alpha=alpha, max_epochs=6, tol=0, random_state=0).fit(patches)
    noise = np.random.default_rng(0).normal(size=(1000, side * side))
    good = np.ones(100, bool)
    for measure in (localisation, orientation):
        beyond_noise = np.quantile([measure(atom, side) for atom in noise], 0.99)
        good &= [
            measure(atom, side) > beyond_noise for atom in learner.components_.astype(np.float64)
        ]
    assert good.mean() > 0.7
