"""aefast.dask without a cluster: mixtures, items of low rank and their checkpoints."""

import numpy as np
import pytest

pytest.importorskip("distributed", reason="needs dask: pip install 'aefast[dask]'")

from support.dask_tasks import make_ratings
from support.partitioned_rows import MODELS, X, assert_same_bits, in_chunks

import aefast.dask
from aefast import ItemAutoencoder, MixtureOfFactorAnalyzers
from aefast._base.partitions import Part, PartsInMemory


def test_sizes_of_mixtures_by_bic():
    model = aefast.dask.fit(MixtureOfFactorAnalyzers("bic", 2, random_state=0), in_chunks())
    assert model.n_mixtures_ == 2 and len(model.sizes_tried_) == 4


def test_a_mixture_starts_from_a_sample_of_many_rows():
    many = np.concatenate([X + 1e-3 * i for i in range(12)])
    model = aefast.dask.fit(MODELS["mixture-fa"](), in_chunks(many, (900, 6)))
    expected = MODELS["mixture-fa"]().fit(many)
    assert abs(model.lower_bound_ - expected.lower_bound_) < 1e-2


def test_a_mixture_goes_on_from_its_checkpoint(path):
    """Interrupted by a callable of the engine, it ends with the bits of one that was not."""

    def model():
        return MixtureOfFactorAnalyzers(
            2, 2, tol=0, max_iter=6, random_state=0, checkpoint=path, checkpoint_every="epoch"
        )

    expected = aefast.dask.fit(model().set_params(checkpoint=None), in_chunks())
    parts = PartsInMemory(
        [Part(i, part) for i, part in enumerate(np.split(X, range(130, 1000, 130)))]
    )
    reduce, n_calls = parts.reduce, iter(range(100))

    def broken(*arguments):
        if next(n_calls) == 5:
            raise ConnectionError("the scheduler is lost")
        return reduce(*arguments)

    parts.reduce = broken
    with pytest.raises(ConnectionError):
        model()._fit_partitions(parts)
    assert_same_bits(aefast.dask.fit(model(), in_chunks()), expected)
    with pytest.raises(ValueError, match="to other rows"):
        aefast.dask.fit(model(), in_chunks(chunks=(500, 6)))


def test_items_of_low_rank_go_on_from_their_checkpoint(path):
    def model(**options):
        return ItemAutoencoder(n_components=3, max_iter=8, checkpoint_every="epoch", **options)

    ratings = make_ratings().toarray()
    expected = aefast.dask.fit(model(), [ratings[:100], ratings[100:]])
    parts = PartsInMemory([Part(0, ratings[:100]), Part(1, ratings[100:])])
    reduce, n_calls = parts.reduce, iter(range(100))

    def broken(*arguments):
        if next(n_calls) == 9:
            raise ConnectionError("the scheduler is lost")
        return reduce(*arguments)

    parts.reduce = broken
    with pytest.raises(ConnectionError):
        model(checkpoint=path)._fit_partitions(parts)
    assert path.exists()
    resumed = aefast.dask.fit(model(checkpoint=path), [ratings[:100], ratings[100:]])
    np.testing.assert_array_equal(resumed.components_, expected.components_)
    with pytest.raises(ValueError, match="to other rows"):
        aefast.dask.fit(model(checkpoint=path), [ratings[:90], ratings[90:]])
