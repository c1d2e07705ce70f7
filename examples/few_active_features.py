"""
Many features, few of them active
=================================

With `top_k` each row may use 6 of 128 units. A unit then stands for something that some rows have:
each line has the weights of a unit, and the digits that excite it most.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from aefast import Autoencoder, plotting

X = load_digits().data / 16
ae = Autoencoder(128, activation="relu", top_k=6, tied=False, max_epochs=150, random_state=0)
H = ae.fit_transform(X)

share = (H > 0).mean(axis=0)
units = np.argsort(-np.where((share > 0.01) & (share < 0.15), H.max(axis=0), 0))[:6]
figure = Figure(figsize=(9, 5.4), layout="constrained")
for line, unit in zip(figure.subplots(6, 11), units, strict=True):
    weights = ae.decoder_components_[unit].reshape(8, 8)
    limit = np.abs(weights).max()
    line[0].imshow(weights, cmap="RdBu_r", vmin=-limit, vmax=limit)
    line[0].set_ylabel(
        f"unit {unit}\nin {100 * share[unit]:.0f} % of rows", rotation=0, ha="right", va="center"
    )
    for axes, row in zip(line[1:], np.argsort(-H[:, unit])[:10], strict=True):
        axes.imshow(X[row].reshape(8, 8), cmap="gray_r")
    for axes in line:
        axes.set(xticks=[], yticks=[])
plotting.save(figure, "few_active_features.png")
