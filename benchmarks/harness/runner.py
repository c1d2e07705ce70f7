"""Runs of all measurements, each in a process of its own, with the rivals in turn."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 900  # seconds; torch.compile of the largest shape takes less than one minute


@dataclass(frozen=True)
class Setting:
    """Setting of one table, whose rows are shapes and rivals."""

    measure: str = "step"
    solver: str = "sgd"
    threads: int = 2
    precision: str = "float32"
    data: str | None = None  # pixels; None: random numbers


class WorkerFailed(Exception):
    """Error: a measurement ended without a result; the message is the last line it wrote."""


def run_worker(peer, shape, path=None, **options):
    """Measure one rival in a process of its own and return its result, a dict.

    ``peer`` is the rival's class, ``shape`` a name; the options are those of
    ``benchmarks.harness.worker``. ``path`` lists the folders to import from before any other, these
    benchmarks included; None means this checkout.
    """
    flags = [] if path is None else ["-P"]  # -P: do not import from the working folder
    command = [sys.executable, *flags, "-m", "benchmarks.harness.worker", peer.name, shape]
    for name, value in options.items():
        if value is not None:
            command += [f"--{name}", str(value)]
    environment = {**os.environ, **peer.environment(options.get("threads", 1))}
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
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


def measure_all(peers, shapes, settings, *, repeats, budget, session, progress):
    """Measure every rival at every shape and setting, ``repeats`` times.

    Rivals take turns, so that changes in the speed of the machine affect all alike. The function
    yields one record, a dict, after each measurement. It has the fields of `Setting`, ``shape``,
    ``peer``, ``turn`` (the session and the repeat), and either ``result``, the worker's result, or
    ``error``, a message. Records of the rival "peak" have the rate of the multiply-add loop,
    measured in the same turn.
    """
    failed = set()
    for repeat in range(repeats):
        # Each repeat starts with another rival, so that none is always first.
        turn = [peers[(i + repeat) % len(peers)] for i in range(len(peers))]
        for setting in settings:
            for shape in shapes:
                progress(f"repeat {repeat + 1} of {repeats}, {shape.name}, {setting.solver}")
                where = {"turn": f"{session} {repeat}", "shape": shape.name, **vars(setting)}
                for peer in turn:
                    if setting.precision not in peer.precisions():
                        continue
                    if (peer, setting, shape) in failed:
                        continue  # a repeat would fail again
                    if peer.name == "aefast" and (peak := measure_peak(peer, setting)):
                        yield {**where, "peer": "peak", "result": peak}
                    try:
                        result = run_worker(peer, shape.name, **vars(setting), budget=budget)
                        yield {**where, "peer": peer.name, "result": result}
                    except WorkerFailed as error:
                        failed.add((peer, setting, shape))
                        yield {**where, "peer": peer.name, "error": str(error)}


def measure_peak(peer, setting):
    """Return the result of the multiply-add loop, or None if aefast does not run.

    The reason is then in the record of aefast itself.
    """
    options = {"threads": setting.threads, "precision": setting.precision, "budget": 0.3}
    try:
        return run_worker(peer, "tiny", measure="peak", **options)
    except WorkerFailed:
        return None
