"""Timing of steps: slopes between short and long runs, without the costs of starting one."""

from time import perf_counter

MIN_SAMPLES, MAX_SAMPLES = 3, 25


def seconds_of(action, *arguments):
    start = perf_counter()
    action(*arguments)
    return perf_counter() - start


def seconds_per_step(run, steps_per_call, budget):
    """Return samples of the time of one step in seconds: ``(t(long) - t(short)) / (long - short)``.

    ``run(n)`` makes n steps, n a multiple of ``steps_per_call``. Long runs have a length with which
    about ten samples fill the budget (seconds); at least three samples are taken, however long that
    takes. On a busy machine a sample can even be negative, so the median should be used.
    """
    run(steps_per_call)  # compilation, allocation, first touch of the pages
    target = budget / 10
    n_more = 2
    while (seconds := seconds_of(run, n_more * steps_per_call)) < target:
        growth = 2 if seconds < target / 100 else min(1.2 * target / seconds, 100)
        n_more = int(n_more * growth) + 1
    samples, spent = [], 0.0
    while len(samples) < MIN_SAMPLES or (spent < budget and len(samples) < MAX_SAMPLES):
        short = seconds_of(run, steps_per_call)
        long = seconds_of(run, (1 + n_more) * steps_per_call)
        samples.append((long - short) / (n_more * steps_per_call))
        spent += short + long
    return samples


def seconds_per_call(action, budget):
    """Return samples of the time of ``action()`` in seconds, with all costs of a call."""
    action()
    samples, spent = [], 0.0
    while len(samples) < MIN_SAMPLES or (spent < budget and len(samples) < 10 * MAX_SAMPLES):
        samples.append(seconds_of(action))
        spent += samples[-1]
    return samples
