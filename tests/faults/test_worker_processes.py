"""Fits in worker processes: fork, forkserver, spawn, joblib; workers that die."""

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from support.small_fits import SMALL_FITS, codes, fit

from aefast import Autoencoder, ProbabilisticPCA

STARTS = ["fork", "forkserver", pytest.param("spawn", marks=pytest.mark.extra)]


@pytest.mark.parametrize("start", STARTS)
def test_workers_give_the_bits_of_this_process(start):
    """Methods of estimators run in workers, after this process has used its threads."""
    X = np.random.default_rng(0).random((600, 100))
    ae = Autoencoder(80, batch_size=300, max_epochs=1, random_state=0, n_threads=2)
    alone = clone(ae).fit(X)
    fits = [(SMALL_FITS[name].make(), SMALL_FITS[name]) for name in ("ppca", "dictionary")]
    context = multiprocessing.get_context(start)
    with ProcessPoolExecutor(2, mp_context=context) as workers:
        of_networks = [workers.submit(clone(ae).fit, X) for _ in range(2)]
        of_others = [workers.submit(estimator.fit, of.rows) for estimator, of in fits]
        rows = workers.submit(alone.transform, X)
        for fitted in of_networks:
            parameters = fitted.result(60)._state.parameters
            assert parameters.tobytes() == alone._state.parameters.tobytes()
        for fitted, (_, of) in zip(of_others, fits, strict=True):
            assert codes(fitted.result(60), of) == codes(of.fitted(of.rows), of)
        assert rows.result(60).tobytes() == alone.transform(X).tobytes()
    assert clone(ae).fit(X)._state.parameters.tobytes() == alone._state.parameters.tobytes()


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.extra)])
def test_joblib_gives_the_bits_of_this_process(backend):
    of = SMALL_FITS["ppca"]
    X = np.random.default_rng(0).random((90, 6))
    model = ProbabilisticPCA(2)
    with joblib.parallel_config(backend, n_jobs=2):
        scores = cross_val_score(model, X, cv=3)
        fitted = joblib.Parallel()(joblib.delayed(fit)(of.make(), of.rows) for _ in range(4))
    np.testing.assert_array_equal(scores, cross_val_score(model, X, cv=3))
    assert {codes(one, of) for one in fitted} == {codes(of.fitted(of.rows), of)}


def test_a_worker_that_dies_in_a_fit_leaves_this_process_and_its_models(tmp_path):
    X = np.random.default_rng(0).random((600, 100))
    model = Autoencoder(80, max_epochs=1, random_state=0, n_threads=2).fit(X)
    endless = Autoencoder(80, max_epochs=10**6, tol=0, n_threads=2)
    before = model.transform(X)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as workers:
        worker = workers.submit(os.getpid).result(60)
        doomed = workers.submit(endless.fit, X)
        time.sleep(0.2)  # it has begun
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            doomed.result(60)
    np.testing.assert_array_equal(model.transform(X), before)
    model.save(tmp_path / "model")


def test_a_fork_during_a_fit_of_another_thread_computes():
    """The child has neither the other thread nor OpenMP's, and the limit of BLAS is not held."""
    X = np.random.default_rng(0).random((600, 100))
    alone = fit(ProbabilisticPCA(3), X).transform(X).tobytes()
    stop = threading.Event()

    def fit_on_and_on():
        while not stop.is_set():
            fit(ProbabilisticPCA(3, n_threads=2), X)

    thread = threading.Thread(target=fit_on_and_on)
    thread.start()
    try:
        for _ in range(6):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as workers:
                fitted = workers.submit(ProbabilisticPCA(3, n_threads=2).fit, X)
                assert fitted.result(60).transform(X).tobytes() == alone
    finally:
        stop.set()
        thread.join()
