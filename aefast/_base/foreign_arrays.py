"""Arrays of other libraries (PyTorch, JAX, CuPy), read without a copy through DLPack.

Collections of Dask are no arrays: the error says what takes them.
"""

from typing import Any

import numpy as np


def from_foreign(value: Any, name: str) -> Any:
    """Return a view of an array of another library as an ndarray; anything else as it is.

    Raises
    ------
    TypeError, ValueError
        For a collection of Dask, an array on another device, one that requires a gradient, or one
        of a type that NumPy does not have (bfloat16), naming it.
    """
    refuse_collection(value, name)
    if not hasattr(value, "__dlpack__") or isinstance(value, np.ndarray | np.generic):
        return value
    kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"
    if getattr(value, "requires_grad", False):
        raise ValueError(f"{name} is a {kind} that requires a gradient: pass {name}.detach()")
    device = value.__dlpack_device__()[0]
    if int(device) != 1:  # kDLCPU
        raise ValueError(
            f"{name} must be in the memory of the CPU, got a {kind} on device type {int(device)} "
            "of DLPack"
        )
    try:
        return np.from_dlpack(value)
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        raise TypeError(
            f"{name} must be a dense array of a type that NumPy has, got a {kind} of "
            f"{getattr(value, 'dtype', 'unknown type')}: {error}"
        ) from None


def refuse_collection(value: Any, name: str) -> None:
    """Raise TypeError for a collection of Dask, whose entries have not been computed.

    Arrays of xarray have the method of collections too, and no graph where they are in memory.
    """
    if not hasattr(value, "__dask_graph__") or isinstance(value, type):
        return
    if value.__dask_graph__() is not None:
        kind = f"{type(value).__module__.partition('.')[0]} {type(value).__name__}"
        raise TypeError(
            f"{name} is a collection of Dask ({kind}): use aefast.dask.fit(estimator, {name}), "
            "aefast.dask.transform and others of that module, or "
            f"{name}.compute() where it fits into memory"
        )
