"""The command `aefast`: parser, exit codes, errors.

A subcommand is an entry of `COMMANDS`, with a function ``add_NAME(parser)`` in the module that the
entry names. The function adds the arguments and sets ``run``, which is called with the parsed
arguments. Only the module of the chosen subcommand is imported, so that the others and their
dependencies do not delay it or its ``--help``.
"""

import argparse
import contextlib
import difflib
import errno
import importlib
import io
import os
import re
import sys
import warnings

import aefast

# For each subcommand, its module in this folder and its summary.
COMMANDS = {
    "fit": ("fit", "train an autoencoder"),
    "encode": ("apply", "write the codes of DATA, (rows, components)"),
    "reconstruct": ("apply", "write the reconstruction of DATA"),
    "score": ("apply", "tell how anomalous each row of DATA is"),
    "anomalies": ("anomalies", "list the strangest rows of a table, with their reasons"),
    "walk": ("walk", "let a denoising autoencoder draw rows"),
    "factors": ("factors", "fit a linear factor model"),
    "sample": ("factors", "draw rows from a linear factor model"),
    "impute": ("impute", "fill the gaps of a table"),
    "recommend": ("recommend", "recommend items to the users of a file of choices"),
    "dictionary": ("dictionary", "learn a dictionary for sparse codes"),
    "denoise": ("dictionary", "remove noise from an image"),
    "report": ("page", "write a page about a model and rows"),
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
    status, arguments = None, None
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        # Column names are compared while reading a CSV file; the arrays passed on have no names.
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        try:
            arguments = _parsed(argv)
            with _standard_output():
                status = arguments.run(arguments)
        except BrokenPipeError:
            pass  # the reader of a pipe has closed it (`| head`): no error
        except KeyboardInterrupt as interrupt:
            message = interrupt.args[0] if interrupt.args else "interrupted"
            _tell(f"aefast: {message}")
            return _EXIT_INTERRUPTED
        except _USER_ERRORS as error:
            _tell(f"aefast: error: {_with_options(_on_one_line(error), arguments)}")
            return _EXIT_ERROR
    return status or 0


def _on_one_line(error):
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _with_options(text, arguments):
    """Return the text of an error with options in the place of estimators' parameters."""
    options = getattr(arguments, "options", {})
    text = re.sub(r"The '(\w+)' parameter of \w+", lambda m: options.get(m[1], m[0]), text)
    return re.sub(r"^(\w+)(?==| must\b| is\b)", lambda m: options.get(m[1], m[0]), text)


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


class _Parser(argparse.ArgumentParser):
    """A parser whose errors show a short usage, and which option was probably meant."""

    def error(self, message):
        _tell(self.short_usage())
        self.exit(_EXIT_ERROR, f"{self.prog}: error: {message}\n")

    def short_usage(self):
        """Return the usage with what is required alone."""
        parts = []
        for action in self._actions:
            if not action.option_strings:
                metavar = action.metavar if isinstance(action.metavar, str) else action.dest
                parts.append(self._get_formatter()._format_args(action, metavar))
            elif action.required:
                parts.insert(0, f"{action.option_strings[0]} {action.metavar}")
        return f"usage: {self.prog} [OPTION]... {' '.join(parts)}".rstrip()

    def refuse(self, unknown):
        """Exit with an error for arguments that no option takes."""
        known = [option for action in self._actions for option in action.option_strings]
        meant = []
        for argument in unknown:
            if argument.startswith("-"):
                meant += difflib.get_close_matches(argument.partition("=")[0], known, n=1)
        hint = f"; did you mean {' or '.join(dict.fromkeys(meant))}?" if meant else ""
        hint += f" ({self.prog} --help lists the options)"
        self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def _parsed(argv):
    """Return the parsed arguments, or exit with an error of the command that `argv` names."""
    # Options before the command take no values, so the command is the first non-option.
    chosen = next((argument for argument in argv if not argument.startswith("-")), None)
    parser, commands = _parser(chosen)
    if chosen is not None and chosen not in COMMANDS:
        meant = difflib.get_close_matches(chosen, COMMANDS, n=1)
        hint = f"did you mean {meant[0]}?" if meant else f"choose from {', '.join(COMMANDS)}"
        parser.error(f"argument COMMAND: invalid choice: {chosen!r}; {hint}")
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        (parser if chosen is None else commands.choices[chosen]).refuse(unknown)
    return arguments


def _parser(chosen):
    """Return the parser, with the arguments of the chosen command, and those of the commands."""
    parser = _Parser(prog="aefast", description="Train autoencoders on CPUs, and use them.")
    parser.add_argument("--version", action="version", version=f"aefast {aefast.__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
        )
        if name == chosen:
            getattr(importlib.import_module(f"aefast.cli.{module}"), f"add_{name}")(command)
            command.add_argument(
                "--json", action="store_true", help="print the report as one object of JSON"
            )
    return parser, commands
