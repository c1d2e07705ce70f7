"""`out` of the functional interface: the same bits in the caller's memory, and refusals."""

import numpy as np
import pytest

from aefast import ops
from aefast._base import _runtime, passes

FUNCTIONS = ("encode", "decode", "sigmoid", "softplus")
N, D, K = 50, 13, 7


def make_call(function, dtype):
    """(function of `out`, shape of the result, the arrays that are read, by name)"""
    rng = np.random.default_rng(0)
    X, H, W = (rng.normal(size=shape).astype(dtype) for shape in ((N, D), (N, K), (K, D)))
    b, c = np.ones(K, dtype), np.zeros(D, dtype)
    if function == "encode":
        return lambda out: ops.encode(X, W, b, out=out), (N, K), {"X": X, "W": W, "b": b}
    if function == "decode":
        return (
            lambda out: ops.decode(H, W, c, output="bernoulli", out=out),
            (N, D),
            {"H": H, "W": W, "c": c},
        )
    return lambda out: getattr(ops, function)(X, out=out), (N, D), {"x": X}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_result_is_written_into_out(function, dtype):
    call, shape, _ = make_call(function, dtype)
    expected, out = call(None), np.full(shape, np.nan, dtype)
    assert call(out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_unfit_out_is_refused(function):
    call, shape, _ = make_call(function, np.float64)
    with pytest.raises(TypeError, match=r"out must be .* got list"):
        call([[0.0] * shape[1]] * shape[0])
    with pytest.raises(ValueError, match=r"out must be .* dtype float64, got .* float32"):
        call(np.empty(shape, np.float32))
    with pytest.raises(ValueError, match=r"out must be .* got shape \(50, 20\)"):
        call(np.empty((N, 20)))
    with pytest.raises(ValueError, match="not C-contiguous"):
        call(np.empty(shape[::-1]).T)
    read_only = np.empty(shape)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        call(read_only)
    with pytest.raises(ValueError, match="not aligned"):
        call(np.empty(8 * N * shape[1] + 1, np.uint8)[1:].view(np.float64).reshape(shape))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_is_read_is_not_written(function):
    _, shape, arrays = make_call(function, np.float64)
    for name, array in arrays.items():
        memory = np.zeros(N * D + array.size)
        read = memory[N * D - 1 :][: array.size].reshape(array.shape)
        read[...] = array
        given, before = {**arrays, name: read}, read.copy()
        size = shape[0] * shape[1]
        out = memory[N * D - size :][:size].reshape(shape)
        with pytest.raises(ValueError, match=f"out must not overlap with {name}"):
            getattr(ops, function)(*given.values(), out=out)
        np.testing.assert_array_equal(read, before)


@pytest.mark.parametrize("products", ["tiles", "blas"])
@pytest.mark.parametrize("n", [1, 31, 700])
def test_rows_in_one_call_or_several(n, products, monkeypatch):
    monkeypatch.setattr(_runtime, "products", lambda: products)
    monkeypatch.setattr(passes, "SLICE_SECONDS", 1e-9)  # a block each
    rng = np.random.default_rng(1)
    X, W, b = rng.normal(size=(n, D)), rng.normal(size=(K, D)), np.zeros(K)
    H, X_hat = np.full((n, K), np.nan), np.full((n, D), np.nan)
    expected = ops.encode(X, W, b)
    assert ops.encode(X, W, b, n_threads=3, out=H) is H
    np.testing.assert_array_equal(H, expected)
    assert ops.decode(H, W, np.zeros(D), n_threads=3, out=X_hat) is X_hat
    np.testing.assert_array_equal(X_hat, ops.decode(H, W, np.zeros(D)))


def test_what_was_converted_may_be_overwritten():
    """The kernel reads a copy of it."""
    rng = np.random.default_rng(2)
    X, W = rng.normal(size=(N, D)), np.asfortranarray(rng.normal(size=(D, D)))
    expected = ops.encode(X, W, np.zeros(D))
    memory = np.empty((N, D))
    memory[:D] = W.T
    assert ops.encode(X, memory[:D].T, np.zeros(D), out=memory) is memory
    np.testing.assert_array_equal(memory, expected)


def test_subclasses(tmp_path):
    x = np.linspace(-2, 2, 24).reshape(6, 4)
    expected = ops.sigmoid(x)
    mapped = np.memmap(tmp_path / "x", np.float64, "w+", shape=x.shape)
    mapped[...] = x
    assert ops.sigmoid(mapped, out=mapped) is mapped
    np.testing.assert_array_equal(np.fromfile(tmp_path / "x").reshape(x.shape), expected)
    with pytest.raises(TypeError, match="got MaskedArray"):
        ops.sigmoid(x, out=np.ma.zeros(x.shape))


@pytest.mark.parametrize("function", ["sigmoid", "softplus"])
def test_in_place(function):
    for dtype in (np.float32, np.float64):
        x = np.linspace(-5, 5, 10_001, dtype=dtype)
        expected = getattr(ops, function)(x)
        getattr(ops, function)(x[:5000], n_threads=2, out=x[:5000])
        np.testing.assert_array_equal(x[:5000], expected[:5000])
        x[:5000] = np.linspace(-5, 5, 10_001, dtype=dtype)[:5000]
        assert getattr(ops, function)(x, out=x) is x
        np.testing.assert_array_equal(x, expected)
    scalar = np.array(0.0)
    assert getattr(ops, function)(scalar, out=scalar) is scalar
    assert scalar[()] == getattr(ops, function)(0.0)
