"""A report on a fitted model and its rows: one page of HTML."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aefast._base.errors import shown
from aefast._base.files import replacing
from aefast._base.types import PathLike
from aefast.plotting.atoms import picture_of_atoms
from aefast.plotting.factors import draw_curve, loadings, means
from aefast.plotting.figures import count_of, feature_names, new_figure
from aefast.plotting.filters import filters
from aefast.plotting.heat_maps import draw_heat_map, size_of
from aefast.plotting.layers import layers, losses
from aefast.plotting.networks import loss
from aefast.plotting.page import Page
from aefast.plotting.reconstruction import draw_examples, draw_feature_fits, examples_of
from aefast.plotting.report_subjects import subject_of

_MOST_LISTED = 10  # strangest rows
_MOST_REASONS = 3  # columns that are named for each of them
_MOST_BARS = 40
_DENSE = 0.9  # share of entries that are not 0, below which codes are sparse
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
        Fitted: a network, a linear factor model or a mixture, a `TableAutoencoder`, or a
        `DictionaryLearning`, whose rows are scored by minus half their squared errors.
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
        For any other model, or rows that do not suit it.
    ImportError
        If matplotlib is not installed.
    """
    if facts is not None and not isinstance(facts, Mapping):
        raise TypeError(f"facts must be a mapping of names to values, got {shown(facts)}")
    given = subject_of(model, X, labels, image_shape)
    page = Page(f"{type(model).__name__}: {count_of(len(given.scores), 'row')}")
    _summary(page, given, facts or {})
    for write in (_curves, _units, _rows, _strangest, _codes, _columns):
        write(page, given)
    text = page.html()
    if path is not None:
        with replacing(path) as file:
            file.write(text.encode("utf-8"))
    return text


def _summary(page, given, facts):
    model, scores = given.network, given.scores
    found = {
        "model": type(given.model).__name__,
        "columns": f"{len(given.columns):,}",
        "components": f"{given.codes.shape[1]:,}",
        "rows of this report": f"{len(scores):,}",
        f"mean {given.measure} per row": f"{np.mean(scores):.5g}",
        "its spread between rows": f"{np.std(scores):.3g}",
        "seconds for these scores": f"{given.seconds:.3g}",
    }
    report_of_fit = getattr(model, "fit_report_", {})
    found |= {name.replace("_", " "): value for name, value in report_of_fit.items()}
    history = getattr(model, "history_", None)
    if history and len(history["seconds"]) and np.isfinite(history["seconds"][-1]):
        found["seconds of training"] = f"{history['seconds'][-1]:.3g}"
        found["seconds of an epoch"] = f"{history['seconds'][-1] / len(history['seconds']):.3g}"
    page.section("Summary").facts(found | {str(name): value for name, value in facts.items()})


def _curves(page, given):
    model = given.network
    if given.is_network and model.loss_curve_:
        baseline = getattr(model, "fit_report_", {}).get("constant_loss")
        figure = (losses if given.is_deep else loss)(model, None, baseline)
        page.section("Curves").figure(figure, "Loss over the epochs, in nats a row")
        return
    if len(getattr(model, "log_likelihood_curve_", ())) > 1:
        figure = new_figure(7, 3.5)
        draw_curve(figure.subplots(), np.asarray(model.log_likelihood_curve_))
        page.section("Curves").figure(figure, "Mean log-likelihood over the iterations")
    elif len(getattr(model, "objective_curve_", ())) > 1:
        figure = new_figure(7, 3.5)
        axes = figure.subplots()
        axes.plot(range(1, len(model.objective_curve_) + 1), model.objective_curve_, marker=".")
        axes.set(xlabel="epoch", ylabel="mean objective")
        page.section("Curves").figure(figure, "Objective of the codes over the epochs")


def _units(page, given):
    model, rows = given.network, given.rows(given.few)
    if given.is_deep:
        figure = layers(model, np.asarray(rows), given.shape)
        page.section("Units").figure(figure, "What the units of each layer stand for")
    elif given.is_network:
        figure = filters(model, given.shape, rows)
        page.section("Units").figure(figure, "The change of the input that goes with each unit")
    elif getattr(getattr(model, "components_", None), "ndim", 0) == 2:
        if hasattr(model, "noise_variance_"):
            figure = loadings(model, given.shape)
            page.section("Loadings").figure(figure, "Loadings of the factors")
        elif hasattr(model, "objective_curve_"):
            page.section("Atoms").figure(_atoms(given), "The atoms, those with largest codes first")
    elif hasattr(model, "means_"):
        page.section("Groups").figure(means(model, given.shape), "Means of the groups")


