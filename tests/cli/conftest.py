"""Fixtures of the command's tests."""

import pytest

from aefast.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a fit to the digits."""
    out = tmp_path_factory.mktemp("fit") / "model"
    argv = "fit digits --output bernoulli -k 8 --epochs 3 --no-plots --quiet --out".split()
    assert main([*argv, str(out)]) == 0
    return out
