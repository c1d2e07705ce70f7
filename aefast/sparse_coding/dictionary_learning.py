"""The estimator `DictionaryLearning`."""

from functools import partial
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions

from aefast._base import arrays as check
from aefast._base import checkpoints
from aefast._base.checkpoints import Checkpoint
from aefast._base.epochs import run_epochs
from aefast._base.errors import table_name
from aefast._base.foreign_names import hints
from aefast._base.progress import check_callbacks
from aefast._base.random import held_out_rows, seed_of, split_rows
from aefast._base.scan import scan_rows
from aefast._base.stopping import EarlyStopping, Patience
from aefast._base.stream_parts import AllBut
from aefast._base.streams import StreamedRows, opened
from aefast._base.types import Callbacks, PathLike, RandomState, Table
from aefast.sparse_coding import coding, foreign_names
from aefast.sparse_coding.coder import CODING_CONSTRAINTS
from aefast.sparse_coding.coding import OUTPUT_FORMATS, Settings
from aefast.sparse_coding.collecting import CollectedStatistics
from aefast.sparse_coding.fitted_dictionary import FittedDictionary
from aefast.sparse_coding.learner import DictionaryState, Learner, initial_atoms, no_statistics
from aefast.sparse_coding.partitioned_learning import FITTED, PartitionedLearning
from aefast.sparse_coding.training import DictionaryTraining

__all__ = ["DictionaryLearning"]


