"""Errors and warnings name a DataFrame's column by its name, an array's by its number."""

import numpy as np
import pytest

import aefast
from aefast import (
    Autoencoder,
    AutoencoderEnsemble,
    DictionaryLearning,
    FactorAnalysis,
    ItemAutoencoder,
    MarginalizedAutoencoder,
    MixtureOfFactorAnalyzers,
    ProbabilisticPCA,
    SparseCoder,
    StackedAutoencoder,
    SufficientStatistics,
    Whitening,
    sparse_encode,
)
from aefast._base.errors import TableName, column_label, column_labels, table_name
from aefast.distributions import Distribution

pandas = pytest.importorskip("pandas")

NAMES = ["age", "delay", "price", "it's"]
QUICK = {"max_epochs": 1, "random_state": 0}


def frame(change=None, names=NAMES):
    """Rows in (0, 1); `change` is (row, column, value)."""
    X = np.random.default_rng(0).random((40, 4))
    if change is not None:
        X[change[0], change[1]] = change[2]
    return X if names is None else pandas.DataFrame(X, columns=names)


class Half(Distribution):
    """A user's distribution that refuses entries above a half."""

    def mean(self, eta):
        return eta

    link = mean

    def loss(self, eta, x):
        return (x - eta) ** 2, 2 * (eta - x)

    def sample(self, eta, random):
        return eta

    def check(self, x):
        if (x > 0.5).any():
            raise ValueError("too large")


def clipped():
    """A frame with entries of at most a half but for one."""
    X = frame().clip(upper=0.5)
    X.iloc[7, 1] = 0.75
    return X


def learner():
    return DictionaryLearning(3, batch_size=8, **QUICK)


MODELS = {
    "Autoencoder": lambda: Autoencoder(2, **QUICK),
    "StackedAutoencoder": lambda: StackedAutoencoder((3, 2), **QUICK),
    "AutoencoderEnsemble": lambda: AutoencoderEnsemble(2, n_components=2, **QUICK),
    "FactorAnalysis": lambda: FactorAnalysis(1),
    "ProbabilisticPCA": lambda: ProbabilisticPCA(1),
    "MixtureOfFactorAnalyzers": lambda: MixtureOfFactorAnalyzers(1, 1),
    "krylov": lambda: ProbabilisticPCA(1, svd_solver="krylov"),
    "Whitening": lambda: Whitening(),
    "MarginalizedAutoencoder": lambda: MarginalizedAutoencoder(),
    "ItemAutoencoder": lambda: ItemAutoencoder(),
    "low rank": lambda: ItemAutoencoder(n_components=2, max_iter=1),
    "DictionaryLearning": learner,
    "SparseCoder": lambda: SparseCoder(np.eye(4)),
}
INFINITE = (7, 1, np.inf)


@pytest.mark.parametrize("names, column", [(NAMES, "'delay'"), (None, "1")], ids=["frame", "array"])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_fit_names_the_column(make, names, column):
    with pytest.raises(ValueError, match=f"row 7, column {column}"):
        make().fit(frame(INFINITE, names))


METHODS = {
    "Autoencoder": [
        "partial_fit",
        "transform",
        "reconstruct",
        "score_samples",
        "reconstruction_error",
        "walk_back",
    ],
    "StackedAutoencoder": ["transform", "reconstruct", "score_samples", "partial_fit"],
    "AutoencoderEnsemble": ["transform", "reconstruct", "score_samples", "reconstruction_error"],
    "FactorAnalysis": [
        "partial_fit",
        "transform",
        "posterior",
        "score_samples",
        "reconstruct",
    ],
    "ProbabilisticPCA": ["partial_fit", "transform", "score_samples"],
    "MixtureOfFactorAnalyzers": ["transform", "score_samples", "predict", "impute"],
    "Whitening": ["partial_fit", "transform"],
    "MarginalizedAutoencoder": ["partial_fit", "transform", "reconstruct"],
    "ItemAutoencoder": ["partial_fit", "transform"],
    "DictionaryLearning": ["partial_fit", "transform", "score", "accumulate"],
    "SparseCoder": ["transform", "duality_gap"],
}
PAIRS = [(model, method) for model, methods in METHODS.items() for method in methods]


@pytest.mark.parametrize("model, method", PAIRS, ids=[f"{m}.{f}" for m, f in PAIRS])
def test_methods_of_fitted_estimators_name_the_column(model, method):
    fitted = MODELS[model]().fit(frame())
    change = (7, 1, np.nan if method == "partial_fit" else np.inf)
    with pytest.raises(ValueError, match="row 7, column 'delay'"):
        getattr(fitted, method)(frame(change))


def test_functions_and_statistics_name_the_column():
    bad = frame(INFINITE)
    with pytest.raises(ValueError, match="row 7, column 'delay'"):
        SufficientStatistics(4).update(bad)
    with pytest.raises(ValueError, match="row 7, column 'delay'"):
        sparse_encode(bad, np.eye(4))
    with pytest.raises(ValueError, match="atom 1, column 'price'"):
        sparse_encode(frame(), frame((1, 2, np.nan)))
    with pytest.raises(ValueError, match="row 7, column 'delay'"):
        ItemAutoencoder().fit(frame()).recommend(bad, 1)


