"""Adapter between a dictionary's `Learner` and the loop over epochs."""

from contextlib import closing

from aefast._base.checkpoints import check_tensors
from aefast._base.epochs import Diverged, EpochTraining
from aefast._base.passes import Pace
from aefast._base.random import SHUFFLE, random_stream
from aefast._base.saving import COUNT, FLAG, NUMBER, check_entries, optional
from aefast._base.visits import order_of

# checks of the counters in a checkpoint
_COUNTERS = (
    dict.fromkeys(("n_batches", "n_rows_seen", "n_rows_in_pass"), COUNT)
    | dict.fromkeys(("n_rows_watched", "n_open_gaps"), COUNT)
    | dict.fromkeys(
        ("n_batches_of_best", "n_rows_of_best", "n_batches_of_last", "n_rows_of_last"),
        optional(COUNT),
    )
    | {"objective_sum": NUMBER, "is_pass_over": FLAG}
)


class DictionaryTraining(EpochTraining):
    """Training of a dictionary with one update per batch.

    Parameters
    ----------
    learner : Learner
    rows : ndarray, SparseRows or StreamedRows
        The table.
    train : int, ndarray of int64 or AllBut
        The rows of it to learn from: how many from the first on, or their numbers.
    shuffle : bool
        Whether each pass visits the rows in a random order.
    state : DictionaryState
        The learner's initial state, which is not changed.
    """

    def __init__(self, learner, rows, train, shuffle, state):
        self.learner, self.shuffle = learner, shuffle
        self.order = order_of(rows, train, learner.batch_size)
        self.best = None
        self.last = state  # state after the last epoch, finite throughout
        # rows seen when the present pass began, and after its last batch, with the sum of its
        # objectives: in one tuple, which no interrupt divides
        self.pass_began, self.done = state.n_rows_seen, (state.n_rows_seen, 0.0)
        self.is_pass_over = False  # whether a checkpoint has the end of a pass, not yet recorded

    @property
    def n_rows(self):
        return self.order.n_rows

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

    def place(self):
        return self.learner.n_batches, None

    def recorded(self):
        self.pass_began, self.done = self.learner.n_rows_seen, (self.learner.n_rows_seen, 0.0)

    def epoch(self, on_slice=None):
        """Learn from each row once and return the mean objective before each batch's update."""
        learner = self.learner
        n_done = learner.n_rows_seen - self.pass_began  # by an interrupted training
        if n_done == self.n_rows and not self.is_pass_over:
            self.recorded()
            n_done = 0
        self.is_pass_over = False
        random = None
        if self.shuffle:
            random = random_stream(learner.seed, SHUFFLE, self.pass_began)
        pace = Pace.fixed(learner.batch_size)
        with closing(self.order.visits(pace, random, n_done)) as visits:
            for table, batch, _ in visits:
                learner.rows = table
                try:
                    total = self.done[1] + learner.learn(batch)
                except Diverged:
                    learner.go_back_to(self.last)
                    raise
                self.done = learner.n_rows_seen, total
                n_done += len(batch)
                if on_slice is not None:
                    on_slice(len(batch), total / n_done)
        return self.done[1] / self.n_rows

    # ---- checkpoints ----

    def saved(self, *, in_epoch):
        learner, last = self.learner, self.last if in_epoch else None
        if not learner.is_finite() or (in_epoch and self.done[0] != learner.n_rows_seen):
            return None
        n_rows_in_pass = learner.n_rows_seen - self.pass_began if in_epoch else 0
        counters = {
            "n_batches": learner.n_batches,
            "n_rows_seen": learner.n_rows_seen,
            "n_rows_in_pass": n_rows_in_pass,
            "n_rows_watched": learner.n_rows_watched,
            "n_open_gaps": learner.n_open_gaps,
            "objective_sum": float(self.done[1]) if n_rows_in_pass else 0.0,
            "is_pass_over": n_rows_in_pass == self.n_rows,
        }
        tensors = _arrays("", learner) | {"used": learner.used}
        for name, of in {"best": self.best, "last": last}.items():
            counters[f"n_batches_of_{name}"] = None if of is None else of.n_batches
            counters[f"n_rows_of_{name}"] = None if of is None else of.n_rows_seen
            tensors |= {} if of is None else _arrays(f"{name}.", of)
        return counters, tensors

    def go_on_from(self, state, tensors):
        check_entries("training", state, _COUNTERS)
        learner = self.learner
        expected = _arrays("", learner) | {"used": learner.used}
        names = [name for name in ("best", "last") if state[f"n_rows_of_{name}"] is not None]
        for name in names:
            expected |= _arrays(f"{name}.", learner)
        check_tensors(tensors, expected)
        if not state["n_rows_in_pass"] <= min(self.n_rows, state["n_rows_seen"]):
            raise ValueError(f"a pass of {self.n_rows} rows has no place {state['n_rows_in_pass']}")
        stored = {
            name: learner.state()._replace(
                **{field: tensors[f"{name}.{field}"].copy() for field in ("components", "A", "B")},
                n_batches=state[f"n_batches_of_{name}"] or 0,
                n_rows_seen=state[f"n_rows_of_{name}"],
            )
            for name in names
        }
        now = learner.state()._replace(
            **{field: tensors[field] for field in ("components", "A", "B")},
            n_batches=state["n_batches"],
            n_rows_seen=state["n_rows_seen"],
        )
        learner.go_back_to(now)
        learner.used[:] = tensors["used"]
        learner.n_rows_watched, learner.n_open_gaps = state["n_rows_watched"], state["n_open_gaps"]
        self.best = stored.get("best")
        self.last = stored.get("last", learner.state())
        self.pass_began = state["n_rows_seen"] - state["n_rows_in_pass"]
        self.done = state["n_rows_seen"], state["objective_sum"]
        self.is_pass_over = state["is_pass_over"]


def _arrays(prefix, of):
    """Return the arrays of a learner or of its state, by their names in checkpoints."""
    return {f"{prefix}{name}": getattr(of, name) for name in ("components", "A", "B")}
