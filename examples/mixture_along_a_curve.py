"""
A density along a curve
=======================

One normal distribution cannot follow a curve; a mixture of factor analysers does, piece by piece.
The criterion of Bayes chooses the number of pieces. Where log p(x) is low, rows are strange.
"""

import numpy as np
from matplotlib.figure import Figure

from aefast import MixtureOfFactorAnalyzers, plotting

rng = np.random.default_rng(0)
t = rng.uniform(0, 1.5 * np.pi, 700)
X = np.column_stack([t * np.cos(t), t * np.sin(t)]) + 0.12 * rng.normal(size=(700, 2))
model = MixtureOfFactorAnalyzers("bic", 1, random_state=0).fit(X)

x, y = np.linspace(-5, 3, 160), np.linspace(-6, 3.5, 160)
points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
log_p = model.score_samples(points).reshape(160, 160)

figure = Figure(figsize=(9.5, 4.6), layout="constrained")
left, right = figure.subplots(1, 2)
left.scatter(*X.T, s=6, c=model.predict(X), cmap="tab10", vmin=0, vmax=9)
for mean, W in zip(model.means_, model.components_, strict=True):
    left.plot(*np.vstack([mean - 2 * W, mean + 2 * W]).T, color="black", linewidth=2)
left.set_title(f"{model.n_mixtures_} pieces: means ± 2 loadings")
levels = right.contourf(x, y, np.maximum(log_p, -12), 12, cmap="viridis")
figure.colorbar(levels, ax=right, label="log p(x), nats")
right.set_title("the density")
for axes in (left, right):
    axes.set(xlim=(-5, 3), ylim=(-6, 3.5), aspect="equal", xticks=[], yticks=[])
plotting.save(figure, "mixture_along_a_curve.png")
