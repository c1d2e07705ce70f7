"""Progress bars and callbacks of training."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_bar: ContextVar[Any] = ContextVar("bar of iterations", default=None)


@contextmanager
def progress_bar(
    verbose: Any, n_epochs: int, n_rows: int, stage: str = ""
) -> Iterator[Callable[[int, float | None], Callable[[int, float], None] | None]]:
    """Show the progress of a training.

    The context is a function of an epoch's number and the last validation loss, or None, that
    returns the `on_slice` of `aefast._base.epochs.EpochTraining.epoch`, or None where nothing is
    shown.
    """
    if not verbose:
        yield lambda epoch, validation_loss: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=n_epochs * n_rows, unit=" rows", unit_scale=True, dynamic_ncols=True) as bar:

        def start_epoch(epoch: int, validation_loss: float | None) -> Callable[[int, float], None]:
            bar.set_description(f"{stage}epoch {epoch}/{n_epochs}", refresh=False)
            shown = {} if validation_loss is None else {"validation": f"{validation_loss:.4g}"}

            def on_slice(n_rows_done: int, loss: float) -> None:
                bar.set_postfix(loss=f"{loss:.4g}", **shown, refresh=False)
                bar.update(n_rows_done)

            return on_slice

        yield start_epoch


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
