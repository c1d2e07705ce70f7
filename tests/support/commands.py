"""Helpers that run the command."""

import os
import signal
import subprocess
import sys

from aefast.cli import main


def refused(capsys, *argv):
    """The one line on stderr that a refused command ends with.

    Nothing else is printed, and no file is written.
    """
    before = sorted(os.walk("."))
    assert main([str(argument) for argument in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("aefast: error: ") and captured.err.count("\n") == 1
    assert sorted(os.walk(".")) == before
    return captured.err


def heed_interrupts():
    """A shell's background jobs ignore them, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def python_m_aefast(*argv, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    command = [sys.executable, "-m", "aefast", *map(str, argv)]
    return subprocess.Popen(command, preexec_fn=heed_interrupts, **options)
