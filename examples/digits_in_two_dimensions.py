"""
Digits in two dimensions
========================

Two numbers for each digit: principal components on the left, the code of a deep autoencoder on the
right. Neither has seen the labels, which give the colours.
"""

from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from aefast import ProbabilisticPCA, StackedAutoencoder, plotting

digits = load_digits()
X = digits.data / 16
codes = {
    "probabilistic PCA": ProbabilisticPCA(2).fit_transform(X),
    "autoencoder, 64-32-16-2": StackedAutoencoder(
        (64, 32, 16, 2),
        activation="tanh",
        code_activation="linear",
        output="bernoulli",
        max_epochs=60,
        random_state=0,
    ).fit_transform(X),
}

figure = Figure(figsize=(10, 4.8), layout="constrained")
panels = figure.subplots(1, 2)
for axes, (name, H) in zip(panels, codes.items(), strict=True):
    points = axes.scatter(*H.T, c=digits.target, s=7, cmap="tab10", vmin=-0.5, vmax=9.5)
    axes.set(title=name, xticks=[], yticks=[])
figure.colorbar(points, ax=panels, ticks=range(10), label="digit", pad=0.01)
plotting.save(figure, "digits_in_two_dimensions.png")
