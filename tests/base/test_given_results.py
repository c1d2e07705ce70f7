"""Results in the caller's memory: `out` of transform, reconstruct and score_samples."""

import warnings

import numpy as np
import pytest
from support.textbook import Autoencoder

import aefast
from aefast._base import given_results

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.random((2000, 7)) + RANDOM.random((2000, 1))
MODELS = {
    "autoencoder": lambda: aefast.Autoencoder(3, output="poisson", max_epochs=1),
    "textbook": lambda: Autoencoder(3, max_epochs=1),
    "stacked": lambda: aefast.StackedAutoencoder((5, 2), max_epochs=1, pretrain_epochs=1),
    "search": lambda: aefast.AutoencoderCV(
        aefast.Autoencoder(max_epochs=1), {"n_components": [2, 3]}
    ),
    "dictionary": lambda: aefast.DictionaryLearning(5, alpha=0.1, max_epochs=1),
    "coder": lambda: aefast.SparseCoder(np.eye(7)[:4]),
    "ppca": lambda: aefast.ProbabilisticPCA(2),
    "factors": lambda: aefast.FactorAnalysis(2),
    "bartlett": lambda: aefast.FactorAnalysis(2, scores="bartlett"),
    "mixture": lambda: aefast.MixtureOfFactorAnalyzers(2, 1, max_iter=3, random_state=0),
    "whitening": lambda: aefast.Whitening(),
    "marginalized": lambda: aefast.MarginalizedAutoencoder(),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MODELS[request.param]().fit(ROWS)


def methods(model):
    """Yield a method's name and its further arguments."""
    for name in ("transform", "reconstruct", "score_samples"):
        if hasattr(model, name):
            yield name, {}
    if hasattr(model, "visible_bias_"):
        yield "score_samples", {"per_feature": True}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_in_a_given_array_have_the_same_bits(model, dtype, monkeypatch, tmp_path):
    monkeypatch.setattr(given_results, "PART_ROWS", 96 * 8)  # three parts
    rows = ROWS.astype(dtype)
    for name, options in methods(model):
        expected = getattr(model, name)(rows, **options)
        shape, kind = expected.shape, expected.dtype
        for out in (
            np.full(shape, np.nan, kind),
            np.lib.format.open_memmap(tmp_path / "out.npy", "w+", kind, shape),
        ):
            found = getattr(model, name)(rows, out=out, **options)
            assert found is out
            assert out.tobytes() == expected.tobytes(), name


def test_arrays_that_cannot_hold_the_result_are_refused(model):
    for name, options in methods(model):
        method, expected = getattr(model, name), getattr(model, name)(ROWS[:5], **options)
        for out, error in (
            (np.empty((4, *expected.shape[1:])), ValueError),
            (expected.astype(np.float16), ValueError),
            (expected.tolist(), TypeError),
        ):
            with pytest.raises(error, match="out must be a writeable"):
                method(ROWS[:5], out=out, **options)
        locked = expected.copy()
        locked.flags.writeable = False
        with pytest.raises(ValueError, match="out must be a writeable"):
            method(ROWS[:5], out=locked, **options)


def test_a_result_does_not_overwrite_the_rows():
    whitening = aefast.Whitening().fit(ROWS)
    rows = ROWS.copy()
    with pytest.raises(ValueError, match="out must not overlap with X"):
        whitening.transform(rows, out=rows)


def test_errors_name_the_rows_they_count_from(monkeypatch):
    monkeypatch.setattr(given_results, "PART_ROWS", 100)
    rows = ROWS.copy()
    rows[234, 3] = np.inf
    ae = Autoencoder(3, max_epochs=1).fit(ROWS)
    with pytest.raises(ValueError, match=r"row 34, column 3.*counted from row 200 of X"):
        ae.transform(rows, out=np.empty((2000, 3)))


def test_sparse_codes_and_metadata():
    coder = aefast.SparseCoder(np.eye(7)[:4], output_format="csr")
    with pytest.raises(ValueError, match="out needs output_format='dense'"):
        coder.transform(ROWS, out=np.empty((2000, 4)))
    assert not hasattr(aefast.Autoencoder(), "set_transform_request")
