"""aefast.dask without a cluster: dictionaries."""

import numpy as np
import pytest

pytest.importorskip("distributed", reason="needs dask: pip install 'aefast[dask]'")

from support.partitioned_rows import X, dictionary, in_chunks

import aefast.dask


def test_accumulate_adds_the_sums_of_partitions():
    atoms = np.random.default_rng(0).normal(size=(8, 6))
    model = aefast.dask.accumulate(dictionary(dict_init=atoms), in_chunks())
    expected = dictionary(dict_init=atoms).accumulate(X)
    for mine, its in zip(model.statistics_, expected.statistics_, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-10, atol=1e-10)
    aefast.dask.accumulate(model, in_chunks())
    assert model.statistics_.n_rows == 2 * len(X)
    model.update()
    assert len(model.objective_curve_) == 1


def test_a_dictionary_is_learnt_in_batches():
    """An epoch is one `accumulate` of all rows and one `update`, with the same bits."""
    model = aefast.dask.fit(dictionary(max_epochs=3, tol=0, replace_unused=False), in_chunks())
    assert model.n_epochs_ == 3 and np.diff(model.objective_curve_).max() < 0
    assert model.history_["epoch"] == [1, 2, 3]
    start = aefast.dask.fit(dictionary(max_epochs=1, replace_unused=False), in_chunks())
    by_hand = dictionary()
    for _ in range(3):
        aefast.dask.accumulate(by_hand, in_chunks()).update()
    np.testing.assert_array_equal(by_hand.components_, model.components_)
    assert not np.array_equal(start.components_, model.components_)


def test_unused_atoms_are_replaced_by_rows_that_are_coded_badly():
    atoms = np.zeros((8, 6))
    atoms[:7, :5] = np.random.default_rng(0).normal(size=(7, 5))
    atoms[7] = 1e-30
    model = aefast.dask.fit(dictionary(dict_init=atoms, max_epochs=2, tol=0), in_chunks())
    assert np.linalg.norm(model.components_, axis=1).min() > 0.5


def test_a_dictionary_that_cannot_be_learnt_leaves_the_estimator_alone():
    bad = X.copy()
    bad[140, 2] = np.inf
    fresh, known = dictionary(), dictionary(max_epochs=1).fit(X)
    before = known.components_.copy()
    for model in (fresh, known):
        with pytest.raises(ValueError, match=r"partition 1: .*infinity.*row 10, column 2"):
            aefast.dask.fit(model, in_chunks(bad))
    assert not hasattr(fresh, "n_features_in_")
    np.testing.assert_array_equal(known.components_, before)
    with pytest.raises(ValueError, match="early_stopping"):
        aefast.dask.fit(dictionary(early_stopping=True), in_chunks())
