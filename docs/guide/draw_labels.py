"""Draw labels.png: ``python docs/guide/draw_labels.py`` (needs matplotlib; some minutes)."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from aefast import AutoencoderClassifier

N_LABELS, DRAWS = (30, 60, 120, 250, 500, 1000), 5


def errors():
    """Return the share of the other digits that are misclassified, by model and number of labels.

    Labels are those of the first rows of a permutation; the mean is over permutations.
    """
    X, y = load_digits(return_X_y=True)
    found = {}
    for n in N_LABELS:
        for draw in range(DRAWS):
            order = np.random.default_rng(draw).permutation(len(y))
            few, others = order[:n], order[n:]
            labels = y.copy()
            labels[others] = -1
            linear = LogisticRegression(max_iter=300).fit(X[few] / 16, y[few])
            predicted = {"logistic regression": linear.predict(X[others] / 16)}
            for name, weight in (("labels alone", 0.0), ("labels and reconstructions", 0.02)):
                model = AutoencoderClassifier(reconstruction_weight=weight, random_state=draw)
                predicted[name] = model.fit(X, labels).predict(X[others])
            for name, of_others in predicted.items():
                of_model = found.setdefault(name, np.zeros(len(N_LABELS)))
                of_model[N_LABELS.index(n)] += np.mean(of_others != y[others]) / DRAWS
    return found


def draw():
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for name, shares in errors().items():
        print(name, np.round(100 * shares, 1))
        axes.plot(N_LABELS, 100 * shares, "o-", label=name)
    axes.set(xscale="log", yscale="log", xlabel="labels", ylabel="wrong, per cent of the others")
    axes.set_xticks(N_LABELS, [str(n) for n in N_LABELS], minor=False)
    axes.set_xticks([], minor=True)
    ticks = (2, 5, 10, 20, 40)
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(Path(__file__).with_name("labels.png"), dpi=110)


if __name__ == "__main__":
    draw()
