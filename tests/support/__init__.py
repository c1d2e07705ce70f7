"""Problems and helpers that several test files use."""
