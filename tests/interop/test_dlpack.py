"""Arrays of other libraries as rows, through DLPack, without a copy."""

import numpy as np
import pytest
from scipy import sparse

import aefast
from aefast._base.foreign_arrays import from_foreign

ROWS = np.random.default_rng(0).random((60, 6), dtype=np.float32)


class Foreign:
    """An array that has nothing but the protocol."""

    def __init__(self, array):
        self._array, self.dtype, self.shape = array, array.dtype, array.shape

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def of_torch(array):
    tensor = pytest.importorskip("torch").from_numpy(array.copy())
    return tensor, tensor.data_ptr()


def of_jax(array):
    tensor = pytest.importorskip("jax.numpy").asarray(array)
    return tensor, tensor.unsafe_buffer_pointer()


def of_protocol(array):
    return Foreign(array), array.ctypes.data


LIBRARIES = {"protocol": of_protocol, "torch": of_torch, "jax": of_jax}
QUICK = {"max_epochs": 1, "random_state": 0}
ESTIMATORS = [
    aefast.Autoencoder(2, **QUICK),
    aefast.StackedAutoencoder((3, 2), pretrain_epochs=1, **QUICK),
    aefast.AutoencoderEnsemble(2, n_components=2, **QUICK),
    aefast.MultinomialAutoencoder(2, **QUICK),
    aefast.ProbabilisticPCA(1),
    aefast.FactorAnalysis(1),
    aefast.MixtureOfFactorAnalyzers(2, 1, random_state=0),
    aefast.MarginalizedAutoencoder(),
    aefast.ItemAutoencoder(),
    aefast.Whitening(),
    aefast.DictionaryLearning(2, **QUICK),
    aefast.AnomalyDetector(n_sets=2, n_references=5, random_state=0),
    aefast.Imputer(n_components=1),
    aefast.TableEncoder(),
    aefast.TableAutoencoder(aefast.Autoencoder(2, **QUICK)),
]


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_rows_are_read_where_they_are(library):
    rows, address = library(ROWS)
    assert from_foreign(rows, "X").ctypes.data == address


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_every_estimator_takes_them(estimator, library):
    rows, _ = library(ROWS)

    def result(given):
        estimator.fit(given)
        method = getattr(estimator, "transform", None) or estimator.score_samples
        found = method(given)
        return found.toarray() if sparse.issparse(found) else np.asarray(found)

    of_rows = result(rows)
    expected = result(ROWS)
    assert of_rows.dtype == expected.dtype
    np.testing.assert_array_equal(of_rows, expected)
