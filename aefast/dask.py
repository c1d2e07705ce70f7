"""Fits and results for rows in the partitions of Dask: more data than memory, more machines.

`fit` fits an estimator in place, as its own `fit` does with a table in memory, and what comes back
is that estimator. `statistics` and `accumulate` sum up partitions. `transform`, `score_samples`,
`predict`, `reconstruct` and `inverse_transform` are lazy: collections in, collections out.

Sums over partitions are added in a binary tree that follows from the number of partitions alone,
so that results have the same bits for any number of workers, and after the loss of some. Where
there is no client of `distributed`, the threads of this process do the work.

The extra ``aefast[dask]`` has what this module needs.
"""

from typing import Any

from aefast._base.exchange import interop
from aefast._base.moments import SufficientStatistics
from aefast.networks.training.partitioned import measured_costs as _measured_costs
from aefast.networks.training.round_costs import Costs, predicted_seconds, suitable_batch

try:
    import dask as _dask  # noqa: F401
    import distributed as _distributed  # noqa: F401
except ImportError as _error:
    raise ImportError(
        f"aefast.dask needs the package {_error.name!r}: pip install 'aefast[dask]'",
        name=_error.name,
    ) from _error

__all__ = [
    "accumulate",
    "fit",
    "inverse_transform",
    "measured_costs",
    "predict",
    "predicted_seconds",
    "reconstruct",
    "score_samples",
    "statistics",
    "suitable_batch",
    "transform",
]

TIMEOUT = 300.0
RETRIES = 2


def __dir__() -> list[str]:
    return __all__


def fit(
    estimator: Any,
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    client: Any = None,
    method: str = "auto",
    local_steps: int | None = None,
    timeout: float = TIMEOUT,
    retries: int = RETRIES,
) -> Any:
    """Fit an estimator to rows in partitions.

    Parameters
    ----------
    estimator : estimator
        One whose fit follows from sums over rows: `ProbabilisticPCA`, `FactorAnalysis`,
        `Whitening`, `MarginalizedAutoencoder`, `ItemAutoencoder`, `MixtureOfFactorAnalyzers`,
        `MixtureOfProbabilisticPCA`, `DictionaryLearning`; or `Autoencoder` and
        `StackedAutoencoder`, which are trained on dense rows. It is fitted in place.
    X : dask array, dask dataframe, or list of Delayed, Future, arrays, frames or CSR matrices
        Partitions of rows. Numbers of rows may be unknown, and partitions without rows are left
        out; chunks along columns are joined. NaN is an error, since no sum has a place for it,
        except where an autoencoder has ``missing="mask"``.
    y : ignored
    sample_weight : array-like (n_samples,), or a collection with the partitions of X, optional
        Not negative: a row of weight 2 counts as two rows.
    client : distributed.Client or None, default=None
        None: that of the futures in X, or the current one; where there is none, the threads of this
        process compute one partition after the other.
    method : {"auto", "rounds", "averaging", "lbfgs"}, default="auto"
        How an autoencoder is trained. "rounds": synchronous mini-batches; each partition computes
        the gradient of its share of a batch, and one step is made with the gradient of the batch.
        "averaging": each partition makes `local_steps` steps of its own, then parameters and
        optimizer state are averaged, weighted by rows (local SGD, Stich 2019), which is an
        approximation with fewer messages. "lbfgs": L-BFGS on the loss of all rows; it needs
        ``solver="lbfgs"``. "auto": "lbfgs" with that solver, else "rounds".
        `predicted_seconds` says which pays.
    local_steps : int or None, default=None
        Steps of a partition between two averages; None: 16.
    timeout : float, default=300
        Seconds without progress, after which workers that are silent are given up, and tasks of
        those that are not are given to others. Longer than any task takes.
    retries : int, default=2
        How often that is done before a TimeoutError.

    Returns
    -------
    estimator

    Raises
    ------
    ValueError, TypeError
        For rows that cannot be used, naming the partition, its row and column; for partitions of
        different columns, or without any rows; for estimators without such a fit. The estimator is
        what it was.
    ConnectionError
        Where the client is closed, or the scheduler is lost.
    TimeoutError
        Where workers hang, naming them and their partitions.
    RuntimeError
        For workers of another version or of different instruction sets, naming them; for partitions
        that were lost and cannot be computed again.

    Notes
    -----
    An `Autoencoder` starts near the principal components of a sample of rows, 2**23 entries at
    most, that are evenly spread over the partitions, with the column means of all rows; on that
    sample the layers of a `StackedAutoencoder` are trained before all rows fine-tune it. Callbacks,
    `early_stopping` (with rows of each partition), checkpoints, and the history of a fit are as in
    memory. Batches, noise and sums follow from the partitioning, the batch size and the seed, never
    from the workers; "auto" chooses larger batches for "rounds" than in memory, up to 4096 rows.
    Where entries are missing (``missing="mask"``), rows of partitions are not completed before
    training.

    Partitions are computed once, and stay on their workers. All else follows from one call or, for
    mixtures, one call an iteration, whose sums are merged on the workers. Each task computes with
    one thread, unless the estimator has a number of threads.

    Bits follow from the rows, their partitioning, and the instruction set of the workers; they are
    not those of a fit to one table, whose sums are in another order.

    Examples
    --------
    >>> import dask.array as da
    >>> import aefast.dask
    >>> from aefast import FactorAnalysis
    >>> X = da.random.default_rng(0).normal(size=(1000, 6), chunks=(200, 6))
    >>> aefast.dask.fit(FactorAnalysis(2), X).components_.shape
    (2, 6)
    """
    options = {"client": client, "timeout": timeout, "retries": retries}
    options |= {"method": method, "local_steps": local_steps}
    return interop("distributed.fitting").fit(estimator, X, y, sample_weight, **options)


