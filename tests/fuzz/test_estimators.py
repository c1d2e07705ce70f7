"""Any call of an estimator ends with finite numbers or a refusal, and leaves it usable."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.helpers import targets_of
from support.hostile_arrays import broken_csr, tables, weights
from support.hostile_parameters import PARAMETERS, estimators
from support.outcomes import LONG, SHORT, Refused, assert_finite, outcome_of

import aefast

N_FEATURES = 5
NAMES = sorted(PARAMETERS)
OF_ROWS = [
    *("transform", "reconstruct", "reconstruction_error", "score_samples", "score", "impute"),
    *(
        "walk_back",
        "mahalanobis",
        "posterior",
        "aic",
        "bic",
        "recommend",
        "duality_gap",
        "transform_std",
        "decision_function",
        "p_values",
    ),
]
OF_CODES = ["inverse_transform", "sample_output"]
OF_FITS = ["fit", "partial_fit", "fit_transform", "accumulate"]
WEIGHTED = {"Autoencoder", "StackedAutoencoder", "ProbabilisticPCA", "FactorAnalysis"} | {
    *("MixtureOfFactorAnalyzers", "MixtureOfProbabilisticPCA"),
    *("MarginalizedAutoencoder", "ItemAutoencoder", "Whitening", "Imputer", "AnomalyDetector"),
    *("AutoencoderClassifier", "AutoencoderRegressor"),
}
SUPERVISED = {"AutoencoderClassifier", "AutoencoderRegressor"}


@pytest.fixture(autouse=True, scope="module")
def _elsewhere(tmp_path_factory):
    """Any text names a checkpoint in the current folder."""
    with pytest.MonkeyPatch.context() as context:
        context.chdir(tmp_path_factory.mktemp("checkpoints"))
        yield


@functools.cache
def good_rows():
    """Rows that most distributions and all estimators take, read-only."""
    X = np.eye(N_FEATURES)[np.random.default_rng(0).integers(0, N_FEATURES, 24)]
    X.flags.writeable = False
    return X


def methods_of(estimator, names):
    return [name for name in names if hasattr(estimator, name)]


def fit_well(estimator, name):
    """Fit an estimator to good rows, and to good targets where it needs some."""
    targets = {"y": targets_of(good_rows())} if name in SUPERVISED else {}
    return outcome_of(estimator.fit, "fit", good_rows(), **targets)


@st.composite
def targets(draw, X):
    """Targets of rows: good ones, with gaps, too few of them, or none at all."""
    y = targets_of(X) if getattr(X, "ndim", 0) == 2 else np.arange(3)
    kinds = [y, np.where(y == 0, -1, y), np.where(y == 0, np.nan, y), y[:-1], y * 1e30]
    kinds += [y.astype(str), np.where(y == 0, None, y), np.where(y == 0, np.inf, y)]
    kinds += [y[:, np.newaxis], None]
    return kinds[draw(st.integers(0, len(kinds) - 1))]


def fit_somehow(data, estimator, name, method):
    """Call one of the methods that learn, with anything for X and for sample_weight."""
    X = data.draw(tables(N_FEATURES))
    options = {}
    if name in WEIGHTED and method != "fit_transform":
        n_rows = X.shape[0] if getattr(X, "ndim", 0) == 2 else 3
        options["sample_weight"] = data.draw(weights(n_rows))
    if name in SUPERVISED:
        options["y"] = data.draw(targets(X))
    return outcome_of(getattr(estimator, method), method, X, **options)


def assert_finite_state(estimator):
    for name, value in vars(estimator).items():
        if name == "cv_results_":  # has the score -inf where a candidate diverged
            continue
        if name.endswith("_") and not name.startswith("_"):
            assert_finite(value, name)


def result_of(estimator):
    """Return the method that every use of an estimator comes down to, and its name."""
    name = "transform" if hasattr(estimator, "transform") else "score_samples"
    return getattr(estimator, name), name


def assert_usable(estimator):
    """Assert that good rows give finite codes, or an error in our words, whatever came before."""
    outcome_of(*result_of(estimator), good_rows())


def check_learning(data, name):
    estimator = data.draw(estimators(name))
    for method in data.draw(
        st.lists(st.sampled_from(methods_of(estimator, OF_FITS)), min_size=1, max_size=3)
    ):
        fit_somehow(data, estimator, name, method)
        assert_finite_state(estimator)
    assert_usable(estimator)


def check_fitted(data, name):
    """A fitted model that meets anything stays as it was."""
    estimator = data.draw(estimators(name))
    if isinstance(fit_well(estimator, name), Refused):
        return
    codes = outcome_of(*result_of(estimator), good_rows())
    if isinstance(codes, Refused):
        return
    methods = methods_of(estimator, [*OF_ROWS, *OF_CODES, *OF_FITS[:2]])
    if name == "AutoencoderRegressor":
        methods.remove("score")  # scikit-learn's R2 of one row is NaN
    for method in data.draw(st.lists(st.sampled_from(methods), min_size=1, max_size=4)):
        if method in OF_FITS:
            result = fit_somehow(data, estimator, name, method)
            if not isinstance(result, Refused) or isinstance(result.error, FloatingPointError):
                return  # another model, or the last finite one
        else:
            width = codes.shape[1] if method in OF_CODES else N_FEATURES
            rows = data.draw(tables(width))
            y = {"y": data.draw(targets(rows))} if name in SUPERVISED and method == "score" else {}
            outcome_of(getattr(estimator, method), method, rows, **y)
        after = result_of(estimator)[0](good_rows())
        assert type(after) is type(codes), method
        difference = after != codes
        assert not np.any(difference.data if hasattr(difference, "nnz") else difference), method


def check_broken_csr(data, name):
    """A broken CSR matrix is refused, or has a sum that its entries have."""
    estimator = data.draw(estimators(name))
    fault, X = data.draw(broken_csr(N_FEATURES))
    method = data.draw(st.sampled_from(methods_of(estimator, [*OF_FITS, *OF_ROWS])))
    if method in OF_ROWS and isinstance(fit_well(estimator, name), Refused):
        return
    needs_y = name in SUPERVISED and method in ("score", *OF_FITS)
    result = outcome_of(
        getattr(estimator, method), method, X, **({"y": targets_of(X)} if needs_y else {})
    )
    if fault in {"column too large", "column huge", "column negative", "end past the entries"}:
        assert isinstance(result, Refused), f"{method} took {fault}"
    if fault in {"NaN", "infinity"} and name != "FactorAnalysis":
        assert isinstance(result, Refused), f"{method} took {fault}"


CHECKS = {"learning": check_learning, "fitted": check_fitted, "csr": check_broken_csr}
every_property = pytest.mark.parametrize("prop", CHECKS.values(), ids=CHECKS)


@pytest.mark.parametrize("name", NAMES)
@every_property
@settings(max_examples=5, **SHORT)
@given(data=st.data())
def test_any_call_ends_well(prop, name, data):
    prop(data, name)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", NAMES)
@every_property
@LONG
@given(data=st.data())
def test_any_call_ends_well_long(prop, name, data):
    prop(data, name)


def test_every_estimator_has_parameters():
    """A new estimator is fuzzed too."""
    classes = {name for name in aefast.__all__ if hasattr(getattr(aefast, name), "get_params")}
    assert set(NAMES) == classes
