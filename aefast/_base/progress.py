"""Progress bars and callbacks of training."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_bar: ContextVar[Any] = ContextVar("bar of iterations", default=None)


class Report:
    """What a user hears of a training: nothing, unless a subclass says something."""

    def begin(
        self, epoch: int, validation_loss: float | None
    ) -> Callable[[int, float], None] | None:
        """Return the `on_slice` of an epoch (see `aefast._base.epochs.EpochTraining.epoch`).

        It is None where nothing is shown within an epoch.
        """
        return None

    def end(self, epoch: int, **values: float | None) -> None:
        """Tell of an epoch that has ended, and what there is of these values."""

    def go_on(self, n_epochs: int) -> None:
        """Count epochs that a checkpoint has."""


class Bar(Report):
    """Progress bar of rows, in a notebook as a widget.

    With `row_bytes` it shows bytes a second too.
    """

    def __init__(
        self, bar: Any, n_epochs: int, n_rows: int, stage: str, row_bytes: int | None = None
    ) -> None:
        self._bar, self._n_epochs, self._n_rows, self._stage = bar, n_epochs, n_rows, stage
        self._row_bytes = row_bytes

    def begin(self, epoch: int, validation_loss: float | None) -> Callable[[int, float], None]:
        bar = self._bar
        bar.set_description(f"{self._stage}epoch {epoch}/{self._n_epochs}", refresh=False)
        shown = {} if validation_loss is None else {"validation": f"{validation_loss:.4g}"}

        def on_slice(n_rows_done: int, loss: float) -> None:
            if self._row_bytes is not None and (rate := bar.format_dict["rate"]):
                shown["bytes"] = f"{bar.format_sizeof(rate * self._row_bytes)}B/s"
            bar.set_postfix(loss=f"{loss:.4g}", **shown, refresh=False)
            bar.update(n_rows_done)

        return on_slice

    def go_on(self, n_epochs: int) -> None:
        self._bar.initial = n_epochs * self._n_rows  # no part of the speed that is shown
        self._bar.n = self._bar.initial


class Lines(Report):
    """One line for each epoch, for files of logs."""

    def __init__(self, n_epochs: int, stage: str) -> None:
        self._n_epochs, self._stage = n_epochs, stage

    def end(self, epoch: int, **values: float | None) -> None:
        shown = ", ".join(
            f"{name.replace('_', ' ')} {value:.6g}"
            for name, value in values.items()
            if value is not None
        )
        print(f"{self._stage}epoch {epoch}/{self._n_epochs}: {shown}", file=sys.stderr, flush=True)

    def go_on(self, n_epochs: int) -> None:
        if n_epochs:
            print(f"{self._stage}goes on after epoch {n_epochs}", file=sys.stderr, flush=True)


@contextmanager
def progress_bar(
    verbose: Any, n_epochs: int, n_rows: int, stage: str = "", row_bytes: int | None = None
) -> Iterator[Report]:
    """Give the `Report` of a training: a bar with verbose=1, a line for each epoch above.

    With the bytes of a row, the bar shows how many of them are read in a second.
    """
    if not verbose:
        yield Report()
    elif verbose > 1:
        yield Lines(n_epochs, stage)
    else:
        from tqdm.auto import tqdm

        total = n_epochs * n_rows
        with tqdm(total=total, unit=" rows", unit_scale=True, dynamic_ncols=True) as bar:
            yield Bar(bar, n_epochs, n_rows, stage, row_bytes)


@contextmanager
def iterations(verbose: Any, stage: str) -> Iterator[None]:
    """Show the calls of `iteration` within the context, wherever they are, if `verbose` is true.

    A fit within a fit has no bar of its own: its iterations count in the outer one.
    """
    if not verbose or _bar.get() is not None:
        yield
        return
    from tqdm.auto import tqdm

    with tqdm(unit=" iterations", desc=stage, dynamic_ncols=True) as bar:
        token = _bar.set(bar)
        try:
            yield
        finally:
            _bar.reset(token)


def iteration(**shown: float) -> None:
    """Count an iteration of a solver, with values to show, where the user wants to see them."""
    bar = _bar.get()
    if bar is not None:
        bar.set_postfix({name: f"{value:.6g}" for name, value in shown.items()}, refresh=False)
        bar.update()


@contextmanager
def networks_done(verbose: Any, n: int) -> Iterator[Callable[[int, float | None], None]]:
    """Show how many of n networks have been trained.

    The context is a function of the number of networks that are done since its last call, and of
    the last loss of one of them, or None.
    """
    if not verbose:
        yield lambda n_done, loss: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=n, unit=" networks", dynamic_ncols=True) as bar:

        def done(n_done: int, loss: float | None) -> None:
            if loss is not None:
                bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
            bar.update(n_done)

        yield done


def note(verbose: Any, text: str) -> None:
    """Print a line to standard error, where the progress bar is, if the user wants to see."""
    if verbose:
        from tqdm.auto import tqdm

        tqdm.write(text, file=sys.stderr)


def check_callbacks(callbacks: Any) -> None:
    """Raise TypeError unless callbacks are a callable, a list of callables or None."""
    for callback in as_list(callbacks):
        if not callable(callback):
            raise TypeError(
                f"callbacks must be a callable, a list of callables or None, got {callbacks!r}"
            )


def as_list(callbacks: Any) -> list[Any]:
    """Return the list of a callback, of some callbacks or of None."""
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
