"""Threads, processes and signals."""

import multiprocessing
import os
import threading
import time

import numpy as np
import pytest
from support.helpers import run_python
from support.textbook import Autoencoder
from threadpoolctl import threadpool_info, threadpool_limits

from aefast import build_info
from aefast._base import _runtime, passes


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.mark.parametrize("products", ["tiles", "blas"])
def test_fits_at_once_leave_blas_as_it_was(products, digits, monkeypatch):
    """Two long fits, overlapped by short ones that end well or in an error."""
    monkeypatch.setattr(_runtime, "products", lambda: products)

    def fit(**options):
        try:
            Autoencoder(32, tol=0, random_state=0, **options).fit(digits)
        except FloatingPointError:
            errors.append(options)

    for limit in (1, 2):
        with threadpool_limits(limits=limit, user_api="blas"):
            before, errors = blas_threads(), []
            settings = [
                {"max_epochs": 30},
                {"max_epochs": 20},
                {"max_epochs": 1},
                {"max_epochs": 5, "solver": "sgd", "learning_rate": 1e30},
            ]
            fits = [threading.Thread(target=fit, kwargs=options) for options in settings]
            for thread in fits:
                thread.start()
            for thread in fits:
                thread.join()
            assert len(errors) == 1
            assert blas_threads() == before
            fit(max_epochs=1, solver="sgd", learning_rate=1e30)
            assert blas_threads() == before


def test_many_more_threads_than_cores_give_the_same_bits(digits):
    """Members of so large a team sleep at every meeting."""
    options = {"batch_size": 300, "max_epochs": 1, "random_state": 0}
    alone, together = (
        Autoencoder(16, n_threads=n_threads, **options).fit(digits) for n_threads in (1, 32)
    )
    np.testing.assert_array_equal(together.components_, alone.components_)
    np.testing.assert_array_equal(together.transform(digits), alone.transform(digits))


def test_fits_at_once_give_the_bits_of_fits_alone(digits):
    fitted = {}

    def fit(seed):
        fitted[seed] = Autoencoder(16, max_epochs=5, random_state=seed).fit(digits)

    threads = [threading.Thread(target=fit, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        alone = Autoencoder(16, max_epochs=5, random_state=seed).fit(digits)
        np.testing.assert_array_equal(fitted[seed]._state.parameters, alone._state.parameters)


def learn_in_child(n_threads):
    X = np.random.default_rng(0).random((600, 200))
    ae = Autoencoder(120, batch_size=300, max_epochs=2, random_state=0, n_threads=n_threads).fit(X)
    return ae._state.parameters.tobytes() + ae.transform(X).tobytes()


def test_fork_after_fit():
    """A child of a process whose threads have run computes, and computes the same bits."""
    expected = learn_in_child(2)
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        for n_threads in (1, 2, None):
            results = [pool.apply_async(learn_in_child, (n_threads,)) for _ in range(2)]
            for result in results:
                assert result.get(timeout=60) == expected
    assert learn_in_child(2) == expected  # and so does the parent still


INTERRUPTED = """
    import os, signal, threading, time
    import numpy as np
    from aefast import Autoencoder

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    X = np.random.default_rng(0).random((30_000, 256), dtype=np.float32)
    start = Autoencoder(128, init="glorot", max_epochs=0, random_state=0).fit(X)._state.parameters

    def interrupt():
        time.sleep(0.6)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    for options in (
        {},
        {"n_threads": 2},
        {"early_stopping": True, "n_epochs_no_change": 100_000},
        {"verbose": 1},
    ):
        options |= {"init": "glorot", "batch_size": 64, "max_epochs": 100_000, "tol": 0}
        ae = Autoencoder(128, random_state=0, **options)
        for attempt in range(3):  # machines are noisy: the best counts
            sent, delay = [], None
            thread = threading.Thread(target=interrupt)
            thread.start()
            try:
                ae.fit(X)
            except KeyboardInterrupt:
                delay = time.perf_counter() - sent[0]
            thread.join()
            assert delay is not None, options
            if delay < 0.5:
                break
        else:
            raise AssertionError(f"{options}: {delay} seconds")
        assert ae._state.n_steps > 0, options
        assert not np.array_equal(start, ae._state.parameters), options
        assert np.isfinite(ae.transform(X[:100])).all() and np.isfinite(ae.score(X[:100]))
        steps = ae._state.n_steps
        ae.partial_fit(X[:64])
        assert ae._state.n_steps == steps + 1, options
"""


def test_ctrl_c():
    """A fit ends within half a second of the interrupt, leaves a model, and can go on."""
    result = run_python(INTERRUPTED)
    assert result.returncode == 0, result.stderr


def test_other_python_threads_run_during_a_slice(monkeypatch):
    """One epoch in one slice: a thread that wakes every millisecond would see it as a single long
    sleep if the GIL were kept.
    """
    monkeypatch.setattr(passes, "SLICE_SECONDS", 1e3)
    X = np.random.default_rng(0).random((100_000, 256), dtype=np.float32)
    ae = Autoencoder(128, batch_size=32, max_epochs=1, n_threads=1, random_state=0)
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(time.perf_counter())

    ticker = threading.Thread(target=tick)
    ticker.start()
    begin = time.perf_counter()
    ae.fit(X)
    end = time.perf_counter()
    done.set()
    ticker.join()
    during = [t for t in ticks if begin < t < end]
    assert end - begin > 0.1
    assert np.max(np.diff([begin, *during, end])) < 0.5 * (end - begin)
    assert len(during) > 20


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_callers_arithmetic_is_left_as_it_was(n_threads, digits):
    """Kernels may flush subnormal numbers to zero; the caller's next sum must not."""
    smallest = np.full(8, np.finfo(np.float32).smallest_subnormal)
    for method in ("fit", "transform", "reconstruct", "score"):
        getattr(
            Autoencoder(4, max_epochs=2, random_state=0, n_threads=n_threads).fit(digits), method
        )(digits)
        assert np.all(3 * smallest > 2 * smallest)


def test_the_users_limits_are_obeyed():
    script = "import aefast; print(aefast.build_info()['n_threads'])"
    assert run_python(script, OMP_NUM_THREADS="1").stdout.strip() == "1"
    default = build_info()["n_threads"]
    assert 1 <= default <= os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        assert default <= len(os.sched_getaffinity(0))
    with threadpool_limits(limits=1, user_api="openmp"):
        assert build_info()["n_threads"] == 1
    assert build_info()["n_threads"] == default


@pytest.mark.parametrize("name", _runtime.isa_available())
def test_an_instruction_set_can_be_forced(name):
    script = """
        import numpy as np
        import aefast.ops
        loss, gradients = aefast.ops.loss_and_gradients(np.eye(10), *map(np.ones, ((3, 10), 3, 10)))
        print(aefast.build_info()["isa"], np.isfinite(loss) and np.isfinite(gradients.W).all())
    """
    result = run_python(script, AEFAST_ISA=name)
    assert result.stdout.split() == [name, "True"], result.stderr


def test_an_unknown_instruction_set_is_an_error():
    result = run_python("import aefast; aefast.ops.sigmoid(0.0)", AEFAST_ISA="abacus")
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(("ImportError", "ValueError"))
    for fragment in ("AEFAST_ISA", "abacus", *_runtime.isa_available()):
        assert fragment in last


def test_set_isa_refuses_what_is_not_there():
    before = _runtime.isa()
    with pytest.raises(ValueError, match="abacus"):
        _runtime.set_isa("abacus")
    assert _runtime.isa() == before
