"""
Outliers and the loss
=====================

Points near a line, and a seventh of them far off. With the squared error a few wild points turn the
model; a loss with heavier tails lets them be. The `output` is all that differs.
"""

import numpy as np
from matplotlib.figure import Figure

from aefast import Autoencoder, plotting

rng = np.random.default_rng(1)
t = rng.uniform(-2, 2, 400)
X = np.column_stack([t, 0.5 * t]) + rng.normal(0, 0.1, (400, 2))
X[:60] = rng.choice([-1, 1], (60, 1)) * rng.normal([-1.2, 2.8], 0.4, (60, 2))

figure = Figure(figsize=(10, 3.6), layout="constrained")
for axes, output in zip(
    figure.subplots(1, 3), ("gaussian", "laplace", ("student_t", {"df": 2})), strict=True
):
    ae = Autoencoder(1, activation="linear", output=output, scale=None, random_state=0)
    ae.set_params(max_epochs=300, learning_rate=0.01).fit(X)
    name = output if isinstance(output, str) else output[0]
    line = ae.reconstruct(np.array([[-3.0, -1.5], [3.0, 1.5]]))
    axes.plot([-2.5, 2.5], [-1.25, 1.25], color="0.6", linestyle="--", label="truth")
    axes.scatter(*X[60:].T, s=6, color="C0")
    axes.scatter(*X[:60].T, s=6, color="C3")
    slope = np.diff(line, axis=0)[0]
    ends = line.mean(axis=0) + np.outer([-3, 3], slope / np.linalg.norm(slope))
    axes.plot(*ends.T, color="black", label="autoencoder")
    axes.set(title=name, xlim=(-3.2, 3.2), ylim=(-4.2, 4.2), aspect="equal")
    axes.legend(fontsize=8, loc="lower left")
plotting.save(figure, "robust_losses.png")
