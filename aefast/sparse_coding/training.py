"""Adapter between a dictionary's `Learner` and the loop over epochs."""

from aefast._base.epochs import Diverged, EpochTraining
from aefast._base.random import SHUFFLE, random_stream


class DictionaryTraining(EpochTraining):
    """Training of a dictionary with one update per batch.

    Parameters
    ----------
    learner : Learner
    order : ndarray of int64
        Indices of the rows to learn from.
    shuffle : bool
        Whether each pass visits the rows in a random order.
    state : DictionaryState
        The learner's initial state, which is not changed.
    """

    def __init__(self, learner, order, shuffle, state):
        self.learner, self.order, self.shuffle = learner, order, shuffle
        self.best = None
        self.last = state  # state after the last epoch, finite throughout

    @property
    def n_rows(self):
        return len(self.order)

    @property
    def n_rows_seen(self):
        return self.learner.n_rows_seen

    def values(self):
        """Return a copy of the state, a `DictionaryState`."""
        self.last = self.learner.state()
        return self.last

    def reread(self):
        """Do nothing: callbacks see copies, so they cannot have changed the values."""

    def settle(self):
        """Undo an unfinished batch, and all since the last epoch unless the rest is finite."""
        self.learner.undo_unfinished()
        if not self.learner.is_finite():
            self.learner.go_back_to(self.last)

    def keep_best(self):
        self.best = self.learner.state()

    def restore_best(self):
        self.learner.go_back_to(self.best)

    def epoch(self, on_slice=None):
        """Learn from each row once and return the mean objective before each batch's update."""
        order, total = self.order, 0.0
        if self.shuffle:
            random = random_stream(self.learner.seed, SHUFFLE, self.learner.n_rows_seen)
            order = random.permutation(order)
        step = self.learner.batch_size
        for first in range(0, len(order), step):
            batch = order[first : first + step]
            try:
                total += self.learner.learn(batch)
            except Diverged:
                self.learner.go_back_to(self.last)
                raise
            if on_slice is not None:
                on_slice(len(batch), total / (first + len(batch)))
        return total / len(order)
