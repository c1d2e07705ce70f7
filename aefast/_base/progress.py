"""Progress bars and callbacks of training."""

from contextlib import contextmanager


@contextmanager
def progress_bar(verbose, n_epochs, n_rows, stage=""):
    """A function (epoch, validation loss) -> on_slice for `Training.epoch`; None where nothing is
    shown.
    """
    if not verbose:
        yield lambda epoch, validation_loss: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=n_epochs * n_rows, unit=" rows", unit_scale=True, dynamic_ncols=True) as bar:

        def start_epoch(epoch, validation_loss):
            bar.set_description(f"{stage}epoch {epoch}/{n_epochs}", refresh=False)
            shown = {} if validation_loss is None else {"validation": f"{validation_loss:.4g}"}

            def on_slice(n_rows_done, loss):
                bar.set_postfix(loss=f"{loss:.4g}", **shown, refresh=False)
                bar.update(n_rows_done)

            return on_slice

        yield start_epoch


def as_list(callbacks):
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
