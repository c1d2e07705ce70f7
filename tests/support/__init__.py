"""Problems, helpers and fixtures that several test files share."""
