"""Compare what fits without arguments learn with what their rivals learn.

Prints Markdown tables of losses, errors of imputation, accuracies and seconds. Seconds are
those of the processor, and everything uses one thread, so that neighbours matter less.
"""

import argparse
import textwrap
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.harness import machine, report
from benchmarks.quality import curves, tables
from benchmarks.quality.measures import MEASURES, Data

WIDTH = 100


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    add = parser.add_argument
    add("measures", nargs="*", help=f"any of {', '.join(MEASURES)}; default: all")
    add("--tables", metavar="FOLDER", help="folder of .npz files with X and y, 1 for an anomaly")
    add("--mnist", metavar="FILE", help=".npz file with x_train, y_train, x_test and y_test")
    add("--quick", action="store_true", help="fewer sizes, tables and rivals: a first look")
    add("--out", type=Path, help="file for the tables as Markdown")
    add("--picture", type=Path, help="file for a picture of the loss over seconds")
    options = parser.parse_args(arguments)
    for name in options.measures:
        if name not in MEASURES:
            parser.error(f"unknown measure {name!r}: expected any of {', '.join(MEASURES)}")
    return options


def sections(data, names):
    """Yield a section of Markdown for each measure that has rows."""
    for name in names:
        measure = MEASURES[name]
        rows = list(measure.rows(data))
        if rows:
            table = "\n".join(report.markdown_lines(measure.headings, rows))
            text = textwrap.fill(measure.text, WIDTH, break_on_hyphens=False)
            yield f"## {measure.title}\n\n{text}\n\n{table}"


def main(arguments=None):
    options = parse_arguments(arguments)
    data = Data(
        tables.small_tables(),
        tables.labelled_tables(options.tables),
        tables.digits_in_parts(),
        tables.mnist(options.mnist) if options.mnist else None,
        options.quick,
    )
    with threadpool_limits(1, user_api="blas"):
        run(data, options)


def run(data, options):
    facts = [f"* {line}" for line in report.machine_lines(machine.describe())]
    parts = ["\n".join(facts)]
    print(parts[0], flush=True)
    for section in sections(data, options.measures or MEASURES):
        print(f"\n{section}", flush=True)
        parts.append(section)
    if options.out:
        report.write_text(options.out, "\n\n".join(parts) + "\n")
    if options.picture:
        found = curves.curves(data)
        curves.draw(found, options.picture)
        for images, watches in found:
            for name, watch in watches.items():
                print(f"{images.name}, {name}: {watch.losses[-1]:.3f} in {watch.seconds[-1]:.2f} s")


if __name__ == "__main__":
    main()
