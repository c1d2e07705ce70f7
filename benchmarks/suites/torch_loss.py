"""The loss for PyTorch beside the same loss in PyTorch: ``python -m benchmarks.suites.torch_loss``.

Loss and gradients of a batch (forward and backward pass), tied sigmoid weights, Bernoulli output,
float32. The two take turns, round by round, in one process with two threads, as a training loop in
PyTorch would run them; a round is the median of some steps. No step updates the weights, which is
PyTorch's work in both.
"""

import argparse
import time

import numpy as np

SHAPES = ((30, 16, 32), (64, 32, 32), (64, 100, 200), (784, 500, 20), (784, 500, 128))


def steps_of(d, k, n):
    """Return the two steps of a shape by name."""
    import torch
    from torch.nn import functional

    from aefast.torch import tied_autoencoder_loss

    torch.manual_seed(0)
    X, W = torch.rand(n, d), (0.05 * torch.randn(k, d)).requires_grad_()
    b, c = torch.zeros(k, requires_grad=True), torch.zeros(d, requires_grad=True)

    def clear():
        W.grad = b.grad = c.grad = None

    def of_aefast():
        clear()
        tied_autoencoder_loss(X, W, b, c, output="bernoulli").backward()

    def of_torch():
        clear()
        a = torch.sigmoid(X @ W.T + b) @ W + c
        loss = functional.binary_cross_entropy_with_logits(a, X, reduction="sum") / n
        loss.backward()

    return {"aefast": of_aefast, "PyTorch": of_torch}


def medians(steps, n_rounds, n_steps):
    """Return the median time in µs over all rounds by name, and the median of the ratios."""
    found = {name: [] for name in steps}
    for _ in range(n_rounds):
        for name, step in steps.items():
            times = []
            for _ in range(n_steps):
                start = time.perf_counter()
                step()
                times.append(time.perf_counter() - start)
            found[name].append(1e6 * np.median(times))
    rounds = {name: np.array(times) for name, times in found.items()}
    ratio = float(np.median(rounds["PyTorch"] / rounds["aefast"]))
    return {name: float(np.median(times)) for name, times in rounds.items()}, ratio


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suites.torch_loss", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args(arguments)
    print("| d, k, n | aefast, µs | PyTorch, µs | PyTorch / aefast |\n|---|--:|--:|--:|")
    for shape in SHAPES:
        times, ratio = medians(steps_of(*shape), options.rounds, options.steps)
        name = ", ".join(map(str, shape))
        print(f"| {name} | {times['aefast']:.0f} | {times['PyTorch']:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
