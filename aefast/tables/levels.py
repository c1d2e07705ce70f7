"""Codings of levels: one-hot groups, and steps between ordered levels."""

import numpy as np

from aefast._base import saving
from aefast._base.types import Array
from aefast.tables.coding import COUNTS, LEVELS, Coding, unseen_share
from aefast.tables.columns import Column, level_numbers
from aefast.tables.roles import BINARY, ORDERED
from aefast.tables.summary import Summary


class Levels(Coding):
    """Levels: one column of 0 and 1 for two of them, else one column for each, of which one is 1.

    Levels beyond `n_classes` − 1 are one class together, the last: levels are in descending order
    of frequency then. A level of that class has its share of the class' probability.
    """

    kind = "levels"
    checks = {"levels": LEVELS, "counts": COUNTS, "n_classes": saving.COUNT}
    levels: list
    counts: list
    n_classes: int

    @classmethod
    def fitted(cls, summary: Summary, role: str, most: int) -> "Levels":
        found = summary.counts
        known = [level for level in summary.categories if level in found]
        levels = known or sorted(found, key=lambda level: (isinstance(level, str), level))
        if len(levels) > most:
            levels = sorted(levels, key=lambda level: -found[level])
        return cls(
            summary.label,
            summary.dtype,
            role,
            levels=levels,
            counts=[found[level] for level in levels],
            n_classes=min(len(levels), most),
        )

    def _prepare(self) -> None:
        n, most = len(self.levels), self.n_classes
        if len(set(self.levels)) != n or len(self.counts) != n or not 2 <= most <= n:
            raise ValueError(f"expected distinct levels, their counts and {most} classes")
        if min(self.counts) < 1 or (self.role == BINARY and n != 2):
            raise ValueError("expected levels that have been seen, two of a binary column")
        self._class_of = np.minimum(np.arange(n), most - 1)
        totals = np.bincount(self._class_of, self.counts)
        self._log_share = np.log(np.array(self.counts) / totals[self._class_of])
        p = unseen_share(sum(self.counts), self.counts.count(1))
        self._log_unseen, self._log_seen = np.log(p), np.log1p(-p)

    @property
    def names(self) -> list[str]:
        if self.role == BINARY:
            plain = set(self.levels) == {0, 1}
            return [str(self.label) if plain else f"{self.label}_{self.levels[1]}"]
        names = [f"{self.label}_{level}" for level in self.levels[: self.n_classes]]
        if self.n_classes < len(self.levels):
            names[-1] = f"{self.label}_other"
        return names

    @property
    def output(self) -> list[tuple[str, list[int]]]:
        if self.role == BINARY:
            return [("bernoulli", [0])]
        return [("categorical", list(range(self.n_classes)))]

    def _numbers(self, column: Column) -> Array:
        """Return the numbers of the entries' levels, NaN for those that are not known."""
        column = column.of_levels()
        assert column.levels is not None
        place = np.append(level_numbers(column.levels, self.levels), np.nan)
        return place[np.where(column.missing, -1, np.nan_to_num(column.values)).astype(np.int64)]

    def encode(self, column: Column) -> Array:
        numbers = self._numbers(column)
        if self.role == BINARY:
            return numbers[:, np.newaxis]
        known = ~np.isnan(numbers)
        matrix = np.full((len(numbers), self.n_classes), np.nan)
        matrix[known] = 0
        rows = np.flatnonzero(known)
        matrix[rows, self._class_of[numbers[rows].astype(np.int64)]] = 1
        return matrix

    def decode(self, matrix: Array, random: np.random.RandomState | None = None) -> Column:
        missing = np.asarray(np.isnan(matrix).any(axis=1))
        matrix = np.where(missing[:, np.newaxis], 0.0, matrix)
        if self.role == BINARY:
            numbers = (matrix[:, 0] > 0.5).astype(np.int64)
        else:
            numbers = matrix.argmax(axis=1)  # of the last class: its most frequent level
            rest = np.flatnonzero(numbers == self.n_classes - 1)
            others = np.array(self.counts[self.n_classes - 1 :], np.float64)
            if random is not None and len(others) > 1:
                numbers[rest] += random.choice(len(others), len(rest), p=others / others.sum())
        return self._column(np.where(missing, np.nan, numbers), self.levels)

    def log_terms(self, column: Column) -> Array:
        numbers = self._numbers(column)
        known = ~np.isnan(numbers)
        terms = np.full(len(numbers), self._log_unseen)
        terms[known] = self._log_seen + self._log_share[numbers[known].astype(np.int64)]
        return np.where(column.missing, 0.0, terms)

    def class_shares(self, matrix: Array) -> Array:
        """Return the probability (n,) of the level that `decode` returns."""
        if self.role == BINARY:
            return np.maximum(matrix[:, 0], 1 - matrix[:, 0])
        share = np.exp(self._log_share[self.n_classes - 1])
        return np.max(matrix * np.append(np.ones(self.n_classes - 1), share), axis=1)


