"""The estimator `AutoencoderRegressor`: numbers from the code of an autoencoder."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.validation import _num_samples

from aefast._base.arrays import as_mean_weight
from aefast._base.by_parts import takes_streams
from aefast._base.saving import FLAG, Tensor
from aefast._base.types import Array, Reals
from aefast.networks.heads import Targets
from aefast.networks.stacked import WIDENING
from aefast.networks.supervised import SupervisedAutoencoder

FEWEST_UNITS = 32  # of the layer, where its size is chosen


class AutoencoderRegressor(RegressorMixin, SupervisedAutoencoder):
    """Regression on the code of an autoencoder: pre-trained on all rows, fine-tuned on targets.

    A stack of layers is pre-trained to reconstruct the rows, with or without targets, as for
    `StackedAutoencoder`. Then a linear map of the code z is put on it,

        ``ŷ = mean + deviation ∘ (z V + a)``

    with the means and standard deviations of the targets, and all layers are fine-tuned together.
    With the rows' weights w, the targets ``t = (y − mean) / deviation`` and λ for
    `reconstruction_weight`, training minimises

        ``mean_{known i} w_i ½ ‖t̂_i − t_i‖² + λ mean_i w_i l(x_i, x̂_i) + ½ α Σ ‖W‖²``

    where l is the loss of `Autoencoder` and the sum of squares is that of all matrices, V among
    them. With λ = 0, the default, fine-tuning visits the rows with a target alone; with λ > 0
    the others have a part in it too.

    Parameters
    ----------
    layer_sizes : sequence of int or "auto", default="auto"
        Hidden units of each layer. "auto": one layer, of 4 times as many units as `n_components` of
        `Autoencoder` would have, and at least 32.
    alpha : float or "auto", default="auto"
        As for `AutoencoderClassifier`; "auto": 1 divided by the number of rows with a target.
    encoder, reconstruction_weight, input_dropout, activation, code_activation, gain, \
    init, output, scale, missing, missing_fill, corruption, pretrain_epochs, max_epochs, solver, \
    learning_rate, momentum, nesterov, batch_size, weight_decay, clip_norm, max_norm, \
    learning_rate_schedule, tol, shuffle, early_stopping, validation_fraction, \
    n_epochs_no_change, warm_start, n_threads, random_state, callbacks, checkpoint, \
    checkpoint_every, resume, verbose
        As for `AutoencoderClassifier`, with targets in place of labels.

    Attributes
    ----------
    autoencoder_ : Autoencoder or StackedAutoencoder
        The fitted network without the head: a fitted estimator with views of the parameters.
    head_weights_ : ndarray (n_components, n_targets)
        V.
    head_bias_ : ndarray (n_targets,)
        a.
    target_means_, target_deviations_ : ndarray (n_targets,)
        Of the targets that are known; a deviation of 0 is replaced by 1.
    loss_curve_, validation_loss_curve_, history_, best_epoch_, n_epochs_, fit_report_, \
    pretraining_loss_curves_, n_features_in_, feature_names_in_
        As of `AutoencoderClassifier`.

    Notes
    -----
    As for `AutoencoderClassifier`. NaN in y is a missing target; a row may have some of them.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from aefast import AutoencoderRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = AutoencoderRegressor((16,), max_epochs=20, random_state=0).fit(X[:300], y[:300])
    >>> bool(model.score(X[300:], y[300:]) > 0.4)
    True
    """

    _distribution = "gaussian"
    _penalty = 1.0
    _file_format = "aefast autoencoder regressor"
    target_means_: Array
    target_deviations_: Array
    _is_flat: bool  # whether y has one dimension

    def fit(  # type: ignore[override]  # y is needed
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Pre-train on all rows, and fine-tune on the rows with targets.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Rows in the domain of the output's distributions, in memory.
        y : array-like (n_samples,) or (n_samples, n_targets)
            Real numbers; NaN is a missing target.
        sample_weight : array-like (n_samples,) or None, default=None
            Non-negative weights, scaled to mean 1; of the loss of targets, to mean 1 over the rows
            with a target.
        X_val, y_val : array-like or None, default=None
            Rows and targets whose mean loss after each epoch of fine-tuning is the validation loss.
            `early_stopping` then holds out no rows of X.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For invalid parameters or input; the fitted state does not change.
        FloatingPointError
            If training diverges; the last finite parameters are kept.
        """
        return self._fit_to(X, y, sample_weight, X_val, y_val)

    @takes_streams
    def predict(self, X: ArrayLike) -> Reals:
        """Return the predicted targets of each row.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)

        Returns
        -------
        y : ndarray (n_samples,) or (n_samples, n_targets)
            In the dimensions of the y of the fit.
        """
        scaled = self._decoded(X)
        y = scaled * self.target_deviations_ + self.target_means_
        y = y.astype(scaled.dtype, copy=False)
        return y[:, 0] if self._is_flat else y

    def score(  # type: ignore[override]  # y is needed
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the coefficient of determination R², averaged over the targets.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        y : array-like (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like (n_samples,) or None, default=None

        Returns
        -------
        score : float
        """
        return super().score(X, y, as_mean_weight(sample_weight, _num_samples(y)))

    # ---- hooks of SupervisedAutoencoder ----

    def _targets_of(self, y, name, weight, *, reset, known=None):
        options = {"ensure_2d": False, "dtype": np.float64, "ensure_all_finite": "allow-nan"}
        y = check_array(y, **options, input_name=name)
        if y.ndim not in (1, 2):
            raise ValueError(f"{name} must have 1 or 2 dimensions, got {y.ndim}")
        is_flat = y.ndim == 1
        y = y.reshape(len(y), -1)
        observed = ~np.isnan(y)
        if not observed.any(axis=0).all():
            raise ValueError(f"{name} has no target in column {np.argmin(observed.any(axis=0))}")
        if known is None and reset:
            known = _units_of(y, observed, weight) | {"_is_flat": is_flat}
        elif known is None:
            names = ("target_means_", "target_deviations_", "_is_flat")
            known = {field: getattr(self, field) for field in names}
        if len(known["target_means_"]) != y.shape[1]:
            raise ValueError(
                f"{name} has {y.shape[1]} targets, the fit has {len(known['target_means_'])}"
            )
        rows = (y - known["target_means_"]) / known["target_deviations_"]
        return Targets(rows, observed.any(axis=1), None), known

    def _sizes_around(self, k):
        return (max(FEWEST_UNITS, WIDENING * k),)

    def _first_means(self, rows, share):
        return np.zeros(rows.shape[1])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # ---- saving and loading ----

    def _saved_state(self):
        return super()._saved_state() | {"targets_are_flat": self._is_flat}

    def _saved_tensors(self):
        units = {
            "target_means": self.target_means_,
            "target_deviations": self.target_deviations_,
        }
        return super()._saved_tensors() | units

    @classmethod
    def _state_checks(cls):
        return super()._state_checks() | {"targets_are_flat": FLAG}

    @classmethod
    def _tensor_layout(cls, state):
        n_targets = state["model"]["n_targets"]
        if state["targets_are_flat"] and n_targets != 1:
            raise ValueError(f"expected one target where 'targets_are_flat', got {n_targets}")
        units = dict.fromkeys(("target_means", "target_deviations"), Tensor((n_targets,), "F64"))
        return super()._tensor_layout(state) | units

    def _restore(self, state, tensors):
        if not (tensors["target_deviations"] > 0).all():
            raise ValueError("expected positive numbers in 'target_deviations'")
        super()._restore(state, tensors)
        self.target_means_ = tensors["target_means"]
        self.target_deviations_ = tensors["target_deviations"]
        self._is_flat = state["targets_are_flat"]


def _units_of(y, observed, weight):
    """Return the weighted means and standard deviations of the columns' observed targets."""
    share = observed if weight is None else observed * weight[:, np.newaxis]
    total = share.sum(axis=0)
    if not (total > 0).all():
        raise ValueError("sample_weight must be positive where a target is known")
    y = np.where(observed, y, 0)
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused below
        means = (share * y).sum(axis=0) / total
        deviations = np.sqrt((share * (y - means) ** 2).sum(axis=0) / total)
    deviations = np.where(deviations > 0, deviations, 1.0)
    if not (np.isfinite(means) & np.isfinite(deviations)).all():
        raise ValueError("the mean or the deviation of y overflows: scale y down")
    return {"target_means_": means, "target_deviations_": deviations}
