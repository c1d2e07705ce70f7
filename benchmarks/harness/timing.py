"""Time of a step: the slope from a short to a long run, so that one-time costs drop out."""

from time import perf_counter

MIN_SAMPLES, MAX_SAMPLES = 3, 25


def seconds_of(action, *arguments):
    start = perf_counter()
    action(*arguments)
    return perf_counter() - start


def seconds_per_step(run, steps_per_call, budget):
    """Samples of the time of one step: ``(t(long) - t(short)) / (long - short)``, in seconds.

    ``run(n)`` makes n steps, n a multiple of ``steps_per_call``. A sample's long run is made long
    enough that about ten samples fill the budget (seconds); at least three are taken, however long
    that takes. On a machine busy with other things a sample can even be negative: take the median.
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
    """Samples of the time of ``action()``, everything it costs included, in seconds."""
    action()
    samples, spent = [], 0.0
    while len(samples) < MIN_SAMPLES or (spent < budget and len(samples) < 10 * MAX_SAMPLES):
        samples.append(seconds_of(action))
        spent += samples[-1]
    return samples