def measured_costs(
    estimator: Any,
    X: Any,
    *,
    client: Any = None,
    timeout: float = TIMEOUT,
    retries: int = RETRIES,
) -> Costs:
    """Measure what training an `Autoencoder` by rounds costs, for `predicted_seconds`.

    Parameters
    ----------
    estimator : Autoencoder
        It is not fitted.
    X, client, timeout, retries
        As for `fit`. Two partitions suffice, with as many rows as a step takes.

    Returns
    -------
    costs : Costs
        Seconds of calls and tasks, of rows of gradients and of steps, of updates; bytes a second of
        messages. A few seconds of work that ends with no model; other work on the machines shows in
        the times.

    Examples
    --------
    >>> import dask.array as da
    >>> import aefast.dask
    >>> from aefast import Autoencoder
    >>> X = da.random.default_rng(0).normal(size=(2000, 20), chunks=(500, 20))
    >>> costs = aefast.dask.measured_costs(Autoencoder(8), X)
    >>> on_ten = aefast.dask.predicted_seconds(costs, 10**7, 10, batch_size=4096)
    >>> on_ten.n_rounds
    2440
    """
    options = {"client": client, "timeout": timeout, "retries": retries}
    return _measured_costs(estimator, interop("distributed.fitting").engine_of(X, **options))


def statistics(
    X: Any,
    sample_weight: Any = None,
    *,
    n_threads: int | None = None,
    client: Any = None,
    timeout: float = TIMEOUT,
    retries: int = RETRIES,
) -> SufficientStatistics:
    """Return the sufficient statistics of rows in partitions, for `fit_statistics` and others.

    Parameters
    ----------
    X, sample_weight, client, timeout, retries
        As for `fit`.
    n_threads : int or None, default=None
        Threads of each task, and of the statistics afterwards; None: one on a cluster.

    Returns
    -------
    statistics : SufficientStatistics
        Of the bits of ``a + b`` in a binary tree over the partitions' own statistics.
    """
    options = {"client": client, "timeout": timeout, "retries": retries}
    module = interop("distributed.fitting")
    return module.statistics(X, sample_weight, n_threads=n_threads, **options)


def accumulate(
    estimator: Any,
    X: Any,
    *,
    client: Any = None,
    timeout: float = TIMEOUT,
    retries: int = RETRIES,
) -> Any:
    """Code rows in partitions with a dictionary, and add the sums to its `statistics_`.

    One `accumulate` of all rows and one ``estimator.update()`` are a step of batch learning.

    Parameters
    ----------
    estimator : DictionaryLearning
        The first call initialises the dictionary, from rows of the first partitions, unless it has
        a `dict_init`.
    X, client, timeout, retries
        As for `fit`.

    Returns
    -------
    estimator
    """
    options = {"client": client, "timeout": timeout, "retries": retries}
    return interop("distributed.fitting").accumulate(estimator, X, **options)


def transform(estimator: Any, X: Any) -> Any:
    """Return ``estimator.transform`` of rows in partitions, lazily.

    Parameters
    ----------
    estimator : fitted estimator
        A copy is taken, and sent once to each worker; later fits do not change results.
    X : dask array, dask dataframe, or list of Delayed, Future, arrays, frames or CSR matrices

    Returns
    -------
    H : collection
        A dask array of an array, with its chunks of rows and one chunk of columns; a dataframe with
        the index of X and the columns ``estimator.get_feature_names_out()`` of a dataframe; a list
        of Delayed of a list.
    """
    return interop("distributed.applying").mapped(estimator, "transform", X)


def score_samples(estimator: Any, X: Any) -> Any:
    """Return ``estimator.score_samples`` of rows in partitions, lazily.

    Parameters
    ----------
    estimator, X
        As for `transform`.

    Returns
    -------
    scores : dask array (n_samples,), dask series or list of Delayed
    """
    return interop("distributed.applying").mapped(estimator, "score_samples", X)


def predict(estimator: Any, X: Any) -> Any:
    """Return ``estimator.predict`` of rows in partitions, lazily.

    Parameters
    ----------
    estimator, X
        As for `transform`.

    Returns
    -------
    labels : dask array (n_samples,), dask series or list of Delayed
    """
    return interop("distributed.applying").mapped(estimator, "predict", X)


def reconstruct(estimator: Any, X: Any) -> Any:
    """Return ``estimator.reconstruct`` of rows in partitions, lazily.

    Parameters
    ----------
    estimator, X
        As for `transform`.

    Returns
    -------
    X_hat : dask array (n_samples, n_features), dask dataframe or list of Delayed
    """
    return interop("distributed.applying").mapped(estimator, "reconstruct", X)


def inverse_transform(estimator: Any, H: Any) -> Any:
    """Return ``estimator.inverse_transform`` of codes in partitions, lazily.

    Parameters
    ----------
    estimator
        As for `transform`.
    H : dask array, dask dataframe, or list of Delayed, Future or arrays
        Such as the result of `transform`.

    Returns
    -------
    X_hat : dask array (n_samples, n_features), dask dataframe or list of Delayed
    """
    return interop("distributed.applying").mapped(estimator, "inverse_transform", H)
