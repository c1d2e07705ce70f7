"""Reference of training k-sparse autoencoders: which units are dead, and what becomes of them.

A unit that no row of weight has kept for a whole pass's rows is dead: in the next batches, until a
row keeps it, it has the auxiliary loss of `variants.auxiliary_loss`.
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
    unflatten,
)


def train(
    X, parameters, row_orders, *, batch_size, output, solver, top_k, revive, activation, **options
):
    """`reference.train` with dead units, whose auxiliary loss has the weight `revive`.

    Also returns how many units were dead, batch by batch.
    """
    X, (k, d), tied = np.asarray(X, np.float64), parameters.W.shape, parameters[3] is None
    w, rows_unused = flatten(parameters), np.zeros(k, int)
    state = np.zeros((SOLVERS[solver].n_states(options), w.size))
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
    """(k,): whether a row keeps the unit; of equal activations the first is kept."""
    A = forward(X, parameters, output, activation).A
    order = np.argsort(-ACTIVATIONS[activation].function(A), axis=1, kind="stable")
    kept = np.zeros(A.shape[1], bool)
    kept[order[:, :top_k]] = True
    return kept
