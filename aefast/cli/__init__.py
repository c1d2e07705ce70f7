"""The command `aefast`: its parser, its exit codes, its errors.

Each family of subcommands is a module: its `add_commands(commands)` adds them to the parser, and
each sets ``run``, which is called with the parsed arguments. A new family is a module here and its
name in `FAMILIES`.
"""

import argparse
import os
import sys
import warnings

import aefast
from aefast.cli import apply, dictionary, factors, fit, info, walk

FAMILIES = (fit, apply, walk, factors, dictionary, info)

_EXIT_ERROR = 2  # argparse's own
_EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_USER_ERRORS = (ValueError, TypeError, OSError, MemoryError, FloatingPointError, ImportError)


def main(argv=None):
    """Run the command `aefast`.

    Parameters
    ----------
    argv : list of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        The exit code: 0; 2 after an error, which one line on stderr tells; 130 when interrupted.
    """
    arguments = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        # the header of a CSV file is compared with the model's names here; the arrays passed on have none
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        try:
            arguments.run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:
            # whoever read our output has left (`| head`): no error, but nowhere to flush to either
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


def _parser():
    parser = argparse.ArgumentParser(
        prog="aefast", description="Train autoencoders on CPUs, and use them."
    )
    parser.add_argument("--version", action="version", version=f"aefast {aefast.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for family in FAMILIES:
        family.add_commands(commands)
    return parser
