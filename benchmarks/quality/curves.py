"""Held-out loss over processor seconds: defaults and rivals on images, Bernoulli, 64 components."""

import time
from functools import partial

from benchmarks.quality import rivals
from benchmarks.quality.rivals import cross_entropy

COMPONENTS = 64
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73")  # of Okabe and Ito; aefast is black
MNIST_ROWS = 4000


class Watch:
    """Curve of held-out losses over processor seconds of training, those of evaluation left out."""

    def __init__(self, images, every):
        self.images, self.every, self.calls = images, every, 0
        self.seconds, self.losses = [], []
        self.start = time.process_time()

    def __call__(self, reconstruct):
        now = time.process_time()
        self.calls += 1
        if self.calls <= 10 or self.calls % self.every == 0:
            self.seconds.append(now - self.start)
            X = self.images.X_test
            self.losses.append(cross_entropy(X, reconstruct(X)))
        self.start += time.process_time() - now


def aefast_curve(images):
    watch = Watch(images, 10)

    def callback(epoch, loss, validation_loss, estimator):
        watch(estimator.reconstruct)

    rivals.fit_aefast(images.X, COMPONENTS, "bernoulli", callbacks=callback)
    return watch


def torch_curve(images, rate, n_epochs):
    rivals.train_torch(images.X, COMPONENTS, "bernoulli", rate, 1)  # imports; no part of the curve
    watch = Watch(images, 10)
    rivals.train_torch(images.X, COMPONENTS, "bernoulli", rate, n_epochs, watch)
    return watch


def curves(data):
    """Return the curves of each method on all images, ``[(images, {method: Watch})]``."""
    found = []
    for images, n_epochs in [(data.digits, 300)] + (
        [(data.mnist.head(MNIST_ROWS), 100)] if data.mnist is not None else []
    ):
        methods = {"aefast, defaults": aefast_curve}
        if rivals.has_torch():
            for rate in rivals.TORCH_RATES:
                name = f"PyTorch, Adam {rate:g}, cosine"
                methods[name] = partial(torch_curve, rate=rate, n_epochs=n_epochs)
        found.append((images, {name: method(images) for name, method in methods.items()}))
    return found


def draw(found, path):
    """Draw a panel for each table of images: the excess over the entropy floor, as a fraction."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6 * len(found), 4), layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (images, watches) in zip(panels, found, strict=True):
        floor = cross_entropy(images.X_test, images.X_test)
        constant = cross_entropy(images.X_test, images.X.mean(axis=0))
        for colour, (name, watch) in zip(COLOURS, watches.items(), strict=False):
            heights = [(loss - floor) / (constant - floor) for loss in watch.losses]
            width = 2.4 if name.startswith("aefast") else 1.3
            axes.plot(watch.seconds, heights, color=colour, linewidth=width, label=name)
            axes.plot(watch.seconds[-1], heights[-1], "o", color=colour, markersize=4)
        axes.set(
            xscale="log",
            yscale="log",
            title=images.name,
            xlabel="processor seconds of training, one thread",
        )
        axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("held-out excess over the entropy,\nas a fraction of the column means'")
    lines = panels[0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(path, dpi=90)
