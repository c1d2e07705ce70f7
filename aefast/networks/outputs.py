"""The parameter `output`: which columns have which distribution p(x | μ)."""

from functools import cached_property, lru_cache
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from aefast._base.errors import TableName, column_label, column_labels, shown
from aefast.networks import _autoencoder
from aefast.networks.distribution import Distribution

TABLE = {row["name"]: row for row in _autoencoder.OUTPUT_TABLE}
CUSTOM = "custom"  # name of all user-defined distributions in the table
NAMES = [name for name in TABLE if name != CUSTOM]
MOST_SEGMENTS = 2**16 - 1


class _SegmentFields(NamedTuple):
    distribution: str
    columns: tuple | None  # in ascending order; None: all
    option: float | None  # a constant of the formula, or the fixed value of the columns' parameter
    custom: Any = None  # a user-defined distributions.Distribution


class Segment(_SegmentFields):
    """Columns that share a distribution.

    Each column is a variable; a distribution of groups has all of them as one variable. Immutable:
    quantities that follow from the fields are computed once.
    """

    def __getstate__(self):
        return None  # the fields are the whole state; cached properties are not pickled

    @property
    def name(self):
        return self.distribution if self.custom is None else self.custom.name

    @cached_property
    def domain(self):
        row = TABLE[self.distribution]
        return (row["low"], row["high"]) if self.custom is None else tuple(self.custom.domain)

    def link(self, means):
        """Return the pre-activations that have the given means."""
        if self.custom is None:
            return _autoencoder.output_link(self.distribution, means)
        return np.asarray(self.custom.link(means), np.float64)

    @cached_property
    def is_group(self):
        return TABLE[self.distribution]["is_group"]

    @cached_property
    def row_total(self):
        """Sum of a group's entries in each row, or None if it is not fixed."""
        return TABLE[self.distribution]["row_total"]

    @cached_property
    def parameter(self):
        """Name of the parameter that each column has, or None."""
        return TABLE[self.distribution]["parameter"]

    @cached_property
    def fixes_parameter(self):
        """Whether the option is given and fixes the parameter, as its exponential."""
        row = TABLE[self.distribution]
        return (
            self.option is not None and row["default_option"] is None and row["option"] is not None
        )

    @cached_property
    def constant(self):
        return 0.0 if self.option is None or self.fixes_parameter else self.option

    @property
    def start(self):
        """Initial value of the parameter."""
        if self.option is None or not self.fixes_parameter:
            return 0.0
        return float(np.log(self.option))

    @cached_property
    def learned(self):
        return self.parameter is not None and not self.fixes_parameter


@lru_cache(maxsize=64)
def plain_output(name):
    """Return an output with one distribution for all columns, with default options."""
    return (_segment(name, {}, None),)


def resolve_output(output, n_features, feature_names=None):
    """Return the segments of a constructor's `output`, in the order given.

    Columns of equal distributions form one segment. Raises ValueError or TypeError for an unknown
    distribution or option and for a column that is named twice or not at all.
    """
    if isinstance(output, str) and output in NAMES:
        return plain_output(output)
    if not isinstance(output, list):
        segment = _segment(*_name_and_options(output), None)
        return (_with_all_columns(segment, n_features),)
    if not output:
        raise ValueError("output must name at least one distribution, got []")
    owner: dict[int, Any] = {}
    chosen: dict[tuple, Any] = {}
    table = TableName("X", feature_names)
    for entry in output:
        if not isinstance(entry, tuple) or len(entry) != 2:
            raise TypeError(f"output as a list holds (distribution, columns) pairs, got {entry!r}")
        name, options = _name_and_options(entry[0])
        columns = _column_numbers(entry[1], n_features, feature_names)
        if not len(columns):  # a selector may find no column in a narrower table
            continue
        for column in columns:
            if column in owner:
                raise ValueError(
                    f"output names column {column_label(table, column)} twice: for "
                    f"{owner[column]!r} and for {name!r}"
                )
            owner[column] = name
        segment = _segment(name, options, None)
        key = (segment, len(chosen)) if segment.is_group else segment
        chosen.setdefault(key, (segment, []))[1].extend(columns)
    missing = sorted(set(range(n_features)) - set(owner))
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ValueError(
            "output names no distribution for column(s) "
            f"[{column_labels(table, missing[:5])}]{more} of {n_features}: every column needs one"
        )
    if len(chosen) > MOST_SEGMENTS:
        raise ValueError(f"output has {len(chosen)} parts: at most {MOST_SEGMENTS} are possible")
    if len(chosen) == 1:
        return (_with_all_columns(next(iter(chosen.values()))[0], n_features),)
    return tuple(s._replace(columns=tuple(sorted(columns))) for s, columns in chosen.values())


