"""Tables of the command: reading, writing, and splitting into training and held-out rows."""

import contextlib
import csv
import dataclasses
import errno
import io
import math
import os
import tempfile
import warnings
import zipfile

import numpy as np

import aefast
from aefast._base.paths import check_is_regular_file
from aefast._base.saving import shortened

_ROWS_WRITTEN = 1 << 12  # as text, at a time


@dataclasses.dataclass(frozen=True)
class Table:
    """Table of numbers with one sample in each row."""

    rows: np.ndarray  # (n_samples, n_features)
    row_shape: tuple  # shape of one sample in the file
    feature_names: tuple | None = None

    def scaled(self):
        """Return a copy with uint8 values divided by 255, in float32."""
        if self.rows.dtype != np.uint8:
            raise ValueError(
                f"--scale divides uint8 values by 255: expected uint8 data, got {self.rows.dtype}"
            )
        rows = np.divide(self.rows, np.float32(255), dtype=np.float32)
        return dataclasses.replace(self, rows=rows)

    @property
    def image_shape(self):
        """Shape of one sample as an image.

        It is () if samples have several dimensions but are not images, and None if they have only
        one, so that nothing is known.
        """
        if len(self.row_shape) == 1:
            return None
        shape = tuple(size for size in self.row_shape if size != 1)
        return shape if len(shape) == 2 or (len(shape) == 3 and shape[2] == 3) else ()


def read_table(name, writeable=False, missing=False):
    """Read the table that a DATA argument names.

    Parameters
    ----------
    name : str
        See `DATA_HELP` in `common`.
    writeable : bool, default=False
        Whether the caller will exchange rows in place. A memory-mapped file is then mapped
        copy-on-write; the file itself is never changed.
    missing : bool, default=False
        Whether a field of a CSV file may be empty, "nan" or "NA": all become NaN.

    Raises
    ------
    OSError
        If there is no such file or it cannot be read.
    ValueError
        If the contents do not match the suffix, or are not a table of numbers.
    """
    path, separator, key = name.partition(".npz:")
    if name != "digits":
        check_is_regular_file(data_path(name))
    suffix = os.path.splitext(name)[1].lower()
    if name == "digits":
        array, feature_names = _read_digits(), None
    elif separator:
        array, feature_names = _read_npz(path + ".npz", key), None
    elif suffix == ".npz":
        array, feature_names = _read_npz(name, None), None
    elif suffix == ".npy":
        array, feature_names = _read_npy(name, "c" if writeable else "r"), None
    elif suffix == ".csv":
        array, feature_names = _read_csv(name, missing)
    else:
        raise ValueError(f"DATA: expected FILE.npy, FILE.npz:KEY, FILE.csv or digits, got {name!r}")
    return _as_table(name, array, feature_names)


def read_labels(path, n_features):
    """Return the names of features from a text file, one in each line that is not blank."""
    check_is_regular_file(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            labels = tuple(line.strip() for line in file if line.strip())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: cannot be read as text in UTF-8: {error}") from error
    if len(labels) != n_features:
        raise ValueError(f"{path}: expected {n_features} names, one a line, got {len(labels)}")
    if len(set(labels)) < n_features:
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"{path}: expected different names, got {twice!r} twice")
    return labels


def data_path(name):
    """Return the path of the file that a DATA argument names."""
    path, separator, _ = name.partition(".npz:")
    return path + ".npz" if separator else name


