"""Histories, validation rows, progress by lines, callbacks for logs and limits of time."""

import csv
import math

import numpy as np
import pandas as pd
import pytest
from support.checkpointed import ROWS

import aefast
from aefast import Autoencoder, DictionaryLearning, StackedAutoencoder
from aefast.callbacks import CSVLogger, TimeLimit

COLUMNS = ["epoch", "step", "loss", "validation_loss", "learning_rate", "seconds"]
OPTIONS = {"max_epochs": 3, "batch_size": 50, "random_state": 0}


def stack(**options):
    return StackedAutoencoder((4, 2), pretrain_epochs=1, **(OPTIONS | options))


def learner(**options):
    return DictionaryLearning(5, alpha=0.1, tol=0, **(OPTIONS | options))


MAKERS = {
    "autoencoder": lambda **options: Autoencoder(3, **(OPTIONS | options)),
    "stacked": stack,
    "dictionary": learner,
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_history_is_a_table_of_epochs(name):
    estimator = MAKERS[name](early_stopping=True).fit(ROWS)
    table = pd.DataFrame(estimator.history_)
    losses, validation_losses = estimator._curves()
    assert list(table) == COLUMNS and list(table.epoch) == [1, 2, 3]
    assert list(table.loss) == losses and list(table.validation_loss) == validation_losses
    assert list(table.step) == [5, 10, 15]  # 207 rows in batches of 50
    assert table.seconds.is_monotonic_increasing and table.seconds.iloc[0] > 0
    assert estimator.best_epoch_ == 1 + int(np.argmin(validation_losses))
    assert table.learning_rate.isna().all() == (name == "dictionary")


@pytest.mark.parametrize(
    "schedule, rates",
    [
        ("constant", [0.01] * 3),
        ("invscaling", [0.01 / math.sqrt(t) for t in (5, 10, 15)]),
        ("cosine", [0.005 * (1 + math.cos(math.pi * s / 15)) for s in (4, 9, 14)]),
    ],
)
def test_rates_are_those_of_the_last_steps(schedule, rates):
    ae = Autoencoder(3, learning_rate=0.01, learning_rate_schedule=schedule, **OPTIONS).fit(ROWS)
    np.testing.assert_allclose(ae.history_["learning_rate"], rates, rtol=1e-12)


def test_warm_starts_and_partial_fits_continue_the_history():
    ae = Autoencoder(3, warm_start=True, **OPTIONS).fit(ROWS).fit(ROWS).partial_fit(ROWS)
    table = pd.DataFrame(ae.history_)
    assert list(table.epoch) == list(range(1, 8)) and list(table.step) == [
        5 * e for e in range(1, 8)
    ]
    assert table.seconds.is_monotonic_increasing
    assert list(table.loss[3:]) == ae.loss_curve_ and ae.n_epochs_ == 4
    ae.set_params(warm_start=False).fit(ROWS)
    assert list(ae.history_["epoch"]) == [1, 2, 3]


@pytest.mark.parametrize("name", MAKERS)
def test_files_have_histories_without_seconds(name, path):
    """The bytes of a file do not depend on the clock."""
    estimator = MAKERS[name]().fit(ROWS)
    estimator.save(path)
    loaded, contents = aefast.load(path), path.read_bytes()
    expected = {**estimator.history_, "seconds": [math.nan] * 3}
    pd.testing.assert_frame_equal(pd.DataFrame(loaded.history_), pd.DataFrame(expected))
    MAKERS[name]().fit(ROWS).save(path)
    assert path.read_bytes() == contents
    assert loaded.partial_fit(ROWS).history_["epoch"] == [1, 2, 3, 4]


def test_no_epoch_is_the_best_of_none():
    ae = Autoencoder(3, max_epochs=0).fit(ROWS)
    assert ae.best_epoch_ == 0 and ae.history_["epoch"] == []


# ---- validation rows ----


@pytest.mark.parametrize("name", MAKERS)
def test_validation_rows_are_watched_and_change_nothing(name):
    others = np.random.default_rng(1).random((77, 6))
    plain, watched = MAKERS[name]().fit(ROWS), MAKERS[name]().fit(ROWS, X_val=others)
    assert watched._curves()[0] == plain._curves()[0]
    assert watched.transform(ROWS).tobytes() == plain.transform(ROWS).tobytes()
    last = watched._curves()[1][-1]
    if name == "dictionary":
        assert last == pytest.approx(-watched.score(others), rel=1e-12)
    else:
        assert last == pytest.approx(watched.reconstruction_error(others).mean(), rel=1e-12)


def test_validation_rows_take_the_place_of_held_out_ones():
    """All rows are trained on, and the parameters of the best epoch are kept."""
    others = np.random.default_rng(1).random((30, 6))
    options = OPTIONS | {"max_epochs": 12, "learning_rate": 1.0, "tol": 0, "output": "laplace"}
    ae = Autoencoder(3, early_stopping=True, **options).fit(ROWS, X_val=others)
    assert ae.history_["step"][-1] == 12 * 5 and ae.n_epochs_ == 12
    best = min(ae.validation_loss_curve_)
    assert ae.reconstruction_error(others).mean() == pytest.approx(best, rel=1e-12)
    assert ae.validation_loss_curve_[ae.best_epoch_ - 1] == best < ae.validation_loss_curve_[-1]


def test_validation_rows_of_lbfgs_and_with_gaps():
    options = {"max_epochs": 4, "random_state": 0, "missing": "mask"}
    gaps = ROWS.copy()
    gaps[::7, 2] = np.nan
    for solver in ("lbfgs", "adam"):
        ae = Autoencoder(3, solver=solver, **options).fit(ROWS, X_val=gaps)
        error = ae.reconstruction_error(gaps).mean()
        assert ae.validation_loss_curve_[-1] == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize("name", MAKERS)
def test_bad_validation_rows_are_named(name):
    estimator = MAKERS[name]()
    bad = ROWS.copy()
    bad[3, 2] = np.inf
    frames = [pd.DataFrame(ROWS, columns=list(names)) for names in ("abcdef", "abcdfe")]
    for X, X_val, match in (
        (ROWS, ROWS[:, :5], "X_val must have the 6 columns of X, got 5"),
        (ROWS, bad, "X_val .*row 3, column 2"),
        (ROWS, "rows", "X_val"),
        (*frames, "X_val must have the columns of X, in their order"),
    ):
        with pytest.raises((ValueError, TypeError), match=match):
            estimator.fit(X, X_val=X_val)
    assert not hasattr(estimator, "_state")


# ---- progress and callbacks ----


@pytest.mark.parametrize("name", MAKERS)
def test_lines_for_files_of_logs(name, capsys):
    MAKERS[name](verbose=2).fit(ROWS, X_val=ROWS)
    lines = [line for line in capsys.readouterr().err.splitlines() if "step " in line]
    assert len(lines) == (5 if name == "stacked" else 3)
    assert "\r" not in "".join(lines)
    assert lines[-1].startswith("epoch 3/3: step 15, loss ") and ", validation loss " in lines[-1]
    assert lines[-1].rsplit(" ", 2)[-2] == "seconds"


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", MAKERS)
def test_a_log_has_the_history(name, tmp_path):
    path = tmp_path / "log.csv"
    estimator = MAKERS[name](callbacks=CSVLogger(path)).fit(ROWS, X_val=ROWS).partial_fit(ROWS)
    table = pd.read_csv(path)
    expected = pd.DataFrame(estimator.history_)
    pd.testing.assert_frame_equal(table, expected, check_exact=True)
    MAKERS[name](callbacks=CSVLogger(path), max_epochs=1).fit(ROWS)
    assert [row["epoch"] for row in rows_of(path)] == ["1"]


def test_a_log_loses_rows_that_come_again_after_a_kill(tmp_path):
    path, stored = tmp_path / "log.csv", tmp_path / "checkpoint"

    def stop(epoch, *_):
        if epoch == 3:
            raise KeyError

    options = OPTIONS | {"max_epochs": 5, "checkpoint": stored, "checkpoint_every": 10}
    ae = Autoencoder(3, callbacks=[CSVLogger(path), stop], **options)
    with pytest.raises(KeyError):
        ae.fit(ROWS)
    assert len(rows_of(path)) == 3
    path.write_text(path.read_text() + "4,")  # a row that a kill has cut
    ae.set_params(callbacks=CSVLogger(path)).fit(ROWS)
    assert [row["epoch"] for row in rows_of(path)] == list("12345")
    assert [float(row["loss"]) for row in rows_of(path)] == ae.loss_curve_


def test_a_limit_of_time_counts_the_seconds_of_the_history():
    class Model:
        history_ = {"seconds": [5.0, 6.0, 7.5, 9.0]}

    limit = TimeLimit(2.5)
    assert limit(2, 0.0, None, Model) is True  # 3 seconds since the second epoch
    assert limit(1, 0.0, None, Model) is False
    ae = Autoencoder(3, callbacks=TimeLimit(1e-9), **OPTIONS).fit(ROWS)
    assert ae.n_epochs_ == 1
    with pytest.raises(ValueError, match="seconds must be positive"):
        TimeLimit(0)
