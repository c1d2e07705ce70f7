"""Imputation of missing entries of tables: the conditional mean given the observed entries."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval, MissingValues, StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from aefast._base import arrays as check
from aefast._base import checkpoints, scalars, threads
from aefast._base.checkpoints import Checkpoint, identified, interval_of
from aefast._base.errors import column_labels, entry_error, overflow_of_row, table_name
from aefast._base.missing import observed_units, with_gaps
from aefast._base.numeric_columns import numeric_frame
from aefast._base.random import random_state_of
from aefast._base.replay import stages_of
from aefast._base.types import Array, PathLike, RandomState
from aefast._base.warnings import warn
from aefast._imputer_models import METHODS, Settings, bootstrap_weights, fitted_models
from aefast._imputer_state import CONSTANT, EMPTY, VARYING, FittedImputer, as_float
from aefast._imputer_tables import MixedTable
from aefast.tables.encoder import TableEncoder
from aefast.tables.frames import needs_encoder, read_whole

__all__ = ["Imputer"]

MOST_DRAWS = 10_000
_NAMES = "feature_names_in_"
_ADVICE = "those of the fit were numeric"


def __dir__() -> list[str]:
    return __all__


class Imputer(FittedImputer, TransformerMixin, BaseEstimator):
    """Imputer of missing entries of tables, from the entries that are observed.

    A model of the rows x is fitted to the observed entries, and a missing entry is replaced by its
    conditional mean ``E[x_j | x_o]`` given the observed entries ``x_o`` of its row. With the linear
    factor models, rows are normal,

        ``x ~ N(μ, Wᵀ W + Ψ)``,    ``E[x_m | x_o] = μ_m + Σ_mo Σ_oo⁻¹ (x_o − μ_o)``,

    and all parameters are those of greatest likelihood of the observed entries; `transform_std` has
    the conditional standard deviations and `sample` draws for multiple imputation. Columns are
    standardised inside, results are in their own units. Entries should be missing at random:
    whether one is missing may depend on observed entries, not on the missing value itself.

    Data frames with columns that are not numbers are mixed tables: a `TableEncoder` codes
    categories, dates and amounts as columns of a matrix, in which the model fills whole groups of
    columns, and a missing category becomes the most probable class. Results are frames of the
    library that came in, with its types, then. Tables of numbers give arrays, as scikit-learn's
    imputers do.

    Parameters
    ----------
    method : {"auto", "ppca", "fa", "autoencoder"}, default="auto"
        "ppca": probabilistic PCA, one noise variance for all standardised columns. "fa": factor
        analysis, a noise variance for each column, at least 0.001 of the column's. "autoencoder":
        an `Autoencoder` with ``missing="mask"`` and otherwise its defaults, which has the columns'
        own distributions in a mixed table. "auto": the one of
        "ppca" and "fa" that predicts hidden entries better.
    n_components : int or "auto", default="auto"
        k, the number of components or hidden units; of factor models at most the number d of
        columns that vary. "auto" hides a tenth of the observed entries (of 2000 rows at most), fits
        factor models with 1, 2, 4, … and d − 1 components, at most 128, to the others, and takes
        the k with the greatest log score of the hidden entries, by Student's t with 4 degrees of
        freedom. An autoencoder chooses as its own "auto" does.
    n_draws : int, default=0
        m, the number of draws of `sample`. `fit` fits m more models, each with the weights of a
        Bayesian bootstrap: exponential random numbers times `sample_weight` in distribution.
    missing_values : number, np.nan or pd.NA, default=np.nan
        What stands for a missing entry. With a number, NaN is an error.
    add_indicator : bool, default=False
        Whether `transform` appends the columns of scikit-learn's `MissingIndicator`: 1 where an
        entry was missing, for each column with missing entries in the fit.
    keep_empty_features : bool, default=False
        Whether `transform` keeps columns without an observed entry in the fit. They are left out by
        default, with a warning of `fit`; otherwise 0 takes the place of their missing entries.
    max_iter : int, default=100
        Largest number of iterations of a factor model's fit. There is no warning where it is
        reached: imputed values settle long before the likelihood does.
    roles : dict, list of pairs or None, default=None
        Roles of columns of a mixed table where those inferred are not wanted, as of `TableEncoder`:
        ``{"zip": "category"}``. With roles, every table is a mixed one, arrays too.
    max_categories : int, default=100
        Most columns of the matrix for one column of a mixed table, as of `TableEncoder`.
    random_state : int, RandomState instance or None, default=0
        Source of hidden entries, of bootstrap weights and of an autoencoder's seeds.
    checkpoint : str, path-like or None, default=None
    checkpoint_every : int, "epoch" or str, default="10 min"
    resume : bool or "auto", default="auto"
        As for `Autoencoder`: `fit` goes on from this file after the process has ended, with the
        bits of a fit that has not been interrupted. It stores the fits of all models: those
        by which the method and `n_components` are chosen, too.
    n_threads : int or None, default=None
        Number of threads, as for `Autoencoder`.

    Attributes
    ----------
    method_ : str
        "ppca", "fa" or "autoencoder".
    encoder_ : TableEncoder or None
        The encoder of a mixed table, with the roles of its columns; None for numbers.
    n_components_ : int
        k; 0 where no column varies, so that there is no model. 1 where columns are independent
        normal numbers, as they are with fewer than 5 rows or 2 columns that vary.
    mean_ : ndarray (n_features,)
        Means of the observed entries; 0 for empty columns. float64, as `scale_`. Both are of the
        encoder's columns for mixed tables.
    scale_ : ndarray (n_features,)
        Standard deviations of the observed entries; 0 for constant and empty columns.
    indicator_ : MissingIndicator or None
    n_iter_ : int
        Number of iterations of the model's fit, or of an autoencoder's epochs; 0 without a model.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X has string column names.

    Notes
    -----
    A column whose observed entries are all equal is imputed by their value, with a standard
    deviation of 0; it takes no part in the model. A row without an observed entry is imputed by the
    model's means, and one row is a table of constant columns. The fit takes a standardised copy of
    X in float64. Choices depend on the data and `random_state` alone.

    References
    ----------
    .. [1] Tipping & Bishop (1999), Probabilistic principal component analysis.
    .. [2] Rubin (1981), The Bayesian bootstrap.
    .. [3] Rubin (1987), Multiple imputation for nonresponse in surveys, chapters 3 and 4.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from aefast import Imputer
    >>> X = load_iris().data
    >>> X[::5, 2] = np.nan
    >>> filled = Imputer().fit_transform(X)
    >>> bool(np.abs(filled[::5, 2] - load_iris().data[::5, 2]).mean() < 0.3)
    True
    """

    _dense_because = "what a sparse matrix does not store is 0, and not a gap"
    _parameter_constraints: dict = {
        "method": [StrOptions({"auto", *METHODS})],
        "n_components": [
            Interval(Integral, 1, scalars.LARGEST_SIZE, closed="both"),
            StrOptions({"auto"}),
        ],
        "n_draws": [Interval(Integral, 0, MOST_DRAWS, closed="both")],
        "missing_values": [MissingValues(numeric_only=True)],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
        "roles": TableEncoder._parameter_constraints["roles"],
        "max_categories": TableEncoder._parameter_constraints["max_categories"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        **checkpoints.CONSTRAINTS,
        "n_threads": [None, Interval(Integral, 1, threads.MOST_THREADS, closed="both")],
    }

    def __init__(
        self,
        method: str = "auto",
        *,
        n_components: int | str = "auto",
        n_draws: int = 0,
        missing_values: float = np.nan,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        roles: Any = None,
        max_categories: int = 100,
        max_iter: int = 100,
        random_state: RandomState | None = 0,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        n_threads: int | None = None,
    ) -> None:
        self.method = method
        self.n_components = n_components
        self.n_draws = n_draws
        self.missing_values = missing_values
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.roles = roles
        self.max_categories = max_categories
        self.max_iter = max_iter
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.n_threads = n_threads

    # ---- fitting ----

    def fit(self, X: Any, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model to the observed entries of X.

        Parameters
        ----------
        X : array-like, frame or stream (n_samples, n_features)
        y : ignored
        sample_weight : array-like (n_samples,), optional
            Not negative: a row of weight 2 counts as two rows. Rows of weight 0 do not count.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For infinite entries, a table without an observed entry, columns that no role fits,
            invalid parameters, or a checkpoint of another fit.
        """
        self._validate_params()
        interval_of(self.checkpoint_every)
        checkpoint = Checkpoint.of(self)
        X, mixed, table = read_whole(X), None, None
        if needs_encoder(X, self.roles):
            mixed = self._new_table(X)
            table = mixed.encoder._rows(X)
            rows, name = table.matrix, mixed.name
        else:
            rows, name = self._rows(X, reset=True), table_name(X)
        weight = check.as_row_weights(sample_weight, len(rows))
        weight = np.ones(len(rows)) if weight is None else weight
        if not weight.any():
            raise ValueError("all weights are zero: there is nothing to fit to")
        rows, weight = rows[weight > 0], weight[weight > 0]
        missing = np.isnan(rows)
        if missing.all():
            raise ValueError(f"{name} has no observed entry: there is nothing to learn of it")
        means, deviations, varies = observed_units(rows, weight)
        if mixed is not None:
            means, deviations, varies = mixed.units(means, deviations, self.method == "autoencoder")
        standardised = (rows[:, varies] - means[varies]) / deviations[varies]
        kinds = np.where(varies, VARYING, np.where(missing.all(axis=0), EMPTY, CONSTANT))
        tables = {"X": rows, "sample_weight": weight}
        random = random_state_of(identified(checkpoint, self.random_state, tables))
        if checkpoint is not None:
            checkpoint.confirm(column_means=means)
        weights = [weight / weight.mean()]
        weights += [bootstrap_weights(weight, random) for _ in range(self.n_draws)]
        method, model = METHODS[0] if self.method == "auto" else self.method, None
        if varies.any():
            parameters = self.method, self.n_components, self.max_iter, self.n_threads
            of_table = (None, None) if mixed is None else (mixed.variables(), mixed.encoder.output_)
            settings = Settings(*parameters, random, *of_table)
            with stages_of(checkpoint):
                method, model = fitted_models(standardised, weights, settings)
        if checkpoint is not None:
            checkpoint.end()
        empty = np.flatnonzero(kinds == EMPTY)
        if len(empty) and not self.keep_empty_features:
            warn(
                f"columns without an observed entry are left out: {column_labels(name, empty)} "
                "(keep_empty_features=True keeps them)",
                UserWarning,
            )
        gaps = missing.any(axis=0)
        if table is not None:
            gaps = np.array([column.missing.any() for column in table.columns])
        indicator = np.flatnonzero(gaps).tolist() if self.add_indicator else None
        made = object.__new__(type(self))
        made.__dict__.update({key: self.__dict__[key] for key in vars(self) if key != _NAMES})
        if mixed is None:
            check.remember_features(made, X)
        options = indicator, bool(self.keep_empty_features), int(self.n_draws), mixed
        made._set_fitted(method, model, (means, deviations), kinds.tolist(), *options)
        self.__dict__ = made.__dict__  # at once: never parts of two fits
        return self

    # ---- use ----

    def transform(self, X: Any) -> Any:
        """Return X with missing entries replaced by their conditional means.

        Parameters
        ----------
        X : array-like or frame (n_samples, n_features)

        Returns
        -------
        X_filled : ndarray (n_samples, n_features_out), or a frame
            A copy, in which observed entries do not change; float32 for float32, uint8 and bool
            input, float64 otherwise. Columns are those of `get_feature_names_out`. Of a mixed table
            a frame of the library of X, with its types: classes are the most probable ones, numbers
            of integer types are rounded, columns that the encoder leaves out are as they were.

        Raises
        ------
        ValueError
            For infinite entries, or other columns than those of the fit.
        FloatingPointError
            Where a conditional mean overflows the type of the result.
        """
        check_is_fitted(self)
        if self._mixed is not None:
            table, standardised = self._mixed_rows(X)
            matrix = self._completed(table.matrix, self._model.means(standardised))
            return self._mixed.frame(matrix, table, self._indicator_columns)
        rows, standardised, name = self._standardised(X)
        model_means = None if self._model is None else self._model.means(standardised)
        filled = self._in_units(rows, model_means, name)
        if self.indicator_ is None:
            return filled
        marks = self.indicator_.transform(np.where(np.isnan(rows), np.nan, 0.0))
        return np.hstack([filled, marks.astype(filled.dtype)])

    def transform_std(self, X: Any) -> Any:
        """Return standard deviations of the entries that `transform` imputes, given the observed.

        Of a factor model, it is the conditional standard deviation, with the parameters taken as
        known, times a factor of at least 1 with which the intervals ``mean ± 1.645 std`` hold 90 %
        of the entries that the fit has hidden. Of an autoencoder, it is the root-mean-square error
        of hidden entries of the column in rows left out of a fit. For a class it is the probability
        that it is another one; of a date the deviation is in days.

        Parameters
        ----------
        X : array-like or frame (n_samples, n_features)

        Returns
        -------
        std : ndarray (n_samples, n_features_out), or a frame of numbers for a mixed table
            0 for observed entries and for constant columns, NaN for missing entries of empty
            columns, of which nothing is known. Columns and type are those of `transform` without
            the indicator's columns.
        """
        check_is_fitted(self)
        if self._mixed is not None:
            table, standardised = self._mixed_rows(X)
            matrix = self._completed(table.matrix, self._model.means(standardised))
            deviations = self._model.deviations(standardised) * self.scale_
            return self._mixed.uncertainties(matrix, deviations, table)
        rows, standardised, name = self._standardised(X)
        found, gaps = np.zeros(rows.shape), np.isnan(rows)
        found[gaps & (np.array(self._kinds) == EMPTY)] = np.nan
        if self._model is not None:
            with np.errstate(over="ignore"):
                scaled = self._model.deviations(standardised) * self.scale_[self._varying]
            found[:, self._varying] = scaled
        return self._as_result(found, rows, name)

    def sample(self, X: Any, random_state: RandomState | None = None) -> Any:
        """Return `n_draws` completed tables, drawn from p(missing | observed): multiple imputation.

        Each draw has parameters of its own, fitted to a bootstrap sample of the rows of `fit`, and
        draws the missing entries of a row together. An analysis is made of each table, and Rubin's
        rules pool the results; without the variation of parameters, intervals would be too short.

        Parameters
        ----------
        X : array-like or frame (n_samples, n_features)
        random_state : int, RandomState instance or None, default=None
            With an int, draws are the same in each call.

        Returns
        -------
        X_drawn : ndarray (n_draws, n_samples, n_features_out), or a list of `n_draws` frames
            Columns and type as of `transform` without the indicator's columns.

        Raises
        ------
        ValueError
            Where the estimator was fitted with ``n_draws=0``, or X is not valid for `transform`.
        """
        check_is_fitted(self)
        if self._n_draws == 0:
            raise ValueError("sample needs a fit with n_draws of at least 1, got n_draws=0")
        random = random_state_of(random_state)
        if self._mixed is not None:
            table, standardised = self._mixed_rows(X)
            drawn = self._model.draws(standardised, random)
            matrices = [self._completed(table.matrix, completed) for completed in drawn]
            return [self._mixed.frame(matrix, table, None, random) for matrix in matrices]
        rows, standardised, name = self._standardised(X)
        if self._model is None:
            drawn = [self._in_units(rows, None, name)] * self._n_draws
        else:
            draws = self._model.draws(standardised, random)
            drawn = [self._in_units(rows, completed, name) for completed in draws]
        return np.stack(drawn)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Array:
        """Return the names of the columns of `transform`.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the columns of X, by default `feature_names_in_` or x0, x1, ….

        Returns
        -------
        names : ndarray of str
            Names of the columns that are kept, then those of the indicator,
            ``missingindicator_NAME``.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        if self._mixed is not None and input_features is None:
            names = np.array([str(label) for label in self._mixed.encoder.roles_], object)
        if self.indicator_ is None:
            return names[self._kept]
        return np.concatenate([names[self._kept], self.indicator_.get_feature_names_out(names)])

    # ---- implementation ----

    def _rows(self, X, reset):
        """Return X as a table in which NaN, and nothing else, is a missing entry."""
        rows = check.estimator_rows(self, numeric_frame(X, "X", _ADVICE), reset=reset)
        name = table_name(X, None if reset else self)
        return with_gaps(rows, as_float(self.missing_values), name)

    def _standardised(self, X):
        """Return rows, their columns that vary in units of the fit, and the name of X."""
        rows, name = self._rows(X, reset=False), table_name(X, self)
        return rows, self._in_model_units(rows, name), name

    def _in_model_units(self, rows, name):
        """Return the columns of rows that vary in units of the fit."""
        columns = self._varying
        with np.errstate(over="ignore"):
            standardised = (rows[:, columns] - self.mean_[columns]) / self.scale_[columns]
        if np.isinf(standardised).any():
            row, place = np.argwhere(np.isinf(standardised))[0]
            column = columns[place]
            value = rows[row, column]
            raise entry_error(value, name, (row, column), check.ANYWHERE, standardised.dtype)
        return standardised

    # ---- mixed tables ----

    def _new_table(self, X):
        """Return the encoder of a mixed table, fitted."""
        if not np.isnan(as_float(self.missing_values)):
            raise ValueError(
                "missing_values must be NaN for tables with columns that are not numbers, whose "
                f"missing entries are null, got {self.missing_values!r}"
            )
        options = self.roles, self.max_categories, bool(self.keep_empty_features)
        return MixedTable.fitted(X, *options)

    def _mixed_rows(self, X):
        """Return rows of a mixed table, and their matrix in the model's units."""
        table = self._mixed.encoder._rows(X)
        return table, self._in_model_units(table.matrix, self._mixed.name)

    def _completed(self, matrix, completed):
        """Return a matrix whose gaps are filled from rows in the model's units."""
        return np.where(np.isnan(matrix), self.mean_ + completed * self.scale_, matrix)

    def _in_units(self, rows, completed, name):
        """Return rows with the gaps filled from standardised rows of the model, as a result."""
        values = np.broadcast_to(self.mean_, rows.shape)
        if completed is not None:
            values, columns = values.copy(), self._varying
            with np.errstate(over="ignore"):
                values[:, columns] = self.mean_[columns] + completed * self.scale_[columns]
        return self._as_result(np.where(np.isnan(rows), values, rows), rows, name)

    def _as_result(self, values, rows, name):
        with np.errstate(over="ignore"):
            result = values[:, self._kept].astype(rows.dtype, copy=False)
        if np.isinf(result).any():
            what = "an imputed value"
            raise overflow_of_row(what, result, rows.dtype, rows, name)
        return result

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_kinds")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = bool(np.isnan(as_float(self.missing_values)))
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
