"""The parameter `precision` on any machine: how it is refused, kept and saved.

Results in bfloat16 are the subject of test_bfloat16_training.py.
"""

import numpy as np
import pytest
from reference import bfloat16 as reference_bfloat16
from sklearn.base import clone
from support.helpers import run_python
from support.textbook import Autoencoder

import aefast
from aefast._base import _runtime
from aefast.cli import main
from aefast.networks import precision

X = np.random.default_rng(0).random((20, 5), dtype=np.float32)


@pytest.fixture
def without_bfloat16():
    """Run the test with kernels that do not have it."""
    isa = _runtime.isa()
    lacking = [
        name for name in _runtime.isa_available() if name not in _runtime.bfloat16_available()
    ]
    _runtime.set_isa(lacking[-1])
    yield lacking[-1]
    _runtime.set_isa(isa)


def test_where_it_is_missing_fit_says_so(without_bfloat16):
    assert aefast.build_info()["bfloat16"] is False
    for method in ("fit", "partial_fit"):
        estimator = Autoencoder(3, precision="bfloat16")
        with pytest.raises(
            ValueError, match=r"precision='bfloat16' needs .* AVX512_BF16"
        ) as caught:
            getattr(estimator, method)(X)
        assert without_bfloat16 in str(caught.value) or "compiler" in str(caught.value)
        assert not hasattr(estimator, "components_")


def test_a_fitted_estimator_stays_as_it_was(without_bfloat16):
    estimator = Autoencoder(3, max_epochs=2, warm_start=True, random_state=0).fit(X)
    before = estimator._state
    with pytest.raises(ValueError, match="precision"):
        estimator.set_params(precision="bfloat16").fit(X)
    assert estimator._state is before
    assert estimator.transform(X).shape == (20, 3)


@pytest.mark.parametrize(
    "built, available, products, fragment",
    [
        ([], [], "tiles", "the compiler"),
        (["avx512"], [], "tiles", "this one does not have it"),
        (["avx512"], ["avx512"], "tiles", "AEFAST_ISA="),
        (["avx512"], ["avx512"], "blas", "AEFAST_PRODUCTS=blas"),
    ],
    ids=["build", "processor", "instruction set", "products"],
)
def test_the_error_names_what_is_missing(built, available, products, fragment, monkeypatch):
    monkeypatch.setattr(
        _runtime, "isa", lambda: available[-1] if products == "blas" else "baseline"
    )
    monkeypatch.setattr(_runtime, "bfloat16_built", lambda: built)
    monkeypatch.setattr(_runtime, "bfloat16_available", lambda: available)
    monkeypatch.setattr(_runtime, "products", lambda: products)
    assert not precision.is_available("bfloat16")
    with pytest.raises(ValueError, match=fragment):
        precision.check_available("bfloat16")


def test_only_what_this_processor_has_is_available():
    assert set(_runtime.bfloat16_available()) <= set(_runtime.isa_available())
    assert set(_runtime.bfloat16_available()) <= set(_runtime.bfloat16_built())
    info = aefast.build_info()
    assert info["bfloat16"] == (info["isa"] in _runtime.bfloat16_available())


def test_a_release_build_emulates_nothing():
    assert _runtime.DEBUG or "wide" not in _runtime.bfloat16_built()


@pytest.mark.parametrize("precision", ["float16", "bf16", None, 32])
def test_unknown_precisions_are_refused(precision):
    with pytest.raises(ValueError, match="The 'precision' parameter of Autoencoder must be"):
        Autoencoder(3, precision=precision).fit(X)


def test_it_is_a_parameter_like_the_others(tmp_path):
    assert Autoencoder().get_params()["precision"] == "auto"
    assert clone(Autoencoder(precision="bfloat16")).precision == "bfloat16"
    estimator = Autoencoder(3, max_epochs=1, random_state=0).fit(X).set_params(precision="bfloat16")
    estimator.save(tmp_path / "model.safetensors")
    loaded = aefast.load(tmp_path / "model.safetensors")
    assert loaded.precision == "bfloat16"
    np.testing.assert_array_equal(loaded.transform(X), estimator.transform(X))


def test_the_command_reports_what_is_missing(without_bfloat16, tmp_path, capsys):
    data, out = tmp_path / "data.npy", tmp_path / "model"
    np.save(data, X)
    assert main(["fit", str(data), "--precision", "bfloat16", "--out", str(out)]) == 2
    assert "aefast: error: --precision='bfloat16' needs" in capsys.readouterr().err
    assert not out.exists()
    assert run_python("import aefast.cli; aefast.cli.main(['info'])").stdout.count("bfloat16") == 1


def test_the_reference_rounds_to_nearest_even():
    ulp = 2.0**-7  # of bfloat16 in [1, 2)
    halves = 1 + ulp * np.array([0.5, 1.5, 0.5 + 2.0**-16, 1.5 - 2.0**-16])
    np.testing.assert_array_equal(
        reference_bfloat16.rounded(halves), [1, 1 + 2 * ulp, 1 + ulp, 1 + ulp]
    )
    np.testing.assert_array_equal(
        reference_bfloat16.rounded([0.0, -3.0, 2.0**-127, 2.0 - ulp / 4]), [0, -3, 0, 2]
    )
