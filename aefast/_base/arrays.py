"""The only place where arrays are checked, converted or copied.

Kernels read tables of float32, float64, uint8 and bool in place as long as the columns of a row are
adjacent; other tables are converted to float64. The real type of a computation is float32 for
float32, uint8 and bool, and float64 otherwise.
"""

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from aefast._base._rows import csr_fault, is_plain, may_overlap
from aefast._base.errors import entry_error, shortened
from aefast._base.foreign_arrays import from_foreign
from aefast._base.scalars import check_sizes
from aefast._base.streams import NamedRows, StreamedRows, check_columns
from aefast._base.types import Array

ROW_TYPES = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.uint8), np.dtype(np.bool_))

_NARROW_TYPES = frozenset(ROW_TYPES[1:])
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
ANYWHERE = (-np.inf, np.inf)  # the domain of entries that need only be finite


def real_type(*dtypes: Any) -> np.dtype[Any]:
    """Return float32 if all types are float32, uint8 or bool, and float64 otherwise."""
    return _FLOAT32 if _NARROW_TYPES.issuperset(dtypes) else _FLOAT64


# ---- plain arrays, without scikit-learn ----


def as_array(value: Any, name: str, n_dimensions: int | None = None) -> Array:
    """Return an aligned ndarray of one of ROW_TYPES in native byte order.

    Anything that NumPy can read as an array of real numbers is accepted.
    """
    if n_dimensions is not None and is_plain(value, n_dimensions):
        return value
    value = from_foreign(value, name)
    if isinstance(value, StreamedRows):
        raise TypeError(f"{name} must be an array in memory here, got a stream of rows")
    if isinstance(value, NamedRows):
        value = value.rows
    if _is_sparse(value):
        raise TypeError(
            f"Sparse data was passed for {name}, but dense data is required: use {name}.toarray()"
        )
    _refuse_masked(value, name)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _plain_error(
            error, f"{name} must be a rectangular array of numbers: {error}"
        ) from None
    if n_dimensions is not None and array.ndim != n_dimensions:
        raise ValueError(f"{name} must have {n_dimensions} dimension(s), got shape {array.shape}")
    if array.dtype in ROW_TYPES:
        return np.require(array, requirements="A")
    refuse_types(name, [array.dtype], "cmM")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"{name} must be numeric, got dtype {array.dtype}: {error}"
        raise _plain_error(error, message) from None


def _is_sparse(value: object) -> bool:
    """Return whether a value is a sparse matrix of SciPy, without importing scipy.sparse.

    A caller that has a sparse matrix has imported that module already.
    """
    issparse = getattr(sys.modules.get("scipy.sparse"), "issparse", None)
    return issparse is not None and issparse(value)


def _has_masked(value: Any) -> bool:
    """Return whether `value` is a masked array (so its module is loaded) with masked entries."""
    masked = sys.modules.get("numpy.ma")
    return (
        masked is not None
        and isinstance(value, masked.MaskedArray)
        and bool(masked.getmaskarray(value).any())
    )


def _refuse_masked(value: Any, name: str) -> None:
    """Raise ValueError for masked entries: NumPy would take the numbers under the mask."""
    if _has_masked(value):
        raise ValueError(
            f"{name} has masked entries, which are taken as missing only by estimators with "
            f"missing='mask' and by factor models: use {name}.filled() with values that are meant"
        )


def _plain_error(error: Exception, message: str) -> TypeError | ValueError:
    """Return a TypeError or ValueError, as `error` is one, with this message.

    Subclasses of either are not used: some take other arguments.
    """
    message = shortened(message)
    return TypeError(message) if isinstance(error, TypeError) else ValueError(message)


def refuse_types(name: str, dtypes: Iterable[Any], kinds: str) -> None:
    """Raise ValueError for types of these kinds, which NumPy would convert to real numbers.

    The letters of `kinds` are complex numbers (c), durations (m) and dates (M).
    """
    for dtype in dtypes:
        if getattr(dtype, "kind", "other") in kinds:
            kind = "complex numbers" if dtype.kind == "c" else "dates or times"
            raise ValueError(f"{name} must hold real numbers, got {kind}: dtype {dtype}")


