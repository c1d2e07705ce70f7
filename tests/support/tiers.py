"""Tiers of the test suite: choice of the parametrised cases that the default tier runs.

docs/develop/tests.md describes the tiers.
"""

from collections import Counter, defaultdict
from itertools import combinations

import pytest

# Markers of tests that run only where they are selected.
ASKED_FOR = ("slow", "fuzz", "valgrind", "neighbours", "emulated", "cross")


def covering(cases, strength):
    """Return the indices of few cases that cover each combination of `strength` values.

    A case is a tuple of values, one for each parameter; only combinations that occur in some case
    count. The algorithm is greedy: each step takes the case with the most missing combinations,
    among these the case whose values were taken least often, so that repeats spread over all
    values, and among these the first. The result depends on the cases alone.
    """
    strength = min(strength, len(cases[0]))
    owners = defaultdict(list)  # cases in which each combination occurs
    for index, case in enumerate(cases):
        for combination in combinations(enumerate(case), strength):
            owners[combination].append(index)
    missing = Counter(index for indices in owners.values() for index in indices)
    taken, chosen = Counter(), set()
    while owners:
        index = max(
            (i for i in missing if missing[i]),
            key=lambda i: (missing[i], -sum(taken[value] for value in enumerate(cases[i])), -i),
        )
        chosen.add(index)
        taken.update(enumerate(cases[index]))
        for combination in combinations(enumerate(cases[index]), strength):
            for owner in owners.pop(combination, ()):
                missing[owner] -= 1
    return chosen


def values_of(item):
    """Return the identities of a case's values.

    For a check of scikit-learn they are the names of the estimator and of the check.
    """
    if {"estimator", "check"} <= item.callspec.params.keys():
        return tuple(item.callspec.id.rsplit("-check_", 1))
    return tuple(map(id, item.callspec.params.values()))


def strength_of(item):
    """Return the size of the combinations that the default tier covers: 2, or 1 with a marker."""
    once = item.get_closest_marker("each_value_once")
    return 1 if once or "check" in item.callspec.params else 2


def mark_tiers(items):
    """Mark cases outside the default tier as `extra`, and all but those asked for as `full`."""
    functions = defaultdict(list)
    for item in items:
        if any(item.get_closest_marker(name) for name in ASKED_FOR):
            # a parameter's value may have both markers: `-m extra` leaves out what takes minutes
            item.own_markers = [mark for mark in item.own_markers if mark.name != "extra"]
            continue
        item.add_marker(pytest.mark.full)
        if hasattr(item, "callspec") and not item.get_closest_marker("extra"):
            functions[item.parent.nodeid, item.originalname].append(item)
    for cases in functions.values():
        chosen = covering([values_of(item) for item in cases], strength_of(cases[0]))
        for index, item in enumerate(cases):
            if index not in chosen:
                item.add_marker(pytest.mark.extra)
