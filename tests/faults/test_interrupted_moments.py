"""Signals at random moments of a fit, where the walk over lines has chosen places."""

import signal
import threading
import time
import warnings

import numpy as np
import pytest
from support.small_fits import SMALL_FITS, codes, fit
from threadpoolctl import threadpool_info

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread(),
    reason="handlers of signals run in the main thread",
)


# of signals, by tier
COUNTS = [20, pytest.param(80, marks=pytest.mark.extra), pytest.param(300, marks=pytest.mark.slow)]


def interrupt(number, frame):
    raise KeyboardInterrupt


@pytest.fixture
def timer():
    """A function that lets a KeyboardInterrupt come after some seconds; 0: never."""
    handler = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)


def seconds_of(of):
    begin = time.perf_counter()
    of.fitted(of.rows)
    return time.perf_counter() - begin


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("name", [name for name in SMALL_FITS if name != "stacked"])
def test_signals_leave_a_model_and_no_limit(name, n, timer):
    of, random = SMALL_FITS[name], np.random.default_rng(0)
    new, old = codes(of.fitted(of.rows), of), codes(of.fitted(of.others), of)
    limits = [pool["num_threads"] for pool in threadpool_info()]
    seconds, n_hits = min(seconds_of(of) for _ in range(3)), 0
    for _ in range(n):
        estimator = of.fitted(of.others)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                timer(max(1e-6, seconds * random.random()))
                estimator.fit(of.rows)
                timer(0)
        except KeyboardInterrupt:
            n_hits += 1
        timer(0)
        assert codes(estimator, of) in (old, new) or of.learns
        assert codes(fit(estimator, of.rows), of) == new
    assert n_hits > n // 10
    assert [pool["num_threads"] for pool in threadpool_info()] == limits
