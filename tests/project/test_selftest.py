"""``python -m aefast.selftest``: every kernel is compared, and a wrong result is told."""

import numpy as np
import pytest
from support.helpers import run_python

from aefast import ops, selftest
from aefast._base import _runtime
from aefast._base.moments import SufficientStatistics
from aefast.networks.autoencoder import Autoencoder


def lines_of(capsys, status, *arguments):
    assert selftest.main(arguments) == status
    return capsys.readouterr().out.splitlines()


def test_everything_agrees(capsys):
    before = _runtime.isa(), _runtime.products()
    lines = lines_of(capsys, 0, "--verbose")
    assert lines[-1] == "everything agrees"
    for name in [*_runtime.isa_available(), "blas"]:
        for dtype in ("float32", "float64"):
            (line,) = (line for line in lines if line.split()[:2] == [name, dtype])
            assert line.endswith("results agree")
    assert sum(" agrees, error " in line for line in lines) >= 15 * 2 * 2
    assert (_runtime.isa(), _runtime.products()) == before


def compare(isa):
    return list(selftest.compare(isa, "tiles", "float64"))


def test_results_differ_from_each_other():
    """No comparison is of zeros, and bounds are far below the results."""
    for one in compare(_runtime.isa()):
        assert 0 <= one.error <= one.bound < 1e-10, one


@pytest.mark.parametrize(
    "owner, name, wrong",
    [
        (ops, "encode", ["encode"]),
        (ops, "decode", ["decode"]),
        (ops, "softplus", ["softplus"]),
        (selftest, "sparse_encode", ["lasso"]),
    ],
)
def test_one_wrong_entry_is_told(monkeypatch, capsys, owner, name, wrong):
    right = getattr(owner, name)

    def broken(*arguments, **options):
        result = right(*arguments, **options)
        result[-1, -1] += 1e-3
        return result

    monkeypatch.setattr(owner, name, broken)
    found = [one.name for one in compare(_runtime.isa()) if not one.agrees]
    assert found[:1] == wrong
    lines = lines_of(capsys, 1)
    assert "DIFFERS" in "\n".join(lines) and lines[-1].endswith("results differ")


def test_a_wrong_step_is_told(monkeypatch):
    right = Autoencoder.partial_fit

    def broken(self, X):
        model = right(self, X)
        model._state.parameters[7] += 1e-3
        return model

    monkeypatch.setattr(Autoencoder, "partial_fit", broken)
    assert [one.name for one in compare(_runtime.isa()) if not one.agrees] == ["step of W"]


def test_a_wrong_sum_is_told(monkeypatch):
    right = SufficientStatistics.update

    def broken(self, X):
        return right(self, X[:-1])

    monkeypatch.setattr(SufficientStatistics, "update", broken)
    wrong = [one.name for one in compare(_runtime.isa()) if not one.agrees]
    assert wrong == ["mean of rows", "scatter of rows"]


def test_a_row_that_is_not_noticed_is_told(monkeypatch):
    right = ops.encode
    monkeypatch.setattr(ops, "encode", lambda X, W, b: right(np.nan_to_num(X), W, b))
    assert [one.name for one in compare(_runtime.isa()) if not one.agrees] == ["check of rows"]


def test_a_number_that_is_none_does_not_agree():
    assert not selftest.Comparison("x", float("nan"), 1.0).agrees


@pytest.mark.parametrize("isa", _runtime.isa_available())
def test_the_command_works_with_each_instruction_set_forced(isa):
    """The first one is what the oldest x86-64 processors use."""
    done = run_python(
        "import runpy; runpy.run_module('aefast.selftest', run_name='__main__')", AEFAST_ISA=isa
    )
    assert done.returncode == 0, done.stderr
    assert f"in use: {isa}" in done.stdout
