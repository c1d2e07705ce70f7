"""Sparse codes for a given dictionary: a function, and an estimator around it."""

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from aefast._base import arrays as check
from aefast._base import scalars, threads
from aefast._base.by_parts import takes_streams
from aefast._base.errors import table_name
from aefast._base.foreign_names import ForeignNames, hints
from aefast._base.given_results import into
from aefast._base.scan import scan_rows
from aefast._base.streams import opened
from aefast._base.types import Array, PathLike, Reals, Table
from aefast.sparse_coding import coding, foreign_names
from aefast.sparse_coding.coder_state import CoderState
from aefast.sparse_coding.coding import ALGORITHMS, OUTPUT_FORMATS, Settings
from aefast.sparse_coding.decoding import DecodesCodes, check_dense_output, with_split_sign

__all__ = ["SparseCoder", "sparse_encode"]

# Constraints that SparseCoder and DictionaryLearning share.
CODING_CONSTRAINTS = {
    "algorithm": [StrOptions(set(ALGORITHMS))],
    "alpha": [Interval(Real, 0, None, closed="neither")],
    "n_nonzero_coefs": [None, Interval(Integral, 1, None, closed="left")],
    "n_threads": [None, Interval(Integral, 1, threads.MOST_THREADS, closed="both")],
}


@hints(foreign_names.SPARSE_ENCODE)
def sparse_encode(
    X: Table,
    dictionary: ArrayLike,
    algorithm: str = "lasso_active",
    *,
    alpha: float = 1.0,
    n_nonzero_coefs: int | None = None,
    positive: bool = False,
    tol: float = 1e-4,
    max_iter: int = 1000,
    atom_weights: ArrayLike | None = None,
    init: ArrayLike | None = None,
    output_format: str = "dense",
    return_gap: bool = False,
    n_threads: int | None = None,
) -> Any:
    """Return the sparse codes of rows for a given dictionary.

    The code h of a row x, with D the dictionary and an atom in each of its rows, is

    - for the lasso algorithms "lasso_active", "lasso_lars", "lasso_cd", "fista" and "ista", the
      minimiser of ``½ ‖x − h D‖² + α Σ_j w_j |h_j|``;
    - for "omp" and "ormp", a greedy minimiser of ``‖x − h D‖²`` over ``‖h‖₀ ≤ n_nonzero_coefs``;
    - for "lars", the end of the path of least-angle regression, which has `n_nonzero_coefs` atoms;
    - for "threshold", ``h_j = soft(x · D_j / w_j, α) / w_j``.

    Parameters
    ----------
    X : array-like or sparse matrix (n_samples, n_features)
        Rows to code, finite; a row whose squared norm underflows may be coded as 0. float32, uint8
        and bool rows with a float32 dictionary are computed in float32, anything else in float64.
    dictionary : array-like (n_components, n_features)
        D. Atoms need not have norm 1, but none may be zero.
    algorithm : str, default="lasso_active"
        One of the following; the five lasso algorithms find the same codes.

        - "lasso_active": active sets, several atoms at a time (after the feature-sign search of Lee
          et al. 2007); the fastest.
        - "lasso_lars": the solution path (Efron et al. 2004).
        - "lasso_cd": coordinate descent (Friedman et al. 2010); active sets finish the codes that
          have not converged after a few sweeps.
        - "fista", "ista": proximal gradient steps (Beck & Teboulle 2009).
        - "omp": orthogonal matching pursuit (Pati et al. 1993): takes the atom most correlated
          with the residual, in units of the atom's length.
        - "ormp": order-recursive matching pursuit (Natarajan 1995; Cotter et al. 1999), also
          optimized OMP: takes the atom that reduces the residual most, unless it lies within 1e-4
          (float32: 0.02) of its length of the span of the atoms taken. Often the better support;
          SPAMS has it under the name omp.
        - "lars": least-angle regression (Efron et al. 2004): takes the atom most correlated with
          the residual, and moves the code so that the correlations of the atoms taken fall alike,
          up to where one more would enter. The path of "lasso_lars" until an entry changes its
          sign.
        - "threshold": one soft threshold, exact for orthonormal atoms.
    alpha : float, default=1.0
        α > 0, in units of X times those of D. For pursuits ("omp", "ormp") without
        `n_nonzero_coefs`: a row is done when ``‖x − h D‖² ≤ alpha``, or when no atom is correlated
        with the residual. float32 codes whose residual is above alpha are computed in float64 and
        rounded.
    n_nonzero_coefs : int or None, default=None
        For pursuits: the largest number of atoms in a code; "lars" needs it.
    positive : bool, default=False
        Require h ≥ 0. Pursuits and "lars" refuse it: with atoms chosen by positive correlation
        only, the code may still have negative entries.
    tol : float, default=1e-4
        A lasso code is done when its duality gap is ``≤ tol · ½ ‖x‖²``; the gap is computed afresh
        from the row and the final code, in either real type. float32 cannot resolve gaps below
        about 1e-6.
    max_iter : int, default=1000
        The largest number of sweeps ("lasso_cd", and codes that "lasso_active" or "lasso_lars" has
        to improve) or steps ("fista", "ista") for a row.
    atom_weights : array-like (n_components,) or None, default=None
        w > 0: each atom's weight in the penalty. None: 1. Pursuits do not use it.
    init : array-like (n_samples, n_components), fitted estimator or None, default=None
        Starting point of "lasso_active", "lasso_cd", "fista" and "ista": codes, or an estimator
        whose ``init.transform(X)`` (or ``predict``) gives them. None: 0. It changes the time, not
        the codes.
    output_format : {"dense", "csr"}, default="dense"
        "csr" stores the zeros of at most one slice of rows at a time.
    return_gap : bool, default=False
        Whether to return the duality gaps too.
    n_threads : int or None, default=None
        As for `Autoencoder`. Results have the same bits for any number of threads; a row's code has
        the same bits alone and among other rows.

    Returns
    -------
    H : ndarray or csr_matrix (n_samples, n_components)
    gap : ndarray (n_samples,), float64
        With return_gap=True: the relative duality gap of each code, (primal − dual) / ½‖x‖², an
        upper bound of its distance from the optimal objective.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid; the message names it.
    FloatingPointError
        If finite rows are too large for their real type.

    Warns
    -----
    ConvergenceWarning
        If a gap is above `tol` after `max_iter` iterations, or a residual of a pursuit is above
        `alpha`.

    Notes
    -----
    Memory beyond the codes: O(k² + k d) for the Gram matrix and the forms of D, and O(k min(k, d))
    for each thread.

    scikit-learn's `n_jobs` is accepted as another name of `n_threads`.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import sparse_encode
    >>> sparse_encode([[3.0, 0.5]], np.eye(2), alpha=1.0)
    array([[2., 0.]])
    """
    name = table_name(X)
    rows = check.sparse_or_dense_table(X, name)
    D = coding.as_dictionary(dictionary)
    if rows.shape[1] != D.shape[1]:
        raise ValueError(
            f"X must have {D.shape[1]} columns, as many as the dictionary, got shape {rows.shape}"
        )
    scalars.check_name(output_format, "output_format", OUTPUT_FORMATS)
    return_gap = scalars.as_flag(return_gap, "return_gap")
    settings = Settings(algorithm, alpha, n_nonzero_coefs, positive, tol, max_iter, n_threads)
    coding.check_settings(settings, len(D))
    coding.check_options(settings, init, return_gap)
    result = encode(rows, D, settings, atom_weights, init, output_format, name)
    return tuple(result) if return_gap else result.codes


