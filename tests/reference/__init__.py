"""The mathematics of aefast in slow float64 NumPy, to test the kernels against. Nothing here imports aefast."""
