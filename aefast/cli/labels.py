"""Names of features from a text file."""

from aefast._base.paths import check_is_regular_file


def read_labels(path, n_features):
    """Return the names of features from a text file, one in each line that is not blank."""
    check_is_regular_file(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            labels = tuple(line.strip() for line in file if line.strip())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: cannot be read as text in UTF-8: {error}") from error
    if len(labels) != n_features:
        raise ValueError(f"{path}: expected {n_features} names, one a line, got {len(labels)}")
    if len(set(labels)) < n_features:
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"{path}: expected different names, got {twice!r} twice")
    return labels