def is_of_nonnegative(output):
    """Return whether a constructor's `output` has no distribution that takes negative numbers.

    The result is False for an invalid output.
    """
    if isinstance(output, str):
        return output in NAMES and TABLE[output]["low"] >= 0
    entries = output if isinstance(output, list) else [(output, None)]
    try:
        segments = [_segment(*_name_and_options(given), None) for given, _ in entries]
    except (TypeError, ValueError, RecursionError):
        return False
    return all(segment.domain[0] >= 0 for segment in segments)


def _with_all_columns(segment, n_features):
    """Return a segment of all columns, which a user-defined distribution lists explicitly."""
    return segment if segment.custom is None else segment._replace(columns=tuple(range(n_features)))


def columns_of(segment, n_features):
    """Return the segment's columns as a slice or an array for indexing."""
    return slice(0, n_features) if segment.columns is None else np.asarray(segment.columns, np.intp)


def domain_of(output, n_features):
    """Return the closed domain (low, high): numbers if all columns agree, else arrays (d,)."""
    domains = [segment.domain for segment in output]
    if len(set(domains)) == 1:
        return domains[0]
    low, high = np.empty(n_features), np.empty(n_features)
    for segment, (least, most) in zip(output, domains, strict=True):
        columns = columns_of(segment, n_features)
        low[columns], high[columns] = least, most
    return low, high


def has_parameters(output):
    """Return whether a distribution of the output has a parameter for each column."""
    return any(segment.parameter for segment in output)


def leaves_terms_out(output):
    """Return whether a loss of the output leaves out terms of −log p that depend on x."""
    return any(TABLE[segment.distribution]["has_base"] for segment in output)


def starting_parameters(output, n_features):
    """Return the initial parameters (d,) of the columns, 0 for columns without a parameter."""
    theta = np.zeros(n_features)
    for segment in output:
        theta[columns_of(segment, n_features)] = segment.start
    return theta


def by_name(output, theta, rest=np.nan):
    """Return values (d,) by parameter name, with `rest` in columns without the parameter."""
    named: dict[str, np.ndarray] = {}
    for segment in output:
        if segment.parameter:
            columns = columns_of(segment, len(theta))
            values = named.setdefault(segment.parameter, np.full_like(theta, rest))
            values[columns] = theta[columns]
    return named


def from_names(output, given, n_features):
    """Return parameters (d,) from a dict as `by_name` returns it; others have initial values."""
    theta = starting_parameters(output, n_features)
    if given is None:
        return theta
    if not isinstance(given, dict):
        raise TypeError(f"output_parameters must be a dict or None, got {shown(given)}")
    known = {segment.parameter for segment in output if segment.parameter}
    if strange := set(given) - known:
        raise ValueError(
            f"output_parameters has {shown(list(strange))}: this output has {sorted(known)}"
        )
    for segment in output:
        if segment.parameter in given:
            values = np.asarray(given[segment.parameter], dtype=np.float64)
            if values.shape not in ((), (n_features,)):
                raise ValueError(
                    f"output_parameters[{segment.parameter!r}] must have shape ({n_features},), "
                    f"got {values.shape}"
                )
            columns = columns_of(segment, n_features)
            theta[columns] = np.broadcast_to(values, (n_features,))[columns]
    return theta


def as_parameter(output):
    """Return a JSON value from which `from_parameter` makes an equivalent `output`."""
    pairs = []
    for segment in output:
        if segment.custom is not None:
            raise ValueError(
                f"a distribution of your own, {segment.name!r}, cannot be saved to a file: pickle "
                "the estimator"
            )
        options = {TABLE[segment.distribution]["option"]: segment.option}
        name = segment.distribution if segment.option is None else [segment.distribution, options]
        pairs.append([name, segment.columns and list(segment.columns)])
    return pairs


def from_parameter(value):
    """Return the constructor's `output` of a JSON value, unchecked."""
    if not isinstance(value, list):
        return value
    pairs = [(_tuple_if_list(name), columns) for name, columns in value]
    return pairs[0][0] if len(pairs) == 1 and pairs[0][1] is None else pairs


def _tuple_if_list(value):
    return tuple(value) if isinstance(value, list) else value


def as_json(output):
    """Return the segments as a JSON value, which `from_json` reads."""
    return [[s.distribution, s.columns and list(s.columns), s.option] for s in output]


def is_json(value):
    """Return whether `from_json` can read a value, except for a check of the columns.

    The columns are checked by `from_json`, which knows the number of features.
    """
    return (
        isinstance(value, list)
        and 0 < len(value) <= MOST_SEGMENTS
        and all(isinstance(segment, list) and len(segment) == 3 for segment in value)
        and all(_is_segment(*segment) for segment in value)
    )


def _is_segment(name, columns, option):
    if not isinstance(name, str) or name not in NAMES:
        return False
    row = TABLE[name]
    needed = row["option"] is not None and row["default_option"] is not None
    allowed = row["option"] is not None
    if (option is None and needed) or (option is not None and not (allowed and _is_option(option))):
        return False
    if columns is None:
        return True
    return isinstance(columns, list) and all(type(column) is int for column in columns)


