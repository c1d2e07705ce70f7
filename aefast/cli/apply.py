"""Commands `aefast encode`, `reconstruct` and `score`: apply a fitted model to a file."""

import sys

import aefast
from aefast.cli import data_files
from aefast.cli.common import (
    DATA_HELP,
    add_scale,
    add_threads,
    describe,
    inputs_of,
    read_model_and_data,
)


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
    _add_arguments(command, is_table=True)


def _add_arguments(command, is_table=False):
    add = command.add_argument
    add("model", metavar="MODEL", help="a model file, or the folder of a fit")
    add("data", metavar="DATA", help=DATA_HELP)
    if is_table:
        add("-o", "--out", metavar="S.csv", help="the file to write; by default standard output")
    else:
        add("-o", "--out", metavar="FILE.npy", required=True, help="the file to write")
    add_scale(command)
    add_threads(command)


def _read(arguments, method):
    """Return the model and the table, or raise a ValueError if the model lacks the method."""
    model, table = read_model_and_data(arguments)
    if not hasattr(model, method):
        raise ValueError(f"{arguments.model} holds {type(model).__name__}, which has no {method}")
    return model, table


def _encode(arguments):
    data_files.check_can_write_file(arguments.out, inputs_of(arguments))
    model, table = _read(arguments, "transform")
    data_files.write_array(arguments.out, model.transform(table.rows))


def _reconstruct(arguments):
    data_files.check_can_write_file(arguments.out, inputs_of(arguments))
    model, table = _read(arguments, "reconstruct")
    X_hat = model.reconstruct(table.rows)
    data_files.write_array(arguments.out, X_hat.reshape(len(X_hat), *table.row_shape))


def _score(arguments):
    if arguments.out is not None:
        data_files.check_can_write_file(arguments.out, inputs_of(arguments))
    model, table = _read(arguments, "score_samples")
    measures = {"reconstruction_error": "reconstruction_error", "mahalanobis": "mahalanobis"}
    measures["component"] = "predict"  # of a mixture
    name = next(name for name, method in measures.items() if hasattr(model, method))
    columns = {
        name: getattr(model, measures[name])(table.rows),
        "log_likelihood": model.score_samples(table.rows),
    }
    if arguments.out is None:
        data_files.write_columns(sys.stdout, columns)
    else:
        with aefast.model_file.replacing(arguments.out) as file:
            data_files.write_columns(file, columns)
