"""Codes of rows: the dictionary's checks, slices, output formats, the duality gap's warning. No
arithmetic on rows: that is `_sparse_coding.Encoder`'s.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, sparse

from aefast._base import arrays as check
from aefast._base import threads
from aefast._base._rows import BAD_ROWS, NOT_FINITE
from aefast._base.errors import bad_row_error, column_label, table_name
from aefast._base.passes import Pace, slices
from aefast._base.warnings import warn
from aefast.sparse_coding import _sparse_coding
from aefast.sparse_coding.residual_promise import ResidualPromise

ALGORITHMS = {row["name"]: row for row in _sparse_coding.algorithm_table()}
OUTPUT_FORMATS = ("dense", "csr")
SLICE_UNIT = 24  # rows
FIRST_SLICE_UNITS = 40
SPARSE_SLICE_ENTRIES = (
    1 << 18
)  # of the room that a slice's sparse codes are written to: it stays in cache
MOST_ATOMS = 1 << 28  # the Gram matrix of more would not be counted by 64 bits
MOST_ITERATIONS = 1 << 62
# operations between k x k and k x d numbers from which on more than one thread pays: each meeting
# of threads costs, most beside other processes
SHARED_WORK = 2e8
STEP_SAFETY = 1e-5  # of 1 / ||D||², which is itself rounded


class Settings(NamedTuple):
    """What is minimised and how: the parameters that `sparse_encode`, `SparseCoder` and
    `DictionaryLearning` share.
    """

    algorithm: str
    alpha: float
    n_nonzero_coefs: int | None
    positive: bool
    tol: float
    max_iter: int
    n_threads: int | None


def check_settings(settings, n_components):
    """ValueError or TypeError for what no problem can have. Estimators have checked types and
    ranges already; functions have not.
    """
    check.check_name(settings.algorithm, "algorithm", ALGORITHMS)
    for name in ("alpha", "tol"):
        check.check_number(getattr(settings, name), name)
    if not 0 < settings.alpha < np.inf:
        raise ValueError(f"alpha must be positive and finite, got {settings.alpha}")
    if not 0 <= settings.tol < np.inf:
        raise ValueError(f"tol must be finite and not negative, got {settings.tol}")
    if not isinstance(settings.positive, (bool, np.bool_)):
        raise TypeError(f"positive must be True or False, got {settings.positive!r}")
    if check.as_integer(settings.max_iter, "max_iter") < 1:
        raise ValueError(f"max_iter must be at least 1, got {settings.max_iter}")
    if settings.n_nonzero_coefs is not None:
        count = check.as_integer(settings.n_nonzero_coefs, "n_nonzero_coefs")
        if not 1 <= count <= n_components:
            raise ValueError(
                f"n_nonzero_coefs must be in [1, {n_components}], the number of atoms, got {count}"
            )


def as_dictionary(value, name="dictionary"):
    """Atoms (k, d) of float32 or float64, finite and none of them zero."""
    atoms = check.as_rows(value, name)
    if len(atoms) > MOST_ATOMS:
        raise ValueError(f"{name} must have at most {MOST_ATOMS} atoms, got {len(atoms)}")
    atoms = np.ascontiguousarray(atoms, check.real_type(atoms.dtype))
    check_atoms(atoms, table_name(value, name=name))
    return atoms


def check_atoms(atoms, name):
    """ValueError for atoms that nothing can be coded with, in their own real type."""
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
    """Weights (k,) in float64, positive; None stays None."""
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
    """1 / ‖D‖₂², which proximal gradient steps must not exceed."""
    D = np.asarray(atoms, np.float64)
    small = D if D.shape[0] <= D.shape[1] else D.T
    with threads.single_threaded_blas():  # the same bits for any number of threads
        gram = linalg.blas.dsyrk(1.0, small)
        last = len(gram) - 1
        largest = linalg.eigh(gram, lower=False, eigvals_only=True, subset_by_index=[last, last])[0]
    return (1 - STEP_SAFETY) / largest


def make_encoder(atoms, settings, weights=None, work_rows=1):
    """An `Encoder` for this dictionary (k, d), of its real type."""
    k, d = atoms.shape
    dtype = atoms.dtype
    if weights is not None:
        with np.errstate(all="ignore"):  # the check names what does not fit the type
            weights = weights.astype(dtype)
            atoms = np.ascontiguousarray(atoms / weights[:, None])
        check_atoms(atoms, "dictionary divided by atom_weights")
    is_omp = settings.algorithm == "omp"
    until_target = is_omp and settings.n_nonzero_coefs is None
    is_proximal = settings.algorithm in ("ista", "fista")
    n_threads = threads.effective_n_threads(settings.n_threads, 20.0 * work_rows * k * d)
    return _sparse_coding.Encoder(
        atoms,
        algorithm=settings.algorithm,
        alpha=settings.alpha,
        tol=settings.tol,
        max_iter=min(settings.max_iter, MOST_ITERATIONS),
        positive=settings.positive,
        n_nonzero=k if until_target or not is_omp else settings.n_nonzero_coefs,
        target=settings.alpha if until_target else 0.0,
        step=largest_step(atoms) if is_proximal else 0.0,
        weights=weights,
        n_threads=n_threads,
        prepare_threads=n_threads if 2.0 * k * k * d >= SHARED_WORK else 1,
    )


class Codes(NamedTuple):
    """What coding rows gives."""

    codes: object  # ndarray or csr_matrix (n, k)
    gaps: np.ndarray | None  # (n,) relative duality gaps, where the algorithm has them


def code_rows(rows, atoms, settings, *, weights=None, init=None, output_format="dense", name="X"):
    """`Codes` of validated rows for validated atoms, in the atoms' real type."""
    n, k = len(rows), len(atoms)
    encoder = make_encoder(atoms, settings, weights, n)
    gaps = np.empty(n) if ALGORITHMS[settings.algorithm]["has_gap"] else None
    width = (
        min(k, settings.n_nonzero_coefs)
        if settings.algorithm == "omp" and settings.n_nonzero_coefs
        else k
    )
    codes = _SparseSlices(k, width, atoms.dtype) if output_format == "csr" else None
    dense: Any = np.empty((n, k), atoms.dtype) if codes is None else None
    most_rows = n if codes is None else max(1, SPARSE_SLICE_ENTRIES // width)
    pace = Pace(min(SLICE_UNIT, most_rows), FIRST_SLICE_UNITS, most_rows)
    promise = None
    pursues_residual = settings.algorithm == "omp" and settings.n_nonzero_coefs is None
    if pursues_residual and atoms.dtype == np.float32:
        promise = ResidualPromise(atoms, settings, weights, make_encoder)
    for part in slices(n, pace, rows):
        target = {"codes": dense[part]} if codes is None else codes.room(part.stop - part.start)
        objectives = None if promise is None else promise.memory(rows[part])
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
            codes.keep(target)
    if gaps is not None:
        warn_of_gaps(gaps, settings)
    if promise is not None:
        promise.warn()
    return Codes(dense if codes is None else codes.matrix(n), gaps)


class _SparseSlices:
    """Sparse codes of one slice after another."""

    def __init__(self, n_components, width, dtype):
        self.k, self.width, self.dtype = n_components, width, dtype
        self.indices, self.values, self.counts = [], [], []
        self.memory = None

    def room(self, n):
        """Arrays for `Encoder.code` to write n rows to: kept from slice to slice."""
        if self.memory is None or len(self.memory["counts"]) < n:
            self.memory = {
                "indices": np.empty((n, self.width), np.int32),
                "values": np.empty((n, self.width), self.dtype),
                "counts": np.empty(n, np.int64),
            }
        return {name: array[:n] for name, array in self.memory.items()}

    def keep(self, written):
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


def status_error(status, rows, name, dtype, first_row=0):
    """The error for a status that `Encoder.code` has returned."""
    if status & BAD_ROWS:
        return bad_row_error(rows, name, check.ANYWHERE, dtype, first_row=first_row)
    assert status & NOT_FINITE
    return FloatingPointError(
        f"a code overflows {dtype} though {name} and the dictionary are finite: scale {name} down"
    )


def warn_of_gaps(gaps, settings):
    """A ConvergenceWarning where the gap that `tol` promises was not reached."""
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
    """Starting codes (n, k) from an array, or from a fitted object that predicts them for rows;
    None stays None.
    """
    if init is None:
        return None
    if hasattr(init, "transform") or hasattr(init, "predict"):
        init = init.transform(rows) if hasattr(init, "transform") else init.predict(rows)
    if sparse.issparse(init):
        init = init.toarray()
    codes = check.as_parameter(init, "init", (len(rows), n_components))
    with np.errstate(over="ignore"):
        codes = np.ascontiguousarray(codes, dtype)
    if not np.isfinite(codes).all():
        raise ValueError(f"init must be finite in {dtype}, got NaN or infinity")
    return codes
