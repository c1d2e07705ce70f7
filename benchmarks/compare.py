"""``python -m benchmarks.compare BASE HEAD``: guard against regressions of the speed of training.

BASE and HEAD are checkouts (folders) or git revisions of this checkout. Each is built and installed
into a folder of its own. Then the benchmarks of this checkout measure pairs of processes, one for
each version, alternately base first and head first. For each shape and solver the command prints
the median of the ratios (head's time over base's, pair by pair) with a distribution-free confidence
interval. Head is slower if the whole interval lies above 1 + margin; then the exit code is 1.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from math import comb
from pathlib import Path
from statistics import median

from benchmarks.harness import runner
from benchmarks.harness.problems import LEARNING_RATES, SHAPES, parse_shape
from benchmarks.harness.summary import seconds_per_step
from benchmarks.peers import load_peers

CONFIDENCE = 0.95
# With fewer pairs even the smallest and largest ratio enclose the median with less than 95 %.
FEWEST_PAIRS = 6


def interval(ratios):
    """Return the narrowest interval that contains the median with probability `CONFIDENCE`.

    Its ends are the ratios of equal rank from below and from above. Each ratio is below the median
    with probability 1/2, so that the number of ratios below it is binomial (Thompson 1936).
    """
    ordered, n = sorted(ratios), len(ratios)
    rank, outside = 0, 2 / 2**n  # probability that the median is beyond the extremes
    while rank + 1 < n - rank - 1 and outside + 2 * comb(n, rank + 1) / 2**n <= 1 - CONFIDENCE:
        rank += 1
        outside += 2 * comb(n, rank) / 2**n
    return ordered[rank], ordered[n - 1 - rank]


def is_slower(ratios, margin):
    return interval(ratios)[0] > 1 + margin


# ---- builds ----


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def source_of(name, folder):
    """Return a checkout's folder, or unpack a revision into `folder` and return the source."""
    if Path(name).is_dir():
        return Path(name).absolute()
    archive = folder / "archive.tar"
    run("git", "archive", "--output", archive, name, cwd=runner.ROOT)
    source = folder / "source"
    source.mkdir()
    run("tar", "--extract", "--file", archive, "--directory", source)
    return source


def build(name, folder):
    """Build and install a checkout or revision; return the folder to import it from.

    The dependencies are the packages of the running environment.
    """
    folder.mkdir()
    site = folder / "site"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", site]
    run(sys.executable, "-m", "pip", "install", *options, source_of(name, folder))
    return site


def check_is_built(name):
    """Return the folder of a checkout, or exit if it has not been built in place."""
    if not list(Path(name, "aefast").rglob("_autoencoder*.so")):
        raise SystemExit(
            f"{name}: expected a checkout built in place (pip install -e), as --built says"
        )
    return Path(name).absolute()


# ---- turns ----


def measure(site, shape, options, solver, tools):
    """Return the seconds of a step with the aefast installed in `site`.

    The folder `tools` has these benchmarks and no aefast.
    """
    result = runner.run_worker(
        load_peers()["aefast"],
        shape.name,
        path=[site, tools],
        solver=solver,
        threads=options.threads,
        measure=options.measure,
        budget=options.budget,
    )
    if Path(site) not in Path(result["module"]).parents:
        raise SystemExit(f"expected the aefast in {site}, got {result['module']}")
    return seconds_per_step(result)


def compare(sites, shape, solver, options, tools):
    """Return the ratios of head's time to base's, one for each pair of processes."""
    ratios = []
    for i in range(options.pairs):
        order = ("base", "head") if i % 2 == 0 else ("head", "base")
        seconds = {name: measure(sites[name], shape, options, solver, tools) for name in order}
        ratios.append(seconds["head"] / seconds["base"])
    return ratios


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    add = parser.add_argument
    add("base", metavar="BASE")
    add("head", metavar="HEAD")
    add("--shapes", nargs="+", default=list(SHAPES), help="names or DxKxN; default: all named ones")
    add("--solvers", nargs="+", choices=list(LEARNING_RATES), default=["sgd"], help="default: sgd")
    add("--measure", choices=("step", "epoch"), default="step", help="default: step")
    add("--threads", type=int, default=2, help="default: 2")
    add("--pairs", type=int, default=9, help="of processes, at least 6; default: 9")
    add("--budget", type=float, default=0.3, help="seconds of timing a process; default: 0.3")
    add("--margin", type=float, default=0.05, help="slower by no more passes; default: 0.05")
    add("--built", action="store_true", help="BASE and HEAD are checkouts built in place")
    options = parser.parse_args(arguments)
    if options.pairs < FEWEST_PAIRS:
        parser.error(f"--pairs: expected at least {FEWEST_PAIRS}, got {options.pairs}")
    try:
        options.shapes = [parse_shape(text) for text in options.shapes]
    except ValueError as error:
        parser.error(f"--shapes: {error}")
    return options


def main(arguments=None):
    options = parse_arguments(arguments)
    slower = []
    with tempfile.TemporaryDirectory() as folder:
        tools = Path(folder, "tools")
        tools.mkdir()
        os.symlink(runner.ROOT / "benchmarks", tools / "benchmarks")
        names = {"base": options.base, "head": options.head}
        if options.built:
            sites = {role: check_is_built(name) for role, name in names.items()}
        else:
            sites = {role: build(name, Path(folder, role)) for role, name in names.items()}
        for solver in options.solvers:
            for shape in options.shapes:
                ratios = compare(sites, shape, solver, options, tools)
                low, high = interval(ratios)
                verdict = "SLOWER" if is_slower(ratios, options.margin) else "ok"
                label = f"{shape.name} ({shape.label}), {solver}"
                ratio = f"{median(ratios):.3f} [{low:.3f}, {high:.3f}]"
                print(f"{label:<36} head / base {ratio}  {verdict}", flush=True)
                slower += [label] * (verdict == "SLOWER")
    if slower:
        raise SystemExit(
            f"head is slower than base by more than {options.margin:.0%} at: {'; '.join(slower)}"
        )


if __name__ == "__main__":
    main()
