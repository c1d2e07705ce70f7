"""The solver "lbfgs": `minimize_lbfgs` on the fused loss and gradient of all rows."""

from typing import Any

import numpy as np

from aefast._base import _runtime, threads
from aefast._base.epochs import Diverged, Training
from aefast._base.lbfgs import Iterate, from_saved, minimize_lbfgs, saved
from aefast._base.saving import COUNT, OBJECT, check_entries
from aefast._base.streams import StreamedRows
from aefast.networks import _autoencoder
from aefast.networks._autoencoder import NOT_FINITE

NAME = "lbfgs"
CHUNK_ROWS = 512  # number of rows whose sums are accumulated in the real type, before double

_REACHED = {"n_iterations": COUNT, "iterate": OBJECT}  # checks of the state in a checkpoint


def check(estimator):
    """Raise ValueError for parameters that do not apply to full batches."""
    if estimator.solver != NAME:
        return
    for name, off in (
        ("early_stopping", False),
        ("weight_decay", 0),
        ("clip_norm", None),
        ("max_norm", None),
        ("weight_averaging", None),
    ):
        if getattr(estimator, name) != off:
            raise ValueError(
                f"{name}={getattr(estimator, name)!r} belongs to solvers that work in batches: "
                "solver='lbfgs' minimises the loss of all rows "
                f"(set {name}={off!r}, or use alpha to keep weights small)"
            )
    if estimator.precision != "auto":
        raise ValueError("solver='lbfgs' needs precision='auto': line searches need exact losses")


def refuse_stream(rows):
    """Raise ValueError for rows that are read in windows."""
    if isinstance(rows, StreamedRows):
        raise ValueError(
            "solver='lbfgs' takes rows in memory: give aefast.stream(...).read_whole(), or use a "
            "solver that works in batches"
        )


def works_in_batches(estimator):
    """Return True if the estimator has a `partial_fit`, raise AttributeError otherwise."""
    if estimator.solver == NAME:
        raise AttributeError("partial_fit needs a solver that works in batches, got solver='lbfgs'")
    return True


class FullBatch(Training):
    """Training of a network by L-BFGS on the loss of all rows, with one iteration in an epoch.

    Noise is drawn once, as for the first pass.
    """

    head: Any = None  # a `Head`, whose loss is added

    def __init__(self, estimator, X, state, variant, sample_weight, head=None):
        if head is not None:
            self.head = head.with_shares()
        self.X, self.weight = X, None if sample_weight is None else sample_weight / len(X)
        # Dead units are found and revived between the steps of a pass; here a pass is one step.
        self.variant = variant._replace(revive=0.0, rows_unused=None)
        work = 10.0 * min(len(X), CHUNK_ROWS) * state.model.n_multiplied
        self.n_threads = threads.effective_n_threads(estimator.n_threads, work)
        self._begin(estimator, state)

    def _begin(self, estimator, state):
        self.model, self.flat, self.state = state.model, state.parameters, state
        self.start = self.flat.copy()
        # The last iterate and the number of iterations that have led to it, and the same of the
        # last epoch that has been recorded: a checkpoint has the latter.
        self.reached: Any = (None, 0)
        self.stored: Any = self.reached
        self.alpha = float(estimator.alpha)

    @property
    def n_rows(self):
        return len(self.X)

    @property
    def n_iterations(self):
        return self.reached[1]

    @property
    def n_rows_seen(self):
        return self.state.n_rows_seen + self.n_iterations * self.n_rows

    def values(self):
        """Return parameters, optimizer state and number of steps."""
        return self.flat, self.state.optimizer_state, self.state.n_steps + self.n_iterations

    def reread(self):
        """Leave the iterate as it is: L-BFGS goes on from its own copy."""

    def settle(self):
        """Go back from a trial point of the line search to the last iterate that was taken."""
        iterate = self.reached[0]
        self.flat[...] = self.start if iterate is None else iterate.x

    def place(self):
        return self.state.n_steps + self.n_iterations, None

    # ---- checkpoints ----

    def recorded(self):
        self.stored = self.reached

    def saved(self, *, in_epoch):
        """Return the iterate of the last epoch that has been recorded: each epoch is one step."""
        iterate, n_iterations = self.stored
        if iterate is None:
            return None
        state, tensors = saved(iterate)
        return {"n_iterations": n_iterations, "iterate": state}, tensors

    def go_on_from(self, state, tensors):
        check_entries("training", state, _REACHED)
        iterate = from_saved(state["iterate"], tensors, len(self.flat))
        self.reached = self.stored = iterate, state["n_iterations"]
        self.settle()

    # ---- iterations ----

    def run(self, epochs):
        """Minimise, with an epoch for each iteration."""

        def after_iteration(iterate):
            self.reached = iterate, self.n_iterations + 1
            self.settle()
            on_slice = epochs.begin()
            if on_slice is not None:
                on_slice(self.n_rows, iterate.loss)
            return epochs.end(iterate.loss)

        if epochs.n_epochs == 0:
            return
        if self.reached[0] is None:
            x = self.flat.astype(np.float64)
            self.reached = self.stored = Iterate(x, *self.loss_and_gradient(x)), 0
        minimize_lbfgs(
            self.loss_and_gradient,
            self.flat,
            most_iterations=epochs.n_epochs,
            after_iteration=after_iteration,
            state=self.reached[0],
        )
        self.settle()

    def loss_and_gradient(self, x):
        """Return loss and gradient at the float64 vector x, ½ α ‖W‖² included."""
        self.flat[...] = x
        model = self.model
        loss, gradient = self._of_rows()
        if self.alpha:
            is_alone = self.head is not None and self.head.alone
            idle = "decoder_components" if is_alone else None  # a matrix that nothing moves
            both = zip(model.arrays(gradient), model.arrays(self.flat), strict=True)
            for (_, name, dW), (_, _, W) in both:
                if dW.ndim == 2 and name != idle:
                    W = W.astype(np.float64)
                    loss += 0.5 * self.alpha * (W * W).sum()
                    dW += self.alpha * W
        return loss, gradient

    def _of_rows(self):
        """Return loss and gradient of all rows at the present parameters, without the penalty."""
        model = self.model
        # a penalty of the codes' means, such as KL(ρ ‖ mean), needs all rows in one chunk
        rows = len(self.X) if self.variant.couples_rows else min(len(self.X), CHUNK_ROWS)
        with threads.single_threaded_blas(_runtime.products() == "blas"):
            loss, gradient, status = _autoencoder.loss_and_gradients(
                model,
                self.X,
                model.split(self.flat),
                self.weight,
                None,
                rows,
                self.n_threads,
                self.variant,
                head=self.head,
            )
        if status & NOT_FINITE or not (np.isfinite(loss) and np.isfinite(gradient).all()):
            raise Diverged
        return loss, gradient
