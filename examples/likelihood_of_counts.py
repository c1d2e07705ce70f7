"""
The right likelihood for counts
===============================

Counts have a variance that grows with their mean, often faster than Poisson's. Here are three
autoencoders that differ in `output` alone, and the log-probability that they give held-out rows. A
normal density is no probability of a count; the probability of the unit interval around each count
is, and stands for it.
"""

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from aefast import Autoencoder, plotting

rng = np.random.default_rng(0)
rates = rng.gamma(0.5, size=(1500, 4)) @ rng.gamma(0.5, size=(4, 30))
counts = rng.poisson(rates * rng.gamma(2, 0.5, size=rates.shape)).astype(float)
train, held_out = counts[:1000], counts[1000:]

outputs, widths = ("gaussian_diagonal", "poisson", "negative_binomial"), (1, 2, 4, 8)
scores = {output: [] for output in outputs}
for output in outputs:
    for width in widths:
        ae = Autoencoder(width, output=output, max_epochs=60, random_state=0).fit(train)
        if output == "gaussian_diagonal":
            mean = ae.reconstruct(held_out)
            error = (ae.reconstruct(train) - train).std(axis=0)
            p = norm.cdf(held_out + 0.5, mean, error) - norm.cdf(held_out - 0.5, mean, error)
            scores[output].append(np.log(np.maximum(p, 1e-12)).sum(axis=1).mean())
        else:
            scores[output].append(ae.score(held_out))

figure = Figure(figsize=(6.5, 4), layout="constrained")
axes = figure.subplots()
for output in outputs:
    axes.plot(widths, scores[output], "o-", label=output)
axes.set(
    xscale="log",
    xticks=widths,
    xticklabels=widths,
    xlabel="hidden units",
    ylabel="log-probability of a held-out row, nats",
)
axes.minorticks_off()
axes.legend(loc="lower right")
plotting.save(figure, "likelihood_of_counts.png")
