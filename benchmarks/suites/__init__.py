"""Benchmarks, a subject each: run one by ``python -m benchmarks.suites.NAME``."""
