"""A report on a fitted model and its rows: one page of HTML."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aefast._base import arrays as check
from aefast._base.errors import shown
from aefast._base.files import replacing
from aefast._base.streams import opened
from aefast._base.types import Array, PathLike
from aefast.plotting.factors import draw_curve, loadings
from aefast.plotting.figures import (
    check_model,
    checked_labels,
    count_of,
    feature_names,
    new_figure,
    resolve_image_shape,
    with_means,
)
from aefast.plotting.filters import filters
from aefast.plotting.layers import layers, losses
from aefast.plotting.networks import loss
from aefast.plotting.page import Page
from aefast.plotting.reconstruction import reconstructions

MOST_ROWS = 2000  # that are drawn as points, and from which patterns of units are computed
_MOST_LISTED = 10  # strangest rows
_MOST_REASONS = 3  # columns that are named for each of them
_MOST_BARS = 40
_DEAD = 1e-6  # spread of a unit's code, of the largest one, below which it says nothing


def report(
    model: Any,
    X: ArrayLike,
    path: PathLike | None = None,
    *,
    image_shape: tuple[int, ...] | None = None,
    labels: Sequence[str] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> str:
    """Return a report on a model and rows as one page of HTML, and write it to a file.

    The page needs no other file and no network: a summary, curves of the fit, what units stand for,
    the best and the worst reconstructions, the strangest rows with their strangest columns, how
    codes are used, a map of the codes, and the columns' parts of the score.

    Parameters
    ----------
    model : estimator
        Fitted: a network or a linear factor model.
    X : array-like, frame or stream (n_samples, n_features)
        Rows, preferably ones that the model was not fitted to.
    path : str, path-like or None, default=None
        The file, which is replaced at once; None: the page is only returned.
    image_shape : tuple of int, optional
        As for `aefast.plotting.filters`.
    labels : sequence of str, optional
        Names of the rows.
    facts : mapping, optional
        Further lines of the summary.

    Returns
    -------
    page : str

    Raises
    ------
    TypeError, ValueError
        For a model without `transform` and `score_samples`, or rows that do not suit it.
    ImportError
        If matplotlib is not installed.
    """
    check_model(model, "model")
    if not (hasattr(model, "transform") and hasattr(model, "score_samples")):
        raise TypeError(f"model must have transform and score_samples, got {type(model).__name__}")
    if facts is not None and not isinstance(facts, Mapping):
        raise TypeError(f"facts must be a mapping of names to values, got {shown(facts)}")
    shape = resolve_image_shape(model, image_shape, "model")
    X = opened(X, whole=True)
    scores = model.score_samples(X)
    labels = [f"row {i}" for i in range(len(scores))] if labels is None else labels
    given = _Given(model, X, scores, checked_labels(labels, len(scores)), shape)
    page = Page(f"{type(model).__name__}: {count_of(len(scores), 'row')}")
    _summary(page, given, facts or {})
    for write in (_curves, _units, _rows, _strangest, _codes, _columns):
        write(page, given)
    text = page.html()
    if path is not None:
        with replacing(path) as file:
            file.write(text.encode("utf-8"))
    return text


class _Given:
    """What all sections are about."""

    def __init__(
        self, model: Any, X: Any, scores: Array, labels: list[str], shape: tuple[int, ...]
    ) -> None:
        self.model, self.X, self.scores, self.labels, self.shape = model, X, scores, labels, shape
        self.codes = np.asarray(model.transform(X), np.float64)
        self.rows = np.asarray(check.estimator_rows(model, X, reset=False), np.float64)
        few = np.linspace(0, len(scores) - 1, min(len(scores), MOST_ROWS)).astype(int)
        self.few = np.unique(few)
        names = feature_names(model)
        d = self.rows.shape[1]
        self.columns = [str(j) for j in range(d)] if names is None else [str(n) for n in names]
        self.is_network = hasattr(model, "loss_curve_")
        self.is_deep = hasattr(model, "pretraining_loss_curves_")

    def of_rows(self, places: Array) -> Any:
        """Return some rows as the model takes them."""
        return self.X.iloc[places] if hasattr(self.X, "iloc") else self._named(places)

    def _named(self, places: Array) -> Any:
        from aefast._base.streams import NamedRows

        rows = check.estimator_rows(self.model, self.X, reset=False)[places]
        return NamedRows(rows, self.columns if feature_names(self.model) is not None else None)


def _summary(page, given, facts):
    model, scores = given.model, given.scores
    found = {
        "model": type(model).__name__,
        "columns": f"{given.rows.shape[1]:,}",
        "components": f"{given.codes.shape[1]:,}",
        "rows of this report": f"{len(scores):,}",
        "mean log p(x), nats per row": f"{np.mean(scores):.5g}",
        "its spread between rows": f"{np.std(scores):.3g}",
    }
    report_of_fit = getattr(model, "fit_report_", {})
    found |= {name.replace("_", " "): value for name, value in report_of_fit.items()}
    history = getattr(model, "history_", None)
    if history and len(history["seconds"]):
        found["seconds of training"] = f"{history['seconds'][-1]:.3g}"
        found["seconds of an epoch"] = f"{history['seconds'][-1] / len(history['seconds']):.3g}"
    page.section("Summary").facts(found | {str(name): value for name, value in facts.items()})


def _curves(page, given):
    model = given.model
    if given.is_network and model.loss_curve_:
        baseline = getattr(model, "fit_report_", {}).get("constant_loss")
        figure = (losses if given.is_deep else loss)(model, None, baseline)
        page.section("Curves").figure(figure, "Loss over the epochs, in nats a row")
    elif len(getattr(model, "log_likelihood_curve_", ())) > 1:
        figure = new_figure(7, 3.5)
        axes = figure.subplots()
        draw_curve(axes, np.asarray(model.log_likelihood_curve_))
        page.section("Curves").figure(figure, "Mean log-likelihood over the iterations")


def _units(page, given):
    model, rows = given.model, given.of_rows(given.few)
    if given.is_deep:
        figure = layers(model, _plain(rows), given.shape)
        page.section("Units").figure(figure, "What the units of each layer stand for")
    elif given.is_network:
        figure = filters(model, given.shape, _plain(rows))
        page.section("Units").figure(figure, "The change of the input that goes with each unit")
    elif hasattr(model, "components_") and np.ndim(model.components_) == 2:
        if hasattr(model, "noise_variance_"):
            figure = loadings(model, given.shape)
            page.section("Loadings").figure(figure, "Loadings of the factors")


def _plain(rows):
    return rows.rows if hasattr(rows, "rows") else rows


def _rows(page, given):
    if not hasattr(given.model, "reconstruct"):
        return
    page.section("Reconstructions")
    if given.is_network and hasattr(given.model, "reconstruction_error"):
        labels = [given.labels[i] for i in given.few]
        rows = _plain(given.of_rows(given.few))
        figure = reconstructions(given.model, rows, given.shape, labels)
        page.figure(figure, "From the best to the worst reconstructed")
    order = np.argsort(given.scores, kind="stable")
    best, worst = order[::-1][:5], order[:5]
    lines = [
        (kind, given.labels[i], float(given.scores[i]))
        for kind, places in (("best", best), ("worst", worst))
        for i in places
    ]
    page.table(("", "row", "log p(x), nats"), lines)


def _surprises(given, places):
    """Return how strange each column of some rows is, and what is written of the measure.

    Of a linear model with precision P it is the squared deviation of an entry from its expectation
    given the others, in variances of that: ((x − μ) P)_j² / P_jj.
    """
    if given.is_network:
        nats = given.model.score_samples(given.of_rows(places), per_feature=True)
        return -np.asarray(nats), "nats"
    P = given.model.get_precision()
    deviations = (with_means(given.rows)[places] - given.model.mean_) @ P
    return deviations**2 / np.diagonal(P), "squared standard deviations"


def _strangest(page, given):
    places = np.argsort(given.scores, kind="stable")[:_MOST_LISTED]
    surprise, unit = _surprises(given, places)
    usual = np.nanmedian(_surprises(given, given.few)[0], axis=0)
    lines = []
    for i, row in zip(places, surprise - usual, strict=True):
        reasons = np.argsort(-np.nan_to_num(row, nan=-np.inf), kind="stable")[:_MOST_REASONS]
        told = ", ".join(f"{given.columns[j]} = {given.rows[i, j]:.4g}" for j in reasons)
        lines.append((given.labels[i], float(given.scores[i]), told))
    page.section("Strangest rows").table(("row", "log p(x), nats", "strangest columns"), lines)
    page.text(f"Columns are those that exceed their median surprise most, in {unit}.")


def _codes(page, given):
    spread = given.codes.std(axis=0)
    n_dead = int((spread <= _DEAD * spread.max()).sum()) if spread.max() > 0 else len(spread)
    figure = new_figure(8, 3.2)
    left, right = figure.subplots(1, 2)
    order = np.argsort(-spread, kind="stable")
    left.bar(range(len(order)), spread[order], color="0.45", width=0.9)
    left.set(xlabel="unit, by spread", ylabel="standard deviation of its code")
    centred = given.codes - given.codes.mean(axis=0)
    axes2 = np.linalg.svd(centred[given.few], full_matrices=False)[2][:2]
    at = centred[given.few] @ axes2.T
    at = at if at.shape[1] == 2 else np.column_stack([at, np.zeros(len(at))])
    points = right.scatter(*at.T, c=given.scores[given.few], s=6, cmap="viridis")
    right.set(xlabel="codes, 1st component", ylabel="2nd component")
    figure.colorbar(points, ax=right, label="log p(x), nats")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    page.section("Codes").figure(figure, "Use of the units, and a map of the rows by their codes")
    page.text(f"{count_of(n_dead, 'unit')} of {len(spread)} say nothing of these rows.")


def _columns(page, given):
    surprise, unit = _surprises(given, given.few)
    mean = np.nanmean(surprise, axis=0)
    order = np.argsort(-mean, kind="stable")[:_MOST_BARS]
    figure = new_figure(8, 1.2 + 0.22 * len(order))
    axes = figure.subplots()
    axes.barh(range(len(order)), mean[order], color="0.45")
    axes.set_yticks(range(len(order)), [given.columns[j] for j in order])
    axes.invert_yaxis()
    axes.set(xlabel=f"mean surprise, {unit}")
    axes.spines[["top", "right"]].set_visible(False)
    page.section("Columns").figure(figure, "Columns by their part of the score")
