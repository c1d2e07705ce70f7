"""
Denoising in closed form
========================

A linear denoising autoencoder needs no training: its weights for all corruptions that drop a share
p of the entries follow from the covariance (Chen et al. 2012). Each model is best where rows lose
about the share that it was made for.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from aefast import MarginalizedAutoencoder, plotting

X = load_digits().data / 16
train, held_out = X[:1400], X[1400:]
shares = np.linspace(0, 0.9, 10)
uniform = np.random.default_rng(0).random(held_out.shape)
total = np.sum((held_out - train.mean(axis=0)) ** 2)

figure = Figure(figsize=(7, 4), layout="constrained")
axes = figure.subplots()
for p in (0.1, 0.3, 0.5, 0.7):
    model = MarginalizedAutoencoder(p).fit(train)
    errors = [model.reconstruct(held_out * (uniform >= share)) - held_out for share in shares]
    missed = [np.sum(error**2) / total for error in errors]
    axes.plot(shares, missed, "o-", label=f"corruption={p}")
axes.axhline(1, color="0.4", linestyle="--", label="means of the columns")
axes.set(
    xlabel="share of a row's entries that is dropped",
    ylabel="share of the squares missed",
    ylim=(0, 1.5),
)
axes.legend(fontsize=9)
plotting.save(figure, "denoise_in_closed_form.png")
