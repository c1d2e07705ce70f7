"""Methods of `DictionaryLearning` for rows in partitions."""

from typing import Any, Self

from aefast._base.checkpoints import Checkpoint
from aefast._base.epochs import run_epochs
from aefast._base.partitions import Partitions, fingerprint_of_partitions, set_features
from aefast._base.stopping import Patience
from aefast.sparse_coding import partitioned
from aefast.sparse_coding.learner import DictionaryState, no_statistics

# attributes that a fit sets
FITTED = (
    "_state",
    "statistics_",
    "_history",
    "objective_curve_",
    "validation_objective_curve_",
    "n_epochs_",
    "n_features_in_",
    "feature_names_in_",
)


class PartitionedLearning:
    """Batch learning of a dictionary: an epoch is one merged sum and one update."""

    # Attributes and methods that the estimator defines.
    _settings: Any
    _draw_seed: Any
    _begin: Any
    _state: DictionaryState
    _warn: Any
    _add: Any
    _n_atoms: Any
    early_stopping: bool
    batch_size: int
    max_epochs: int
    tol: float
    n_epochs_no_change: int
    positive_dict: bool
    replace_unused: bool
    dict_init: Any
    n_epochs_: int
    n_features_in_: int
    components_: Any
    __sklearn_is_fitted__: Any

    def _fit_partitions(self, partitions: Partitions) -> Self:
        """Learn a dictionary from rows in partitions, by batch learning: an update an epoch."""
        settings = self._settings()
        if self.early_stopping:
            raise ValueError(
                "early_stopping=True holds out rows, and partitions have none to spare: use "
                "early_stopping=False, and score on rows of your own"
            )
        checkpoint = Checkpoint.of(self)
        seed = self._draw_seed() if checkpoint is None else checkpoint.seed(self._draw_seed)
        if checkpoint is not None:
            tables = {"X": fingerprint_of_partitions(partitions), "X_val": None}
            checkpoint.identify(seed, tables, partitions.columns)
        former = {name: vars(self)[name] for name in FITTED if name in vars(self)}
        self._begin_partitions(partitions, seed)
        how = partitioned.coding_of(settings, self.batch_size, partitions)
        options = self.positive_dict, self.replace_unused
        training = partitioned.BatchTraining(partitions, self._state, how, *options)
        patience = Patience(self.tol, self.n_epochs_no_change, relative=True)
        stage = None if checkpoint is None else checkpoint.stage("training")
        try:
            epochs: Any = self, training, self.max_epochs, patience, None
            run_epochs(*epochs, checkpoint=stage)
        except Exception:
            if former and self.n_epochs_ == 0:  # nothing has been learnt: the former model stays
                self.__dict__.pop("feature_names_in_", None)
                self.__dict__.update(former)
            elif self.n_epochs_ == 0:
                for name in FITTED:
                    self.__dict__.pop(name, None)
            raise
        self._warn(training)
        return self

    def _accumulate_partitions(self, partitions: Partitions) -> Self:
        """Add the sums over codes of rows in partitions to `statistics_`."""
        settings = self._settings()
        if not self.__sklearn_is_fitted__():
            self._begin_partitions(partitions, self._draw_seed())
        elif partitions.n_features != self.n_features_in_:
            raise ValueError(
                f"X has {partitions.n_features} features, but DictionaryLearning is expecting "
                f"{self.n_features_in_} features as input"
            )
        how = partitioned.coding_of(settings, self.batch_size, partitions)
        found = partitioned.sums_of_partitions(partitions, self.components_, how)
        self._warn(found)
        self._add(found.statistics)
        return self

    def _begin_partitions(self, partitions, seed):
        """Make the estimator one with initial atoms of rows in partitions."""
        k, options = self._n_atoms(partitions.n_features), (self.dict_init, self.positive_dict)
        atoms = partitioned.initial_atoms_of(partitions, k, *options, seed)
        nothing = no_statistics(atoms)
        self._begin(None, DictionaryState(atoms, nothing.A, nothing.B, 0, 0, seed), ([], [], 0))
        set_features(self, partitions)
