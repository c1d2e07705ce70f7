"""The tiers of the suite, and what test files may import."""

import ast
import os
import re
import subprocess
import sys
from itertools import combinations, product
from pathlib import Path

import pytest
from support.tiers import covering

TESTS = Path(__file__).parents[1]


def combinations_of(cases, strength):
    return {c for case in cases for c in combinations(enumerate(case), strength)}


@pytest.mark.parametrize("strength", [1, 2])
@pytest.mark.parametrize("sizes", [(3,), (2, 5), (4, 3, 3), (2, 2, 2, 5)], ids=str)
def test_every_combination_is_covered(sizes, strength):
    """By hardly more cases than there must be, and by the same ones each time."""
    cases = list(product(*map(range, sizes)))
    strength = min(strength, len(sizes))
    chosen = covering(cases, strength)
    assert chosen == covering(cases, strength)
    taken = [cases[index] for index in chosen]
    assert combinations_of(taken, strength) == combinations_of(cases, strength)
    fewest = 1
    for size in sorted(sizes)[-strength:]:
        fewest *= size
    assert fewest <= len(taken) <= fewest + 2


def test_combinations_that_do_not_occur_are_not_asked_for():
    cases = [("a", 1, "x"), ("a", 1, "y"), ("b", 2, "x"), ("b", 2, "y"), ("b", 3, "x")]
    assert covering(cases, 2) == {0, 1, 2, 3, 4}
    assert len(covering(cases, 1)) == 3


def test_repeats_spread_over_all_values():
    """15 × 14 pairs are met once each: no instruction set runs many more of them than another."""
    cases = list(product(range(4), range(15), range(14)))
    chosen = [cases[index] for index in covering(cases, 2)]
    assert len(chosen) == 15 * 14
    counts = [sum(case[0] == value for case in chosen) for value in range(4)]
    assert max(counts) - min(counts) <= 8


CONFTEST = """
import pytest
from support.tiers import mark_tiers

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    mark_tiers(items)
"""

CASES = """
import pytest

@pytest.mark.parametrize("n", [4, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["a", pytest.param("b", marks=pytest.mark.extra)])
def test_both(name, n):
    pass
"""


def test_what_is_asked_for_is_in_no_other_tier(tmp_path):
    """Also where one value of a parameter is `extra` and another one `slow`."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_cases.py").write_text(CASES)
    markers = "[pytest]\nmarkers =\n    full\n    extra\n    slow\n    each_value_once\n"
    (tmp_path / "pytest.ini").write_text(markers)
    for tier, cases in {"full": "a-4 b-4", "extra": "b-4", "slow": "a-400 b-400"}.items():
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", tier]
        listed = subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(TESTS)}, text=True,
            capture_output=True, check=True,
        ).stdout  # fmt: skip
        assert sorted(re.findall(r"\[(.*)\]", listed)) == cases.split(), tier


def imported(path):
    """The names of the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{'.' * node.level}{node.module or ''}"


def test_no_test_file_imports_another():
    """Files share through tests/support and tests/reference, fixtures through conftest.py."""
    files = sorted(TESTS.rglob("*.py"))
    folders = {path.parent.name for path in files if path.name.startswith("test_")}
    assert {"base", "networks"} <= folders
    for path in files:
        for name in imported(path):
            first, *others = name.split(".")
            assert first not in folders, f"{path} imports {name}"
            assert not any(part.startswith(("test_", "conftest")) for part in (first, *others))
