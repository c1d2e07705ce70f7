"""
A table of mixed columns
========================

Customers have a trade, a revenue, a number of orders, a date. `TableAutoencoder` takes the frame as
it is. Three rows are falsified: a cheap factory, an early date with huge revenue, a shop with a
hundred orders; the picture has the surprise of each variable in nats.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from aefast import Autoencoder, TableAutoencoder, plotting

rng = np.random.default_rng(0)
n = 1000
size = rng.normal(size=n)  # of the customer, not observed
customers = pd.DataFrame(
    {
        "since": pd.Timestamp("2019-01-01") + pd.to_timedelta(rng.integers(0, 2000, n), unit="D"),
        "trade": pd.Categorical(np.select([size < -0.5, size < 0.7], ["shop", "hotel"], "factory")),
        "revenue": np.exp(size + 0.4 * rng.normal(size=n) + 8),
        "orders": rng.poisson(np.exp(0.7 * size + 1)),
        "abroad": size + rng.normal(size=n) > 1,
    }
)
model = TableAutoencoder(Autoencoder(3, max_epochs=300, random_state=0)).fit(customers)

strange = customers.head(8).copy()
strange.loc[1, ["trade", "revenue"]] = "factory", 300.0
strange.loc[3, ["since", "revenue"]] = pd.Timestamp("2010-01-01"), 9e4
strange.loc[5, ["trade", "orders"]] = "shop", 100
usual = model.score_samples(customers, per_feature=True).median()
surprise = (usual - model.score_samples(strange, per_feature=True)).clip(lower=0).to_numpy()

figure = Figure(figsize=(8.5, 3.9), layout="constrained")
axes = figure.subplots()
image = axes.imshow(surprise, cmap="OrRd", vmin=0, vmax=15, aspect="auto")
for (i, j), value in np.ndenumerate(strange.to_numpy(object)):
    text = f"{value:%Y-%m-%d}" if j == 0 else f"{value:,.0f}" if j == 2 else str(value)
    axes.text(j, i, text, ha="center", va="center", color="white" if surprise[i, j] > 9 else "k")
axes.set(xticks=range(5), xticklabels=strange.columns, yticks=range(8), ylabel="row")
figure.colorbar(image, label="surprise beyond the usual, nats")
plotting.save(figure, "mixed_table.png")
