"""Methods of estimators that turn them into the forms of other libraries.

The forms are built in `aefast.interop`, above the families; they are found by name when a method is
called, so that no estimator imports them, or the libraries that they need.
"""

from importlib import import_module
from typing import Any


def interop(name: str) -> Any:
    """Return the module of `aefast.interop` of this name.

    Raises ImportError, with the name of the package to install, where its library is absent.
    """
    try:
        return import_module(f"aefast.interop.{name}")
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in ("", "aefast"):
            raise
        raise ImportError(
            f"this needs the package {library!r}, which is not installed: pip install {library}",
            name=library,
        ) from error
