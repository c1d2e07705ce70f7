"""Columns of later tables beside those of the fit: their types, and what of them stays."""

import numpy as np

from aefast._base.errors import shown
from aefast.tables import roles as role
from aefast.tables.coding import Coding
from aefast.tables.columns import CATEGORY, DATE, EMPTY, NUMBER, TEXT, Column, Dtype
from aefast.tables.summary import check_finite

SUITS = {  # types of columns that the coding of a type takes
    TEXT: (TEXT, CATEGORY),
    CATEGORY: (TEXT, CATEGORY),
}


def check_type(column: Column, coding: Coding) -> None:
    """Raise ValueError for a column of another type than the fit's, or with infinite numbers."""
    if not coding.names or column.missing.all():
        return
    dtype = coding.dtype
    suits = column.kind in SUITS.get(dtype.kind, (dtype.kind,))
    if dtype.kind == DATE:
        suits &= (column.dtype.zone is None) == (dtype.zone is None)
    elif column.kind in (TEXT, CATEGORY) and column.levels:
        suits &= _are_texts(column.levels) == _are_texts(getattr(coding, "levels", []))
    if not suits:
        raise ValueError(
            f"column {coding.label!r} of X was {_described(dtype)} in the fit, and is "
            f"{_described(column.dtype)}"
        )
    if column.kind == NUMBER:
        check_finite(column, "X")


def _are_texts(levels: list) -> bool:
    return any(isinstance(level, str) for level in levels)


def _described(dtype: Dtype) -> str:
    zone = "" if dtype.zone is None else f" in {dtype.zone}"
    return f"{dtype.kind}{zone} ({shown(dtype.name)})"


def as_given(decoded: Column, given: Column, coding: Coding, gaps_only: bool) -> Column:
    """Return a decoded column with label and type of the given one, and its entries that stay."""
    label = given.label
    if not coding.names:
        is_filled = gaps_only and coding.role == role.CONSTANT and given.kind != EMPTY
        if not is_filled:
            return given._replace(label=label)
    of_other = given.kind not in SUITS.get(coding.dtype.kind, (coding.dtype.kind,))
    dtype = coding.dtype if of_other else given.dtype  # where all entries are missing
    if decoded.levels is None:
        values = decoded.values
        if gaps_only:
            values = np.where(given.missing, values, given.values)
        return Column(label, dtype, values)
    own, codes = list(decoded.levels), decoded.values
    if gaps_only and given.levels:
        own = list(dict.fromkeys([*own, *given.levels]))
        place = np.append([own.index(level) for level in given.levels], np.nan)
        at = np.where(given.missing, -1, np.nan_to_num(given.values)).astype(np.int64)
        codes = np.where(given.missing, codes, place[at])
    if dtype.kind == CATEGORY:
        categories = list(dict.fromkeys([*(dtype.categories or []), *decoded.levels]))
        dtype = dtype._replace(categories=categories)
    return Column(label, dtype, codes, own)
