"""The methods that are compared: a function of (rows, k, output) that returns a `Fitted` each."""

import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.neural_network import MLPRegressor

from aefast import Autoencoder, StackedAutoencoder

TORCH_RATES = (1e-3, 3e-3, 1e-2)
TORCH_EPOCHS = 300
TORCH_BATCH = 64
HELD_OUT = 0.1  # share of the rows on which PyTorch's rate is chosen


class Fitted(NamedTuple):
    """What a fit has learned, and the processor seconds it took."""

    reconstruct: Callable
    encode: Callable
    seconds: float
    estimator: object


def squared(X, X_hat):
    """Return half the mean squared error of a row: the Gaussian loss."""
    return 0.5 * float(np.mean(np.sum((np.asarray(X, np.float64) - X_hat) ** 2, axis=1)))


def cross_entropy(X, P):
    P = np.clip(np.asarray(P, np.float64), 1e-12, 1 - 1e-12)
    return -float(np.mean(np.sum(X * np.log(P) + (1 - X) * np.log1p(-P), axis=1)))


LOSSES = {"gaussian": squared, "bernoulli": cross_entropy}


def timed(estimator, X, *y):
    """Fit without warnings; return the processor seconds."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, *y)
    return time.process_time() - start


def fit_aefast(X, k=None, output="gaussian", **given):
    size = {} if k is None else {"n_components": k}
    estimator = Autoencoder(**size, output=output, random_state=0, n_threads=1, **given)
    seconds = timed(estimator, X)
    return Fitted(estimator.reconstruct, estimator.transform, seconds, estimator)


def fit_stacked(X, k, output="gaussian"):
    sizes = (min(128, 4 * k), k)
    estimator = StackedAutoencoder(sizes, output=output, random_state=0, n_threads=1)
    seconds = timed(estimator, X)
    return Fitted(estimator.reconstruct, estimator.transform, seconds, estimator)


def fit_pca(X, k, output="gaussian"):
    pca = PCA(k, random_state=0)
    seconds = timed(pca, X)
    return Fitted(lambda Y: pca.inverse_transform(pca.transform(Y)), pca.transform, seconds, pca)


def fit_factor_analysis(X, k, output="gaussian"):
    model = FactorAnalysis(k, random_state=0)
    seconds = timed(model, X)

    def reconstruct(Y):
        return model.transform(Y) @ model.components_ + model.mean_

    return Fitted(reconstruct, model.transform, seconds, model)


def fit_mlp(X, k, output="gaussian"):
    model = MLPRegressor(hidden_layer_sizes=(k,), activation="tanh", max_iter=1000, random_state=0)
    seconds = timed(model, X, X)

    def encode(Y):
        return np.tanh(Y @ model.coefs_[0] + model.intercepts_[0])

    return Fitted(lambda Y: model.predict(Y).reshape(np.shape(Y)), encode, seconds, model)


def has_torch():
    return find_spec("torch") is not None


def train_torch(X, k, output, rate, n_epochs=TORCH_EPOCHS, watch=None):
    """Train a PyTorch autoencoder, sigmoid units, untied, by Adam with a cosine schedule.

    `watch(encoder and decoder)` is called after every epoch.
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = torch.as_tensor(np.asarray(X, np.float32))
    model = torch.nn.Sequential(
        torch.nn.Linear(X.shape[1], k), torch.nn.Sigmoid(), torch.nn.Linear(k, X.shape[1])
    )
    if output == "gaussian":
        loss_of = torch.nn.MSELoss(reduction="sum")
    else:
        loss_of = torch.nn.BCEWithLogitsLoss(reduction="sum")
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    steps = n_epochs * -(-len(rows) // TORCH_BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(n_epochs):
        for batch in torch.randperm(len(rows)).split(TORCH_BATCH):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(model(rows[batch]), rows[batch]) / len(batch)
            loss.backward()
            optimizer.step()
            schedule.step()
        if watch:
            watch(torch_functions(model, output)[0])
    return model


def torch_functions(model, output):
    """Return functions of NumPy rows that reconstruct and encode."""
    import torch

    def run(part, Y, last):
        with torch.no_grad():
            return last(part(torch.as_tensor(np.asarray(Y, np.float32)))).numpy()

    last = torch.sigmoid if output == "bernoulli" else torch.nn.Identity()
    return lambda Y: run(model, Y, last), lambda Y: run(model[:2], Y, torch.nn.Identity())


def fit_torch(X, k, output="gaussian", n_epochs=TORCH_EPOCHS):
    """Train with each of TORCH_RATES, choose on held-out rows, train on all with the best.

    The seconds are those of the whole search.
    """
    start = time.process_time()
    order = np.random.default_rng(0).permutation(len(X))
    held_out, train = np.split(order, [max(1, int(HELD_OUT * len(X)))])
    losses = {}
    for rate in TORCH_RATES:
        model = train_torch(X[train], k, output, rate, n_epochs)
        reconstruct = torch_functions(model, output)[0]
        losses[rate] = LOSSES[output](X[held_out], reconstruct(X[held_out]))
    best = min(losses, key=losses.get)
    model = train_torch(X, k, output, best, n_epochs)
    seconds = time.process_time() - start
    return Fitted(*torch_functions(model, output), seconds, {"rate": best})


def linear_rivals():
    return {"PCA": fit_pca, "FactorAnalysis": fit_factor_analysis, "MLPRegressor": fit_mlp}


def all_rivals():
    return linear_rivals() | ({"PyTorch, tuned": fit_torch} if has_torch() else {})
