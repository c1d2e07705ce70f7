"""Fixtures for pytest-benchmark: one process per rival, timed by the seconds it reports."""

from statistics import median

import pytest

from benchmarks.harness import runner
from benchmarks.harness.problems import LEARNING_RATES, SHAPES
from benchmarks.peers import load_peers

ROUNDS = 3  # processes a benchmark
SECONDS = [0.0]  # sum of the seconds that workers have reported


def reported_seconds():
    """Return the time of the benchmarks' clock, which advances by the reported seconds."""
    return SECONDS[0]


def pytest_addoption(parser):
    group = parser.getgroup("aefast benchmarks")
    group.addoption(
        "--peers",
        default="aefast",
        help="rivals, separated by commas, or 'all' that are installed; default: aefast",
    )
    group.addoption("--shapes", default="all", help="shapes, separated by commas; default: all")
    group.addoption("--solver", choices=list(LEARNING_RATES), default="sgd")
    group.addoption("--threads", type=int, default=2)
    group.addoption("--budget", type=float, default=0.5, help="seconds of timing a process")


def chosen(option, names, known):
    """Return the values of ``known`` for names separated by commas, or all values for "all"."""
    names = list(known) if names == "all" else names.split(",")
    if unknown := sorted(set(names) - set(known)):
        expected = ", ".join(["all", *known])
        raise pytest.UsageError(f"--{option}: expected any of {expected}, got {', '.join(unknown)}")
    return [known[name] for name in names]


def pytest_generate_tests(metafunc):
    installed = {name: peer for name, peer in load_peers().items() if peer.available()}
    for argument, option, known in (
        ("installed_peer", None, installed),
        ("peer", "peers", installed),
        ("shape", "shapes", SHAPES),
    ):
        if argument in metafunc.fixturenames:
            names = metafunc.config.getoption(option) if option else "all"
            values = chosen(option, names, known)
            metafunc.parametrize(argument, values, ids=[value.name for value in values])


def pytest_report_header(config):
    missing = [name for name, peer in load_peers().items() if not peer.available()]
    return f"rivals not installed: {', '.join(missing)}" if missing else None


@pytest.fixture
def benchmark_worker(benchmark, pytestconfig):
    """Benchmark of a worker's measurement of a rival, with a new process in each round.

    The worker first compares the rival's loss with the reference, and fails if they differ.
    """

    def run(peer, shape, measure):
        def one_round():
            result = runner.run_worker(
                peer,
                shape.name,
                measure=measure,
                solver=pytestconfig.getoption("solver"),
                threads=pytestconfig.getoption("threads"),
                budget=pytestconfig.getoption("budget"),
            )
            SECONDS[0] += median(result["seconds"])
            return result

        benchmark.group = f"{measure}, {shape.name} ({shape.label})"
        result = benchmark.pedantic(one_round, rounds=ROUNDS)
        benchmark.extra_info.update(
            flop=shape.flop_per_step * result["n_steps"],
            versions=result["versions"],
            details=result["details"],
        )
        return result

    return run
