"""Tables of mixed columns as inputs of ONNX graphs: what a `TableEncoder` does, as nodes.

Each column of the table that is in the encoder's matrix is an input (n, 1):

    numbers      float64, NaN where an entry is missing; durations in seconds, booleans as 0 and 1
    texts        strings, "" where an entry is missing (unless "" is a level of the fit)
    dates        float64, days since 1970-01-01 with their fractions; times as fractions of a day

Levels are looked up in a table of the rows that `Coding.encode` gives for them, so that their
coding is written once; numbers and dates are computed.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from aefast._base.types import Array
from aefast.interop.feed_forward import FeedForward, feed_forward
from aefast.interop.onnx_graph import INPUT, Graph
from aefast.interop.onnx_network import build
from aefast.tables.coding import Coding, unseen_share
from aefast.tables.codings import Dates, Levels, Numbers, Ordered
from aefast.tables.columns import Column
from aefast.tables.encoder import TableEncoder
from aefast.tables.roles import COUNT, POSITIVE
from aefast.tables.summary import DAY

MATRIX = "matrix"
OUTPUTS = ("codes", "reconstruction", "score", "decision", MATRIX)  # names that no input has
UTC = ("UTC", "Etc/UTC", "GMT", "Z", "+00:00")


def encoder_graph(encoder: TableEncoder) -> Graph:
    """Return the graph of a fitted encoder: its matrix."""
    graph, names = _with_inputs(encoder)
    graph.output(MATRIX, encoded(graph, encoder, names)[0], encoder._layout.n_columns)
    return graph


def table_graph(encoder: TableEncoder, network: FeedForward, wanted: Collection[str]) -> Graph:
    """Return the graph of a table autoencoder, with the wanted results of its network."""
    graph, names = _with_inputs(encoder)
    matrix, terms = encoded(graph, encoder, names)
    found = build(graph, network, matrix, list(wanted))
    if "score" in found:
        found["score"] = _plus_all(graph, found["score"], terms)
    graph.outputs(found, network)
    return graph


def detector_graph(detector: Any, wanted: Collection[str]) -> Graph:
    """Return the graph of an anomaly detector with a fitted network, for its scores.

    Values that the fit has not seen add the logarithms of their probability.
    """
    encoder, network = detector.encoder_, feed_forward(detector.estimator_)
    if encoder is None:
        graph, rows = Graph(network.dtype), INPUT
        terms: list[str | None] = []
        graph.input(rows, network.n_features)
    else:
        graph, names = _with_inputs(encoder)
        rows, terms = encoded(graph, encoder, names)
    score = build(graph, network, rows, ["score"])["score"]
    unseen = [
        term and graph.where(graph.of("IsNaN", graph.columns(rows, [v.columns.start])), term, 0.0)
        for v, term in zip(encoder.variables_ if terms else [], terms, strict=True)
    ]
    score = _plus_all(graph, score, unseen)
    if "score" in wanted:
        graph.output("score", score)
    if "decision" in wanted:
        graph.output("decision", graph.minus(score, detector.offset_))
    return graph


def _plus_all(graph, score, terms):
    """Return scores (n,) plus the terms (n, 1) of all variables that have some."""
    terms = [term for term in terms if term is not None]
    if not terms:
        return score
    return graph.plus(score, graph.sum_of_row(graph.add("Concat", terms, axis=1)))


def columns_property(encoder: TableEncoder) -> dict[str, str]:
    """Return the metadata of a graph: names of the matrix' columns, as JSON."""
    return {"aefast.columns": json.dumps(encoder._layout.names())}


def _with_inputs(encoder):
    """Return a graph with an input for each coded column, and the inputs' names."""
    names = input_names([coding.label for coding in encoder._layout.coded])
    prefix = "aefast."
    while any(name.startswith(prefix) for name in names):
        prefix += "."
    graph = Graph("float64", prefix)
    for name, coding in zip(names, encoder._layout.coded, strict=True):
        graph.input(name, 1, TensorProto.STRING if is_text(coding) else None)
    return graph, names


def input_names(labels: Sequence) -> list[str]:
    """Return the names of the inputs: the columns' own, numbered where one is taken."""
    taken = dict.fromkeys(OUTPUTS)
    for label in labels:
        name = unique = str(label) or "column"
        number = 2
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        taken[unique] = None
    return list(taken)[len(OUTPUTS) :]


def is_text(coding: Coding) -> bool:
    """Whether a column holds texts; ValueError where it holds texts and numbers."""
    levels = getattr(coding, "levels", [])
    texts = [isinstance(level, str) for level in levels]
    if any(texts) and not all(texts):
        raise ValueError(
            f"column {coding.label!r} has texts and numbers among its levels, and an input of ONNX "
            "has one type: make texts of them before the fit"
        )
    return any(texts)


def inputs_of(encoder: TableEncoder, X: Any) -> dict[str, Array]:
    """Return the inputs of a graph for the rows of a table."""
    columns = encoder._layout._coded(encoder._read(X)[1])
    names = input_names([coding.label for coding, _ in columns])
    return {
        name: _tensor(coding, column)[:, np.newaxis]
        for name, (coding, column) in zip(names, columns, strict=True)
    }


def _tensor(coding, column):
    texts = is_text(coding)
    if texts or column.levels is not None:
        kind, absent = (object, "") if texts else (np.float64, np.nan)
        levels = np.array([*(column.levels or []), absent], kind)
        return levels[np.where(column.missing, -1, np.nan_to_num(column.values)).astype(np.int64)]
    if isinstance(coding, Dates):
        return column.values / DAY
    return column.values / coding._unit if isinstance(coding, Numbers) else column.values


# ---- columns as nodes ----