def _atoms(given):
    atoms = np.asarray(given.model.components_)
    order = np.argsort(-np.abs(given.codes).mean(axis=0), kind="stable")
    if given.shape:
        return picture_of_atoms(atoms, given.shape, order)
    order = order[:_MOST_BARS]
    names = [str(i) for i in order]
    figure = new_figure(*size_of(len(given.columns), len(order), given.columns))
    limit = float(np.abs(atoms).max())
    draw_heat_map(
        figure.subplots(), atoms[order].T, given.columns, names, limit, "entry of an atom"
    )
    return figure


def _rows(page, given):
    page.section("Reconstructions")
    few, labels = given.few, [given.labels[i] for i in given.few]
    if given.shape:
        losses = given.losses(few)
        chosen = few[examples_of(losses)]
        rows, reconstructed = given.rows(chosen), given.reconstructed(chosen)
        unit = given.measure if given.losses_are_scores else "loss in nats"
        figure = draw_examples(rows, reconstructed, losses, given.shape, labels, unit)
    else:
        names = feature_names(given.network)
        figure = draw_feature_fits(given.rows(few), given.reconstructed(few), names, labels)
    page.figure(figure, "From the best to the worst reconstructed")
    order = np.argsort(given.scores, kind="stable")
    best, worst = order[::-1][:5], order[:5]
    lines = [
        (kind, given.labels[i], float(given.scores[i]))
        for kind, places in (("best", best), ("worst", worst))
        for i in places
    ]
    page.table(("", "row", given.measure), lines)


def _strangest(page, given):
    places = np.argsort(given.scores, kind="stable")[:_MOST_LISTED]
    surprise, unit = given.surprises(places)
    usual = np.nanmedian(given.surprises(given.few)[0], axis=0)
    lines = []
    for i, row in zip(places, surprise - usual, strict=True):
        reasons = np.argsort(-np.nan_to_num(row, nan=-np.inf), kind="stable")[:_MOST_REASONS]
        told = ", ".join(f"{given.columns[j]} = {given.text(i, j)}" for j in reasons)
        lines.append((given.labels[i], float(given.scores[i]), told))
    page.section("Strangest rows").table(("row", given.measure, "strangest columns"), lines)
    page.text(f"Columns are those that exceed their median surprise most, in {unit}.")


def _codes(page, given):
    spread = given.codes.std(axis=0)
    n_dead = int((spread <= _DEAD * spread.max()).sum()) if spread.max() > 0 else len(spread)
    figure = new_figure(8, 3.2)
    left, right = figure.subplots(1, 2)
    order = np.argsort(-spread, kind="stable")
    left.bar(range(len(order)), spread[order], color="0.45", width=0.9)
    left.set(xlabel="unit, by spread", ylabel="standard deviation of its code")
    used = (given.codes != 0).mean(axis=0)
    centred = given.codes - given.codes.mean(axis=0)
    axes2 = np.linalg.svd(centred[given.few], full_matrices=False)[2][:2]
    at = centred[given.few] @ axes2.T
    at = at if at.shape[1] == 2 else np.column_stack([at, np.zeros(len(at))])
    points = right.scatter(*at.T, c=given.scores[given.few], s=6, cmap="viridis")
    right.set(xlabel="codes, 1st component", ylabel="2nd component")
    figure.colorbar(points, ax=right, label=given.measure)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    page.section("Codes").figure(figure, "Use of the units, and a map of the rows by their codes")
    page.text(f"{count_of(n_dead, 'unit')} of {len(spread)} say nothing of these rows.")
    if used.mean() < _DENSE:
        page.text(
            f"A code has {used.sum():.3g} entries that are not 0 on average. The unit that is used "
            f"most is in {used.max():.0%} of the codes, the one that is used least in "
            f"{used.min():.2%}."
        )


def _columns(page, given):
    surprise, unit = given.surprises(given.few)
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
