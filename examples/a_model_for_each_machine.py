"""
A model for each machine
========================

Six machines have eight sensors each, which hang together differently in each machine. One call
trains a model for each: a row of numbers is likely under its own machine's model alone. When a
machine drifts, its own model says so. One model of all machines finds the same rows as likely as
before: they are like those of other machines.
"""

import numpy as np
from matplotlib.figure import Figure

from aefast import Autoencoder, AutoencoderEnsemble, plotting

rng = np.random.default_rng(0)
names = np.array(list("ABCDEF"))
mixing = rng.normal(size=(6, 2, 8))  # of the two hidden states of each machine


def rows_of(machine, n, drift=0.0):
    """Return rows of a machine that becomes like the next one."""
    share = np.broadcast_to(drift, n)[:, np.newaxis]
    state = rng.normal(size=(n, 2))
    readings = (1 - share) * (state @ mixing[machine]) + share * (state @ mixing[(machine + 1) % 6])
    return readings + 0.2 * rng.normal(size=(n, 8))


X = np.concatenate([rows_of(machine, 400) for machine in range(6)])
machine = np.repeat(names, 400)
models = AutoencoderEnsemble(n_components=2, activation="tanh", random_state=0)
models.fit(X, groups=machine)
of_all = Autoencoder(n_components=2, activation="tanh", random_state=0).fit(X)

nats = np.array(
    [
        [
            models.score_samples(rows_of(i, 200), groups=np.repeat(name, 200)).mean()
            for name in names
        ]
        for i in range(6)
    ]
)
drifting = rows_of(0, 600, np.linspace(-0.5, 1, 600).clip(0))

figure = Figure(figsize=(10, 4), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
shown = left.imshow(nats, cmap="Blues", vmin=-30)
left.set(xlabel="model of", ylabel="rows of", xticks=range(6), yticks=range(6))
left.set_xticklabels(names)
left.set_yticklabels(names)
figure.colorbar(shown, ax=left, label="mean log p(x | h(x)), nats", extend="min", shrink=0.8)
for label, scores in {
    "model of all machines": of_all.score_samples(drifting),
    "model of machine A": models.score_samples(drifting, groups=np.repeat("A", 600)),
}.items():
    right.plot(np.convolve(scores, np.full(20, 0.05), "valid"), label=label)
right.axvline(200, color="black", linestyle="--", linewidth=1, label="machine A begins to drift")
right.set(xlabel="row", ylabel="log p(x | h(x)), mean of 20 rows")
right.legend(fontsize=9, loc="lower left")
plotting.save(figure, "a_model_for_each_machine.png")
