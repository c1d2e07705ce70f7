"""Commands `aefast encode`, `reconstruct` and `score`: apply a fitted model to a file."""

import numpy as np

from aefast.cli import streamed
from aefast.cli.common import (
    DATA_HELP,
    TABLE_HELP,
    add_reading,
    add_threads,
    describe,
    inputs_of,
    read_model_and_data,
    report,
)
from aefast.tables.outputs import check_can_write_table
from aefast.tables.writers import write_columns, write_frame, write_matrix


def add_encode(command):
    describe(command, _encode)
    _add_arguments(command)


def add_reconstruct(command):
    describe(command, _reconstruct)
    _add_arguments(command)


def add_score(command):
    describe(
        command,
        _score,
        "One line for each row of DATA, in order. reconstruction_error is the anomaly score: the "
        "training loss of the row in nats, HIGHER = MORE ANOMALOUS. log_likelihood is "
        "log p(x | mu(h(x))) in nats, constants included: the other way round, lower = more "
        "anomalous. A linear factor model (aefast factors) gives mahalanobis, the squared "
        "distance, in its place, and its log_likelihood is log p(x), the factors integrated out. A "
        "mixture gives the component of each row.",
    )
    _add_arguments(command, out="-")
    command.add_argument(
        "--per-variable",
        action="store_true",
        help="a column for each variable, too: its part of the log-likelihood",
    )


def _add_arguments(command, out=None):
    add = command.add_argument
    add("model", metavar="MODEL", help="a model file, or the folder of a fit")
    add("data", metavar="DATA", help=DATA_HELP)
    default = "" if out is None else " (default: %(default)s)"
    add(
        "-o",
        "--out",
        metavar="FILE",
        required=out is None,
        default=out,
        help=f"{TABLE_HELP}{default}",
    )
    add_threads(command)
    add_reading(command)
    streamed.add_stream(command)


def _read(arguments, method):
    """Return the model and the table, or raise a ValueError if the model lacks the method."""
    check_can_write_table(arguments.out, inputs_of(arguments))
    model, table = read_model_and_data(arguments)
    if not hasattr(model, method):
        raise ValueError(f"{arguments.model} holds {type(model).__name__}, which has no {method}")
    return model, table


def _encode(arguments):
    if arguments.stream:
        return streamed.apply(arguments, "transform")
    model, table = _read(arguments, "transform")
    H = model.transform(table.rows)
    _write(arguments, table, H, [str(name) for name in model.get_feature_names_out()])


def _reconstruct(arguments):
    if arguments.stream:
        return streamed.apply(arguments, "reconstruct")
    model, table = _read(arguments, "reconstruct")
    X_hat = model.reconstruct(table.rows)
    if table.is_frame:
        write_frame(arguments.out, X_hat, table.ids)
        if arguments.out != "-":
            report(arguments, "", _facts(arguments, table))
        return
    _write(arguments, table, X_hat, table.feature_names, table.row_shape)


def _write(arguments, table, rows, names, shape=()):
    if arguments.out != "-":
        write_matrix(arguments.out, rows, names, table.ids, shape)
        report(arguments, "", _facts(arguments, table) | {"n_columns": rows.shape[1]})
    elif arguments.json:
        columns = names or [f"x{j}" for j in range(rows.shape[1])]
        _report_columns(arguments, table, dict(zip(columns, rows.T, strict=True)))
    else:
        write_matrix("-", rows, names, table.ids)


def _score(arguments):
    if arguments.stream:
        return streamed.score(arguments, _scores_of_rows)
    model, table = _read(arguments, "score_samples")
    columns = _scores(model, table)
    if arguments.per_variable:
        nats = model.score_samples(table.rows, per_feature=True)
        columns |= _by_variable(nats, table.feature_names)
    if arguments.out != "-":
        write_columns(arguments.out, columns, table.ids)
        means = {f"mean {name}": np.mean(values) for name, values in columns.items()}
        report(arguments, "", _facts(arguments, table) | means)
    elif arguments.json:
        _report_columns(arguments, table, columns)
    else:
        write_columns("-", columns, table.ids)


def _scores(model, table):
    """Return the columns of scores by name: how strange a row is, and its log-likelihood."""
    return _scores_of_rows(model, table.rows)


def _scores_of_rows(model, rows):
    log_likelihood = model.score_samples(rows)
    measures = {"reconstruction_error": "reconstruction_error", "mahalanobis": "mahalanobis"}
    measures["component"] = "predict"  # of a mixture
    for name, method in measures.items():
        if hasattr(model, method):
            return {name: getattr(model, method)(rows), "log_likelihood": log_likelihood}
    return {"reconstruction_error": -log_likelihood, "log_likelihood": log_likelihood}


def _by_variable(nats, names):
    """Return columns of the log-likelihood of each variable, in the order of DATA."""
    if not isinstance(nats, np.ndarray):
        return {f"log_likelihood of {name}": nats[name].to_numpy() for name in nats.schema.names}
    names = names or [f"x{j}" for j in range(nats.shape[1])]
    return {f"log_likelihood of {name}": nats[:, j] for j, name in enumerate(names)}


def _facts(arguments, table):
    return {"data": arguments.data, "n_rows": len(table), "out": arguments.out}


def _report_columns(arguments, table, columns):
    """Print the results themselves as JSON, a list for each column."""
    ids = {} if table.ids is None else {table.ids.name or "id": list(table.ids.values)}
    report(arguments, "", ids | columns)
