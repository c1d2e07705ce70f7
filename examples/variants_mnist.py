"""Variants of the autoencoder on handwritten digits: filters, and linear classifiers of codes.

The table has test errors of the classifiers; the picture of filters is variants_mnist.png.
`python variants_mnist.py mnist.npz` reads MNIST from a file with x_train, y_train, x_test and
y_test; without a file, scikit-learn's digits of 8 x 8 pixels are used.
"""

import sys

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aefast import Autoencoder, plotting

N_SHOWN = 64


def read(files):
    """Return X, y, X_test, y_test, the number of hidden units and the number of epochs.

    Rows are float32 in [0, 1].
    """
    if files:
        with np.load(files[0]) as arrays:
            X, X_test = ((arrays[key] / 255).astype(np.float32) for key in ("x_train", "x_test"))
            y, y_test = arrays["y_train"], arrays["y_test"]
        return X.reshape(len(X), -1), y, X_test.reshape(len(X_test), -1), y_test, 256, 15
    digits = load_digits()
    X, y = (digits.data / 16).astype(np.float32), digits.target
    return X[:1200], y[:1200], X[1200:], y[1200:], 64, 100


def variants(n_components, max_epochs):
    """Return autoencoders by name."""
    options = {"output": "bernoulli", "learning_rate": 2e-3, "learning_rate_schedule": "cosine"}
    options |= {"max_epochs": max_epochs, "tol": 0, "random_state": 0}
    options["weight_decay"] = 0.5  # removes initial noise from weights of pixels always empty
    return {
        "plain": Autoencoder(n_components, **options),
        "denoising": Autoencoder(n_components, corruption=("masking", 0.4), **options),
        "contractive": Autoencoder(n_components, contraction=0.1, **options),
        "k-sparse": Autoencoder(
            n_components, activation="linear", top_k=n_components // 8, **options
        ),
    }


def test_error(encoder, n_train=10_000):
    """Return the test error of logistic regression on codes."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=200))
    classifier.fit(encoder(X[:n_train]), y[:n_train])
    return 1 - classifier.score(encoder(X_test), y_test)


X, y, X_test, y_test, n_components, max_epochs = read(
    [f for f in sys.argv[1:] if f.endswith(".npz")]
)
fitted = {name: ae.fit(X) for name, ae in variants(n_components, max_epochs).items()}
pca = PCA(min(n_components, X.shape[1] - 3), svd_solver="full").fit(X[:10_000])
encoders = {"raw pixels": lambda X: X, "PCA": pca.transform}
encoders |= {name: ae.transform for name, ae in fitted.items()}

print(f"{n_components} units; test error of logistic regression; cross-entropy of test rows, nats")
for name, encoder in encoders.items():
    nats = f"{fitted[name].reconstruction_error(X_test).mean():8.1f}" if name in fitted else ""
    print(f"{name:>12} {100 * test_error(encoder):7.2f} % {nats}")

side = int(np.sqrt(X.shape[1]))
figure = Figure(figsize=(9, 9.4), layout="constrained")
for axes, (name, ae) in zip(figure.subplots(2, 2).flat, fitted.items(), strict=True):
    use = -ae.transform(X[:2000]).std(axis=0)  # units with the largest spread come first
    filters = ae.components_[np.argsort(use)[:N_SHOWN]].reshape(-1, side, side)
    filters = filters / np.abs(filters).max(axis=(1, 2), keepdims=True)
    tiles = np.pad(filters, ((0, 0), (0, 1), (0, 1)), constant_values=1)
    tiles = tiles.reshape(8, 8, side + 1, side + 1).swapaxes(1, 2).reshape(8 * (side + 1), -1)
    axes.imshow(tiles, cmap="gray", vmin=-1, vmax=1)
    axes.set(title=name, xticks=[], yticks=[])
plotting.save(figure, "variants_mnist.png")
