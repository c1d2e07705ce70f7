"""Reference of training by rounds on rows in partitions: batches, sums of gradients, averages.

Random numbers are those of NumPy's Philox with the key (seed, 1) and the counter (0, 0, p, s): p is
the number of a partition, or of the first that there is not, s the number of rows seen before the
pass.
"""

import numpy as np

from reference.autoencoder import (
    SOLVERS,
    Parameters,
    flatten,
    gradients,
    loss,
    options_of_matrices,
    unflatten,
)
from reference.solvers import SCHEDULES, clipped, decayed, with_short_rows


def random_numbers(seed, p, seen):
    return np.random.Generator(np.random.Philox(key=[seed, 1], counter=[0, 0, p, seen]))


def orders(sizes, seed, seen):
    """Return the order in which a pass visits the rows of each partition."""
    return [random_numbers(seed, p, seen).permutation(n) for p, n in enumerate(sizes)]


def batches(sizes, batch_size, least_share, seed, seen):
    """Return the batches of a pass: lists of shares (partition, numbers of rows)."""
    batch_size = min(batch_size, sum(sizes))
    n_shares = min(len(sizes), max(1, batch_size // least_share))
    b = int(np.ceil(batch_size / n_shares))
    u = random_numbers(seed, len(sizes), seen).uniform(size=len(sizes))
    blocks = []
    for p, order in enumerate(orders(sizes, seed, seen)):
        parts = [order[i : i + b] for i in range(0, len(order), b)]
        blocks += [((i + u[p]) / len(parts), p, rows) for i, rows in enumerate(parts)]
    blocks.sort(key=lambda block: block[:2])
    shares = [(p, rows) for _, p, rows in blocks]
    return [shares[i : i + n_shares] for i in range(0, len(shares), n_shares)]


class Optimizer:
    """Parameters and state that make steps with given gradients."""

    def __init__(self, parameters, n_steps_of_schedule, solver, learning_rate, **options):
        self.parameters, self.n_schedule, self.n_steps = parameters, n_steps_of_schedule, 0
        self.solver, self.learning_rate = SOLVERS[solver], learning_rate
        self.schedule = SCHEDULES[options.pop("learning_rate_schedule", "constant")]
        names = ("weight_decay", "clip_norm", "max_norm")
        self.decay, self.clip_norm, self.max_norm = (options.pop(name, None) for name in names)
        tied = parameters.decoder_weights is None
        self.options = options | options_of_matrices(solver, *parameters.W.shape, tied)
        self.state = np.zeros((self.solver.n_states(options), flatten(parameters).size))

    def step(self, g):
        """Make a step with the flat gradient g of loss and penalty."""
        rate = self.learning_rate * self.schedule(self.n_steps, self.n_schedule)
        self.n_steps += 1
        (k, d), tied = self.parameters.W.shape, self.parameters.decoder_weights is None
        w = flatten(decayed(self.parameters, rate * (self.decay or 0.0)))
        g = clipped(g, self.clip_norm)
        given = self.n_steps, {"learning_rate": rate, **self.options}
        w, self.state = self.solver.update(w, g, self.state, given[0], **given[1])
        W, b, c, V = unflatten(w, k, d, tied)
        self.parameters = Parameters(
            with_short_rows(W, self.max_norm), b, c, with_short_rows(V, self.max_norm)
        )


def train_by_gradients(parts, batches_of_passes, optimizer, alpha=0.0, **problem):
    """Make a step with the mean gradient of each batch; return the loss of each pass.

    The sums of shares are divided by the rows of the batch.
    """
    curve = []
    for batches_of_pass in batches_of_passes:
        total = 0.0
        for shares in batches_of_pass:
            n, g = sum(len(rows) for _, rows in shares), 0.0
            parameters = optimizer.parameters
            for p, rows in shares:
                X = parts[p][rows]
                total += len(rows) * loss(X, parameters, **problem)
                g = g + len(rows) * flatten(gradients(X, parameters, **problem))
            penalty = with_penalty(parameters, alpha)
            total += n * 0.5 * (penalty @ flatten(parameters))
            optimizer.step(g / n + penalty)
        curve.append(total / sum(map(len, parts)))
    return curve


def with_penalty(parameters, alpha):
    """Return the gradient of α/2 ‖W‖² (and of the decoder's weights), in the flat layout."""
    W, b, c, V = parameters
    return flatten(Parameters(alpha * W, 0 * b, 0 * c, None if V is None else alpha * V))


def train_by_averaging(parts, orders_of_passes, optimizer, batch_size, n_local, **problem):
    """Let each partition make n_local steps from the averages of the last round; return losses."""
    curve = []
    for of_pass in orders_of_passes:
        total, width = 0.0, n_local * batch_size
        for first in range(0, max(map(len, of_pass)), width):
            start = optimizer.parameters, optimizer.state, optimizer.n_steps
            ends, weights, most = [], [], 0
            for X, order in zip(parts, of_pass, strict=True):
                rows = order[first : first + width]
                if not len(rows):
                    continue
                optimizer.parameters, optimizer.state, optimizer.n_steps = start
                for i in range(0, len(rows), batch_size):
                    batch, now = X[rows[i : i + batch_size]], optimizer.parameters
                    total += len(batch) * loss(batch, now, **problem)
                    optimizer.step(flatten(gradients(batch, now, **problem)))
                ends.append((flatten(optimizer.parameters), optimizer.state))
                weights.append(len(rows))
                most = max(most, optimizer.n_steps)
            shares = np.array(weights) / sum(weights)
            w = sum(share * end[0] for share, end in zip(shares, ends, strict=True))
            (k, d), tied = start[0].W.shape, start[0].decoder_weights is None
            optimizer.parameters = unflatten(w, k, d, tied)
            optimizer.state = sum(share * end[1] for share, end in zip(shares, ends, strict=True))
            optimizer.n_steps = most
        curve.append(total / sum(map(len, parts)))
    return curve