def test_what_a_distribution_expects_names_the_column():
    mixed = [("gaussian", "age"), ("bernoulli", ["delay", "price", "it's"])]
    with pytest.raises(ValueError, match=r"'bernoulli' expects .* at row 5, column 'price'"):
        Autoencoder(2, output=mixed, **QUICK).fit(frame((5, 2, 1.5)))
    with pytest.raises(ValueError, match=r"columns \['delay', 'price', \"it's\"\]\.\.\. .*row 0"):
        groups = [("gaussian", "age"), ("categorical", ["delay", "price", "it's"])]
        Autoencoder(2, output=groups, **QUICK).fit(frame())
    with pytest.raises(ValueError, match="'Half' refuses X at row 7, column 'delay'"):
        Autoencoder(2, output=Half(), **QUICK).fit(clipped())


def test_what_output_says_of_columns():
    twice = [("gaussian", ["age", "delay"]), ("poisson", [1, 2, 3])]
    with pytest.raises(ValueError, match="names column 'delay' twice"):
        Autoencoder(2, output=twice, **QUICK).fit(frame())
    with pytest.raises(
        ValueError, match=r"no distribution for column\(s\) \['price', \"it's\"\] of 4"
    ):
        Autoencoder(2, output=[("gaussian", ["age", "delay"])], **QUICK).fit(frame())


def test_divergence_and_overflow_name_the_column():
    X = frame().astype(np.float32)
    X["price"] *= np.float32(1e25)
    with pytest.raises(FloatingPointError, match="the loss of column 'price' of X"):
        Autoencoder(2, init="glorot", **QUICK).fit(X)
    fitted = Autoencoder(2, init="glorot", **QUICK).fit(frame().astype(np.float32))
    with pytest.raises(FloatingPointError, match="in column 'price' though X"):
        fitted.reconstruction_error(X, per_feature=True)


def test_codes_are_not_called_by_the_names_of_columns():
    """The columns of codes are units, of which there may be as many as columns."""
    X = frame().astype(np.float32)
    fitted = Autoencoder(4, activation="linear", init="glorot", **QUICK).fit(X)
    sums = np.abs(fitted.components_).sum(axis=1, dtype=np.float64)
    largest = sums.argmax()  # the only unit that overflows
    size = 1.001 * float(np.finfo(np.float32).max) / sums[largest]
    row = (size * np.sign(fitted.components_[[largest]])).astype(np.float32)
    with pytest.raises(FloatingPointError, match=rf"in column {largest} though X"):
        fitted.transform(pandas.DataFrame(row, columns=NAMES))


def test_missing_entries_name_the_column():
    X = frame()
    X["price"] = np.nan
    for model in (FactorAnalysis(1), ProbabilisticPCA(1)):
        with pytest.raises(ValueError, match="column 'price' of X has no observed entry"):
            model.fit(X)
    X = frame()
    X.loc[X.index % 5 != 0, "price"] = np.nan
    with pytest.raises(ValueError, match="column 'price' of X is observed in too few rows"):
        ProbabilisticPCA("cv").fit(X)
    X = frame(INFINITE)
    X.iloc[3, 0] = np.nan
    with pytest.raises(ValueError, match=r"infinity .* at row 7, column 'delay'"):
        FactorAnalysis(1).fit(X)


def test_rows_are_numbered_in_the_users_table_in_cross_validation_too():
    with pytest.raises(ValueError, match="row 7, column 'delay'"):
        ProbabilisticPCA("cv").fit(frame(INFINITE))
    X = frame(INFINITE)
    X.iloc[3, 0] = np.nan
    with pytest.raises(ValueError, match="row 7, column 'delay'"):
        ProbabilisticPCA("cv").fit(X)


def test_a_heywood_case_names_the_columns():
    X = frame()
    X["delay"] = X["age"]
    with pytest.warns(match=r"Heywood case: the noise variance of column\(s\) 'age', 'delay' is"):
        FactorAnalysis(1).fit(X)


def test_names_that_are_no_strings_are_numbers():
    with pytest.raises(ValueError, match="row 7, column 1"):
        Whitening().fit(frame(INFINITE, [10, 11, 12, 13]))
    with pytest.raises(ValueError, match="row 7, column 1"):
        SufficientStatistics(4).update(frame(INFINITE, ["a", 1, "b", 2]))


def test_a_table_name_is_a_string_with_columns():
    name = TableName("X", NAMES)
    assert name == "X" and f"{name}" == "X"
    assert column_label(name, 1) == "'delay'" and column_label("X", np.int64(1)) == "1"
    assert column_labels(name, [0, 3]) == "'age', \"it's\""
    assert table_name(np.eye(2)).columns is None
    fitted = Whitening().fit(frame())
    assert list(table_name(frame(names=None), fitted).columns) == NAMES
    assert aefast.SufficientStatistics(4).update(frame()).n_samples_ == 40
