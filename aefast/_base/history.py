"""History of a training: a row for each epoch."""

from typing import Any, NamedTuple

import numpy as np

from aefast._base.saving import Check, is_count, is_list_of, is_number


class Row(NamedTuple):
    """One epoch."""

    step: int  # number of updates made until its end, from the estimator's first training on
    loss: float
    validation_loss: float | None
    learning_rate: float | None  # of its last step; None: the solver has none
    seconds: float | None  # that training has taken until its end; None: not known


def as_table(rows: list[Row]) -> dict[str, list[Any]]:
    """Return a history as columns, with NaN for what there is not."""
    table: dict[str, list[Any]] = {"epoch": list(range(1, len(rows) + 1))}
    for number, name in enumerate(Row._fields):
        table[name] = [np.nan if row[number] is None else row[number] for row in rows]
    return table


def seconds_so_far(rows: list[Row]) -> float:
    """Return how long earlier epochs have taken, as far as that is known."""
    return max((row.seconds for row in rows if row.seconds is not None), default=0.0)


def best_epoch(losses: list[float], validation_losses: list[float]) -> int:
    """Return the number, from 1 on, of the first epoch of least (validation) loss; 0: no epoch."""
    curve = validation_losses or losses
    return int(np.argmin(curve)) + 1 if curve else 0


# ---- in files ----


def as_json(rows: list[Row], with_seconds: bool = False) -> list[list[Any]]:
    """Return a history for a file. Seconds differ from run to run, and models files do not."""
    return [list(row if with_seconds else row._replace(seconds=None)) for row in rows]


def from_json(rows: list[list[Any]]) -> list[Row]:
    return [Row(*row) for row in rows]


def of_curves(losses: list[float], validation_losses: list[float]) -> list[list[Any]]:
    """Return the history of a file that has curves alone."""
    found = []
    for number, loss in enumerate(losses):
        validation = validation_losses[number] if number < len(validation_losses) else None
        found.append([0, loss, validation, None, None])
    return found


def _is_row(value: Any) -> bool:
    if not (isinstance(value, list) and len(value) == len(Row._fields)):
        return False
    step, loss, *others = value
    return is_count(step) and is_number(loss) and all(x is None or is_number(x) for x in others)


HISTORY = Check(is_list_of(_is_row), "a list of rows [step, loss, validation loss, rate, seconds]")
