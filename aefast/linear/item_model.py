"""What a fitted `ItemAutoencoder` computes from B in each of its forms, and its file."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from aefast._base import _statistics, checkpoints, ranking, threads
from aefast._base import arrays as check
from aefast._base.errors import overflow_of_row, table_name
from aefast._base.passes import Pace, slices
from aefast._base.projection import project
from aefast._base.saving import COUNT, CURVE, SIZE, Saved, Tensor, one_of
from aefast._base.sparse_rows import check_widths, csr_arrays
from aefast._base.types import Array

FORMS = ("dense", "sparse", "low rank")
ENTRIES_AT_ONCE = 1 << 22  # contributions, or entries of scores, that are computed together
TYPES = {"F32": np.float32, "F64": np.float64}


class ItemModel(Saved):
    """Scores, contributions and files of a matrix B that is dense, sparse, or A Aᵀ − I."""

    components_: Any
    loss_curve_: list[float]
    n_features_in_: int
    n_samples_seen_: int
    n_threads: int | None

    def _form(self) -> str:
        B = self.components_
        if sparse.issparse(B):
            return "sparse"
        return "dense" if getattr(self, "n_components", None) is None else "low rank"

    @property
    def n_iter_(self) -> int:
        """Number of iterations with `n_components`, 1 in closed form."""
        return max(1, len(self.loss_curve_))

    def dense_components(self) -> Array:
        """Return B (n_features, n_features) as an ndarray in any form of the model.

        The array is `components_` itself where that is dense.
        """
        B, form = self.components_, self._form()
        if form == "sparse":
            return B.toarray()
        if form == "dense":
            return B
        with threads.same_bits():
            return B.T @ B - np.diag(_lengths(B))

    # ---- scores ----

    def _scores(self, rows: Any) -> Array:
        """Return the scores of checked rows (n, d), dense or CSR, in their real type."""
        dtype, name = check.real_type(rows.dtype), table_name(None, self)
        B, form = self.components_, self._form()
        check_widths(rows, self.components_.shape[1])
        if form == "dense" and not sparse.issparse(rows):
            zeros = np.zeros(len(B))
            Z = project(rows, zeros, B, dtype=B.dtype, name=name, n_threads=self.n_threads)
        else:
            Z = self._scores_of_sparse(ranking.user_table(self, rows, name, dtype=B.dtype))
        with np.errstate(over="ignore"):
            results = Z.astype(dtype, copy=False)
        if not np.isfinite(results).all():
            raise overflow_of_row("a result", Z, dtype, rows, name)
        return results

    def _scores_of_sparse(self, rows: Any) -> Array:
        """Return the scores of CSR rows of the type of B, which may be infinite."""
        B, form = self.components_, self._form()
        if form == "low rank":
            return self._scores_of_factors(rows)
        Z = np.empty(rows.shape, B.dtype)
        step = max(1, ENTRIES_AT_ONCE // rows.shape[1])
        for part in slices(rows.shape[0], Pace.fixed(step)):
            if form == "sparse":
                Z[part] = (rows[part] @ B).toarray()
            else:
                team = threads.effective_n_threads(self.n_threads, 2.0 * rows.nnz * len(B))
                _statistics.sparse_product(*csr_arrays(rows[part]), B, Z[part], team)
        return Z

    def _scores_of_factors(self, rows: Any) -> Array:
        A = np.ascontiguousarray(self.components_.T)
        Z = np.empty((rows.shape[0], A.shape[1]), A.dtype)
        team = threads.effective_n_threads(self.n_threads, 2.0 * rows.nnz * A.shape[1])
        _statistics.sparse_product(*csr_arrays(rows), A, Z, team)
        zeros = np.zeros(A.shape[1])
        scores = project(Z, zeros, self.components_, n_threads=self.n_threads)
        of_row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        scores[of_row, rows.indices] -= rows.data * _lengths(self.components_)[rows.indices]
        return scores

    def _best(
        self, rows: Any, n: int, exclude_seen: bool, allowed: Array | None, name: str
    ) -> tuple[Any, Any]:
        """Return items and scores of CSR rows, the scores in the rows' real type."""
        check_widths(rows, self.components_.shape[1])
        source: dict[str, Any] = {"B": self.components_}
        if self._form() == "low rank":
            source = {"scores_of": self._scores_of_factors}
        options: dict[str, Any] = {"exclude_seen": exclude_seen, "allowed": allowed}
        options |= {"n_threads": self.n_threads, "name": name}
        own = rows.astype(self.components_.dtype, copy=False)
        items, scores = ranking.best_items(own, n, **source, **options)
        return items, scores.astype(rows.dtype, copy=False)

    # ---- explanations ----

    def _contributions(
        self, rows: Any, items: Array, is_none: Array, n: int
    ) -> tuple[Array, Array]:
        """Return the n largest contributions of stored entries to scores of items (users, m)."""
        m = items.shape[1]
        seen = np.full((*items.shape, n), -1, np.int64)
        found = np.zeros((*items.shape, n), rows.dtype)
        for part in _users_together(rows.indptr, m):
            first, last = rows.indptr[part.start], rows.indptr[part.stop]
            user = np.repeat(
                np.arange(part.start, part.stop), np.diff(rows.indptr[part.start : part.stop + 1])
            )
            columns, of_items = rows.indices[first:last], items[user]
            values = rows.data[first:last, None] * self._entries(columns, of_items)
            values[(columns[:, None] == of_items) | is_none[user]] = -np.inf
            group = (user[:, None] * m + np.arange(m)).ravel()
            order = np.lexsort((np.repeat(columns, m), -values.ravel(), group))
            group = group[order]
            place = np.arange(len(group)) - np.searchsorted(group, group)
            kept = (place < n) & np.isfinite(values.ravel()[order])
            at = (*np.divmod(group[kept], m), place[kept])
            seen[at] = np.repeat(columns, m)[order][kept]
            found[at] = values.ravel()[order][kept]
        return seen, found

    def _entries(self, i: Array, j: Array) -> Array:
        """Return the entries (len(i), m) of B in rows i (n,) and columns j (n, m)."""
        B, form = self.components_, self._form()
        if form == "low rank":
            A = B.T
            entries = np.einsum("nk,nmk->nm", A[i], A[j])
            return entries - (i[:, None] == j) * _lengths(B)[j]
        entries = B[np.broadcast_to(i[:, None], j.shape).ravel(), j.ravel()]
        return np.asarray(entries.todense() if sparse.issparse(entries) else entries).reshape(
            j.shape
        )

    # ---- files ----

    _file_format = "aefast item autoencoder"
    _file_version = 2
    _pickle_version = 2
    _parameters_of_process = checkpoints.PARAMETERS

    def _saved_state(self):
        B = self.components_
        return {
            "n_features": self.n_features_in_,
            "n_samples_seen": int(self.n_samples_seen_),
            "form": self._form(),
            "type": "F32" if B.dtype == np.float32 else "F64",
            "n_rows": int(B.shape[0]),
            "n_entries": int(B.nnz) if sparse.issparse(B) else 0,
            "loss_curve": list(self.loss_curve_),
        }

    def _saved_tensors(self):
        B = self.components_
        if not sparse.issparse(B):
            return {"components": B}
        if not B.nnz:
            return {"row_begin": B.indptr.astype(np.float64)}
        return {
            "row_begin": B.indptr.astype(np.float64),
            "columns": B.indices.astype(np.float64),
            "values": B.data,
        }

    @classmethod
    def _state_checks(cls):
        return {
            "n_features": SIZE,
            "n_samples_seen": COUNT,
            "form": one_of(FORMS),
            "type": one_of(TYPES),
            "n_rows": SIZE,
            "n_entries": COUNT,
            "loss_curve": CURVE,
        }

    @classmethod
    def _upgrade(cls, version, parameters, state):
        if version < 2:
            parameters |= {
                "n_components": None,
                "density": None,
                "precision": "auto",
                "item_feature_weight": 1.0,
                "max_iter": 30,
                "verbose": 0,
            }
            state |= {"form": "dense", "type": "F64", "n_entries": 0, "loss_curve": []}
            state["n_rows"] = state.get("n_features")

    @classmethod
    def _tensor_layout(cls, state):
        d, n_rows, n_entries = (state[name] for name in ("n_features", "n_rows", "n_entries"))
        if state["form"] == "sparse":
            layout = {"row_begin": Tensor((d + 1,), "F64")}
            if n_entries:
                layout["columns"] = Tensor((n_entries,), "F64")
                layout["values"] = Tensor((n_entries,), state["type"])
            return layout
        if state["form"] == "dense" and n_rows != d:
            raise ValueError(f"expected {d} rows of B, got {n_rows}")
        return {"components": Tensor((n_rows, d), state["type"])}

    def _restore(self, state, tensors):
        d = self.n_features_in_ = state["n_features"]
        self.n_samples_seen_ = state["n_samples_seen"]
        self.loss_curve_ = state["loss_curve"]
        if state["form"] != "sparse":
            self.components_ = tensors["components"]
            return
        begin = _as_indices(tensors["row_begin"], "row_begin")
        columns = _as_indices(tensors.get("columns", np.empty(0)), "columns")
        values = tensors.get("values", np.empty(0, TYPES[state["type"]]))
        B = sparse.csr_array((values, columns, begin), (d, d), copy=False)
        self.components_ = check.as_csr(B, "components")

    def _check_restored(self):
        super()._check_restored()
        if (self._form() == "low rank") != (getattr(self, "n_components", None) is not None):
            raise ValueError("n_components and the form of B contradict each other")


def _lengths(factors: Array) -> Array:
    """Return the squared lengths of items' factors (k, d): 1, or 0 where nobody chose the item."""
    return np.einsum("kd,kd->d", factors, factors)


def _as_indices(numbers, name):
    """Return float64 numbers of a file as the integers that they must be."""
    indices = numbers.astype(np.int64)
    if (numbers < 0).any() or (numbers > 2**53).any() or (indices != numbers).any():
        raise ValueError(f"expected integers that are not negative as {name!r}")
    return indices


def _users_together(offsets: Array, m: int) -> Iterator[slice]:
    """Cut users into slices whose contributions fit in memory, at least one user in each."""
    first, n = 0, len(offsets) - 1
    most = max(1, ENTRIES_AT_ONCE // m)
    while first < n:
        stop = int(np.searchsorted(offsets, offsets[first] + most, side="right")) - 1
        stop = min(n, max(first + 1, stop))
        yield slice(first, stop)
        first = stop