class Ordered(Coding):
    """Ordered levels: a column for each step between neighbours, 1 where the entry is above it.

    Of more than `n_classes` levels, neighbours are one class, such that the classes have about the
    same number of entries.
    """

    kind = "ordered"
    checks = {"levels": LEVELS, "counts": COUNTS, "class_of": COUNTS}
    levels: list
    counts: list
    class_of: list

    @classmethod
    def fitted(cls, summary: Summary, order: list | None, most: int) -> "Ordered":
        """`order` are all levels in order where the user has given them.

        Raises ValueError for entries that are not among these.
        """
        found = summary.counts
        if order is None:
            known = summary.categories or sorted(found)
        else:
            known = order
            strange = [level for level in found if level not in known]
            if strange:
                raise ValueError(
                    f"column {summary.label!r} has {strange[0]!r}, which is not among its levels "
                    f"{order!r} in roles"
                )
        levels = [level for level in known if level in found]
        counts = np.array([found[level] for level in levels])
        class_of = np.arange(len(levels))
        if len(levels) > most:
            middle = (np.cumsum(counts) - counts / 2) / counts.sum()
            class_of = np.unique(np.floor(middle * most), return_inverse=True)[1]
        return cls(
            summary.label,
            summary.dtype,
            ORDERED,
            levels=levels,
            counts=counts.tolist(),
            class_of=class_of.tolist(),
        )

    def _prepare(self) -> None:
        n, steps = len(self.levels), np.diff(self.class_of)
        if len(set(self.levels)) != n or not len(self.counts) == len(self.class_of) == n >= 2:
            raise ValueError("expected distinct levels, their counts and classes")
        if min(self.counts) < 1 or self.class_of[0] != 0 or not np.isin(steps, (0, 1)).all():
            raise ValueError("expected classes 0, 1, … of neighbouring levels that have been seen")
        self._class = np.array(self.class_of)
        self._n_steps = int(self._class[-1])
        totals = np.bincount(self._class, self.counts)
        self._log_share = np.log(np.array(self.counts) / totals[self._class])
        best = [np.flatnonzero(self._class == c) for c in range(self._n_steps + 1)]
        self._members = best
        self._likeliest = np.array([m[np.argmax(np.array(self.counts)[m])] for m in best])
        p = unseen_share(sum(self.counts), self.counts.count(1))
        self._log_unseen, self._log_seen = np.log(p), np.log1p(-p)

    @property
    def names(self) -> list[str]:
        last = [self.levels[members[-1]] for members in self._members[:-1]]
        return [f"{self.label}>{level}" for level in last]

    @property
    def output(self) -> list[tuple[str, list[int]]]:
        return [("bernoulli", list(range(self._n_steps)))]

    _numbers = Levels._numbers
    log_terms = Levels.log_terms

    def encode(self, column: Column) -> Array:
        numbers = self._numbers(column)  # type: ignore[misc]
        known = ~np.isnan(numbers)
        matrix = np.full((len(numbers), self._n_steps), np.nan)
        classes = self._class[numbers[known].astype(np.int64)]
        matrix[known] = classes[:, np.newaxis] > np.arange(self._n_steps)
        return matrix

    def decode(self, matrix: Array, random: np.random.RandomState | None = None) -> Column:
        """Return the likeliest level; in draws, the steps below the first one that is not taken."""
        missing = np.isnan(matrix).any(axis=1)
        if random is not None:
            below = np.cumprod(matrix > 0.5, axis=1)
            classes = below.sum(axis=1)
        else:
            classes = self.class_probabilities(matrix).argmax(axis=1)
        numbers = self._likeliest[classes]
        if random is not None:
            for c, members in enumerate(self._members):
                rows = np.flatnonzero(classes == c)
                weights = np.array(self.counts)[members]
                numbers[rows] = random.choice(members, len(rows), p=weights / weights.sum())
        return self._column(np.where(missing, np.nan, numbers), self.levels)

    def class_probabilities(self, matrix: Array) -> Array:
        """Return p (n, number of classes) from the probabilities of being above each step."""
        with np.errstate(divide="ignore"):
            above = np.log(np.clip(matrix, 1e-300, 1))
            below = np.log(np.clip(1 - matrix, 1e-300, 1))
        zeros = np.zeros((len(matrix), 1))
        log_p = np.hstack([zeros, np.cumsum(above, axis=1)])
        log_p += np.hstack([np.cumsum(below[:, ::-1], axis=1)[:, ::-1], zeros])
        log_p = np.nan_to_num(log_p, nan=0.0)
        p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def class_shares(self, matrix: Array) -> Array:
        """Return the probability (n,) of the level that `decode` returns."""
        p = self.class_probabilities(matrix)
        share = np.exp(self._log_share[self._likeliest])
        return (p * share)[np.arange(len(p)), p.argmax(axis=1)]
