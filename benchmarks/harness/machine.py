"""Facts of the machine and the version measured: processor, system, packages, commit."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.harness import cores

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("aefast", "numpy", "scipy", "scikit-learn", "torch", "jax", "jaxlib")


def output_of(*command):
    """Return the standard output of a command, stripped, or an empty string if it fails."""
    try:
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout.strip() if process.returncode == 0 else ""


def processor():
    """Return the processor's model as the system names it, on virtual machines often the family."""
    facts = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().split("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            facts[key.strip()] = value.strip()
    model = facts.get("model name") or output_of("sysctl", "-n", "machdep.cpu.brand_string")
    if "cpu family" in facts:
        model += f" (family {facts['cpu family']}, model {facts.get('model', '?')})"
    return model or platform.processor() or platform.machine()


def vector_extensions():
    """Return the processor flags that determine the speed of matrix products."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    known = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve", "sve2")
    return [flag for flag in known if flag in flags]


def precisions():
    """Return the precisions worth measuring, bfloat16 only where the processor computes in it."""
    return ["float32", "bfloat16"] if "avx512_bf16" in vector_extensions() else ["float32"]


def commit():
    """Return the measured commit, marked if files differ from it.

    Results and records are ignored, because every measurement changes them.
    """
    revision = output_of("git", "rev-parse", "--short=12", "HEAD")
    files = (".", ":!benchmarks/records", ":!benchmarks/results", ":!benchmarks/RESULTS.md")
    changed = output_of("git", "status", "--porcelain", "--untracked-files=no", "--", *files)
    return revision + ("+changes" if changed else "") if revision else "unknown"


def installed_versions():
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def describe():
    return {
        "processor": processor(),
        "vector extensions": vector_extensions(),
        "usable cores": len(cores.usable_cores()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load before": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "commit": commit(),
        "versions": installed_versions(),
    }
