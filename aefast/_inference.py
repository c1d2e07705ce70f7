"""What a fitted network is used for: codes, reconstructions, losses, likelihoods of rows."""

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from aefast import _validation as check
from aefast._forward import forward, overflow_error


class NetworkInference(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """The methods of an estimator that has a `_state`: a model and its flat parameters."""

    def transform(self, X):
        """Codes ``H = g(X Wᵀ + b)``, in (0, 1) for the sigmoid.

        Parameters
        ----------
        X : array-like (n_samples, n_features)

        Returns
        -------
        H : ndarray (n_samples, n_components)
            float32 for float32, uint8 and bool input, float64 otherwise; likewise for the other methods.
        """
        return self._forward(X, "codes")

    def inverse_transform(self, H):
        """Means of p(x | h): ``X̂ = o(H W* + c)``.

        Parameters
        ----------
        H : array-like (n_samples, n_components)

        Returns
        -------
        X_hat : ndarray (n_samples, n_features)
        """
        check_is_fitted(self)
        H = check.as_rows(H, "H")
        state = self._state
        if H.shape[1] != state.model.n_components:
            raise ValueError(
                f"H must have {state.model.n_components} columns, one for each component, got shape {H.shape}"
            )
        parameters = state.model.split(state.parameters)
        out = forward(
            state.model,
            parameters,
            H,
            "reconstructions",
            name="H",
            from_codes=True,
            n_threads=self.n_threads,
        )
        return out.astype(check.real_type(H.dtype), copy=False)

    def reconstruct(self, X):
        """``inverse_transform(transform(X))`` in one pass.

        Parameters
        ----------
        X : array-like (n_samples, n_features)

        Returns
        -------
        X_hat : ndarray (n_samples, n_features)
        """
        return self._forward(X, "reconstructions")

    def reconstruction_error(self, X, per_feature=False):
        """The training loss of each row (nats, constants dropped, no penalty).

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        per_feature : bool, default=False
            The loss of each entry instead of the sum of its row's.

        Returns
        -------
        loss : ndarray (n_samples,) or (n_samples, n_features)
        """
        return self._losses(X, "feature_losses" if per_feature else "row_losses")

    def score_samples(self, X):
        """``log p(x | μ(h(x)))`` of each row, in nats, constants included.

        "gaussian": ``−½ ‖x̂ − x‖² − (d/2) log 2π``. "bernoulli": minus the cross-entropy; for values strictly between 0 and 1 that
        is a loss but not the logarithm of a density. The code h(x) has seen x: this is no marginal likelihood.

        Parameters
        ----------
        X : array-like (n_samples, n_features)

        Returns
        -------
        log_likelihood : ndarray (n_samples,)
        """
        losses = self._losses(X, "row_losses")
        model = self._state.model
        log_normalizer = check.log_normalizer_of(model.output) * model.n_features
        return -losses - losses.dtype.type(log_normalizer)

    def score(self, X, y=None):
        """Mean of `score_samples`; greater is better.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        y : ignored

        Returns
        -------
        log_likelihood : float
        """
        return float(self.score_samples(X).mean(dtype=np.float64))

    def _forward(self, X, result):
        check_is_fitted(self)
        rows = check.estimator_rows(self, X, reset=False)
        state = self._state
        out = forward(
            state.model, state.model.split(state.parameters), rows, result, n_threads=self.n_threads
        )
        return out.astype(check.real_type(rows.dtype), copy=False)

    def _losses(self, X, result):
        losses = self._forward(X, result)
        if not np.isfinite(losses).all():
            raise overflow_error("X", self._state.model.split(self._state.parameters))
        return losses

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
