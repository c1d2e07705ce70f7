"""Which columns of a file are data, which name rows, which are left out."""

import dataclasses
import re
from collections.abc import Sequence

from aefast._base.errors import shortened

_UNNAMED = re.compile(r"|Unnamed: \d+")  # "" and what pandas makes of it
_MOST_NOTED = 20


@dataclasses.dataclass(frozen=True)
class Choice:
    """Columns that the user asks for, by names, or by numbers from 1 where there are no names.

    Attributes
    ----------
    columns : sequence of str or None
        Those to read, in this order; by default all.
    drop : sequence of str
        Those to leave out.
    id : str or None
        The one that names rows.
    wanted : sequence of str or None
        Those that a model was fitted to: others are left out, with a notice, and the order of the
        file does not matter.
    """

    columns: Sequence[str] | None = None
    drop: Sequence[str] = ()
    id: str | None = None
    wanted: Sequence[str] | None = None


@dataclasses.dataclass(frozen=True)
class Selection:
    """Columns of a file by number, in the order of reading."""

    columns: tuple[int, ...]
    id_column: int | None
    names: tuple[str, ...] | None  # of `columns`
    id_name: str
    notices: tuple[str, ...]


def select(
    file: str,
    names: Sequence[str] | None,
    n_columns: int,
    choice: Choice,
    index: Sequence[str] = (),
    empty: Sequence[int] = (),
) -> Selection:
    """Return the columns to read.

    Parameters
    ----------
    file : str
        Name for messages.
    names : sequence of str or None
        Of all columns.
    n_columns : int
    choice : Choice
    index : sequence of str
        Columns that the file itself says are names of rows, as pandas writes them.
    empty : sequence of int
        Columns without name and value, as a delimiter at the end of each line makes.

    Raises
    ------
    ValueError
        If there is no such column, or two have one name, or none is left.
    """
    notices: list[str] = []
    if names is not None:
        _check_unique(file, names)
    asked = None if choice.columns is None else _numbers(file, names, n_columns, choice.columns)
    dropped = _numbers(file, names, n_columns, choice.drop)
    id_column = None if choice.id is None else _numbers(file, names, n_columns, [choice.id])[0]
    left_out = {*dropped, *empty}
    if names is not None:
        rows_named_by = _row_names(names, n_columns, index)
        rows_named_by = [j for j in rows_named_by if asked is None or j not in asked]
        left_out.update(rows_named_by)
        if id_column is None and len(rows_named_by) == 1:
            id_column = rows_named_by[0]
    keep = range(n_columns) if asked is None else asked
    columns = [j for j in keep if j not in left_out and j != id_column]
    full = None if names is None else _full_names(names)
    if full is not None and choice.wanted is not None:
        columns = _wanted(file, full, columns, choice.wanted, notices)
    if not columns:
        raise ValueError(f"{file}: no column is left to read of {n_columns:,}")
    return Selection(
        tuple(columns),
        id_column,
        None if full is None else tuple(full[j] for j in columns),
        _id_name(names, id_column),
        tuple(notices),
    )


def listed(names: Sequence[str]) -> str:
    """Return names for a message, not more than a line or two."""
    text = ", ".join(map(repr, names[:_MOST_NOTED]))
    return text if len(names) <= _MOST_NOTED else f"{text}, … ({len(names):,} in all)"


def _check_unique(file, names):
    seen: dict[str, int] = {}
    for j, name in enumerate(names):
        if name and name in seen:
            raise ValueError(
                f"{file}: columns {seen[name] + 1} and {j + 1} have the same name, "
                f"{shortened(repr(name))}"
            )
        seen[name] = j


def _numbers(file, names, n_columns, asked):
    """Return the numbers, from 0, of columns that are asked for."""
    return [_number(file, names, n_columns, column) for column in asked]


def _number(file, names, n_columns, column):
    if names is not None:
        if column in names:
            return list(names).index(column)
        raise ValueError(f"{file}: no column {column!r}; its columns: {listed(names)}")
    if column.isdecimal() and 1 <= int(column) <= n_columns:
        return int(column) - 1
    raise ValueError(
        f"{file} has no names of columns: expected a number from 1 to {n_columns}, got {column!r}"
    )


def _row_names(names, n_columns, index):
    """Return the columns that name rows: those of pandas' index, or a first one without a name."""
    if index:
        return [j for j, name in enumerate(names) if name in index]
    first_is = n_columns > 1 and _UNNAMED.fullmatch(names[0]) and any(names[1:])
    return [0] if first_is else []


def _full_names(names):
    return [name or f"column {j + 1}" for j, name in enumerate(names)]


def _id_name(names, id_column):
    if id_column is None:
        return ""
    if names is None:
        return "id"
    return (
        ""
        if re.fullmatch(r"Unnamed: \d+|__index_level_\d+__", names[id_column])
        else names[id_column]
    )


def _wanted(file, names, columns, wanted, notices):
    """Return the columns of a model, in its order."""
    place = {names[j]: j for j in columns}
    missing = [name for name in wanted if name not in place]
    if missing:
        raise ValueError(
            f"{file}: expected the columns that the model was fitted on; missing: "
            f"{listed(missing)}; it has {listed(list(place))}"
        )
    known = set(wanted)
    more = [name for name in place if name not in known]
    if more:
        notices.append(f"{file}: columns that the model does not know are left out: {listed(more)}")
    return [place[name] for name in wanted]
