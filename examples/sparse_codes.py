"""
Sparse codes: atoms against error
=================================

Fewer atoms, larger error. The lasso shrinks coefficients and moves along a smooth curve by α;
pursuits take a number of atoms. For one number of atoms, order-recursive pursuit has the least
error here.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from aefast import DictionaryLearning, plotting, sparse_encode

X = load_digits().data / 16
D = DictionaryLearning(128, alpha=0.1, max_epochs=5, random_state=0).fit(X).components_


def point(H):
    """Return the number of atoms and the share of the squares that is missed."""
    return np.count_nonzero(H) / len(H), ((X - H @ D) ** 2).sum() / (X**2).sum()


curves = {
    "lasso": [point(sparse_encode(X, D, alpha=a)) for a in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.2)]
}
for name, label in (("omp", "orthogonal pursuit"), ("ormp", "order-recursive pursuit")):
    curves[label] = [
        point(sparse_encode(X, D, algorithm=name, n_nonzero_coefs=n)) for n in (1, 2, 4, 8, 12, 16)
    ]

figure = Figure(figsize=(6.5, 4), layout="constrained")
axes = figure.subplots()
for label, points in curves.items():
    axes.plot(*zip(*points, strict=True), "o-", label=label)
axes.set(xlabel="atoms in the code of a digit", ylabel="share of the squares missed", yscale="log")
axes.legend()
plotting.save(figure, "sparse_codes.png")
