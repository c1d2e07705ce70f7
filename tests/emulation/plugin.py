"""Plugin of pytest: the AVX-512 instances of the kernels are executed by an emulated processor.

`bash .ci/emulated` loads it. Of the tests that are collected, those remain that name the
instruction set; with --draw these are few, in which each value of each parameter occurs once.
"""

from collections import Counter, defaultdict

import pytest
from support.tiers import covering, values_of

from .instances import Instances
from .processor import EmulatedFault
from .tables import ISA

CALLS = "emulated calls"  # what a worker of pytest-xdist reports: calls and seconds of each kernel
FIXTURES = ("isa", "bfloat16_isa")  # whose values are names of instruction sets
instances = None
CALLS_PYTHON = "test_own_distributions"  # which emulated code cannot do
calls, seconds = Counter(), Counter()


def pytest_addoption(parser):
    parser.addoption("--draw", action="store_true", help="each value of each parameter once")


@pytest.hookimpl(tryfirst=True)  # conftest.py asks which instruction sets there are
def pytest_load_initial_conftests():
    global instances
    instances = Instances()


@pytest.hookimpl(trylast=True)  # after -m and -k
def pytest_collection_modifyitems(config, items):
    chosen = [item for item in items if names_the_instruction_set(item)]
    if config.getoption("--draw"):
        chosen = draw(chosen)
    kept = set(map(id, chosen))
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = chosen


def pytest_unconfigure():
    instances.processor.close()


def names_the_instruction_set(item):
    if not hasattr(item, "callspec") or CALLS_PYTHON in item.nodeid:
        return False
    return any(item.callspec.params.get(fixture) == ISA for fixture in FIXTURES)


def draw(items):
    """Return few of the cases of each test: each value of each parameter occurs in one of them."""
    functions = defaultdict(list)
    for item in items:
        functions[item.parent.nodeid, item.originalname].append(item)
    return [
        cases[index]
        for cases in functions.values()
        for index in sorted(covering([values_of(item) for item in cases], 1))
    ]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    """Fail a test in which the emulator met a fault: no exception goes through compiled code."""
    instances.faults.clear()
    try:
        return (yield)
    finally:
        if instances.faults:
            raise EmulatedFault("; ".join(instances.faults))


def pytest_sessionfinish(session, exitstatus):
    calls.update(instances.calls)
    seconds.update(instances.seconds)
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[CALLS] = dict(calls), dict(seconds)
    elif not calls and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED  # nothing was emulated


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    if not hasattr(node, "workeroutput"):  # the worker crashed, which xdist reports
        return
    for total, of_worker in zip((calls, seconds), node.workeroutput[CALLS], strict=True):
        total.update(of_worker)


def pytest_terminal_summary(terminalreporter):
    line = terminalreporter.write_line
    line(f"{calls.total()} calls of kernels were emulated, in {seconds.total():.0f} s")
    for name in sorted(calls):
        line(f"  {name}: {calls[name]} calls, {seconds[name]:.2f} s")
