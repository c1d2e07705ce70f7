"""`SparseCoder`, and refusals of wrong arguments."""

import functools

import numpy as np
import pandas as pd
import pytest
from reference.sparse_coding import make_problem
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as foreign_file
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks
from support.model_files import assert_refused, edited, unpack

import aefast
from aefast import SparseCoder, sparse_encode

# ---- what users can get wrong ----


def with_entry(array, value, place=(1, 0)):
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    "change, fragments",
    [
        ({"dictionary": lambda X, D: with_entry(D, 0.0, 3)}, ["dictionary", "atom 3", "zero"]),
        ({"dictionary": lambda X, D: with_entry(D, np.nan)}, ["dictionary", "nan", "atom 1"]),
        ({"dictionary": lambda X, D: with_entry(D, np.inf)}, ["dictionary", "inf", "atom 1"]),
        ({"dictionary": lambda X, D: D * 1e-200}, ["dictionary", "atom 0", "norm"]),
        ({"dictionary": lambda X, D: D[:, :-1]}, ["X", "columns", "dictionary"]),
        ({"dictionary": lambda X, D: D[0]}, ["dictionary", "2 dimension"]),
        ({"X": lambda X, D: with_entry(X, np.nan)}, ["X", "NaN", "row 1"]),
        ({"X": lambda X, D: with_entry(X, -np.inf)}, ["X", "infinity", "row 1"]),
        ({"alpha": 0.0}, ["alpha", "positive"]),
        ({"alpha": -1.0}, ["alpha", "-1"]),
        ({"alpha": np.nan}, ["alpha"]),
        ({"tol": -1e-3}, ["tol"]),
        ({"max_iter": 0}, ["max_iter"]),
        ({"n_nonzero_coefs": 8, "algorithm": "omp"}, ["n_nonzero_coefs", "[1, 7]", "8"]),
        ({"n_nonzero_coefs": 0, "algorithm": "omp"}, ["n_nonzero_coefs"]),
        ({"algorithm": "abacus"}, ["algorithm", "abacus", "lasso_lars"]),
        ({"output_format": "coo"}, ["output_format", "coo"]),
        ({"positive": True, "algorithm": "omp"}, ["positive", "omp"]),
        ({"return_gap": True, "algorithm": "omp"}, ["return_gap", "omp"]),
        ({"init": np.zeros((5, 7)), "algorithm": "omp"}, ["init", "omp"]),
        ({"init": np.zeros((5, 7)), "algorithm": "lasso_lars"}, ["init", "lasso_active"]),
        ({"init": np.zeros((5, 6)), "algorithm": "lasso_cd"}, ["init", "shape"]),
        ({"init": np.full((5, 7), np.nan), "algorithm": "lasso_cd"}, ["init", "finite"]),
        ({"atom_weights": np.zeros(7)}, ["atom_weights", "positive"]),
        ({"atom_weights": np.ones(6)}, ["atom_weights", "shape"]),
        ({"atom_weights": np.full(7, 1e-200)}, ["atom_weights", "atom 0", "norm"]),
        ({"n_threads": 0}, ["n_threads"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_input_is_named(change, fragments):
    X, D = make_problem(5, 4, 7)
    arguments = {"X": X, "dictionary": D}
    for name, value in change.items():
        arguments[name] = value(X, D) if callable(value) else value
    with pytest.raises(ValueError) as caught:
        sparse_encode(arguments.pop("X"), arguments.pop("dictionary"), **arguments)
    for fragment in fragments:
        assert fragment.lower() in str(caught.value).lower()


@pytest.mark.parametrize(
    "change",
    [{"alpha": "1"}, {"tol": None}, {"n_nonzero_coefs": 2.5}, {"alpha": True}, {"positive": "no"}],
)
def test_bad_types_are_named(change):
    with pytest.raises(TypeError, match=next(iter(change))):
        sparse_encode(*make_problem(5, 4, 7), **change)


def test_rows_too_large_for_their_type():
    X, D = make_problem(5, 4, 7, np.float32)
    with pytest.raises(FloatingPointError, match="float32"):
        sparse_encode(X * np.float32(1e30), D)


def test_sizes_that_no_machine_has():
    X, D = make_problem(5, 4, 7)
    expected = sparse_encode(X, D, alpha=0.1)
    np.testing.assert_array_equal(sparse_encode(X, D, alpha=0.1, max_iter=2**63 - 1), expected)
    with pytest.raises(ValueError, match="max_iter must fit 64 bits"):
        sparse_encode(X, D, alpha=0.1, max_iter=10**30)
    many = np.broadcast_to(np.float32(1), (2**28 + 1, 1))
    with pytest.raises(ValueError, match="dictionary must have at most 268435456 atoms"):
        sparse_encode(np.ones((1, 1)), many)


def test_float32_starts_that_overflow():
    X, D = make_problem(5, 4, 7, np.float32)
    with pytest.raises(ValueError, match="init must be finite in float32"):
        sparse_encode(X, D, algorithm="lasso_cd", init=np.full((5, 7), 1e300))


def test_a_promise_that_cannot_be_kept_is_a_warning():
    X, D = make_problem(40, 20, 60, seed=19)
    with pytest.warns(ConvergenceWarning, match="after 2 iterations"):
        _, gap = sparse_encode(X, D, algorithm="ista", alpha=0.01, max_iter=2, return_gap=True)
    assert (gap > 1e-4).any()


# ---- the estimator ----


def test_codes_without_a_fit():
    X, D = make_problem(10, 6, 9)
    coder = SparseCoder(D, alpha=0.2)
    np.testing.assert_array_equal(coder.transform(X), sparse_encode(X, D, alpha=0.2))
    np.testing.assert_array_equal(coder.fit_transform(X), coder.transform(X))
    assert (coder.n_components_, coder.n_features_in_) == (9, 6)
    assert list(coder.get_feature_names_out())[:2] == ["sparsecoder0", "sparsecoder1"]
    assert clone(coder).transform(X).shape == (10, 9)
    np.testing.assert_allclose(coder.inverse_transform(coder.transform(X)), coder.transform(X) @ D)
    csr = SparseCoder(D, alpha=0.2, output_format="csr").transform(X)
    np.testing.assert_allclose(coder.inverse_transform(csr), csr.toarray() @ D)


def test_the_estimator_names_what_is_wrong():
    X, D = make_problem(10, 6, 9)
    with pytest.raises(ValueError, match="10 features, but SparseCoder is expecting 6"):
        SparseCoder(D).transform(np.ones((3, 10)))
    for bad, name in (
        ({"alpha": 0}, "alpha"),
        ({"algorithm": "x"}, "algorithm"),
        ({"tol": -1}, "tol"),
    ):
        with pytest.raises(ValueError, match=name):
            SparseCoder(D, **bad).transform(X)
    with pytest.raises(ValueError, match="return_gap"):
        SparseCoder(D, algorithm="omp", n_nonzero_coefs=2).duality_gap(X)
    with pytest.raises(ValueError, match="atom 0 is zero"):
        SparseCoder(np.zeros((3, 6))).fit(X)


# ---- files ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fitted", [True, False])
def test_every_parameter_is_saved(fitted, dtype, tmp_path):
    X, D = make_problem(10, 6, 9, dtype)
    parameters = {
        "dictionary": D,
        "algorithm": "lasso_cd",
        "alpha": np.float32(0.25),
        "n_nonzero_coefs": 4,
        "positive": np.True_,
        "tol": 1e-7,
        "code_max_iter": 77,
        "atom_weights": np.linspace(0.5, 2, 9, dtype=np.float32),
        "init": None,
        "output_format": "csr",
        "split_sign": True,
        "n_threads": 1,
    }
    assert set(parameters) == set(SparseCoder._get_param_names())
    coder = SparseCoder(**parameters)
    if fitted:
        coder.fit(pd.DataFrame(X, columns=list("abcdef")))
    coder.save(tmp_path / "coder")
    loaded = aefast.load(tmp_path / "coder")
    for name, value in parameters.items():
        assert np.array_equal(getattr(loaded, name), value), name
    assert loaded.dictionary.dtype == dtype and loaded.n_features_in_ == 6
    assert hasattr(loaded, "feature_names_in_") == fitted
    rows = pd.DataFrame(X, columns=list("abcdef")) if fitted else X
    assert (loaded.transform(rows) != coder.transform(rows)).nnz == 0
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "coder").read_bytes()


def test_dictionaries_of_other_types_are_saved(tmp_path):
    for D in (np.eye(3).tolist(), np.eye(3, dtype=np.uint8), np.eye(6)[::2]):
        coder = SparseCoder(D, alpha=0.2)
        coder.save(tmp_path / "coder")
        X = np.linspace(-1, 1, 3 * np.shape(D)[1]).reshape(3, -1)
        loaded = aefast.load(tmp_path / "coder")
        assert loaded.transform(X).tobytes() == coder.transform(X).tobytes()
        assert loaded.atom_weights is None


def test_a_prediction_of_starts_is_not_saved(tmp_path):
    X, D = make_problem(10, 6, 9)
    coder = SparseCoder(D, alpha=0.2, init=SparseCoder(D, alpha=0.5))
    coder.save(tmp_path / "coder")
    loaded = aefast.load(tmp_path / "coder")
    assert loaded.init is None
    np.testing.assert_allclose(loaded.transform(X) @ D, coder.transform(X) @ D, atol=0.05)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"dictionary": np.zeros((2, 6))}, "atom 0 is zero"),
        ({"dictionary": np.full((2, 6), np.nan)}, "nan"),
        ({"atom_weights": -np.ones(9)}, "atom_weights"),
        ({"algorithm": "omp", "n_nonzero_coefs": 10}, "n_nonzero_coefs"),
        ({"algorithm": "omp", "positive": True}, "positive"),
        ({"dictionary": np.eye(5)}, "5 columns, but fit has met rows of 6"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_not_written(options, match, tmp_path):
    X, D = make_problem(10, 6, 9)
    coder = SparseCoder(D).fit(X).set_params(**options)
    with pytest.raises(ValueError, match=match):
        coder.save(tmp_path / "coder")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name, change, match",
    [
        ("dictionary", lambda D: 0 * D, "atom 0 is zero"),
        ("dictionary", lambda D: D * 1e-200, "atom 0 has norm"),
        ("atom_weights", lambda w: -w, "atom_weights must be positive"),
        ("atom_weights", lambda w: 0 * w, "atom_weights must be positive"),
    ],
)
def test_impossible_arrays_in_a_file(name, change, match, tmp_path):
    path = tmp_path / "coder"
    _, D = make_problem(10, 6, 9)
    SparseCoder(D, atom_weights=np.ones(9)).save(path)
    header, _ = unpack(path.read_bytes())
    tensors = read_tensors(path.read_bytes())
    changed = tensors | {name: change(tensors[name])}
    path.write_bytes(foreign_file(changed, header["__metadata__"]))
    assert_refused(path, match)