def from_json(value, n_features):
    """Return the segments of a JSON value.

    Raises ValueError unless each feature is in one segment, whose columns are in ascending order.
    """
    output = tuple(
        Segment(name, columns and tuple(columns), option) for name, columns, option in value
    )
    if len(output) == 1 and output[0].columns is None:
        return output
    lists = [segment.columns for segment in output if segment.columns is not None]
    good = len(lists) == len(output) and all(list(c) == sorted(c) for c in lists)
    if not good or sorted(column for c in lists for column in c) != list(range(n_features)):
        raise ValueError(f"expected an output with each of {n_features} columns once")
    return output


def description(output):
    """Return the names of the distributions, for titles and reports."""
    names = [segment.name for segment in output]
    return ", ".join(dict.fromkeys(names))


def _name_and_options(given) -> tuple[Any, dict[str, Any]]:
    if isinstance(given, Distribution):
        return given, {}
    name, options = given if isinstance(given, tuple) and len(given) == 2 else (given, {})
    if not isinstance(name, str) or name not in NAMES:
        raise ValueError(
            f"output must be one of {NAMES}, a Distribution, (name, options), or a list of "
            f"(distribution, columns); got {given!r}"
        )
    if not isinstance(options, dict):
        raise TypeError(f"options of output {name!r} must be a dict, got {options!r}")
    return name, options


def _segment(name, options, columns):
    if not isinstance(name, str):
        return Segment(CUSTOM, columns, None, name)
    row = TABLE[name]
    if strange := set(options) - {row["option"]}:
        known = [row["option"]] if row["option"] else []
        raise ValueError(
            f"output {name!r} has no option {sorted(map(str, strange))}: it has {known}"
        )
    value = options.get(row["option"], row["default_option"])
    if row["option"] is None or value is None:
        return Segment(name, columns, None)
    if not _is_option(value):
        raise ValueError(
            f"option {row['option']!r} of output {name!r} must be a positive number, got {value!r}"
        )
    return Segment(name, columns, float(value))


def _is_option(value):
    number: Any = value  # typeshed's Real has no comparisons; float(value) may overflow
    return isinstance(value, Real) and not isinstance(value, bool) and 0 < number < 1e300


def _column_numbers(given, n_features, feature_names):
    if isinstance(given, slice):
        if isinstance(given.start, str) or isinstance(given.stop, str):
            return _between(given, n_features, feature_names)
        try:
            return list(range(*given.indices(n_features)))
        except (TypeError, ValueError):
            raise TypeError(
                f"output: a slice of columns must have integers, got {given!r}"
            ) from None
    if isinstance(given, str | Integral):
        given = [given]
    if isinstance(given, range) and given[n_features:]:  # which may be longer than memory
        raise ValueError(f"output names more columns than the {n_features} of X, got {given!r}")
    try:
        given = list(given)
    except TypeError:
        raise TypeError(f"output: columns are a list of integers, got {given!r}") from None
    if given and all(isinstance(column, bool | np.bool_) for column in given):
        if len(given) != n_features:
            raise ValueError(
                f"output: a mask of columns must have {n_features} entries, got {len(given)}"
            )
        return [column for column, chosen in enumerate(given) if chosen]
    return [_column_number(column, n_features, feature_names) for column in given]


def _between(given, n_features, feature_names):
    """Return the columns of a slice of names, both ends included, as pandas has it."""
    if given.step is not None or not all(
        isinstance(e, str | None) for e in (given.start, given.stop)
    ):
        raise TypeError(
            f"output: a slice of columns has integers, or two names without a step, got {given!r}"
        )
    first, last = (
        default if end is None else _column_number(end, n_features, feature_names)
        for end, default in ((given.start, 0), (given.stop, n_features - 1))
    )
    return list(range(first, last + 1))


def selects_columns(output):
    """Return whether a constructor's `output` has callables that select columns of a frame."""
    return isinstance(output, list) and any(
        isinstance(entry, tuple) and len(entry) == 2 and callable(entry[1]) for entry in output
    )


def with_selected(output, X):
    """Return a constructor's `output` with the columns that its callables select of a frame X."""
    if not selects_columns(output):
        return output
    return [
        (entry[0], entry[1](X))
        if isinstance(entry, tuple) and len(entry) == 2 and callable(entry[1])
        else entry
        for entry in output
    ]


def _column_number(column, n_features, feature_names):
    if isinstance(column, str):
        if feature_names is None:
            raise ValueError(f"output names column {column!r}, but X has no column names")
        found = [i for i, name in enumerate(feature_names) if name == column]
        if len(found) != 1:
            raise ValueError(f"output names column {column!r}, which X does not have")
        return found[0]
    if not isinstance(column, Integral):
        raise TypeError(f"output: columns are integers, names, slices or masks, got {column!r}")
    if not -n_features <= column < n_features:
        raise ValueError(f"output names column {column}, but X has {n_features} columns")
    return int(column) % n_features
