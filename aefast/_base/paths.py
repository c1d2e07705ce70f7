"""Checks of paths before a file is opened."""

import os
import stat

from aefast._base.errors import shown


def as_path(path):
    """Return a path as text; TypeError for another object, ValueError for one with a NUL."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"path must be a text or a path-like object, got {type(path).__name__}")
    text = os.fsdecode(path)
    try:
        is_usable = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        is_usable = False
    if not is_usable:
        raise ValueError(f"path cannot be the name of a file: {shown(text)}")
    return text


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
