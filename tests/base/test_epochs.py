"""The loop over epochs, with a training and an estimator written from the protocols alone."""

import numpy as np
import pytest

from aefast._base.epochs import Diverged, EpochTraining, Training, run_epochs
from aefast._base.stopping import EarlyStopping, Patience


class Countdown(EpochTraining):
    """Training whose loss in epoch i is losses[i]; an exception in losses is raised."""

    n_rows = 10

    def __init__(self, losses, calls):
        self.losses, self.calls = losses, calls
        self.value = self.best = None
        self.n_epochs_made = 0

    @property
    def n_rows_seen(self):
        return self.n_rows * self.n_epochs_made

    def values(self):
        self.calls.append("values")
        return self.value

    def reread(self):
        self.calls.append("reread")

    def settle(self):
        self.calls.append("settle")

    def epoch(self, on_slice):
        self.calls.append("epoch")
        loss = self.losses[self.n_epochs_made]
        if isinstance(loss, BaseException):
            raise loss
        self.value = loss
        self.n_epochs_made += 1
        if on_slice is not None:
            on_slice(4, loss)
            on_slice(6, loss)
        return loss

    def keep_best(self):
        self.calls.append("keep_best")
        self.best = self.value

    def restore_best(self):
        self.calls.append("restore_best")
        self.value = self.best


class Model:
    """The estimator's side."""

    def __init__(self, callbacks=None, verbose=0):
        self.callbacks, self.verbose = callbacks, verbose
        self.n_epochs_, self.losses_, self.validation_losses_ = 0, [], []
        self._state, self._rows = None, []

    def _history_rows(self):
        return self._rows

    def _curves(self):
        return self.losses_, self.validation_losses_

    def _keep(self, training):
        self._state = training.values(), training.n_rows_seen

    def _divergence_error(self, epoch, column):
        return FloatingPointError(f"epoch {epoch}, column {column}")


FOREVER = {"tol": 0.0, "n_epochs_no_change": 1}


def train(losses, n_epochs, *, callbacks=None, held_out=None, patience=FOREVER, verbose=0):
    """(estimator, calls); `held_out` is a function of the training's value."""
    calls, model = [], Model(callbacks, verbose)
    training, early_stopping = Countdown(losses, calls), None
    if held_out is not None:
        early_stopping = EarlyStopping(training, lambda: held_out(training.value))
    try:
        run_epochs(model, training, n_epochs, Patience(**patience), early_stopping)
    except BaseException as error:
        error.seen = model, calls
        raise
    return model, calls


def test_the_plain_order_of_calls():
    model, calls = train([3.0, 2.0, 1.0], 2)
    assert calls == ["epoch", "values", "epoch", "values", "values"]
    assert (model.losses_, model.validation_losses_, model.n_epochs_) == ([3.0, 2.0], [], 2)
    assert model._state == (2.0, 20)


def test_no_epoch_leaves_the_start():
    model, calls = train([], 0, held_out=abs)
    assert calls == ["values"] and model._state == (None, 0)


def test_the_order_of_calls_with_validation_and_callbacks():
    seen = []

    def callback(epoch, loss, validation_loss, model):
        seen.append((epoch, loss, validation_loss, *model._state, list(model.losses_)))

    model, calls = train([3.0, 2.0, 5.0], 3, callbacks=[callback], held_out=lambda loss: 10 * loss)
    better, worse = ["epoch", "values", "keep_best", "reread"], ["epoch", "values", "reread"]
    assert calls == better + better + worse + ["restore_best", "values"]
    assert model.validation_losses_ == [30.0, 20.0, 50.0]
    assert model._state == (2.0, 30)
    assert seen[1] == (2, 2.0, 20.0, 2.0, 20, [3.0, 2.0])


def test_of_equal_epochs_the_first_is_the_best():
    model, calls = train([3.0, 2.0, 1.0], 3, held_out=lambda loss: 7.0)
    assert calls.count("keep_best") == 1 and model._state[0] == 3.0


