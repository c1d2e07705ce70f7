"""Functions of partitions for tests of `aefast.dask`, which workers import from here."""

import os
import signal
import time
from pathlib import Path

import numpy as np
from scipy import sparse

from aefast._base import _runtime
from aefast._base.partitions import statistics_of_part
from aefast.interop.distributed import origin


def make_rows(n=1000, d=6, dtype=np.float64):
    """Rows of two clusters with two factors each, the same in every process."""
    random = np.random.default_rng(7)
    factors = random.normal(size=(2, 2, d))
    labels = np.arange(n) % 2
    X = np.einsum("nk,nkd->nd", random.normal(size=(n, 2)), factors[labels])
    X += 6.0 * labels[:, None] * (np.arange(d) % 2 == 0) + random.normal(size=(n, d))
    return X.astype(dtype)


def make_ratings(n=300, d=30):
    """Sparse rows of ones and twos."""
    X = sparse.random(n, d, 0.15, format="csr", random_state=3)
    X.data[:] = 1 + np.arange(X.nnz) % 2
    return X


def total(part, factor=1.0):
    return factor * part.X.sum(axis=0)


def added(first, second):
    return first + second


def text_of(part):
    return str(part.number)


def bracketed(first, second):
    """Return the order in which results are combined."""
    return f"({first} {second})"


def statistics_slowly(part, seconds):
    time.sleep(seconds)
    return statistics_of_part(part, 1)


def strikes_once(marker, signal_number):
    """Send a signal to this process, unless some process has done so before."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal_number)
    time.sleep(0.5)  # SIGSTOP takes effect when the system delivers it


def statistics_with_fault(part, marker, number, signal_number):
    """Return statistics of a partition; the worker that first gets this one is killed or stopped.

    It is a function of the partition for all that.
    """
    if part.number == number:
        strikes_once(marker, signal_number)
    return statistics_of_part(part, 1)


def block_with_fault(X, marker):
    """Return rows; the worker that first computes them is killed."""
    strikes_once(marker, signal.SIGKILL)
    return X


def hang(part, number, seconds=600):
    """Take seconds for one partition."""
    if part.number == number:
        time.sleep(seconds)
    return part.n_rows


def use_isa(name):
    """Compute with another instruction set from now on; return the former one."""
    former = _runtime.isa()
    _runtime.set_isa(name)
    return former


def pretend_version(version):
    """Be of another version from now on; return the former one."""
    former = origin.__version__
    origin.__version__ = version
    return former


def threads_of_kernels(part, n_threads):
    return n_threads
