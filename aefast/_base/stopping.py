"""When training stops because nothing improves any more."""

import numpy as np


class Patience:
    """Tells when the monitored loss has not improved by more than tol for n_epochs_no_change
    epochs; with tol=0 never.
    """

    def __init__(self, tol, n_epochs_no_change):
        self.tol, self.n_epochs_no_change = tol, n_epochs_no_change
        self.best, self.n_bad = np.inf, 0

    def is_over(self, loss):
        return self.has_run_out(loss) and self.tol > 0

    def has_run_out(self, loss):
        self.n_bad = 0 if loss < self.best - self.tol else self.n_bad + 1
        self.best = min(self.best, loss)
        return self.n_bad >= self.n_epochs_no_change
