"""Saving to files: permissions, abandoned temporary files, full disks."""

import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from aefast.model_file import replacing


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_permissions_are_there_before_the_first_byte(mode, tmp_path):
    target = tmp_path / "model"
    target.write_bytes(b"old")
    target.chmod(mode)
    with replacing(target) as file:
        (temporary,) = tmp_path.glob(".aefast-*.tmp")
        assert temporary.stat().st_mode & 0o7777 == mode and temporary.stat().st_size == 0
        file.write(b"new")
    assert target.stat().st_mode & 0o7777 == mode and target.read_bytes() == b"new"


def test_new_file_is_never_wider_than_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        with replacing(tmp_path / "model"):
            (temporary,) = tmp_path.glob(".aefast-*.tmp")
            assert temporary.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_folder_is_synced_after_the_rename(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def recorded_fsync(descriptor):
        calls.append(os.path.realpath(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def recorded_replace(source, target):
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    with replacing(tmp_path / "model") as file:
        file.write(b"new")
    temporary, *rest = calls
    assert Path(temporary).name.startswith(".aefast-")
    assert rest == ["rename", str(tmp_path.resolve())]


def test_file_systems_that_cannot_sync_folders(tmp_path, monkeypatch):
    fsync = os.fsync

    def refusing_fsync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refusing_fsync)
    with replacing(tmp_path / "model") as file:
        file.write(b"new")
    assert (tmp_path / "model").read_bytes() == b"new"


KILLED = """
    import os, signal, sys
    from aefast.model_file import replacing

    with replacing(sys.argv[1]) as file:
        file.write(b"half")
        file.flush()
        print("writing", flush=True)
        sys.stdin.read()
"""


def test_what_a_killed_save_left_is_removed_by_the_next(tmp_path):
    """As long as the process lives, its file stays: another save beside it does no harm."""
    target = tmp_path / "model"
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), target],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with writer:
        assert writer.stdout.readline() == b"writing\n"
        (left,) = tmp_path.glob(".aefast-*.tmp")
        with replacing(target) as file:
            file.write(b"first")
        assert left.read_bytes() == b"half"
        writer.kill()
    assert left.exists() and writer.returncode == -signal.SIGKILL
    with replacing(target) as file:
        file.write(b"second")
    assert os.listdir(tmp_path) == ["model"] and target.read_bytes() == b"second"


def test_nothing_else_is_removed(tmp_path):
    names = [".aefast-0123.tmp", ".aefast-0123456789abcdef.tmp.bak", "aefast-0123456789abcdef.tmp"]
    for name in names:
        (tmp_path / name).touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    (tmp_path / ".aefast-0123456789abcde0.tmp").symlink_to(elsewhere)
    os.mkfifo(tmp_path / ".aefast-0123456789abcde1.tmp")
    before = {*os.listdir(tmp_path)}
    with replacing(tmp_path / "model"):
        pass
    assert {*os.listdir(tmp_path)} == before | {"model"}


def test_file_taken_for_an_abandoned_one_is_made_again(tmp_path, monkeypatch):
    """Between its creation and its lock another save may have removed it."""
    from aefast._base import files

    is_locked, n_calls = files._is_locked, []

    def raced(descriptor):
        n_calls.append(descriptor)
        if len(n_calls) == 1:
            os.unlink(os.path.realpath(f"/proc/self/fd/{descriptor}"))
        return is_locked(descriptor)

    monkeypatch.setattr(files, "_is_locked", raced)
    with replacing(tmp_path / "model") as file:
        file.write(b"new")
    assert len(n_calls) == 2 and os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("write", [np.save, lambda file, array: file.write(array.tobytes())])
def test_full_disk_is_called_full(write, tmp_path):
    """NumPy's error of a short write has no cause; the limit of a file's size stands for a disk."""
    target = tmp_path / "rows.npy"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(OSError) as caught, replacing(target) as file:
            write(file, np.zeros(1 << 16))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG and caught.value.filename == str(target)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_found_by_the_sync(error, tmp_path, monkeypatch):
    """File systems that allocate late say so only then; what was there before stays."""
    target = tmp_path / "model"
    target.write_bytes(b"old")

    def full(descriptor):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=os.strerror(error)) as caught, replacing(target) as file:
        file.write(b"new")
    assert caught.value.errno == error and caught.value.filename == str(target)
    assert os.listdir(tmp_path) == ["model"] and target.read_bytes() == b"old"
