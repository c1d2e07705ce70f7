"""The imputer within scikit-learn and data frames, its refusals, and its file."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import aefast
from aefast import Imputer


@parametrize_with_checks(
    [
        Imputer(),
        Imputer("fa", add_indicator=True, n_draws=1),
        Imputer("autoencoder"),
        Imputer(keep_empty_features=True, missing_values=-1),
    ]
)
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it one check skips itself
    check(estimator)


@pytest.fixture
def X(known):
    return known(60).X


# ---- scikit-learn ----


def test_pipeline_and_search(X):
    y = np.arange(60) % 2
    pipeline = make_pipeline(Imputer(add_indicator=True), StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"imputer__method": ["ppca", "fa"]}, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_frames(X):
    columns = [f"c{j}" for j in range(6)]
    frame = pd.DataFrame(X, columns=columns, index=[f"row {i}" for i in range(60)])
    frame["c1"] = frame["c1"].astype("Float64")  # pandas' NA
    imputer = Imputer(add_indicator=True).set_output(transform="pandas").fit(frame)
    filled = imputer.transform(frame)
    assert isinstance(filled, pd.DataFrame) and filled.index.equals(frame.index)
    names = [*columns, *(f"missingindicator_{name}" for name in columns)]
    assert list(filled.columns) == names == list(imputer.get_feature_names_out())
    np.testing.assert_array_equal(filled[columns], Imputer().fit_transform(X))
    np.testing.assert_array_equal(filled[names[6:]], np.isnan(X))
    with pytest.raises(ValueError, match="feature names"):
        imputer.transform(frame[columns[::-1]])


def test_objects_with_numbers_are_numbers(X):
    frame = pd.DataFrame(X)
    frame[0] = [None if np.isnan(value) else value for value in X[:, 0]]
    frame[0] = frame[0].astype(object)
    np.testing.assert_array_equal(Imputer().fit_transform(frame), Imputer().fit_transform(X))


@pytest.mark.parametrize("options", [{}, {"keep_empty_features": True}, {"add_indicator": True}])
def test_columns_are_those_of_scikit_learn(options, X):
    X[:, 2] = np.nan
    X[:, 4] = np.nan_to_num(X[:, 4])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = Imputer(**options).fit(X)
        for theirs in (SimpleImputer(**options), IterativeImputer(max_iter=1, **options)):
            expected = theirs.fit_transform(X)
            filled = ours.transform(X)
            assert filled.shape == expected.shape
            np.testing.assert_array_equal(
                ours.get_feature_names_out(), theirs.get_feature_names_out()
            )
            if options.get("keep_empty_features"):
                np.testing.assert_array_equal(filled[:, 2], expected[:, 2])
            if options.get("add_indicator"):
                np.testing.assert_array_equal(filled[:, 5:], expected[:, 5:])


def test_empty_columns_are_named_in_a_warning(X):
    frame = pd.DataFrame(X, columns=list("abcdef"))
    frame["c"] = np.nan
    with pytest.warns(UserWarning, match="left out: 'c'"):
        imputer = Imputer(n_draws=2).fit(frame)
    assert list(imputer.get_feature_names_out()) == list("abdef")
    assert imputer.transform_std(frame).shape == imputer.sample(frame)[0].shape == (60, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = Imputer(keep_empty_features=True).fit(frame)
    assert (kept.transform(frame)[:, 2] == 0).all()
    assert np.isnan(kept.transform_std(frame)[:, 2]).all()
    frame["c"] = 3.0
    assert (kept.transform(frame)[:, 2] == 3).all() and (kept.transform_std(frame)[:, 2] == 0).all()


@pytest.mark.parametrize("value", [-1, -1.0, np.inf])
def test_a_number_stands_for_a_gap(value, X):
    marked = np.where(np.isnan(X), value, X)
    imputer = Imputer(missing_values=value).fit(marked)
    np.testing.assert_array_equal(imputer.transform(marked), Imputer().fit_transform(X))
    with pytest.raises(ValueError, match=r"contains NaN at row 0, column \d"):
        imputer.transform(np.where(np.arange(60)[:, None] == 0, np.nan, marked))


def test_types_of_gaps():
    X = np.array([[0, 1], [255, 3], [4, 255], [6, 7]], np.uint8)
    filled = Imputer(missing_values=255).fit_transform(X)
    assert filled.dtype == np.float32 and (filled[0] == [0, 1]).all() and (filled < 255).all()
    masked = np.ma.array(X.astype(float), mask=X == 255)
    np.testing.assert_allclose(Imputer().fit_transform(masked), filled, rtol=1e-6)
    na = Imputer(missing_values=pd.NA).fit(pd.DataFrame({"a": [1.0, pd.NA, 3], "b": [1, 2, 3]}))
    assert np.isfinite(na.transform(pd.DataFrame({"a": [pd.NA], "b": [2.0]}))).all()


# ---- small and degenerate tables ----


def test_constant_columns_keep_their_value(X):
    X[:, 1] = np.where(np.isnan(X[:, 1]), np.nan, 0.1)
    imputer = Imputer(n_draws=2).fit(X)
    assert (imputer.transform(X)[:, 1] == 0.1).all() and (imputer.sample(X)[:, :, 1] == 0.1).all()
    assert (imputer.transform_std(X)[:, 1] == 0).all()


def test_one_row_is_constant_columns():
    imputer = Imputer(keep_empty_features=True, n_draws=2).fit([[1.0, np.nan, 3.0]])
    assert imputer.n_components_ == 0
    new = [[np.nan, np.nan, 5.0]]
    np.testing.assert_array_equal(imputer.transform(new), [[1, 0, 5]])
    np.testing.assert_array_equal(imputer.sample(new), [[[1, 0, 5]], [[1, 0, 5]]])


@pytest.mark.parametrize("method", ["auto", "ppca", "fa", "autoencoder"])
def test_few_rows_and_columns(method):
    for shape in ((2, 3), (3, 2), (4, 6), (5, 2), (6, 1), (40, 1)):
        X = np.random.default_rng(0).normal(size=shape)
        X[0, 0] = np.nan
        imputer = Imputer(method, n_draws=2).fit(X)
        assert np.isfinite(imputer.transform(X)).all(), shape
        assert (imputer.transform_std(X)[np.isnan(X)] >= 0).all(), shape
        assert np.isfinite(imputer.sample(X)).all(), shape


def test_one_column_is_imputed_by_its_mean():
    X = np.random.default_rng(0).normal(5, 2, size=(50, 1))
    imputer = Imputer().fit(np.vstack([X, [[np.nan]]]))
    assert imputer.transform([[np.nan]])[0, 0] == pytest.approx(X.mean())
    assert imputer.transform_std([[np.nan]])[0, 0] == pytest.approx(X.std())


def test_no_gaps(known):
    complete = known(60).complete
    imputer = Imputer(add_indicator=True).fit(complete)
    np.testing.assert_array_equal(imputer.transform(complete), complete)
    assert not imputer.transform_std(complete).any()
    assert np.isfinite(imputer.transform(known(60).X)).all()  # gaps in new rows


def test_copies_of_columns_are_imputed_by_each_other(X):
    X[:, 1] = X[:, 0] * 3 - 1
    X[:30, 1] = np.nan
    filled = Imputer("ppca").fit_transform(X)
    both = ~np.isnan(X[:, 0])
    np.testing.assert_allclose(filled[both, 1], X[both, 0] * 3 - 1, rtol=1e-3)


def test_huge_and_tiny_numbers(X):
    expected = Imputer().fit_transform(X)
    for factor in (2.0**900, 2.0**-900):
        np.testing.assert_allclose(Imputer().fit_transform(X * factor) / factor, expected)


# ---- refusals ----


@pytest.mark.parametrize(
    "column, kind",
    [
        (pd.Categorical(list("ab") * 30), "category"),
        (list("ab") * 30, ""),
        (pd.date_range("2020", periods=60), "datetime64"),
        (pd.Series(["1", "2"] * 30, dtype=object), "object"),
    ],
    ids=["category", "text", "dates", "digits as text"],
)
def test_columns_that_are_not_numeric_are_named(column, kind, X):
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(town=column)
    match = rf"must have numeric columns, got 'town' \({kind}.*those of the fit were numeric"
    numeric = Imputer().fit(frame.drop(columns="town").assign(town=1.0))
    with pytest.raises(ValueError, match=match):
        numeric.transform(frame)


def test_infinite_entries_are_named(X):
    imputer = Imputer().fit(X)
    X[7, 3] = np.inf
    for call in (imputer.fit, imputer.transform, imputer.transform_std):
        with pytest.raises(ValueError, match=r"infinity \(inf\) at row 7, column 3"):
            call(X)


@pytest.mark.parametrize(
    "table, error, match",
    [
        (np.full((3, 2), np.nan), ValueError, "X has no observed entry"),
        (np.ones(3), ValueError, "2D array"),
        (np.ones((0, 3)), ValueError, "0 sample"),
        (sparse.csr_matrix(np.eye(3)), TypeError, "[Ss]parse"),
        ([["a", "b"]], ValueError, "table of numbers"),
    ],
    ids=["all gaps", "1-d", "no rows", "sparse", "text"],
)
def test_tables_that_cannot_be_fitted(table, error, match):
    with pytest.raises(error, match=match):
        Imputer().fit(table)


def test_rows_too_far_from_those_of_the_fit(X):
    tiny = Imputer().fit(X * 1e-300)
    with pytest.raises(ValueError, match=r"too far from those of the fit .* row 0, column \d"):
        tiny.transform(np.full((1, 6), 1e300))


def test_weights_are_checked(X):
    with pytest.raises(ValueError, match="all weights are zero"):
        Imputer().fit(X, sample_weight=np.zeros(60))
    with pytest.raises(ValueError, match="sample_weight must be finite and not negative"):
        Imputer().fit(X, sample_weight=-np.ones(60))


def test_draws_need_a_fit_with_draws(X):
    with pytest.raises(ValueError, match="sample needs a fit with n_draws of at least 1"):
        Imputer().fit(X).sample(X)


def test_a_failed_fit_leaves_the_model(X):
    imputer = Imputer().fit(X)
    before = imputer.transform(X)
    with pytest.raises(ValueError, match="infinity"):
        imputer.fit(pd.DataFrame(np.full((9, 4), np.inf), columns=list("abcd")))
    np.testing.assert_array_equal(imputer.transform(X), before)
    imputer.fit(pd.DataFrame(X, columns=list("abcdef")))
    assert not hasattr(imputer.fit(X), "feature_names_in_")


# ---- files ----


@pytest.mark.parametrize(
    "imputer",
    [
        Imputer(n_draws=2, add_indicator=True),
        Imputer("autoencoder", n_draws=2),
        Imputer("ppca", keep_empty_features=True, missing_values=-9),
        Imputer(missing_values=np.inf),
    ],
    ids=["auto", "autoencoder", "ppca", "infinity"],
)
def test_files_hold_the_imputer(imputer, X, tmp_path):
    X[:, 2], X[:, 3] = np.nan, 1.5
    X[np.isnan(X)] = imputer.missing_values
    frame = pd.DataFrame(X, columns=list("abcdef"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        imputer = clone(imputer).fit(frame)
    imputer.save(tmp_path / "imputer.safetensors")
    loaded = aefast.load(tmp_path / "imputer.safetensors")
    assert repr(loaded) == repr(imputer)
    for method in ("transform", "transform_std"):
        np.testing.assert_array_equal(
            getattr(loaded, method)(frame), getattr(imputer, method)(frame)
        )
    assert list(loaded.get_feature_names_out()) == list(imputer.get_feature_names_out())
    assert (loaded.method_, loaded.n_iter_) == (imputer.method_, imputer.n_iter_)
    if imputer.n_draws:
        np.testing.assert_array_equal(
            loaded.sample(frame, random_state=0), imputer.sample(frame, random_state=0)
        )


def test_a_file_with_networks_of_another_width_is_refused(X, tmp_path):
    from support.model_files import assert_refused, edited

    path = tmp_path / "imputer.safetensors"
    Imputer("autoencoder").fit(X).save(path)
    contents = path.read_bytes()
    for name, value in (("n_features", 7), ("n_components", 10**6), ("tied", 3)):
        path.write_bytes(contents)
        with edited(path) as (_, metadata, _):
            metadata["state"]["networks"][0]["state"]["model"][name] = value
        assert_refused(path)
    path.write_bytes(contents)
    with edited(path) as (_, metadata, _):
        metadata["state"]["networks"] = []
    assert_refused(path, "networks")
