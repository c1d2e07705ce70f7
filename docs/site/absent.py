"""Stand-ins for large libraries that signatures name and the reference does not call."""

import importlib.util
import sys
import types


def stand_in(*names):
    """Make modules that are not installed importable: each name in them is an empty class."""
    roots = {name.partition(".")[0] for name in names}
    absent = {root for root in roots if importlib.util.find_spec(root) is None}
    for name in names:
        if name.partition(".")[0] in absent:
            module = types.ModuleType(name)
            module.__path__ = []
            module.__getattr__ = empty_class
            sys.modules[name] = module
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)


def empty_class(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {"__init__": lambda self, *arguments: None})
