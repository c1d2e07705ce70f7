"""Benchmarks of one subject each: ``python -m benchmarks.suites.NAME`` runs one."""
