"""One measurement of one rival in its own process: ``python -m benchmarks.harness.worker``.

The result is a line of JSON on the standard output. `runner.run_worker` starts the process and sets
the environment variables that the rival needs.
"""

import argparse
import json
import sys

from benchmarks.harness import cores


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.harness.worker", description=__doc__
    )
    parser.add_argument("peer")
    parser.add_argument("shape", help="a name, or DxKxN")
    parser.add_argument("--measure", choices=("step", "epoch", "updates", "peak"), default="step")
    parser.add_argument("--solver", choices=("sgd", "adam"), default="sgd")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--budget", type=float, default=1.0, help="seconds of timing")
    parser.add_argument(
        "--data", help="PATH.npz or PATH.npz:KEY with pixels; default: random numbers"
    )
    return parser.parse_args(arguments)


def measure(options):
    # Imported after pinning: NumPy's BLAS starts its threads on import, and they keep their cores.
    from benchmarks.harness import checks, timing
    from benchmarks.harness.problems import load_pixels, make_problem, parse_shape
    from benchmarks.peers import load_peers

    peer_class = load_peers()[options.peer]
    shape = parse_shape(options.shape)
    if options.measure == "updates":
        errors = checks.check_updates(peer_class, shape, options.solver, options.threads)
        return {"update_errors": errors}
    pixels = load_pixels(options.data) if options.data else None
    problem = make_problem(shape, options.solver, precision=options.precision, pixels=pixels)
    peer = peer_class(problem, options.threads)
    loss, reference = checks.check_loss(peer)
    if options.measure == "step":
        seconds = timing.seconds_per_step(peer.run, peer.steps_per_call, options.budget)
    else:
        seconds = timing.seconds_per_call(peer.epoch, options.budget)
    n_steps = 1 if options.measure == "step" else problem.n_batches
    checks.check_finite(peer)
    return {
        "seconds": seconds,
        "loss": loss,
        "reference_loss": reference,
        "n_steps": n_steps,  # number of steps that each entry of seconds covers
        "module": getattr(sys.modules.get(peer.name), "__file__", None),
        "versions": peer.versions(),
        "details": peer.details(),
    }


def measure_peak(options):
    """Return the rate of fused multiply-adds on registers, in flop/s, measured by aefast's loop."""
    from aefast._base import _runtime

    return {
        "flops": _runtime.fma_peak("float32", options.threads, options.budget),
        "isa": _runtime.isa(),
    }


def main():
    options = parse_arguments()
    pinned = cores.pin(options.threads)
    result = measure_peak(options) if options.measure == "peak" else measure(options)
    print(json.dumps({**vars(options), "cores": pinned, **result}))


if __name__ == "__main__":
    main()
