"""
How many components?
====================

More components always explain more of the rows that a model was fitted to. Held-out rows decide:
their log-likelihood under probabilistic PCA and factor analysis rises, and falls again. Wines have
columns of different noise, which factor analysis describes with fewer components.
"""

import warnings

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler

from aefast import FactorAnalysis, ProbabilisticPCA, plotting

X = StandardScaler().fit_transform(load_wine().data)
X = np.random.default_rng(0).permutation(X)
widths = range(1, 11)

# With many factors some are a single column each (Heywood cases), which held-out rows may judge.
warnings.simplefilter("ignore", ConvergenceWarning)
figure = Figure(figsize=(7, 4), layout="constrained")
axes = figure.subplots()
for model in (ProbabilisticPCA, FactorAnalysis):
    name = "probabilistic PCA" if model is ProbabilisticPCA else "factor analysis"
    held_out = [cross_val_score(model(k), X, cv=5).mean() for k in widths]
    seen = [model(k).fit(X).score(X) for k in widths]
    (line,) = axes.plot(widths, held_out, "o-", label=f"{name}, held-out rows")
    axes.plot(widths, seen, ":", color=line.get_color(), label=f"{name}, rows of the fit")
    axes.plot(1 + np.argmax(held_out), max(held_out), "o", ms=12, mfc="none", color="black")
axes.set(xlabel="components", ylabel="log p(x), nats a row", xticks=widths)
axes.legend(loc="lower right", fontsize=9)
plotting.save(figure, "how_many_components.png")
