"""Helpers that run the command."""

import os
import signal
import subprocess
import sys

from aefast.cli import main


def refused(capsys, *argv):
    """Run a command that must fail and return its error, the only line on stderr.

    The command must print nothing else and write no file.
    """
    before = sorted(os.walk("."))
    assert main([str(argument) for argument in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("aefast: error: ") and captured.err.count("\n") == 1
    assert sorted(os.walk(".")) == before
    return captured.err


def heed_interrupts():
    """Restore the default handling of SIGINT.

    Background jobs of a shell ignore SIGINT, and their child processes inherit that.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def python_m_aefast(*argv, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    command = [sys.executable, "-m", "aefast", *map(str, argv)]
    return subprocess.Popen(command, preexec_fn=heed_interrupts, **options)
