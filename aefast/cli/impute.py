"""Command `aefast impute`: fill the gaps of a table."""

import math
import os
import warnings

import numpy as np

import aefast
from aefast._base.warnings import warn
from aefast.cli.common import (
    DATA_HELP,
    TABLE_HELP,
    add_checkpoints,
    add_reading,
    add_seed,
    add_threads,
    checkpoint_options,
    describe,
    read_data,
    report,
)
from aefast.cli.table_models import add_roles, texts_of
from aefast.tables.outputs import check_can_write_file, check_can_write_table
from aefast.tables.sources import paths_of
from aefast.tables.writers import write_frame, write_matrix

_NAMES = {
    "ppca": "probabilistic PCA",
    "fa": "factor analysis",
    "autoencoder": "autoencoder",
}


def add_impute(command):
    describe(
        command,
        _impute,
        "Empty fields, NA and nan of a text file are gaps, nulls and NaN of other files. A gap is "
        "filled by its mean given the other values of its row, under a model of all rows; a text "
        "by the most probable one. Columns of numbers without a value are left out.",
        {"n_components": "-k", "n_threads": "--threads", "n_draws": "--draws"},
    )
    add = command.add_argument
    add("data", metavar="DATA", help=DATA_HELP)
    add("-o", "--out", metavar="FILE", required=True, help=f"the full table, {TABLE_HELP}")
    add("--std", metavar="FILE", help="write standard deviations of what was filled in, else 0")
    add(
        "--draws",
        type=int,
        default=0,
        metavar="M",
        help="write M tables with gaps drawn at random, for multiple imputation: FILE-1.csv, ...",
    )
    add(
        "--method",
        choices=["auto", *_NAMES],
        default="auto",
        help="ppca: probabilistic PCA, fa: factor analysis, auto: the better of the two on entries "
        "hidden for it, autoencoder (default: %(default)s)",
    )
    add(
        "-k",
        "--components",
        type=int,
        metavar="K",
        help="factors or hidden units; by default chosen on hidden entries",
    )
    add("--model", metavar="MODEL", help="save the fitted imputer")
    add("--quiet", action="store_true", help="no summary")
    add_seed(command, "hidden entries and draws")
    add_threads(command)
    add_checkpoints(command)
    add_reading(command)
    add_roles(command)


def _impute(arguments):
    outputs = _outputs(arguments)
    table = read_data(arguments, gaps=True, texts=texts_of(arguments.role))
    table = table.as_frame() if arguments.role else table
    if table.is_frame:
        for path in outputs[: len(outputs) - (arguments.model is not None)]:
            check_can_write_table(path, has_text=True)
    imputer = aefast.Imputer(
        arguments.method,
        n_components="auto" if arguments.components is None else arguments.components,
        n_draws=arguments.draws,
        random_state=arguments.seed,
        n_threads=arguments.threads,
        **checkpoint_options(arguments),
    )
    if arguments.role:
        imputer.set_params(roles=dict(arguments.role))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "columns without an observed entry")
        imputer.fit(table.rows)  # told below, by names
    imputer.set_params(checkpoint=None)
    kept = None if table.is_frame else _kept_columns(table)
    results = [imputer.transform(table.rows)]
    if arguments.std is not None:
        results.append(imputer.transform_std(table.rows))
    if arguments.draws:
        results += list(imputer.sample(table.rows, random_state=arguments.seed))
    for path, rows in zip(outputs, results, strict=False):  # the last one may be the model
        _write(path, rows, table, kept)
    if table.feature_names is not None and not table.is_frame:
        imputer.feature_names_in_ = np.array(table.feature_names, dtype=object)
    if arguments.model is not None:
        imputer.save(arguments.model)
    report(arguments, *_summary(arguments, imputer, table, outputs))


def _write(path, rows, table, kept):
    """Write the columns that are kept; an array keeps its dimensions where that is all of them."""
    if kept is None:
        write_frame(path, rows, table.ids)
        return
    names = table.feature_names
    names = None if names is None else [names[j] for j in kept]
    is_whole = len(kept) == math.prod(table.row_shape)
    write_matrix(path, rows, names, table.ids, table.row_shape if is_whole else ())


def _outputs(arguments):
    """Return the files to write, checked, in the order of the results, the model last."""
    if arguments.draws < 0:
        raise ValueError(f"--draws must be at least 0, got {arguments.draws}")
    if arguments.out == "-" and (arguments.draws or arguments.json):
        raise ValueError("-o -: expected no --draws and no --json beside it")
    stem, suffix = os.path.splitext(arguments.out)
    draws = [f"{stem}-{number}{suffix}" for number in range(1, arguments.draws + 1)]
    tables = [arguments.out, *([] if arguments.std is None else [arguments.std]), *draws]
    models = [] if arguments.model is None else [arguments.model]
    if len({os.path.realpath(path) for path in tables + models}) < len(tables + models):
        raise ValueError(f"expected files of different names, got {', '.join(tables + models)}")
    inputs = paths_of(arguments.data)
    for path in tables:
        check_can_write_table(path, inputs)
    for path in models:
        check_can_write_file(path, inputs)
    return tables + models


def _kept_columns(table):
    """Return the numbers of columns with a value; the others are told."""
    is_empty = (
        np.isnan(table.rows).all(axis=0) if table.rows.dtype.kind == "f" else np.zeros(1, bool)
    )
    if not np.any(is_empty):
        return np.arange(table.rows.shape[1])
    empty = np.flatnonzero(is_empty)
    names = table.feature_names
    shown = ", ".join(str(j + 1) if names is None else repr(names[j]) for j in empty[:20])
    warn(f"columns without a value are left out: {shown}", UserWarning)
    return np.flatnonzero(~is_empty)


def _summary(arguments, imputer, table, outputs):
    """Return the report as a text, and as facts."""
    n_gaps, n_columns, k = _n_gaps(table.rows), table.rows.shape[1], imputer.n_components_
    model = "no model: all columns are constant"
    if k:
        unit = "unit" if imputer.method_ == "autoencoder" else "component"
        model = f"{_NAMES[imputer.method_]}, {k:,} {unit}{'s' * (k > 1)}"
    text = (
        f"{arguments.data}: {len(table):,} rows of {n_columns:,} columns, {n_gaps:,} gaps "
        f"({n_gaps / (len(table) * n_columns):.1%})\n{model}\n{', '.join(outputs)}"
    )
    return text, {
        "data": arguments.data,
        "n_rows": len(table),
        "n_columns": n_columns,
        "n_gaps": n_gaps,
        "method": imputer.method_,
        "n_components": k,
        "outputs": outputs,
    }


def _n_gaps(rows):
    if isinstance(rows, np.ndarray):
        return int(np.isnan(rows).sum()) if rows.dtype.kind == "f" else 0
    return sum(column.null_count for column in rows.columns)
