"""Errors for constructor parameters by the names that other libraries give them."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Self, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


def hints(names: Mapping[str, str]) -> Callable[[_Function], _Function]:
    """Decorate a constructor: a TypeError for one of these names says what it is here.

    Parameters
    ----------
    names : dict of str
        What each foreign name is called here, as the rest of a sentence "here it is ...".
    """

    def decorate(constructor: _Function) -> _Function:
        @wraps(constructor)
        def construct(self: Any, *arguments: Any, **parameters: Any) -> None:
            for name in parameters:
                if name in names:
                    raise TypeError(message(type(self).__name__, name, names))
            constructor(self, *arguments, **parameters)

        construct.foreign_names = names  # type: ignore[attr-defined]  # for `ForeignNames`
        return construct  # type: ignore[return-value]

    return decorate


def message(estimator: str, name: str, names: Mapping[str, str]) -> str:
    """Return the error for a foreign name of a parameter."""
    return f"{estimator} has no parameter {name!r}: {names[name]}"


class ForeignNames:
    """Mixin of estimators whose constructor `hints` decorates: `set_params` has the hints too."""

    def set_params(self, **params: Any) -> Self:
        """Set parameters, as scikit-learn's estimators do.

        Parameters
        ----------
        **params : dict
            Parameters by their names.

        Raises
        ------
        ValueError
            For names that are no parameters. For those of other libraries, the error says what
            they are here.
        """
        names: Mapping[str, str] = getattr(type(self).__init__, "foreign_names", {})
        for name in params:
            if name in names:
                raise ValueError(message(type(self).__name__, name, names))
        parent: Any = super()
        return parent.set_params(**params)
