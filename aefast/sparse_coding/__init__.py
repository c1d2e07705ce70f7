"""Sparse codes for a dictionary, and dictionaries learnt from rows."""

from aefast.sparse_coding.coder import SparseCoder, sparse_encode
from aefast.sparse_coding.dictionary_learning import DictionaryLearning

__all__ = ["DictionaryLearning", "SparseCoder", "sparse_encode"]


def __dir__() -> list[str]:
    return __all__
