"""Checkpoints of estimators that train no network by themselves, or many, or of other solvers."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from support.checkpointed import ROWS, WIDE, Stopped, damaged, header_and_tensors, result

from aefast import (
    AnomalyDetector,
    Autoencoder,
    AutoencoderCV,
    AutoencoderEnsemble,
    FactorAnalysis,
    Imputer,
    ItemAutoencoder,
    ProbabilisticPCA,
    TableAutoencoder,
)
from aefast._base import checkpoints, fingerprints, replay
from aefast._base.fingerprints import fingerprint

OPTIONS = {"max_epochs": 3, "batch_size": 50, "random_state": 0}


@pytest.fixture
def stored(tmp_path):
    return tmp_path / "checkpoint"


def is_not_hashed(row):
    other = ROWS.copy()
    other[row] += 1
    return fingerprint(other) == fingerprint(ROWS)


def test_an_ensemble_knows_its_groups_and_its_progress(stored):
    groups = np.array(["drill", "saw", "press"])[np.arange(len(ROWS)) % 3]
    make = partial(AutoencoderEnsemble, n_components=2, max_epochs=3, checkpoint=stored)
    seeded = partial(make, random_state=0)
    whole = result(seeded().fit(ROWS, groups=groups))
    assert result(seeded(resume=True).fit(ROWS, groups=groups)) == whole
    with pytest.raises(ValueError, match="with groups, while this one has no groups"):
        seeded().fit(ROWS)
    with pytest.raises(ValueError, match="to other rows: the entries of groups differ"):
        seeded().fit(ROWS, groups=groups[::-1])
    for name, value in (("place", 10**6), ("n_epochs", 4), ("n_steps", -1), ("most_epochs", 9)):
        contents = stored.read_bytes()
        damaged(
            stored, lambda header, of, name=name, value=value: of[_of_progress(name)].fill(value)
        )
        with pytest.raises(ValueError, match="the progress of networks is none of this training"):
            seeded().fit(ROWS, groups=groups)
        stored.write_bytes(contents)
    stored.unlink()
    drawn = make().fit(ROWS[:40])  # its seed is that of the file
    assert result(make().fit(ROWS[:40])) == result(drawn)
    assert drawn.members_[0].checkpoint is None


@pytest.mark.parametrize("state", [0, None])
def test_fits_within_a_fit_have_parts_of_its_checkpoint(state, stored, monkeypatch):
    """And seeds that are drawn are those of the file."""
    epochs, ends_in = [], [3]

    def heard(epoch, *_):
        Autoencoder(1, max_epochs=1).fit(ROWS[:20])  # of a callback: no part of the checkpoint
        epochs.append(epoch)
        if epoch == ends_in[0]:
            raise Stopped

    inner = Autoencoder(2, **(OPTIONS | {"random_state": state, "max_epochs": 4}), callbacks=heard)
    options = {"checkpoint": stored, "checkpoint_every": "epoch", "random_state": state}
    detector = AnomalyDetector(make_pipeline(inner), **options)
    with pytest.raises(Stopped):
        detector.fit(ROWS)
    ends_in[0] = None
    fitted = clone(detector).fit(ROWS)
    assert epochs == [1, 2, 3, 3, 4]
    again = clone(detector).set_params(resume=True).fit(ROWS)
    assert len(epochs) == 5
    for name in ("offset_", "usual_surprise_"):
        assert np.array_equal(getattr(fitted, name), getattr(again, name))
    if state == 0:
        whole = AnomalyDetector(make_pipeline(inner), random_state=0).fit(ROWS)
        assert whole.score_samples(ROWS).tobytes() == fitted.score_samples(ROWS).tobytes()
    names = header_and_tensors(stored)[0]["stages"]
    parts = {f"Autoencoder 1, {name}" for name in ("seed", "tables", "training")}
    assert names.keys() == {*parts, "fit"}


def test_a_search_within_a_fit(stored, monkeypatch):
    """Its candidates have no parts: those whose scores are known are not fitted again."""
    search = AutoencoderCV(
        Autoencoder(max_epochs=2, batch_size=50), {"n_components": [1, 2]}, cv=2, random_state=0
    )
    whole = AnomalyDetector(search).fit(ROWS)
    detector, run = AnomalyDetector(search, checkpoint=stored, checkpoint_every=1), Autoencoder._run

    def stops(self, *arguments, **options):
        if self.n_components == 2:
            raise Stopped
        run(self, *arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Autoencoder, "_run", stops)
        detector.fit(ROWS)
    goes_on = clone(detector).set_params(resume=True).fit(ROWS)
    assert goes_on.score_samples(ROWS).tobytes() == whole.score_samples(ROWS).tobytes()


def test_fits_within_a_fit_know_their_rows(stored):
    """A part is refused where the fit within gets other rows, as from another version's code."""
    outer = Imputer("ppca", checkpoint=stored, checkpoint_every=1)
    for rows, refused in ((ROWS, False), (ROWS, False), (ROWS[1:], True)):
        checkpoint = checkpoints.Checkpoint(outer)
        checkpoint.identify(0, {})
        with replay.stages_of(checkpoint):
            if not refused:
                ProbabilisticPCA(2).fit(rows)
                continue
            with pytest.raises(ValueError, match="whose ProbabilisticPCA 1 was one to other rows"):
                ProbabilisticPCA(2).fit(rows)


