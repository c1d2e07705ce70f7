"""
Whitened photographs
====================

Neighbouring pixels are alike, which hides what patches differ in. Whitening makes all pixels
uncorrelated and of variance 1. "zca" stays near the patches: flat places become flat, edges sharp.
"pca" has the same columns turned to the principal components, which are no pixels any more.
"""

from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

from aefast import Whitening, extract_patches, plotting

photograph = load_sample_image("china.jpg").mean(axis=2) / 255
patches = extract_patches(photograph, 16, 20_000, random_state=0)
patches -= patches.mean(axis=1, keepdims=True)
rows = {"patches": patches[:12]}
for method in ("zca", "pca"):
    rows[f'"{method}"'] = Whitening(method, epsilon=3e-3).fit(patches).transform(patches[:12])

figure = Figure(figsize=(9.5, 2.7), layout="constrained")
for axes_of_row, (name, images) in zip(figure.subplots(3, 12), rows.items(), strict=True):
    for axes, image in zip(axes_of_row, images, strict=True):
        most = abs(image).max()
        axes.imshow(image.reshape(16, 16), cmap="gray", vmin=-most, vmax=most)
        axes.set(xticks=[], yticks=[])
    axes_of_row[0].set_ylabel(name, rotation=0, ha="right", va="center")
plotting.save(figure, "whitened_photographs.png")
