"""Types of arguments and results in the annotations of the public interface."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray


class SparseMatrix(Protocol):
    """Sparse matrix or array of SciPy, which has no annotations."""

    def tocsr(self, copy: bool = ...) -> Any: ...


class DistributionLike(Protocol):
    """Methods of `aefast.distributions.Distribution` that training needs."""

    def mean(self, eta: Any) -> Any: ...
    def link(self, mean: Any) -> Any: ...
    def loss(self, eta: Any, x: Any) -> Any: ...
    def sample(self, eta: Any, random: Any) -> Any: ...


Array: TypeAlias = NDArray[Any]
Reals: TypeAlias = NDArray[np.floating]  # float32 or float64
Table: TypeAlias = ArrayLike | SparseMatrix
OutputLike: TypeAlias = str | tuple[str, dict[str, Any]] | DistributionLike | Sequence[Any]
Callbacks: TypeAlias = Callable[..., object] | Sequence[Callable[..., object]]
RandomState: TypeAlias = int | np.random.RandomState
PathLike: TypeAlias = str | os.PathLike[str]
