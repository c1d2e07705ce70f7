"""Autoencoders on CPUs: fused, multithreaded training kernels under a scikit-learn API.

Autoencoder    the estimator; StackedAutoencoder: with several layers
ProbabilisticPCA, FactorAnalysis   linear factor models, with p(x), samples and missing entries
MarginalizedAutoencoder, ItemAutoencoder   linear autoencoders in closed form
SufficientStatistics   count, sum and scatter matrix of rows, from one streaming pass
SparseCoder    sparse codes for a given dictionary; sparse_encode: the same in one call
DictionaryLearning   a dictionary whose sparse codes say most about the rows
extract_patches      random patches of images, streamed
Whitening      columns made uncorrelated, of variance 1
load           reads an estimator from a file that its `save` wrote
ops            the functional backend: arrays in, arrays out, no state
distributions  p(x | μ): the built-in ones' constants and samples, the base class of your own
build_info     what this build is and uses

Attributes are loaded on first use: `import aefast.ops` does not import scikit-learn.
"""

import importlib

from aefast._version import __version__

_HOMES = {
    "Autoencoder": "aefast.networks.autoencoder",
    "StackedAutoencoder": "aefast.networks.stacked",
    "FactorAnalysis": "aefast.linear.factor_analysis",
    "ProbabilisticPCA": "aefast.linear.probabilistic_pca",
    "ItemAutoencoder": "aefast.linear.autoencoders",
    "MarginalizedAutoencoder": "aefast.linear.autoencoders",
    "Whitening": "aefast.linear.whitening",
    "SufficientStatistics": "aefast._base.moments",
    "DictionaryLearning": "aefast.sparse_coding.dictionary_learning",
    "SparseCoder": "aefast.sparse_coding.coder",
    "sparse_encode": "aefast.sparse_coding.coder",
    "extract_patches": "aefast.sparse_coding.patches",
    "load": "aefast.model_file",
    "build_info": "aefast._build_info",
}
_MODULES = ("distributions", "model_file", "ops", "plotting")

__all__ = [
    "Autoencoder",
    "DictionaryLearning",
    "FactorAnalysis",
    "ItemAutoencoder",
    "MarginalizedAutoencoder",
    "ProbabilisticPCA",
    "SparseCoder",
    "StackedAutoencoder",
    "SufficientStatistics",
    "Whitening",
    "__version__",
    "build_info",
    "distributions",
    "extract_patches",
    "load",
    "ops",
    "sparse_encode",
]


def __getattr__(name):
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"aefast.{name}")
    raise AttributeError(f"module 'aefast' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_HOMES, *_MODULES])
