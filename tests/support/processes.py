"""Processes that are killed at random moments."""

import multiprocessing
import os
import signal
import time

import numpy as np


def killed(function, *arguments, after, number=signal.SIGKILL):
    """Run a function in a forked process that is killed after some seconds. Return its exit code.

    The clock starts when the process does.
    """
    process = multiprocessing.get_context("fork").Process(
        target=_silently, args=(function, *arguments)
    )
    process.start()
    time.sleep(after)
    os.kill(process.pid, number)
    process.join()
    return process.exitcode


def _silently(function, *arguments):
    """Call a function without the handlers and the standard streams of the test's process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    function(*arguments)


def seconds_of(function, *arguments):
    """Return how long a call takes in a forked process, to spread kills over it."""
    process = multiprocessing.get_context("fork").Process(
        target=_silently, args=(function, *arguments)
    )
    start = time.perf_counter()
    process.start()
    process.join()
    assert process.exitcode == 0
    return time.perf_counter() - start


def moments(n, seconds):
    """Return n random moments within a duration, always the same fractions of it."""
    return (np.random.default_rng(0).random(n) * seconds).tolist()
