"""Running the command in tests."""

import os
import subprocess
import sys

from aefast.cli import main


def refused(capsys, *argv):
    """The one line on stderr that a command ends with; and nothing else is printed, no file written."""
    before = sorted(os.walk("."))
    assert main([str(argument) for argument in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("aefast: error: ") and captured.err.count("\n") == 1
    assert sorted(os.walk(".")) == before
    return captured.err


def python_m_aefast(*argv, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([sys.executable, "-m", "aefast", *map(str, argv)], **options)
