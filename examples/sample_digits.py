"""
Drawn digits, and missing halves
================================

Probabilistic PCA has a density: digits are drawn from it, and the mean of missing pixels follows
from those that are there.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from aefast import ProbabilisticPCA, plotting

X = load_digits().data / 16
model = ProbabilisticPCA("cv").fit(X)
half = X[:10].copy()
half[:, 32:] = np.nan  # the lower half is missing

rows = {
    "digits": X[:10],
    "upper halves": half,
    "filled in": model.impute(half),
    "drawn from p(x)": model.sample(10, random_state=0),
}
figure = Figure(figsize=(9, 4), layout="constrained")
grid = figure.subplots(len(rows), 10)
for axes_of_row, (name, images) in zip(grid, rows.items(), strict=True):
    for axes, image in zip(axes_of_row, images, strict=True):
        axes.imshow(image.reshape(8, 8), cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
    axes_of_row[0].set_ylabel(name, rotation=0, ha="right", va="center")
figure.suptitle(f"probabilistic PCA, {len(model.components_)} components by cross-validation")
plotting.save(figure, "sample_digits.png")
