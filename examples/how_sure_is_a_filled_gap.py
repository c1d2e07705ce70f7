"""
How sure is a filled gap?
=========================

A tenth of the entries is hidden and filled. The `Imputer` also says how far off each may be: the
bars are intervals of 90 %. A column that others predict has short ones.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer

from aefast import Imputer, plotting

complete = load_breast_cancer(as_frame=True).data
gaps = np.random.default_rng(0).random(complete.shape) < 0.1
X = complete.mask(gaps)
imputer = Imputer().fit(X)
filled, std = imputer.transform(X), imputer.transform_std(X)

figure = Figure(figsize=(10, 3.8), layout="constrained")
names = ["mean perimeter", "mean texture", "symmetry error"]
for axes, name in zip(figure.subplots(1, 3), names, strict=True):
    j = complete.columns.get_loc(name)
    truth, hidden = complete[name].to_numpy(), gaps[:, j]
    half = 1.645 * std[hidden, j]
    inside = np.abs(filled[hidden, j] - truth[hidden]) < half
    axes.errorbar(truth[hidden], filled[hidden, j], half, fmt="o", ms=3, lw=0.8, alpha=0.7)
    ends = [truth.min(), truth.max()]
    axes.plot(ends, ends, color="black", lw=1)
    axes.set(title=f"{name}: {100 * inside.mean():.0f} % inside", xlabel="hidden value")
    if name == names[0]:
        axes.set_ylabel("filled in, ± 1.645 deviations")
plotting.save(figure, "how_sure_is_a_filled_gap.png")
