"""Reconstruction sampling: losses of the stored entries of sparse rows and of some of their zeros.

The kernel (`src/kernels/autoencoder/sampled_zeros.h`) divides the loss of a sampled zero by the
probability that it is drawn, so that losses and gradients have the expectations of those of all
columns (Dauphin, Glorot & Bengio 2011).
"""

from aefast._base.sparse_rows import SparseRows
from aefast.networks.outputs import CUSTOM

NAME = "reconstruction_sampling"
ZERO_CHANGING = ("gaussian", "salt_and_pepper")  # noise of all entries of a row


def without_sampling(variant):
    return variant._replace(sampled_zeros=0, sampled_ratio=0.0)


def check_parameters(estimator):
    """Raise ValueError for parameters with which zeros are not sampled."""
    given = getattr(estimator, NAME)
    if given is None:
        return
    for name, wrong, why in (
        ("solver", "lbfgs", "its line searches compare losses, and samples make them random"),
        ("precision", "bfloat16", "its kernels have no form for single entries of the output"),
        ("sparse_output", "factored", "a factored step has the exact loss of all columns"),
        ("sparse_means", "missing", "entries that are not stored have no loss"),
    ):
        if getattr(estimator, name) == wrong:
            raise ValueError(f"{NAME}={given!r} does not go with {name}={wrong!r}: {why}")
    if estimator.top_k is not None:
        raise ValueError(
            f"{NAME}={given!r} does not go with top_k={estimator.top_k!r}: its kernels have no form"
            " for single entries of the output"
        )
    noise = estimator.corruption
    if isinstance(noise, tuple) and noise[0] in ZERO_CHANGING:
        raise ValueError(
            f"{NAME}={given!r} does not go with corruption={noise!r}, which changes zeros: use "
            "'masking' or 'dropout'"
        )


def check_rows(rows, model, variant):
    """Return the variant of a training on these rows; on dense rows the loss has all columns.

    Raises ValueError where the loss is no sum over columns, or where zeros are not read as 0.
    """
    if not (variant.sampled_zeros or variant.sampled_ratio):
        return variant
    if not isinstance(rows, SparseRows):
        return without_sampling(variant)
    for segment in model.output:
        if segment.is_group:
            raise ValueError(
                f"{NAME} needs losses that are sums over columns: that of output {segment.name!r} "
                "has the logarithm of a sum over all columns, of which no sample gives an unbiased "
                "estimate. output='poisson' on rows divided by their totals, with the totals as "
                "sample_weight, has the same gradient in the shares of the columns"
            )
        if segment.distribution == CUSTOM:
            raise ValueError(
                f"{NAME} needs distributions of the compiled table, got {segment.name!r}"
            )
    if not variant.keeps_zeros(absent_missing=False):
        raise ValueError(
            f"{NAME} needs rows whose zeros stay zeros, and this estimator was fitted to rows "
            "whose columns are centred"
        )
    return variant
