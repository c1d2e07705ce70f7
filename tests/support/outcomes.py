"""What a call may end with: finite results, or a refusal that is documented."""

import os
import warnings

import numpy as np
from hypothesis import HealthCheck, Phase, event, settings
from scipy import sparse

# FloatingPointError is the documented end of training that diverges and of results that overflow.
REFUSALS = (ValueError, TypeError, FloatingPointError)
# A log p may be -inf where that is its value.
LOG_PROBABILITIES = {"score_samples", "score"}
# Methods whose results have NaN where an entry is missing or unseen, or its column is left out.
WITH_GAPS = {
    "TableEncoder": {"transform", "fit_transform", "inverse_transform"},
    "TableAutoencoder": {"inverse_transform", "reconstruct", "impute"},
}

# Settings of the short run, the same in every run, and of the long one.
SHORT = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}
LONG = settings(
    max_examples=int(os.environ.get("AEFAST_FUZZ_EXAMPLES", "3000")),
    deadline=None,
    print_blob=True,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Refused:
    """The outcome of a call that ended with one of REFUSALS."""

    def __init__(self, error):
        self.error = error


def numbers_of(result):
    """Yield the arrays and numbers in a result."""
    if isinstance(result, np.ndarray | np.generic | float | int):
        yield np.asarray(result)
    elif sparse.issparse(result):
        yield result.data
    elif isinstance(result, dict):
        for value in result.values():
            yield from numbers_of(value)
    elif isinstance(result, tuple | list):
        for value in result:
            yield from numbers_of(value)
    elif hasattr(result, "to_numpy"):
        yield result.to_numpy()


def assert_finite(result, name, *, gaps=False):
    """Assert that each number of a result is finite, or a log p of -inf; or NaN with `gaps`."""
    for array in numbers_of(result):
        if array.dtype.kind != "f":
            continue
        good = np.isfinite(array)
        if name in LOG_PROBABILITIES:
            good |= array == -np.inf
        if gaps:
            good |= np.isnan(array)
        assert good.all(), f"{name} returned {array} without an error"


def assert_is_refusal(error, name):
    """Assert that an error says what is wrong in our words, not in those of a library within."""
    assert not isinstance(error, np.linalg.LinAlgError), f"{name}: {error!r}"
    assert str(error), f"{name}: {error!r} says nothing"


def assert_known_warnings(caught, name):
    """Assert that no arithmetic of ours warned: warnings that we mean name the caller's line."""
    for warning in caught:
        if issubclass(warning.category, RuntimeWarning | DeprecationWarning):
            assert os.sep + "tests" + os.sep in warning.filename, f"{name}: {warning}"


def outcome_of(call, name, *arguments, **options):
    """Make a call, assert that it ends well, and return its result or `Refused`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call(*arguments, **options)
        except REFUSALS as error:
            assert_is_refusal(error, name)
            event(f"{name}: {type(error).__name__}")
            return Refused(error)
    assert_known_warnings(caught, name)
    of = type(getattr(call, "__self__", None)).__name__
    assert_finite(result, name, gaps=name in WITH_GAPS.get(of, ()))
    event(f"{name}: result")
    return result
