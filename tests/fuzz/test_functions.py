"""Functions without state, sums of rows, and images: any call ends well."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hostile_arrays import cast, numbers, tables, weights, wrapped
from support.hostile_parameters import CODING, OUTPUTS, SMALL
from support.outcomes import LONG, SHORT, Refused, outcome_of

from aefast import SufficientStatistics, denoising, extract_patches, ops, sparse_encode
from aefast.patches import all_patches

N_FEATURES, N_COMPONENTS = 5, 3


def parameter(data, shape):
    """A parameter of ops: mostly one of the right shape."""
    if data.draw(st.integers(0, 9)) == 0:
        return data.draw(st.sampled_from([None, 1.0, "W", [[1, 2], [3]], np.ones((2, 2, 2))]))
    values = data.draw(numbers(shape, kinds=["normal", "zeros"]))
    return cast(values, data.draw(st.sampled_from(["f4", "f8", ">f8", "i4"])))


def check_ops(data):
    W = parameter(data, (N_COMPONENTS, N_FEATURES))
    b, c = parameter(data, (N_COMPONENTS,)), parameter(data, (N_FEATURES,))
    options = {}
    if data.draw(st.booleans()):
        options["activation"] = data.draw(st.sampled_from(["tanh", "relu", "elu", "swish", None]))
    outcome_of(ops.encode, "encode", data.draw(tables(N_FEATURES)), W, b, **options)
    output = data.draw(st.sampled_from(OUTPUTS))
    outcome_of(ops.decode, "decode", data.draw(tables(N_COMPONENTS)), W, c, output=output)
    X = data.draw(tables(N_FEATURES, n_rows=4))
    options |= {"output": output, "sample_weight": data.draw(weights(4))}
    V = parameter(data, (N_COMPONENTS, N_FEATURES)) if data.draw(st.booleans()) else None
    outcome_of(ops.loss, "loss", X, W, b, c, V, **options)
    outcome_of(ops.loss_and_gradients, "loss_and_gradients", X, W, b, c, V, **options)
    # NaN passes through functions of single numbers
    finite = np.nan_to_num(data.draw(numbers((4, 3))))
    values = cast(finite, data.draw(st.sampled_from(["f8", ">f8", "i8"])))
    outcome_of(ops.sigmoid, "sigmoid", values[::-1, ::2])
    out = data.draw(st.sampled_from([None, np.empty((4, 3)), np.empty(3), values, values.T, "out"]))
    outcome_of(ops.softplus, "softplus", values, out=out)


def check_statistics(data):
    """Sums stay finite, and a refused batch leaves them as they were."""
    statistics = SufficientStatistics(N_FEATURES)
    for method in data.draw(
        st.lists(st.sampled_from(["update", "update", "downdate", "merge"]), max_size=5)
    ):
        before = statistics.copy()
        if method == "merge":
            other = SufficientStatistics(N_FEATURES)
            outcome_of(other.update, "update", data.draw(tables(N_FEATURES, usual=True)))
            result = outcome_of(statistics.merge, method, other)
        else:
            X = data.draw(tables(N_FEATURES, n_rows=6))
            result = outcome_of(getattr(statistics, method), method, X, data.draw(weights(6)))
        if isinstance(result, Refused):
            assert statistics.n_samples_ == before.n_samples_
            if before.weight_sum_ > 0:
                assert np.array_equal(statistics.mean_, before.mean_)
                assert np.array_equal(statistics.scatter_, before.scatter_)
        outcome_of(statistics.covariance, "covariance", ddof=data.draw(st.sampled_from([0, 1, 9])))
        outcome_of(statistics.second_moments, "second_moments")


def check_sparse_codes(data):
    options = {
        name: data.draw(st.sampled_from([*choices, *SMALL[:20]]))
        for name, choices in CODING.items()
        if name not in ("code_max_iter", "n_threads") and data.draw(st.integers(0, 2)) == 0
    }
    dictionary = parameter(data, (N_COMPONENTS, N_FEATURES))
    X = data.draw(tables(N_FEATURES))
    options |= {"max_iter": 100, "return_gap": data.draw(st.booleans())}
    outcome_of(sparse_encode, "sparse_encode", X, dictionary, **options)


def check_images(data):
    shape = data.draw(
        st.sampled_from([(9, 8), (12, 12), (1, 1), (0, 4), (9,), (8, 8, 3), (4, 4, 4, 4)])
    )
    image = data.draw(numbers(shape, kinds=["uniform", "constant"]))
    image = wrapped(image, data.draw(st.sampled_from(["array", "array", "list", "masked", "none"])))
    size = data.draw(st.sampled_from([3, (2, 3), (9, 8), 0, -1, 10**6, 2.5, "3", (1,), None]))
    # NaN stays where it is in what is only cut out
    options = {"n_patches": 5, "random_state": 0}
    outcome_of(lambda: np.shape(extract_patches(image, size, **options)), "extract_patches")
    outcome_of(lambda: np.shape(all_patches(image, size)), "all_patches")
    outcome_of(denoising.estimate_noise, "estimate_noise", image)
    clean = data.draw(numbers((9, 8), kinds=["uniform"]))
    if not np.array_equal(image, clean):  # a ratio to no noise is infinite
        outcome_of(denoising.psnr, "psnr", image, clean)
    noise = data.draw(st.sampled_from([0.0, 0.1, -1.0, np.nan, 1e300, "0.1", None]))
    dictionary = parameter(data, (4, 9))
    outcome_of(denoising.denoise, "denoise", image, dictionary, noise)


CHECKS = {
    "ops": check_ops,
    "statistics": check_statistics,
    "sparse codes": check_sparse_codes,
    "images": check_images,
}
every_property = pytest.mark.parametrize("prop", CHECKS.values(), ids=CHECKS)


@every_property
@settings(max_examples=12, **SHORT)
@given(data=st.data())
def test_any_call_ends_well(prop, data):
    prop(data)


@pytest.mark.fuzz
@every_property
@LONG
@given(data=st.data())
def test_any_call_ends_well_long(prop, data):
    prop(data)
