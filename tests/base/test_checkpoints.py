"""Checkpoints: what they refuse by name, when they are written, and fits that go on from them."""

import json
import os
import warnings

import numpy as np
import pytest
from support.checkpointed import FITS, ROWS, Stopped, damaged, result

import aefast
from aefast import Autoencoder, AutoencoderCV, DictionaryLearning
from aefast._base import checkpoints, fingerprints
from aefast._base.fingerprints import described, fingerprint

OPTIONS = {"max_epochs": 3, "batch_size": 50, "random_state": 0}


@pytest.fixture
def stored(tmp_path):
    return tmp_path / "checkpoint"


def stop_after(n):
    def callback(epoch, *_):
        if epoch == n:
            raise Stopped

    return callback


def stopped(stored, rows=ROWS, *, after=2, **options):
    """Fit, and stop in epoch `after`, before it is stored."""
    options = OPTIONS | {"checkpoint_every": "epoch"} | options
    with pytest.raises(Stopped):
        Autoencoder(3, checkpoint=stored, callbacks=stop_after(after), **options).fit(rows)


def fit(stored, rows=ROWS, **options):
    return Autoencoder(3, checkpoint=stored, **(OPTIONS | options)).fit(rows)


# ---- refusals ----


@pytest.mark.parametrize(
    "options, match",
    [
        ({"max_epochs": 4}, "with max_epochs=3, while this one has max_epochs=4"),
        ({"corruption": ("masking", 0.1)}, "with corruption='auto', while .*masking"),
        ({"random_state": 1}, "with random_state=0, while this one has random_state=1"),
        ({"output": ("huber", {"delta": 2.0})}, "with output='gaussian', while .*huber"),
    ],
)
def test_other_parameters_are_refused_by_name(options, match, stored):
    stopped(stored)
    before = stored.read_bytes()
    ae = Autoencoder(3, checkpoint=stored, **(OPTIONS | options))
    with pytest.raises(ValueError, match=f"checkpoint is the checkpoint of a fit {match}.*resume"):
        ae.fit(ROWS)
    assert stored.read_bytes() == before and not hasattr(ae, "_state")


def test_other_rows_are_refused_by_name(stored):
    stopped(stored)
    other = ROWS.copy()
    other[-1, -1] += 1e-9
    weight = np.ones(len(ROWS))
    weight[0] = 2
    for rows, match in (
        (other, "to other rows: the entries of X differ"),
        (ROWS[:-1], r"to other rows: X is \(230, 6\) of float64 there and \(229, 6\)"),
        (ROWS.astype(np.float32), "float64 there and .*float32 here"),
    ):
        with pytest.raises(ValueError, match=match):
            fit(stored, rows)
    ae = Autoencoder(3, checkpoint=stored, **OPTIONS)
    with pytest.raises(ValueError, match="with no sample_weight, while this one has sample_weight"):
        ae.fit(ROWS, sample_weight=weight)
    with pytest.raises(ValueError, match="with no X_val, while this one has X_val"):
        ae.fit(ROWS, X_val=ROWS)
    with pytest.raises(ValueError, match="of Autoencoder, not DictionaryLearning"):
        DictionaryLearning(3, checkpoint=stored).fit(ROWS)


def test_long_tables_are_known_by_some_rows_and_all_means(stored, monkeypatch):
    monkeypatch.setattr(fingerprints, "HASHED_BYTES", 1 << 10)
    stopped(stored)
    other = ROWS.copy()
    row = next(i for i in range(len(ROWS)) if _is_not_hashed(i))
    other[row, 2] += 1e-6
    assert fingerprint(other) == fingerprint(ROWS)
    with pytest.raises(ValueError, match="to other rows, of which the column_means differ"):
        fit(stored, other)


def _is_not_hashed(row):
    other = ROWS.copy()
    other[row] += 1
    return fingerprint(other) == fingerprint(ROWS)


