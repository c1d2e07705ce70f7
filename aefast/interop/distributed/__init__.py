"""Rows in the partitions of Dask: fits by tasks, and results that are computed lazily.

`collections` has the partitions of a collection as tasks, `parts` the table of one partition,
`local` and `cluster` the engines that compute with them, `fitting` and `applying` what
`aefast.dask` offers.
"""
