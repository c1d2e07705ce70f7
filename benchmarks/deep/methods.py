"""The methods: functions of (images, shape, limit in seconds, threads) that report to a watch.

All minimise the cross-entropy of pixels with logistic layers and, in deep networks, a linear code
(Hinton & Salakhutdinov 2006). Batches, rates and epochs are the methods' own; schedules end with
the epochs. How rates were chosen is told in results/deep-autoencoders.md.
"""

from contextlib import contextmanager
from functools import partial
from itertools import pairwise

import numpy as np

from aefast import StackedAutoencoder
from benchmarks.deep.problem import Watch


def aefast(images, shape, limit, n_threads, **given):
    """Train a tied stack, pre-trained layer by layer, in one call of `fit`."""
    watch = Watch(images, limit)

    def callback(epoch, loss, validation_loss, estimator):
        return watch(estimator.reconstruct)

    options = {"output": "bernoulli", "tol": 0, "random_state": 0, "callbacks": callback}
    options |= {"n_threads": n_threads, "gain": False, "init": "glorot", "pretrain_epochs": 2}
    if len(shape.sizes) > 1:
        options["code_activation"] = "linear"
    StackedAutoencoder(shape.sizes, **(options | given)).fit(images.X)


def torch_network(shape):
    """Return an untied network of PyTorch, with Glorot's weights for logistic units."""
    import torch

    sizes = [784, *shape.sizes]
    widths = sizes + sizes[-2::-1]
    parts = []
    for number, (d, k) in enumerate(pairwise(widths), start=1):
        layer = torch.nn.Linear(d, k)
        torch.nn.init.xavier_uniform_(layer.weight, gain=4.0)
        torch.nn.init.zeros_(layer.bias)
        parts.append(layer)
        is_code = number == len(shape.sizes) and number > 1
        if number < len(widths) - 1 and not is_code:
            parts.append(torch.nn.Sigmoid())
    return torch.nn.Sequential(*parts)


def torch_optimizers(model, kind, rate):
    """Return the optimizers of a step: of PyTorch, and of the packages that are named here."""
    import torch

    parameters = list(model.parameters())
    if kind == "nag":
        return [torch.optim.SGD(parameters, lr=rate, momentum=0.99, nesterov=True)]
    if kind == "nadam":
        return [torch.optim.NAdam(parameters, lr=rate)]
    if kind == "muon":
        matrices = [p for p in parameters if p.ndim == 2]
        others = [p for p in parameters if p.ndim != 2]
        given = {"weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}
        return [torch.optim.Muon(matrices, lr=rate, **given), torch.optim.Adam(others, lr=rate)]
    if kind == "soap":
        from pytorch_optimizer import SOAP

        return [SOAP(parameters, lr=rate, weight_decay=0.0, precondition_frequency=10)]
    if kind == "prodigy":
        from prodigyopt import Prodigy

        return [Prodigy(parameters, lr=rate, safeguard_warmup=True)]
    if kind == "schedule-free":
        from schedulefree import AdamWScheduleFree

        return [AdamWScheduleFree(parameters, lr=rate, warmup_steps=300)]
    if kind == "adamw":
        return [torch.optim.AdamW(parameters, lr=rate, weight_decay=0.05, fused=True)]
    return [torch.optim.Adam(parameters, lr=rate, fused=True)]


def train_mode(optimizers):
    for one in optimizers:
        if hasattr(one, "train"):
            one.train()


@contextmanager
def averaged(optimizers):
    """Let optimizers that train other parameters than they leave show those that they leave."""
    for one in optimizers:
        if hasattr(one, "eval"):
            one.eval()
    yield
    train_mode(optimizers)


def torch(images, shape, limit, n_threads, *, kind, rate, epochs, batch_size=200, compiled=False):
    """Train in PyTorch, with a cosine schedule over the epochs."""
    import torch

    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    rows, model = torch.as_tensor(images.X), torch_network(shape)
    forward = torch.compile(model) if compiled else model
    loss_of = torch.nn.BCEWithLogitsLoss(reduction="sum")
    optimizers = torch_optimizers(model, kind, rate)
    steps = epochs * -(-len(rows) // batch_size)
    schedules = []
    if kind != "schedule-free":
        schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(one, steps) for one in optimizers]

    def reconstruct(X):
        with torch.no_grad(), averaged(optimizers):
            return torch.sigmoid(model(torch.as_tensor(np.ascontiguousarray(X)))).numpy()

    if compiled:  # compilation is no part of the curve
        loss_of(forward(rows[:batch_size]), rows[:batch_size]).backward()
    train_mode(optimizers)
    watch = Watch(images, limit)
    for _ in range(epochs):
        for batch in torch.randperm(len(rows)).split(batch_size):
            model.zero_grad(set_to_none=True)
            loss = loss_of(forward(rows[batch]), rows[batch]) / len(batch)
            loss.backward()
            for one in [*optimizers, *schedules]:
                one.step()
        if watch(reconstruct):
            return


ADAM = {
    "solver": "adam",
    "learning_rate": 6e-3,
    "weight_decay": 0.05,
    "weight_averaging": 0.998,
    "batch_size": 200,
    "learning_rate_schedule": "trapezoid",
    "max_epochs": 180,
}
MUON = {
    "solver": "muon",
    "learning_rate": 0.015,
    "momentum": 0.95,
    "nesterov": True,
    "weight_averaging": 0.99,
    "batch_size": 1000,
    "learning_rate_schedule": "trapezoid",
    "pretrain_epochs": 0,
    "max_epochs": 80,
}
METHODS = {
    "aefast, Adam": partial(aefast, **ADAM),
    "aefast, Adam, bfloat16": partial(
        aefast, **(ADAM | {"precision": "bfloat16", "max_epochs": 280})
    ),
    "aefast, Adam, untied": partial(aefast, **(ADAM | {"tied": False, "max_epochs": 100})),
    "aefast, Muon": partial(aefast, **MUON),
    "aefast, Muon, bfloat16": partial(
        aefast, **(MUON | {"precision": "bfloat16", "max_epochs": 130})
    ),
    "PyTorch, Adam": partial(torch, kind="adam", rate=1e-3, epochs=75),
    "PyTorch, AdamW": partial(torch, kind="adamw", rate=2e-3, epochs=75),
    "PyTorch, AdamW, compiled": partial(torch, kind="adamw", rate=2e-3, epochs=75, compiled=True),
    "PyTorch, Muon": partial(torch, kind="muon", rate=0.02, batch_size=500, epochs=34),
    "PyTorch, schedule-free": partial(torch, kind="schedule-free", rate=3e-3, epochs=100),
    "PyTorch, Nesterov": partial(torch, kind="nag", rate=3e-4, epochs=100),
    "PyTorch, SOAP": partial(torch, kind="soap", rate=3e-3, epochs=100),
}
