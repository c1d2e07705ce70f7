"""
Loadings before and after rotation
==================================

Thirteen measurements of wines, three factors. Any rotation of the factors explains the rows as
well; varimax chooses the one in which each measurement belongs to few factors, which can be read.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_wine

from aefast import FactorAnalysis, plotting

X = load_wine(as_frame=True).data
figure = Figure(figsize=(8.5, 5), layout="constrained")
panels = figure.subplots(1, 2, sharey=True)
for axes, rotation in zip(panels, (None, "varimax"), strict=True):
    loadings = FactorAnalysis(3, rotation=rotation).fit(X).loadings_
    image = axes.imshow(loadings, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(loadings):
        axes.text(
            *(j, i, f"{value:.2f}"),
            ha="center",
            va="center",
            fontsize=9,
            color="white" if abs(value) > 0.7 else "black",
            alpha=1.0 if abs(value) > 0.3 else 0.3,
        )
    axes.set(title=f"rotation={rotation!r}", xticks=range(3), xticklabels=["1", "2", "3"])
    axes.set(xlabel="factor", yticks=range(len(X.columns)), yticklabels=X.columns)
figure.colorbar(image, ax=panels, label="loading")
plotting.save(figure, "rotated_loadings.png")
