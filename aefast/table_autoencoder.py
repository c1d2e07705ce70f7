"""Autoencoders of tables with mixed columns: frames in, frames out."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from aefast._base import arrays as check
from aefast._base import scalars
from aefast._base.float_range import mean_of
from aefast._base.random import random_state_of
from aefast._base.saving import OBJECT, SIZE, Saved, Tensor, check_entries, one_of
from aefast._base.types import Array, RandomState, Reals
from aefast.networks.autoencoder import Autoencoder
from aefast.networks.stacked import StackedAutoencoder
from aefast.tables.encoder import EncodedRows, TableEncoder, Variable
from aefast.tables.writing import numeric_frame_of

__all__ = ["TableAutoencoder"]

NETWORKS: dict[str, Any] = {cls._file_format: cls for cls in (Autoencoder, StackedAutoencoder)}
MOST_CODES = 1024  # codes of rows of the fit, from which `sample` draws


def __dir__() -> list[str]:
    return __all__


class TableAutoencoder(Saved, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
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
        `missing` is "mask", and `scale` "standard" where it is "auto".
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
        X = encoder._whole(X)
        matrix = encoder.fit(X).transform(X)
        scale = encoder.scale_ if _is_auto(network.scale) else network.scale
        network.set_params(output=encoder.output_, missing="mask", scale=scale)
        network.fit(matrix, sample_weight=sample_weight)
        order = np.linspace(0, len(matrix) - 1, min(len(matrix), MOST_CODES)).astype(np.intp)
        self._set_fitted(encoder, network, network.transform(matrix[order]))
        return self

    def _new_network(self) -> Any:
        template: Any = self.autoencoder
        if template is None:
            return Autoencoder(random_state=0)
        is_network = isinstance(template, tuple(NETWORKS.values()))
        if not is_network:
            raise TypeError(
                "autoencoder must be an Autoencoder, a StackedAutoencoder or None, got "
                f"{type(template).__name__}"
            )
        if not (isinstance(template.output, str) and template.output == "gaussian"):
            raise ValueError(
                "autoencoder must not have an output: distributions follow from the roles of the "
                "columns, which `roles` changes"
            )
        return clone(template)

    def _set_fitted(self, encoder: TableEncoder, network: Any, codes: Array) -> None:
        self.encoder_, self.autoencoder_, self._codes = encoder, network, codes
        self.n_features_in_ = encoder.n_features_in_
        if hasattr(encoder, "feature_names_in_"):
            self.feature_names_in_ = encoder.feature_names_in_
        else:
            self.__dict__.pop("feature_names_in_", None)

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
        return self.encoder_._decoded(self.autoencoder_.reconstruct(rows.matrix), rows)

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
        return self.encoder_._decoded(filled, rows, gaps_only=True)

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
        return self.encoder_._decoded(drawn.astype(np.float64), random=random)

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
        return self.encoder_._read_rows(X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "autoencoder_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float64"]
        return tags

    # ---- in a file ----

    _file_format = "aefast table autoencoder"
    _structured_parameters = ("roles", "autoencoder")

    def _saved_parameters(self):
        parameters = self.encoder_._saved_parameters()
        network = None
        if self.autoencoder is not None:
            network = {
                "format": self.autoencoder._file_format,
                "parameters": self.autoencoder._saved_parameters(),
            }
        return parameters | {"autoencoder": network}

    @classmethod
    def _parameter_of_json(cls, name, value):
        if name != "autoencoder":
            return TableEncoder._parameter_of_json(name, value)
        if value is None:
            return None
        checks = {"format": one_of(NETWORKS), "parameters": OBJECT}
        check_entries("autoencoder", value, checks)
        return NETWORKS[value["format"]]._from_parameters(value["parameters"])

    def _saved_state(self):
        network = self.autoencoder_
        return {
            "n_codes": len(self._codes),
            "encoder": self.encoder_._saved_state(),
            "network": {
                "format": network._file_format,
                "parameters": network._saved_parameters(),
                "state": network._saved_state(),
            },
        }

    @classmethod
    def _state_checks(cls):
        return {
            "n_codes": SIZE,
            "encoder": TableEncoder._state_checks(),
            "network": {"format": one_of(NETWORKS), "parameters": OBJECT, "state": OBJECT},
        }

    @classmethod
    def _tensor_layout(cls, state):
        described = state["network"]
        of_network = NETWORKS[described["format"]]
        check_entries("state", described["state"], of_network._state_checks())
        layout = of_network._tensor_layout(described["state"])
        if not described["state"]["fills"]:
            raise ValueError("expected a network that was fitted with missing entries")
        k = of_network._model_of_file(described["state"]).n_components
        prefixed = {f"network.{name}": tensor for name, tensor in layout.items()}
        return prefixed | {"codes": Tensor((state["n_codes"], k), "F64")}

    def _saved_tensors(self):
        of_network = self.autoencoder_._saved_tensors().items()
        tensors = {f"network.{name}": array for name, array in of_network}
        return tensors | {"codes": self._codes.astype(np.float64)}

    def _restore(self, state, tensors):
        encoder = TableEncoder(self.roles, max_categories=self.max_categories)
        encoder._restore(state["encoder"], {})
        described, codes = state["network"], tensors.pop("codes")
        network = NETWORKS[described["format"]]._from_parameters(described["parameters"])
        own = {name.removeprefix("network."): array for name, array in tensors.items()}
        network._restore(described["state"], own)
        network._check_restored()
        if network.n_features_in_ != encoder._n_columns:
            raise ValueError(
                f"expected a network of {encoder._n_columns} columns, got {network.n_features_in_}"
            )
        self._set_fitted(encoder, network, codes)


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"
