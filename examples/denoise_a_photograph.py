"""
Denoise a photograph
====================

Each 8 x 8 patch is coded by as few atoms as explain it up to the noise; the patches overlap and are
averaged (Elad & Aharon 2006). The atoms come from another picture.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

from aefast import DictionaryLearning, denoising, extract_patches, plotting

sigma = 25 / 255
clean = load_sample_image("china.jpg").mean(axis=2)[120:300, 200:420] / 255
noisy = clean + np.random.default_rng(0).normal(0, sigma, clean.shape)

patches = extract_patches(load_sample_image("flower.jpg").mean(axis=2) / 255, 8, 8000, 0)
patches -= patches.mean(axis=1, keepdims=True)
atoms = DictionaryLearning(128, alpha=0.1, max_epochs=3, random_state=0).fit(patches).components_
denoised = denoising.denoise(noisy, atoms, sigma)

figure = Figure(figsize=(10.5, 3.2), layout="constrained")
panels = {"clean": clean, "noisy": noisy, "denoised": denoised}
for axes, (name, image) in zip(figure.subplots(1, 3), panels.items(), strict=True):
    axes.imshow(image, cmap="gray", vmin=0, vmax=1)
    quality = "" if image is clean else f": {denoising.psnr(image, clean):.1f} dB"
    axes.set(title=name + quality, xticks=[], yticks=[])
plotting.save(figure, "denoise_a_photograph.png")
