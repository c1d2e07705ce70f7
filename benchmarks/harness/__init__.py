"""Problems, workers, records and reports: the parts that all benchmarks share."""
