"""aefast.dask without a cluster: results that are computed when they are asked for."""

import numpy as np
import pytest

pytest.importorskip("distributed", reason="needs dask: pip install 'aefast[dask]'")

import dask
import dask.array as da
import dask.bag
import dask.dataframe as dd
import pandas as pd
from scipy import sparse
from support.partitioned_rows import MODELS, NAMES, X, dictionary, in_chunks

import aefast.dask
from aefast import Autoencoder, FactorAnalysis, TableAutoencoder


def test_arrays_stay_arrays():
    model, rows = FactorAnalysis(2).fit(X), in_chunks()
    for method in ("transform", "score_samples", "reconstruct"):
        found = getattr(aefast.dask, method)(model, rows)
        expected = getattr(model, method)(X)
        assert isinstance(found, da.Array) and found.shape == expected.shape
        assert found.dtype == expected.dtype and found.chunks[0] == rows.chunks[0]
        np.testing.assert_array_equal(found.compute(), expected)
    codes = aefast.dask.transform(model, rows)
    back = aefast.dask.inverse_transform(model, codes)
    np.testing.assert_array_equal(back.compute(), model.reconstruct(X))
    single = aefast.dask.transform(model, rows.astype(np.float32))
    assert single.dtype == np.float32 == single.compute().dtype
    some = aefast.dask.transform(model, rows[rows[:, 0] > 1e9])
    assert some.shape[1] == 2 and some.compute().shape == (0, 2)


def test_frames_stay_frames():
    frame = pd.DataFrame(X, columns=NAMES, index=np.arange(len(X)) * 3)
    model, rows = FactorAnalysis(2).fit(frame), dd.from_pandas(frame, npartitions=4)
    codes = aefast.dask.transform(model, rows)
    assert isinstance(codes, dd.DataFrame)
    assert list(codes.columns) == ["factoranalysis0", "factoranalysis1"]
    assert codes.divisions == rows.divisions
    expected = pd.DataFrame(model.transform(frame), frame.index, codes.columns)
    pd.testing.assert_frame_equal(codes.compute(), expected)
    hats = aefast.dask.reconstruct(model, rows)
    assert list(hats.columns) == NAMES == list(hats.compute().columns)
    scores = aefast.dask.score_samples(model, rows).compute()
    assert scores.index.equals(frame.index)
    np.testing.assert_array_equal(scores, model.score_samples(frame))
    back = aefast.dask.inverse_transform(model, codes)
    assert list(back.columns) == NAMES


def test_frames_of_mixed_columns_are_those_of_estimators_of_tables():
    frame = pd.DataFrame({"x": X[:60, 0], "c": list("abc") * 20})
    model = TableAutoencoder(Autoencoder(2, max_epochs=1, random_state=0)).fit(frame)
    rows = dd.from_pandas(frame, npartitions=3)
    back = aefast.dask.reconstruct(model, rows)
    assert list(back.columns) == ["x", "c"]
    pd.testing.assert_frame_equal(
        back.compute().reset_index(drop=True), model.reconstruct(frame), check_dtype=False
    )


def test_lists_stay_lists():
    model = MODELS["mixture-fa"]().fit(X)
    found = aefast.dask.predict(model, [dask.delayed(X[:300]), X[300:]])
    np.testing.assert_array_equal(np.concatenate(dask.compute(*found)), model.predict(X))
    bad = X.copy()
    bad[3, 1] = np.inf
    (_, second) = aefast.dask.predict(model, [X, bad])
    with pytest.raises(ValueError, match=r"partition 1: .*infinity"):
        second.compute()


def test_sparse_codes_of_blocks():
    model = dictionary(max_epochs=1, output_format="csr").fit(X)
    found = aefast.dask.transform(model, in_chunks())
    blocks = [block.compute() for block in found.to_delayed().ravel()]
    assert all(sparse.issparse(block) for block in blocks)
    np.testing.assert_array_equal(sparse.vstack(blocks).toarray(), model.transform(X).toarray())


def test_later_fits_do_not_change_results():
    model = FactorAnalysis(2).fit(X)
    codes, expected = aefast.dask.transform(model, in_chunks()), model.transform(X)
    model.fit(-(X[:500] ** 2))
    np.testing.assert_array_equal(codes.compute(), expected)


def test_errors_of_blocks_name_them():
    bad = X.copy()
    bad[140, 2] = np.inf
    model = FactorAnalysis(2).fit(X)
    with pytest.raises(ValueError, match=r"partition 1: .*infinity.*row 10, column 2"):
        aefast.dask.transform(model, in_chunks(bad)).compute()
    with pytest.raises(ValueError, match="6 features"):
        aefast.dask.transform(model, in_chunks()[:, :3])
    with pytest.raises(TypeError, match="no method 'predict'"):
        aefast.dask.predict(model, in_chunks())
