"""
How many hidden units?
======================

A code as large as a row copies the row: the loss of held-out rows falls with every unit. The loss
of held-out entries, which the encoder does not see, has its minimum at the true number, 5 here.
`AutoencoderCV` looks for it.
"""

import numpy as np
from matplotlib.figure import Figure

from aefast import AutoencoderCV, plotting

rng = np.random.default_rng(0)
X = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 20)) + rng.normal(size=(400, 20))
widths = [1, 2, 3, 4, 5, 6, 8, 10, 14, 20]

figure = Figure(figsize=(7, 4), layout="constrained")
axes = figure.subplots()
for scoring, label in {"rows": "held-out rows", "hidden": "held-out entries"}.items():
    loss = []
    for k in widths:  # one candidate at a time: all are trained to the end
        grid = {"n_components": [k]}
        loss.append(
            -AutoencoderCV(param_grid=grid, scoring=scoring, random_state=0).fit(X).best_score_
        )
    axes.plot(widths, loss, "o-", label=label)
    axes.plot(widths[np.argmin(loss)], min(loss), "o", ms=12, mfc="none", color="black")
axes.set(xlabel="hidden units", ylabel="loss, nats a row", xticks=widths, ylim=(0, None))
axes.legend()
plotting.save(figure, "how_many_units.png")
