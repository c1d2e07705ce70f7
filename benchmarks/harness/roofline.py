"""Roofline pictures: rates below the processor's ceiling, and times relative to aefast's."""

import os
from pathlib import Path

# Colours of Okabe and Ito, which colour-blind readers can distinguish; aefast is black.
STYLES = {
    "aefast": ("#000000", "o"),
    "aefast-blas": ("#999999", "o"),
    "numpy": ("#0072B2", "s"),
    "sklearn": ("#56B4E9", "v"),
    "torch-eager": ("#D55E00", "^"),
    "torch-compiled": ("#E69F00", "D"),
    "jax-step": ("#009E73", "P"),
    "jax-scan": ("#CC79A7", "X"),
}
GREY = "#555555"
TITLE = "How near training an autoencoder comes to the processor's ceiling"


def series(summary, key):
    """Return ``{rival: ([flop per step], [row[key]])}`` over the measured shapes."""
    found = {}
    for shape in summary["shapes"]:
        for name, row in shape["peers"].items():
            if key in row:
                flops, values = found.setdefault(name, ([], []))
                flops.append(shape["flop_per_step"])
                values.append(row[key])
    return found


def plot_lines(axes, lines):
    for name, (flops, values) in lines.items():
        colour, marker = STYLES.get(name, (GREY, "."))
        width, size, order = (2.6, 8, 4) if name == "aefast" else (1.3, 6, 3)
        axes.plot(
            flops,
            values,
            label=name,
            color=colour,
            marker=marker,
            linewidth=width,
            markersize=size,
            zorder=order,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def label_ticks(axis, low, high, suffix):
    """Label a logarithmic axis between two values with the plain numbers 1, 2, 5, 10, …."""
    ticks = [m * 10.0**e for e in range(-3, 6) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    axis.set_ticks(ticks, [f"{tick:g}{suffix}" for tick in ticks])
    axis.set_ticks([], minor=True)


def in_threads(table):
    return f"{table['threads']} thread" + "s" * (table["threads"] > 1)


def draw_ceiling(axes, table):
    peak = table["peak_gflops"]
    axes.axhline(peak, color=GREY, linewidth=1.4, linestyle=(0, (6, 3)), zorder=2)
    axes.annotate(
        f"fused multiply-add peak, {in_threads(table)}: {peak:.0f} GFLOP/s",
        (0.01, peak),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
        color=GREY,
    )


def plot_fewer_threads(axes, table):
    """Plot the rates of aefast alone, with open markers."""
    flops, rates = series(table, "gflops").get("aefast", ((), ()))
    colour, marker = STYLES["aefast"]
    style = {"marker": marker, "markersize": 6, "markerfacecolor": "white", "linestyle": ":"}
    label = f"aefast, {in_threads(table)}"
    axes.plot(flops, rates, label=label, color=colour, linewidth=1.3, zorder=3, **style)
    return list(rates)


def draw_rates(axes, group):
    """Draw the upper panel: GFLOP/s under the ceilings."""
    lines = series(group[0], "gflops")
    plot_lines(axes, lines)
    rates = [rate for _, values in lines.values() for rate in values]
    for table in group[1:]:
        rates += plot_fewer_threads(axes, table)
    peak = group[0]["peak_gflops"]
    low, high = min(rates) / 1.5, max([*rates, peak or 0]) * 1.6
    axes.set_ylim(low, high)
    label_ticks(axes.yaxis, low, high, "")
    axes.set_ylabel("GFLOP/s")
    for table in group:
        if table["peak_gflops"]:
            draw_ceiling(axes, table)
    if peak:
        share = axes.secondary_yaxis(
            "right", functions=(lambda y: 100 * y / peak, lambda y: y * peak / 100)
        )
        label_ticks(share.yaxis, 100 * low / peak, 100 * high / peak, " %")
        share.set_ylabel("of the peak")
    # The legend has the order of the lines' right ends: fastest at the largest shape first.
    handles, labels = axes.get_legend_handles_labels()
    ends = {name: values[-1] for name, (_, values) in lines.items()}
    order = sorted(range(len(labels)), key=lambda i: -ends.get(labels[i], 0))
    axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="lower right",
        frameon=False,
        ncols=2,
    )


def draw_ratios(axes, summary):
    """Draw the lower panel: ratios of each rival's time to aefast's."""
    lines = series(summary, "ratio")
    plot_lines(axes, lines)
    values = [ratio for _, ratios in lines.values() for ratio in ratios]
    low, high = min(values) / 1.3, max(values) * 1.3
    axes.set_ylim(low, high)
    label_ticks(axes.yaxis, low, high, " \N{MULTIPLICATION SIGN}")
    axes.set_ylabel("time / aefast's time")


def draw(group, subtitle, path):
    """Write the picture as PNG: a panel of rates and, where there are rivals, one of ratios.

    The tables of ``group`` differ in threads; the first shows all rivals, the others aefast.
    """
    from matplotlib.figure import Figure

    summary = group[0]
    with_ratios = len(series(summary, "ratio")) > 1
    figure = Figure(figsize=(10.5, 8.8 if with_ratios else 6.0), dpi=130, layout="constrained")
    panels = figure.subplots(
        2 if with_ratios else 1,
        1,
        sharex=True,
        squeeze=False,
        height_ratios=(3, 2)[: 1 + with_ratios],
    )[:, 0]
    draw_rates(panels[0], group)
    if with_ratios:
        draw_ratios(panels[1], summary)
    flops = [shape["flop_per_step"] for shape in summary["shapes"]]
    labels = [f"{s['d']} \N{MULTIPLICATION SIGN} {s['k']}\nn = {s['n']}" for s in summary["shapes"]]
    panels[-1].set_xlim(min(flops) / 1.7, max(flops) * 1.7)
    panels[-1].set_xticks(flops, labels)
    panels[-1].set_xticks([], minor=True)
    panels[-1].set_xlabel(
        "features \N{MULTIPLICATION SIGN} components, n rows a batch;"
        " placed by a step's operations, 10ndk"
    )
    figure.suptitle(TITLE, x=0.012, ha="left", fontsize=13, fontweight="bold")
    panels[0].set_title(subtitle, loc="left", fontsize=9, color=GREY)
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    figure.savefig(temporary, format="png")
    os.replace(temporary, path)
