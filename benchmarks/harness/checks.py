"""Comparison of rivals with the reference, so that a fast wrong answer is not timed."""

import numpy as np

from benchmarks.harness import problems

LOSS_TOLERANCE = 1e-4  # relative, float32
PRECISION_TOLERANCE = {"float32": LOSS_TOLERANCE, "bfloat16": 1e-2}
UPDATE_TOLERANCE = 1e-3  # ‖update - reference update‖ / ‖reference update‖, float32
N_CHECKED_STEPS = 3


class WrongResult(Exception):
    """Error: the results of a rival differ from the reference."""


def check_loss(peer):
    """Compare the first batch's loss at the initial weights with the reference; return both."""
    loss = peer.loss()
    reference = problems.reference_loss(peer.problem, tied=peer.tied, output=peer.output)
    tolerance = PRECISION_TOLERANCE[peer.problem.precision]
    if not abs(loss - reference) <= tolerance * abs(reference):
        raise WrongResult(f"{peer.name}: loss {loss}, expected {reference}")
    return loss, reference


def update_errors(peer_class, shape, solver, n_threads):
    """Return the relative error of each parameter's change over three steps on three batches."""
    problem = problems.make_problem(shape, solver, n_batches=N_CHECKED_STEPS)
    peer = peer_class(problem, n_threads)
    peer.run(N_CHECKED_STEPS)
    start = problems.initial_parameters(problem, tied=peer.tied)
    expected = problems.reference_training(
        problem, N_CHECKED_STEPS, tied=peer.tied, output=peer.output
    )
    trained = peer.parameters()
    return {
        name: float(
            np.linalg.norm(trained[name] - expected[name])
            / np.linalg.norm(expected[name] - start[name])
        )
        for name in expected
    }


def check_updates(peer_class, shape, solver, n_threads):
    """Compare the parameters after three steps with the reference; return the errors."""
    errors = update_errors(peer_class, shape, solver, n_threads)
    for name, error in errors.items():
        if not error <= UPDATE_TOLERANCE:
            raise WrongResult(
                f"{peer_class.name}: the update of {name} is off by {error:.1e} of its norm"
            )
    return errors


def check_finite(peer):
    """Check the parameters after timing: a run that diverged did not do the work it claims."""
    for name, value in peer.parameters().items():
        if not np.isfinite(value).all():
            raise WrongResult(f"{peer.name}: {name} is not finite after timing")
