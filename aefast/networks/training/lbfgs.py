"""solver="lbfgs": SciPy's L-BFGS-B on the fused loss and gradient of all rows."""

import numpy as np

from aefast._base import _runtime, threads
from aefast.networks import _autoencoder
from aefast.networks._autoencoder import NOT_FINITE
from aefast.networks.training.minibatches import as_list, divergence_error, progress_bar
from aefast.networks.training.schedules import Patience

NAME = "lbfgs"
CHUNK_ROWS = 512  # sums over more rows go on in double
MOST_CORRECTIONS = 10  # pairs that approximate the Hessian


def check(estimator):
    """What does not go together with full batches."""
    if estimator.solver != NAME:
        return
    for name, off in (
        ("early_stopping", False),
        ("weight_decay", 0),
        ("clip_norm", None),
        ("max_norm", None),
    ):
        if getattr(estimator, name) != off:
            raise ValueError(
                f"{name}={getattr(estimator, name)!r} belongs to solvers that work in batches: solver='lbfgs' minimises the loss of "
                f"all rows (set {name}={off!r}, or use alpha to keep weights small)"
            )
    if estimator.precision != "auto":
        raise ValueError("solver='lbfgs' needs precision='auto': line searches need exact losses")


def works_in_batches(estimator):
    """Whether there is a partial_fit."""
    if estimator.solver == NAME:
        raise AttributeError("partial_fit needs a solver that works in batches, got solver='lbfgs'")
    return True


class FullBatch:
    """A fit by L-BFGS: the part of `_training.Training` that an estimator asks for. Noise is drawn once, as for the first pass."""

    def __init__(self, estimator, X, state, variant, sample_weight):
        self.X, self.model, self.flat, self.state = X, state.model, state.parameters, state
        self.variant = variant._replace(
            revive=0.0, rows_unused=None
        )  # a unit is dead or not by step
        self.n_iterations, self.n_rows_seen = 0, state.n_rows_seen
        self.weight = None if sample_weight is None else sample_weight / len(X)
        self.alpha = float(estimator.alpha)
        work = 10.0 * min(len(X), CHUNK_ROWS) * state.model.n_multiplied
        self.n_threads = threads.effective_n_threads(estimator.n_threads, work)
        self.best = self.flat.copy()

    @property
    def trainer(self):
        return self

    def values(self):
        return self.flat, self.state.optimizer_state, self.state.n_steps + self.n_iterations

    def settle(self):
        """After an interrupt: the last iterate that was taken."""
        self.flat[...] = self.best

    def loss_and_gradient(self, x):
        """Of the float64 vector x; ½ α ‖W‖² included."""
        self.flat[...] = x
        model = self.model
        # the divergence of codes' means from rho is one of all rows
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
            raise FloatingPointError
        if self.alpha:
            both = zip(model.parts(gradient), model.parts(self.flat), strict=True)
            for (_, _, part), (_, _, W) in both:
                if part.ndim == 2:
                    W = W.astype(np.float64)
                    loss += 0.5 * self.alpha * (W * W).sum()
                    part += self.alpha * W
        return loss, gradient


def run_lbfgs(estimator, training, n_iterations):
    """Up to n_iterations of L-BFGS, an epoch each, writing the estimator's curves; callbacks see the estimator with the iterate's parameters."""
    from scipy.optimize import minimize

    patience = Patience(estimator.tol, estimator.n_epochs_no_change)
    callbacks = as_list(estimator.callbacks)
    with progress_bar(
        estimator.verbose, n_iterations, len(training.X), estimator._stage
    ) as start_epoch:

        def after_iteration(intermediate_result):
            loss, epoch = float(intermediate_result.fun), estimator.n_epochs_ + 1
            training.flat[...] = training.best[...] = intermediate_result.x
            training.n_iterations += 1
            training.n_rows_seen += len(training.X)
            estimator.loss_curve_.append(loss)
            estimator.n_epochs_ = epoch
            show = start_epoch(training.n_iterations, None)
            if show is not None:
                show(len(training.X), loss)
            estimator._keep(training)
            stops = [callback(epoch, loss, None, estimator) is True for callback in callbacks]
            if any(stops) or patience.is_over(loss):
                raise StopIteration

        try:
            if n_iterations > 0:
                minimize(
                    training.loss_and_gradient,
                    training.flat.astype(np.float64),
                    jac=True,
                    method="L-BFGS-B",
                    callback=after_iteration,
                    options={
                        "maxiter": n_iterations,
                        "maxfun": 20 * n_iterations,
                        "maxcor": MOST_CORRECTIONS,
                        "ftol": 0.0,  # tol and n_epochs_no_change tell when to stop
                        "gtol": 1e-10,
                    },
                )
        except FloatingPointError:
            raise divergence_error(estimator, estimator.n_epochs_ + 1) from None
        finally:
            training.settle()
