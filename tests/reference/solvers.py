"""Reference of schedules, gradient clipping, weight decay and norm constraints.

`train` is `reference.autoencoder.train` with these additions. One step is, for the gradient g of
loss and penalty and the learning rate of the step:

    g <- g min(1, clip_norm / |g|)
    weights <- (1 - rate weight_decay) weights
    parameters <- update of the solver with g and the rate
    rows of W (and of W* when untied) <- row min(1, max_norm / |row|)

With weight_averaging, the result's parameters are the average of those of all steps, which begins
as the initial ones, and its state has the parameters of the last step as one more row.
"""

import numpy as np

from reference.autoencoder import (
    SOLVERS,
    Parameters,
    Training,
    flatten,
    gradients,
    loss,
    options_of_matrices,
    unflatten,
)

SCHEDULES = {
    "constant": lambda step, n_steps: 1.0,
    "invscaling": lambda step, n_steps: 1.0 / np.sqrt(step + 1),
    "trapezoid": lambda step, n_steps: min(
        1.0, (step / n_steps + 1e-3) / 0.05, (1.0 - step / n_steps) / 0.3
    ),
    "cosine": lambda step, n_steps: (1.0 + np.cos(np.pi * step / n_steps)) / 2.0,
}


def clipped(g, clip_norm):
    """Return the gradient clipped to a norm (Pascanu et al. 2013, algorithm 1)."""
    return g if clip_norm is None else g * min(1.0, clip_norm / np.linalg.norm(g))


def with_short_rows(W, max_norm):
    """Project each row on the ball of a radius (Srivastava et al. 2014, section 5.1)."""
    if W is None or max_norm is None:
        return W
    norms = np.linalg.norm(W, axis=1, keepdims=True)
    return np.where(norms > max_norm, W * (max_norm / norms), W)


def averaged(average, w, n_steps, decay):
    """Return the average after one more step, to w, when n_steps have been made before it."""
    decay = min(decay, (1 + n_steps) / (10 + n_steps))
    return decay * average + (1 - decay) * w


def with_average(state, average, w):
    """Return the parameters and the state that a training leaves behind; no average: None."""
    return (w, state) if average is None else (average, np.vstack([state, w]))


def decayed(parameters, share):
    """Return parameters whose weights, not biases, are reduced by a fraction of themselves."""
    W, b, c, decoder_weights = parameters
    return Parameters(
        W - share * W, b, c, None if decoder_weights is None else decoder_weights * (1 - share)
    )


def train(
    X,
    parameters,
    row_orders,
    *,
    batch_size,
    output,
    solver,
    learning_rate,
    alpha=0.0,
    activation="sigmoid",
    weight_decay=0.0,
    learning_rate_schedule="constant",
    clip_norm=None,
    max_norm=None,
    weight_averaging=None,
    **options,
):
    """Train for one epoch per order of rows; the schedule extends over all epochs."""
    X = np.asarray(X, dtype=np.float64)
    (k, d), tied = parameters.W.shape, parameters.decoder_weights is None
    problem = {"output": output, "activation": activation, "alpha": alpha}
    batches = [
        [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        for order in row_orders
    ]
    options = options | options_of_matrices(solver, k, d, tied)
    n_steps, step, loss_curve = sum(map(len, batches)), 0, []
    state = np.zeros((SOLVERS[solver].n_states(options), flatten(parameters).size))
    average = None if weight_averaging is None else flatten(parameters)
    for epoch in batches:
        total = 0.0
        for rows in epoch:
            total += len(rows) * loss(X[rows], parameters, **problem)
            g = clipped(flatten(gradients(X[rows], parameters, **problem)), clip_norm)
            rate = learning_rate * SCHEDULES[learning_rate_schedule](step, n_steps)
            step += 1
            w = flatten(decayed(parameters, rate * weight_decay))
            w, state = SOLVERS[solver].update(w, g, state, step, learning_rate=rate, **options)
            W, b, c, decoder_weights = unflatten(w, k, d, tied)
            limited = (with_short_rows(matrix, max_norm) for matrix in (W, decoder_weights))
            W, decoder_weights = limited
            parameters = Parameters(W, b, c, decoder_weights)
            if average is not None:
                average = averaged(average, flatten(parameters), step - 1, weight_averaging)
        loss_curve.append(total / sum(map(len, epoch)))
    w, state = with_average(state, average, flatten(parameters))
    return Training(unflatten(w, k, d, tied), state, loss_curve, [])
