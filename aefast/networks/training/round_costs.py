"""Time of training by rounds on more workers than there are: a model of what was measured.

A round with one share costs `call_seconds`, each further one `task_seconds` at the scheduler, one
after the other, and each message of m bytes m / bandwidth. With W workers, S shares of b rows and p
parameters of w bytes, a round of "rounds" takes

    parameters    call_seconds + (1 + log₂ W) p w / bandwidth   to one worker, then to the others
    tasks         (S − 1) task_seconds                          further shares, and their sums
    computation   ⌈S / W⌉ b row_seconds
    sums          (1 + log₂ min(S, W)) 8 p / bandwidth          up the tree, and to the client
    update        p update_seconds

and one of "averaging" with H local steps of b rows the same with S = n_partitions shares, H b rows
of fused steps in a share, and messages that carry the optimizer state too. The last round of a pass
counts as a whole one. The model knows neither how many passes a training needs, which larger
batches and longer ways between averages raise, nor workers that are slower than others.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from aefast._base.errors import shown
from aefast._base.partitions import Part, Partitions
from aefast.networks.training import round_tasks as tasks
from aefast.networks.training.round_tasks import LocalStart, Place, Problem
from aefast.networks.training.shares import PartitionRows, Share, division_of

REPEATS = 9
SHARE_ROWS = 512  # rows of a share whose gradient is timed
PAYLOAD = 1 << 20  # numbers of a message whose time is measured, 8 bytes each
SHARE_OF_WORK = 0.5  # of a round's time, in which a suitable batch computes


class Costs(NamedTuple):
    """Times that a prediction follows from.

    Attributes
    ----------
    call_seconds : float
        A round with a share of one row, without the time of its messages.
    task_seconds : float
        A further share in a round.
    bandwidth : float
        Bytes a second of a message to a worker or back.
    row_seconds : float
        Gradient of a row, on one worker.
    local_row_seconds : float
        A row of a fused step, on one worker.
    update_seconds : float
        Update of one parameter by a given gradient, at the client.
    n_parameters, n_states, itemsize : int
        Parameters, arrays of the optimizer state, bytes of a number.
    """

    call_seconds: float
    task_seconds: float
    bandwidth: float
    row_seconds: float
    local_row_seconds: float
    update_seconds: float
    n_parameters: int
    n_states: int
    itemsize: int


class Prediction(NamedTuple):
    """Predicted seconds of a round by its parts, and of a pass.

    Attributes
    ----------
    pass_seconds, round_seconds : float
    n_rounds : int
        Rounds of a pass.
    computing, messages, scheduling, updating : float
        Parts of a round: gradients or local steps; parameters and sums on their way; the call and
        its tasks; the update.
    """

    pass_seconds: float
    round_seconds: float
    n_rounds: int
    computing: float
    messages: float
    scheduling: float
    updating: float


def predicted_seconds(
    costs: Costs,
    n_rows: int,
    n_workers: int,
    *,
    method: str = "rounds",
    batch_size: int = 1024,
    local_steps: int = 16,
    n_partitions: int | None = None,
) -> Prediction:
    """Predict the time of a pass of training by rounds.

    Parameters
    ----------
    costs : Costs
        As measured, on few workers or one, or changed by hand (``costs._replace(bandwidth=1e9)``).
    n_rows : int
        Rows of all partitions, which are equal.
    n_workers : int
        Workers with a core each.
    method : {"rounds", "averaging"}, default="rounds"
    batch_size : int, default=1024
        Rows of a round's batch or, for "averaging", of a partition's step.
    local_steps : int, default=16
        Steps of a partition between two averages.
    n_partitions : int or None, default=None
        None: one a worker.

    Returns
    -------
    Prediction
    """
    for name, value in (
        ("n_rows", n_rows),
        ("n_workers", n_workers),
        ("batch_size", batch_size),
        ("local_steps", local_steps),
        ("n_partitions", 1 if n_partitions is None else n_partitions),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {shown(value)}")
    if method not in ("rounds", "averaging"):
        raise ValueError(f"method must be 'rounds' or 'averaging', got {shown(method)}")
    n_partitions = min(n_rows, n_workers if n_partitions is None else n_partitions)
    size = -(-n_rows // n_partitions)
    down, up = costs.n_parameters * costs.itemsize, 8 * costs.n_parameters
    if method == "rounds":
        division = division_of((size,) * n_partitions, batch_size)
        n_shares, rows, n_rounds = division.n_shares, division.share_rows, division.n_rounds
        row_seconds, updating = costs.row_seconds, costs.n_parameters * costs.update_seconds
    else:
        n_shares, rows = n_partitions, min(size, local_steps * batch_size)
        n_rounds = -(-size // rows)
        row_seconds, updating = costs.local_row_seconds, 0.0
        down, up = (1 + costs.n_states) * down, (1 + costs.n_states) * up
    computing = -(-n_shares // n_workers) * rows * row_seconds
    messages = (1 + math.log2(n_workers)) * down
    messages = (messages + (1 + math.log2(min(n_shares, n_workers))) * up) / costs.bandwidth
    scheduling = costs.call_seconds + (n_shares - 1) * costs.task_seconds
    seconds = computing + messages + scheduling + updating
    parts = computing, messages, scheduling, updating
    return Prediction(n_rounds * seconds, seconds, n_rounds, *parts)


def suitable_batch(costs: Costs, n_rows: int, n_workers: int, **options: Any) -> int:
    """Return the least power of two as batch size whose rounds compute for half their time.

    Parameters
    ----------
    costs, n_rows, n_workers, **options
        As for `predicted_seconds`, without `batch_size`.

    Returns
    -------
    batch_size : int
        At most n_rows, where no smaller one suffices: then more workers do not pay.
    """
    batch_size = 1
    while batch_size < n_rows:
        of = predicted_seconds(costs, n_rows, n_workers, batch_size=batch_size, **options)
        if of.computing >= SHARE_OF_WORK * of.round_seconds:
            break
        batch_size *= 2
    return min(batch_size, n_rows)


# ---- measurement ----


def nothing(part: Part) -> None:
    """Do nothing."""


def returned(part: Part, payload: Any) -> Any:
    return payload


def row_seconds(part: Part, problem: Problem, start: LocalStart) -> tuple[float, float]:
    """Return the seconds of a row in the gradient of a share, and in fused steps."""
    n = part.n_rows
    rows = PartitionRows(0, n, 0, 0, True)
    size = min(n, SHARE_ROWS)
    of_batch = {part.number: [Place(Share(0, 0, size, 0, 0), rows, 1.0)]}
    of_pass = {part.number: Place(Share(0, 0, n, 0, 0), rows, 1.0)}
    return (
        _median(lambda: tasks.gradients_of_shares(part, of_batch, problem, start.flat, None))
        / size,
        _median(lambda: tasks.local_steps(part, of_pass, problem, start)) / n,
    )


def costs_of(partitions: Partitions, problem: Problem, start: LocalStart, trainer: Any) -> Costs:
    """Measure a training's costs on an engine; `trainer` makes steps from given gradients."""
    empty = _median(lambda: partitions.map(nothing, places=[0]))
    payload = np.random.default_rng(0).random(PAYLOAD)
    both_ways = _median(lambda: partitions.map(returned, payload, places=[0]))
    bandwidth = 2 * payload.nbytes / max(both_ways - empty, 1e-9)

    def round_of(n: int) -> float:
        """Return the seconds of a round with n shares of one row each."""
        places = {
            number: [Place(Share(place, 0, 1, 0, 0), PartitionRows(place, 1, 0, 0, False), 1.0)]
            for place, number in enumerate(partitions.numbers[:n])
        }
        given = places, problem, start.flat, None
        asked = range(n)
        return _median(
            lambda: partitions.reduce(
                tasks.gradients_of_shares, tasks.combined, *given, places=asked
            )
        )

    n_parts, one = len(partitions.sizes), round_of(1)
    task = max(0.0, round_of(n_parts) - one) / (n_parts - 1) if n_parts > 1 else 0.0
    messages = (start.flat.itemsize + 8) * len(start.flat) / bandwidth
    call = max(one - messages, empty)
    of_rows = partitions.map(row_seconds, problem, start)
    gradient, n_rows = np.zeros(len(start.flat)), min(start.batch_size, *partitions.sizes)

    def update():
        trainer.step(gradient, 0.0, n_rows, 0.0)
        trainer.values()

    return Costs(
        call,
        task,
        bandwidth,
        statistics.median(one for one, _ in of_rows),
        statistics.median(one for _, one in of_rows),
        _median(update) / len(start.flat),
        len(start.flat),
        len(start.state),
        start.flat.dtype.itemsize,
    )


def _median(function: Callable[[], Any]) -> float:
    """Return the median time of a call; the first one is not counted."""
    seconds = []
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])
