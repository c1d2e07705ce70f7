"""What fits of all networks have in common."""

import threading
from functools import lru_cache
from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import validate_parameter_constraints

from aefast import _lbfgs
from aefast import _validation as check
from aefast._precision import check_available
from aefast._training import as_list, run_epochs, split_rows, start_training

# What differs from fit to fit, or should not be kept alive by a cache.
CHECKED_EACH_TIME = ("random_state", "callbacks", "verbose")


@lru_cache(maxsize=256)
def _check_constraints_once(estimator_class, given):
    """`given`: (name, type, value) of parameters; the types are there because 1 == True == 1.0."""
    values = {name: value for name, _, value in given}
    constraints = {name: estimator_class._parameter_constraints[name] for name in values}
    validate_parameter_constraints(constraints, values, estimator_class.__name__)


class _OwnRandomState(threading.local):
    """One a thread, for integer seeds: to make a RandomState takes a hundred times as long as to seed one."""

    def __init__(self):
        self.random = np.random.RandomState()

    def seeded(self, seed):
        self.random.seed(seed)
        return self.random


_own_random_state = _OwnRandomState()


class NetworkFitting:
    """Steps of `fit` and `partial_fit`, of an estimator with a `_state`, curves and a method `_start`."""

    def _check_parameters(self):
        # what get_params gives, without its inspection of the signature; scikit-learn's checks alone took a fifth of a small fit
        constraints = self._parameter_constraints
        given = {name: getattr(self, name) for name in constraints}
        checked = [name for name, rule in constraints.items() if rule != "no_validation"]
        one_by_one = CHECKED_EACH_TIME
        try:
            _check_constraints_once(
                type(self),
                tuple((n, type(given[n]), given[n]) for n in checked if n not in one_by_one),
            )
        except TypeError:  # a value cannot be hashed
            one_by_one = checked
        validate_parameter_constraints(
            constraints, {n: given[n] for n in one_by_one}, type(self).__name__
        )
        check_available(self.precision)
        self._check_variants()
        for callback in as_list(self.callbacks):
            if not callable(callback):
                raise TypeError(
                    f"callbacks must be a callable, a list of callables or None, got {self.callbacks!r}"
                )

    def _draw_seed(self):
        seed = self.random_state
        is_seed = isinstance(seed, Integral) and not isinstance(seed, bool)
        random = _own_random_state.seeded(seed) if is_seed else check_random_state(seed)
        return int(random.randint(np.iinfo(np.int64).max, dtype=np.int64))

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