class DictionaryLearning(
    PartitionedLearning,
    CollectedStatistics,
    FittedDictionary,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Online learning of a dictionary for sparse codes (Mairal et al. 2010).

    The learner minimises, over dictionaries D whose atoms (rows) have norm at most 1, the mean over
    rows of

        ``f(x, D) = min_h ½ ‖x − h D‖² + α ‖h‖₁``

    (for pursuits: ``½ ‖x − h D‖²`` with at most `n_nonzero_coefs` atoms). For each batch it codes
    the rows, adds them to the statistics, ``A ← (1 − b/t)^forgetting A + Σ hᵀh`` and likewise B
    with ``Σ hᵀx``, and then moves each atom in turn to its best value for
    ``½ tr(Dᵀ A D) − tr(Dᵀ B)``. Here b is the number of rows in the batch, and t the number of rows
    seen, the batch included.

    Parameters
    ----------
    n_components : int or None, default=100
        k, the number of atoms; may exceed the number of rows or of features. None: the number of
        features.
    alpha : float, default=1.0
    algorithm : str, default="lasso_active"
        Algorithm of the codes: "lasso_active", "lasso_lars", "lasso_cd", "omp", "ormp", "lars",
        "fista", "ista" or "threshold". It and `alpha`, `n_nonzero_coefs`, `positive_code`,
        `code_tol` and `code_max_iter` have the meaning they have in `sparse_encode`.
    n_nonzero_coefs : int or None, default=None
    batch_size : int, default=256
        Rows between two updates, all rows where there are fewer.
    max_epochs : int, default=10
        Passes over the rows; 0 only initialises.
    forgetting : float, default=5.0
        How fast the weight of codes of older dictionaries falls: when t rows have been seen, the
        codes of a batch that ended with row s have the weight ``(s / t)^forgetting``, whatever the
        sizes of batches. 0: all have the same weight.
    positive_code, positive_dict : bool, default=False
        Require h ≥ 0, D ≥ 0.
    dict_init : "data", array-like (n_components, n_features) or None, default="data"
        "data" (and None): different rows in random order, scaled to norm 1, then random directions
        if there are fewer rows than atoms. Atoms of an array whose norm exceeds 1 are scaled to
        norm 1.
    replace_unused : bool, default=True
        Replace atoms that no code has used over the last 10 · n_components rows by the rows with
        the largest objectives.
    early_stopping : bool, default=False
        Hold out rows, monitor their objective, and keep the dictionary of the best epoch.
    validation_fraction : float in (0, 1), default=0.1
        Fraction of the rows that `early_stopping` holds out.
    n_epochs_no_change : int, default=3
        Epochs without an improvement of `tol` after which learning stops.
    tol : float, default=1e-3
        Relative improvement of the monitored objective (on held-out rows with `early_stopping`, on
        the batches without). 0 runs all epochs.
    code_tol : float, default=1e-4
        Relative duality gap of the codes.
    code_max_iter : int, default=1000
        The largest number of sweeps or steps of the algorithm for one row.
    transform_algorithm, transform_alpha, transform_n_nonzero_coefs : default=None
        `algorithm`, `alpha` and `n_nonzero_coefs` of the codes that `transform` returns. None: as
        in learning. `score` has the objective of learning.
    split_sign : bool, default=False
        Whether `transform` gives the positive parts of the codes and, in as many further columns,
        the negative parts: 2 n_components columns, none of them negative.
    shuffle : bool, default=True
        Visit rows in a new random order in each pass.
    output_format : {"dense", "csr"}, default="dense"
        Format of the codes that `transform` returns.
    n_threads : int or None, default=None
        As for `Autoencoder`. Results have the same bits for any number of threads.
    random_state : int, RandomState instance or None, default=None
    callbacks : callable, list of callables or None, default=None
        As for `Autoencoder`: ``callback(epoch, objective, validation_objective, estimator)`` is
        called after each epoch; a callback that returns True stops learning.
    checkpoint : str, path-like or None, default=None
    checkpoint_every : int, "epoch" or str, default="10 min"
    resume : bool or "auto", default="auto"
        As for `Autoencoder`: `fit` goes on from this file after the process has ended, with the
        bits of a fit that has not been interrupted. A step is a batch.
    verbose : int, default=0
        1 shows a progress bar, 2 prints a line for each pass instead.

    Attributes
    ----------
    components_ : ndarray (n_components, n_features)
        D, in float32 for float32, uint8 and bool rows, in float64 otherwise.
    objective_curve_ : list of float
        For each pass, the mean over rows of f(x, D) before the update of the row's batch.
    validation_objective_curve_ : list of float
        Mean of f(x, D) over the held-out rows after each pass; empty without `early_stopping`.
    history_ : dict of list
        A table with a row for each pass, as for `Autoencoder`, of objectives as losses.
        `partial_fit` continues it.
    best_epoch_ : int
        Pass with the least validation objective or, without one, the least objective.
    statistics_ : Statistics
        Sums that `accumulate` has collected: named tuple ``(A, B, objective, n_rows)``.
    n_epochs_, n_features_in_ : int
    n_iter_, n_steps_ : int
        Passes, as `n_epochs_`, and batches that the dictionary has learnt from: scikit-learn's
        names.
    feature_names_in_ : ndarray of str
        Only where X has string column names.

    Notes
    -----
    X is not copied (nor is a memory map) if its type is float32, float64, uint8 or bool. Ctrl-C
    leaves a usable estimator with the dictionary reached so far. Memory beyond the rows is
    O(k² + k d).

    These names of scikit-learn are accepted for parameters that mean the same: `max_iter`,
    `fit_algorithm` ("lars", "cd"), `transform_max_iter` and `n_jobs` for `max_epochs`, `algorithm`
    ("lasso_lars", "lasso_cd"), `code_max_iter` and `n_threads`.

    References
    ----------
    .. [1] Mairal, Bach, Ponce & Sapiro (2010), Online learning for matrix factorization and sparse
       coding, algorithms 1 and 2.
    .. [2] Olshausen & Field (1996), Emergence of simple-cell receptive field properties by learning
       a sparse code for natural images.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from aefast import DictionaryLearning
    >>> X = load_digits().data / 16
    >>> learner = DictionaryLearning(80, alpha=0.2, max_epochs=3, random_state=0).fit(X)
    >>> learner.transform(X).shape
    (1797, 80)
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, coding.MOST_ATOMS, closed="both"), None],
        **CODING_CONSTRAINTS,
        "code_max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "forgetting": [Interval(Real, 0, None, closed="left")],
        "positive_code": ["boolean"],
        "positive_dict": ["boolean"],
        "dict_init": [StrOptions({"data"}), "array-like", None],
        "replace_unused": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_epochs_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "code_tol": [Interval(Real, 0, None, closed="left")],
        "transform_algorithm": [*CODING_CONSTRAINTS["algorithm"], None],
        "transform_alpha": [*CODING_CONSTRAINTS["alpha"], None],
        "transform_n_nonzero_coefs": CODING_CONSTRAINTS["n_nonzero_coefs"],
        "split_sign": ["boolean"],
        "shuffle": ["boolean"],
        "output_format": [StrOptions(set(OUTPUT_FORMATS))],
        "random_state": ["random_state"],
        "callbacks": [None, callable, list, tuple],
        **checkpoints.CONSTRAINTS,
        "verbose": ["verbose"],
    }

    @hints(foreign_names.DICTIONARY_LEARNING)
    def __init__(
        self,
        n_components: int | None = 100,
        *,
        alpha: float = 1.0,
        algorithm: str = "lasso_active",
        n_nonzero_coefs: int | None = None,
        batch_size: int = 256,
        max_epochs: int = 10,
        forgetting: float = 5.0,
        positive_code: bool = False,
        positive_dict: bool = False,
        dict_init: str | ArrayLike | None = "data",
        replace_unused: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_epochs_no_change: int = 3,
        tol: float = 1e-3,
        code_tol: float = 1e-4,
        code_max_iter: int = 1000,
        transform_algorithm: str | None = None,
        transform_alpha: float | None = None,
        transform_n_nonzero_coefs: int | None = None,
        split_sign: bool = False,
        shuffle: bool = True,
        output_format: str = "dense",
        n_threads: int | None = None,
        random_state: RandomState | None = None,
        callbacks: Callbacks | None = None,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        verbose: int | bool = 0,
    ) -> None:
        self.n_components = n_components
        self.alpha = alpha
        self.algorithm = algorithm
        self.n_nonzero_coefs = n_nonzero_coefs
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.forgetting = forgetting
        self.positive_code = positive_code
        self.positive_dict = positive_dict
        self.dict_init = dict_init
        self.replace_unused = replace_unused
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_epochs_no_change = n_epochs_no_change
        self.tol = tol
        self.code_tol = code_tol
        self.code_max_iter = code_max_iter
        self.transform_algorithm = transform_algorithm
        self.transform_alpha = transform_alpha
        self.transform_n_nonzero_coefs = transform_n_nonzero_coefs
        self.split_sign = split_sign
        self.shuffle = shuffle
        self.output_format = output_format
        self.n_threads = n_threads
        self.random_state = random_state
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.verbose = verbose

    # ---- learning ----

    def fit(self, X: Table, y: object = None, *, X_val: Table | None = None) -> Self:
        """Learn a dictionary from X, starting afresh.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
        y : ignored
        X_val : array-like (n_validation_samples, n_features) or None, default=None
            Rows whose mean objective after each pass is the validation objective. `early_stopping`
            then holds out no rows of X; without it learning does not depend on them.

        Returns
        -------
        self
        """
        settings = self._settings()
        checkpoint = Checkpoint.of(self)
        X, X_val = opened(X), opened(X_val, "X_val", whole=True)
        rows = check.sparse_or_dense_rows(self, X, reset=True)
        X_val = None if X_val is None else check.validation_rows(self, X, rows, X_val)
        holds_out = self.early_stopping and X_val is None
        if holds_out and len(rows) < 2:
            raise ValueError(
                "early_stopping=True needs at least 2 samples to hold one out, got n_samples = "
                f"{len(rows)}"
            )
        seed = self._draw_seed() if checkpoint is None else checkpoint.seed(self._draw_seed)
        if checkpoint is not None:
            tables = {"X": rows, "X_val": X_val}
            checkpoint.identify(seed, tables, check.feature_names(X))
        train: Any = len(rows)
        held_out = None
        if holds_out and isinstance(rows, StreamedRows):
            most = rows.window_rows()
            held_out = held_out_rows(len(rows), self.validation_fraction, seed, most)
            train = AllBut(len(rows), held_out)
        elif holds_out:
            train, held_out = split_rows(len(rows), self.validation_fraction, seed)
        state = self._initial_state(rows, train, held_out, seed, table_name(X))
        if X_val is not None:
            scan_rows(X_val, len(X_val), state.components.dtype, self.n_threads, name="X_val")
        former = {name: vars(self)[name] for name in FITTED if name in vars(self)}
        self._begin(X, state, ([], [], 0))
        try:
            validation = (rows, held_out) if X_val is None else (X_val, np.arange(len(X_val)))
            if isinstance(rows, StreamedRows) and held_out is not None:
                validation = rows.take(held_out), np.arange(len(held_out))
            self._learn(settings, rows, train, validation, self.max_epochs, checkpoint)
        except FloatingPointError:
            if former and self.n_epochs_ == 0:  # nothing has been learnt: the former model stays
                self.__dict__.pop("feature_names_in_", None)
                self.__dict__.update(former)
            raise
        return self

    def partial_fit(self, X: Table, y: object = None) -> Self:
        """Learn from X in one pass, continuing from the present dictionary.

        The first call initialises the dictionary. `max_epochs`, `early_stopping` and `tol` are not
        used.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
        y : ignored

        Returns
        -------
        self
        """
        settings, X = self._settings(), opened(X)
        if isinstance(X, StreamedRows) and X.source.reads_once:
            for part in X.parts():
                self.partial_fit(part)
            return self
        rows = self._rows_to_go_on(X)
        self._learn(settings, rows, len(rows), (rows, None), 1)
        return self

    def _settings(self):
        self._validate_params()
        check_callbacks(self.callbacks)
        checkpoints.interval_of(self.checkpoint_every)
        settings = Settings(
            self.algorithm,
            self.alpha,
            self.n_nonzero_coefs,
            self.positive_code,
            float(self.code_tol),
            int(self.code_max_iter),
            self.n_threads,
        )
        coding.check_settings(settings, self._n_atoms(coding.MOST_ATOMS))
        coding.check_options(settings)
        return settings

    def _n_atoms(self, n_features):
        return n_features if self.n_components is None else int(self.n_components)

    def _draw_seed(self):
        return seed_of(self.random_state)

    def _initial_state(self, rows, train, held_out, seed, name):
        dtype, k = check.real_type(rows.dtype), self._n_atoms(rows.shape[1])
        for part in (train, held_out):
            if part is not None:
                scan_rows(rows, part, dtype, self.n_threads, name=name)
        atoms = initial_atoms(rows, train, k, self.dict_init, self.positive_dict, dtype, seed)
        nothing = no_statistics(atoms)
        return DictionaryState(atoms, nothing.A, nothing.B, 0, 0, seed)

    def _rows_to_go_on(self, X):
        """Return the checked rows of X, after initialising an estimator that is not fitted."""
        goes_on = self.__sklearn_is_fitted__()
        rows = check.sparse_or_dense_rows(self, X, reset=not goes_on)
        every_row = len(rows)
        if not goes_on:
            state = self._initial_state(rows, every_row, None, self._draw_seed(), table_name(X))
            self._begin(X, state, ([], [], 0))
            return rows
        if self._n_atoms(self.n_features_in_) != len(self.components_):
            raise ValueError(
                f"n_components={self.n_components} does not continue the dictionary learnt, which "
                f"has {len(self.components_)} atoms: fit anew, or set it back"
            )
        dtype, name = self.components_.dtype, table_name(X, self)
        scan_rows(rows, every_row, dtype, self.n_threads, name=name)
        return rows

    def _begin(self, X, state, record):
        """Make the estimator a fitted one. All attributes change in one call.

        No KeyboardInterrupt arrives between its parts, and no other thread reads.
        """
        names = ("objective_curve_", "validation_objective_curve_", "n_epochs_")
        fitted = dict(zip(names, record, strict=True))
        fitted |= {"_state": state, "statistics_": no_statistics(state.components)}
        fitted["_history"] = []
        fitted["n_features_in_"] = state.components.shape[1]
        feature_names = check.feature_names(X)
        if feature_names is None:
            self.__dict__.pop("feature_names_in_", None)
        else:
            fitted["feature_names_in_"] = feature_names
        self.__dict__.update(fitted)

    def _learner(self, state, rows, settings):
        return Learner(
            state,
            np.empty((1, rows.shape[1]), rows.dtype) if isinstance(rows, StreamedRows) else rows,
            settings,
            batch_size=min(int(self.batch_size), len(rows)),
            forgetting=self.forgetting,
            positive_dict=self.positive_dict,
            replace_unused=self.replace_unused,
        )

    def _learn(self, settings, rows, train, validation, n_epochs, checkpoint=None):
        """Learn from rows; `validation` has a table and the numbers of rows of it, or None."""
        learner = self._learner(self._state, rows, settings)
        training = DictionaryTraining(learner, rows, train, self.shuffle, self._state)
        early_stopping = None
        if validation[1] is not None:
            loss = partial(self._mean_objective, *validation)
            watches = not self.early_stopping
            early_stopping = EarlyStopping(training, loss, only_watches=watches)
        patience = Patience(self.tol, self.n_epochs_no_change, relative=True)
        stage = None if checkpoint is None else checkpoint.stage("training")
        run_epochs(self, training, n_epochs, patience, early_stopping, checkpoint=stage)
        self._warn(learner)

    # ---- methods that run_epochs calls ----

    def _curves(self):
        return self.objective_curve_, self.validation_objective_curve_

    def _keep(self, training):
        """Store a copy of the training's values as the estimator's state.

        Statistics that were collected with the dictionary stay if it has learnt nothing.
        """
        state = training.values()
        if state.n_rows_seen == self._state.n_rows_seen:
            self._state = state
        else:
            self.__dict__.update(_state=state, statistics_=no_statistics(state.components))

    def _divergence_error(self, epoch, column):
        return FloatingPointError(
            f"learning diverged in epoch {epoch}: the objective or the sums over codes are no "
            "longer finite. The dictionary before this epoch is kept. Scale X to a smaller range"
        )
