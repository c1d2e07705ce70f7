"""Sparse coding of rows: checks of the dictionary, slices, output formats, convergence warnings.

The arithmetic on rows is in `_sparse_coding.Encoder`.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, sparse

from aefast._base import arrays as check
from aefast._base import scalars, threads
from aefast._base._rows import BAD_ROWS, NOT_FINITE
from aefast._base.errors import bad_row_error, column_label, overflow_of_row, shown, table_name
from aefast._base.passes import Pace, slices
from aefast._base.sparse_rows import SparseRows, dense_rows
from aefast._base.team_size import TeamSize
from aefast._base.warnings import warn
from aefast.sparse_coding import _sparse_coding
from aefast.sparse_coding.residual_promise import ResidualPromise

ALGORITHMS = {row["name"]: row for row in _sparse_coding.algorithm_table()}
LEAST_ANGLE = "lars"
OUTPUT_FORMATS = ("dense", "csr")
SLICE_UNIT = 24  # rows; slices are multiples of it
FIRST_SLICE_UNITS = 40  # size of the first slice in these units
# Entries of the buffer that receives a slice's sparse codes, small enough to stay in cache.
SPARSE_SLICE_ENTRIES = 1 << 18
MOST_ATOMS = 1 << 28  # keeps the bytes of the Gram matrix, 8 k², far below 2**63
MOST_ITERATIONS = 1 << 62
# Smallest number of operations on k x k and k x d matrices for which several threads pay: every
# barrier has a cost, which is largest when other processes use the cores.
SHARED_WORK = 2e8
STEP_SAFETY = 1e-5  # relative margin below 1 / ||D||², for the rounding of ||D||²


class Settings(NamedTuple):
    """Parameters that `sparse_encode`, `SparseCoder` and `DictionaryLearning` share.

    They define the objective of a code, and the algorithm that minimises it.
    """

    algorithm: str
    alpha: float
    n_nonzero_coefs: int | None
    positive: bool
    tol: float
    max_iter: int
    n_threads: int | None


def check_settings(settings, n_components, prefix=""):
    """Raise a ValueError or TypeError for settings that are invalid for any rows.

    Estimators have checked types and ranges already; functions have not. In errors, names of
    parameters that `transform` has of its own begin with the prefix.
    """
    scalars.check_name(settings.algorithm, f"{prefix}algorithm", ALGORITHMS)
    scalars.check_number(settings.alpha, f"{prefix}alpha")
    scalars.check_number(settings.tol, "tol")
    if not 0 < settings.alpha < np.inf:
        raise ValueError(f"{prefix}alpha must be positive and finite, got {settings.alpha}")
    if not 0 <= settings.tol < np.inf:
        raise ValueError(f"tol must be finite and not negative, got {settings.tol}")
    if not isinstance(settings.positive, (bool, np.bool_)):
        raise TypeError(f"positive must be True or False, got {shown(settings.positive)}")
    if scalars.as_integer(settings.max_iter, "max_iter") < 1:
        raise ValueError(f"max_iter must be at least 1, got {settings.max_iter}")
    if settings.n_nonzero_coefs is None and settings.algorithm == LEAST_ANGLE:
        raise ValueError(
            f"{prefix}n_nonzero_coefs must be given: the number of atoms with which "
            f"{LEAST_ANGLE!r} ends"
        )
    if settings.n_nonzero_coefs is not None:
        count = scalars.as_integer(settings.n_nonzero_coefs, f"{prefix}n_nonzero_coefs")
        if not 1 <= count <= n_components:
            raise ValueError(
                f"{prefix}n_nonzero_coefs must be in [1, {n_components}], the number of atoms, "
                f"got {count}"
            )


def check_options(settings, init=None, return_gap=False):
    """Raise a ValueError for options that the algorithm does not have."""
    name, facts = settings.algorithm, ALGORITHMS[settings.algorithm]
    if facts["pursues"] and settings.positive:
        raise ValueError(
            f"positive=True: expected another algorithm than 'omp', 'ormp' and 'lars', got {name!r}"
        )
    if init is not None and not facts["starts"]:
        able = [name for name, facts in ALGORITHMS.items() if facts["starts"]]
        raise ValueError(f"init expects an algorithm that starts from codes, {able}, got {name!r}")
    if return_gap and not facts["has_gap"]:
        able = [name for name, facts in ALGORITHMS.items() if facts["has_gap"]]
        raise ValueError(f"return_gap=True expects a lasso algorithm, {able}, got {name!r}")


def as_dictionary(value, name="dictionary"):
    """Return atoms (k, d) in float32 or float64, checked to be finite and nonzero."""
    atoms = check.as_rows(value, name)
    if len(atoms) > MOST_ATOMS:
        raise ValueError(f"{name} must have at most {MOST_ATOMS} atoms, got {len(atoms)}")
    atoms = np.ascontiguousarray(atoms, check.real_type(atoms.dtype))
    check_atoms(atoms, table_name(value, name=name))
    return atoms


def check_atoms(atoms, name):
    """Raise a ValueError for atoms that are not finite or whose squared norm is not normal.

    The squared norm is taken in the atoms' real type.
    """
    bad = np.argwhere(~np.isfinite(atoms))
    if len(bad):
        j, column = bad[0]
        raise ValueError(
            f"{name} must be finite, got {atoms[j, column]} in atom {j}, column "
            f"{column_label(name, column)}"
        )
    with np.errstate(over="ignore"):
        norms2 = np.einsum("ij,ij->i", atoms, atoms)
    limits = np.finfo(atoms.dtype)
    unusable = np.flatnonzero(~((norms2 >= limits.tiny / limits.eps) & (norms2 < np.inf)))
    if len(unusable):
        j = unusable[0]
        norm = math.hypot(*atoms[j].tolist())
        what = (
            "is zero" if norm == 0 else f"has norm {norm:g}, beyond what {atoms.dtype} can square"
        )
        raise ValueError(f"{name} must have atoms (rows) of positive norm: atom {j} {what}")


def as_atom_weights(value, n_components):
    """Return positive weights (k,) in float64, or None for None."""
    if value is None:
        return None
    weights = check.as_parameter(value, "atom_weights", (n_components,)).astype(np.float64)
    bad = np.flatnonzero(~((weights > 0) & (weights < np.inf)))
    if len(bad):
        raise ValueError(
            f"atom_weights must be positive and finite, got {weights[bad[0]]} for atom {bad[0]}"
        )
    return weights


def largest_step(atoms):
    """Return the largest stable step of proximal gradient descent, 1 / ‖D‖₂²."""
    D = np.asarray(atoms, np.float64)
    small = D if D.shape[0] <= D.shape[1] else D.T
    with threads.same_bits():
        gram = linalg.blas.dsyrk(1.0, small)
        last = len(gram) - 1
        largest = linalg.eigh(gram, lower=False, eigvals_only=True, subset_by_index=[last, last])[0]
    return (1 - STEP_SAFETY) / largest


def make_encoder(atoms, settings, weights=None, work_rows=1):
    """Return an `Encoder` for a dictionary (k, d), in the dictionary's real type."""
    k, d = atoms.shape
    dtype = atoms.dtype
    if weights is not None:
        with np.errstate(all="ignore"):  # check_atoms reports overflow
            weights = weights.astype(dtype)
            atoms = np.ascontiguousarray(atoms / weights[:, None])
        check_atoms(atoms, "dictionary divided by atom_weights")
    pursues = ALGORITHMS[settings.algorithm]["pursues"]
    until_target = pursues and settings.n_nonzero_coefs is None
    is_proximal = settings.algorithm in ("ista", "fista")
    n_threads = threads_for(settings, work_rows, k, d)
    return _sparse_coding.Encoder(
        atoms,
        algorithm=settings.algorithm,
        alpha=0.0 if settings.algorithm == LEAST_ANGLE else settings.alpha,
        tol=settings.tol,
        max_iter=min(settings.max_iter, MOST_ITERATIONS),
        positive=settings.positive,
        n_nonzero=k if until_target or not pursues else settings.n_nonzero_coefs,
        target=settings.alpha if until_target else 0.0,
        step=largest_step(atoms) if is_proximal else 0.0,
        weights=weights,
        n_threads=n_threads,
        prepare_threads=threads_for_products(n_threads, k, d),
    )


