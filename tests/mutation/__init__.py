"""Mutation testing of the kernels: small faults are put into them, and the tests must notice."""
