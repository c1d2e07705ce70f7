"""The base imports no family, no family another one, and nothing goes in circles."""

import pytest
from support.dependencies import (
    C_LAYERS,
    FAMILIES,
    KERNEL_FAMILIES,
    PYTHON_LAYERS,
    c_component,
    c_imports,
    circles,
    faults,
    imported_by,
    included_by,
    python_component,
    python_imports,
)
from support.helpers import run_python


@pytest.fixture(scope="module")
def python():
    return python_imports()


@pytest.fixture(scope="module")
def c():
    return c_imports()


def with_line(imports, importer, name):
    """The mapping with one import more, between files that are there."""
    assert importer in imports and name in imports and name not in imports[importer]
    return imports | {importer: imports[importer] | {name}}


def test_python_modules_import_downwards(python):
    assert faults(python, python_component, PYTHON_LAYERS) == []


def test_headers_and_bindings_include_downwards(c):
    assert faults(c, c_component, C_LAYERS) == []


def test_everything_was_read(python, c):
    """Every family is read, compiled modules too, and imports that stand inside functions."""
    assert {python_component(module) for module in python} >= {
        "_base",
        "cli",
        "plotting",
        *FAMILIES,
    }
    assert "aefast._base._runtime" in python["aefast._base._rows"]
    assert "aefast._base.files" in python["aefast._base.saving"]  # inside a function
    assert {c_component(file) for file in c} >= {f"kernels/{family}" for family in KERNEL_FAMILIES}
    assert "kernels/products/rows.h" in c["kernels/products/scan.c"]
    assert "kernels/products/scan.h" in c["bindings/_rows.pyx"]


@pytest.mark.parametrize(
    "importer, name",
    [
        ("aefast._base.arrays", "aefast.networks.scan"),
        ("aefast._base.arrays", "aefast.networks._autoencoder"),
        ("aefast._base._rows", "aefast.networks._autoencoder"),
        ("aefast._base.moments", "aefast.linear.gaussian"),
        ("aefast._base.saving", "aefast.model_file"),
        ("aefast._base.arrays", "aefast"),
        ("aefast.networks.scan", "aefast.linear.rotation"),
        ("aefast.linear.gaussian", "aefast.networks.one_pass"),
        ("aefast.sparse_coding.coding", "aefast.networks._autoencoder"),
        ("aefast.sparse_coding.learner", "aefast.linear.patterns"),
        ("aefast.networks.outputs", "aefast.distributions"),
        ("aefast.networks.one_pass", "aefast.ops"),
        ("aefast.linear.whitening", "aefast.plotting.factors"),
        ("aefast.ops", "aefast.plotting.networks"),
        ("aefast.model_file", "aefast.cli.common"),
        ("aefast.plotting.atoms", "aefast.cli.common"),
    ],
)
def test_one_import_against_the_layers_is_found(python, importer, name):
    found = faults(with_line(python, importer, name), python_component, PYTHON_LAYERS)
    assert f"{importer} must not import {name}" in found


@pytest.mark.parametrize(
    "importer, name",
    [
        ("kernels/base/workspace.h", "kernels/autoencoder/autoencoder.h"),
        ("kernels/base/vec.h", "kernels/products/product.h"),
        ("kernels/products/rows.h", "kernels/statistics/statistics.h"),
        ("kernels/statistics/statistics.h", "kernels/autoencoder/autoencoder.h"),
        ("kernels/sparse_coding/sparse_coding.h", "kernels/statistics/projection.h"),
        ("kernels/sparse_coding/sparse_coding.h", "kernels/autoencoder/autoencoder.h"),
        ("kernels/autoencoder/autoencoder.h", "kernels/sparse_coding/basis.h"),
        ("runtime/peak.h", "kernels/products/product.h"),
        ("kernels/base/parallel.h", "runtime/peak.h"),
        ("bindings/_arrays.pxd", "kernels/autoencoder/autoencoder.h"),
        ("bindings/_rows.pyx", "kernels/autoencoder/autoencoder.h"),
        ("bindings/_sparse_coding.pyx", "bindings/_autoencoder_kernels.pxd"),
        ("bindings/_statistics.pyx", "kernels/sparse_coding/sparse_coding.h"),
    ],
)
def test_one_include_against_the_layers_is_found(c, importer, name):
    found = faults(with_line(c, importer, name), c_component, C_LAYERS)
    assert f"{importer} must not import {name}" in found


@pytest.mark.parametrize(
    "importer, name",
    [
        ("aefast._base.errors", "aefast._base.arrays"),
        ("aefast._base.files", "aefast._base.saving"),
        ("aefast.networks.distribution", "aefast.networks.outputs"),
        ("aefast.sparse_coding.coding", "aefast.sparse_coding"),
    ],
)
def test_one_import_that_closes_a_circle_is_found(python, importer, name):
    found = circles(with_line(python, importer, name))
    assert any(importer in circle and name in circle for circle in found)


def test_one_include_that_closes_a_circle_is_found(c):
    pair = ["kernels/products/packing.h", "kernels/products/rows.h"]
    [circle] = circles(with_line(c, *pair))
    assert circle[0] == circle[-1] and sorted(circle[:-1]) == pair


def test_a_new_folder_has_to_be_given_a_layer(python):
    found = faults(
        python | {"aefast.networks_of_mine.a": set()},
        lambda module: "mine" if "of_mine" in module else python_component(module),
        PYTHON_LAYERS,
    )
    assert found == ["aefast.networks_of_mine.a belongs to no layer: say where it stands"]


@pytest.mark.parametrize(
    "source, expected",
    [
        ("import numpy, aefast.a.b", {"aefast.a.b"}),
        ("from aefast.a import b", {"aefast.a.b"}),
        ("from aefast.a import B", {"aefast.a"}),
        ("from aefast.a.b import f as g", {"aefast.a.b"}),
        ("def f():\n    if f:\n        from aefast.a import b", {"aefast.a.b"}),
        ("try:\n    import aefast\nexcept ImportError:\n    pass", {"aefast"}),
        ("if TYPE_CHECKING:\n    import aefast.a\nelse:\n    import aefast.a.b", {"aefast.a.b"}),
    ],
)
def test_imports_are_read_wherever_they_stand(source, expected):
    assert imported_by(source, {"aefast", "aefast.a", "aefast.a.b"}) == expected


def test_includes_are_read_in_c_and_in_cython():
    c_text = '#include <math.h>\n#  include "kernels/base/vec.h"\n'
    assert included_by(c_text) == {"kernels/base/vec.h"}
    cython = 'from _arrays cimport data_of\ncdef extern from "runtime/peak.h":\ninclude "_x.pxi"\n'
    assert included_by(cython) == {"bindings/_arrays.pxd", "runtime/peak.h", "bindings/_x.pxi"}


@pytest.mark.parametrize(
    "statement, wanted",
    [
        ("import aefast.statistics", "_base"),
        (
            "from aefast import FactorAnalysis, ProbabilisticPCA, Whitening, ItemAutoencoder",
            "linear",
        ),
        ("from aefast import DictionaryLearning, SparseCoder", "sparse_coding"),
        ("import aefast.ops, aefast.distributions", "networks"),
        ("from aefast import Autoencoder, StackedAutoencoder", "networks"),
    ],
)
def test_a_family_loads_no_other_one(statement, wanted):
    done = run_python(f"import sys; {statement}; print(*sys.modules)")
    loaded = {name.split(".")[1] for name in done.stdout.split() if name.startswith("aefast.")}
    assert loaded & set(FAMILIES) == {wanted} & set(FAMILIES), done.stderr
