"""Fits to collections of Dask, on a cluster or in this process."""

import sys
from numbers import Integral, Real
from typing import Any

from aefast._base.errors import shown
from aefast._base.moments import SufficientStatistics
from aefast._base.partitions import Partitions, statistics_of_partitions
from aefast.interop.distributed.collections import is_future, partitions_of
from aefast.interop.distributed.local import LocalExecutor


def engine_of(
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    client: Any = None,
    timeout: float,
    retries: int,
) -> Any:
    """Return the engine of a collection: a `Cluster` where there is a client, else here.

    Without `client` it is that of the futures in X, or the current one; nothing is started.
    """
    _check_limits(timeout, retries)
    if client is None:
        client = _client_of(X) or _current_client()
    if client is None:
        return LocalExecutor(partitions_of(X, y, sample_weight))
    from aefast.interop.distributed.cluster import Cluster, check_client

    check_client(client)
    parts = partitions_of(X, y, sample_weight)
    return Cluster(client, parts, timeout=timeout, retries=retries)


def _check_limits(timeout: Any, retries: Any) -> None:
    is_number = isinstance(timeout, Real) and not isinstance(timeout, bool)
    if not is_number or not float(timeout) > 0:
        raise ValueError(f"timeout must be a positive number of seconds, got {shown(timeout)}")
    is_integer = isinstance(retries, Integral) and not isinstance(retries, bool)
    if not is_integer or int(retries) < 0:
        raise ValueError(f"retries must be an integer of at least 0, got {shown(retries)}")


def _current_client() -> Any:
    distributed = sys.modules.get("distributed")  # if it is not loaded, there is no client
    if distributed is None:
        return None
    try:
        return distributed.Client.current()
    except ValueError:
        return None


def _client_of(X: Any) -> Any:
    items = X if isinstance(X, (list, tuple)) else ()
    return next((item.client for item in items if is_future(item)), None)


def fit(
    estimator: Any,
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    client: Any,
    method: str,
    local_steps: int | None,
    timeout: float,
    retries: int,
) -> Any:
    """Fit an estimator; `aefast.dask.fit` documents it."""
    if not hasattr(estimator, "_fit_partitions"):
        raise TypeError(
            f"{type(estimator).__name__} has no fit to rows in partitions: pass X.compute(), or a "
            "sample of it, to its own fit; aefast.dask.transform and others apply it lazily"
        )
    options: dict[str, Any] = {"method": method, "local_steps": local_steps}
    if not getattr(estimator, "_trains_on_partitions", False):
        for name, default in (("method", "auto"), ("local_steps", None)):
            if options.pop(name) != default:
                raise ValueError(
                    f"{name} must be {default!r} for {type(estimator).__name__}, whose fit follows "
                    f"from merged sums, got {shown(method if name == 'method' else local_steps)}"
                )
    engine = engine_of(X, y, sample_weight, client=client, timeout=timeout, retries=retries)
    return estimator._fit_partitions(engine, **options)


def statistics(
    X: Any,
    sample_weight: Any = None,
    *,
    n_threads: int | None,
    client: Any,
    timeout: float,
    retries: int,
) -> SufficientStatistics:
    """Return statistics of all rows; `aefast.dask.statistics` documents it."""
    options = {"client": client, "timeout": timeout, "retries": retries}
    engine: Partitions = engine_of(X, None, sample_weight, **options)
    return statistics_of_partitions(engine, n_threads)


def accumulate(estimator: Any, X: Any, *, client: Any, timeout: float, retries: int) -> Any:
    """Add sums over the codes of rows; `aefast.dask.accumulate` documents it."""
    if not hasattr(estimator, "_accumulate_partitions"):
        raise TypeError(f"estimator must be a DictionaryLearning, got {type(estimator).__name__}")
    engine = engine_of(X, client=client, timeout=timeout, retries=retries)
    return estimator._accumulate_partitions(engine)
