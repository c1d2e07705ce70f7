"""Criteria that follow from the likelihoods of rows, of every model with p(x)."""

from abc import abstractmethod

import numpy as np

from aefast._base.float_range import mean_of, sum_of
from aefast._base.types import Array, Reals, Table


class LikelihoodMixin:
    """Methods of a model with `score_samples`."""

    @abstractmethod
    def score_samples(self, X: Table, *, out: Array | None = None) -> Reals:
        """Return ``log p(x)`` of each row."""

    @abstractmethod
    def _n_parameters(self):
        """Return the number of free parameters of the fitted distribution."""

    def score(self, X: Table, y: object = None) -> float:
        """Return the mean of `score_samples`; greater is better.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
        y : ignored

        Returns
        -------
        log_likelihood : float
        """
        return mean_of(self.score_samples(X))

    def aic(self, X: Table) -> float:
        """Return Akaike's criterion ``2 p − 2 Σ log p(x)`` of X; smaller is better.

        p is the number of free parameters.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)

        Returns
        -------
        aic : float
        """
        return 2.0 * self._n_parameters() - 2.0 * sum_of(self.score_samples(X))

    def bic(self, X: Table) -> float:
        """Return the Bayesian criterion ``p log n − 2 Σ log p(x)`` of X; smaller is better.

        p is the number of free parameters, n the number of rows.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)

        Returns
        -------
        bic : float
        """
        log_p = self.score_samples(X)
        return self._n_parameters() * float(np.log(len(log_p))) - 2.0 * sum_of(log_p)


# ---- of rows in partitions ----


def likelihood_of_part(part, model):
    """Return the sum of a partition's log-likelihoods, and its number of rows."""
    return sum_of(model.score_samples(part.X)), part.n_rows


def added_likelihoods(first, second):
    return first[0] + second[0], first[1] + second[1]
