"""The stubs of the compiled modules have their names and parameters."""

import ast
import importlib
import inspect
import types
from pathlib import Path

import pytest

import aefast

PACKAGE = Path(aefast.__file__).parent
STUBS = sorted(PACKAGE.rglob("*.pyi"))
# names without an underscore that nothing outside the module uses
INTERNAL = {"OutputSegments", "CustomOutputs", "lru_cache", "output_segments", "PENALTY_NAMES"}


def test_every_compiled_module_has_a_stub():
    root = PACKAGE.parents[0] / "src" / "bindings"
    assert {stub.stem for stub in STUBS} >= {source.stem for source in root.glob("*.pyx")}
    assert STUBS


def parameters_in_stub(function):
    arguments = function.args
    return [argument.arg for argument in arguments.args + arguments.kwonlyargs]


def is_private(name):
    """Whether a name is left out: special methods, as those of contexts, are private too."""
    return name.startswith("_") and name != "__init__"


def names_in_stub(body):
    """Public name: None of a value, the parameters of a function, a dict of a class."""
    names = {}
    for node in body:
        if isinstance(node, ast.AnnAssign):
            names[node.target.id] = None
        elif isinstance(node, ast.FunctionDef) and not is_private(node.name):
            names[node.name] = None if node.decorator_list else parameters_in_stub(node)
        elif isinstance(node, ast.ClassDef):
            names[node.name] = names_in_stub(node.body)
    return names


def names_in_module(value):
    names = {}
    for name, item in vars(value).items():
        if is_private(name) or name in INTERNAL or isinstance(item, types.ModuleType):
            continue
        if isinstance(item, type):
            names[name] = names_in_module(item)
        elif callable(item):
            names[name] = list(inspect.signature(item).parameters)
        else:
            names[name] = None
    return names


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.stem)
def test_stub_and_module_agree(stub):
    name = ".".join(stub.relative_to(PACKAGE.parent).with_suffix("").parts)
    written = names_in_stub(ast.parse(stub.read_text(encoding="utf-8")).body)
    actual = names_in_module(importlib.import_module(name))
    for cls, members in actual.items():
        if isinstance(members, dict) and members.get("__init__") is not None:
            members["__init__"] = written[cls]["__init__"]  # C slots carry no signature
    assert actual == written
