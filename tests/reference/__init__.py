"""Reference implementations in float64 NumPy, without an import of aefast."""
