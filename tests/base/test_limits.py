"""Fits in processes that cannot have all the threads, or all the stack, that they ask for."""

import sys

import pytest
from support.helpers import run_python

from aefast._base import _runtime

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not _runtime.OPENMP, reason="limits of Linux, threads of OpenMP"
)

FIT = """
    import hashlib
    import resource
    import threading
    import numpy as np
    import aefast
    from aefast import Autoencoder, ProbabilisticPCA, sparse_encode

    X = np.random.default_rng(0).random((400, 96))
    D = X[:50] / np.linalg.norm(X[:50], axis=1, keepdims=True)

    def digest(n_threads):
        ae = Autoencoder(64, max_epochs=2, random_state=0, n_threads=n_threads).fit(X)
        pca = ProbabilisticPCA(3, n_threads=n_threads).fit(X)
        H = sparse_encode(X, D, alpha=0.1, n_threads=n_threads)
        parts = (ae.components_, ae.transform(X), pca.components_, H)
        joined = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        return hashlib.sha256(joined).hexdigest()

    wanted = digest(1)
"""


def test_threads_that_cannot_be_had_are_done_without():
    """The stack of no further thread fits into the address space: libgomp would end the process."""
    done = run_python(
        FIT
        + """
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    limit = size + (500 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    assert digest(200) == wanted
    try:
        crowd = [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(200)]
        for thread in crowd:
            thread.start()
    except RuntimeError:
        print("so many threads cannot be had")
    """,
        OMP_STACKSIZE="4G",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "so many threads cannot be had\n"


def test_a_large_team_starts_from_a_small_stack():
    done = run_python(
        FIT
        + """
    def codes(n_threads):
        ae = Autoencoder(64, max_epochs=2, random_state=0, n_threads=n_threads).fit(X)
        return ae.transform(X)

    found = []
    threading.stack_size(128 << 10)
    thread = threading.Thread(target=lambda: found.append(codes(1024)))
    thread.start()
    thread.join()
    assert found[0].tobytes() == codes(1).tobytes()
    """
    )
    assert done.returncode == 0, done.stderr
