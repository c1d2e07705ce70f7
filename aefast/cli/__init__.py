"""The command `aefast`: parser, exit codes, errors.

A subcommand is an entry of `COMMANDS`, with a function ``add_NAME(parser)`` in the module that the
entry names. The function adds the arguments and sets ``run``, which is called with the parsed
arguments. Only the module of the chosen subcommand is imported, so that the others and their
dependencies do not delay it or its ``--help``.
"""

import argparse
import importlib
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
    "dictionary": ("dictionary", "learn a dictionary for sparse codes"),
    "denoise": ("dictionary", "remove noise from an image"),
    "info": ("info", "describe this build of aefast, or a model"),
}

_EXIT_ERROR = 2  # the exit code of argparse
_EXIT_INTERRUPTED = 130  # 128 + SIGINT, the convention of shells
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
        Exit code: 0 on success, 2 after an error, which is reported in one line on stderr, 130
        after an interrupt.
    """
    argv = sys.argv[1:] if argv is None else argv
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        # Column names are compared while reading a CSV file; the arrays passed on have no names.
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        try:
            arguments = _parser(argv).parse_args(argv)
            arguments.run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader of a pipe has closed it (`| head`). This is no error, but the flush at exit
            # needs somewhere to write.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt as interrupt:
            message = interrupt.args[0] if interrupt.args else "interrupted"
            print(f"aefast: {message}", file=sys.stderr)
            return _EXIT_INTERRUPTED
        except _USER_ERRORS as error:
            print(f"aefast: error: {_on_one_line(error)}", file=sys.stderr)
            return _EXIT_ERROR
    return 0


def _on_one_line(error):
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _show_warning(message, *_):
    print(f"aefast: warning: {_on_one_line(message)}", file=sys.stderr)


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
