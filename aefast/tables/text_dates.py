"""Dates in columns of text.

Three ways to write a date say what they mean: 2024-01-31, 2024/1/31 and 31.1.2024. In 31/1/2024
and 1/31/2024, and with hyphens, day and month have the order in which every date of the whole
column, over all files of the table, is one of the calendar. Where both orders have that, or
neither, the column stays text, which a notice tells; the order can be given.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

from aefast.tables.optional import arrow

DAY_FIRST, MONTH_FIRST = "dmy", "mdy"
ORDERS = (DAY_FIRST, MONTH_FIRST)
# Patterns of RE2, which match what is meant as a date, valid or not.
_TIME = r"([ T]\d{1,2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?"
DATES = rf"^(\d{{4}}[-/]\d{{1,2}}[-/]\d{{1,2}}|\d{{1,2}}\.\d{{1,2}}\.\d{{4}}){_TIME}$"
TWO_ORDERS = rf"^(\d{{1,2}}/\d{{1,2}}/\d{{4}}|\d{{1,2}}-\d{{1,2}}-\d{{4}}){_TIME}$"
_YEAR_FIRST = {
    DAY_FIRST: (r"^(\d{1,2})[-/](\d{1,2})[-/](\d{4})", r"\3-\2-\1"),
    MONTH_FIRST: (r"^(\d{1,2})[-/](\d{1,2})[-/](\d{4})", r"\3-\1-\2"),
}
_TO_ISO = (
    (r"^(\d{1,2})\.(\d{1,2})\.(\d{4})", r"\3-\2-\1"),
    (r"^(\d{4})[-/](\d{1,2})[-/](\d{1,2})", r"\1-\2-\3"),
    (r"^(\d{4})-(\d)-", r"\1-0\2-"),
    (r"^(\d{4}-\d{2})-(\d)(\D|$)", r"\1-0\2\3"),
    (r"([ T])(\d):", r"\10\2:"),
)


def matches(column: Any, pattern: str) -> Any:
    return arrow("tables", "pyarrow.compute").match_substring_regex(column, pattern)


def _all_match(column, pattern):
    pc = arrow("tables", "pyarrow.compute")
    return column.null_count < len(column) and pc.all(matches(column, pattern)).as_py()


def as_dates(column: Any) -> Any:
    """Return texts as dates, or as dates with times, if all of them are such, of one meaning."""
    return _parsed(column) if _all_match(column, DATES) else column


def with_orders(
    file: str, table: Any, texts: Sequence[str], order: str | None
) -> tuple[Any, tuple[str, ...]]:
    """Return a table with dates of two orders read, and notices of columns that stay text.

    Parameters
    ----------
    file : str
        For notices.
    table : pyarrow.Table
    texts : sequence of str
        Columns that stay texts.
    order : str or None
        One of `ORDERS`; None: that of the whole column.
    """
    pa, notices = arrow("tables"), []
    for j, (name, column) in enumerate(zip(table.schema.names, table.columns, strict=True)):
        is_text = pa.types.is_string(column.type) and name not in texts
        if not is_text or not _all_match(column, TWO_ORDERS):
            continue
        found = {each: _parsed(column, each) for each in (ORDERS if order is None else (order,))}
        found = {each: dates for each, dates in found.items() if dates is not column}
        if len(found) == 1:
            table = table.set_column(j, name, next(iter(found.values())))
            continue
        why = "day and month may have either order" if found else "no order fits all of its dates"
        if order is not None:
            why = f"not all of its dates have the order of --dates {order}"
        advice = " (--dates dmy or --dates mdy tells it)" if found else ""
        notices.append(f"{file}: column {name!r} stays text: {why}{advice}")
    return table, tuple(notices)


def _parsed(column, order=None):
    """Return texts that match a pattern as dates, or as they are if one is not in the calendar."""
    pa, pc = arrow("tables"), arrow("tables", "pyarrow.compute")
    iso = _iso(column, order)
    if not pc.any(pc.match_substring(iso, ":")).as_py():
        kind = pa.date32()
    else:
        is_zoned = pc.any(matches(iso, r"(Z|:\d{2}[+-]\d{2}(:?\d{2})?)$")).as_py()
        kind = pa.timestamp("us", "UTC" if is_zoned else None)
    with contextlib.suppress(pa.ArrowException):
        return pc.cast(iso, kind)
    return column


def _iso(column, order=None):
    """Return dates in the way of ISO 8601: 31.1.2024 and 2024/1/31 as 2024-01-31."""
    pc = arrow("tables", "pyarrow.compute")
    for pattern, replacement in (*([] if order is None else [_YEAR_FIRST[order]]), *_TO_ISO):
        column = pc.replace_substring_regex(column, pattern, replacement)
    return column


def first_bad_date(column: Any, orders: Sequence[str | None] = (None,)) -> int | None:
    """Return the number of the first text that is no date of the calendar in any of the orders."""
    if any(_parsed(column, order) is not column for order in orders):
        return None
    pa = arrow("tables")
    written = [_iso(column, order).to_pylist() for order in orders]
    for row, fields in enumerate(zip(*written, strict=True)):
        if fields[0] is not None and not any(_is_date(pa, field) for field in fields):
            return row
    return None


def _is_date(pa, field):
    try:
        pa.scalar(field).cast(pa.timestamp("us", "UTC" if "Z" in field else None))
    except pa.ArrowException:
        return False
    return True
