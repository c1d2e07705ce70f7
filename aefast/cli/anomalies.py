"""Command `aefast anomalies`: the strangest rows of a table, with their reasons."""

import contextlib
from typing import Any

import numpy as np

import aefast
from aefast.cli.common import (
    DATA_HELP,
    TABLE_HELP,
    add_reading,
    add_seed,
    add_threads,
    describe,
    model_path,
    read_data,
    report,
)
from aefast.cli.table_models import add_roles, texts_of, texts_of_model
from aefast.plotting.anomalies import rows_of, text_of
from aefast.tables.outputs import check_can_write_file, check_can_write_table
from aefast.tables.sources import paths_of
from aefast.tables.writers import write_columns

_REASONS = 3
_PRINTED = 10


def add_anomalies(command):
    describe(
        command,
        _anomalies,
        "One line for each of the strangest rows, the strangest first: its rank, its name or "
        "number, its score in nats (HIGHER = STRANGER), its p-value (the share of rows left out "
        "of the fit that are as strange), and the three variables that surprise most, with the "
        "surprise beyond the usual in nats, the value, and what was expected. Columns may have "
        "text, dates and gaps.",
        {
            "contamination": "--contamination",
            "false_alarm_rate": "--false-alarm-rate",
            "n_threads": "--threads",
        },
    )
    add = command.add_argument
    add("data", metavar="DATA", help=DATA_HELP)
    add(
        "-o",
        "--out",
        metavar="FILE",
        default="-",
        help=f"{TABLE_HELP} (default: %(default)s)",
    )
    add("--top", type=int, default=50, metavar="N", help="rows to list (default: %(default)s)")
    add(
        "--contamination",
        type=float,
        metavar="F",
        help="share of strange rows, for the threshold; by default it follows from "
        "--false-alarm-rate",
    )
    add(
        "--false-alarm-rate",
        type=float,
        default=0.05,
        metavar="F",
        help="share of usual rows beyond the threshold (default: %(default)s)",
    )
    add(
        "--labels",
        metavar="NAME",
        help="a column to learn from: 1 for known anomalies, 0 for known usual rows, else nothing",
    )
    add("--using", metavar="MODEL", help="a detector that was saved, in the place of a new one")
    add("--model", metavar="FILE", help="save the detector")
    add("--plot", metavar="FILE.png", help="draw the scores, and the strangest rows by variable")
    add("--quiet", action="store_true", help="no summary")
    add_seed(command, "the rows left out")
    add_threads(command)
    add_reading(command)
    add_roles(command)


def _anomalies(arguments):
    _check(arguments)
    detector, table, labels = _detector_and_table(arguments)
    rows = table.rows
    if arguments.using is None:
        detector.fit(rows, anomaly_labels=labels)
    strangeness = -detector.score_samples(rows)
    order = np.argsort(-strangeness, kind="stable")[: arguments.top]
    columns = _columns(detector, table, order, strangeness)
    if arguments.out != "-" or not arguments.json:
        write_columns(arguments.out, columns)
    outputs = [] if arguments.out == "-" else [arguments.out]
    if arguments.model is not None:
        detector.save(arguments.model)
        outputs.append(arguments.model)
    if arguments.plot is not None:
        from aefast import plotting
        from aefast.plotting.anomalies import anomalies

        picture = anomalies(detector, rows, table.labels(range(len(table))))
        plotting.save(picture, arguments.plot)
        outputs.append(arguments.plot)
    n_strange = int((strangeness > -detector.offset_).sum())
    facts = {
        "data": arguments.data,
        "n_rows": len(table),
        "variables": list(map(str, detector.variables_)),
        "threshold": -detector.offset_,
        "n_beyond": n_strange,
        "outputs": outputs,
        "anomalies": columns,
    }
    report(arguments, _summary(table, columns, -detector.offset_, n_strange, outputs), facts)


def _check(arguments):
    if arguments.top < 1:
        raise ValueError(f"--top must be at least 1, got {arguments.top}")
    if arguments.using is not None and (arguments.labels or arguments.role):
        raise ValueError("--using takes a fitted detector: expected no --labels and no --role")
    inputs = paths_of(arguments.data)
    inputs += [] if arguments.using is None else [model_path(arguments.using)]
    check_can_write_table(arguments.out, inputs, has_text=True)
    for path in (arguments.model, arguments.plot):
        if path is not None:
            check_can_write_file(path, inputs)


