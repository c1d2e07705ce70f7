"""Checks of paths before a file is opened."""

import os
import stat


def check_is_regular_file(path):
    """ValueError for pipes and devices: opening one would wait, or read without end.

    Folders, and files that are not there, are left to the OSError of opening them.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError(f"{os.fsdecode(path)}: expected a regular file, got a pipe or a device")
