"""Seconds to the errors of deep autoencoders on MNIST: ``python -m benchmarks.quality_deep``.

Each method trains alone in a process of its own; after each epoch the squared error of an image is
measured, whose seconds do not count. Whole runs are appended to a record, from which the tables and
the picture are made: a run that is in the record is not made again, so that the hours of a full
record may be cut anywhere.
"""

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.deep import methods
from benchmarks.deep.problem import SHAPES, images
from benchmarks.harness import machine, report
from benchmarks.harness.runner import ROOT

QUICK = ("aefast, Adam", "aefast, Muon", "PyTorch, AdamW", "PyTorch, Muon")
QUICK_SECONDS, FULL_SECONDS = 480, 3600
LIMIT_FACTOR = 3  # of the seconds of training: errors are measured too, and caches are filled
COLOURS = (
    *("#000000", "#0072B2", "#888888", "#D55E00", "#E69F00", "#332288"),
    *("#009E73", "#44AA99", "#56B4E9", "#CC79A7", "#AA4499", "#999933"),
)


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality_deep", description=__doc__)
    add = parser.add_argument
    add("--mnist", metavar="FILE", help=".npz file with x_train, y_train, x_test and y_test")
    add("--record", type=Path, help="file of runs, one line of JSON each, to append to")
    add("--networks", nargs="+", choices=SHAPES, default=["deep"])
    add("--methods", nargs="+", choices=methods.METHODS, metavar="METHOD", help="default: all")
    add("--quick", action="store_true", help=f"four methods for {QUICK_SECONDS} s each")
    add("--seconds", type=float, help=f"of training of a run; default: {FULL_SECONDS}")
    add("--rows", type=int, help="number of images to use; default: all")
    add("--threads", type=int, default=2)
    add("--out", type=Path, help="file for the tables as Markdown")
    add("--picture", type=Path, help="file for a picture of the error over seconds")
    add("--worker", nargs=2, metavar=("NETWORK", "METHOD"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.mnist is None and (options.worker or options.record is None):
        parser.error("give --mnist FILE, or a --record to print")
    options.seconds = options.seconds or (QUICK_SECONDS if options.quick else FULL_SECONDS)
    options.methods = options.methods or (QUICK if options.quick else list(methods.METHODS))
    return options


# ---- runs ----


def work(options):
    """Train by one method; the curve goes to the standard output."""
    network, method = options.worker
    given = images(options.mnist, options.rows)
    methods.METHODS[method](given, SHAPES[network], options.seconds, options.threads)


def run_of(options, network, method):
    """Return the record of a run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.quality_deep", "--worker", network, method]
    for name in ("mnist", "seconds", "threads", "rows"):
        if (value := getattr(options, name)) is not None:
            command += [f"--{name}", str(value)]
    limit = LIMIT_FACTOR * options.seconds + 300
    process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False
    )
    run = {"network": network, "method": method, "seconds": options.seconds}
    run |= {"threads": options.threads, "date": datetime.date.today().isoformat()}
    if process.returncode:
        lines = process.stderr.strip().splitlines()
        return run | {"error": lines[-1] if lines else f"exit status {process.returncode}"}
    return run | {"curve": [json.loads(line) for line in process.stdout.splitlines()]}


def read(path):
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def record(options):
    """Make the runs that the record does not have; return all of them, with the machine's facts."""
    lines = read(options.record)
    if options.mnist is None:
        return lines
    done = {(run["network"], run["method"]) for run in lines if "curve" in run}
    added = [{"machine": machine.describe()}]
    for network in options.networks:
        for method in options.methods:
            if (network, method) in done:
                continue
            print(f"{SHAPES[network].name}, {method}: {options.seconds:g} s", flush=True)
            added.append(run_of(options, network, method))
            if options.record:
                fresh = added if len(added) == 2 else added[-1:]
                with open(options.record, "a", encoding="utf-8") as file:
                    file.writelines(json.dumps(line) + "\n" for line in fresh)
    return lines + (added if len(added) > 1 or not lines else [])


# ---- tables and picture ----


def seconds_to(curve, kind, level):
    """Return the seconds at the end of the first epoch with an error of `level` at most."""
    return next((row["seconds"] for row in curve if row[kind] <= level), None)


def table_of(runs, shape, kind, levels):
    """Return the lines of a Markdown table: seconds to each level, and the least error."""
    rows = []
    for run in runs:
        curve = run.get("curve")
        if not curve:
            rows.append([run["method"], run.get("error", "no epoch"), *[""] * len(levels)])
            continue
        found = [seconds_to(curve, kind, level) for level in levels]
        best = min(curve, key=lambda row: row[kind])
        cells = ["—" if seconds is None else f"{seconds:.0f}" for seconds in found]
        rows.append([run["method"], *cells, f"{best[kind]:.2f} at {best['seconds']:.0f} s"])
    headings = ["method", *(f"{level:g}" for level in levels), "least"]
    title = f"{shape.name}: seconds to {kind} errors"
    return [f"### {title}", "", *report.markdown_lines(headings, rows), ""]


def tables_of(lines):
    out, machines = [], [line["machine"] for line in lines if "machine" in line]
    for facts in (one for i, one in enumerate(machines) if one not in machines[:i]):
        out += [*(f"* {line}" for line in report.machine_lines(facts)), ""]
    for name, shape in SHAPES.items():
        runs = [line for line in lines if line.get("network") == name]
        if runs:
            out += table_of(runs, shape, "test", shape.test_levels)
            out += table_of(runs, shape, "training", shape.training_levels)
    return "\n".join(out)


def draw(lines, path):
    """Draw the test error over the seconds of training, a panel for each network."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    names = [name for name in SHAPES if any(line.get("network") == name for line in lines)]
    figure = Figure(figsize=(6 * len(names), 4.2), layout="constrained")
    colours = dict(zip(methods.METHODS, COLOURS, strict=True))
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        runs = [line for line in lines if line.get("network") == name and line.get("curve")]
        for run in runs:
            seconds = [row["seconds"] for row in run["curve"]]
            width = 2.2 if run["method"].startswith("aefast") else 1.4
            errors = [row["test"] for row in run["curve"]]
            colour = colours[run["method"]]
            axes.plot(seconds, errors, color=colour, linewidth=width, label=run["method"])
        levels = SHAPES[name].test_levels
        axes.set(xscale="log", yscale="log", title=SHAPES[name].name, xlabel="seconds of training")
        axes.set_yticks(levels, [f"{level:g}" for level in levels], minor=False)
        axes.set_yticks([], minor=True)
        axes.set_ylim(0.9 * min(levels), 2.5 * max(levels))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.grid(True, color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("squared error of a test image")
    figure.savefig(path, dpi=90)


def main(arguments=None):
    options = parse_arguments(arguments)
    if options.worker:
        work(options)
        return
    lines = record(options)
    text = tables_of(lines)
    print(text)
    if options.out:
        report.write_text(options.out, text)
    if options.picture:
        draw(lines, options.picture)


if __name__ == "__main__":
    main()