def as_rows(X: Any, name: str) -> Array:
    """Return X as a table that a kernel can read.

    Such a table has two dimensions, sizes within BLAS integers, and adjacent columns in each row.
    """
    if is_plain(X, 2):
        return X
    X = as_array(X, name, 2)
    if 0 in X.shape:
        raise ValueError(f"{name} must have at least one row and one column, got shape {X.shape}")
    check_sizes(**{f"the number of columns of {name}": X.shape[1]})
    return with_adjacent_columns(X)


def with_adjacent_columns(X: Array) -> Array:
    """Return X if the columns of each row are adjacent in memory, and a copy otherwise.

    Rows may be any distance apart.
    """
    if X.shape[1] > 1 and X.strides[1] != X.itemsize:
        return np.ascontiguousarray(X)
    return X


def as_parameter(value: Any, name: str, shape: tuple[int, ...]) -> Array:
    """Return a C-contiguous array of this shape.

    Entries are not checked: where they are not finite, neither are the results.
    """
    array = as_array(value, name, len(shape))
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return np.ascontiguousarray(array)


def check_finite(array: Array, name: str) -> None:
    """Raise ValueError for the first entry that is not finite, with its place in the array."""
    finite = np.isfinite(array)
    if not finite.all():
        place = tuple(int(index) for index in np.argwhere(~finite)[0])
        raise ValueError(f"{name} must be finite, got {array[place]} at {place}")


def as_out(
    out: Any, shape: tuple[int, ...], dtype: Any, *, in_place: str | None = None, **inputs: Any
) -> Array:
    """Return `out` as a plain array into which a result of this shape and type can be written.

    Nothing is converted or copied. `out` must not overlap with the inputs, which are read
    meanwhile; only the input named `in_place` may occupy exactly the same memory.
    """
    is_array = type(out) is np.ndarray or (
        isinstance(out, np.ndarray) and not isinstance(out, np.ma.MaskedArray)
    )
    if not is_array or out.shape != shape or out.dtype != dtype or not out.flags.carray:
        raise _out_error(out, shape, dtype)
    out = np.asarray(out)
    for name, array in inputs.items():
        if may_overlap(out, array) and not (name == in_place and _same_place(out, array)):
            raise ValueError(f"out must not overlap with {name}, which is read meanwhile")
    return out


def _same_place(out: Array, array: Array) -> bool:
    return out.ctypes.data == array.ctypes.data and array.flags.c_contiguous


