"""Autoencoders on CPUs: fused, multithreaded training kernels under a scikit-learn API.

Autoencoder              autoencoder with one hidden layer
AutoencoderCV            autoencoder whose parameters are chosen on held-out rows
StackedAutoencoder       autoencoder with several layers
AutoencoderEnsemble      many autoencoders at once: bagged, or one for each group of rows
ProbabilisticPCA         linear factor model with equal noise in all columns
FactorAnalysis           linear factor model with a noise variance for each column
MarginalizedAutoencoder  linear denoising autoencoder in closed form
AutoencoderClassifier    autoencoder whose code predicts labels, of some rows or of all
AutoencoderRegressor     autoencoder whose code predicts numbers
MultinomialAutoencoder   denoising autoencoder of counts that recommends items
ItemAutoencoder          linear autoencoder with zero diagonal that recommends items
SufficientStatistics     count, sum and scatter matrix of rows, from one streaming pass
SparseCoder              sparse codes for a given dictionary
sparse_encode            sparse codes for a given dictionary, in one call
DictionaryLearning       dictionary for sparse codes, learned from rows
extract_patches          random patches of images, streamed
AnomalyDetector          strange rows of tables, with p-values and reasons
Imputer                  missing entries of tables, filled by their conditional means or draws
TableAutoencoder         autoencoder of tables with numbers, categories, dates: frames in and out
TableEncoder             tables of mixed columns as matrices for the models, and back
Whitening                transformation to uncorrelated columns of variance 1
export_c                 a fitted model as a header in C99
stream                   rows of files, datasets and iterators, read when they are needed
save                     writing of an estimator, or a pipeline with some inside, to one file
load                     reading of an estimator from a file that its `save` wrote
callbacks                a log and a limit of time for trainings
ops                      functional interface: arrays in, arrays out, no state
distributions            distributions p(x | μ) of outputs, and the base class of user-defined ones
factors                  tests before and after a factor analysis
metrics                  recall, nDCG and coverage of recommendations
build_info               properties of this build: instruction sets, threads, BLAS

Attributes are loaded on first use: `import aefast.ops` does not import scikit-learn.
"""

from aefast._version import __version__

# type checkers treat this name as `typing.TYPE_CHECKING`, whose import would take longer than all
# of aefast's
TYPE_CHECKING = False

if TYPE_CHECKING:  # the imports of `__getattr__`, for type checkers
    from aefast import anomaly as anomaly
    from aefast import callbacks as callbacks
    from aefast import denoising as denoising
    from aefast import distributions as distributions
    from aefast import factors as factors
    from aefast import imputation as imputation
    from aefast import metrics as metrics
    from aefast import model_file as model_file
    from aefast import ops as ops
    from aefast import patches as patches
    from aefast import plotting as plotting
    from aefast import sparse_coding as sparse_coding
    from aefast import statistics as statistics
    from aefast import table_autoencoder as table_autoencoder
    from aefast._base.moments import SufficientStatistics
    from aefast._build_info import build_info
    from aefast.anomaly import AnomalyDetector
    from aefast.imputation import Imputer
    from aefast.interop.c_header import export_c
    from aefast.linear.autoencoders import MarginalizedAutoencoder
    from aefast.linear.factor_analysis import FactorAnalysis
    from aefast.linear.item_autoencoder import ItemAutoencoder
    from aefast.linear.mixtures import MixtureOfFactorAnalyzers, MixtureOfProbabilisticPCA
    from aefast.linear.probabilistic_pca import ProbabilisticPCA
    from aefast.linear.whitening import Whitening
    from aefast.model_file import load, save
    from aefast.networks.autoencoder import Autoencoder
    from aefast.networks.classifier import AutoencoderClassifier
    from aefast.networks.ensemble import AutoencoderEnsemble
    from aefast.networks.multinomial import MultinomialAutoencoder
    from aefast.networks.regressor import AutoencoderRegressor
    from aefast.networks.selection import AutoencoderCV
    from aefast.networks.stacked import StackedAutoencoder
    from aefast.sparse_coding.coder import SparseCoder, sparse_encode
    from aefast.sparse_coding.dictionary_learning import DictionaryLearning
    from aefast.sparse_coding.patches import extract_patches
    from aefast.table_autoencoder import TableAutoencoder
    from aefast.tables.encoder import TableEncoder
    from aefast.tables.streams import stream

_HOMES = {
    "Autoencoder": "aefast.networks.autoencoder",
    "AutoencoderCV": "aefast.networks.selection",
    "StackedAutoencoder": "aefast.networks.stacked",
    "AutoencoderEnsemble": "aefast.networks.ensemble",
    "AutoencoderClassifier": "aefast.networks.classifier",
    "AutoencoderRegressor": "aefast.networks.regressor",
    "MultinomialAutoencoder": "aefast.networks.multinomial",
    "FactorAnalysis": "aefast.linear.factor_analysis",
    "ProbabilisticPCA": "aefast.linear.probabilistic_pca",
    "ItemAutoencoder": "aefast.linear.item_autoencoder",
    "MarginalizedAutoencoder": "aefast.linear.autoencoders",
    "MixtureOfFactorAnalyzers": "aefast.linear.mixtures",
    "MixtureOfProbabilisticPCA": "aefast.linear.mixtures",
    "Whitening": "aefast.linear.whitening",
    "AnomalyDetector": "aefast.anomaly",
    "Imputer": "aefast.imputation",
    "SufficientStatistics": "aefast._base.moments",
    "DictionaryLearning": "aefast.sparse_coding.dictionary_learning",
    "TableAutoencoder": "aefast.table_autoencoder",
    "TableEncoder": "aefast.tables.encoder",
    "SparseCoder": "aefast.sparse_coding.coder",
    "sparse_encode": "aefast.sparse_coding.coder",
    "extract_patches": "aefast.sparse_coding.patches",
    "export_c": "aefast.interop.c_header",
    "load": "aefast.model_file",
    "save": "aefast.model_file",
    "stream": "aefast.tables.streams",
    "build_info": "aefast._build_info",
}
_MODULES = (
    "anomaly",
    "callbacks",
    "denoising",
    "distributions",
    "factors",
    "imputation",
    "metrics",
    "model_file",
    "ops",
    "patches",
    "plotting",
    "sparse_coding",
    "statistics",
    "table_autoencoder",
)

__all__ = [
    "AnomalyDetector",
    "Autoencoder",
    "AutoencoderCV",
    "AutoencoderClassifier",
    "AutoencoderEnsemble",
    "AutoencoderRegressor",
    "DictionaryLearning",
    "FactorAnalysis",
    "Imputer",
    "ItemAutoencoder",
    "MarginalizedAutoencoder",
    "MixtureOfFactorAnalyzers",
    "MixtureOfProbabilisticPCA",
    "MultinomialAutoencoder",
    "ProbabilisticPCA",
    "SparseCoder",
    "StackedAutoencoder",
    "SufficientStatistics",
    "TableAutoencoder",
    "TableEncoder",
    "Whitening",
    "__version__",
    "build_info",
    "distributions",
    "export_c",
    "extract_patches",
    "load",
    "ops",
    "save",
    "sparse_encode",
    "stream",
]


if not TYPE_CHECKING:  # with a visible `__getattr__` checkers accept any name

    def __getattr__(name):
        from importlib import import_module

        if name in _HOMES:
            value = getattr(import_module(_HOMES[name]), name)
            globals()[name] = value
            return value
        if name in _MODULES:
            return import_module(f"aefast.{name}")
        raise AttributeError(f"module 'aefast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
