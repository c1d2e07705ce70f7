"""
Denoising digits
================

Trained to reconstruct clean rows from corrupted ones, an autoencoder cleans rows that it has never
seen.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from aefast import Autoencoder, plotting

X = load_digits().data / 16
train, held_out = X[:1400], X[1400:1412]
ae = Autoencoder(
    100, output="bernoulli", corruption=("salt_and_pepper", 0.3), max_epochs=200, random_state=0
).fit(train)

rng = np.random.default_rng(0)
hit = rng.random(held_out.shape) < 0.3
noisy = np.where(hit, rng.integers(0, 2, held_out.shape), held_out)
rows = {"clean": held_out, "noisy": noisy, "cleaned": ae.reconstruct(noisy)}

figure = Figure(figsize=(9.5, 2.9), layout="constrained")
for axes_of_row, (name, images) in zip(figure.subplots(3, 12), rows.items(), strict=True):
    for axes, image in zip(axes_of_row, images, strict=True):
        axes.imshow(image.reshape(8, 8), cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
    axes_of_row[0].set_ylabel(name, rotation=0, ha="right", va="center")
plotting.save(figure, "denoise_digits.png")