def _detector_and_table(arguments):
    """Return the detector, fitted with --using alone, DATA, and the labels or None."""
    if arguments.using is not None:
        detector = aefast.load(model_path(arguments.using))
        if not isinstance(detector, aefast.AnomalyDetector):
            raise ValueError(
                f"--using: expected an anomaly detector, got a {type(detector).__name__}"
            )
        detector.set_params(n_threads=arguments.threads)._validate_params()
        names = getattr(detector, "feature_names_in_", None)
        wanted = None if names is None else [str(name) for name in names]
        is_of_tables = detector.encoder_ is not None
        table = read_data(
            arguments,
            gaps=True,
            wanted=wanted,
            texts=texts_of_model(detector),
            numeric=not is_of_tables,
        )
        return detector, table.as_frame() if is_of_tables else table, None
    table = read_data(arguments, gaps=True, texts=texts_of(arguments.role))
    labels = None
    if arguments.labels is not None:
        table, labels = _without_labels(table, arguments.labels)
    contamination = "auto" if arguments.contamination is None else arguments.contamination
    detector = aefast.AnomalyDetector(
        contamination=contamination,
        false_alarm_rate=arguments.false_alarm_rate,
        roles=dict(arguments.role) or None,
        random_state=arguments.seed,
        n_threads=arguments.threads,
    )
    # names of columns come with frames alone
    return detector, table.as_frame() if table.feature_names is not None else table, labels


def _without_labels(table, name):
    """Return the table without the column of labels, and these, NaN for unknown ones."""
    rest, column = table.without(name)
    labels = np.full(len(column), np.nan)
    for row, value in enumerate(column):
        if value is None:
            continue
        if value not in (0, 1):
            place = table.place(row, list(table.feature_names).index(name))
            raise ValueError(f"{place}: expected 0, 1 or nothing as a label, got {value!r}")
        labels[row] = value
    return rest, labels


def _columns(detector, table, order, strangeness):
    """Return the columns of the result, by name."""
    rows = rows_of(table.rows, order)
    columns: dict[str, Any] = {"rank": np.arange(1, len(order) + 1)}
    if table.ids is None:
        columns["row"] = order + 1
    else:
        columns[table.ids.name or "id"] = [table.ids.values[row] for row in order]
    columns["score"] = strangeness[order]
    try:
        columns["p_value"] = detector.p_values(rows)
    except ValueError:  # no rows were left out
        columns["p_value"] = np.full(len(order), np.nan)
    reasons = detector.explain(rows, top=_REASONS)
    of_rows: list[list] = [[] for _ in order]
    names = ("row", "variable", "surprise", "value", "expected")
    for row, *reason in zip(*(list(reasons[name]) for name in names), strict=True):
        of_rows[row].append(reason)
    for rank in range(min(_REASONS, len(detector.variables_))):
        found = [line[rank] if rank < len(line) else [None] * 4 for line in of_rows]
        for name, values in zip(names[1:], zip(*found, strict=True), strict=True):
            is_number = name == "surprise"
            columns[f"{name}_{rank + 1}"] = [
                value if is_number or value is None else text_of_value(value) for value in values
            ]
    return columns


def text_of_value(value):
    """Return the text of a value; the columns of a result have values of many variables."""
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def _summary(table, columns, threshold, n_strange, outputs):
    n = len(table)
    lines = [
        f"{table.name}: {n:,} rows, {n_strange:,} ({n_strange / n:.1%}) beyond the threshold of "
        f"{threshold:.4g} nats",
        "",
    ]
    id_name = list(columns)[1]
    for i in range(min(_PRINTED, len(columns["rank"]))):
        reason = "; ".join(
            f"{columns[f'variable_{k}'][i]} {_short(columns[f'value_{k}'][i])} "
            f"(expected {_short(columns[f'expected_{k}'][i])})"
            for k in range(1, _REASONS + 1)
            if columns.get(f"variable_{k}", [None] * n)[i] is not None
        )
        name = str(columns[id_name][i])
        lines.append(
            f"{columns['rank'][i]:>4}  {name:<12} {columns['score'][i]:>8.3g} nats  {reason}"
        )
    return "\n".join([*lines, "", ", ".join(outputs)])


def _short(text):
    """Return the text of a value for the eye."""
    with contextlib.suppress(ValueError):
        return text_of(float(text))
    return text_of(text)
