"""Parameters by the names that other libraries give them.

A name whose meaning is the same is an alias: the parameter gets its value, by its own name. Any
other gets an error that says what it is here.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from numbers import Integral
from typing import Any, NamedTuple, Self, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Alias(NamedTuple):
    """Name elsewhere of a parameter that means the same here."""

    parameter: str
    # Values that are written differently here.
    values: Mapping[Any, Any] = {}

    def translated(self, value: Any) -> Any:
        """Return what a value elsewhere is here."""
        is_plain = value is None or isinstance(value, (str, Integral))
        return self.values.get(value, value) if is_plain else value


Names = Mapping[str, str | Alias]


def hints(names: Names) -> Callable[[_Function], _Function]:
    """Decorate a constructor or a function: it takes aliases, and other foreign names get a hint.

    Parameters
    ----------
    names : dict
        For each foreign name an `Alias`, or what it is called here, as the rest of a sentence "here
        it is ...": the message of a TypeError.
    """

    def decorate(function: _Function) -> _Function:
        is_constructor = function.__name__ == "__init__"

        @wraps(function)
        def call(*arguments: Any, **parameters: Any) -> Any:
            if not names.keys().isdisjoint(parameters):
                owner = type(arguments[0]).__name__ if is_constructor else function.__name__
                parameters = _in_own_names(owner, parameters, names, TypeError)
            return function(*arguments, **parameters)

        call.foreign_names = names  # type: ignore[attr-defined]  # for `ForeignNames`
        return call  # type: ignore[return-value]

    return decorate


def message(owner: str, name: str, names: Names) -> str:
    """Return the error for a foreign name of a parameter."""
    return f"{owner} has no parameter {name!r}: {names[name]}"


def _in_own_names(
    owner: str, parameters: dict[str, Any], names: Names, error: type[Exception]
) -> dict[str, Any]:
    """Return parameters by their own names; raises `error` for names that are no aliases."""
    own: dict[str, Any] = {}
    for name, value in parameters.items():
        alias = names.get(name)
        if isinstance(alias, str):
            raise error(message(owner, name, names))
        parameter = name if alias is None else alias.parameter
        if parameter in own:
            raise error(f"{owner} got {parameter} twice, once by another name")
        own[parameter] = value if alias is None else alias.translated(value)
    return own


class ForeignNames:
    """Mixin of estimators whose constructor `hints` decorates: `set_params` has the names too."""

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
        names: Names = getattr(type(self).__init__, "foreign_names", {})
        parent: Any = super()
        return parent.set_params(**_in_own_names(type(self).__name__, params, names, ValueError))