@pytest.mark.parametrize(
    "part, name, value, match",
    [
        ("parameters", "algorithm", "lars", "n_nonzero_coefs must be given"),
        ("parameters", "n_nonzero_coefs", 10, "n_nonzero_coefs"),
        ("parameters", "alpha", 0, "alpha"),
        ("parameters", "split_sign", 1.5, "split_sign"),
        ("parameters", "dictionary", 1, "unknown.*dictionary"),
        ("state", "has_atom_weights", True, "missing.*atom_weights"),
        ("state", "n_components", 8, "dictionary"),
    ],
)
def test_impossible_entries_in_a_file(part, name, value, match, tmp_path):
    path = tmp_path / "coder"
    _, D = make_problem(10, 6, 9)
    SparseCoder(D).save(path)
    with edited(path) as (_, metadata, _):
        metadata[part][name] = value
    assert_refused(path, match)


# ---- within scikit-learn ----


@functools.cache
def random_atoms(width):
    return np.random.default_rng(0).normal(size=(4, width))


class WideEnoughCoder(SparseCoder):
    """A SparseCoder with a random dictionary as wide as each table that a check makes up."""

    def fit(self, X, y=None):
        self._atoms = self._atoms_for(X)
        return super().fit(X, y)

    def transform(self, X):
        self._atoms = self._atoms if hasattr(self, "_atoms") else self._atoms_for(X)
        return super().transform(X)

    def _atoms_for(self, X):
        shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
        return random_atoms(shape[1] if len(shape) == 2 and shape[1] else 1)

    def _dictionary(self):
        return self._atoms


@parametrize_with_checks(
    [
        WideEnoughCoder(np.eye(4), alpha=0.1),
        WideEnoughCoder(np.eye(4), algorithm="lasso_lars"),
        WideEnoughCoder(np.eye(4), algorithm="lasso_cd", positive=True, atom_weights=[1, 2, 3, 4]),
        WideEnoughCoder(np.eye(4), algorithm="omp", n_nonzero_coefs=1),
        WideEnoughCoder(np.eye(4), algorithm="fista"),
        WideEnoughCoder(np.eye(4), algorithm="threshold", split_sign=True),
    ]
)
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it one check skips itself
    check(estimator)
