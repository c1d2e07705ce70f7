"""Runs of pytest on a scratch copy: which test notices, or whether none does."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import NamedTuple

# Test files and folders that look at a kernel folder most closely; the others follow.
CLOSEST = {
    "autoencoder": [
        *(
            "networks/test_gradients.py",
            "networks/test_distributions.py",
            "networks/test_solvers.py",
        ),
        *("networks/test_variants.py", "networks/test_stacked.py", "networks/test_ops.py"),
        *("networks/test_recipe.py", "networks"),
    ],
    "base": ["base/test_vmath.py", "base/test_kernels.py", "networks", "base"],
    "products": ["base/test_kernels.py", "networks/test_gradients.py", "networks", "base"],
    "sparse_coding": ["sparse_coding/test_sparse_coding.py", "sparse_coding"],
    "statistics": ["linear/test_statistics.py", "linear/test_missing.py", "linear"],
}
FURTHER = ["base", "networks", "sparse_coding", "linear", "cli", "plotting", "project", ""]
NOT_FOUND, NO_TESTS = 4, 5  # pytest's exit statuses
FIRST_FAILURE = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", re.MULTILINE)
CURRENT_TEST = re.compile(r'File "[^"]*/(tests/[^"]*test_\w+\.py)", line \d+ in (test_\w+)')


class Outcome(NamedTuple):
    noticed: bool
    how: str  # "failure", "crash", "timeout"; "": passed; "no tests"
    by: str
    seconds: float


def test_files(tree, folder, closest_only=False):
    """Return the test files in the order in which a mutant of src/kernels/`folder` meets them."""
    places = CLOSEST.get(folder, []) + ([] if closest_only else FURTHER)
    found = {}
    for place in (tree / "tests" / place for place in places):
        for path in sorted(place.rglob("test_*.py")) if place.is_dir() else [place]:
            if path.exists():
                found[str(path.relative_to(tree))] = None
    return list(found)


class Tests:
    """How to run the tests: the environment, the limits, and the tests that fail without a mutant.

    A test that fails is tried on the true kernels before it counts: `true` is a copy that has them.
    """

    def __init__(self, environment, test_limit, run_limit, true=None):
        self.environment, self.run_limit, self.true = environment, run_limit, true
        self.lock, self.trusted, self.deselected = threading.Lock(), set(), []
        self.arguments = [
            *("-q", "-p", "no:cacheprovider", "-o", f"faulthandler_timeout={test_limit}"),
            *("-o", "faulthandler_exit_on_timeout=true"),
        ]

    def run(self, tree, folder, more=(), closest_only=False):
        """Run the tests until the first fails that passes on the true kernels."""
        begin, files = time.monotonic(), test_files(tree, folder, closest_only)
        while True:
            left_out = [word for test in self.deselected for word in ("--deselect", test)]
            status, output = self._pytest(tree, ["-x", *files, *left_out, *more])
            found = outcome(status, output, time.monotonic() - begin)
            if not found.noticed or found.by in self.deselected or self._passes_without(found.by):
                return found

    def _passes_without(self, test):
        """Say whether a test passes on the true kernels; leave it out if it does not."""
        if not test:
            return True
        with self.lock:
            if test not in self.trusted and test not in self.deselected:
                passed = self._pytest(self.true, [test])[0] in (0, NOT_FOUND)
                self.trusted.add(test) if passed else self.deselected.append(test)
            return test in self.trusted

    def _pytest(self, tree, arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *self.arguments, *arguments],
            cwd=tree,
            env={**self.environment, "PYTHONPATH": str(tree)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=self.run_limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return None, output
        return process.returncode, output


def outcome(status, output, seconds):
    """Read what pytest said. A status of None: it was stopped at the limit of a run."""
    seconds = round(seconds, 1)
    if status in (0, NO_TESTS):
        return Outcome(False, "no tests" if status else "", "", seconds)
    if status is None or "Timeout (" in output:
        how = "timeout"
    elif status < 0 or "Fatal Python error" in output:
        how = "crash"
    else:
        how = "failure"
    failure, current = FIRST_FAILURE.search(output), CURRENT_TEST.search(output)
    if how == "failure" and not failure and status not in (1, 2):
        raise SystemExit(f"pytest did not run:\n{output[-2000:]}")
    by = failure[1] if failure else f"{current[1]}::{current[2]}" if current else ""
    return Outcome(True, how, by, seconds)
