"""Command `aefast recommend`: items for each user of a file of choices."""

import math
import time

import numpy as np
from scipy import sparse

import aefast
from aefast.cli.common import (
    DATA_HELP,
    TABLE_HELP,
    add_checkpoints,
    add_text,
    add_threads,
    checkpoint_options,
    describe,
    note,
    report,
    text_of,
)
from aefast.tables.arrow_files import is_numeric
from aefast.tables.optional import has_arrow
from aefast.tables.outputs import check_can_write_file, check_can_write_table
from aefast.tables.readers import Options, read_table
from aefast.tables.selection import Choice
from aefast.tables.sources import paths_of
from aefast.tables.writers import write_columns


def add_recommend(command):
    describe(
        command,
        _recommend,
        "RATINGS has one row for each choice: a column of users and a column of items, of any "
        "text. A pair that comes several times counts once or, with --rating, as "
        "the sum. The model is a linear autoencoder that may not use an item to predict itself "
        "(ItemAutoencoder). Users who have chosen nearly all items get fewer than N.",
    )
    add = command.add_argument
    add("ratings", metavar="RATINGS", help=f"the choices; {DATA_HELP}")
    add(
        "--user",
        metavar="COLUMN",
        default="user",
        help="of users; a number from 1 where columns have no names (default: %(default)s)",
    )
    add("--item", metavar="COLUMN", default="item", help="of items (default: %(default)s)")
    add("--rating", metavar="COLUMN", help="of how strong choices are; by default each counts 1")
    add(
        "--at-least",
        type=float,
        metavar="R",
        help="ratings from R on are choices that count 1, others none",
    )
    add("-n", "--items", type=int, default=10, metavar="N", help="to each (default: %(default)s)")
    add(
        "-o",
        "--out",
        metavar="FILE",
        default="-",
        help=f"columns of users, items, rank and score: {TABLE_HELP} (default: %(default)s)",
    )
    add("--l2", type=float, default=100.0, help="the penalty (default: %(default)s)")
    add(
        "-k",
        "--components",
        type=int,
        metavar="K",
        help="the low-rank form, for more items than memory has room for the square of",
    )
    add("--seen", action="store_true", help="recommend what users have chosen, too")
    add("--model", metavar="MODEL", help="save the fitted model; its feature names are the items")
    add("--quiet", action="store_true", help="no summary")
    add_threads(command)
    add_checkpoints(command)
    add_text(command.add_argument_group("reading RATINGS").add_argument)


def _recommend(arguments):
    outputs = [arguments.out, *([] if arguments.model is None else [arguments.model])]
    if len(set(outputs)) < len(outputs):
        raise ValueError(f"expected files of different names, got {', '.join(outputs)}")
    if arguments.out == "-" and arguments.json:
        raise ValueError("--json: expected --out FILE beside it")
    inputs = paths_of(arguments.ratings)
    check_can_write_table(arguments.out, inputs, has_text=True)
    for path in outputs[1:]:
        check_can_write_file(path, inputs)
    model = aefast.ItemAutoencoder(
        arguments.l2,
        n_components=arguments.components,
        n_threads=arguments.threads,
        **checkpoint_options(arguments),
    )
    model._validate_params()
    if arguments.items < 1:
        raise ValueError(f"--items must be at least 1, got {arguments.items}")
    users, items, X = read_choices(arguments)
    started = time.perf_counter()
    model.fit(X)
    model.set_params(checkpoint=None)
    n = min(arguments.items, len(items))
    best, scores = model.recommend(X, n, exclude_seen=not arguments.seen)
    seconds = time.perf_counter() - started
    row, rank = np.nonzero(best >= 0)
    write_columns(
        arguments.out,
        {
            arguments.user: [users[i] for i in row.tolist()],
            arguments.item: [items[item] for item in best[row, rank].tolist()],
            "rank": rank + 1,
            "score": scores[row, rank],
        },
    )
    if arguments.model is not None:
        model.feature_names_in_ = np.array(items, dtype=object)
        model.save(arguments.model)
    text = (
        f"{arguments.ratings}: {X.nnz:,} choices of {len(items):,} items by {len(users):,} users\n"
        f"fitted, and {len(row):,} recommendations found, in {seconds:.2f} s\n{', '.join(outputs)}"
    )
    facts = {"n_choices": X.nnz, "n_items": len(items), "n_users": len(users), "seconds": seconds}
    facts |= {"ratings": arguments.ratings, "n_recommended": len(row), "outputs": outputs}
    report(arguments, text, facts)