def _as_table(name, array, feature_names):
    if array.dtype.kind not in "buif":
        raise ValueError(f"{name}: expected real numbers, got an array of type {array.dtype}")
    if array.ndim < 2:
        raise ValueError(f"{name}: expected rows and columns, got an array of shape {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"{name}: expected at least one row and column, got shape {array.shape}")
    n_features = math.prod(array.shape[1:])
    return Table(array.reshape(len(array), n_features), array.shape[1:], feature_names)


def _read_digits():
    from sklearn.datasets import load_digits

    return (load_digits().images / 16).astype(np.float32)  # grey levels 0 .. 16


def _read_npy(name, mode):
    with open(name, "rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(f"{name}: expected a .npy file, got something else")
    try:
        with _as_value_error(name, ".npy"):
            return np.load(name, mmap_mode=mode, allow_pickle=False)
    except OSError as error:
        # The system refuses a writeable map of a file that is larger than memory.
        if error.errno == errno.ENOMEM and mode == "c":
            hint = "larger than memory, so no rows of it can be held out: give --test-fraction 0"
            raise MemoryError(f"{name}: {hint}") from error
        raise


def _read_npz(name, key):
    with open(name, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{name}: expected a .npz file, got something else")
    with _as_value_error(name, ".npz"), np.load(name, allow_pickle=False) as arrays:
        if key in arrays.files:
            _check_member(name, key, arrays.zip)
            return arrays[key]
        keys = ", ".join(arrays.files) or "none"
    asked = "no key" if key is None else f"key {key!r}"
    raise ValueError(
        f"{name}: expected one of its keys, as {name}:KEY, got {asked}; its keys: {keys}"
    )


def _check_member(name, key, archive):
    """Raise an error for an array larger than memory: a small archive may hold a huge one.

    ValueError where the array's own header asks for more bytes than the archive has.
    """
    member = f"{key}.npy" if f"{key}.npy" in archive.namelist() else key
    size = archive.getinfo(member).file_size
    if size > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise MemoryError(f"{name}: {key} has {size:,} bytes, more than this machine's memory")
    with archive.open(member) as file:
        if file.read(6) != b"\x93NUMPY":
            return  # NumPy returns the bytes: no table
        file.seek(0)
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            return
        shape, _, dtype = readers[version](file)
        wanted = math.prod(shape) * dtype.itemsize
        if not dtype.hasobject and wanted > size - file.tell():
            raise ValueError(f"{key} has {size - file.tell():,} bytes, its header asks {wanted:,}")


@contextlib.contextmanager
def _as_value_error(name, kind):
    """Convert errors from reading a damaged file into a ValueError that names the file.

    NumPy and zipfile raise exceptions of many types for damaged contents.
    """
    try:
        # An overflowing product of sizes warns before it raises; the error is enough.
        with np.errstate(over="ignore"):
            yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{name}: cannot be read as a {kind} file: {error}") from error


# ---- CSV ----


def _read_csv(name, missing):
    """Return the numbers of a CSV file, and the names in its header or None.

    A first row without any number is a header. A first column without a name, beside columns that
    have one, has the names of rows, as R and pandas write them, and is left out. NumPy's parser
    reads the numbers. If it fails or finds a value that is not finite, the file is read again field
    by field, to name the row and column in the error.
    """
    try:
        with open(name, encoding="utf-8-sig", newline="") as file:
            first_row, n_lines = _first_row(file)
            is_header = not any(_is_number(field) for field in first_row)
            has_row_names = is_header and len(first_row) > 1 and not first_row[0] and first_row[1]
            layout = (n_lines if is_header else 0), len(first_row), int(bool(has_row_names))
            try:
                rows = _parse_numbers(file, layout, missing)
            except ValueError as error:
                _check_fields(name, file, layout, missing)
                raise ValueError(f"{name}: {error}") from error
            good = ~np.isinf(rows) if missing else np.isfinite(rows)
            if rows.shape[1] != len(first_row) or not good.all():
                _check_fields(name, file, layout, missing)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{name}: cannot be read as a CSV file in UTF-8: {error}") from error
    if has_row_names:
        rows = np.ascontiguousarray(rows[:, 1:])
    return rows, tuple(first_row[1:] if has_row_names else first_row) if is_header else None


def _first_row(file):
    """Return the first row that is not blank, and the number of lines up to its end."""
    reader = csv.reader(file)
    for row in reader:
        if row:
            return [field.strip() for field in row], reader.line_num
    return [], 0


def _is_number(field):
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field and field.isascii()  # like NumPy's parser


def _is_gap(field):
    return field.strip().lower() in ("", "nan", "na")


def _number_or_gap(field):
    return math.nan if _is_gap(field) else float(field)


def _parse_numbers(file, layout, missing):
    """Return the numbers after the header; a column of row names becomes zeros."""
    _, n_columns, n_names = layout
    of_names = dict.fromkeys(range(n_names), lambda field: 0.0)
    try:
        return _load(file, layout, of_names)
    except ValueError:
        if not missing:
            raise
    # Slow, so only if there are empty fields.
    return _load(file, layout, dict.fromkeys(range(n_names, n_columns), _number_or_gap) | of_names)


def _load(file, layout, converters):
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no rows: `_as_table` reports it
        return np.loadtxt(
            file,
            delimiter=",",
            quotechar='"',
            comments=None,
            converters=converters or None,
            skiprows=layout[0],
            ndmin=2,
        )


def _check_fields(name, file, layout, missing):
    """Raise a ValueError that names the first invalid field or row of a CSV file.

    A field is invalid if it is not a finite number, a row if its length differs from the first
    row's. Rows are numbered like the lines of the file, from 1.
    """
    n_header_lines, n_columns, n_names = layout
    file.seek(0)
    reader = csv.reader(file)
    for row in reader:
        if not row or reader.line_num <= n_header_lines:
            continue
        if len(row) != n_columns:
            raise ValueError(
                f"{name}: row {reader.line_num}: expected {n_columns} columns as in the first row, "
                f"got {len(row)}"
            )
        for column, field in enumerate(row[n_names:], start=1 + n_names):
            if missing and _is_gap(field):
                continue
            if not _is_number(field) or not math.isfinite(float(field)):
                hint = " (fit --missing mask and factors take it as missing)"
                hint = hint if _is_gap(field) and not missing else ""
                raise ValueError(
                    f"{name}: row {reader.line_num} column {column}: expected a finite number, got "
                    f"{shortened(field)}{hint}"
                )


# ---- training and held-out rows ----


def hold_out(rows, fraction, seed):
    """Split rows at random into training rows and held-out rows.

    The chosen rows are exchanged with the last ones in place, so that both results are slices of
    `rows` and only the exchanged rows are copied. (In a copy-on-write map of a file the exchanged
    rows take memory; the others stay in the file.)

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Changed in place, unless `fraction` is 0.
    fraction : float
        Fraction of the rows to hold out, in [0, 1). The number of rows is rounded; it is at least
        one unless `fraction` is 0, and never all.
    seed : int
        Seed of the random choice.

    Returns
    -------
    train, test : ndarray
        Views of `rows`.
    """
    n_rows = len(rows)
    if fraction == 0:
        return rows, rows[n_rows:]
    n_test = min(max(round(fraction * n_rows), 1), n_rows - 1)
    n_train = n_rows - n_test
    chosen = np.random.default_rng(seed).choice(n_rows, n_test, replace=False, shuffle=False)
    outgoing = np.sort(chosen[chosen < n_train])
    incoming = np.setdiff1d(np.arange(n_train, n_rows), chosen)
    rows[outgoing], rows[incoming] = rows[incoming], rows[outgoing]
    return rows[:n_train], rows[n_train:]


# ---- writing ----


def check_can_write(folder, names, inputs=()):
    """Raise an OSError if files of these names cannot be written to a folder; leave no trace.

    If the folder does not exist yet, its nearest existing parent is checked. ValueError where one
    of the files is one of the inputs, given by their paths.
    """
    for name in names:
        _check_is_no_input(os.path.join(folder, name), inputs)
    existing = os.path.abspath(folder)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(folder)) from error
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)


def _check_is_no_input(path, inputs):
    for name in inputs:
        if os.path.exists(path) and os.path.exists(name) and os.path.samefile(path, name):
            raise ValueError(
                f"{path} is one of the inputs, which the results would replace: choose another name"
            )


def check_can_write_file(path, inputs=()):
    """As `check_can_write`, for one file in a folder that exists."""
    folder, name = os.path.split(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
    check_can_write(folder, (name,), inputs)


def write_array(path, array):
    """Write an array as a .npy file at exactly this path."""
    with aefast.model_file.replacing(path) as file:
        np.save(file, array, allow_pickle=False)


def write_columns(file, columns):
    """Write a dict of equally long columns as CSV with a header.

    Floats have as many digits as an exact round trip needs.
    """
    digits = 9 if all(column.dtype == np.float32 for column in columns.values()) else 17
    np.savetxt(
        file,
        np.column_stack(list(columns.values())),
        fmt=f"%.{digits}g",
        delimiter=",",
        header=",".join(columns),
        comments="",
    )


def check_table_name(path):
    """Raise ValueError unless the suffix of a path is one that `write_table` writes."""
    if os.path.splitext(path)[1].lower() not in (".csv", ".npy"):
        raise ValueError(f"expected a name that ends in .csv or .npy to write to, got {path!r}")


def write_table(path, rows, table, columns):
    """Write rows as .csv or .npy, by the suffix of the path.

    Parameters
    ----------
    path : str
    rows : ndarray (n, len(columns))
    table : Table
        The table that was read. A .csv file has its names, where it has any; an array has its
        dimensions, where it has all its columns.
    columns : ndarray of int
        The columns of the table that the rows have.
    """
    check_table_name(path)
    if path.lower().endswith(".npy"):
        is_whole = len(columns) == math.prod(table.row_shape)
        write_array(path, rows.reshape(len(rows), *table.row_shape) if is_whole else rows)
        return
    names = table.feature_names
    with aefast.model_file.replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        if names is not None:
            writer.writerow([names[j] for j in columns])
        for first in range(0, len(rows), _ROWS_WRITTEN):
            part = rows[first : first + _ROWS_WRITTEN]
            writer.writerows([_shortest(value) for value in row] for row in part.astype(str))
        text.flush()
        text.detach()


def _shortest(text):
    """Return the shortest text of a number: 5 for 5.0."""
    return text.removesuffix(".0")
