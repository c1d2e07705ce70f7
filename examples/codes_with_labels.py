"""
Codes that know a few labels
============================

A code of two units, before and after 200 of 1797 digits had labels: reconstruction alone keeps what
rows look like, the loss of labels pulls classes apart. With `reconstruction_weight` the rows
without a label have a part in it, and the code still reconstructs.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from aefast import AutoencoderClassifier, plotting

X, digit = load_digits(return_X_y=True)
labelled = np.random.default_rng(0).permutation(len(X))[:200]
y = np.full(len(X), -1)
y[labelled] = digit[labelled]
others = y == -1

model = AutoencoderClassifier(
    (128, 2), code_activation="linear", reconstruction_weight=0.02, random_state=0
)
before = model.set_params(max_epochs=0).fit(X, y).transform(X)
after = model.set_params(max_epochs="auto", warm_start=True).fit(X, y).transform(X)
accuracy = model.score(X[others], digit[others])

figure = Figure(figsize=(9, 4.4), layout="constrained")
titles = "pre-trained on all rows", f"with 200 labels: {100 * accuracy:.0f} % of the others right"
for axes, code, title in zip(figure.subplots(1, 2), (before, after), titles, strict=True):
    axes.scatter(*code[others].T, c=digit[others], cmap="tab10", s=4)
    axes.scatter(*code[labelled].T, c=digit[labelled], cmap="tab10", s=24, edgecolors="black")
    axes.set_title(title, fontsize=10)
    axes.set(xticks=[], yticks=[])
plotting.save(figure, "codes_with_labels.png")
