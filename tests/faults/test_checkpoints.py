"""Fits that end at any moment and go on from their checkpoint, with the bits of one whole fit."""

import os
import signal
import warnings

import numpy as np
import pytest
from support.checkpointed import FITS, result
from support.line_faults import call_with_fault, n_lines
from support.processes import killed, seconds_of

import aefast
from aefast._base import checkpoints, passes
from aefast.cli import main
from aefast.networks.training import automatic, factored, many

SOME = ("autoencoder", "stacked", "dictionary")  # of the default tier
LONG = {name for name in FITS if name.startswith(("number", "wide"))}


def kinds(of):
    """Return names of fits, of which only some are in the default tier."""
    return [name if name in of else pytest.param(name, marks=pytest.mark.extra) for name in FITS]


KINDS = kinds(SOME)


@pytest.fixture(autouse=True)
def _stored_in_each_slice(monkeypatch):
    """Slices of one batch, with a checkpoint after each."""
    monkeypatch.setattr(passes, "SLICE_SECONDS", 1e-9)
    monkeypatch.setattr(passes, "FASTEST_GROWTH", 1)
    monkeypatch.setattr(many, "SLICE_SECONDS", 1e-9)
    monkeypatch.setattr(many, "FASTEST_GROWTH", 1)
    monkeypatch.setattr(checkpoints.Checkpoint, "is_due", lambda self, n_steps: True)
    monkeypatch.setattr(automatic, "FEWEST_STEPS", 40)
    monkeypatch.setattr(automatic, "FEWEST_PASSES", 40)
    monkeypatch.setattr(factored, "REFRESHED", 7)  # renewals of all factors, and of some
    monkeypatch.setattr(factored, "LIMITS", dict.fromkeys(factored.LIMITS, 1.05))
    monkeypatch.setattr(factored, "SPREAD", 1.02)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def fit(name, rows=None, **options):
    make, table = FITS[name]
    return make(**options).fit(table if rows is None else rows)


def random_moments(seconds):
    return (np.random.default_rng(0).random(1000) * seconds).tolist()


@pytest.mark.parametrize("name", kinds(FITS.keys() - LONG))
def test_a_fit_that_is_killed_again_and_again(name, tmp_path):
    """Each process goes on from where the one before was killed, by SIGKILL."""
    path = tmp_path / "checkpoint"
    whole, seconds = result(fit(name)), seconds_of(fit, name)
    n_kills = 0
    for after in random_moments(0.8 * seconds + 0.05):
        status = killed(lambda: fit(name, checkpoint=path), after=after)
        assert status in (0, -signal.SIGKILL)
        n_kills += status != 0
        if status == 0 or n_kills == 4:
            break
    assert result(fit(name, checkpoint=path)) == whole
    assert result(fit(name, checkpoint=path, resume=True)) == whole  # of the fit that is over
    assert os.listdir(tmp_path) == ["checkpoint"]


@pytest.mark.parametrize("n_places", [4, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", KINDS)
def test_ctrl_c_at_lines_of_a_fit(name, n_places, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    path, whole = tmp_path / "checkpoint", result(fit(name))
    n = n_lines(lambda: fit(name, checkpoint=path))
    for place in range(0, n, max(1, n // n_places)):
        path.unlink(missing_ok=True)
        where = call_with_fault(lambda: fit(name, checkpoint=path), place).where
        assert result(fit(name, checkpoint=path)) == whole, where


@pytest.mark.parametrize("name", KINDS)
def test_a_full_disk_leaves_the_last_checkpoint(name, tmp_path, monkeypatch):
    """The fit goes on, and so does a later one, from what the disk has taken."""
    path, whole = tmp_path / "checkpoint", result(fit(name))
    fsync, n_written = os.fsync, []

    def no_space_after_some(descriptor):
        n_written.append(1)
        if len(n_written) > 6:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", no_space_after_some)
    with pytest.warns(RuntimeWarning, match=r"cannot be written: .*No space left.*goes on"):
        assert result(fit(name, checkpoint=path)) == whole
    assert os.listdir(tmp_path) == ["checkpoint"]
    monkeypatch.setattr(os, "fsync", fsync)
    assert result(fit(name, checkpoint=path)) == whole


def test_a_fit_from_a_memory_map_skips_what_it_has_visited(tmp_path, monkeypatch):
    """Rows are shuffled by blocks, of which a resumed pass reads those that are left."""
    monkeypatch.setattr(passes, "BLOCK_BYTES", 1 << 10)
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((4000, 6), np.float32))
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    whole = result(fit("autoencoder", rows, batch_size=50, shuffle=True))
    path, write, n_written = tmp_path / "checkpoint", checkpoints.Checkpoint.write, []

    def interrupted(self):
        write(self)
        n_written.append(1)
        if len(n_written) in (30, 71):
            raise SystemExit  # no KeyboardInterrupt: what was written counts

    monkeypatch.setattr(checkpoints.Checkpoint, "write", interrupted)
    options = {"batch_size": 50, "shuffle": True, "checkpoint": path}
    for _ in range(2):
        with pytest.raises(SystemExit):
            fit("autoencoder", rows, **options)
    read = []
    advise = passes.MappedRows.will_need
    monkeypatch.setattr(
        passes.MappedRows, "will_need", lambda self, ranges: read.append(1) or advise(self, ranges)
    )
    assert result(fit("autoencoder", rows, **options)) == whole
    assert len(n_written) > 72 and read


def test_a_command_that_is_killed_goes_on(folder):
    np.save("rows.npy", np.random.default_rng(0).random((600, 8)))
    argv = "fit rows.npy -k 4 --epochs 40 --no-plots --quiet --out".split()
    assert main([*argv, "whole"]) == 0
    with_checkpoint = [*argv, "out", "--checkpoint", "stored", "--checkpoint-every", "epoch"]
    for after in random_moments(2.0)[:3]:
        assert killed(main, with_checkpoint, after=after) in (0, -signal.SIGKILL)
    assert main(with_checkpoint) == 0
    whole, out = (aefast.load(name) for name in ("whole", "out"))
    assert whole.components_.tobytes() == out.components_.tobytes()
    assert main([*with_checkpoint, "--resume"]) == 0