def _out_error(out: Any, shape: tuple[int, ...], dtype: Any) -> Exception:
    wanted = (
        f"out must be a writeable, aligned, C-contiguous array of shape {shape} and dtype "
        f"{dtype}, got"
    )
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        return TypeError(f"{wanted} {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        return ValueError(f"{wanted} shape {out.shape} and dtype {out.dtype}")
    flags = {"writeable": out.flags.writeable, "C-contiguous": out.flags.c_contiguous}
    flags["aligned"] = out.flags.aligned
    return ValueError(
        f"{wanted} one that is not {' and '.join(f for f, v in flags.items() if not v)}"
    )


def as_mean_weight(value: Any, n_samples: int) -> Array | None:
    """Return weights (n,) in float64 whose mean is 1, or None where all rows weigh the same.

    None and a single number weigh all rows alike.
    """
    if value is None or as_array(value, "sample_weight").ndim == 0:
        return None
    weight = as_sample_weight(value, n_samples)
    return None if weight is None else weight * n_samples


def as_sample_weight(value: Any, n_samples: int) -> Array | None:
    """Return weights (n,) in float64 that add up to 1; None stays None."""
    if value is None:
        return None
    weight = as_parameter(value, "sample_weight", (n_samples,)).astype(np.float64)
    total = weight.sum()
    if not (weight >= 0).all() or not 0 < total < np.inf:
        raise ValueError(
            "sample_weight must be finite, non-negative and not all zero, "
            f"got minimum {weight.min()}, sum {total}"
        )
    return weight / total


# ---- scikit-learn's conventions ----


def estimator_rows(
    estimator: Any, X: Any, *, reset: bool, name: str = "X", streams: bool = False
) -> Array:
    """Return the user's X as a table that a kernel can read.

    X is checked as scikit-learn checks it, except that its entries are not looked at. With `reset`
    nothing is written to the estimator yet: the caller uses `remember_features` for that, once
    everything else has been found valid. Without `streams`, those are read into memory.
    """
    if is_plain(X, 2) and (reset or _is_as_fitted(estimator, X)):
        return X
    if isinstance(X, (NamedRows, StreamedRows)):
        X = X if streams or isinstance(X, NamedRows) else X.read_whole()
        return _of_stream(estimator, X, reset=reset, name=name)
    X = from_foreign(X, name)
    from sklearn.utils.validation import check_array, validate_data

    if _has_masked(X) and estimator.__sklearn_tags__().input_tags.allow_nan:
        refuse_types(name, [X.dtype], "cmM")
        X = X.astype(real_type(X.dtype)).filled(np.nan)
    _refuse_masked(X, name)
    _refuse_sparse(estimator, X, name)
    given = X
    refuse_types(name, [X.dtype] if hasattr(X, "dtype") else getattr(X, "dtypes", []), "mM")
    try:
        X = check_array(
            X, dtype=list(ROW_TYPES), ensure_all_finite=False, estimator=estimator, input_name=name
        )
    except (TypeError, ValueError, OverflowError) as error:
        message = f"{name} must be a table of numbers (n_samples, n_features): {error}"
        raise _plain_error(error, message) from None
    check_sizes(n_features=X.shape[1])
    if not reset:
        validate_data(estimator, given, reset=False, skip_check_array=True)
    return with_adjacent_columns(np.require(X, requirements="A"))


def _of_stream(estimator: Any, X: Any, *, reset: bool, name: str) -> Any:
    """Return the rows of an opened stream: an array, or `StreamedRows` that passes read."""
    if not reset:
        check_columns(estimator, X, name)
    if isinstance(X, StreamedRows):
        check_sizes(n_features=X.source.n_columns)
        return X
    return with_adjacent_columns(as_rows(X.rows, name))


def _refuse_sparse(estimator: Any, X: Any, name: str) -> None:
    """Raise TypeError for sparse rows where an estimator says why it takes dense ones alone."""
    reason = getattr(estimator, "_dense_because", None)
    if reason is not None and _is_sparse(X):
        raise TypeError(
            f"{type(estimator).__name__} takes no sparse {name}: {reason}. Where there is room for "
            f"a dense table, use {name}.toarray()"
        )


def mixed_array(estimator: Any, X: Any, name: str) -> Array:
    """Return the user's X as a table (n, d) of any type, of objects where lists mix several.

    Entries are not looked at. Masked entries become NaN.
    """
    X = from_foreign(X, name)
    if isinstance(X, (list, tuple)):
        try:
            plain = np.asarray(X)
        except (TypeError, ValueError, OverflowError):  # scikit-learn has the message
            plain = np.empty(0)
        X = np.asarray(X, object) if plain.dtype.kind in "OUS" else X
    if _has_masked(X):
        refuse_types(name, [X.dtype], "cmM")
        X = X.astype(np.float64).filled(np.nan)
    if getattr(getattr(X, "dtype", None), "names", None):
        raise TypeError(f"{name} is a structured array: make a data frame of it")
    _refuse_sparse(estimator, X, name)
    from sklearn.utils.validation import check_array

    try:
        return check_array(
            X, dtype=None, ensure_all_finite=False, estimator=estimator, input_name=name
        )
    except (TypeError, ValueError, OverflowError) as error:
        message = f"{name} must be a table (n_samples, n_features): {error}"
        raise _plain_error(error, message) from None


def validation_rows(
    estimator: Any, X: Any, rows: Any, X_val: Any, *, absent_missing: bool = False
) -> Any:
    """Return X_val as `sparse_or_dense_rows` does.

    Raises ValueError if its columns are not those of X.
    """
    options: dict[str, Any] = {"name": "X_val", "absent_missing": absent_missing}
    rows_val = sparse_or_dense_rows(estimator, X_val, reset=True, **options)
    if rows_val.shape[1] != rows.shape[1]:
        raise ValueError(
            f"X_val must have the {rows.shape[1]} columns of X, got {rows_val.shape[1]}"
        )
    names, names_val = feature_names(X), feature_names(X_val)
    if names is not None and names_val is not None and list(names) != list(names_val):
        raise ValueError("X_val must have the columns of X, in their order: their names differ")
    return rows_val


def _is_as_fitted(estimator: Any, X: Array) -> bool:
    """Return whether a plain array passes scikit-learn's checks without making them.

    For a single row these checks take longer than its code.
    """
    return X.shape[1] == estimator.n_features_in_ and not hasattr(estimator, "feature_names_in_")


def estimator_table(estimator: Any, X: Any, *, reset: bool, name: str = "X") -> Any:
    """Return X as `estimator_rows` does, or as a finite CSR matrix where X is sparse."""
    if _is_sparse_frame(X):
        if not reset:
            from sklearn.utils.validation import validate_data

            validate_data(estimator, X, reset=False, skip_check_array=True)
        return as_csr(X.sparse.to_coo(), name)
    if not _is_sparse(X):
        return estimator_rows(estimator, X, reset=reset, name=name, streams=True)
    from sklearn.utils.validation import check_array, validate_data

    refuse_types(name, [X.dtype], "cmM")
    check_array(X, accept_sparse=True, dtype=None, ensure_all_finite=False, estimator=estimator)
    if not reset:
        validate_data(estimator, X, reset=False, skip_check_array=True)
    return as_csr(X, name)


def sparse_or_dense_rows(
    estimator: Any, X: Any, *, reset: bool, name: str = "X", absent_missing: bool = False
) -> Any:
    """Return X as `estimator_rows` does, or as `SparseRows` where X is sparse.

    With `absent_missing`, what a sparse X does not store is missing; otherwise it is 0.
    """
    if is_plain(X, 2) or not (_is_sparse(X) or _is_sparse_frame(X)):
        return estimator_rows(estimator, X, reset=reset, name=name, streams=True)
    from aefast._base.sparse_rows import SparseRows

    return SparseRows.of(estimator_table(estimator, X, reset=reset, name=name), absent_missing)


def sparse_or_dense_table(X: Any, name: str) -> Any:
    """Return X as `as_rows` does, or as `SparseRows` where X is sparse."""
    if not (_is_sparse(X) or _is_sparse_frame(X)):
        return as_rows(X, name)
    from aefast._base.sparse_rows import SparseRows

    return SparseRows.of(as_csr(X.sparse.to_coo() if _is_sparse_frame(X) else X, name))


def _is_sparse_frame(X: Any) -> bool:
    """Return whether X is a pandas DataFrame of sparse columns, all with the fill value 0."""
    pandas = sys.modules.get("pandas")
    return (
        pandas is not None
        and isinstance(X, pandas.DataFrame)
        and len(X.columns) > 0
        and all(
            isinstance(dtype, pandas.SparseDtype) and dtype.fill_value == 0 for dtype in X.dtypes
        )
    )


def feature_names(X: Any) -> Array | None:
    """Return the names of X's columns, or None, as scikit-learn finds them."""
    if isinstance(X, np.ndarray):
        return None
    if isinstance(X, (NamedRows, StreamedRows)):
        return None if X.columns is None else np.array(X.columns, object)
    from sklearn.utils.validation import _get_feature_names

    return _get_feature_names(X)


def remember_features(estimator: Any, X: Any) -> None:
    """Set n_features_in_ and feature_names_in_ from the user's X."""
    if is_plain(X, 2) and not hasattr(estimator, "feature_names_in_"):
        # neither X nor the estimator has column names
        estimator.n_features_in_ = X.shape[1]
        return
    if isinstance(X, (NamedRows, StreamedRows)):
        estimator.n_features_in_ = X.n_columns
        vars(estimator).pop("feature_names_in_", None)
        if X.columns is not None:
            estimator.feature_names_in_ = feature_names(X)
        return
    from sklearn.utils.validation import validate_data

    validate_data(estimator, X, reset=True, skip_check_array=True)


# ---- weights that are not normalised, sparse rows ----


def as_row_weights(value: Any, n_samples: int) -> Array | None:
    """Return weights (n,) in float64, each finite and not negative; None stays None."""
    if value is None:
        return None
    weight = as_parameter(value, "sample_weight", (n_samples,)).astype(np.float64)
    bad = np.flatnonzero(~((weight >= 0) & (weight < np.inf)))
    if len(bad):
        raise ValueError(
            f"sample_weight must be finite and not negative, got {weight[bad[0]]} at row {bad[0]}"
        )
    with np.errstate(over="ignore"):
        total = weight.sum()
    if not np.isfinite(total):
        raise ValueError("sample_weight must have a finite sum: it overflows float64")
    return weight


def _check_indices(X: Any, name: str) -> None:
    """Raise ValueError where an index of a sparse matrix leads out of the matrix.

    SciPy's constructors and `load_npz` accept such matrices, and its conversions, like our kernels,
    would follow the index out of the array. Formats other than CSR, CSC and BSR have no offsets.
    """
    if X.format not in ("csr", "csc", "bsr"):
        return
    n_lines, n_places = X.shape if X.format != "csc" else X.shape[::-1]
    if X.format == "bsr":
        n_lines, n_places = n_lines // X.blocksize[0], n_places // X.blocksize[1]
    offsets = np.ascontiguousarray(X.indptr, np.int64)
    places = np.ascontiguousarray(X.indices, np.int64)
    if offsets.shape != (n_lines + 1,):
        raise ValueError(
            f"{name} is no valid {X.format.upper()} matrix: expected {n_lines + 1} offsets in "
            f"indptr, got shape {offsets.shape}"
        )
    n_entries = min(len(places), len(X.data))
    fault = csr_fault(offsets, places, n_places, n_entries)
    if fault is None:
        return
    kind, at = fault
    if kind == "offsets":
        raise ValueError(
            f"{name} is no valid {X.format.upper()} matrix: indptr must rise from 0 to at most "
            f"{n_entries}, got {offsets[at]} at place {at}"
        )
    line = int(np.searchsorted(offsets, at, side="right")) - 1
    line_name, place_name = ("column", "row") if X.format == "csc" else ("row", "column")
    raise ValueError(
        f"{name} is no valid {X.format.upper()} matrix: {place_name} index {places[at]} in "
        f"{line_name} {line} is not in [0, {n_places})"
    )


def as_table(X: Any, name: str) -> Any:
    """Return X as a finite CSR matrix where it is sparse, else as `as_rows` does.

    Opened streams stay what they are.
    """
    if isinstance(X, (NamedRows, StreamedRows)):
        return X.rows if isinstance(X, NamedRows) else X
    return as_csr(X, name) if _is_sparse(X) else as_rows(X, name)


def as_csr(X: Any, name: str, dtype: Any = None) -> Any:
    """Return a finite CSR matrix of float32 or float64, columns ascending, without duplicates.

    X itself is returned where it is such a matrix.
    """
    refuse_types(name, [X.dtype], "cmM")
    _check_indices(X, name)
    X = X.tocsr()
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"{name} must have at least one row and one column, got shape {X.shape}")
    check_sizes(**{f"the number of columns of {name}": X.shape[1]})
    wanted = dtype or (X.dtype if X.dtype in ROW_TYPES[:2] else real_type(X.dtype))
    X = X.astype(wanted, copy=False)
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    if not np.isfinite(X.data).all():
        place = np.flatnonzero(~np.isfinite(X.data))[0]
        row = np.searchsorted(X.indptr, place, side="right") - 1
        raise entry_error(X.data[place], name, (row, X.indices[place]), ANYWHERE, X.dtype)
    return X
