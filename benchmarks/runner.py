"""Starts one process per measurement, and lets the rivals take turns."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 900  # seconds; torch.compile of the largest shape takes less than one minute


class WorkerFailed(Exception):
    """A measurement ended without a result; the message is the last line it wrote."""


def run_worker(peer, shape, **options):
    """Measure one rival in a process of its own and return its result, a dict.

    ``peer`` is the rival's class, ``shape`` a name; the options are those of ``benchmarks.worker``.
    """
    command = [sys.executable, "-m", "benchmarks.worker", peer.name, shape]
    for name, value in options.items():
        if value is not None:
            command += [f"--{name}", str(value)]
    environment = {**os.environ, **peer.environment(options.get("threads", 1))}
    try:
        process = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise WorkerFailed(f"no result within {TIMEOUT} s") from None
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
        raise WorkerFailed(lines[-1])
    return json.loads(process.stdout.splitlines()[-1])


def measure_all(peers, shapes, *, repeats, progress, **options):
    """Measure every rival at every shape, ``repeats`` times; in turns, so drift hits all alike.

    Returns ``(records, peaks)``: ``records[shape][peer]`` is a list of a worker's results, one a
    repeat, or the message of its failure; ``peaks`` are flop/s of the multiply-add loop, measured
    before each turn. Ctrl-C ends the measurements and keeps those there are.
    """
    records = {shape.name: {peer.name: [] for peer in peers} for shape in shapes}
    peaks = []
    try:
        for repeat in range(repeats):
            # each repeat starts with another rival, so that none is always first
            turn = [peers[(i + repeat) % len(peers)] for i in range(len(peers))]
            for shape in shapes:
                progress(f"repeat {repeat + 1} of {repeats}, {shape.name}")
                measure_turn(turn, shape, records[shape.name], peaks, options)
    except KeyboardInterrupt:
        progress("interrupted")
    return records, peaks


def measure_turn(peers, shape, results, peaks, options):
    """Each rival once at one shape; adds to ``results`` and ``peaks``."""
    for peer in peers:
        if isinstance(results[peer.name], str):
            continue  # it failed before, and would again
        if peer.name == "aefast" and (peak := measure_peak(peer, options["threads"])):
            peaks.append(peak)
        try:
            results[peer.name].append(run_worker(peer, shape.name, **options))
        except WorkerFailed as error:
            results[peer.name] = str(error)


def measure_peak(peer, threads):
    """The multiply-add peak in flop/s, or None where aefast does not run; its own row tells why."""
    try:
        return run_worker(peer, "tiny", measure="peak", threads=threads, budget=0.3)["flops"]
    except WorkerFailed:
        return None
