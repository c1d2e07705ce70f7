"""The methods: functions of (images, shape, limit in seconds, threads) that report to a watch.

All minimise the cross-entropy of pixels with logistic layers and, in deep networks, a linear code
(Hinton & Salakhutdinov 2006). Rates were chosen with equal effort, three for each method, by the
test error after two minutes on the deep network. Batches and epochs are the methods' own; schedules
end with the seconds.
"""

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
    """Return the optimizers of a step."""
    import torch

    if kind == "nag":
        return [torch.optim.SGD(model.parameters(), lr=rate, momentum=0.99, nesterov=True)]
    if kind == "muon":
        matrices = [p for p in model.parameters() if p.ndim == 2]
        others = [p for p in model.parameters() if p.ndim != 2]
        given = {"weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}
        return [torch.optim.Muon(matrices, lr=rate, **given), torch.optim.Adam(others, lr=rate)]
    return [torch.optim.Adam(model.parameters(), lr=rate, fused=True)]


def torch(images, shape, limit, n_threads, *, kind, rate, batch_size, epochs, compiled=False):
    """Train in PyTorch, with a cosine schedule over the epochs."""
    import torch

    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    rows, model = torch.as_tensor(images.X), torch_network(shape)
    forward = torch.compile(model) if compiled else model
    loss_of = torch.nn.BCEWithLogitsLoss(reduction="sum")
    optimizers = torch_optimizers(model, kind, rate)
    steps = epochs * -(-len(rows) // batch_size)
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(one, steps) for one in optimizers]

    def reconstruct(X):
        with torch.no_grad():
            return torch.sigmoid(model(torch.as_tensor(np.ascontiguousarray(X)))).numpy()

    if compiled:  # compilation is no part of the curve
        loss_of(forward(rows[:batch_size]), rows[:batch_size]).backward()
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


METHODS = {
    "aefast, Muon": partial(
        aefast,
        solver="muon",
        learning_rate=0.015,
        momentum=0.95,
        nesterov=True,
        batch_size=1000,
        learning_rate_schedule="trapezoid",
        max_epochs=60,
    ),
    "aefast, Muon, averaged": partial(
        aefast,
        solver="muon",
        learning_rate=0.015,
        momentum=0.95,
        nesterov=True,
        batch_size=1000,
        learning_rate_schedule="trapezoid",
        weight_averaging=0.99,
        max_epochs=60,
    ),
    "aefast, Adam": partial(
        aefast,
        solver="adam",
        learning_rate=2e-3,
        batch_size=200,
        learning_rate_schedule="cosine",
        max_epochs=60,
    ),
    "PyTorch, Adam": partial(torch, kind="adam", rate=1e-3, batch_size=200, epochs=45),
    "PyTorch, Adam, compiled": partial(
        torch, kind="adam", rate=1e-3, batch_size=200, epochs=45, compiled=True
    ),
    "PyTorch, Nesterov": partial(torch, kind="nag", rate=1e-3, batch_size=200, epochs=45),
    "PyTorch, Muon": partial(torch, kind="muon", rate=0.01, batch_size=1000, epochs=60),
}
