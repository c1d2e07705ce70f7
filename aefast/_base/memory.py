"""How much memory a large matrix takes, told before it is allocated."""

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def as_text(n_bytes: float) -> str:
    """Return a number of bytes for messages: '1.5 GiB'."""
    unit = 0
    while n_bytes >= 1024 and unit + 1 < len(_UNITS):
        n_bytes, unit = n_bytes / 1024, unit + 1
    return f"{n_bytes:.3g} {_UNITS[unit]}"


def available_bytes() -> int | None:
    """Return the memory that this process can still get without swapping, or None if unknown.

    On Linux it is what the kernel estimates, at most what the control group leaves; elsewhere the
    memory of the machine.
    """
    known = [size for size in (_of_machine(), _of_group()) if size is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _of_group() -> int | None:
    """Return what the limit of the control group (version 2) leaves, its file cache included."""
    try:
        limit = int((_CGROUP / "memory.max").read_text())  # "max" where there is none
        used = int((_CGROUP / "memory.current").read_text())
        stat = dict(
            line.split(maxsplit=1) for line in (_CGROUP / "memory.stat").read_text().splitlines()
        )
        return limit - used + int(stat.get("inactive_file", 0))
    except (OSError, ValueError):
        return None


def check_room(n_bytes: int, what: str, advice: str) -> None:
    """Raise MemoryError where an allocation is larger than the memory that is left.

    A system that promises memory before it has it would end the process much later.
    """
    available = available_bytes()
    if available is not None and n_bytes > available:
        raise MemoryError(
            f"{what} takes {as_text(n_bytes)} ({n_bytes:,} bytes), and {as_text(available)} are "
            f"free: {advice}"
        )