def encode(rows, D, settings, atom_weights, init, output_format, name):
    """Return `coding.Codes` of validated rows, in the common real type of the rows and D.

    `name` is what error messages call the rows.
    """
    D = D.astype(check.real_type(rows.dtype, D.dtype), copy=False)
    weights = coding.as_atom_weights(atom_weights, len(D))
    init = coding.as_init(init, rows, len(D), D.dtype)
    options = {"init": init, "output_format": output_format, "name": name}
    return coding.code_rows(rows, D, settings, weights=weights, **options)


class SparseCoder(
    DecodesCodes,
    ForeignNames,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    CoderState,
    BaseEstimator,
):
    """Sparse coding of rows with a fixed dictionary.

    The estimator is stateless: `transform` works without `fit`. `sparse_encode` describes the
    objective and the parameters.

    Parameters
    ----------
    dictionary : array-like (n_components, n_features)
    algorithm : str, default="lasso_active"
        "lasso_active", "lasso_lars", "lasso_cd", "omp", "ormp", "lars", "fista", "ista" or
        "threshold".
    alpha : float, default=1.0
    n_nonzero_coefs : int or None, default=None
    positive : bool, default=False
    tol : float, default=1e-4
    code_max_iter : int, default=1000
        `max_iter` of `sparse_encode`.
    atom_weights : array-like (n_components,) or None, default=None
    init : fitted estimator or None, default=None
        Predicts the codes that "lasso_active", "lasso_cd", "fista" and "ista" start from: a trained
        `Autoencoder` with as many components, or another estimator with `transform` or `predict`.
    output_format : {"dense", "csr"}, default="dense"
    split_sign : bool, default=False
        Whether `transform` gives the positive parts of the codes and, in as many further columns,
        the negative parts: 2 n_components columns, none of them negative.
    n_threads : int or None, default=None

    Attributes
    ----------
    n_components_ : int
    n_features_in_ : int
        After `fit`.
    feature_names_in_ : ndarray of str
        After `fit`, where X has string column names.

    Notes
    -----
    These names of scikit-learn are accepted for parameters that mean the same:
    `transform_algorithm`, `transform_alpha`, `transform_n_nonzero_coefs`, `transform_max_iter`,
    `positive_code` and `n_jobs` for `algorithm`, `alpha`, `n_nonzero_coefs`, `code_max_iter`,
    `positive` and `n_threads`.

    `save` keeps all parameters but `init`, which changes the time of codes alone.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import SparseCoder
    >>> SparseCoder(np.eye(3), algorithm="omp", n_nonzero_coefs=1).transform([[1.0, -2.0, 0.5]])
    array([[ 0., -2.,  0.]])
    """

    _parameter_constraints: dict = {
        "dictionary": ["array-like"],
        **CODING_CONSTRAINTS,
        "positive": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "code_max_iter": [Interval(Integral, 1, None, closed="left")],
        "atom_weights": ["array-like", None],
        "init": [HasMethods("transform"), HasMethods("predict"), None],
        "output_format": [StrOptions(set(OUTPUT_FORMATS))],
        "split_sign": ["boolean"],
    }

    @hints(foreign_names.SPARSE_CODER)
    def __init__(
        self,
        dictionary: ArrayLike,
        algorithm: str = "lasso_active",
        *,
        alpha: float = 1.0,
        n_nonzero_coefs: int | None = None,
        positive: bool = False,
        tol: float = 1e-4,
        code_max_iter: int = 1000,
        atom_weights: ArrayLike | None = None,
        init: ArrayLike | None = None,
        output_format: str = "dense",
        split_sign: bool = False,
        n_threads: int | None = None,
    ) -> None:
        self.dictionary = dictionary
        self.algorithm = algorithm
        self.alpha = alpha
        self.n_nonzero_coefs = n_nonzero_coefs
        self.positive = positive
        self.tol = tol
        self.code_max_iter = code_max_iter
        self.atom_weights = atom_weights
        self.init = init
        self.output_format = output_format
        self.split_sign = split_sign
        self.n_threads = n_threads

    def fit(self, X: Table, y: object = None) -> Self:
        """Check the parameters and X, and remember the column names; nothing is learnt.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        y : ignored

        Returns
        -------
        self
        """
        X = opened(X)
        settings, D = self._settings()
        rows = self._rows(X, D, reset=True)
        dtype = check.real_type(rows.dtype, D.dtype)
        scan_rows(rows, len(rows), dtype, settings.n_threads, name=table_name(X))
        check.remember_features(self, X)
        return self

    @takes_streams
    def transform(self, X: Table, *, out: Array | PathLike | None = None) -> Any:
        """Return the codes H of rows.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        out : ndarray, path or None, default=None
            C-contiguous array for the result, instead of a new one; a memory map for results that
            are larger than memory. Its content is undefined after an error. Or the path of a .npy
            or .parquet file, which is then what is returned.

        Returns
        -------
        H : ndarray or csr_matrix (n_samples, n_components)
            float32 for float32, uint8 and bool rows, float64 otherwise. With `split_sign` it has
            2 n_components columns.
        """

        def codes(part):
            rows, result = self._encode(part)
            name = table_name(part, self)
            H = coding.as_type(result.codes, check.real_type(rows.dtype), rows, name)
            return with_split_sign(H) if self.split_sign else H

        check_dense_output(out, self.output_format)
        return into(out, X, codes)

    @takes_streams
    def duality_gap(self, X: Table) -> Reals:
        """Return the relative duality gaps of the codes that `transform` computes.

        Each gap is at most `tol` unless a ConvergenceWarning is issued.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)

        Returns
        -------
        gap : ndarray (n_samples,)
        """
        return self._encode(X, return_gap=True)[1].gaps

    @property
    def n_components_(self) -> int:
        return np.shape(self.dictionary)[0]

    @property
    def _n_features_out(self):
        return self.n_components_ * (2 if self.split_sign else 1)

    def _dictionary(self):
        return coding.as_dictionary(self.dictionary)

    def _settings(self):
        self._validate_params()
        settings = Settings(
            self.algorithm,
            self.alpha,
            self.n_nonzero_coefs,
            self.positive,
            self.tol,
            int(self.code_max_iter),
            self.n_threads,
        )
        D = self._dictionary()
        coding.check_settings(settings, len(D))
        coding.check_options(settings, self.init)
        return settings, D

    def _encode(self, X, return_gap=False):
        settings, D = self._settings()
        coding.check_options(settings, self.init, return_gap)
        rows = self._rows(X, D, reset=not hasattr(self, "n_features_in_"))
        options = self.atom_weights, self.init, self.output_format, table_name(X, self)
        return rows, encode(rows, D, settings, *options)

    def _rows(self, X, D, reset):
        rows = check.sparse_or_dense_rows(self, X, reset=reset)
        if rows.shape[1] != D.shape[1]:
            raise ValueError(
                f"X has {rows.shape[1]} features, but SparseCoder is expecting {D.shape[1]} "
                "features as input, as its dictionary has"
            )
        return rows

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
