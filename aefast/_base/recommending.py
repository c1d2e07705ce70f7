"""The method `recommend` of models that have a score for each item and user."""

from typing import Any

from numpy import int64
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from aefast._base import ranking, scalars
from aefast._base.errors import table_name
from aefast._base.types import Reals, Table


class Recommending:
    """Recommendations of an estimator that defines `_best`."""

    n_features_in_: int
    _best: Any  # (rows, n, exclude_seen, allowed, name) -> (items, scores), of CSR rows

    def recommend(
        self,
        user_rows: Table,
        n: int,
        *,
        exclude_seen: bool = True,
        filter_items: ArrayLike | None = None,
    ) -> tuple[NDArray[int64], Reals]:
        """Return the items of highest score for each user.

        Parameters
        ----------
        user_rows : array-like or CSR matrix (n_samples, n_features)
            Rows of the users, who need not be among those of `fit`.
        n : int
            Number of items to recommend, from 1 to n_features.
        exclude_seen : bool, default=True
            Leave out items whose entry is not 0.
        filter_items : array-like of int, or of bool (n_features,), optional
            Items that are not recommended to anybody: their columns, or True for each of them.

        Returns
        -------
        items : ndarray (n_samples, n) of int64
            Columns of X in the order of falling scores; of equal scores the smaller column comes
            first. −1 where there are no more items.
        scores : ndarray (n_samples, n)
            Scores of the items, as the class defines them; −inf where the item is −1.
        """
        check_is_fitted(self)
        n = ranking.as_number_of_items(n, self.n_features_in_)
        exclude_seen = scalars.as_flag(exclude_seen, "exclude_seen")
        allowed = ranking.as_allowed(filter_items, self.n_features_in_)
        rows = ranking.user_table(self, user_rows, "user_rows")
        name = table_name(user_rows, self, name="user_rows")
        return self._best(rows, n, exclude_seen, allowed, name)
