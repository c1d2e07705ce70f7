"""The solver "lbfgs": SciPy's L-BFGS-B on the fused loss and gradient of all rows."""

import numpy as np

from aefast._base import _runtime, threads
from aefast._base.epochs import Diverged, Training
from aefast._base.streams import StreamedRows
from aefast.networks import _autoencoder
from aefast.networks._autoencoder import NOT_FINITE

NAME = "lbfgs"
CHUNK_ROWS = 512  # number of rows whose sums are accumulated in the real type, before double
MOST_CORRECTIONS = 10  # number of pairs that approximate the Hessian


def check(estimator):
    """Raise ValueError for parameters that do not apply to full batches."""
    if estimator.solver != NAME:
        return
    for name, off in (
        ("early_stopping", False),
        ("weight_decay", 0),
        ("clip_norm", None),
        ("max_norm", None),
        ("checkpoint", None),  # SciPy keeps the state of its iterations to itself
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

    def __init__(self, estimator, X, state, variant, sample_weight):
        self.X, self.model, self.flat, self.state = X, state.model, state.parameters, state
        # Dead units are found and revived between the steps of a pass; here a pass is one step.
        self.variant = variant._replace(revive=0.0, rows_unused=None)
        self.n_iterations = 0
        self.weight = None if sample_weight is None else sample_weight / len(X)
        self.alpha = float(estimator.alpha)
        work = 10.0 * min(len(X), CHUNK_ROWS) * state.model.n_multiplied
        self.n_threads = threads.effective_n_threads(estimator.n_threads, work)
        self.best = self.flat.copy()

    @property
    def n_rows(self):
        return len(self.X)

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
        self.flat[...] = self.best

    def place(self):
        return self.state.n_steps + self.n_iterations, None

    def run(self, epochs):
        """Minimise in SciPy's loop, which calls `after_iteration` after each iteration."""
        from scipy.optimize import minimize

        def after_iteration(intermediate_result):
            loss = float(intermediate_result.fun)
            self.flat[...] = self.best[...] = intermediate_result.x
            self.n_iterations += 1
            on_slice = epochs.begin()
            if on_slice is not None:
                on_slice(self.n_rows, loss)
            try:
                is_over = epochs.end(loss)
            except StopIteration as error:  # of a user's callback: to SciPy it means the end
                raised.append(error)
                raise
            if is_over:
                raise StopIteration

        if epochs.n_epochs == 0:
            return
        raised: list[StopIteration] = []
        options = {
            "maxiter": epochs.n_epochs,
            "maxfun": 20 * epochs.n_epochs,
            "maxcor": MOST_CORRECTIONS,
            "ftol": 0.0,  # tol and n_epochs_no_change decide when to stop
            "gtol": 1e-10,
        }
        with threads.single_threaded_blas():  # SciPy's long dot products
            minimize(
                self.loss_and_gradient,
                self.flat.astype(np.float64),
                jac=True,
                method="L-BFGS-B",
                callback=after_iteration,
                options=options,
            )
        self.settle()
        if raised:
            raise raised[0]

    def loss_and_gradient(self, x):
        """Return loss and gradient at the float64 vector x, ½ α ‖W‖² included."""
        self.flat[...] = x
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
            )
        if status & NOT_FINITE or not (np.isfinite(loss) and np.isfinite(gradient).all()):
            raise Diverged
        if self.alpha:
            both = zip(model.arrays(gradient), model.arrays(self.flat), strict=True)
            for (_, _, dW), (_, _, W) in both:
                if dW.ndim == 2:
                    W = W.astype(np.float64)
                    loss += 0.5 * self.alpha * (W * W).sum()
                    dW += self.alpha * W
        return loss, gradient
