"""A model file that was damaged or forged loads as a model that works, or is refused."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.mutated_files import N_FEATURES, example_files, mutations
from support.outcomes import LONG, SHORT, outcome_of

import aefast

# Memory that a load may take beside what it takes for every file: a few copies of the file.
MOST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Contents of a file of each format, in a list; the classes' modules are loaded."""
    path = tmp_path_factory.mktemp("examples") / "model"
    contents = []
    for model in example_files():
        model.save(path)
        aefast.load(path)
        contents.append(path.read_bytes())
    return contents


def use(model):
    """Ask for what a user would: codes, then one more step of learning."""
    if isinstance(model, aefast.SufficientStatistics):
        outcome_of(model.covariance, "covariance")
        outcome_of(model.update, "update", np.ones((2, model.n_features_in_)))
        return
    rows = np.eye(model.n_features_in_)[: 2 * N_FEATURES] + 0.25
    outcome_of(model.transform, "transform", rows)
    if hasattr(model, "partial_fit"):
        outcome_of(model.partial_fit, "partial_fit", rows)
        outcome_of(model.transform, "transform", rows)


def load_somehow(path):
    """Load, and assert that a refusal names the file and took no memory that the file lacks."""
    tracemalloc.start()
    try:
        return aefast.load(path)
    except ValueError as error:
        assert str(path) in str(error)
        event("refused")
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MOST_BYTES + 20 * path.stat().st_size, f"{peak} bytes"
    return None


def check_mutated(data, examples, folder):
    path = folder / "mutated.safetensors"
    path.write_bytes(data.draw(st.sampled_from(examples).flatmap(mutations)))
    model = load_somehow(path)
    if model is not None:
        event(f"loaded: {type(model).__name__}")
        use(model)


@settings(max_examples=60, **SHORT)
@given(data=st.data())
def test_mutated_files(data, examples, tmp_path_factory):
    check_mutated(data, examples, tmp_path_factory.getbasetemp())


@pytest.mark.fuzz
@settings(LONG, max_examples=8 * LONG.max_examples)
@given(data=st.data())
def test_mutated_files_long(data, examples, tmp_path_factory):
    check_mutated(data, examples, tmp_path_factory.getbasetemp())


@pytest.mark.fuzz
def test_coverage_guided(examples, tmp_path):
    """Atheris looks for files that reach other lines of the loader."""
    pytest.importorskip("atheris", reason="pip install atheris: it has wheels for some Pythons")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, contents in enumerate(examples):
        (corpus / str(number)).write_bytes(contents)
    seconds = os.environ.get("AEFAST_FUZZ_SECONDS", "120")
    limits = ["-max_len=20000", "-rss_limit_mb=2048", "-timeout=20"]
    done = subprocess.run(
        [
            *(sys.executable, Path(__file__).with_name("coverage_guided.py"), str(corpus)),
            *(f"-max_total_time={seconds}", *limits),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    print(done.stderr[-3000:])
    assert done.returncode == 0, done.stderr[-6000:]
