"""pyarrow, which only some files need: imported when they come."""

import contextlib
import importlib
from typing import Any


def arrow(what: str, module: str = "pyarrow") -> Any:
    """Return pyarrow or a module of it; ImportError that says `what` needs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{what}: needs pyarrow: pip install 'aefast[io]'") from error


def has_arrow() -> bool:
    """Return whether pyarrow is installed."""
    with contextlib.suppress(ImportError):
        arrow("")
        return True
    return False