def read_choices(arguments):
    """Read a file of choices.

    Returns
    -------
    users, items : list of str
        In the order in which they come first.
    X : CSR array (len(users), len(items)) of float32, or float64 with strengths
    """
    user, item, rating = arguments.user, arguments.item, arguments.rating
    if arguments.at_least is not None and rating is None:
        raise ValueError("--at-least is of ratings: give --rating too")
    columns = [user, item, *([] if rating is None else [rating])]
    if len(set(columns)) < len(columns):
        raise ValueError(
            "--user, --item and --rating: expected different columns, got "
            f"{', '.join(map(repr, columns))}"
        )
    texts = (user, item) if has_arrow() else ()  # numbers are read without pyarrow, too
    table = read_table(
        arguments.ratings,
        Options(Choice(columns), text_of(arguments), texts, gaps=True, show=not arguments.quiet),
    )
    for notice in table.notices:
        note(arguments, notice)
    kept = np.arange(len(table))
    strengths = np.ones(len(table), np.float32)
    if rating is not None:
        strengths = _strengths(table)
        if arguments.at_least is not None:
            kept = np.flatnonzero(strengths >= arguments.at_least)
            strengths = np.ones(len(kept), np.float32)
    if not len(kept):
        raise ValueError(f"{table.name}: expected at least one choice, got none")
    users, rows = _named(table, 0, kept)
    items, places = _named(table, 1, kept)
    X = sparse.csr_array((strengths, (rows, places)), (len(users), len(items)))
    X.sum_duplicates()
    if rating is None or arguments.at_least is not None:
        X.data[:] = 1
    return users, items, X


def _strengths(table):
    """Return the ratings (n,)."""
    column = table.rows.column(2) if table.is_frame else table.rows[:, 2]
    if table.is_frame and is_numeric(column.type):
        column = column.cast("float64").to_numpy()
    if isinstance(column, np.ndarray):
        bad = np.flatnonzero(~np.isfinite(column)).tolist()
        got = "none"
    else:
        values = column.to_pylist()
        bad = [row for row, value in enumerate(values) if not _is_number(value)] or [0]
        got = repr(values[bad[0]])
    if bad:
        raise ValueError(f"{table.place(bad[0], 2)}: expected a number as rating, got {got}")
    return column.astype(np.float64)


def _is_number(value):
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _named(table, column, kept):
    """Return the different names in these rows of a column, in their order, and their numbers."""
    if table.is_frame:
        values = table.rows.column(column).take(kept).combine_chunks()
        if str(values.type).startswith("dictionary"):
            values = values.dictionary_decode()
        coded = values.cast("string").dictionary_encode()
        names, numbers = coded.dictionary.to_pylist(), coded.indices.to_numpy(False)
    else:
        values, first, inverse = np.unique(
            table.rows[kept, column], return_index=True, return_inverse=True
        )
        order = np.argsort(first)  # that in which names come
        numbers = np.where(np.isnan(values), np.nan, np.argsort(order))[inverse]
        names = [f"{v:.0f}" if v % 1 == 0 else repr(v) for v in values[order].tolist()]
    missing = np.flatnonzero(np.isnan(numbers))
    if len(missing):
        place = table.place(int(kept[missing[0]]), column)
        raise ValueError(f"{place}: expected a name, got none")
    return names, numbers.astype(np.int64)
