"""What fits of all networks have in common."""

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import validate_parameter_constraints

from aefast import _lbfgs
from aefast import _validation as check
from aefast._precision import check_available
from aefast._training import as_list, run_epochs, split_rows, start_training


class NetworkFitting:
    """Steps of `fit` and `partial_fit`, of an estimator with a `_state`, curves and a method `_start`."""

    def _check_parameters(self):
        # what get_params gives, without its inspection of the signature, which took a fifth of a small fit
        given = {name: getattr(self, name) for name in self._parameter_constraints}
        validate_parameter_constraints(self._parameter_constraints, given, type(self).__name__)
        check_available(self.precision)
        self._check_variants()
        for callback in as_list(self.callbacks):
            if not callable(callback):
                raise TypeError(
                    f"callbacks must be a callable, a list of callables or None, got {self.callbacks!r}"
                )

    def _draw_seed(self):
        return int(
            check_random_state(self.random_state).randint(np.iinfo(np.int64).max, dtype=np.int64)
        )

    def _begin(self, X, state, keep_features, record=None):
        """From here on the estimator is fitted, with the state that training starts from."""
        if not keep_features:
            check.remember_features(self, X)
        self._state = state
        self.loss_curve_, self.validation_loss_curve_, self.n_epochs_ = record or ([], [], 0)

    def _run(self, training, rows, held_out, n_epochs, weight=None):
        try:
            if isinstance(training, _lbfgs.FullBatch):
                _lbfgs.run_lbfgs(self, training, n_epochs)
            else:
                run_epochs(self, training, self._state.model, rows, held_out, n_epochs, weight)
        except BaseException:  # Ctrl-C too
            training.settle()
            raise
        finally:
            self._keep(training)

    def _keep(self, training):
        """The estimator's state becomes what training has reached."""
        self._state = self._state._replace(
            n_steps=training.trainer.values()[2], n_rows_seen=training.n_rows_seen
        )

    def _seed_and_parts(self, rows, goes_on):
        """The seed of all random numbers, and the rows for training and, or None, for early stopping."""
        if self.early_stopping and len(rows) < 2:
            raise ValueError(
                f"early_stopping=True needs at least 2 samples to hold one out, got n_samples = {len(rows)}"
            )
        seed = self._state.seed if goes_on else self._draw_seed()
        if not self.early_stopping:
            return seed, len(rows), None
        return seed, *split_rows(len(rows), self.validation_fraction, seed)

    def _one_pass(self, X, sample_weight):
        """`partial_fit`."""
        self._check_parameters()
        goes_on = self.__sklearn_is_fitted__()
        rows = check.estimator_rows(self, X, reset=not goes_on)
        weight = check.as_mean_weight(sample_weight, len(rows))
        seed = self._state.seed if goes_on else self._draw_seed()
        state, variant = self._start(X, rows, weight, len(rows), None, seed, goes_on)
        record = (
            (self.loss_curve_, self.validation_loss_curve_, self.n_epochs_)
            if goes_on
            else ([], [], 0)
        )
        training = start_training(
            self, rows, len(rows), state, variant, weight, n_epochs_made=record[-1]
        )
        self._begin(X, state, keep_features=goes_on, record=record)
        self._run(training, rows, None, 1)
        return self
