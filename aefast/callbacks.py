"""Callbacks for training: a log in a CSV file, a limit of time.

A callback is any function ``callback(epoch, loss, validation_loss, estimator)``; training ends
where one returns True. These are given as ``callbacks=`` to `Autoencoder`, `StackedAutoencoder` and
`DictionaryLearning`, alone or in a list with others.
"""

import csv
import os
from typing import Any

from aefast._base.files import replacing
from aefast._base.paths import as_path
from aefast._base.types import PathLike

__all__ = ["CSVLogger", "TimeLimit"]


def __dir__() -> list[str]:
    return __all__


class CSVLogger:
    """Callback that writes a row of the history to a CSV file after each epoch.

    Columns are those of `history_`; a field is empty where there is no value. Each row is in the
    file before the next epoch begins. The file is that of the present training: a fit begins it
    anew, one that goes on (`warm_start`, `partial_fit`, a checkpoint) continues it, and writes rows
    again that a killed process has written after its last checkpoint.

    Parameters
    ----------
    path : str or path-like

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_digits
    >>> from aefast import Autoencoder
    >>> from aefast.callbacks import CSVLogger
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = CSVLogger(f"{folder}/log.csv")
    ...     ae = Autoencoder(8, max_epochs=2, callbacks=log).fit(load_digits().data)
    ...     with open(f"{folder}/log.csv") as file:
    ...         print(file.readline().strip())
    epoch,step,loss,validation_loss,learning_rate,seconds
    """

    def __init__(self, path: PathLike) -> None:
        self.path = as_path(path)

    def __call__(
        self, epoch: int, loss: float, validation_loss: float | None, estimator: Any
    ) -> None:
        """Write the last row of the estimator's history."""
        table = estimator.history_
        rows = [
            ["" if value != value else value for value in row]  # NaN differs from itself
            for row in zip(*table.values(), strict=True)
        ]
        if self._n_rows() == len(rows) - 1 > 0:
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerow(rows[-1])
            return
        lines = [",".join(map(str, row)) for row in [list(table), *rows]]
        with replacing(self.path) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())

    def _n_rows(self) -> int:
        """Return the number of whole rows in the file, below its header."""
        if not os.path.exists(self.path):
            return 0
        with open(self.path, "rb") as file:
            contents = file.read()
        return contents.count(b"\n") - 1 if contents.endswith(b"\n") else -1


class TimeLimit:
    """Callback that ends training after the first epoch that ends beyond a number of seconds.

    Seconds are those of the training, not of the preparation of rows before it, and those that a
    checkpoint has already count. With `early_stopping` the best epoch's parameters are kept. Where
    time is given by a number of epochs instead, results do not depend on the machine.

    Parameters
    ----------
    seconds : float
        Positive.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from aefast import Autoencoder
    >>> from aefast.callbacks import TimeLimit
    >>> ae = Autoencoder(8, max_epochs=10**6, tol=0, callbacks=TimeLimit(0.1))
    >>> ae.fit(load_digits().data).n_epochs_ < 10**6
    True
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"seconds must be positive, got {seconds!r}")
        self.seconds = seconds

    def __call__(
        self, epoch: int, loss: float, validation_loss: float | None, estimator: Any
    ) -> bool:
        """Return whether the time is over."""
        seconds = estimator.history_["seconds"]
        before = seconds[-epoch - 1] if len(seconds) > epoch else 0.0
        return seconds[-1] - (before if before == before else 0.0) >= self.seconds
