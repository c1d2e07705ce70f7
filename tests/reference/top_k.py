"""Reference of training k-sparse autoencoders with an auxiliary loss for dead units.

A unit is dead after as many rows as a pass has, of positive weight, have not kept it. Until a row
keeps it again, it has the loss of `variants.auxiliary_loss` in every batch.
"""

import numpy as np

from reference.autoencoder import (
    ACTIVATIONS,
    SOLVERS,
    Training,
    flatten,
    forward,
    gradients,
    loss,
    options_of_matrices,
    unflatten,
)


def train(
    X, parameters, row_orders, *, batch_size, output, solver, top_k, revive, activation, **options
):
    """Train like `reference.autoencoder.train`, with the weight `revive` of the auxiliary loss.

    The result includes the number of dead units in each batch.
    """
    X, (k, d), tied = np.asarray(X, np.float64), parameters.W.shape, parameters[3] is None
    w, rows_unused = flatten(parameters), np.zeros(k, int)
    state = np.zeros((SOLVERS[solver].n_states(options), w.size))
    options = options | options_of_matrices(solver, k, d, tied)
    n_steps, loss_curve, n_dead = 0, [], []
    for order in row_orders:
        epoch_loss = 0.0
        for start in range(0, len(order), batch_size):
            batch, n_steps = X[order[start : start + batch_size]], n_steps + 1
            dead = rows_unused >= len(order)
            now = unflatten(w, k, d, tied)
            step = {"activation": activation, "top_k": top_k}
            kept = units_kept(batch, now, output, **step)
            epoch_loss += len(batch) * loss(batch, now, output, **step)
            g = gradients(batch, now, output, revive=revive * dead, **step)
            w, state = SOLVERS[solver].update(w, flatten(g), state, n_steps, **options)
            rows_unused = np.where(kept, 0, rows_unused + len(batch))
            n_dead.append(dead.sum())
        loss_curve.append(epoch_loss / len(order))
    return Training(unflatten(w, k, d, tied), state, loss_curve, []), np.array(n_dead)


def units_kept(X, parameters, output, activation, top_k):
    """Return (k,) whether any row keeps the unit; of equal activations the first is kept."""
    A = forward(X, parameters, output, activation).A
    order = np.argsort(-ACTIVATIONS[activation].function(A), axis=1, kind="stable")
    kept = np.zeros(A.shape[1], bool)
    kept[order[:, :top_k]] = True
    return kept
