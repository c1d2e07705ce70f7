"""Draw mixtures.png: ``python docs/guide/draw_mixtures.py`` (needs matplotlib)."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from aefast import MixtureOfFactorAnalyzers


def curve_rows(n=900, seed=0):
    """Return rows near a curve, and outliers that are far from it."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(0, 1.5 * np.pi, n)
    rows = np.column_stack([t * np.cos(t), t * np.sin(t)])
    return rows + 0.12 * rng.normal(size=rows.shape), rng.uniform([-4.5, -5], [2.5, 3], (25, 2))


def draw():
    rows, others = curve_rows()
    model = MixtureOfFactorAnalyzers("bic", 1, random_state=0, n_init=3).fit(rows)
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.scatter(*rows.T, s=5, c=model.predict(rows), cmap="tab10", vmin=0, vmax=10)
    for mean, W in zip(model.means_, model.components_, strict=True):
        ends = np.vstack([mean - 2 * W, mean + 2 * W])
        left.plot(*ends.T, color="black", linewidth=2)
        left.plot(*mean, "o", color="black", markersize=4)
    left.set_title(f"{model.n_mixtures_} factor analysers: means ± 2 loadings", fontsize=10)
    drawn = model.sample(900, random_state=0)[0]
    middle.scatter(*drawn.T, s=5, color="0.45")
    middle.set_title("rows drawn from the mixture", fontsize=10)
    threshold = np.quantile(model.score_samples(rows), 0.01)
    x, y = np.linspace(-5, 3, 200), np.linspace(-6, 3.5, 200)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    log_p = model.score_samples(points).reshape(200, 200)
    right.contourf(x, y, log_p, levels=[threshold, np.inf], colors=["#cfe3f5"])
    is_odd = model.score_samples(others) < threshold
    right.scatter(*others[is_odd].T, s=18, color="C3", marker="x", label="below the 1 % quantile")
    right.scatter(*others[~is_odd].T, s=12, color="C0", label="above")
    right.legend(fontsize=8, loc="lower left")
    right.set_title("log p(x) of new rows", fontsize=10)
    for axes in (left, middle, right):
        axes.set(xlim=(-5, 3), ylim=(-6, 3.5), aspect="equal", xticks=[], yticks=[])
    figure.savefig(Path(__file__).with_name("mixtures.png"), dpi=110)


if __name__ == "__main__":
    draw()
