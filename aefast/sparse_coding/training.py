"""Passes of a dictionary's learner over rows, in the form that the loop over epochs asks for."""

from aefast._base.epochs import Diverged, EpochTraining
from aefast._base.random import SHUFFLE, random_stream


class DictionaryTraining(EpochTraining):
    """Training of a dictionary, an update for each batch.

    Parameters
    ----------
    learner : Learner
    order : ndarray of int64
        Numbers of the rows to learn from.
    shuffle : bool
        Whether each pass visits them in a random order.
    state : DictionaryState
        What the learner begins with; not changed.
    """

    def __init__(self, learner, order, shuffle, state):
        self.learner, self.order, self.shuffle = learner, order, shuffle
        self.best = None
        self.last = state  # of the last epoch, all of it finite

    @property
    def n_rows(self):
        return len(self.order)

    @property
    def n_rows_seen(self):
        return self.learner.n_rows_seen

    def values(self):
        """A `DictionaryState`, a copy."""
        self.last = self.learner.state()
        return self.last

    def reread(self):
        """Go on as before: callbacks see copies."""

    def settle(self):
        """Keep what the batches so far have learnt, if all of it is finite."""
        if not self.learner.is_finite():
            self.learner.go_back_to(self.last)

    def keep_best(self):
        self.best = self.learner.state()

    def restore_best(self):
        self.learner.go_back_to(self.best)

    def epoch(self, on_slice=None):
        """Learn from each row once. Return the mean of objectives before each batch's update."""
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
