"""Choice of the cores that a measurement runs on.

This module imports nothing that starts threads.
"""

import os
from pathlib import Path


def usable_cores():
    """Return the logical cores this process may use, first one of each physical core."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    siblings_seen, first, second = set(), [], []
    for core in sorted(os.sched_getaffinity(0)):
        topology = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        siblings = topology.read_text() if topology.exists() else str(core)
        (second if siblings in siblings_seen else first).append(core)
        siblings_seen.add(siblings)
    return first + second


def pin(n_threads):
    """Pin this process to ``n_threads`` cores where the system allows; return the cores, or []."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = usable_cores()[:n_threads]
    os.sched_setaffinity(0, cores)
    return cores