def test_detectors_and_imputers_know_what_they_were_given(stored):
    inner = Autoencoder(2, **OPTIONS)
    detector = AnomalyDetector(inner, checkpoint=stored)
    labels = np.where(np.arange(len(ROWS)) < 9, 1.0, np.nan)
    detector.fit(ROWS, anomaly_labels=labels)
    with pytest.raises(ValueError, match="with anomaly_labels, while this one has no anomaly_lab"):
        clone(detector).fit(ROWS)
    with pytest.raises(ValueError, match=r"with estimator__max_epochs=3, while .*max_epochs=4"):
        clone(detector).set_params(estimator__max_epochs=4).fit(ROWS, anomaly_labels=labels)
    with pytest.raises(ValueError, match="the estimator has a checkpoint of its own"):
        clone(detector).set_params(estimator__checkpoint="other").fit(ROWS)
    with pytest.raises(ValueError, match="of AnomalyDetector, not Imputer"):
        Imputer("ppca", checkpoint=stored).fit(ROWS)
    stored.unlink()
    gaps = np.where(ROWS > 0.9, np.nan, ROWS)
    Imputer("ppca", n_components=1, checkpoint=stored).fit(gaps)
    with pytest.raises(ValueError, match="with n_components=1, while this one has n_components=2"):
        Imputer("ppca", n_components=2, checkpoint=stored).fit(gaps)
    with pytest.raises(ValueError, match="to other rows: the entries of X differ"):
        Imputer("ppca", n_components=1, checkpoint=stored).fit(gaps[::-1])


def test_a_table_model_has_the_checkpoint_of_its_network(stored):
    frame = pd.DataFrame({"kind": np.where(ROWS[:, 0] > 0.5, "a", "b"), "size": ROWS[:, 1]})
    network = Autoencoder(2, **OPTIONS, checkpoint=stored)
    model = TableAutoencoder(network).fit(frame)
    again = TableAutoencoder(clone(network).set_params(resume=True)).fit(frame)
    assert result(again.autoencoder_) == result(model.autoencoder_)
    with pytest.raises(ValueError, match="to other rows"):
        TableAutoencoder(network).fit(frame[:100])


def _of_progress(name):
    return f"training/progress.{name}"


# ---- evaluations that are replayed ----


GAPS = np.where(ROWS > 0.9, np.nan, ROWS)
FACTORS = partial(FactorAnalysis, 2, min_noise=0.01)
STAGES = {
    "profile 1": (FACTORS, ROWS),
    "expectation maximization 1": (FACTORS, GAPS),
    "observed entries 1": (FACTORS, GAPS),
    "completed rows 1": (partial(ProbabilisticPCA, 2, tol=0), GAPS),
    "Lanczos 1": (partial(ProbabilisticPCA, 2, svd_solver="krylov", tol=1e-12), WIDE),
    "low rank 1": (partial(ItemAutoencoder, n_components=2), ROWS),
}


