"""Tests that the command of every suite runs, with sizes that take seconds."""

import os
import re
import shlex
import subprocess
import sys
from pkgutil import iter_modules

import pytest

from benchmarks import suites
from benchmarks.harness import runner

# Arguments of each suite, and a text that its output must contain.
COMMANDS = {
    "ensembles": ("--networks 3 --steps 20 --repeats 1", "times"),
    "anomaly": (
        "--seeds 1 --rivals AnomalyDetector IsolationForest",
        "AnomalyDetector - IsolationForest",
    ),
    "anomaly_ensembles": ("--seeds 1 --members 2", "random, chosen on the other tables"),
    "factors": ("likelihood --rounds 1", "| likelihood | sklearn |"),
    "files": ("--mib 4 --features 64 --components 4", "plain read again"),
    "imputation": (
        "--rows 60 --seeds 1 --draws 2 --most-columns 10"
        " --rivals 'Imputer auto' SimpleImputer IterativeImputer",
        "| mean distance from 0.9 |",
    ),
    "checkpoints": (
        "--rows 300 --features 20 --components 4 --epochs 2 --pairs 1",
        "and its share",
    ),
    "inference": (
        "--libraries ops ops-out estimator numpy --threads 1 --repeats 1 --budget 0.05"
        " --rows 500 --features 40 --components 20",
        "% of peak",
    ),
    "labels": (
        "--passes 4 --units 20 --problems basic few"
        " --models 'stacked denoising' 'k-sparse codes, logistic' LogisticRegression",
        "| basic | stacked denoising |",
    ),
    "mixed_imputation": (
        "--rows 60 --tables iris --rivals 'Imputer auto' SimpleImputer KNNImputer",
        "| right categories |",
    ),
    "mixtures": (
        "--rows 1500 --features 20 --threads 1 --rounds 1 --folds 2 --digits-rows 300 --sizes 2",
        "| sklearn full, reg_covar=0.1 |",
    ),
    "neighbours": ("--shapes tiny --busy 1 --repeats 1", "| 1 | tiny |"),
    "overhead": ("--parts start row --repeats 1", "score_samples, one row"),
    "recommenders": (
        "--parts quality --data drawn-600x200 --rivals popularity 'aefast EASE' 'aefast ELSA, 128'",
        "| aefast EASE | 0.",
    ),
    "rounds": (
        "--rows 400 --features 8 --components 3 --partitions 2 --epochs 2 --workers 1"
        " --batches 64 --predicted-rows 1e5",
        "workers, batch that computes half of its time",
    ),
    "sparse_coding": (
        "--tasks omp --problems '256 atoms of 8 x 8' --rivals aefast --threads 1 --repeats 1",
        "energy left",
    ),
    "sparse_rows": (
        "--columns 300 --wide 400 --components 4 --rows 512 --repeats 1 --seconds 0.05",
        "| exact Adam, 1e-3 |",
    ),
    "streams": ("--rows 4000 --repeats 1", "epoch, stream"),
    "torch_loss": ("--rounds 1 --steps 2", "| PyTorch / aefast |"),
    "variants": (
        "--parts variants outputs mask --shapes mnist-20 --solvers sgd --budget 0.05"
        " --only contraction poisson",
        "partial_fit, mask",
    ),
}


NEEDS_R = "factors_in_r"
NEEDS = {"streams": "pyarrow", "torch_loss": "torch"}


def test_a_suite_beside_r_says_what_it_needs():
    command = [sys.executable, "-m", f"benchmarks.suites.{NEEDS_R}"]
    options = {"cwd": runner.ROOT, "capture_output": True, "text": True}
    done = subprocess.run(command, env={**os.environ, "PATH": ""}, **options)
    assert done.returncode == 1 and done.stderr == "Rscript is not installed\n"


def test_every_suite_is_run():
    names = {module.name for module in iter_modules(suites.__path__)}
    assert {name for name in names if not name.startswith("test_")} == {NEEDS_R, *COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_suite_runs(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    arguments, expected = COMMANDS[name]
    command = [sys.executable, "-m", f"benchmarks.suites.{name}", *shlex.split(arguments)]
    done = subprocess.run(command, cwd=runner.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert not re.search(r"error:|failed", done.stdout.lower())
