"""Reference implementations in slow float64 NumPy. Nothing here imports aefast."""