def encoded(
    graph: Graph, encoder: TableEncoder, names: Sequence[str]
) -> tuple[str, list[str | None]]:
    """Add the nodes of all columns, and return the matrix and the terms of their scores.

    Terms (n, 1) are None for columns that have none, as in `Coding.log_terms`.
    """
    matrices, terms = [], []
    for coding, name in zip(encoder._layout.coded, names, strict=True):
        matrix, term = _CODINGS[type(coding)](graph, coding, name)
        matrices.append(matrix)
        terms.append(term)
    return graph.add("Concat", matrices, axis=1), terms


def _numbers(graph, coding, x):
    nan, missing = graph.constant(np.nan), graph.of("IsNaN", x)
    p = unseen_share(coding.n_observed)
    if coding.role not in (COUNT, POSITIVE):
        return x, None
    is_outside = "Less" if coding.role == COUNT else "LessOrEqual"
    outside = graph.add(is_outside, [x, graph.constant(0.0)])
    unusable = graph.add("Or", [outside, missing])
    value, term = graph.where(unusable, 1.0, x), graph.constant(np.log1p(-p))
    if coding.offset is not None:
        value = graph.of("Log", graph.plus(value, coding.offset))
        term = graph.minus(term, value)
    term = graph.where(missing, 0.0, graph.where(outside, np.log(p), term))
    return graph.where(unusable, nan, value), term


def _levels(graph, coding, x):
    n = len(coding.levels)
    rows, terms = _rows_of_levels(coding)
    if is_text(coding):
        keys = [*coding.levels, *([] if "" in coding.levels else [""])]
        number = graph.look_up(x, keys, n + 1)
    else:
        number = _number_of(graph, x, np.array(coding.levels, np.float64))
    number = graph.add("Reshape", [number, graph.constant([-1], np.int64)])
    matrix = graph.add("Gather", [graph.constant(rows), number], axis=0)
    return matrix, graph.add("Gather", [graph.constant(terms[:, np.newaxis]), number], axis=0)


def _rows_of_levels(coding: Any) -> tuple[Array, Array]:
    """Return rows of the matrix, and terms: of each level, of a missing entry, of any other."""
    n, other = len(coding.levels), object()
    numbers = np.array([*range(n), np.nan, n])
    column = Column(coding.label, coding.dtype, numbers, [*coding.levels, other])
    return coding.encode(column), coding.log_terms(column)


def _number_of(graph, x, levels):
    """Return the number of each entry among levels, n of missing entries, n + 1 of others."""
    n = len(levels)
    equal = graph.add("Equal", [x, graph.constant(levels[np.newaxis])])
    to_level = graph.constant((np.arange(n) - (n + 1.0))[:, np.newaxis])
    number = graph.add("MatMul", [_as_real(graph, equal), to_level])
    number = graph.minus(graph.plus(number, n + 1.0), _as_real(graph, graph.of("IsNaN", x)))
    return graph.of("Cast", number, to=TensorProto.INT64)


def _as_real(graph, flags):
    return graph.of("Cast", flags, to=graph.kind)


# ---- dates ----


def _dates(graph, coding, days):
    zone = coding.dtype.zone
    if coding.circles and zone is not None and zone not in UTC:
        raise ValueError(
            f"column {coding.label!r} has dates in the time zone {zone}, whose clock is not "
            "computed by ONNX: fit the table with dates in UTC or without a zone"
        )
    micro = graph.of("Round", graph.times(days, float(DAY)))
    parts = [graph.times(graph.minus(micro, coding.first), 1 / DAY)] if coding.has_days else []
    for circle in coding.circles:
        angle = graph.times(_turns(graph, micro, circle), 2 * np.pi)
        parts += [graph.of("Sin", angle), graph.of("Cos", angle)]
    return graph.add("Concat", parts, axis=1), None


def _turns(graph, micro, circle):
    """Return the part of the circle that has passed, in [0, 1)."""
    if circle == "year":
        return _turns_of_year(graph, graph.over(micro, float(DAY)))
    length, first = (DAY, 0) if circle == "day" else (7 * DAY, 3 * DAY)  # 1970 began on a Thursday
    circles = graph.over(graph.plus(micro, float(first)), float(length))
    return graph.minus(circles, graph.of("Floor", circles))


def _turns_of_year(graph, days):
    """Return the part of the year that has passed, in the Gregorian calendar.

    A year of 365.2425 days on average begins within two days of its average beginning, so that the
    year of a day is one of two.
    """
    guess = graph.plus(_floor_of(graph, graph.plus(days, 1.0), 365.2425), 1970.0)
    begun = graph.add("LessOrEqual", [_first_day(graph, guess), days])
    year = graph.where(begun, guess, graph.minus(guess, 1.0))
    next_year = _first_day(graph, graph.plus(year, 1.0))
    over = graph.add("LessOrEqual", [next_year, days])
    year = graph.where(over, graph.plus(year, 1.0), year)
    first = _first_day(graph, year)
    length = graph.minus(_first_day(graph, graph.plus(year, 1.0)), first)
    return graph.over(graph.minus(days, first), length)


def _first_day(graph, year):
    """Return the number of a year's first day, counted from 1970-01-01."""
    before = graph.minus(year, 1.0)
    leaps = graph.minus(_floor_of(graph, before, 4.0), _floor_of(graph, before, 100.0))
    leaps = graph.plus(leaps, _floor_of(graph, before, 400.0))
    days = graph.times(graph.minus(year, 1970.0), 365.0)
    return graph.minus(graph.plus(days, leaps), 477.0)  # leap years before 1970


def _floor_of(graph, a, b):
    return graph.of("Floor", graph.over(a, b))


_CODINGS: dict[type[Coding], Any] = {
    Numbers: _numbers,
    Levels: _levels,
    Ordered: _levels,
    Dates: _dates,
}
