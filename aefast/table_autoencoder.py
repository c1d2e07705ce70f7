"""Autoencoders of tables with mixed columns: frames in, frames out."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from aefast._base import arrays as check
from aefast._base import scalars
from aefast._base.exchange import TableToOnnx
from aefast._base.float_range import mean_of
from aefast._base.random import random_state_of
from aefast._base.types import Array, RandomState, Reals
from aefast._table_autoencoder_state import NETWORKS, FittedTableModel
from aefast.networks.autoencoder import Autoencoder
from aefast.networks.outputs import description, resolve_output
from aefast.tables.encoder import TableEncoder
from aefast.tables.frames import read_whole
from aefast.tables.layout import EncodedRows, Variable
from aefast.tables.writing import numeric_frame_of

__all__ = ["TableAutoencoder"]

MOST_CODES = 1024  # codes of rows of the fit, from which `sample` draws


def __dir__() -> list[str]:
    return __all__


class TableAutoencoder(
    TableToOnnx, FittedTableModel, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Autoencoder of tables with mixed columns: a `TableEncoder` and an `Autoencoder`.

    The encoder infers the role of each column and codes it as columns of a matrix, the autoencoder
    learns the matrix with the distribution of each role, and results are tables again, frames of
    the library that came in:

        log p(x | h(x)) = Σ_v log p_v(x_v | h(x)),    v the variables, columns of the table

    Losses are in nats, so that numbers, counts, categories and dates add up without weights.
    Entries may be missing, in the fit and afterwards.

    Parameters
    ----------
    autoencoder : Autoencoder, StackedAutoencoder or None, default=None
        The network, with its parameters; not fitted here, but cloned. None is
        ``Autoencoder(random_state=0)``. `output` follows from the columns and must be left out;
        `missing` is "mask", and `scale` "standard" where it is "auto". With a `checkpoint` `fit`
        goes on from its file.
    roles : dict, list of pairs or None, default=None
        Roles of columns where those inferred are not wanted, as of `TableEncoder`.
    max_categories : int, default=100
        Most columns of the matrix for one column of the table, as of `TableEncoder`.

    Attributes
    ----------
    encoder_ : TableEncoder
    autoencoder_ : Autoencoder or StackedAutoencoder
        The fitted network, whose columns are those of the encoder's matrix.
    roles_ : dict
        The role of each column.
    variables_ : list of Variable
        The columns of the table that the network reads: name, role, columns of the matrix.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where all columns have names that are strings.

    Notes
    -----
    Columns that are identifiers, constant or empty are left out with a notice; they are in the
    tables that come back, as they were given. Columns of later tables are found by their names.

    Values that the fit has not seen (a new category, a negative count) are missing for the network,
    and have a probability of their own in `score_samples`, ``(s + 1) / (n + 2)``, as in the Notes
    of `TableEncoder`. Amounts are modelled by their logarithms, and scored by the density of the
    amounts themselves; dates by the sum of their parts.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from aefast import TableAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> kind = rng.choice(["cat", "dog"], 300)
    >>> weight = np.where(kind == "cat", 4, 20) * rng.lognormal(0, 0.1, 300)
    >>> frame = pd.DataFrame({"kind": kind, "weight": weight, "length": weight**0.33 * 20})
    >>> model = TableAutoencoder().fit(frame)
    >>> gaps = pd.DataFrame({"kind": ["dog", None], "weight": [None, 4.1], "length": [54, 32.0]})
    >>> model.impute(gaps)["kind"].tolist()
    ['dog', 'cat']
    >>> nats = model.score_samples(gaps, per_feature=True)
    >>> list(nats.columns)
    ['kind', 'weight', 'length']
    """

    _dense_because = "a table has a role for each column. An Autoencoder takes sparse rows"
    _parameter_constraints: dict = {
        "autoencoder": [HasMethods(["fit", "reconstruct", "score_samples"]), None],
        **TableEncoder._parameter_constraints,
    }

    def __init__(
        self, autoencoder: Any = None, *, roles: Any = None, max_categories: int = 100
    ) -> None:
        self.autoencoder = autoencoder
        self.roles = roles
        self.max_categories = max_categories

    # ---- fitting ----

    def fit(self, X: Any, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Infer the roles of the columns, and train the network.

        Parameters
        ----------
        X : frame, array-like or stream (n_samples, n_features)
            A frame of pandas, polars or pyarrow, any object with the Arrow PyCapsule interface, a
            stream of record batches (which is read whole), or an array or lists.
        y : ignored
        sample_weight : array-like (n_samples,), optional
            Factors of the losses of the rows. Roles do not depend on them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For tables that `TableEncoder` refuses, and for an autoencoder with an `output`.
        """
        self._validate_params()
        network = self._new_network()
        encoder = TableEncoder(self.roles, max_categories=self.max_categories)
        X = read_whole(X)
        matrix = encoder.fit(X).transform(X)
        scale = encoder.scale_ if _is_auto(network.scale) else network.scale
        network.set_params(output=encoder.output_, missing="mask", scale=scale)
        network.fit(matrix, sample_weight=sample_weight)
        self._set_fitted(encoder, network, _some_codes(network, matrix))
        return self

    @classmethod
    def from_fitted(cls, encoder: TableEncoder, autoencoder: Any, X: Any) -> Self:
        """Return the model of a fitted encoder and a network that was trained on its matrix.

        So a network can be trained in steps of one's own: with `partial_fit`, from checkpoints, by
        a search for its parameters.

        Parameters
        ----------
        encoder : TableEncoder
        autoencoder : Autoencoder or StackedAutoencoder
            Fitted to ``encoder.transform(rows)`` with the encoder's `output_` as `output`, and with
            ``missing="mask"``.
        X : frame, array-like or ndarray (n_samples, n_features)
            Some rows, at most 1024 of which `sample` will draw from: a table, or the matrix of one.

        Returns
        -------
        model : TableAutoencoder
            Encoder and network are those given, not copies. Its parameter `autoencoder` is an
            unfitted network with the parameters of that given.

        Raises
        ------
        TypeError
            For encoders and networks of other kinds.
        ValueError
            For a network with other columns or distributions, or without missing entries.
        """
        if not isinstance(encoder, TableEncoder):
            raise TypeError(f"encoder must be a TableEncoder, got {type(encoder).__name__}")
        _check_is_network(autoencoder)
        check_is_fitted(encoder)
        check_is_fitted(autoencoder)
        width = encoder._layout.n_columns
        expected = resolve_output(encoder.output_, width)
        state = autoencoder._state
        if state.model.n_features != width or state.model.output != expected:
            raise ValueError(
                f"autoencoder must have been fitted to the encoder's matrix of {width} columns, "
                f"with its output_, got a network of {state.model.n_features} columns, "
                f"output={description(state.model.output)!r}"
            )
        if state.fill is None:
            raise ValueError("autoencoder must have been fitted with missing='mask'")
        template = clone(autoencoder).set_params(output="gaussian")
        model = cls(template, roles=encoder.roles, max_categories=encoder.max_categories)
        is_matrix = isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == width
        matrix = X if is_matrix and X.dtype.kind == "f" else encoder.transform(X)
        model._set_fitted(encoder, autoencoder, _some_codes(autoencoder, matrix))
        return model

    def _new_network(self) -> Any:
        template: Any = self.autoencoder
        if template is None:
            return Autoencoder(random_state=0)
        _check_is_network(template)
        if not (isinstance(template.output, str) and template.output == "gaussian"):
            raise ValueError(
                "autoencoder must not have an output: distributions follow from the roles of the "
                "columns, which `roles` changes"
            )
        return clone(template)

    @property
    def roles_(self) -> dict[Any, str]:
        return self.encoder_.roles_

    @property
    def variables_(self) -> list[Variable]:
        return self.encoder_.variables_

    @property
    def _n_features_out(self) -> int:
        return self._codes.shape[1]

    # ---- use ----

    def transform(self, X: Any) -> Reals:
        """Return the codes of the rows.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)
            With the columns of the fit, in any order.

        Returns
        -------
        H : ndarray (n_samples, n_components), or a frame with `set_output`
            float64.
        """
        rows = self._rows(X)
        return self.autoencoder_.transform(rows.matrix)

    def inverse_transform(self, H: ArrayLike) -> Any:
        """Return the table of codes.

        Parameters
        ----------
        H : array-like (n_samples, n_components)

        Returns
        -------
        table : frame of the library of the fit, or ndarray
            As of `TableEncoder.inverse_transform`: the most probable levels, the means of numbers
            (of logarithms, for amounts), and null in columns that are left out but not constant.
        """
        check_is_fitted(self)
        return self.encoder_.inverse_transform(self.autoencoder_.inverse_transform(H))

    def reconstruct(self, X: Any) -> Any:
        """Return the table of reconstructions of the rows.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)

        Returns
        -------
        table : frame or ndarray of the kind of X
            With its columns, types and index. Columns that are left out are those of X.
        """
        rows = self._rows(X)
        return self.encoder_._layout.table(self.autoencoder_.reconstruct(rows.matrix), rows)

    def impute(self, X: Any) -> Any:
        """Return X with each missing entry replaced by its reconstruction.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)

        Returns
        -------
        table : frame or ndarray of the kind of X
            Observed entries are as they were, and so are columns that are left out, except that
            gaps of constants are filled.
        """
        rows = self._rows(X)
        filled = self.autoencoder_.impute(rows.matrix)
        return self.encoder_._layout.table(filled, rows, gaps_only=True)

    def sample(self, n_samples: int = 1, random_state: RandomState | None = None) -> Any:
        """Draw rows from ``(1/m) Σ_i p(x | h(x_i))``, with m rows of the fit, at most 1024.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        table : frame of the library of the fit, or ndarray
            Types and columns are those of the fit; levels are drawn, not the most probable ones.
        """
        check_is_fitted(self)
        if scalars.as_integer(n_samples, "n_samples") < 1:
            raise ValueError(f"n_samples must be at least 1, got {n_samples}")
        random = random_state_of(random_state)
        H = self._codes[random.randint(len(self._codes), size=int(n_samples))]
        drawn = self.autoencoder_.sample_output(H, random)
        return self.encoder_._layout.table(drawn.astype(np.float64), random=random)

    def score_samples(self, X: Any, per_feature: bool = False) -> Any:
        """Return ``log p(x | h(x))`` of each row in nats, or of each variable.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)
        per_feature : bool, default=False
            Return the contribution of each variable: that of a group of columns belongs to the one
            variable that it codes.

        Returns
        -------
        log_likelihood : ndarray (n_samples,), or a frame of the kind of X
            With `per_feature` a column for each of `variables_`, by its name, with the index of X;
            an ndarray (n_samples, number of variables) where X has no names. Missing entries have
            0, unseen values log p₀ (see Notes of the class).
        """
        per_feature = scalars.as_flag(per_feature, "per_feature")
        rows = self._rows(X)
        nats = self._nats(rows)
        if not per_feature:
            return nats.sum(axis=1)
        names = [variable.name for variable in self.variables_]
        return numeric_frame_of(nats, names, rows.table.library, rows.table.index)

    def _nats(self, rows: EncodedRows) -> Array:
        of_columns = self.autoencoder_.score_samples(rows.matrix, per_feature=True)
        first = [variable.columns.start for variable in self.variables_]
        return np.add.reduceat(of_columns, first, axis=1) + rows.log_terms

    def score(self, X: Any, y: object = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean of `score_samples`; greater is better.

        Parameters
        ----------
        X : frame or array-like (n_samples, n_features)
        y : ignored
        sample_weight : array-like (n_samples,), optional

        Returns
        -------
        log_likelihood : float
        """
        scores = self.score_samples(X)
        return mean_of(scores, check.as_mean_weight(sample_weight, len(scores)))

    def _rows(self, X: Any) -> EncodedRows:
        check_is_fitted(self)
        return self.encoder_._rows(X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "autoencoder_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float64"]
        return tags


def _check_is_network(given: Any) -> None:
    if not isinstance(given, tuple(NETWORKS.values())):
        raise TypeError(
            "autoencoder must be an Autoencoder, a StackedAutoencoder or None, got "
            f"{type(given).__name__}"
        )


def _some_codes(network: Any, matrix: Array) -> Array:
    """Return the codes of evenly spread rows, from which `sample` draws."""
    order = np.linspace(0, len(matrix) - 1, min(len(matrix), MOST_CODES)).astype(np.intp)
    return network.transform(matrix[order])


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"