def test_resume_says_whether_a_file_is_gone_on_from(stored):
    with pytest.raises(FileNotFoundError, match=r"resume=True.*no checkpoint"):
        fit(stored, resume=True)
    stopped(stored)
    whole = result(Autoencoder(3, **OPTIONS).fit(ROWS))
    epochs = []
    for resume in (True, "auto", False):
        made = []
        copy = stored.read_bytes()
        ae = fit(stored, resume=resume, callbacks=lambda epoch, *_, made=made: made.append(epoch))
        assert result(ae) == whole
        epochs.append(made)
        stored.write_bytes(copy)
    assert epochs == [[2, 3], [2, 3], [1, 2, 3]]
    assert fit(stored, ROWS[:50], resume=False).n_epochs_ == 3  # replaces the file
    with pytest.raises(ValueError, match="other rows"):
        fit(stored)


@pytest.mark.parametrize("every", ["now", "10", "-3 s", "5 days", 0, 1.5, True])
def test_intervals_that_are_none(every):
    with pytest.raises((ValueError, TypeError), match="checkpoint_every"):
        Autoencoder(3, checkpoint_every=every).fit(ROWS)


def test_places_where_no_file_can_be(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint=.*there is no folder"):
        fit(tmp_path / "nowhere" / "checkpoint")
    with pytest.raises(IsADirectoryError, match=r"checkpoint=.*is a folder"):
        fit(tmp_path)


def _training(header):
    return header["stages"]["training"]["state"]


DAMAGES = {
    "version": lambda header, tensors: header.update(format_version=99),
    "format": lambda header, tensors: header.update(format="aefast autoencoder"),
    "no stages": lambda header, tensors: header.pop("stages"),
    "a loss": lambda header, tensors: _training(header)["losses"].append("x"),
    "a counter": lambda header, tensors: _training(header)["training"].update(n_steps=-1),
    "a place": lambda header, tensors: _training(header)["training"].update(n_rows_in_pass=9999),
    "the patience": lambda header, tensors: _training(header).update(patience={"best": 1.0}),
    "a shape": lambda header, tensors: tensors.update(
        {"training/parameters": np.zeros(3)},
    ),
    "a value": lambda header, tensors: tensors["training/parameters"].fill(np.nan),
    "a lost array": lambda header, tensors: tensors.pop("training/optimizer.0"),
    "another array": lambda header, tensors: tensors.update({"training/more": np.zeros(3)}),
    "a foreign array": lambda header, tensors: tensors.update({"more": np.zeros(3)}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoints_are_refused(damage, stored):
    stopped(stored)
    damaged(stored, DAMAGES[damage])
    with pytest.raises(ValueError, match=r"."):
        fit(stored)


@pytest.mark.parametrize("contents", [b"", b"x" * 100, b"\x93NUMPY", b"\x80\x04."])
def test_files_that_are_no_checkpoint(contents, stored):
    stored.write_bytes(contents)
    with pytest.raises(ValueError, match=r"is not a checkpoint that aefast can go on from.*resume"):
        fit(stored)
    stopped(stored, resume=False)
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is not a checkpoint"):
        fit(stored)


def test_a_model_file_is_no_checkpoint_and_the_other_way_round(stored):
    ae = Autoencoder(3, **OPTIONS).fit(ROWS)
    ae.save(stored)
    with pytest.raises(ValueError, match="its format is 'aefast autoencoder'"):
        fit(stored)
    fit(stored, resume=False)
    with pytest.raises(ValueError, match="its format is 'aefast checkpoint'"):
        aefast.load(stored)


# ---- going on ----


def test_threads_and_callbacks_may_change_and_a_drawn_seed_is_kept(stored):
    stopped(stored, random_state=None)
    heard = []
    ae = fit(
        stored, random_state=None, n_threads=1, callbacks=lambda epoch, *_: heard.append(epoch)
    )
    assert heard == [2, 3]
    again = fit(stored, random_state=None)  # the fit is over: its seed is that of the file
    assert result(again) == result(ae)
    assert result(Autoencoder(3, **(OPTIONS | {"random_state": None})).fit(ROWS)) != result(ae)


def test_other_machines_go_on_with_a_warning(stored):
    stopped(stored)
    damaged(stored, lambda header, tensors: header.update(instruction_set="other"))
    with pytest.warns(RuntimeWarning, match="with the instructions other; .*rounding errors"):
        assert fit(stored).n_epochs_ == 3


def test_a_warm_start_is_a_fit_of_its_own(stored):
    """After a fit that is over the next one of the chain begins; an interrupted one goes on."""
    options = OPTIONS | {"warm_start": True}
    whole = Autoencoder(3, **options).fit(ROWS).fit(ROWS)
    ae = fit(stored, **options)
    before = Autoencoder(3, **options).fit(ROWS)
    ae.set_params(callbacks=stop_after(2), checkpoint_every="epoch")
    with pytest.raises(Stopped):
        ae.fit(ROWS)
    before.set_params(checkpoint=stored)
    assert result(before.fit(ROWS)) == result(whole)
    assert len(before.history_["epoch"]) == 6 and before.n_epochs_ == 3
    other = Autoencoder(3, **(options | {"random_state": 0})).fit(ROWS[:100])
    other.set_params(checkpoint=stored)
    with pytest.raises(ValueError, match=r"began with other parameters|random_state"):
        other.fit(ROWS)


def test_a_step_interval_and_a_time(stored, monkeypatch):
    """Steps are counted; time is that since the last checkpoint; one is written in the end."""
    written = []
    monkeypatch.setattr(checkpoints.Checkpoint, "write", lambda self: written.append(1))
    counts = {}
    for every in (1, 5, 100, "epoch", "1 h", "0.0 s"):
        written.clear()
        fit(stored, checkpoint_every=every)
        counts[every] = len(written)
    assert counts[100] == counts["1 h"] == 1
    assert counts["epoch"] == 3  # the last one is that of the end
    assert counts[1] == counts[5] == 4  # an epoch is one slice of 5 steps
    assert counts["0.0 s"] == 6


@pytest.mark.parametrize("name", FITS)
def test_a_checkpoint_changes_nothing(name, stored):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make, rows = FITS[name]
        assert result(make(checkpoint=stored).fit(rows)) == result(make().fit(rows))
    assert os.listdir(stored.parent) == ["checkpoint"]


def test_a_search_goes_on_with_its_scores(stored, monkeypatch):
    options = {"param_grid": {"n_components": [1, 2, 3]}, "cv": 2, "random_state": 0}
    options["estimator"] = Autoencoder(max_epochs=2)
    whole = AutoencoderCV(**options).fit(ROWS)
    fits, fit_of = [], Autoencoder.fit

    def counted(self, *arguments, **given):
        if self.max_epochs == 2:
            fits.append(1)
            if len(fits) == 4:
                raise Stopped
        return fit_of(self, *arguments, **given)

    monkeypatch.setattr(Autoencoder, "fit", counted)
    options |= {"checkpoint": stored, "checkpoint_every": "epoch"}
    with pytest.raises(Stopped):
        AutoencoderCV(**options).fit(ROWS)
    search = AutoencoderCV(**options).fit(ROWS)
    assert len(fits) == 4 + 3  # six scores, of which three were stored
    assert search.components_.tobytes() == whole.components_.tobytes()
    assert np.array_equal(
        search.cv_results_["mean_test_score"], whole.cv_results_["mean_test_score"]
    )
    with pytest.raises(ValueError, match=r"with estimator__max_epochs=2, while .*max_epochs=3"):
        AutoencoderCV(**(options | {"estimator": Autoencoder(max_epochs=3)})).fit(ROWS)
    with pytest.raises(ValueError, match="would be that of every candidate"):
        AutoencoderCV(Autoencoder(checkpoint=stored)).fit(ROWS)


def test_descriptions_of_parameters():
    class Own:
        def __init__(self):
            self.b, self.a = np.arange(3), {"x": (1, 2.0)}

    assert described(np.int64(3)) == 3 and described((1, [2.5])) == [1, [2.5]]
    assert described(Own()) == described(Own()) == json.loads(json.dumps(described(Own())))
    assert described(np.arange(3)) != described(np.arange(3.0)) != described(np.arange(4.0))
