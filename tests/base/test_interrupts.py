"""State after an interrupt between any two bytecodes; freedom of callbacks."""

import numpy as np
import pytest
from support.textbook import Autoencoder

import aefast
from aefast._base import _runtime, passes
from aefast.networks.training import minibatches


@pytest.fixture
def interrupt_slice(monkeypatch):
    """A function: Ctrl-C is seen when the n-th slice returns, so that its result is lost."""

    def interrupt_slice(n):
        slices, run = [], minibatches.MiniBatches._slice

        def run_and_interrupt(self, *arguments):
            slices.append(run(self, *arguments))
            if len(slices) == n:
                raise KeyboardInterrupt
            return slices[-1]

        monkeypatch.setattr(passes, "SLICE_SECONDS", 1e-9)  # a step each
        monkeypatch.setattr(minibatches.MiniBatches, "_slice", run_and_interrupt)

    return interrupt_slice


@pytest.mark.parametrize("n", [1, 5, 8])
def test_counters_keep_step_with_the_parameters(n, interrupt_slice):
    X = np.random.default_rng(0).random((70, 6))
    whole = Autoencoder(3, batch_size=10, max_epochs=2, shuffle=False, random_state=0)
    interrupt_slice(n)
    with pytest.raises(KeyboardInterrupt):
        whole.fit(X)
    assert (whole._state.n_steps, whole._state.n_rows_seen) == (n, 10 * n)
    assert whole.n_epochs_ == n // 8


def test_an_update_that_overflowed_is_undone(interrupt_slice, tmp_path):
    X = 100 * np.random.default_rng(0).random((70, 6), dtype=np.float32)
    ae = Autoencoder(3, solver="sgd", learning_rate=1e38, batch_size=10, random_state=0)
    interrupt_slice(1)
    with pytest.raises(KeyboardInterrupt):
        ae.fit(X)
    start = Autoencoder(3, max_epochs=0, random_state=0).fit(X)
    np.testing.assert_array_equal(ae.components_, start.components_)
    ae.save(tmp_path / "model")
    np.testing.assert_array_equal(aefast.load(tmp_path / "model").transform(X), ae.transform(X))


def test_what_is_not_finite_is_not_saved(tmp_path):
    ae = Autoencoder(3, max_epochs=1).fit(np.eye(5))
    ae.components_[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        ae.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("products", ["tiles", "blas"])
def test_weights_written_by_a_callback_count(products, monkeypatch):
    monkeypatch.setattr(_runtime, "products", lambda: products)
    X = np.random.default_rng(0).random((70, 6))

    def forget(epoch, loss, validation_loss, estimator):
        estimator.components_[...] = 0.0

    ae = Autoencoder(3, max_epochs=3, batch_size=70, callbacks=forget, random_state=0).fit(X)
    assert not ae.components_.any()
    free = Autoencoder(3, max_epochs=3, batch_size=70, random_state=0).fit(X)
    assert ae.loss_curve_[0] == free.loss_curve_[0]
    assert ae.loss_curve_[1] != free.loss_curve_[1]


def test_callbacks_of_partial_fit_count_on():
    epochs = []
    ae = Autoencoder(3, callbacks=lambda epoch, *_: epochs.append(epoch))
    for _ in range(3):
        ae.partial_fit(np.eye(5))
    assert epochs == [1, 2, 3] and ae.n_epochs_ == 3