def threads_for(settings, n_rows, k, d):
    """Return the largest number of threads that code rows together."""
    return threads.effective_n_threads(settings.n_threads, 20.0 * n_rows * k * d)


def threads_for_products(n_threads, k, d):
    """Return how many of these threads compute products of all atoms."""
    return n_threads if 2.0 * k * k * d >= SHARED_WORK else 1


class Codes(NamedTuple):
    """Codes of rows and their duality gaps."""

    codes: object  # ndarray or csr_matrix (n, k)
    gaps: np.ndarray | None  # (n,) relative duality gaps; None if the algorithm has none


def code_rows(rows, atoms, settings, *, weights=None, init=None, output_format="dense", name="X"):
    """Return `Codes` of validated rows for validated atoms, in the atoms' real type."""
    n, k = len(rows), len(atoms)
    encoder = make_encoder(atoms, settings, weights, n)
    most = threads_for(settings, n, *atoms.shape)
    team = TeamSize(most, is_fixed=settings.n_threads is not None)
    facts = ALGORITHMS[settings.algorithm]
    gaps = np.empty(n) if facts["has_gap"] else None
    width = min(k, settings.n_nonzero_coefs) if facts["pursues"] and settings.n_nonzero_coefs else k
    codes = _SparseSlices(k, width, atoms.dtype) if output_format == "csr" else None
    dense: Any = np.empty((n, k), atoms.dtype) if codes is None else None
    most_rows = n if codes is None else max(1, SPARSE_SLICE_ENTRIES // width)
    pace = Pace(min(SLICE_UNIT, most_rows), FIRST_SLICE_UNITS, most_rows)
    promise = None
    pursues_residual = facts["pursues"] and settings.n_nonzero_coefs is None
    if pursues_residual and atoms.dtype == np.float32:
        promise = ResidualPromise(atoms, settings, weights, make_encoder)
    for part in slices(n, pace, rows):
        target = {"codes": dense[part]} if codes is None else codes.buffers(part.stop - part.start)
        objectives = None if promise is None else promise.memory(rows[part])
        encoder.share(team.size, threads_for_products(team.size, *atoms.shape))
        with team.slice(part.stop - part.start):
            status = encoder.code(
                rows[part],
                check.ANYWHERE,
                init=None if init is None else init[part],
                gaps=None if gaps is None else gaps[part],
                objectives=objectives,
                **target,
            )
        if status:
            raise status_error(status, rows[part], name, atoms.dtype, part.start)
        if promise is not None and objectives is not None:
            promise.keep(rows[part], objectives, target)
        if codes is not None:
            codes.append(target)
    if gaps is not None:
        warn_of_gaps(gaps, settings)
    if promise is not None:
        promise.warn()
    return Codes(dense if codes is None else codes.matrix(n), gaps)


class _SparseSlices:
    """Sparse codes, collected slice by slice into a CSR matrix."""

    def __init__(self, n_components, width, dtype):
        self.k, self.width, self.dtype = n_components, width, dtype
        self.indices, self.values, self.counts = [], [], []
        self.memory = None

    def buffers(self, n):
        """Return buffers for the codes of n rows; each slice reuses the same memory."""
        if self.memory is None or len(self.memory["counts"]) < n:
            self.memory = {
                "indices": np.empty((n, self.width), np.int32),
                "values": np.empty((n, self.width), self.dtype),
                "counts": np.empty(n, np.int64),
            }
        return {name: array[:n] for name, array in self.memory.items()}

    def append(self, written):
        counts = written["counts"]
        width = counts.max()
        used = np.arange(width) < counts[:, None]
        self.indices.append(written["indices"][:, :width][used])
        self.values.append(written["values"][:, :width][used])
        self.counts.append(counts.copy())

    def matrix(self, n):
        ends = np.cumsum(np.concatenate(self.counts))
        index_type = np.int32 if ends[-1] < 2**31 else np.int64
        indptr = np.concatenate([[0], ends]).astype(index_type)
        indices = np.concatenate(self.indices).astype(index_type, copy=False)
        matrix = sparse.csr_matrix(
            (np.concatenate(self.values), indices, indptr), shape=(n, self.k), copy=False
        )
        matrix.has_sorted_indices = matrix.has_canonical_format = True
        return matrix


def status_error(status, rows, name, dtype, first_row=0, order=None):
    """Return the error for a status that `Encoder.code` has returned.

    The numbers of the rows are `order`, or begin at first_row.
    """
    if status & BAD_ROWS:
        return bad_row_error(rows, name, check.ANYWHERE, dtype, first_row=first_row)
    assert status & NOT_FINITE
    rows = dense_rows(rows)
    sizes = np.abs(rows.astype(np.float64))
    row, column = (int(i) for i in np.unravel_index(np.argmax(sizes), sizes.shape))
    number = first_row + row if order is None else order[row]
    return FloatingPointError(
        f"a code overflows {dtype} though {name} and the dictionary are finite: the greatest entry "
        f"is {rows[row, column]:g} at row {number}, column {column_label(name, column)}; "
        f"scale {name} down"
    )


def as_type(codes, dtype, rows, name):
    """Return codes in another type; FloatingPointError where one overflows it."""
    if codes.dtype == dtype:
        return codes
    try:
        with np.errstate(over="raise"):
            return codes.astype(dtype)
    except FloatingPointError:
        dense = codes.toarray() if sparse.issparse(codes) else codes
    raise overflow_of_row("a code", dense, dtype, rows, name)


def warn_of_gaps(gaps, settings):
    """Issue a ConvergenceWarning if any duality gap is above `tol`."""
    n_above = int((gaps > settings.tol).sum())
    if not n_above:
        return
    from sklearn.exceptions import ConvergenceWarning

    warn(
        f"{n_above} of {len(gaps)} codes have a relative duality gap above the tolerance of "
        f"{settings.tol:g} after {settings.max_iter} "
        f"iterations; the largest is {gaps.max():.2g}. Raise one of the two; float32 reaches about "
        "1e-6",
        ConvergenceWarning,
    )


def as_init(init, rows, n_components, dtype):
    """Return starting codes (n, k), or None for None.

    `init` is an array, or a fitted object that predicts codes for rows.
    """
    if init is None:
        return None
    if hasattr(init, "transform") or hasattr(init, "predict"):
        rows = rows.to_csr() if isinstance(rows, SparseRows) else rows
        init = init.transform(rows) if hasattr(init, "transform") else init.predict(rows)
    if sparse.issparse(init):
        init = init.toarray()
    codes = check.as_parameter(init, "init", (rows.shape[0], n_components))
    with np.errstate(over="ignore"):
        codes = np.ascontiguousarray(codes, dtype)
    if not np.isfinite(codes).all():
        raise ValueError(f"init must be finite in {dtype}, got NaN or infinity")
    return codes
