"""Fits where threads cannot be created: RLIMIT_NPROC, and a library that refuses them."""

import os
import shutil
import subprocess
import sys

import pytest
from support.helpers import run_python

from aefast._base import _runtime

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not _runtime.OPENMP, reason="limits of Linux, threads of OpenMP"
)

FITS = """
    import hashlib, os, resource, sys
    import numpy as np
    import aefast

    X = np.random.default_rng(0).random((400, 96))
    D = X[:50] / np.linalg.norm(X[:50], axis=1, keepdims=True)

    def digest(n_threads):
        options = {"n_threads": n_threads}
        ae = aefast.Autoencoder(64, max_epochs=2, random_state=0, **options).fit(X)
        pca = aefast.ProbabilisticPCA(3, **options).fit(X)
        H = aefast.sparse_encode(X, D, alpha=0.1, **options)
        atoms = aefast.DictionaryLearning(9, max_epochs=1, random_state=0, **options).fit(X)
        parts = (ae.components_, ae.transform(X), pca.components_, H, atoms.components_)
        joined = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        return hashlib.sha256(joined).hexdigest()

    wanted = digest(1)
"""


def test_no_further_process_is_allowed():
    """RLIMIT_NPROC counts the threads of a user; root, whom it does not hold, becomes nobody."""
    done = run_python(
        FITS
        + """
    allowed = 3 if os.getuid() == 0 else 1
    resource.setrlimit(resource.RLIMIT_NPROC, (allowed, allowed))
    if os.getuid() == 0:
        os.setuid(65534)
    for n_threads in (2, 64, None, 3):
        assert digest(n_threads) == wanted, n_threads
    import threading
    try:
        for _ in range(4):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
    except RuntimeError:
        print("no more")
    sys.stdout.flush()
    os._exit(0)
    """
    )
    assert (done.returncode, done.stdout) == (0, "no more\n"), done.stderr


# pthread_create of a process that may have no more than a given number of further threads.
SCARCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct { void *(*run)(void *); void *argument; } start;
static atomic_int n_alive, n_refused, most = 1 << 30;

void allow_threads(int n) { most = n; }
int threads_alive(void) { return n_alive; }
int threads_refused(void) { return n_refused; }

static void count_down(void *unused) { (void)unused; --n_alive; }

static void *counted(void *memory)
{
    start s = *(start *)memory;
    void *result;
    free(memory);
    pthread_cleanup_push(count_down, 0);
    result = s.run(s.argument);
    pthread_cleanup_pop(1);
    return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument)
{
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
        dlsym(RTLD_NEXT, "pthread_create");
    start *s = malloc(sizeof *s);
    int failed;
    *s = (start){run, argument};
    if (++n_alive > most) {
        --n_alive;
        ++n_refused;
        free(s);
        return EAGAIN;
    }
    failed = create(thread, attributes, counted, s);
    if (failed)
        --n_alive;
    return failed;
}
"""


@pytest.fixture(scope="module")
def scarce(tmp_path_factory):
    """The path of a library to be loaded before libc, with the `pthread_create` above."""
    compiler = shutil.which(os.environ.get("CC", "cc").split()[-1])
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("scarce")
    (folder / "scarce.c").write_text(SCARCE)
    command = [compiler, "-shared", "-fPIC", "-o", "scarce.so", "scarce.c", "-ldl", "-lpthread"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return str(folder / "scarce.so")


@pytest.mark.parametrize("blas_threads", ["4", pytest.param("1", marks=pytest.mark.extra)])
def test_threads_are_refused_one_by_one(scarce, blas_threads):
    """With room for 0, 1, ... further threads, and again with none when some exist."""
    done = run_python(
        FITS
        + """
    import ctypes
    library = ctypes.CDLL(os.environ["LD_PRELOAD"])
    base = library.threads_alive()
    for room in (0, 1, 2, 3, 7, 0):
        library.allow_threads(max(base, library.threads_alive()) + room)
        before = library.threads_refused()
        for n_threads in (2, 5, 40):
            assert digest(n_threads) == wanted, (room, n_threads)
        assert library.threads_refused() > before
    print(library.threads_alive() > base)
    """,
        LD_PRELOAD=scarce,
        OMP_NUM_THREADS="4",
        OPENBLAS_NUM_THREADS=blas_threads,
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
