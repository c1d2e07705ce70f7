"""Checks of a network's parameters by the constraints of its class, remembered for valid ones."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sklearn.utils._param_validation import validate_parameter_constraints

from aefast._base import scalars
from aefast._base.checkpoints import interval_of
from aefast._base.progress import check_callbacks
from aefast.networks.precision import check_available

# parameters that differ from fit to fit, or that a cache should not keep alive
CHECKED_EACH_TIME = ("random_state", "callbacks", "verbose")
UNCACHED_BY_VALUE = (*CHECKED_EACH_TIME, "output")  # whose numbers and texts are checked apart


def check_parameters(estimator: Any) -> None:
    """Raise ValueError or TypeError for the first parameter that is not valid by itself.

    Parameters are read as get_params does, without an inspection of the signature, and valid ones
    are cached: scikit-learn's checks alone took a fifth of a small fit.
    """
    cls: Any = type(estimator)  # Any: mypy finds no __hash__ in a class
    constraints = cls._parameter_constraints
    given = {name: getattr(estimator, name) for name in constraints}
    # variants in tuples are checked for their numbers alone; an output names its own
    checked = [
        name
        for name, rule in constraints.items()
        if rule != "no_validation" or (type(given[name]) is tuple and name != "output")
    ]
    one_by_one: Sequence[str] = [name for name in CHECKED_EACH_TIME if name in given]
    try:
        _check_constraints_once(
            cls,
            tuple([(n, type(given[n]), given[n]) for n in checked if n not in one_by_one]),
        )
    except (TypeError, RecursionError):  # a value cannot be hashed
        one_by_one = checked
    values = {n: given[n] for n in one_by_one}
    if one_by_one is checked:
        scalars.check_representable_parameters(values, constraints)
    for name in UNCACHED_BY_VALUE:
        scalars.check_representable(getattr(estimator, name), name)
    validate_parameter_constraints(constraints, values, cls.__name__)
    check_available(estimator.precision)
    check_callbacks(estimator.callbacks)
    interval_of(estimator.checkpoint_every)


@lru_cache(maxsize=256)
def _check_constraints_once(estimator_class, given):
    """Check parameters by scikit-learn's constraints; valid ones are remembered.

    `given` has (name, type, value) of each parameter. The type distinguishes 1, True and 1.0.
    """
    values = {name: value for name, _, value in given}
    constraints = {name: estimator_class._parameter_constraints[name] for name in values}
    scalars.check_representable_parameters(values, constraints)
    validate_parameter_constraints(constraints, values, estimator_class.__name__)
