"""
Atoms of photographs
====================

Patches of photographs are sums of few atoms. Learnt from two pictures, with the correlations of
neighbouring pixels removed, atoms become localised and oriented, as cells of the visual cortex are
(Olshausen & Field 1996).
"""

import numpy as np
from sklearn.datasets import load_sample_image

from aefast import DictionaryLearning, Whitening, extract_patches, plotting
from aefast.plotting.atoms import picture_of_atoms

images = [load_sample_image(name).mean(axis=2) / 255 for name in ("china.jpg", "flower.jpg")]
patches = extract_patches(images, 10, 15_000, random_state=0)
patches -= patches.mean(axis=1, keepdims=True)
X = Whitening(epsilon=3e-2).fit_transform(patches).astype(np.float32)

learner = DictionaryLearning(100, alpha=2 * X.std(), max_epochs=4, random_state=0).fit(X)
use = np.abs(learner.transform(X[:5000])).sum(axis=0)
figure = picture_of_atoms(learner.components_, (10, 10), np.argsort(-use), "most used first")
plotting.save(figure, "atoms_of_photographs.png")
