"""
Solvers, epoch by epoch
=======================

`history_` is a table with a row for each epoch. The same network learns the same digits by
different solvers from random weights, and from the start near PCA that is the default.
"""

from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from aefast import Autoencoder, plotting

X = (load_digits().data / 16).astype("float32")
fits = {
    "sgd": {"solver": "sgd", "learning_rate": 0.1},
    "adagrad": {"solver": "adagrad", "learning_rate": 0.02},
    "adam": {"learning_rate": 0.003},
    "lbfgs": {"solver": "lbfgs"},
    "adam, from near PCA (default)": {"init": "auto"},
}

figure = Figure(figsize=(7, 4.2), layout="constrained")
axes = figure.subplots()
for name, options in fits.items():
    options = {"init": "glorot", **options}
    ae = Autoencoder(32, output="bernoulli", max_epochs=100, tol=0, random_state=0, **options)
    history = ae.fit(X).history_
    axes.plot(history["epoch"], history["loss"], label=name)
axes.set(xlabel="epoch", ylabel="cross-entropy, nats a row", xscale="log", ylim=(14, 28))
axes.legend()
plotting.save(figure, "solvers.png")
