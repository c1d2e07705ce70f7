"""``python -m benchmarks``: measure the rivals on this machine and say how they compare."""

import argparse
import datetime
import sys
from pathlib import Path

from . import machine, report, runner
from .peers import load_peers
from .problems import LEARNING_RATES, SHAPES, parse_shape
from .summary import summarise

BUSY = 0.5  # processes that wanted a core over the last minute
QUICK = {"repeats": 1, "budget": 0.3}


def parse_arguments(arguments, peers):
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--shapes",
        nargs="+",
        metavar="SHAPE",
        default=list(SHAPES),
        help=f"names ({', '.join(SHAPES)}) or DxKxN; default: all named ones",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        metavar="PEER",
        choices=list(peers),
        default=list(peers),
        help=f"any of {', '.join(peers)}; default: all; aefast is what the ratios are to",
    )
    parser.add_argument(
        "--solver", choices=list(LEARNING_RATES), default="sgd", help="default: sgd"
    )
    parser.add_argument("--threads", type=int, default=2, help="default: 2")
    parser.add_argument(
        "--measure", choices=("step", "epoch"), default="step", help="default: step"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="processes a rival and shape; default: 5"
    )
    parser.add_argument(
        "--budget", type=float, default=1.0, help="seconds of timing a process; default: 1"
    )
    parser.add_argument("--quick", action="store_true", help="one repeat of 0.3 s: a first look")
    parser.add_argument(
        "--data", help="PATH.npz or PATH.npz:KEY with pixels; default: random numbers"
    )
    parser.add_argument("--out", type=Path, default=runner.ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    if options.quick:
        vars(options).update(QUICK)
    for name in ("threads", "repeats", "budget"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name}: expected a positive number, got {getattr(options, name)}")
    try:
        options.shapes = [parse_shape(text) for text in options.shapes]
    except ValueError as error:
        parser.error(f"--shapes: {error}")
    if options.data:
        options.data = str(Path(options.data).absolute())
    return options


def show_progress(text):
    """Write over the last line on a terminal, a line each elsewhere; an empty text clears it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def warn_of_load(load):
    """Say so where other work shares the cores: threads that spin then wait for it."""
    if load and load[0] > BUSY:
        message = f"warning: the load average is {load[0]:.1f}; figures of a busy machine mislead"
        print(message, file=sys.stderr)


def measure(options, peers):
    """Run it all; everything there is to know of the run, as one dict."""
    settings = {
        **vars(options),
        "shapes": [shape.name for shape in options.shapes],
        "out": str(options.out),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    facts = machine.describe()
    warn_of_load(facts["load before"])
    records, peaks = runner.measure_all(
        peers,
        options.shapes,
        repeats=options.repeats,
        progress=show_progress,
        solver=options.solver,
        threads=options.threads,
        measure=options.measure,
        budget=options.budget,
        data=options.data,
    )
    show_progress("")
    return {
        "settings": settings,
        "machine": facts,
        "summary": summarise(records, options.shapes, peaks),
        "peaks": peaks,
        "records": records,
    }


def main(arguments=None):
    all_peers = load_peers()
    options = parse_arguments(arguments, all_peers)
    chosen = [peer for name, peer in all_peers.items() if name in options.peers]
    peers = [peer for peer in chosen if peer.available()]
    missing = [peer.name for peer in chosen if not peer.available()]
    if not peers:
        sys.exit(f"none of these is installed: {', '.join(missing)}")
    options.out.mkdir(parents=True, exist_ok=True)
    content = measure(options, peers)
    print(report.text(content, peers, missing), end="\n\n")
    stem = f"{options.measure}-{options.solver}-{options.threads}"
    for path in report.write_files(options.out / stem, content, peers, missing):
        print(f"wrote {path}")
    if failures := report.failures(content["summary"]):
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
