"""Methods of a fitted `AutoencoderEnsemble`: results of its members, pooled or of each."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from aefast._base import arrays as check
from aefast._base import scalars
from aefast._base.errors import table_name
from aefast._base.float_range import mean_of
from aefast._base.given_results import GivenResults, into
from aefast._base.scan import scan_rows
from aefast._base.types import Array, Reals
from aefast.networks.ensemble_members import EnsembleState
from aefast.networks.ensemble_tables import as_groups
from aefast.networks.outputs import is_of_nonnegative
from aefast.networks.scan import scan_table


class EnsembleInference(GivenResults, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Methods of an estimator whose `members_` are autoencoders.

    An ensemble of groups sends each row to the member of its group. In an ensemble of one table
    every member sees its columns of every row.
    """

    _fitted_state: Callable[[], EnsembleState]
    members_: Any
    n_threads: int | None
    domain: str
    output: Any

    def transform(
        self, X: ArrayLike, groups: ArrayLike | None = None, *, out: Array | None = None
    ) -> Reals:
        """Return the codes of rows.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        groups : array-like (n_samples,) or None, default=None
            The group of each row; needed by an ensemble of groups, and by no other.
        out : ndarray or None, default=None
            C-contiguous array for the result, instead of a new one; a memory map for results that
            are larger than memory. Its content is undefined after an error.

        Returns
        -------
        H : ndarray (n_samples, n_members n_components) or (n_samples, n_components)
            The codes of all members side by side; of an ensemble of groups the codes of each row's
            member.
        """
        return self._into(out, X, groups, self._codes_of)

    def _codes_of(self, X, groups):
        rows, state, members = self._checked(X)
        if state.groups is not None:
            return self._by_group(rows, groups, "transform")
        self._refuse_groups(groups)
        k = state.model.n_components
        H = np.empty((len(rows), k * len(members)), check.real_type(rows.dtype))
        for b, (member, table) in enumerate(self._each(members, rows, state)):
            H[:, b * k : (b + 1) * k] = member.transform(table)
        return H

    def inverse_transform(self, H: ArrayLike, groups: ArrayLike | None = None) -> Reals:
        """Return the reconstructions of codes, pooled as by `reconstruct`.

        Parameters
        ----------
        H : array-like (n_samples, n_members n_components) or (n_samples, n_components)
            Codes as `transform` returns them.
        groups : array-like (n_samples,) or None, default=None
            The group of each row; needed by an ensemble of groups, and by no other.

        Returns
        -------
        X_hat : ndarray (n_samples, n_features)
        """
        state, members = self._fitted_state(), self.members_
        codes, k = check.as_rows(H, "H"), state.model.n_components
        width = k if state.groups is not None else k * len(members)
        if codes.shape[1] != width:
            raise ValueError(f"H must have {width} columns, got shape {codes.shape}")
        if state.groups is not None:
            return self._by_group(codes, groups, "inverse_transform")
        self._refuse_groups(groups)
        parts = (codes[:, b * k : (b + 1) * k] for b in range(len(members)))
        each = (
            members.plain(b).inverse_transform(np.ascontiguousarray(part))
            for b, part in enumerate(parts)
        )
        return self._pooled(each, len(codes), state, state.means, codes.dtype)

    def reconstruct(
        self, X: ArrayLike, groups: ArrayLike | None = None, *, out: Array | None = None
    ) -> Reals:
        """Return the mean of the reconstructions by all members that read the entry's column.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        groups : array-like (n_samples,) or None, default=None
            The group of each row; needed by an ensemble of groups, and by no other.
        out : ndarray or None, default=None
            As for `transform`.

        Returns
        -------
        X_hat : ndarray (n_samples, n_features)
            A column that no member reads has its mean in the fit's rows.
        """
        return self._into(out, X, groups, self._reconstructions_of)

    def _reconstructions_of(self, X, groups):
        rows, state, members = self._checked(X)
        if state.groups is not None:
            return self._by_group(rows, groups, "reconstruct")
        self._refuse_groups(groups)
        each = (member.reconstruct(table) for member, table in self._each(members, rows, state))
        return self._pooled(each, len(rows), state, state.means, rows.dtype)

    def reconstruction_error(
        self, X: ArrayLike, groups: ArrayLike | None = None, per_feature: bool = False
    ) -> Reals:
        """Return the training loss of each row, in nats, in the units of the scaled columns.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        groups : array-like (n_samples,) or None, default=None
            The group of each row; needed by an ensemble of groups, and by no other.
        per_feature : bool, default=False
            Return the loss of each entry: the mean over the members that read its column.

        Returns
        -------
        loss : ndarray (n_samples,) or (n_samples, n_features)
            The sum over the columns of these means.
        """
        return self._losses(X, groups, per_feature, "reconstruction_error")

    def score_samples(
        self,
        X: ArrayLike,
        groups: ArrayLike | None = None,
        per_feature: bool = False,
        per_member: bool = False,
        *,
        out: Array | None = None,
    ) -> Reals:
        """Return the log-likelihoods of rows, in nats, in the units of X; greater is better.

        A member's ``log p(x | μ(h(x)))`` is that of `Autoencoder.score_samples`, on its columns.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        groups : array-like (n_samples,) or None, default=None
            The group of each row; needed by an ensemble of groups, and by no other.
        per_feature : bool, default=False
            Return the contribution of each entry: the mean over the members that read its column,
            and 0 where no member does.
        per_member : bool, default=False
            Return what each member of one table gives the row, on its columns alone.
        out : ndarray or None, default=None
            As for `transform`.

        Returns
        -------
        log_likelihood : ndarray (n_samples,), (n_samples, n_features) or (n_samples, n_members)
            The sum over the columns of the contributions.
        """
        per_member = scalars.as_flag(per_member, "per_member")
        if per_member and scalars.as_flag(per_feature, "per_feature"):
            raise ValueError("per_feature and per_member exclude each other: choose one of them")

        def scores_of(X, groups):
            if per_member:
                return self._scores_of_members(X, groups)
            return self._losses(X, groups, per_feature, "score_samples")

        return self._into(out, X, groups, scores_of)

    def _scores_of_members(self, X, groups):
        rows, state, members = self._checked(X)
        if state.groups is not None:
            raise ValueError("per_member needs an ensemble of one table: a row has one group")
        self._refuse_groups(groups)
        scores = np.empty((len(rows), len(members)), check.real_type(rows.dtype))
        for b, (member, table) in enumerate(self._each(members, rows, state)):
            scores[:, b] = member.score_samples(table)
        return scores

    def score(self, X: ArrayLike, y: object = None, groups: ArrayLike | None = None) -> float:
        """Return the mean of `score_samples`; greater is better.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        y : ignored
        groups : array-like (n_samples,) or None, default=None
            The group of each row; needed by an ensemble of groups, and by no other.

        Returns
        -------
        log_likelihood : float
        """
        return mean_of(self.score_samples(X, groups), None)

    # ---- how members' results are pooled ----

    def _into(self, out, X, groups, compute):
        """Return compute(X, groups), or write it to `out`, some rows and their groups at a time."""
        if groups is None or out is None:
            return into(out, X, lambda part: compute(part, groups))
        X = X if hasattr(X, "shape") else check.as_array(X, "X")
        labels, ends = as_groups(groups, X.shape[0]), [0]

        def of_part(part):  # parts come in order
            ends.append(ends[-1] + part.shape[0])
            return compute(part, labels[ends[-2] : ends[-1]])

        return into(out, X, of_part)

    def _checked(self, X):
        state, members = self._fitted_state(), self.members_
        rows = check.estimator_rows(self, X, reset=False)
        given = rows, len(rows)
        # errors of a member would name its own columns and rows
        options: dict[str, Any] = {"n_threads": self.n_threads, "name": table_name(X, self)}
        if self.domain == "error":
            scan_table(*given, state.model.output, state.values.dtype, **options)
        else:
            scan_rows(*given, state.values.dtype, **options)
        return rows, state, members

    def _each(self, members, rows, state) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield each member with its columns of the rows."""
        for b in range(len(members)):
            table = rows if state.columns is None else np.take(rows, state.columns[b], axis=1)
            yield members.plain(b), table

    def _pooled(self, each, n, state, rest, dtype):
        """Return the means (n, n_features) of members' entries; `rest` is of columns of none."""
        sums, counts = np.zeros((n, state.n_features)), np.zeros(state.n_features)
        for b, part in enumerate(each):
            columns = state.columns_of(b)
            sums[:, columns] += part
            counts[columns] += 1
        pooled = np.where(counts > 0, sums / np.maximum(counts, 1), rest)
        return pooled.astype(check.real_type(dtype), copy=False)

    def _losses(self, X, groups, per_feature, method):
        per_feature = scalars.as_flag(per_feature, "per_feature")
        rows, state, members = self._checked(X)
        if state.groups is not None:
            return self._by_group(rows, groups, method, per_feature=per_feature)
        self._refuse_groups(groups)
        each = (
            getattr(member, method)(table, per_feature=True)
            for member, table in self._each(members, rows, state)
        )
        losses = self._pooled(each, len(rows), state, 0.0, np.float64)
        losses = losses if per_feature else losses.sum(axis=1)
        return losses.astype(check.real_type(rows.dtype), copy=False)

    def _by_group(self, rows, groups, method, **options):
        """Return a method's results for all rows, each by the member of its group."""
        if groups is None:
            raise ValueError("this ensemble has a member for each group: give the groups of rows")
        labels, members, found = as_groups(groups, len(rows)), self.members_, None
        order = np.argsort(labels, kind="stable")
        ends = np.flatnonzero(labels[order][1:] != labels[order][:-1]) + 1
        for numbers in np.split(order, ends):
            member = members.plain(self._rank(labels[numbers[0]].item()))
            part = getattr(member, method)(rows[numbers], **options)
            if found is None:
                found = np.empty((len(rows), *part.shape[1:]), part.dtype)
            found[numbers] = part
        return found

    def _refuse_groups(self, groups):
        if groups is not None:
            raise ValueError("groups must be None: this ensemble was fitted to one table")

    _rank: Callable[[Any], int]

    @property
    def _n_features_out(self):
        state = self._fitted_state()
        n = 1 if state.groups is not None else len(state.progress)
        return state.model.n_components * n

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.positive_only = is_of_nonnegative(self.output)
        return tags
