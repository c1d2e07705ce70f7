"""A detector with the interface and the signs of PyOD: higher is stranger, 1 is an anomaly.

PyOD is imported with this module. Its combinations (`pyod.models.combination`, LSCP, SUOD) and its
evaluation functions take the detector as one of their own.
"""

from typing import Any, Self

from numpy.typing import ArrayLike
from pyod.models.base import BaseDetector
from sklearn.utils.validation import check_is_fitted

from aefast._base.types import Array
from aefast.anomaly import AnomalyDetector as Detector

__all__ = ["AnomalyDetector"]


def __dir__() -> list[str]:
    return __all__


class AnomalyDetector(BaseDetector):
    """`aefast.AnomalyDetector` as a `BaseDetector` of PyOD.

    Parameters
    ----------
    contamination : float, default=0.1
        Share of the rows of the fit that are anomalies, in (0, 0.5].
    estimator : estimator or None, default=None
        The model, as of `aefast.AnomalyDetector`.
    calibration_fraction : float, default=0.0
        Share of rows left out of the fit, for `detector_.p_values`; PyOD has no use for them.
    n_sets, n_references, random_state, n_threads
        As of `aefast.AnomalyDetector`.

    Attributes
    ----------
    decision_scores_ : ndarray (n_samples,)
        Strangeness of the rows of the fit, in nats.
    threshold_ : float
        Strangeness beyond which a row is an anomaly.
    labels_ : ndarray of int (n_samples,)
        1 for the anomalies of the fit, 0 for its other rows.
    detector_ : aefast.AnomalyDetector
        The fitted detector, with `explain` and `save`.

    Examples
    --------
    >>> from aefast.interop.pyod import AnomalyDetector  # doctest: +SKIP
    >>> from pyod.models.combination import average  # doctest: +SKIP
    >>> detector = AnomalyDetector(contamination=0.05).fit(X)  # doctest: +SKIP
    >>> detector.predict(X_new)  # doctest: +SKIP
    """

    def __init__(
        self,
        contamination: float = 0.1,
        *,
        estimator: Any = None,
        calibration_fraction: float = 0.0,
        n_sets: int = 16,
        n_references: int = 128,
        random_state: Any = 0,
        n_threads: int | None = None,
    ) -> None:
        super().__init__(contamination=contamination)
        self.estimator = estimator
        self.calibration_fraction = calibration_fraction
        self.n_sets = n_sets
        self.n_references = n_references
        self.random_state = random_state
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit the detector, and compute scores, threshold and labels of X.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        y : ignored

        Returns
        -------
        self
        """
        self._set_n_classes(None)
        options = {name: getattr(self, name) for name in self.get_params(deep=False)}
        del options["contamination"]  # PyOD computes the threshold
        self.detector_ = Detector(**options).fit(X)
        self.decision_scores_ = -self.detector_.score_samples(X)
        self._process_decision_scores()
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Return the strangeness of each row, in nats; higher is stranger.

        Parameters
        ----------
        X : array-like (n_samples, n_features)

        Returns
        -------
        scores : ndarray (n_samples,)
        """
        check_is_fitted(self, ["decision_scores_", "threshold_", "labels_"])
        return -self.detector_.score_samples(X)

    def explain(self, X: ArrayLike, top: int = 3) -> Any:
        """Return the variables that make rows strange, as `aefast.AnomalyDetector.explain` does.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        top : int, default=3

        Returns
        -------
        reasons : DataFrame
        """
        check_is_fitted(self, "detector_")
        return self.detector_.explain(X, top=top)
