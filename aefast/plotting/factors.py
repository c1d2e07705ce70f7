"""Pictures of a linear factor model: scree plot, loadings, likelihood.

Each function returns a `matplotlib.figure.Figure` that belongs to no window. matplotlib is imported
when the first picture is drawn.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from aefast._base import threads
from aefast._base.moments import SufficientStatistics
from aefast.linear.dimension import above_parallel, parallel_eigenvalues
from aefast.plotting.figures import (
    check_model,
    count_of,
    diverging_map,
    feature_names,
    mosaic_of,
    new_figure,
    resolve_image_shape,
    robust_scale,
    show_image,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_LOADINGS = 144
_MOST_NAMES = 40
_MOST_NUMBERED = 12  # number of components of which cells carry numbers
_SALIENT = 0.3  # magnitude from which a loading is not drawn faint
_FEWEST_BINS, _N_BINS = 8, 60


def scree(model: Any, statistics: SufficientStatistics | None = None) -> "Figure":
    """Draw the eigenvalues of the rows' covariance beside those that chance alone reaches.

    Parameters
    ----------
    model : ProbabilisticPCA or FactorAnalysis
        A fitted estimator.
    statistics : SufficientStatistics, optional
        Statistics of the rows; by default those that the model was fitted from. A model that was
        loaded, or fitted with missing entries or by Lanczos, has none: what it explains is drawn
        alone then.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Left, all eigenvalues of the covariance (probabilistic PCA) or of the correlation matrix
        (factor analysis), filled where the model has a component; a line at what parallel analysis
        (Horn 1965) gives for independent columns; and for probabilistic PCA one at the noise
        variance. Right, the cumulated share of the variance that the components explain.
    """
    check_model(model, "model")
    statistics = getattr(model, "_statistics", None) if statistics is None else statistics
    figure = new_figure(9.0, 3.8)
    left, right = figure.subplots(1, 2)
    k, d = model.components_.shape
    is_pca = hasattr(model, "explained_variance_")
    if is_pca:
        heights, ratio = model.explained_variance_, model.explained_variance_ratio_
        noise = model.noise_variance_
        left.axhline(noise, color="0.5", linestyle="--", label=f"noise: {noise:.3g}")
    else:
        variance = np.diagonal(model.get_covariance())
        heights = (model.components_**2 / variance).sum(axis=1)
        ratio = heights / d
    style = {"marker": "."} if k <= 100 else {}
    if statistics is None:
        left.plot(np.arange(1, k + 1), heights, **style)
        left.set(
            ylabel="variance along the component"
            if is_pca
            else "sum of squared loadings (standardised)"
        )
    else:
        heights = _draw_eigenvalues(left, statistics, k, is_pca)
    positive = heights[heights > 0]
    if len(positive) and positive.max() > 50 * positive.min():
        left.set_yscale("log")
    if left.get_legend_handles_labels()[0]:
        left.legend(frameon=False)
    right.plot(np.arange(1, k + 1), 100 * np.cumsum(ratio), **style)
    right.set(ylabel="% of the variance, cumulated", ylim=(0, 100))
    for axes in (left, right):
        axes.set_xlabel("component")
        axes.xaxis.get_major_locator().set_params(integer=True)
        _tidy(axes)
    figure.suptitle(f"{type(model).__name__}: {count_of(d, 'feature')}, {count_of(k, 'component')}")
    return figure


def _draw_eigenvalues(axes, statistics, k, is_pca):
    """Draw all eigenvalues with the line of parallel analysis, and return the eigenvalues."""
    covariance = statistics.covariance()
    variance = np.diagonal(covariance)
    if not is_pca:
        scale = np.sqrt(np.where(variance > 0, variance, 1.0))
        covariance = covariance / np.outer(scale, scale)
    with threads.same_bits():
        values = np.linalg.eigvalsh(covariance)[::-1]
    line = parallel_eigenvalues(statistics.weight_sum_, len(values))
    line = line * (np.trace(covariance) / len(values))
    numbers = np.arange(1, len(values) + 1)
    axes.plot(numbers, values, marker="o", markersize=4, markerfacecolor="white")
    axes.plot(numbers[:k], values[:k], "o", markersize=4, color="C0", label=f"fitted: {k}")
    n_above = above_parallel(values, line)
    shown = line > 0
    label = f"parallel analysis: {n_above} above"
    axes.plot(numbers[shown], line[shown], color="C1", linestyle=":", label=label)
    matrix = "covariance" if is_pca else "correlation matrix"
    axes.set(ylabel=f"eigenvalue of the {matrix}")
    return values


def loadings(model: Any, image_shape: tuple[int, ...] | None = None) -> "Figure":
    """Draw the loadings W in the order of the components.

    Parameters
    ----------
    model : ProbabilisticPCA or FactorAnalysis
        A fitted estimator.
    image_shape : tuple of int, optional
        As for `aefast.plotting.filters`.

    Returns
    -------
    figure : matplotlib.figure.Figure
        For images, one small image per component (at most 144), in the units of X. Otherwise a heat
        map of features by components, each feature in units of its standard deviation (for
        independent factors these are its correlations with them), and beside it the share of each
        feature's variance that the factors explain. Loadings below 0.3 are faint; cells of small
        tables (40 features, 12 components) carry their numbers.

    Raises
    ------
    ValueError
        If `image_shape` does not have as many pixels as there are features.
    """
    image_shape = resolve_image_shape(model, image_shape, "model")
    shown = model.components_[:_MOST_LOADINGS]
    k = len(model.components_)
    part = "" if len(shown) == k else f"{len(shown)} of "
    title = f"loadings of {part}{count_of(k, 'component')}"
    if image_shape:
        return _draw_images(shown, image_shape, title)
    return _draw_table(model, shown, title)


def likelihood(model: Any, X: ArrayLike) -> "Figure":
    """Draw the likelihood over the iterations, and the log-likelihoods of rows.

    Parameters
    ----------
    model : ProbabilisticPCA or FactorAnalysis
        A fitted estimator.
    X : array-like (n_samples, n_features)
        Rows, preferably ones that the model was not fitted to.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Histograms of ``log p(x)`` of the rows of X and of as many rows drawn from the model, which
        look alike if the model fits. Left of them, unless the fit had a closed form, the distance
        of the training rows' mean log-likelihood from its final value (nats) over the iterations.
    """
    check_model(model, "model")
    curve = np.asarray(model.log_likelihood_curve_)
    if len(curve) == 1:
        figure = new_figure(6.0, 3.8)
        _draw_histogram(figure.add_subplot(), model, X)
    else:
        figure = new_figure(9.0, 3.8)
        left, right = figure.subplots(1, 2)
        draw_curve(left, curve)
        _draw_histogram(right, model, X)
    figure.suptitle(
        f"log-likelihood of the rows fitted to: {curve[-1]:.6g} nats a row", fontsize=11
    )
    return figure


def means(model: Any, image_shape: tuple[int, ...] | None = None) -> "Figure":
    """Draw the means of a mixture's components.

    Parameters
    ----------
    model : MixtureOfFactorAnalyzers or MixtureOfProbabilisticPCA
        A fitted estimator.
    image_shape : tuple of int, optional
        As for `aefast.plotting.filters`.

    Returns
    -------
    figure : matplotlib.figure.Figure
        For images, one small image per component (at most 144), in the order of falling weights.
        Otherwise a heat map of features by components: the distance of the component's mean from
        the mixture's, in units of the feature's standard deviation in the mixture.

    Raises
    ------
    ValueError
        If `image_shape` does not have as many pixels as there are features.
    """
    image_shape = resolve_image_shape(model, image_shape, "model")
    shown, weights = model.means_[:_MOST_LOADINGS], model.weights_
    centre = weights @ model.means_
    title = f"means of {count_of(len(weights), 'component')}, weights {_range_of(weights)}"
    if image_shape:
        return _draw_images(shown, image_shape, title)
    within = (np.square(model.components_).sum(axis=1).T + model.noise_variance_.T).T
    spread = np.sqrt(weights @ (within + np.square(model.means_ - centre)))
    d, names = len(centre), feature_names(model)
    figure = new_figure(float(np.clip(0.4 * len(shown), 3, 9)) + 2.5, np.clip(0.25 * d, 3, 9) + 1.2)
    axes, scaled = figure.add_subplot(), ((shown - centre) / spread).T
    limit = robust_scale(scaled)
    image = axes.imshow(
        scaled,
        cmap=diverging_map(),
        vmin=-limit,
        vmax=limit,
        extent=(-0.5, len(shown) - 0.5, d - 0.5, -0.5),
        aspect="auto",
        interpolation="nearest",
    )
    figure.colorbar(image, ax=axes, label="standard deviations from the mean")
    axes.set(xlabel="component", ylabel="feature" if names is None else "")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if d <= _MOST_NAMES:
        axes.set_yticks(range(d), range(d) if names is None else names)
    axes.set_title(title, fontsize=10)
    return figure


def _range_of(weights):
    return f"{weights.min():.2g} to {weights.max():.2g}"


def draw_curve(axes, curve):
    below = curve[-1] - curve[:-1] + np.spacing(abs(curve[-1]))
    axes.semilogy(np.arange(1, len(curve)), below, marker=".")
    axes.set(xlabel="iteration", ylabel="nats a row below the end")
    axes.xaxis.get_major_locator().set_params(integer=True)
    _tidy(axes)


def _draw_histogram(axes, model, X):
    observed = model.score_samples(X)
    rows = model.sample(len(observed), 0)
    drawn = model.score_samples(rows[0] if isinstance(rows, tuple) else rows)
    # Limit the axis to the 1 % quantile, so that a few outliers do not compress the rest.
    low = min(np.quantile(observed, 0.01), drawn.min())
    n_bins = min(max(int(2 * math.sqrt(len(observed))), _FEWEST_BINS), _N_BINS)
    bins = np.linspace(low, max(observed.max(), drawn.max()), n_bins + 1)
    for values, label in ((observed, "rows"), (drawn, "drawn from the model")):
        axes.hist(np.maximum(values, low), bins, alpha=0.5, label=label)
    axes.legend(frameon=False)
    axes.set(xlabel="log p(x) (nats)", ylabel="rows")
    axes.set_title(f"{count_of(len(observed), 'row')}: mean {observed.mean():.6g}", fontsize=10)
    _tidy(axes)


def _draw_images(shown, image_shape, title):
    height, width = image_shape[:2]
    n_columns = min(len(shown), max(1, round(math.sqrt(len(shown) * height / width))))
    figure = new_figure(6.0, 5.9)
    axes, scale = figure.add_subplot(), robust_scale(shown)
    mosaic = mosaic_of(shown.reshape(-1, *image_shape), n_columns)
    image = show_image(axes, mosaic, diverging_map(), -scale, scale)
    axes.set_axis_off()
    axes.set_title(title, fontsize=10)
    if len(image_shape) == 2:
        figure.colorbar(image, ax=axes, shrink=0.6, extend="both")
    return figure


def _draw_table(model, shown, title):
    k, d = shown.shape
    names = feature_names(model)
    variance = np.diagonal(model.get_covariance())
    is_numbered = k <= _MOST_NUMBERED and d <= _MOST_NAMES
    width, height = np.clip([(0.6 if is_numbered else 0.25) * k, 0.25 * d], 3.0, 9.0)
    figure = new_figure(width + 4.0, height + 1.2)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(width, 2.0))
    table = (shown / np.sqrt(variance)).T
    image = left.imshow(
        table,
        alpha=np.where(np.abs(table) < _SALIENT, 0.4, 1.0),
        cmap=diverging_map(),
        vmin=-1,
        vmax=1,
        extent=(0.5, k + 0.5, d - 0.5, -0.5),
        aspect="auto",
        interpolation="nearest",
    )
    figure.colorbar(image, ax=left)
    if is_numbered:
        _write_numbers(left, table)
    left.set(xlabel="component", ylabel="feature" if names is None else "")
    left.set_title(f"{title}, standardised", fontsize=10)
    left.xaxis.get_major_locator().set_params(integer=True)
    if d <= _MOST_NAMES:
        left.set_yticks(range(d), range(d) if names is None else names)
    right.barh(range(d), 1 - np.broadcast_to(model.noise_variance_, d) / variance, color="0.45")
    right.set(xlim=(0, 1), xlabel="share of the\nfeature's variance")
    _tidy(right)
    return figure


def _write_numbers(axes, table):
    """Write the loadings into their cells: grey where faint, white on dark colours."""
    for (j, i), value in np.ndenumerate(table):
        size = abs(value)
        color = "0.6" if size < _SALIENT else "white" if size > 0.65 else "black"
        text = f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # without a negative zero
        axes.text(i + 1, j, text, ha="center", va="center", fontsize=7, color=color)


def _tidy(axes):
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
