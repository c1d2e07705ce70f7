"""Detection of anomalies: which rows of a table are strange, how strange, and why."""

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from aefast._anomaly_fit import FittedDetector
from aefast._anomaly_labels import as_labels
from aefast._anomaly_reasons import reasons
from aefast._anomaly_tables import Columns
from aefast._base import arrays as check
from aefast._base import checkpoints, scalars, threads
from aefast._base.checkpoints import Checkpoint, identified, interval_of
from aefast._base.errors import table_name
from aefast._base.exchange import DetectorToOnnx
from aefast._base.random import random_state_of
from aefast._base.replay import stages_of
from aefast._base.types import Array, PathLike, RandomState

__all__ = ["AnomalyDetector"]

MOST_REFERENCES = 512  # of a set: a sixteenth of them is within the kernel's largest rank


def __dir__() -> list[str]:
    return __all__


def _can_go_on(detector: Any) -> bool:
    if detector.estimator is None or hasattr(detector.estimator, "partial_fit"):
        return True
    raise AttributeError(f"{type(detector.estimator).__name__} has no method partial_fit")


class AnomalyDetector(DetectorToOnnx, FittedDetector, OutlierMixin, BaseEstimator):
    """Detector of anomalies, with p-values and with reasons in nats of each variable.

    By default a row is compared with random rows of the fit. There are B sets of m reference rows,
    each row drawn alone; a set reconstructs a row x by its ⌈m/16⌉-th nearest reference y, and the
    strangeness of x is the mean over the sets b of

        ``s_b(x) = Σ_j |x_j − y_bj| / u_j``,

    which is −log p of Laplace densities about the reconstruction, up to constants: nats, which add
    up over variables. Small samples have few of the anomalies, and a rank above 1 passes over
    those, so that anomalies that are alike do not hide each other [1]_ [2]_. With `estimator` the
    strangeness is minus the log-likelihood that a model of aefast gives the row.

    Frames with columns that are not numbers are coded by a `TableEncoder`. Missing entries are
    allowed: one counts as much as its variable usually does.

    Parameters
    ----------
    estimator : estimator or None, default=None
        The model: an `Autoencoder`, `StackedAutoencoder`, `ProbabilisticPCA`, `FactorAnalysis`, a
        mixture of these, a `DictionaryLearning`, …; not fitted here, but cloned. Estimators without
        `score_samples` are scored by Laplace densities of their residuals. None: reference rows.
    contamination : float or "auto", default="auto"
        Share of the fit's rows that `predict` flags, in (0, 0.5]. "auto" flags rows with a p-value
        of at most `false_alarm_rate`.
    false_alarm_rate : float, default=0.05
        For "auto", the share of normal rows that are flagged.
    calibration_fraction : float, default=0.2
        Share of rows that the model does not see, from which p-values and the usual surprise of
        variables come; in [0, 1). At most 2000 of them are kept. With 0, p-values do not exist, and
        thresholds are quantiles of the fit's own rows.
    n_sets : int, default=16
        B. Time and memory grow with it, randomness falls.
    n_references : int, default=128
        m, the number of references of a set, at most 512. Fewer references see the table more
        coarsely: only rows far from everything are strange then.
    roles : dict, list of pairs or None, default=None
        Roles of columns of mixed frames, as of `TableEncoder`.
    random_state : int, RandomState instance or None, default=0
        Source of reference rows and of the rows that are left out.
    checkpoint : str, path-like or None, default=None
    checkpoint_every : int, "epoch" or str, default="10 min"
    resume : bool or "auto", default="auto"
        As for `Autoencoder`: `fit` goes on from this file after the process has ended, with the
        bits of a fit that has not been interrupted. It stores how far the fit of `estimator` is,
        which must have no checkpoint of its own.
    n_threads : int or None, default=None
        Number of threads, as for `Autoencoder`. Results do not depend on it.

    Attributes
    ----------
    offset_ : float
        ``decision_function = score_samples − offset_``.
    estimator_ : estimator or None
        The fitted model; None for reference rows.
    references_ : ndarray (n_sets, n_references, n_columns)
        The reference rows, of the columns of the matrix; only without `estimator`.
    variables_ : list of str
        Names of the variables: the columns of X, without those that a `TableEncoder` leaves out.
    usual_surprise_ : ndarray (n_variables,)
        Mean surprise of each variable in rows that were left out.
    encoder_ : TableEncoder or None
        The encoder of mixed frames.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X has string column names.

    Notes
    -----
    Scores of rows of the fit and of new rows are on one scale: the estimator serves to find the
    anomalies in a table (`fit_predict`) and those in later rows (`predict`), which scikit-learn
    calls novelties.

    The unit u_j of a column is ``c √(a_j r_j)``, with its mean absolute deviation a_j from its
    median, its range r_j in the reference rows, and one c for all columns, which makes a_j the unit
    of the median column. A column of two values has ``r_j / 3``. A column that does not vary in the
    fit counts nothing. Medians stand for missing entries of references.

    References
    ----------
    .. [1] Sugiyama & Borgwardt (2013), Rapid distance-based outlier detection via sampling.
    .. [2] Aggarwal & Sathe (2015), Theoretical foundations and algorithms for outlier ensembles.
    .. [3] Vovk, Gammerman & Shafer (2005), Algorithmic learning in a random world.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import AnomalyDetector
    >>> X = np.random.default_rng(0).normal(size=(1000, 3)) @ [[1, 1, 0], [0, 1, 1], [0, 0, 0.3]]
    >>> detector = AnomalyDetector(false_alarm_rate=0.001).fit(X)
    >>> strange = [[0.0, 0.0, 0.0], [2.5, -2.5, 0.0]]
    >>> detector.predict(strange)
    array([ 1, -1])
    """

    _dense_because = (
        "what is usual is found column by column in dense rows. `score_samples` of an Autoencoder "
        "or a factor model takes sparse ones"
    )
    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "transform"]), None],
        "contamination": [Interval(Real, 0, 0.5, closed="right"), StrOptions({"auto"})],
        "false_alarm_rate": [Interval(Real, 0, 1, closed="neither")],
        "calibration_fraction": [Interval(Real, 0, 1, closed="left")],
        "n_sets": [Interval(Integral, 1, scalars.LARGEST_SIZE, closed="both")],
        "n_references": [Interval(Integral, 1, MOST_REFERENCES, closed="both")],
        "roles": [dict, list, None],
        "random_state": ["random_state"],
        **checkpoints.CONSTRAINTS,
        "n_threads": [None, Interval(Integral, 1, threads.MOST_THREADS, closed="both")],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        contamination: float | str = "auto",
        false_alarm_rate: float = 0.05,
        calibration_fraction: float = 0.2,
        n_sets: int = 16,
        n_references: int = 128,
        roles: Any = None,
        random_state: RandomState | None = 0,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        n_threads: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.contamination = contamination
        self.false_alarm_rate = false_alarm_rate
        self.calibration_fraction = calibration_fraction
        self.n_sets = n_sets
        self.n_references = n_references
        self.roles = roles
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.n_threads = n_threads

    # ---- fitting ----

    def fit(
        self,
        X: Any,
        y: object = None,
        sample_weight: ArrayLike | None = None,
        anomaly_labels: ArrayLike | None = None,
    ) -> Self:
        """Learn what is usual in X, which may contain anomalies.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)
            NaN is a missing entry.
        y : ignored
        sample_weight : array-like (n_samples,), optional
            Not negative: a row of weight 2 counts as two equal rows. Rows of weight 0 do not count.
        anomaly_labels : array-like (n_samples,), optional
            1 for a known anomaly, 0 for a known normal row, NaN for an unknown one. A regularised
            logistic regression on the strangeness, on the surprise of each variable and on the
            codes learns from them; unknown rows are taken for normal ones of a small weight.
            `score_samples` is minus its logit then. Labelled rows calibrate nothing.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For infinite entries, labels other than 0, 1 and NaN, invalid parameters, and a
            checkpoint of another fit.
        """
        self._validate_params()
        checkpoint = self._checkpoint()
        columns, rows = Columns.fitted(self, X)
        labels = as_labels(anomaly_labels, len(rows.matrix))
        weight = check.as_row_weights(sample_weight, len(rows.matrix))
        tables = {"X": rows.matrix, "sample_weight": weight, "anomaly_labels": labels}
        random = random_state_of(identified(checkpoint, self.random_state, tables))
        made = self._unfitted_copy(X, columns, rows, int(random.randint(2**31 - 1)))
        given = made._given(rows.matrix, sample_weight, labels)
        with stages_of(checkpoint):
            made._learn(given)
        if given.labels is not None:
            made._learn_labels(given)
        made._set_offset(given)
        if checkpoint is not None:
            checkpoint.end()
        self.__dict__ = made.__dict__  # at once: never parts of two fits
        return self

    def _checkpoint(self):
        interval_of(self.checkpoint_every)
        if self.checkpoint is not None and getattr(self.estimator, "checkpoint", None) is not None:
            raise ValueError(
                "the estimator has a checkpoint of its own: give one to AnomalyDetector alone"
            )
        return Checkpoint.of(self)

    @available_if(_can_go_on)
    def partial_fit(self, X: Any, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from more rows of a stream, or begin with them.

        The reference rows remain a random sample of all rows so far. With an `estimator` it is its
        `partial_fit`. Labels of an earlier fit are forgotten, and the share `contamination` is that
        of the rows that were left out of all calls.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)
        y : ignored
        sample_weight : array-like (n_samples,), optional

        Returns
        -------
        self
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(X, sample_weight=sample_weight)
        self._validate_params()
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._n_calls, made._head = self._n_calls + 1, None
        given = made._given(self._columns.rows(self, X).matrix, sample_weight, None)
        made._learn(given)
        made._set_offset(None)
        self.__dict__ = made.__dict__
        return self

    def fit_predict(self, X: Any, y: object = None, **kwargs: Any) -> Array:
        """Fit to X and return −1 for its anomalies and 1 for its other rows.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)
        y : ignored
        **kwargs
            `sample_weight` and `anomaly_labels` of `fit`.

        Returns
        -------
        labels : ndarray of int (n_samples,)
        """
        return self.fit(X, **kwargs).predict(X)

    # ---- use ----

    def score_samples(self, X: Any) -> Array:
        """Return minus the strangeness of each row, in nats; lower is stranger.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)

        Returns
        -------
        scores : ndarray (n_samples,)
            float64. Minus the logit of being an anomaly where the fit had labels.
        """
        return -self._strangeness(self._checked(X), table_name(X, self))

    def decision_function(self, X: Any) -> Array:
        """Return ``score_samples(X) − offset_``, which is negative for anomalies.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)

        Returns
        -------
        scores : ndarray (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Array:
        """Return −1 for anomalies and 1 for other rows.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)

        Returns
        -------
        labels : ndarray of int (n_samples,)
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> Array:
        """Return the share of left-out rows that are as strange as each row, conformal p-values.

        With c rows left out of the fit, whose strangeness is s_i (weights 1),

            p(x) = (1 + #{i : s_i ≥ s(x)}) / (1 + c).

        If x and the rows that were left out are exchangeable — drawn independently from one
        distribution, for example — then P(p(x) ≤ α) ≤ α for every α, whatever the distribution and
        the model: rows like those of the fit are flagged with a probability of at most α. This
        holds over the draw of x and of the fit's rows together, not for every single fit, and not
        for rows of the fit itself. Anomalies among the rows left out make p-values larger. The
        guarantee needs equal weights, and one call of `fit`.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)

        Returns
        -------
        p : ndarray (n_samples,)
            At least 1 / (1 + c), with c at most 2000.

        Raises
        ------
        ValueError
            Where no rows were left out (``calibration_fraction=0``, or too few rows).
        """
        rows = self._checked(X)
        if not self._calibration.is_held_out:
            raise ValueError(
                "p_values needs rows that were left out of the fit: calibration_fraction was 0, or "
                "there were too few rows"
            )
        return self._usual.p_values(self._strangeness(rows, table_name(X, self)))

    def explain(self, X: Any, top: int = 3) -> Any:
        """Return the variables that make rows strange, with what was expected of them.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)
        top : int, default=3
            Largest number of variables of a row.

        Returns
        -------
        reasons : DataFrame, or a dict of lists where pandas is not installed
            A line for each of the `top` most surprising variables of each row, row after row, the
            most surprising variable first. Columns: `row`, the label of the row in a pandas frame,
            else its number; `variable`; `surprise`, in nats beyond the variable's usual surprise
            (`usual_surprise_`); `value`; `expected`, given the other entries and its own; `low` and
            `high`, the ends of an interval about `expected` that holds 90 % of the rows that were
            left out, None for categories. Missing entries are not listed.
        """
        rows = self._checked(X)
        parts, expected = self._model.surprise(rows.matrix, table_name(X, self), self.n_threads)
        excess = self._columns.by_variable(parts) - self.usual_surprise_
        if rows.unseen is not None:
            excess = np.where(rows.unseen > 0, rows.unseen, excess)
        return reasons(self._columns, X, rows.matrix, excess, expected, self._usual, top)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
