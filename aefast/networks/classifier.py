"""The estimator `AutoencoderClassifier`: classes from the code of an autoencoder."""

from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _num_samples, column_or_1d

from aefast._base.arrays import as_mean_weight
from aefast._base.by_parts import takes_streams
from aefast._base.errors import shown
from aefast._base.saving import Check, one_of
from aefast._base.types import Array, Callbacks, OutputLike, PathLike, RandomState, Reals
from aefast.networks.class_labels import (
    DTYPES,
    are_labels,
    as_labels,
    is_missing,
    usual_missing_label,
)
from aefast.networks.heads import Targets
from aefast.networks.supervised import SupervisedAutoencoder
from aefast.networks.training.automatic import AUTO


class AutoencoderClassifier(ClassifierMixin, SupervisedAutoencoder):
    """Classifier on the code of an autoencoder: pre-trained on all rows, fine-tuned on labels.

    A stack of layers is pre-trained to reconstruct the rows, with or without labels, as for
    `StackedAutoencoder`. Then a softmax of the code z is put on it,

        ``p(y | x) = softmax(z V + a)``

    and all layers are fine-tuned together. With the rows' weights w and λ for
    `reconstruction_weight`, training minimises

        ``mean_{labelled i} w_i (−log p(y_i | x_i)) + λ mean_i w_i l(x_i, x̂_i) + ½ α Σ ‖W‖²``

    where l is the loss of `Autoencoder` in nats and the sum of squares is that of all matrices, V
    among them. With λ = 0, the default, the decoder has done its work in pre-training, and
    fine-tuning visits the rows with labels alone (Vincent et al. 2010). With λ > 0 rows without a
    label have a part in it too, and the code stays one from which rows can be reconstructed.

    Parameters
    ----------
    layer_sizes : sequence of int or "auto", default="auto"
        Hidden units of each layer, as for `StackedAutoencoder`.
    encoder : Autoencoder, StackedAutoencoder or None, default=None
        What fine-tuning begins with, instead of layers of its own: a fitted estimator, whose
        parameters are copied, or one that is not fitted, of which a clone is fitted to X. The
        parameters from `layer_sizes` to `corruption` then are the encoder's. Inside of
        cross-validation, which clones what it is given, a fitted one has to be a
        ``sklearn.frozen.FrozenEstimator(encoder)``.
    reconstruction_weight : float in [0, 1e6], default=0.0
        λ. Losses of reconstructions are sums over columns, and often some hundred times those of
        labels: begin with the inverse of the number of columns.
    input_dropout : float in [0, 1) or "auto", default="auto"
        Probability that an entry of a row is not shown to the encoder in fine-tuning (it is 0, in
        the units of `scale`); the others are divided by 1 − input_dropout (Srivastava et al. 2014).
        "auto": 0.2; 0 with fewer than 32 columns, and with solver="lbfgs".
    class_weight : dict, "balanced" or None, default=None
        Factors of the rows' weights by class; "balanced": the inverse of the classes' frequencies
        among the labels, as in scikit-learn.
    missing_label : int, float, str or None, default="auto"
        What y has in rows without a label; None and NaN mean that there is none in any case, and
        with None nothing else does. "auto": -1, as in `sklearn.semi_supervised`, unless all labels
        are −1 and 1, which are two classes then.
    activation, code_activation, gain, init, output, scale, missing, missing_fill
        As for `StackedAutoencoder`.
    corruption : "auto", None or (kind, level), default="auto"
        Noise of pre-training, as for `StackedAutoencoder`.
    pretrain_epochs : int or "auto", default="auto"
        Largest number of passes of pre-training for each layer; 0: none.
    max_epochs : int or "auto", default="auto"
        Largest number of passes of fine-tuning; 0: the head stays at the frequencies of classes.
    alpha : float or "auto", default="auto"
        Weight of the L2 penalty in fine-tuning, and in pre-training. "auto": 0.1 divided by the
        number of rows with a label (the sum of their weights), none in pre-training, and none where
        units have gains, which would undo it; with it ``gain="auto"`` means that there are none.
    solver, learning_rate, momentum, nesterov, batch_size, weight_decay, clip_norm, \
    max_norm, learning_rate_schedule, tol, shuffle, n_threads, random_state, checkpoint, \
    checkpoint_every, resume, verbose
        As for `StackedAutoencoder`, for both stages.
    early_stopping : bool, default=False
        Hold out labelled rows, monitor the loss of their labels, keep the parameters of the best
        epoch of fine-tuning.
    validation_fraction, n_epochs_no_change, callbacks
        As for `Autoencoder`, of fine-tuning.
    warm_start : bool, default=False
        Whether `fit` goes on fine-tuning from the fitted parameters, without pre-training; y may
        have no other classes.

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
        The labels, sorted.
    autoencoder_ : Autoencoder or StackedAutoencoder
        The fitted network without the head: a fitted estimator with views of the parameters.
    head_weights_ : ndarray (n_components, n_classes)
        V.
    head_bias_ : ndarray (n_classes,)
        a.
    loss_curve_, validation_loss_curve_ : list of float
        Losses of fine-tuning; those of validation are of the labels alone.
    history_, best_epoch_, n_epochs_, fit_report_, pretraining_loss_curves_, n_features_in_, \
    feature_names_in_
        As of `StackedAutoencoder`, of whose methods this class has `transform`, `reconstruct` and
        others that read rows.

    Notes
    -----
    The decoder reads codes with their gain where there is one (see `gain` of `Autoencoder`), and so
    does the head: ``z = (h − g(0)) ∘ gain``. Labels take one byte for each row and class. Rows are
    in memory: streams are refused, and there is no `partial_fit`. The bits of a fit do not depend
    on the number of threads.

    References
    ----------
    .. [1] Hinton & Salakhutdinov (2006), Reducing the dimensionality of data with neural networks.
    .. [2] Vincent, Larochelle, Lajoie, Bengio & Manzagol (2010), Stacked denoising autoencoders.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from aefast import AutoencoderClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> y[100:] = -1  # labels of 100 rows
    >>> model = AutoencoderClassifier(random_state=0).fit(X, y)
    >>> bool(model.score(X[100:], load_digits().target[100:]) > 0.85)
    True
    """

    _distribution = "categorical"
    _penalty = 0.1
    _file_format = "aefast autoencoder classifier"
    _parameter_constraints: dict = SupervisedAutoencoder._parameter_constraints | {
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "missing_label": [Real, str, None],
    }
    _parameters_not_saved: tuple[str, ...] = (
        *SupervisedAutoencoder._parameters_not_saved,
        "class_weight",
    )
    classes_: Array

    def __init__(
        self,
        layer_sizes: Any = "auto",
        *,
        encoder: Any = None,
        reconstruction_weight: float = 0.0,
        input_dropout: float | str = "auto",
        class_weight: dict[Any, float] | str | None = None,
        missing_label: Any = "auto",
        activation: str = "sigmoid",
        code_activation: str | None = None,
        gain: bool | str = "auto",
        init: str = "auto",
        output: OutputLike = "gaussian",
        scale: str | None = "auto",
        missing: str = "error",
        missing_fill: str = "mean",
        corruption: tuple[str, float] | str | None = "auto",
        solver: str = "adam",
        learning_rate: float | str = "auto",
        momentum: float = 0.9,
        nesterov: bool = False,
        batch_size: int | str = "auto",
        pretrain_epochs: int | str = "auto",
        max_epochs: int | str = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_epochs_no_change: int = 5,
        tol: float = 1e-4,
        alpha: float | str = "auto",
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        learning_rate_schedule: str = "auto",
        shuffle: bool = True,
        warm_start: bool = False,
        n_threads: int | None = None,
        random_state: RandomState | None = None,
        callbacks: Callbacks | None = None,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        verbose: int | bool = 0,
    ) -> None:
        given = dict(locals())
        for name in ("self", "class_weight", "missing_label", "__class__"):
            del given[name]
        super().__init__(**given)
        self.class_weight = class_weight
        self.missing_label = missing_label

    def fit(  # type: ignore[override]  # y is needed
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Pre-train on all rows, and fine-tune on the rows with labels.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Rows in the domain of the output's distributions, in memory.
        y : array-like (n_samples,)
            Labels: numbers or strings. Rows without a label have `missing_label`, None or NaN.
        sample_weight : array-like (n_samples,) or None, default=None
            Non-negative weights, scaled to mean 1; of the loss of labels, to mean 1 over the rows
            with labels.
        X_val, y_val : array-like or None, default=None
            Rows and labels whose mean loss after each epoch of fine-tuning is the validation loss.
            `early_stopping` then holds out no rows of X.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For invalid parameters or input, and labels of fewer than two classes; the fitted state
            does not change.
        FloatingPointError
            If training diverges; the last finite parameters are kept.
        """
        return self._fit_to(X, y, sample_weight, X_val, y_val)

    @takes_streams
    def predict(self, X: ArrayLike) -> Array:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)

        Returns
        -------
        y : ndarray (n_samples,)
        """
        places = self._decoded(X).argmax(axis=1)
        return self.classes_[places]

    @takes_streams
    def predict_proba(self, X: ArrayLike) -> Reals:
        """Return the probability of each class, in the order of `classes_`.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)

        Returns
        -------
        p : ndarray (n_samples, n_classes)
        """
        return self._decoded(X)

    @takes_streams
    def predict_log_proba(self, X: ArrayLike) -> Reals:
        """Return the logarithm of `predict_proba`, which is finite where that underflows.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)

        Returns
        -------
        log_p : ndarray (n_samples, n_classes)
        """
        return log_softmax(self._decoded(X, link=False), axis=1)

    def score(  # type: ignore[override]  # y is needed
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the share of rows whose class is predicted.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        y : array-like (n_samples,)
        sample_weight : array-like (n_samples,) or None, default=None

        Returns
        -------
        score : float
        """
        return super().score(X, y, as_mean_weight(sample_weight, _num_samples(y)))

    # ---- hooks of SupervisedAutoencoder ----

    def _targets_of(self, y, name, weight, *, reset, known=None):
        labels = column_or_1d(y, warn=True)
        missing_label = self.missing_label
        if isinstance(missing_label, str) and missing_label == AUTO:
            missing_label = usual_missing_label(labels, [] if reset else self._classes(known))
        given = ~is_missing(labels, missing_label)
        present = as_labels(labels[given], name)
        classes = np.unique(present) if known is None and reset else self._classes(known)
        if len(classes) < 2:
            raise ValueError(
                f"{name} needs labels of at least 2 classes, got 1 class: "
                f"{shown(classes.tolist()[0])} ({shown(missing_label)} stands for none)"
            )
        place = np.minimum(np.searchsorted(classes, present), len(classes) - 1)
        if len(strange := present[classes[place] != present]):
            raise ValueError(
                f"{name} has the label {shown(strange.tolist()[0])}, but the classes are "
                f"{shown(classes.tolist())}"
            )
        rows = np.zeros((len(labels), len(classes)), np.uint8)
        rows[np.flatnonzero(given), place] = 1
        balance = None
        if self.class_weight is not None and known is None:
            balance = np.ones(len(labels))
            factors = compute_class_weight(self.class_weight, classes=classes, y=present)
            balance[given] = factors[place]
        return Targets(rows, given, balance), {"classes_": classes}

    def _classes(self, known):
        return self.classes_ if known is None else known["classes_"]

    def _first_means(self, rows, share):
        return share @ rows

    # ---- saving and loading ----

    def _saved_state(self):
        classes = self.classes_
        return super()._saved_state() | {
            "classes": [label if isinstance(label, str) else label.item() for label in classes],
            "classes_dtype": "|O" if classes.dtype.kind in "OUS" else classes.dtype.str,
        }

    @classmethod
    def _state_checks(cls):
        labels = Check(are_labels, "a list of two or more different labels")
        return super()._state_checks() | {"classes": labels, "classes_dtype": one_of(DTYPES)}

    @classmethod
    def _tensor_layout(cls, state):
        if len(state["classes"]) != state["model"]["n_targets"]:
            raise ValueError(f"expected {state['model']['n_targets']} 'classes'")
        return super()._tensor_layout(state)

    def _restore(self, state, tensors):
        try:
            classes = np.array(state["classes"], dtype=state["classes_dtype"])
        except (ValueError, TypeError, OverflowError):
            raise ValueError(f"expected 'classes' of type {state['classes_dtype']}") from None
        if classes.tolist() != state["classes"] or not (classes[:-1] < classes[1:]).all():
            raise ValueError("expected 'classes' in ascending order")
        super()._restore(state, tensors)
        self.classes_ = classes
