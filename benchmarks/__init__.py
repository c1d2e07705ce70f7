"""How fast aefast trains, beside what its users would use otherwise.

``python -m benchmarks`` compares, ``pytest benchmarks`` tracks regressions, ``RESULTS.md`` tells
the method.
"""
