"""The command `aefast`: parser, exit codes, errors.

A subcommand is an entry of `COMMANDS`, with a function ``add_NAME(parser)`` in the module that the
entry names. The function adds the arguments and sets ``run``, which is called with the parsed
arguments. Only the module of the chosen subcommand is imported, so that the others and their
dependencies do not delay it or its ``--help``.
"""

import argparse
import contextlib
import errno
import importlib
import io
import os
import sys
import warnings

import aefast

# For each subcommand, its module in this folder and its summary.
COMMANDS = {
    "fit": ("fit", "train an autoencoder"),
    "encode": ("apply", "write the codes of DATA, (rows, components), to a .npy file"),
    "reconstruct": ("apply", "write the reconstruction of DATA, in its shape, to a .npy file"),
    "score": ("apply", "tell how anomalous each row of DATA is, as CSV"),
    "walk": ("walk", "let a denoising autoencoder draw rows"),
    "factors": ("factors", "fit a linear factor model"),
    "sample": ("factors", "draw rows from a linear factor model"),
    "impute": ("impute", "fill the gaps of a table"),
    "recommend": ("recommend", "recommend items to the users of a file of choices"),
    "dictionary": ("dictionary", "learn a dictionary for sparse codes"),
    "denoise": ("dictionary", "remove noise from an image"),
    "export": ("export", "write a model as ONNX, C, or parameters for PyTorch"),
    "info": ("info", "describe this build of aefast, or a model"),
}

_EXIT_ERROR = 2  # the exit code of argparse
_EXIT_INTERRUPTED = 130  # 128 + SIGINT, the convention of shells
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_USER_ERRORS = (ValueError, TypeError, OSError, MemoryError, FloatingPointError, ImportError)


def main(argv=None):
    """Run the command `aefast`.

    Parameters
    ----------
    argv : list of str, optional
        Command-line arguments, by default the arguments of the process.

    Returns
    -------
    int
        Exit code: 0 on success, 3 after a fit that does not beat the column means, 2 after an
        error, which is reported in one line on stderr, 130
        after an interrupt.
    """
    argv = sys.argv[1:] if argv is None else argv
    status = None
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        # Column names are compared while reading a CSV file; the arrays passed on have no names.
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        try:
            arguments = _parser(argv).parse_args(argv)
            with _standard_output():
                status = arguments.run(arguments)
        except BrokenPipeError:
            pass  # the reader of a pipe has closed it (`| head`): no error
        except KeyboardInterrupt as interrupt:
            message = interrupt.args[0] if interrupt.args else "interrupted"
            _tell(f"aefast: {message}")
            return _EXIT_INTERRUPTED
        except _USER_ERRORS as error:
            _tell(f"aefast: error: {_on_one_line(error)}")
            return _EXIT_ERROR
    return status or 0


def _on_one_line(error):
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _show_warning(message, *_):
    _tell(f"aefast: warning: {_on_one_line(message)}")


def _tell(line):
    if sys.stderr is not None:  # closed; to print to None would be to print to standard output
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr)


class _ClosedOutput(io.TextIOBase):
    """Standard output of a process that was started without one."""

    def write(self, text):
        raise OSError(errno.EBADF, "closed, so the result cannot be written", "standard output")


@contextlib.contextmanager
def _standard_output():
    """Run a block whose prints raise OSError where standard output takes nothing.

    What it has not taken is dropped then: the interpreter would try again at its end, and complain.
    """
    if sys.stdout is None:
        with contextlib.redirect_stdout(_ClosedOutput()):
            yield
        return
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.filename is None and error.errno in _FULL:  # errors of files name them
            _drop_output()
            raise OSError(error.errno, error.strerror, "standard output") from error
        if isinstance(error, BrokenPipeError):
            _drop_output()
        raise


def _drop_output():
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(argv):
    """Return the parser, with the arguments of the command that `argv` names."""
    # Options before the command take no values, so the command is the first non-option.
    chosen = next((argument for argument in argv if not argument.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog="aefast", description="Train autoencoders on CPUs, and use them."
    )
    parser.add_argument("--version", action="version", version=f"aefast {aefast.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
        )
        if name == chosen:
            getattr(importlib.import_module(f"aefast.cli.{module}"), f"add_{name}")(command)
    return parser
