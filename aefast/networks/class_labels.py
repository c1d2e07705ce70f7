"""Labels of classes: which of them are missing, and what may be one."""

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

# types of labels in files; strings are objects
DTYPES = [f"<{kind}{size}" for kind in "iuf" for size in (2, 4, 8)] + ["|i1", "|u1", "|b1", "|O"]


def is_missing(labels, missing_label):
    """Return which labels (n,) stand for none: None, NaN and `missing_label`."""
    if labels.dtype.kind == "O":
        none = np.array([_is_none(label) for label in labels], bool)
    else:
        none = labels != labels
    if missing_label is None:
        return none
    is_text = isinstance(missing_label, str)
    if labels.dtype.kind == "O":
        for place in np.flatnonzero(~none):
            label = labels[place]
            none[place] = isinstance(label, str) == is_text and label == missing_label
        return none
    return none | (labels == missing_label) if is_text == (labels.dtype.kind in "US") else none


def _is_none(label):
    """Return whether an object is None, NaN, or the NA of pandas, which equals nothing."""
    same = label == label
    return label is None or not (isinstance(same, bool | np.bool_) and same)


def usual_missing_label(labels, classes):
    """Return −1, or None where it is a class: one of the fit's, or the only one beside 1."""
    if labels.dtype.kind not in "iufO" or any(isinstance(label, str) for label in labels):
        return -1
    found = set(labels[~is_missing(labels, None)].tolist())
    return None if found == {-1, 1} or -1 in classes else -1


def as_labels(present, name):
    """Return the labels that are there in the type of `classes_`, once they are found to be some.

    Objects that are all numbers become an array of numbers.
    """
    if not len(present):
        raise ValueError(f"{name} has no label: all of its entries stand for missing ones")
    if present.dtype.kind == "O":
        n_texts = sum(isinstance(label, str) for label in present)
        if 0 < n_texts < len(present):
            raise TypeError(f"{name} must not have both numbers and strings as labels")
        present = present if n_texts else np.array(present.tolist())
    if present.dtype.kind not in "biufOU":
        raise TypeError(f"{name} must have labels that are numbers or strings")
    check_classification_targets(present)
    return present


def are_labels(value):
    if not isinstance(value, list) or len(value) < 2 or len({type(label) for label in value}) != 1:
        return False
    if isinstance(value[0], float):
        return all(np.isfinite(label) for label in value)
    return isinstance(value[0], (bool, int, str))
