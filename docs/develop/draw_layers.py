"""Draw ``layers.svg``, the picture of architecture.md: ``python docs/develop/draw_layers.py``.

With an argument the picture is written to that file instead, in the format of its suffix.
"""

import sys
from pathlib import Path

import matplotlib
import matplotlib.patches

matplotlib.use("agg")
matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "layers", "font.size": 10}
matplotlib.rcParams["font.sans-serif"] = ["DejaVu Sans", "sans-serif"]
from matplotlib.figure import Figure  # noqa: E402

# From the top: title, colour, boxes of (name, contents). A layer imports or includes lower ones.
LAYERS = (
    (
        "command, pictures",
        "#fbe3d0",
        [("aefast/cli/", "subcommands"), ("aefast/plotting/", "pictures of models")],
    ),
    (
        "public modules",
        "#fdf0c8",
        [
            ("aefast", "lazy names"),
            ("ops", "functions"),
            ("distributions", "p(x | μ)"),
            ("model_file", "save, load"),
        ],
    ),
    (
        "families",
        "#dcefd8",
        [
            ("networks/", "training/"),
            ("linear/", "factor models …"),
            ("sparse_coding/", "coder, learner …"),
            ("tables/", "encoder, frames …"),
        ],
    ),
    (
        "base",
        "#d3e8ee",
        [("aefast/_base/", "arrays  errors  passes  epochs  threads  random  saving  moments …")],
    ),
    (
        "bindings",
        "#dbe0f3",
        [
            ("_autoencoder.pyx", ""),
            ("_statistics.pyx", "_rows.pyx  _runtime.pyx"),
            ("_sparse_coding.pyx", ""),
        ],
    ),
    (
        "kernels of families",
        "#e9dcf0",
        [("kernels/autoencoder/", "tables/  step/"), ("statistics/", ""), ("sparse_coding/", "")],
    ),
    ("products", "#efe0ea", [("kernels/products/", "register tiles, packed operands")]),
    (
        "base of kernels",
        "#e8e8e8",
        [("kernels/base/", "vectors, functions, threads, blocks"), ("src/runtime/", "dispatch")],
    ),
)
WIDTH, HEIGHT, GAP, LEFT = 10.0, 0.8, 0.22, 2.35


def draw():
    figure = Figure(figsize=(9.6, 6.6))
    axes = figure.add_axes((0, 0, 1, 1))
    total = len(LAYERS) * (HEIGHT + GAP)
    axes.set(xlim=(0, WIDTH + LEFT), ylim=(-0.1, total + 0.1))
    axes.axis("off")
    for i, (title, colour, boxes) in enumerate(LAYERS):
        bottom = total - (i + 1) * (HEIGHT + GAP) + GAP / 2
        axes.text(0.1, bottom + HEIGHT / 2, title, va="center", fontweight="bold")
        width = (WIDTH - 0.1 + GAP) / len(boxes) - GAP
        for j, (name, contents) in enumerate(boxes):
            left = LEFT + j * (width + GAP)
            axes.add_patch(
                matplotlib.patches.Rectangle(
                    (left, bottom), width, HEIGHT, facecolor=colour, edgecolor="#555555"
                )
            )
            text = f"{name}\n{contents}" if contents else name
            axes.text(left + width / 2, bottom + HEIGHT / 2, text, ha="center", va="center")
        if i:
            middle = LEFT - 0.25
            axes.annotate(
                "",
                (middle, bottom + HEIGHT * 0.75),
                (middle, bottom + HEIGHT + GAP + HEIGHT * 0.25),
                arrowprops={"arrowstyle": "-|>", "color": "#555555"},
            )
    return figure


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("layers.svg")
    draw().savefig(path, dpi=100, metadata={"Date": None} if path.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
