"""Command `aefast recommend`: items for each user of a file of choices."""

import csv
import math
import time

import numpy as np
from scipy import sparse

import aefast
from aefast._base.paths import check_is_regular_file
from aefast._base.saving import shortened
from aefast.cli.common import TABLE_HELP, add_threads, describe, report
from aefast.tables.outputs import check_can_write_file, check_can_write_table
from aefast.tables.writers import write_columns


def add_recommend(command):
    describe(
        command,
        _recommend,
        "RATINGS has one line for each choice, and a header: a column of users and a column of "
        "items, of any text. A pair that comes several times counts once or, with --rating, as "
        "the sum. The model is a linear autoencoder that may not use an item to predict itself "
        "(ItemAutoencoder). Users who have chosen nearly all items get fewer than N.",
    )
    add = command.add_argument
    add("ratings", metavar="RATINGS.csv", help="the choices")
    add("--user", metavar="COLUMN", default="user", help="of users (default: %(default)s)")
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


def _recommend(arguments):
    outputs = [arguments.out, *([] if arguments.model is None else [arguments.model])]
    if len(set(outputs)) < len(outputs):
        raise ValueError(f"expected files of different names, got {', '.join(outputs)}")
    if arguments.out == "-" and arguments.json:
        raise ValueError("--json: expected --out FILE beside it")
    check_can_write_table(arguments.out, [arguments.ratings], has_text=True)
    for path in outputs[1:]:
        check_can_write_file(path, [arguments.ratings])
    model = aefast.ItemAutoencoder(
        arguments.l2, n_components=arguments.components, n_threads=arguments.threads
    )
    model._validate_params()
    if arguments.items < 1:
        raise ValueError(f"--items must be at least 1, got {arguments.items}")
    users, items, X = read_choices(
        arguments.ratings, arguments.user, arguments.item, arguments.rating, arguments.at_least
    )
    started = time.perf_counter()
    model.fit(X)
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


def read_choices(path, user, item, rating=None, at_least=None):
    """Read a CSV file of choices.

    Parameters
    ----------
    path : str
    user, item : str
        Columns of the header.
    rating : str or None
        Column of numbers, the strengths; None: each pair has 1.
    at_least : float or None
        Least rating of a choice, which then counts 1.

    Returns
    -------
    users, items : list of str
        In the order in which they come first.
    X : CSR array (len(users), len(items)) of float32, or float64 with strengths
    """
    if at_least is not None and rating is None:
        raise ValueError("--at-least is of ratings: give --rating too")
    check_is_regular_file(path)
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    rows, columns, values = [], [], []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [field.strip() for field in next(reader, [])]
            wanted = [name for name in (user, item, rating) if name is not None]
            places = [_place(path, header, name) for name in wanted]
            for fields in reader:
                if not fields:
                    continue
                if len(fields) != len(header):
                    raise ValueError(
                        f"{path}: expected {len(header)} fields in line {reader.line_num}, got "
                        f"{len(fields)}"
                    )
                strength = 1.0
                if rating is not None:
                    strength = _number(path, fields[places[2]], reader.line_num)
                    if at_least is not None:
                        if strength < at_least:
                            continue
                        strength = 1.0
                rows.append(users.setdefault(fields[places[0]], len(users)))
                columns.append(items.setdefault(fields[places[1]], len(items)))
                values.append(strength)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as a CSV file in UTF-8: {error}") from error
    if not values:
        raise ValueError(f"{path}: expected at least one choice, got none")
    is_strength = rating is not None and at_least is None
    dtype = np.float64 if is_strength else np.float32
    X = sparse.csr_array(
        (np.array(values, dtype), (np.array(rows), np.array(columns))), (len(users), len(items))
    )
    X.sum_duplicates()
    if not is_strength:
        X.data[:] = 1
    return list(users), list(items), X


def _place(path, header, name):
    if header.count(name) != 1:
        raise ValueError(
            f"{path}: expected one column {name!r} in the header, got {shortened(header)}"
        )
    return header.index(name)


def _number(path, field, line):
    try:
        number = float(field)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{path}: expected a number as rating in line {line}, got {field!r}")
    return number
