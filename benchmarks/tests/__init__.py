"""Tests of the benchmarks themselves: ``pytest benchmarks/tests``."""
