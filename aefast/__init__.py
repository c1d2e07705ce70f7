"""Autoencoders on CPUs: fused, multithreaded training kernels under a scikit-learn API.

Autoencoder    the estimator
SufficientStatistics   count, sum and scatter matrix of rows, from one streaming pass
Whitening      columns made uncorrelated, of variance 1
load           reads an estimator from a file that its `save` wrote
ops            the functional backend: arrays in, arrays out, no state
build_info     what this build is and uses

Attributes are loaded on first use: `import aefast.ops` does not import scikit-learn.
"""

import importlib

from aefast._version import __version__

_HOMES = {
    "Autoencoder": "aefast.autoencoder",
    "build_info": "aefast._build_info",
    "load": "aefast.model_file",
    "SufficientStatistics": "aefast.statistics",
    "Whitening": "aefast.whitening",
}
_MODULES = ("ops", "plotting", "model_file")

__all__ = [
    "Autoencoder",
    "SufficientStatistics",
    "Whitening",
    "__version__",
    "build_info",
    "load",
    "ops",
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
