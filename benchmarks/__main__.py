"""``python -m benchmarks``: measure training steps of aefast and its rivals on this machine."""

import argparse
import datetime
import sys
from itertools import product
from pathlib import Path

from benchmarks.harness import machine, records, report, runner
from benchmarks.harness.problems import LEARNING_RATES, SHAPES, parse_shape
from benchmarks.harness.summary import summarise
from benchmarks.peers import load_peers

BUSY = 0.5  # load average of the last minute above which a warning is printed
QUICK = {"repeats": 1, "budget": 0.3}


def parse_arguments(arguments, peers):
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add(
        "--shapes",
        nargs="+",
        metavar="SHAPE",
        default=list(SHAPES),
        help=f"names ({', '.join(SHAPES)}) or DxKxN; default: all named ones",
    )
    add(
        "--peers",
        nargs="+",
        metavar="PEER",
        choices=list(peers),
        default=list(peers),
        help=f"any of {', '.join(peers)}; default: all; ratios are to aefast",
    )
    add(
        "--solvers",
        nargs="+",
        choices=list(LEARNING_RATES),
        default=list(LEARNING_RATES),
        help="default: plain gradient descent and Adam",
    )
    add("--threads", nargs="+", type=int, default=[2], help="default: 2")
    add(
        "--precisions",
        nargs="+",
        choices=("float32", "bfloat16"),
        default=machine.precisions(),
        help="default: those that this processor computes in: %(default)s",
    )
    add("--measure", choices=("step", "epoch"), default="step", help="default: step")
    add("--repeats", type=int, default=5, help="processes a rival and shape; default: 5")
    add("--budget", type=float, default=1.0, help="seconds of timing a process; default: 1")
    add("--quick", action="store_true", help="one repeat of 0.3 s: a first look")
    add("--data", help="PATH.npz or PATH.npz:KEY with pixels; default: random numbers")
    add(
        "--out",
        type=Path,
        default=runner.ROOT / "benchmarks" / "records",
        help="folder of the record, to which measurements are appended, and of tables and pictures",
    )
    add("--report", action="store_true", help="measure nothing: tables of what the record holds")
    add("--page", action="store_true", help="put tables and pictures into docs/performance.md")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.budget = QUICK["repeats"], QUICK["budget"]
    for name in ("repeats", "budget"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name}: expected a positive number, got {getattr(options, name)}")
    if min(options.threads) < 1:
        parser.error(f"--threads: expected positive numbers, got {options.threads}")
    try:
        options.shapes = [parse_shape(text) for text in options.shapes]
    except ValueError as error:
        parser.error(f"--shapes: {error}")
    if options.data:
        options.data = str(Path(options.data).absolute())
    return options


def show_progress(text):
    """Show progress on stderr: overwrite the line on a terminal, write a new line elsewhere.

    An empty text clears the line of a terminal.
    """
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def warn_of_load(load):
    """Warn if other processes use the cores, because spinning threads would wait for them."""
    if load and load[0] > BUSY:
        message = f"warning: the load average is {load[0]:.1f}; figures of a busy machine mislead"
        print(message, file=sys.stderr)


def measure(options, peers, path):
    """Run all measurements and append them to the record; Ctrl-C keeps the finished ones."""
    session = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    facts = machine.describe()
    warn_of_load(facts["load before"])
    records.append(path, {"session": session, "machine": facts})
    settings = [
        runner.Setting(options.measure, solver, threads, precision, options.data)
        for precision, threads, solver in product(
            options.precisions, options.threads, options.solvers
        )
    ]
    try:
        for record in runner.measure_all(
            peers,
            options.shapes,
            settings,
            repeats=options.repeats,
            budget=options.budget,
            session=session,
            progress=show_progress,
        ):
            records.append(path, {**record, "commit": facts["commit"]})
    except KeyboardInterrupt:
        show_progress("interrupted")
    show_progress("")


def main(arguments=None):
    all_peers = load_peers()
    options = parse_arguments(arguments, all_peers)
    chosen = [peer for name, peer in all_peers.items() if name in options.peers]
    peers = [peer for peer in chosen if peer.available()]
    missing = [peer.name for peer in chosen if not peer.available()]
    path = options.out / "record.jsonl"
    if not options.report:
        if not peers:
            sys.exit(f"none of these is installed: {', '.join(missing)}")
        options.out.mkdir(parents=True, exist_ok=True)
        measure(options, peers, path)
    found, machines, n_ignored = records.read(path)
    tables, facts = summarise(found), machines[-1]
    print(report.text(tables, facts, peers, missing), end="\n\n")
    if n_ignored:
        print(f"{n_ignored} measurements of other commits in {path} are not counted")
    for written in report.write_files(options.out, tables, facts, peers, missing):
        print(f"wrote {written}")
    if options.page:
        for written in report.write_page(runner.ROOT, tables, facts):
            print(f"wrote {written}")
    if failures := report.failures(tables):
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