def stopped_in(stage, stored, monkeypatch):
    """Fit until a stage has been written that is not over, and return a function that goes on."""
    make, rows = STAGES[stage]
    write, n_written = checkpoints.Stage.write, []

    def stops(self, *arguments, **options):
        write(self, *arguments, **options)
        n_written.append(self._name == stage)
        if sum(n_written) == 3:
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(checkpoints.Stage, "write", stops)
        make(checkpoint=stored, checkpoint_every=1).fit(rows)
    return lambda **options: make(**options).fit(rows)


@pytest.mark.parametrize("stage", STAGES)
def test_damaged_stages_of_other_solvers_are_refused(stage, stored, monkeypatch):
    go_on = stopped_in(stage, stored, monkeypatch)
    contents, (header, tensors) = stored.read_bytes(), header_and_tensors(stored)
    state = header["stages"][stage]["state"]
    names = [name for name in tensors if name.startswith(stage)]
    assert names and state

    def spoilt(name):
        array = tensors[name].copy()
        array.flat[0] = np.nan
        return {name: array}

    damages = [
        lambda header, of: of.pop(names[0]),
        lambda header, of: of.update({names[-1]: np.zeros((2, 2, 2))}),
        lambda header, of: of.update({f"{stage}/more": np.zeros(3)}),
        lambda header, of: of.update(spoilt(names[-1])),
        *(
            lambda header, of, key=key: header["stages"][stage]["state"].update({key: "x"})
            for key in state
        ),
    ]
    for damage in damages:
        damaged(stored, damage)
        with pytest.raises(ValueError, match=r"expected|finite|arrays"):
            go_on(checkpoint=stored)
        stored.write_bytes(contents)
    assert result(go_on(checkpoint=stored)) == result(go_on())


def test_a_model_of_factors_knows_its_rows(stored):
    """Those that are fitted in closed form too; and the seed is drawn once."""
    for model in (FactorAnalysis(2, max_iter=5), ProbabilisticPCA(2, random_state=None)):
        stored.unlink(missing_ok=True)
        model.set_params(checkpoint=stored)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            first = result(model.fit(ROWS))
            assert result(clone(model).set_params(resume=True).fit(ROWS)) == first
        assert model.get_params()["random_state"] is None if hasattr(model, "random_state") else 1
        with pytest.raises(ValueError, match="to other rows: the entries of X differ"):
            clone(model).fit(ROWS[::-1])
        with pytest.raises(ValueError, match="with no sample_weight, while this one has"):
            clone(model).fit(ROWS, sample_weight=np.ones(len(ROWS)))
        with pytest.raises(ValueError, match=r"with n_components=2, while this one has n_comp.*=3"):
            clone(model).set_params(n_components=3).fit(ROWS)


def test_rows_with_gaps_are_known_by_their_means(stored, monkeypatch):
    monkeypatch.setattr(fingerprints, "HASHED_BYTES", 1 << 10)
    gaps = np.where(ROWS > 0.95, np.nan, ROWS)
    other = gaps.copy()
    other[next(i for i in range(len(ROWS)) if is_not_hashed(i)), 2] = 0.5
    make = partial(ProbabilisticPCA, 2, checkpoint=stored)
    make().fit(gaps)
    with pytest.raises(ValueError, match="to other rows, of which the column_means differ"):
        make().fit(other)


def test_a_solver_that_takes_another_path_goes_on_with_a_warning(stored):
    """As another version of SciPy may: what it asks for is evaluated anew."""
    asked = []

    def square(x):
        asked.append(float(x[0]))
        return float(x @ x), 2 * x

    def run(*points):
        asked.clear()
        checkpoint = checkpoints.Checkpoint(FactorAnalysis(checkpoint=stored, checkpoint_every=1))
        checkpoint.identify(0, {})
        with replay.stages_of(checkpoint):
            function = replay.Replayed("squares", square)
            return [function(np.array([point]))[0] for point in points]

    assert run(1.0, 2.0, 3.0) == [1.0, 4.0, 9.0] and asked == [1.0, 2.0, 3.0]
    assert run(1.0, 2.0, 3.0, 4.0) == [1.0, 4.0, 9.0, 16.0] and asked == [4.0]
    with pytest.warns(RuntimeWarning, match="the solver takes another path"):
        assert run(1.0, 5.0, 3.0) == [1.0, 25.0, 9.0]
    assert asked == [5.0, 3.0]
    assert run(1.0, 5.0, 3.0, 4.0)[3] == 16.0 and asked == [4.0]
