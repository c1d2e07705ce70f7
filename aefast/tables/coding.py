"""Codings: how the values of one column become columns of a matrix, and come back.

Entries that are missing are NaN in all columns of their coding. So are values that the fit has not
seen: the encoder of a model knows nothing of them. Their surprise is no matter of the model, but
that of one more class, of probability

    p₀ = (s + 1) / (n + 2)

with n the number of observed entries of the fit and s that of values seen once: the estimate of
Good (1953) of what has not been seen, kept between 0 and 1. Other values have the probability of
the model times 1 − p₀. `log_terms` are the logarithms of these factors.
"""

from typing import Any, ClassVar

import numpy as np

from aefast._base.saving import Check, check_entries, is_count, is_list_of
from aefast._base.types import Array
from aefast.tables.columns import BOOLEAN, NUMBER, Column, Dtype


def is_level(value: Any) -> bool:
    return isinstance(value, (str, bool, int)) or (
        isinstance(value, float) and bool(np.isfinite(value))
    )


LEVELS = Check(is_list_of(is_level), "a list of strings, numbers or booleans")
COUNTS = Check(is_list_of(is_count), "a list of counts")


class Coding:
    """Base of codings: the column's label and type, and what the fit has found."""

    checks: ClassVar[dict[str, Check]]  # of the state in a file
    kind: ClassVar[str]  # name in files

    def __init__(self, label: Any, dtype: Dtype, role: str, **state: Any) -> None:
        self.label, self.dtype, self.role = label, dtype, role
        self.state = state
        self.__dict__.update(state)
        self._prepare()

    def _prepare(self) -> None:
        """Check that the state is consistent, and compute what follows from it."""

    @classmethod
    def restored(cls, label: Any, dtype: Dtype, role: str, state: dict[str, Any]) -> "Coding":
        check_entries(f"coding of {label!r}", state, cls.checks)
        return cls(label, dtype, role, **state)

    # ---- of each coding ----

    @property
    def names(self) -> list[str]:
        """Names of the columns of the matrix."""
        return [str(self.label)]

    @property
    def output(self) -> list[tuple[str, list[int]]]:
        """Distributions and the columns, counted from this coding's first one."""
        raise NotImplementedError

    def encode(self, column: Column) -> Array:
        """Return the columns (n, width) of the matrix."""
        raise NotImplementedError

    def decode(self, matrix: Array, random: np.random.RandomState | None = None) -> Column:
        """Return the column of some rows of the matrix: the likeliest value, or a draw."""
        raise NotImplementedError

    def log_terms(self, column: Column) -> Array:
        """Return the logarithms (n,) of the factors of p of each entry, 0 for missing ones."""
        return np.zeros(len(column.values))

    def _column(self, values: Array, levels: list | None = None) -> Column:
        """Return the column with these values; numbers and booleans are no levels any more."""
        if levels and self.dtype.kind in (NUMBER, BOOLEAN):
            codes = np.nan_to_num(values).astype(np.int64)
            values = np.where(np.isnan(values), np.nan, np.array(levels, np.float64)[codes])
            levels = [False, True] if self.dtype.kind == BOOLEAN else None
        return Column(self.label, self.dtype, values, levels)


def unseen_share(n: int, n_single: int = 0) -> float:
    """Return p₀, the probability of values that the fit has not seen."""
    return (n_single + 1) / (n + 2)