def test_every_callback_hears_of_the_epoch_in_which_one_stops():
    heard = []

    def stop(epoch, *_):
        heard.append("stop")
        return epoch == 2

    def truthy(*_):
        heard.append("truthy")
        return 1

    model, _ = train([4.0, 3.0, 2.0], 3, callbacks=[stop, truthy])
    assert model.n_epochs_ == 2 and heard == ["stop", "truthy"] * 2


@pytest.mark.parametrize(
    "relative, losses, expected",
    [
        (False, [100.0, 99.5, 99.0, 98.9, 98.8], 4),  # 99.0 is the last better by 0.4 than the best
        (True, [1.0, 0.5, 0.4, 0.35, 0.32, 0.3], 4),  # 0.35 · 1.4 > 0.4: no better
        (True, [1.0, 0.0, 0.0, 0.0, 0.0], 5),  # no margin is left below zero
    ],
)
def test_patience(relative, losses, expected):
    patience = {"tol": 0.4, "n_epochs_no_change": 2 if relative else 1, "relative": relative}
    model, _ = train(losses, 5, patience=patience)
    assert model.n_epochs_ == expected


def test_patience_follows_the_validation_loss():
    patience = {"tol": 1e-9, "n_epochs_no_change": 1}
    model, _ = train([4.0, 3.0, 2.0], 3, patience=patience, held_out=lambda loss: -loss)
    assert model.n_epochs_ == 2 and model._state[0] == 4.0


def test_divergence_is_the_estimators_error():
    with pytest.raises(FloatingPointError, match="epoch 2, column 7") as caught:
        train([3.0, Diverged(7)], 5, held_out=abs)
    assert caught.value.__suppress_context__
    model, calls = caught.value.seen
    assert calls[-3:] == ["epoch", "settle", "values"] and "restore_best" not in calls
    assert model.n_epochs_ == len(model.losses_) == 1


@pytest.mark.parametrize("held_out", [np.nan, np.inf])
def test_divergence_on_held_out_rows(held_out):
    with pytest.raises(FloatingPointError, match="epoch 1, column None") as caught:
        train([3.0, 2.0], 2, held_out=lambda loss: held_out)
    model, calls = caught.value.seen
    assert calls[-2:] == ["settle", "values"] and "keep_best" not in calls
    assert model.validation_losses_ == []


def test_an_interrupt_settles_and_is_kept():
    with pytest.raises(KeyboardInterrupt) as caught:
        train([3.0, KeyboardInterrupt()], 5, held_out=abs)
    model, calls = caught.value.seen
    assert calls[-3:] == ["epoch", "settle", "values"]
    assert model._state == (3.0, 10) and model.n_epochs_ == 1


def test_progress_counts_the_rows(capsys):
    train([3.0, 2.0], 2, held_out=abs, verbose=1)
    shown = capsys.readouterr().err
    assert "epoch 2/2" in shown and "20.0/20.0" in shown and "validation=3" in shown


class Minimiser(Countdown):
    """A loop that belongs to somebody else, and calls back after its iterations."""

    def run(self, epochs):
        for loss in self.losses[: epochs.n_epochs]:
            self.value, self.n_epochs_made = loss, self.n_epochs_made + 1
            epochs.begin()
            if epochs.end(loss):
                return


def test_a_training_may_bring_its_own_loop():
    calls, model = [], Model(callbacks=lambda epoch, *_: epoch == 2)
    run_epochs(model, Minimiser([3.0, 2.0, 1.0], calls), 5, Patience(**FOREVER))
    assert model.losses_ == [3.0, 2.0] and model._state == (2.0, 20)
    assert "epoch" not in calls


def test_all_trainings_implement_the_protocol():
    from aefast.networks.training.lbfgs import FullBatch
    from aefast.networks.training.minibatches import MiniBatches
    from aefast.sparse_coding.training import DictionaryTraining

    assert EpochTraining in MiniBatches.__mro__ and EpochTraining in DictionaryTraining.__mro__
    assert Training in FullBatch.__mro__
    for implementation in (MiniBatches, FullBatch, DictionaryTraining):
        assert not implementation.__abstractmethods__
