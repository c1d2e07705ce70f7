"""Held-out log-likelihood of word counts under normal and count distributions, as table and plot.

A row of X is the documentation of a function of NumPy, SciPy or scikit-learn, a column a word. A
normal distribution gives a count a density and no probability. The printed table has the normal
probability of the unit interval around each count instead, so that all its rows are
log-probabilities of the same counts. The plot is recipe_counts.png.
"""

import importlib

import numpy as np
from matplotlib.figure import Figure
from scipy.special import log_ndtr
from sklearn.feature_extraction.text import CountVectorizer

from aefast import Autoencoder, plotting

PACKAGES = [
    "numpy",
    "numpy.linalg",
    "scipy.linalg",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.signal",
]
PACKAGES += ["scipy.sparse", "scipy.special", "scipy.stats", "sklearn.metrics", "sklearn.utils"]
WIDTHS = (2, 8, 32)
OUTPUTS = ("gaussian", "gaussian_diagonal", "poisson", "negative_binomial")


def count_words(n_words=300):
    """Return counts (n_documents, n_words) of distinct documents in random order."""
    modules = [importlib.import_module(name) for name in PACKAGES]
    members = [getattr(module, name) for module in modules for name in sorted(vars(module))]
    texts = sorted({thing.__doc__ for thing in members if callable(thing) and thing.__doc__})
    counts = CountVectorizer(max_features=n_words, stop_words="english").fit_transform(texts)
    return np.random.default_rng(0).permutation(counts.toarray().astype(np.float64))


def log_probability(ae, X):
    """Return the mean log-probability of rows, in nats."""
    if not ae.output.startswith("gaussian"):
        return ae.score(X)
    variance = np.exp(ae.output_parameters_.get("log_variance", np.zeros(X.shape[1])))
    low, high = ((X + edge - ae.reconstruct(X)) / np.sqrt(variance) for edge in (-0.5, 0.5))
    # Intervals above the mean are reflected, because log_ndtr is accurate in the lower tail.
    low, high = np.where(low > 0, -high, low), np.where(low > 0, -low, high)
    return (log_ndtr(high) + np.log1p(-np.exp(log_ndtr(low) - log_ndtr(high)))).sum(axis=1).mean()


X = count_words()
train, test = np.split(X, [len(X) * 4 // 5])
scores = {}
for output in OUTPUTS:
    for width in WIDTHS:
        ae = Autoencoder(
            width,
            output=output,
            activation="tanh",
            learning_rate=3e-3,
            learning_rate_schedule="cosine",
            alpha=1e-3,
            max_epochs=100,
            tol=0,
            random_state=0,
        ).fit(train)
        scores[output, width] = log_probability(ae, test)

print(f"{len(train)} documents to learn from, {len(test)} held out, {X.shape[1]} words")
print("log-probability of a held-out document, nats")
print(f"{'hidden units':>20}", *(f"{width:>8}" for width in WIDTHS))
for output in OUTPUTS:
    print(f"{output:>20}", *(f"{scores[output, width]:8.1f}" for width in WIDTHS))

figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
for output in OUTPUTS:
    axes.plot(WIDTHS, [scores[output, width] for width in WIDTHS], "o-", label=output)
axes.set_xscale("log", base=2)
axes.set(
    xticks=WIDTHS,
    xticklabels=WIDTHS,
    xlabel="hidden units",
    ylabel="log-probability of a held-out document, nats",
)
axes.legend()
plotting.save(figure, "recipe_counts.png")
