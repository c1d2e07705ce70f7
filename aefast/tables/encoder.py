"""The estimator `TableEncoder`: tables of mixed columns as matrices, and back."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from aefast._base import arrays as check
from aefast._base import saving
from aefast._base.exchange import interop
from aefast._base.saving import Saved, Tensor
from aefast._base.types import Array, PathLike
from aefast._base.warnings import warn
from aefast.tables import roles as role
from aefast.tables.coding import Coding
from aefast.tables.codings import Dates, LeftOut, Levels, Numbers, Ordered
from aefast.tables.columns import Column
from aefast.tables.frames import NUMPY, Table, as_table, batches, label_list
from aefast.tables.layout import EncodedRows, Layout
from aefast.tables.summary import Summary


class TableEncoder(Saved, TransformerMixin, BaseEstimator):
    """Encoder of tables of mixed columns: a matrix of numbers, its distributions, and the way back.

    The role of each column follows from its type and values, and decides how it is coded and with
    which distribution a model should predict it:

    ============  ================================================  =====================
    role          inferred for                                      distribution
    ============  ================================================  =====================
    real          numbers; durations (in seconds)                   gaussian_diagonal;
                                                                    student_t where tails
                                                                    are heavy
    count         whole numbers from 0 or 1 on, skewed to the       negative_binomial
                  right, with a variance above the mean
    positive      numbers above 0, much more skewed to the right    gamma
                  than their logarithms
    binary        booleans; two texts, categories or whole numbers  bernoulli
    category      texts, categories: one-hot columns                categorical
    ordered       ordered categories: a column for each step, 1     bernoulli
                  above it
    date          dates: days since the first, points on the        gaussian_diagonal
                  circles of the year, the week and the day that
                  they go round; times: the circle of the day
    identifier    texts of which more than half are distinct,       left out
                  whole numbers 0, 1, 2, … or 1, 2, 3, …
    constant      columns of one value                              left out
    empty         columns without an observed entry                 left out
    ============  ================================================  =====================

    Columns are left out with a UserWarning that names them; texts that look like dates are named,
    too, since 1/2/2024 may be in January or in February. Missing entries are NaN in all columns of
    the matrix that belong to them.

    Parameters
    ----------
    roles : dict, list of pairs or None, default=None
        Roles of some columns, ``{"zip": "category", "visits": "count", "note": "drop"}``: one of
        "real", "count", "positive", "binary", "category", "ordered", "date" and "drop", or a list
        of levels in order, ``{"size": ["S", "M", "L"]}``. Keys are names, tuples of names, or
        callables that get the frame and return columns, such as scikit-learn's
        `make_column_selector`. A list of pairs ``[("count", slice("visits", "calls"))]`` takes
        slices too, of names (both ends included) or positions. Integers are positions, unless the
        columns' names are integers.
    max_categories : int, default=100
        Most columns of the matrix for one column. The rarest levels beyond form one class together;
        neighbouring ordered levels are merged.

    Attributes
    ----------
    roles_ : dict
        The role of each column.
    variables_ : list of Variable
        The columns of the table that are in the matrix: tuples (name, role, columns), with the
        slice of the matrix' columns that belong to it.
    output_ : list of (str, list of int)
        The distributions of the matrix' columns, as `Autoencoder` takes them as `output`.
    scale_ : str
        The `scale` of an `Autoencoder` that suits the matrix, whose columns have their own units.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where all columns have names that are strings.

    Notes
    -----
    Columns of the rows after the fit are found by their names, in any order. A missing or a new
    column and a column of another type are errors. Values that the fit has not seen (new
    categories, and numbers that a role does not allow) are NaN in the matrix, so that a model takes
    them for missing. `score_samples` of `TableAutoencoder` gives them the probability
    ``p₀ = (s + 1) / (n + 2)`` of one more class, with n the number of the fit's observed entries of
    the column, and s that of values seen once (Good 1953), and others 1 − p₀ times the model's.

    The fit reads rows once, and streams of record batches one batch at a time. A column is float64
    while it is read: integers beyond 2**53 are rounded, dates have microseconds.

    References
    ----------
    .. [1] Good (1953), The population frequencies of species and the estimation of population
       parameters.

    Examples
    --------
    >>> import pandas as pd
    >>> from aefast import TableEncoder
    >>> frame = pd.DataFrame({"size": [3.5, 1.2, None], "kind": ["a", "b", "c"]})
    >>> encoder = TableEncoder().fit(frame)
    >>> encoder.transform(frame)
    array([[3.5, 1. , 0. , 0. ],
           [1.2, 0. , 1. , 0. ],
           [nan, 0. , 0. , 1. ]])
    >>> bool((encoder.inverse_transform(encoder.transform(frame))["kind"] == frame["kind"]).all())
    True
    """

    _dense_because = "a table has a role for each column. An Autoencoder takes sparse rows"
    _parameter_constraints: dict = {
        "roles": [dict, list, None],
        "max_categories": [Interval(Integral, 2, 2**20, closed="both")],
    }

    def __init__(self, roles: Any = None, *, max_categories: int = 100) -> None:
        self.roles = roles
        self.max_categories = max_categories

    def fit(self, X: Any, y: object = None) -> Self:
        """Infer the roles of the columns, and find their levels and ranges.

        Parameters
        ----------
        X : frame, array-like or stream (n_samples, n_features)
            A frame of pandas, polars or pyarrow, any object with the Arrow PyCapsule interface, a
            stream of record batches, or an array or lists, whose columns are named x0, x1, ….
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For infinite numbers, duplicate names, types that have no role, roles that do not suit
            their columns, and tables without a column that varies.
        """
        self._validate_params()
        summaries: dict[Any, Summary] = {}
        chosen: dict[Any, Any] = {}
        table = None
        for batch in batches(X, "X", self):
            if table is None:
                table = batch
                chosen = role.chosen_roles(self.roles, table, "X")
                summaries = {
                    label: Summary(label, _wants_levels(chosen.get(label)))
                    for label in table.labels
                }
            for j, label in enumerate(table.labels):
                summaries[label].add(batch.read(j), "X")
        assert table is not None
        codings = [self._coding(s, chosen.get(s.label)) for s in summaries.values()]
        self._warn_of_left_out(codings)
        dated = [s.label for s in summaries.values() if s.label not in chosen]
        dated = [label for label in dated if role.has_written_dates(summaries[label])]
        if dated:
            warn(
                f"columns have dates as texts, which are taken for texts: {label_list(dated)}. "
                "Give dates (pandas.to_datetime makes them), or a role in `roles`",
                UserWarning,
            )
        if not any(coding.names for coding in codings):
            n = next(iter(summaries.values())).n_rows
            raise ValueError(f"no column of X varies (n_samples={n}): there is nothing to encode")
        self._set_fitted(Layout(codings, table.library), chosen)
        return self

    def _coding(self, summary: Summary, chosen: Any) -> Coding:
        """Return the coding of a column for the role that is inferred or chosen."""
        most, given = int(self.max_categories), chosen if isinstance(chosen, str) else None
        if chosen is not None:
            role.check_suits(summary, chosen)
        inferred = role.inferred_role(summary)
        found = given or (role.ORDERED if chosen is not None else inferred)
        is_constant = summary.low == summary.high or len(summary.counts) == 1
        if found != role.DROP and (summary.n_observed == 0 or is_constant):
            found = role.NOTHING if summary.n_observed == 0 else role.CONSTANT
        if found in role.LEFT_OUT:
            return LeftOut.fitted(summary, found)
        if found == role.ORDERED:
            order = None if given or chosen is None else list(chosen)
            return Ordered.fitted(summary, order, most)
        if found in role.LEVELLED:
            return Levels.fitted(summary, found, most)
        return Dates.fitted(summary) if found == role.DATED else Numbers.fitted(summary, found)

    def _warn_of_left_out(self, codings: list[Coding]) -> None:
        parts = []
        for kind, reason in role.LEFT_OUT.items():
            labels = [coding.label for coding in codings if coding.role == kind]
            if labels and kind != role.DROP:
                parts.append(f"{label_list(labels)} ({reason})")
        if parts:
            warn(
                f"columns are left out: {'; '.join(parts)}. `roles` gives them another role, or "
                '"drop" to leave them out without this notice',
                UserWarning,
            )

    def _set_fitted(self, layout: Layout, chosen: dict[Any, Any]) -> None:
        """Set what a fit has found, or a file holds."""
        self._layout, self._chosen = layout, chosen
        self.roles_ = {coding.label: coding.role for coding in layout.codings}
        self.variables_, self.output_ = layout.variables, layout.output
        self.scale_ = "standard"
        labels = layout.labels
        self.n_features_in_ = len(labels)
        if layout.library != NUMPY and all(isinstance(label, str) for label in labels):
            self.feature_names_in_ = np.array(labels, object)
        else:
            self.__dict__.pop("feature_names_in_", None)

    # ---- use ----

    def transform(self, X: Any) -> Array:
        """Return the matrix of numbers.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)
            With the columns of the fit, in any order.

        Returns
        -------
        matrix : ndarray (n_samples, n_features_out)
            float64, NaN where an entry is missing or its value was not seen in the fit.

        Raises
        ------
        ValueError
            For a missing or new column, a column of another type, and infinite numbers.
        """
        check_is_fitted(self)
        return self._layout.matrix(self._read(X)[1])

    def inverse_transform(self, X: Any) -> Any:
        """Return the table of a matrix.

        Parameters
        ----------
        X : array-like (n_samples, n_features_out)
            One that `transform` has returned, or a model's prediction of it: groups of columns that
            are not one-hot become the level of the largest entry. NaN is a missing entry.

        Returns
        -------
        table : frame of the library of the fit, or ndarray
            With the columns of the fit, their types and categories. Numbers of integer types are
            rounded. Constants come back; identifiers, empty columns and those that `roles` drops
            are null. pandas' frames have the index of X where it has one, else 0, 1, …. A table of
            arrays is float64 where all columns are numbers, else of objects.
        """
        check_is_fitted(self)
        index = getattr(X, "index", None) if type(X).__name__ == "DataFrame" else None
        matrix = check.as_array(X, "X", 2)
        width = self._layout.n_columns
        if matrix.shape[1] != width:
            raise ValueError(
                f"X must have the {width} columns of the matrix, got shape {matrix.shape}"
            )
        return self._layout.table(matrix.astype(np.float64), index=index)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Return the names of the matrix' columns.

        Parameters
        ----------
        input_features : array-like of str or None
            Checked against `feature_names_in_`, and not used.

        Returns
        -------
        names : ndarray of str
            The column's name, with its level, its step or the part of its date. A name that would
            come twice gets a number.
        """
        check_is_fitted(self)
        if input_features is not None:
            given = list(input_features)
            known = list(getattr(self, "feature_names_in_", given))
            if given != known:
                raise ValueError("input_features is not equal to feature_names_in_")
            if len(given) != self.n_features_in_:
                raise ValueError(
                    "input_features should have length equal to number of features "
                    f"({self.n_features_in_}), got {len(given)}"
                )
        return np.array(self._layout.names(), object)

    def to_onnx(self, path: PathLike) -> None:
        """Write the encoder as an ONNX file, whose output is ``matrix`` (n, n_features_out).

        Inputs, one for each of `variables_`, are those of `TableAutoencoder.to_onnx`.

        Parameters
        ----------
        path : str or path-like
            File to write; it is written beside and renamed into place.

        Raises
        ------
        ImportError
            Without the package onnx.
        ValueError
            For a column with dates in a time zone other than UTC, and one with texts and numbers
            among its levels.
        """
        interop("onnx").export(self, path)

    def _read(self, X: Any) -> tuple[Table, list[Column]]:
        """Return the table of X, and its columns in the order of the fit, checked."""
        table, layout = as_table(X, "X", self), self._layout
        if table.has_names and layout.library != NUMPY:
            layout.check_labels(table)
            numbers = [table.labels.index(label) for label in layout.labels]
        else:
            validate_data(self, X, reset=False, skip_check_array=True)
            numbers = list(range(len(layout.codings)))
        return table, layout.columns(table, numbers)

    def _rows(self, X: Any) -> EncodedRows:
        """Return the rows of a table with all that a model needs of them."""
        check_is_fitted(self)
        return self._layout.rows(*self._read(X))

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_layout")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float64"]
        return tags

    # ---- in a file ----

    _file_format = "aefast table encoder"
    _structured_parameters = ("roles",)

    def _saved_parameters(self):
        given = self.get_params(deep=False) | {"roles": None}
        parameters = {name: saving._as_json(value) for name, value in given.items()}
        self._validate_params()
        if self.roles is not None:
            pairs = self._chosen.items()
            parameters["roles"] = [[r if isinstance(r, str) else list(r), [c]] for c, r in pairs]
        return parameters

    @classmethod
    def _parameter_of_json(cls, name, value):
        if name != "roles" or value is None:
            return value
        is_pair = isinstance(value, list) and all(
            isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], list)
            for pair in value
        )
        if not is_pair:
            raise ValueError("expected pairs of a role and columns as 'roles'")
        return [(kind, columns) for kind, columns in value]

    def _saved_state(self):
        return self._layout.state()

    @classmethod
    def _state_checks(cls):
        return Layout.state_checks()

    @classmethod
    def _tensor_layout(cls, state: dict[str, Any]) -> dict[str, Tensor]:
        return {}

    def _saved_tensors(self):
        return {}

    def _restore(self, state, tensors):
        layout = Layout.of_state(state)
        chosen: dict[Any, Any] = {}
        for kind, columns in self.roles or []:
            chosen |= dict.fromkeys(columns, kind)
        self._set_fitted(layout, chosen)


def _wants_levels(chosen: Any) -> bool:
    """Whether a column is counted by its levels because of the role that was chosen."""
    return chosen is not None and (chosen in role.LEVELLED if isinstance(chosen, str) else True)
