"""Execution of the AVX-512 kernels by an emulated processor (docs/develop/reliability.md)."""
