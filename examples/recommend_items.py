"""
Items for users
===============

Users like a few clusters of items. Most choices of new users are given, the rest is to be found
among 300 items: recall of the first 20 recommendations, for the linear item autoencoder (EASE) by
its one parameter, and for recommending what is popular.
"""

import numpy as np
from matplotlib.figure import Figure
from scipy import sparse

from aefast import ItemAutoencoder, plotting
from aefast.metrics import recall_at_k

rng = np.random.default_rng(0)
popularity = 1 / (1 + np.arange(300)) ** 0.8
cluster, taste = rng.integers(15, size=300), rng.dirichlet(np.full(15, 0.1), 2000)
rate = popularity * (0.02 + taste[:, cluster])
chosen = rng.random(rate.shape) < 1 - np.exp(-25 * rate / rate.sum(axis=1, keepdims=True))
train, new_users = chosen[:1600].astype(np.float32), chosen[1600:].astype(np.float32)
is_hidden = rng.random(new_users.shape) < 0.2
given, hidden = (sparse.csr_array(new_users * part) for part in (~is_hidden, is_hidden))

penalties = np.logspace(0, 4, 9)
recall = []
for l2 in penalties:
    items, _ = ItemAutoencoder(l2).fit(sparse.csr_array(train)).recommend(given, 20)
    recall.append(np.nanmean(recall_at_k(hidden, items, 20)))
ranks = np.argsort(-train.sum(axis=0))
popular = np.array([[i for i in ranks if not row[i]][:20] for row in given.toarray()])

figure = Figure(figsize=(6.5, 4), layout="constrained")
axes = figure.subplots()
axes.semilogx(penalties, recall, "o-", label="ItemAutoencoder")
axes.axhline(
    np.nanmean(recall_at_k(hidden, popular, 20)), color="0.4", linestyle="--", label="popular items"
)
axes.set(xlabel="l2", ylabel="recall of 20 recommendations", ylim=(0, None))
axes.legend()
plotting.save(figure, "recommend_items.png")
