"""Errors of imputed entries of held-out rows for four imputers, as table and plot.

20 % of the entries are missing, in training rows and in held-out rows alike. The plot is
recipe_imputation.png.
"""

import warnings

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer

from aefast import Autoencoder, FactorAnalysis, plotting

TABLES = {
    "wine": load_wine().data,
    "breast cancer": load_breast_cancer().data,
    "digits": load_digits().data,
}


class ByAutoencoder:
    """Imputation by an autoencoder.

    Training hides further entries, so that the network learns to predict hidden entries from the
    observed ones.
    """

    def __init__(self, n_components):
        self.network = Autoencoder(
            n_components,
            tied=False,
            activation="relu",
            missing="mask",
            corruption=("masking", 0.3),
            learning_rate=3e-3,
            learning_rate_schedule="cosine",
            batch_size=32,
            alpha=1e-2,
            max_epochs=200,
            tol=0,
            random_state=0,
        )

    def fit(self, X):
        self.network.fit(X)
        return self

    def transform(self, X):
        return self.network.impute(X)


class ByFactors:
    """Imputation by factor analysis."""

    def fit(self, X):
        self.model = FactorAnalysis(min(8, X.shape[1] // 2)).fit(X)
        return self

    def transform(self, X):
        return self.model.impute(X)


def imputers(n_features):
    """Return the imputers by name."""
    return {
        "column means": SimpleImputer(),
        "factor analysis": ByFactors(),
        "IterativeImputer": IterativeImputer(n_nearest_features=15, random_state=0),
        "autoencoder": ByAutoencoder(2 * n_features),
    }


# Ten rounds of IterativeImputer and a thousand of EM do not converge here.
warnings.simplefilter("ignore", ConvergenceWarning)
random = np.random.default_rng(1)
errors = {}
for table, X in TABLES.items():
    X = X[:, X.std(axis=0) > 0]
    X = random.permutation((X - X.mean(axis=0)) / X.std(axis=0))[:800]
    hidden = random.random(X.shape) < 0.2
    gaps, n = np.where(hidden, np.nan, X), len(X) * 3 // 4
    for name, imputer in imputers(X.shape[1]).items():
        filled = imputer.fit(gaps[:n]).transform(gaps[n:])
        errors[table, name] = np.sqrt(np.mean((filled - X[n:])[hidden[n:]] ** 2))

names = list(imputers(1))
print("root mean squared error of missing entries, in standard deviations of their columns")
print(f"{'':>16}", *(f"{table:>14}" for table in TABLES))
for name in names:
    print(f"{name:>16}", *(f"{errors[table, name]:14.3f}" for table in TABLES))

figure = Figure(figsize=(7, 4), layout="constrained")
axes = figure.subplots()
for i, name in enumerate(names):
    places = np.arange(len(TABLES)) + 0.2 * (i - 1.5)
    axes.bar(places, [errors[table, name] for table in TABLES], 0.18, label=name)
axes.set(xticks=np.arange(len(TABLES)), xticklabels=list(TABLES), ylim=(0, 1.35))
axes.set_ylabel("error of missing entries, standard deviations")
axes.legend(ncols=2)
plotting.save(figure, "recipe_imputation.png")
