"""Pictures of a fitted autoencoder: its losses, its sampling chains."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from aefast._base import arrays as check
from aefast._base import scalars
from aefast.networks import outputs
from aefast.plotting.figures import (
    check_model,
    count_of,
    intensity_range,
    new_figure,
    resolve_image_shape,
    show_image,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# ---- losses ----


def loss(
    ae: Any, held_out: Sequence[float] | None = None, baseline: float | None = None
) -> "Figure":
    """Draw the training loss over the epochs, and losses of rows that are not trained on.

    Parameters
    ----------
    ae : Autoencoder
        A fitted estimator.
    held_out : sequence of float, optional
        Mean loss of held-out rows after each epoch, as a callback can record it.
    baseline : float, optional
        A loss to compare with, such as that of predicting each column's mean: a line.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Loss (nats per sample, summed over features) over the epochs, on a logarithmic scale if the
        loss falls to less than half; the smallest validation loss is marked.
    """
    check_model(ae, "ae")
    if held_out is not None:
        held_out = check.as_array(held_out, "held_out", 1).tolist()
    if baseline is not None:
        scalars.check_number(baseline, "baseline")
        baseline = float(baseline)
    figure = new_figure(6.4, 4.0)
    what = f"{outputs.description(ae._state.model.output)} autoencoder"
    draw_loss(figure.add_subplot(), ae, what, held_out, baseline)
    return figure


def draw_loss(axes, ae, what, held_out=None, baseline=None):
    """Draw the loss curves of an estimator into axes; the title begins with `what`."""
    training, validation = ae.loss_curve_, ae.validation_loss_curve_
    curves = {"training": training, "validation": validation, "held-out rows": held_out or []}
    for name, curve in curves.items():
        if curve:
            label = f"{name}: {curve[-1]:.4g} at the end"
            axes.plot(range(1, len(curve) + 1), curve, marker=".", label=label)
    if validation:
        smallest = min(validation)
        epoch = 1 + validation.index(smallest)
        axes.plot(epoch, smallest, "k*", ms=10, label=f"smallest: {smallest:.4g} in epoch {epoch}")
    seen = [*training, *validation, *(held_out or [])]
    if training and baseline is not None:
        label = f"column means: {baseline:.4g}"
        axes.axhline(baseline, color="0.4", linestyle="--", linewidth=1, label=label)
        seen.append(baseline)
    if training:
        axes.legend(frameon=False)
        if 0 < 2 * min(seen) < max(seen):
            _use_readable_log_scale(axes)
    d, k = ae._state.model.n_features, ae._state.model.n_components
    separator = ", " if len(what) < 30 else "\n"
    title = f"{what}{separator}{count_of(d, 'feature')}, {count_of(k, 'component')}"
    finish_loss(axes, title, "loss (nats per sample)")


def finish_loss(axes, title, label):
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="epoch", ylabel=label)
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _use_readable_log_scale(axes):
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


# ---- sampling chains ----


def walk(
    ae: Any, X: ArrayLike, chain: ArrayLike, image_shape: tuple[int, ...] | None = None
) -> "Figure":
    """Draw sampling chains, one line of images for each: the start and the sample of each step.

    Parameters
    ----------
    ae : Autoencoder
    X : array-like (n_samples, n_features)
        Starting rows of the chains.
    chain : ndarray (n_steps, n_samples, n_features)
        Result of ``ae.walk_back(X)``.
    image_shape : tuple of int, optional
        As for `filters`.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the rows are not images.
    """
    image_shape = resolve_image_shape(ae, image_shape)
    if not image_shape:
        raise ValueError(
            f"image_shape: rows of {ae.n_features_in_} features are no squares: give the shape of "
            "an image"
        )
    X, chain = check.as_rows(X, "X"), check.as_array(chain, "chain", 3)
    if chain.shape[1:] != X.shape or 0 in chain.shape or X.shape[1] != ae.n_features_in_:
        raise ValueError(
            f"chain must have shape (n_steps, {len(X)}, {ae.n_features_in_}) for the X and ae that "
            f"are given, got {chain.shape} and X of shape {X.shape}"
        )
    check.check_finite(X, "X")
    check.check_finite(chain, "chain")
    chain = np.concatenate([X.astype(float)[np.newaxis], chain])
    n_steps, n_chains = chain.shape[:2]
    low, high = intensity_range(chain.reshape(-1, chain.shape[2]))
    figure = new_figure(0.6 + 0.8 * n_steps, 0.6 + 0.8 * n_chains)
    grid = figure.subplots(n_chains, n_steps, squeeze=False)
    for line, images in zip(grid, chain.swapaxes(0, 1), strict=True):
        for axes, image in zip(line, images.reshape(-1, *image_shape), strict=True):
            show_image(axes, image, "gray", low, high)
            axes.set(xticks=[], yticks=[])
    for step, axes in enumerate(grid[0]):
        axes.set_title(f"step {step}" if step else "start", fontsize=9)
    return figure
