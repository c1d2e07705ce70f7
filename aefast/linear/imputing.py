"""Imputation by linear factor models: fits with gaps, the number of components, bootstrap fits.

All rows here are standardised: each column's observed entries have the mean 0 and the variance 1.
"""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from aefast._base import threads
from aefast._base.hidden_entries import HiddenEntries
from aefast._base.missing import observed_units
from aefast._base.saving import Tensor
from aefast._base.types import Array
from aefast.linear import conditional
from aefast.linear.factor_analysis import FactorAnalysis
from aefast.linear.gaussian import LinearGaussian
from aefast.linear.probabilistic_pca import ProbabilisticPCA

# Of few rows, factors that explain a column altogether would be trusted far from them.
LEAST_NOISE = 1e-3  # of a column's variance, in factor analysis
MODELS: dict[str, Callable[..., Any]] = {
    "ppca": ProbabilisticPCA,
    "fa": partial(FactorAnalysis, min_noise=LEAST_NOISE),
}
MOST_COMPONENTS_TRIED = 128
LEAST_GAIN = 2e-3  # of the score, in nats an entry, for which more components are taken
ITERATIONS_COMPARED = 25  # imputed values settle long before likelihoods


class Options(NamedTuple):
    """What fits of factor models need besides rows, weights and k."""

    max_iter: int
    n_threads: int | None


class Choice(NamedTuple):
    """Number of components, and what its model makes of hidden entries."""

    score: float  # mean log score
    n_components: int
    spread: float  # factor of standard deviations


class LinearImputation(NamedTuple):
    """Fitted factor models: the first is that of the rows, the others of bootstrap samples."""

    gaussians: list[LinearGaussian]
    spread: float  # factor of conditional standard deviations
    n_iter: int  # of the first fit

    @classmethod
    def fitted(
        cls, method: str, choice: Choice, rows: Array, weights: list[Array], options: Options
    ) -> Self:
        """Fit a model with the chosen number of components for each array of weights."""
        if rows.shape[1] == 1 or choice.n_components == 0:
            return cls([_independent(rows, weight) for weight in weights], choice.spread, 1)
        k = min(choice.n_components, rows.shape[1])
        fits = [_fit(method, k, rows, weight, options.max_iter, options) for weight in weights]
        return cls([gaussian for gaussian, _ in fits], choice.spread, fits[0][1])

    @property
    def n_components(self) -> int:
        return len(self.gaussians[0].W)

    def means(self, rows: Array) -> Array:
        """Return rows whose missing entries have their conditional means."""
        return conditional.means(rows, self.gaussians[0])

    def deviations(self, rows: Array) -> Array:
        """Return conditional standard deviations of missing entries, 0 of observed ones."""
        return self.spread * conditional.deviations(rows, self.gaussians[0])

    def draws(self, rows: Array, random: np.random.RandomState) -> Iterator[Array]:
        """Yield rows with missing entries drawn from each bootstrap sample's model."""
        for gaussian in self.gaussians[1:]:
            yield conditional.draws(rows, gaussian, self.spread, random)

    # ---- in a file ----

    def saved_tensors(self) -> dict[str, Array]:
        return {
            "model_means": np.stack([gaussian.mean for gaussian in self.gaussians]),
            "components": np.stack([gaussian.W for gaussian in self.gaussians]),
            "noise_variances": np.stack([gaussian.psi for gaussian in self.gaussians]),
            "spread": np.array([self.spread]),
        }

    @staticmethod
    def tensor_layout(n_models: int, k: int, d: int) -> dict[str, Tensor]:
        of_columns = Tensor((n_models, d), "F64")
        components = Tensor((n_models, k, d), "F64")
        return {
            "model_means": of_columns,
            "components": components,
            "noise_variances": of_columns,
            "spread": Tensor((1,), "F64"),
        }

    @classmethod
    def restored(cls, tensors: dict[str, Array], n_iter: int) -> Self:
        """Return the models in a file; ValueError where their parameters are none."""
        if not (tensors["noise_variances"] > 0).all():
            raise ValueError("expected positive noise variances")
        spread = float(tensors["spread"][0])
        if not spread >= 1:
            raise ValueError(f"expected a spread of at least 1, got {spread}")
        names = ("model_means", "components", "noise_variances")
        parameters = zip(*(tensors[name] for name in names), strict=True)
        gaussians = [LinearGaussian(*of_model) for of_model in parameters]
        for gaussian in gaussians:
            gaussian.check_finite()
        return cls(gaussians, spread, n_iter)


def best_choice(method: str, entries: HiddenEntries, options: Options) -> Choice:
    """Return the number of components that predicts hidden entries best.

    Models of 1, 2, 4, 8, … and d − 1 components are tried, at most MOST_COMPONENTS_TRIED, until
    two sizes have brought no score that is better by LEAST_GAIN.
    """
    n, d = entries.seen.shape
    best, n_worse = Choice(-np.inf, 1, 1.0), 0
    for k in _sizes(min(d - 1, n - 1)):
        choice = choice_of(method, k, entries, options)
        is_better = choice.score > best.score + LEAST_GAIN
        best, n_worse = (choice, 0) if is_better else (best, n_worse + 1)
        if n_worse == 2:
            break
    return best


def choice_of(method: str, k: int, entries: HiddenEntries, options: Options) -> Choice:
    """Return what a model of k components makes of hidden entries."""
    of_model = min(k, entries.seen.shape[1]), entries.seen, entries.weight
    gaussian = _fit(method, *of_model, ITERATIONS_COMPARED, options)[0]
    found = (
        conditional.means(entries.seen, gaussian),
        conditional.deviations(entries.seen, gaussian),
    )
    return Choice(entries.score(*found), k, entries.spread(*found))


def _sizes(most: int) -> list[int]:
    """Return 1, 2, 4, … up to `most`, which is the last one unless it is beyond those tried."""
    sizes = [2**i for i in range(MOST_COMPONENTS_TRIED.bit_length()) if 2**i < most]
    return [*sizes, most] if most <= MOST_COMPONENTS_TRIED else sizes


def _fit(
    method: str, k: int, rows: Array, weight: Array, max_iter: int, options: Options
) -> tuple[LinearGaussian, int]:
    model = MODELS[method](k, max_iter=max_iter, n_threads=options.n_threads)
    with warnings.catch_warnings():
        # a noise variance of almost 0 imputes well, and so does a fit before its end
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows, sample_weight=weight)
    return model._gaussian, int(model.n_iter_)


@threads.with_same_bits
def _independent(rows: Array, weight: Array) -> LinearGaussian:
    """Return independent normal distributions of the columns, as a model of a component of 0."""
    means, deviations, _ = observed_units(rows, weight)
    noise = np.maximum(np.square(deviations), np.finfo(np.float64).eps)
    return LinearGaussian(means, np.zeros((1, len(means))), noise)
