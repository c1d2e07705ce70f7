"""Callbacks that raise, fit the estimator that is being trained, or delete its attributes."""

import contextlib

import numpy as np
import pytest
from support.small_fits import SMALL_FITS, codes, fit, is_fitted

import aefast

TRAINED = ["autoencoder", "early stopping", "lbfgs", "stacked", "dictionary"]
AT_ONCE = r"after epoch 1 a callback has fitted .* or deleted .*\(sklearn\.base\.clone"


def with_callback(name, callback):
    return SMALL_FITS[name].make().set_params(callbacks=callback)


def without_callbacks(estimator, function):
    """Call a function while the estimator has no callbacks."""
    callbacks, estimator.callbacks = estimator.callbacks, None
    try:
        function()
    finally:
        estimator.callbacks = callbacks


def check_usable(estimator, of, path):
    """Check that the estimator is a complete model, and can be fitted again."""
    estimator.callbacks = None
    now = codes(estimator, of)
    estimator.save(path)
    assert codes(aefast.load(path), of) == now
    check_fits_again(estimator, of)


def check_fits_again(estimator, of):
    estimator.callbacks = None
    assert codes(fit(estimator, of.rows), of) == codes(of.fitted(of.rows), of)


@pytest.mark.parametrize(
    "error", [RuntimeError, StopIteration, SystemExit, GeneratorExit, MemoryError]
)
@pytest.mark.parametrize("name", TRAINED)
def test_what_a_callback_raises_arrives(name, error, path):
    def callback(epoch, loss, validation_loss, estimator):
        raise error("of the callback")

    of, estimator = SMALL_FITS[name], with_callback(name, callback)
    with pytest.raises(error, match="of the callback"):
        estimator.fit(of.rows)
    assert estimator.n_epochs_ == 1
    check_usable(estimator, of, path)


@pytest.mark.parametrize("table", ["rows", "others"])
@pytest.mark.parametrize("name", TRAINED)
def test_a_callback_must_not_fit_its_estimator(name, table, path):
    """The estimator is what the callback has made it, not a mixture of two trainings."""
    of = SMALL_FITS[name]
    made = codes(of.fitted(getattr(of, table)), of)

    def callback(epoch, loss, validation_loss, estimator):
        without_callbacks(estimator, lambda: estimator.fit(getattr(of, table)))

    estimator = with_callback(name, callback)
    with pytest.raises(RuntimeError, match=AT_ONCE):
        estimator.fit(of.rows)
    assert codes(estimator, of) == made
    check_usable(estimator, of, path)


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "lbfgs"])
def test_a_callback_must_not_go_on_with_its_estimator(name, path):
    of = SMALL_FITS[name]

    def callback(epoch, loss, validation_loss, estimator):
        without_callbacks(estimator, lambda: estimator.partial_fit(of.rows))

    estimator = with_callback(name, callback)
    with pytest.raises(RuntimeError, match=AT_ONCE):
        estimator.fit(of.rows)
    check_usable(estimator, of, path)


@pytest.mark.parametrize("name", TRAINED)
def test_a_callback_that_fits_and_raises_leaves_its_fit(name, path):
    of = SMALL_FITS[name]

    def callback(epoch, loss, validation_loss, estimator):
        without_callbacks(estimator, lambda: estimator.fit(of.others))
        raise KeyboardInterrupt

    estimator = with_callback(name, callback)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(of.rows)
    assert codes(estimator, of) == codes(of.fitted(of.others), of)
    check_usable(estimator, of, path)


@pytest.mark.parametrize("which", ["all", "state", "counter"])
@pytest.mark.parametrize("name", TRAINED)
def test_attributes_that_a_callback_deletes_are_missed(name, which):
    of = SMALL_FITS[name]

    def callback(epoch, loss, validation_loss, estimator):
        fitted = [name for name in vars(estimator) if name[0] == "_" or name[-1] == "_"]
        for attribute in {"all": fitted, "state": ["_state"], "counter": ["n_epochs_"]}[which]:
            delattr(estimator, attribute)

    estimator = with_callback(name, callback)
    with pytest.raises(RuntimeError, match=AT_ONCE):
        estimator.fit(of.rows)
    assert is_fitted(estimator) == (which == "counter")
    check_fits_again(estimator, of)


@pytest.mark.parametrize("name", TRAINED)
def test_callbacks_may_use_their_estimator_and_fit_others(name, tmp_path):
    of, used = SMALL_FITS[name], []

    def callback(epoch, loss, validation_loss, estimator):
        used.append(codes(estimator, of))
        estimator.save(tmp_path / "model")
        assert codes(aefast.load(tmp_path / "model"), of) == used[-1]
        SMALL_FITS["stacked"].fitted(of.others)
        fit(of.make(), of.rows)

    estimator = fit(with_callback(name, callback), of.rows)
    assert len(used) >= 1
    assert codes(estimator, of) == codes(of.fitted(of.rows), of)


def test_a_callback_that_fits_itself_recurses_to_an_error():
    of, depth = SMALL_FITS["autoencoder"], []

    def callback(epoch, loss, validation_loss, estimator):
        depth.append(epoch)
        estimator.fit(of.rows)

    estimator = with_callback("autoencoder", callback)
    with pytest.raises(RecursionError):
        estimator.fit(of.rows)
    assert len(depth) > 3
    check_fits_again(estimator, of)


def test_interrupted_callbacks_leave_no_limit_and_no_trace():
    """A callback's own fit ends in an error: the outer fit goes on and has the same bits."""
    of = SMALL_FITS["autoencoder"]

    def callback(epoch, loss, validation_loss, estimator):
        with contextlib.suppress(ValueError):
            aefast.ProbabilisticPCA(2).fit(np.full((4, 2), np.inf))

    estimator = fit(with_callback("autoencoder", callback), of.rows)
    assert codes(estimator, of) == codes(of.fitted(of.rows), of)
