"""Benchmarks of aefast and of the libraries that its users would use otherwise.

``python -m benchmarks`` compares training steps, ``python -m benchmarks.suites.NAME`` one other
subject each, ``python -m benchmarks.compare`` two versions of aefast, ``python -m
benchmarks.quality`` what fits learn, and ``pytest benchmarks`` runs the checks. ``RESULTS.md``
describes the method and has the results.
"""
