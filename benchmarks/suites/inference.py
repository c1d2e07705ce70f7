"""Encoding and reconstructing many rows: ``python -m benchmarks.suites.inference``.

The network is that of the training benchmarks: tied, sigmoid, cross-entropy, float32. A library
computes ``H = sigm(X Wᵀ + b)`` (encode), or also ``X̂ = sigm(H W + c)`` (reconstruct), for all rows
at once. Results go to new memory or, with libraries named "-out", to preallocated memory. aefast
also checks in the same pass that every entry is finite. Each library runs alone in its process, in
turn with the others, after a comparison with a float64 reference.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median

import numpy as np

from benchmarks.harness import cores, runner
from benchmarks.harness.problems import load_pixels, textbook

OPERATIONS = {"encode": 2, "reconstruct": 4}  # operations in units of n d k
TOLERANCE = 1e-5  # absolute, of values in (0, 1)
CHECKED_ROWS = 100


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def make_network(n_rows, d, k, pixels=None):
    """Make rows, W (k, d), b (k,) and c (d,), float32."""
    rng = np.random.default_rng(0)
    X = (
        rng.random((n_rows, d), dtype=np.float32)
        if pixels is None
        else np.resize(pixels, (n_rows, d))
    )
    bound = 4 * np.sqrt(6 / (d + k))
    W = rng.uniform(-bound, bound, (k, d)).astype(np.float32)
    return X, W, rng.normal(0, 0.1, k).astype(np.float32), rng.normal(0, 0.1, d).astype(np.float32)


# ---- one function for each library: (X, W, b, c, n_threads) -> {operation: callable} ----


def of_ops(X, W, b, c, n_threads):
    """Return the operations of aefast.ops, where reconstruction takes two calls."""
    from aefast import ops

    def reconstruct():
        H = ops.encode(X, W, b, n_threads=n_threads)
        return ops.decode(H, W, c, output="bernoulli", n_threads=n_threads)

    return {"encode": lambda: ops.encode(X, W, b, n_threads=n_threads), "reconstruct": reconstruct}


def of_ops_out(X, W, b, c, n_threads):
    """Return the operations of aefast.ops with results in preallocated memory."""
    from aefast import ops

    H, X_hat = np.empty((len(X), len(W)), np.float32), np.empty_like(X)

    def reconstruct():
        codes = ops.encode(X, W, b, n_threads=n_threads, out=H)
        return ops.decode(codes, W, c, output="bernoulli", n_threads=n_threads, out=X_hat)

    return {
        "encode": lambda: ops.encode(X, W, b, n_threads=n_threads, out=H),
        "reconstruct": reconstruct,
    }


def of_estimator(X, W, b, c, n_threads):
    from aefast import Autoencoder

    options = {"output": "bernoulli", "max_epochs": 0, "n_threads": n_threads}
    options |= textbook(Autoencoder)
    estimator = Autoencoder(len(W), **options).fit(X[:1000])
    estimator.components_[...], estimator.hidden_bias_[...] = W, b
    estimator.visible_bias_[...] = c
    return {
        "encode": lambda: estimator.transform(X),
        "reconstruct": lambda: estimator.reconstruct(X),
    }


def sigmoid_in_place(A, bias):
    A += bias
    np.negative(A, out=A)
    np.exp(A, out=A)
    A += 1
    return np.reciprocal(A, out=A)


def of_numpy(X, W, b, c, n_threads):
    def encode():
        return sigmoid_in_place(X @ W.T, b)

    return {"encode": encode, "reconstruct": lambda: sigmoid_in_place(encode() @ W, c)}


def of_numpy_out(X, W, b, c, n_threads):
    H, X_hat = np.empty((len(X), len(W)), np.float32), np.empty_like(X)

    def encode():
        return sigmoid_in_place(np.matmul(X, W.T, out=H), b)

    return {
        "encode": encode,
        "reconstruct": lambda: sigmoid_in_place(np.matmul(encode(), W, out=X_hat), c),
    }


def of_torch(X, W, b, c, n_threads):
    import torch

    torch.set_num_threads(n_threads)
    rows, weights, b, c = (torch.from_numpy(array) for array in (X, W, b, c))

    @torch.inference_mode()
    def encode():
        return torch.nn.functional.linear(rows, weights, b).sigmoid_()

    @torch.inference_mode()
    def reconstruct():
        return torch.addmm(c, encode(), weights).sigmoid_()

    return {"encode": lambda: encode().numpy(), "reconstruct": lambda: reconstruct().numpy()}


def of_torch_out(X, W, b, c, n_threads):
    import torch

    torch.set_num_threads(n_threads)
    rows, weights, b, c = (torch.from_numpy(array) for array in (X, W, b, c))
    H, X_hat = torch.empty(len(X), len(W)), torch.empty_like(rows)

    @torch.inference_mode()
    def encode():
        return torch.addmm(b, rows, weights.T, out=H).sigmoid_()

    @torch.inference_mode()
    def reconstruct():
        return torch.addmm(c, encode(), weights, out=X_hat).sigmoid_()

    return {"encode": lambda: encode().numpy(), "reconstruct": lambda: reconstruct().numpy()}


def of_jax(X, W, b, c, n_threads):
    import jax

    rows, weights, b, c = (jax.numpy.array(array) for array in (X, W, b, c))

    def encode(rows, weights, b):
        return jax.nn.sigmoid(rows @ weights.T + b)

    def reconstruct(rows, weights, b, c):
        return jax.nn.sigmoid(encode(rows, weights, b) @ weights + c)

    jitted = {"encode": jax.jit(encode), "reconstruct": jax.jit(reconstruct)}
    return {
        "encode": lambda: np.asarray(jitted["encode"](rows, weights, b)),
        "reconstruct": lambda: np.asarray(jitted["reconstruct"](rows, weights, b, c)),
    }


def of_onnxruntime(X, W, b, c, n_threads):
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    layers = {
        "encode": [("Gemm", ["X", "W", "b"], {"transB": 1})],
        "reconstruct": [
            ("Gemm", ["X", "W", "b"], {"transB": 1}),
            ("Gemm", ["H1", "W", "c"], {}),
        ],
    }
    constants = [numpy_helper.from_array(a, name) for name, a in (("W", W), ("b", b), ("c", c))]

    def session(layers, width):
        nodes = []
        for i, (kind, inputs, attributes) in enumerate(layers, start=1):
            nodes.append(helper.make_node(kind, inputs, [f"A{i}"], **attributes))
            nodes.append(helper.make_node("Sigmoid", [f"A{i}"], [f"H{i}"]))
        ends = (
            [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, W.shape[1]])],
            [helper.make_tensor_value_info(f"H{len(layers)}", TensorProto.FLOAT, [None, width])],
        )
        used = {name for _, inputs, _ in layers for name in inputs}
        graph = helper.make_graph(
            nodes, "autoencoder", *ends, [value for value in constants if value.name in used]
        )
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=9)
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    widths = {"encode": len(W), "reconstruct": W.shape[1]}
    sessions = {name: session(layers[name], widths[name]) for name in layers}
    return {name: lambda s=s: s.run(None, {"X": X})[0] for name, s in sessions.items()}


LIBRARIES = {
    "ops": of_ops,
    "ops-out": of_ops_out,
    "estimator": of_estimator,
    "numpy": of_numpy,
    "numpy-out": of_numpy_out,
    "torch": of_torch,
    "torch-out": of_torch_out,
    "jax": of_jax,
    "onnxruntime": of_onnxruntime,
}


# ---- a process for each measurement ----


def check(result, X, W, b, c, operation):
    """Compare the first rows of a result with the formulas in float64."""
    rows = X[:CHECKED_ROWS].astype(np.float64)
    expected = sigmoid(rows @ W.T.astype(np.float64) + b)
    if operation == "reconstruct":
        expected = sigmoid(expected @ W.astype(np.float64) + c)
    error = np.abs(result[: len(rows)] - expected).max()
    if result.shape[0] != len(X) or not error <= TOLERANCE:
        raise SystemExit(f"off by {error:.1e}")


def work(options):
    """Measure one library; print a line of JSON."""
    cores.pin(options.threads)
    pixels = load_pixels(options.data) if options.data else None
    X, W, b, c = make_network(options.rows, options.features, options.components, pixels)
    function = LIBRARIES[options.worker](X, W, b, c, options.threads)[options.operation]
    check(function(), X, W, b, c, options.operation)
    seconds, begin = [], time.perf_counter()
    while len(seconds) < 3 or time.perf_counter() - begin < options.budget:
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
        del result  # so that the next call's timing does not include freeing it
    print(json.dumps({"seconds": seconds}))


def run_worker(options, library, operation, threads):
    command = [sys.executable, "-m", "benchmarks.suites.inference", "--worker", library]
    command += ["--operation", operation, "--threads", str(threads)]
    for name in ("rows", "features", "components", "budget", "data"):
        if getattr(options, name) is not None:
            command += [f"--{name}", str(getattr(options, name))]
    is_threaded = str(threads > 1).lower()
    environment = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"), str(threads))
    environment |= {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={is_threaded}",
    }
    done = subprocess.run(
        command, cwd=runner.ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no result"])[-1]
    return median(json.loads(done.stdout.splitlines()[-1])["seconds"])


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suites.inference", description=__doc__
    )
    parser.add_argument("--libraries", nargs="+", choices=list(LIBRARIES), default=list(LIBRARIES))
    parser.add_argument(
        "--operations", nargs="+", choices=list(OPERATIONS), default=["encode", "reconstruct"]
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--features", type=int, default=784)
    parser.add_argument("--components", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget", type=float, default=1.0, help="seconds of timing a process")
    parser.add_argument(
        "--data", help="PATH.npz or PATH.npz:KEY with pixels; default: random numbers"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--operation", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def table(options, operation, threads):
    """Measure the libraries in turn and yield the lines of a table."""
    from aefast._base import _runtime

    times = {name: [] for name in options.libraries}
    peak = 0.0
    for _ in range(options.repeats):
        peak = max(peak, _runtime.fma_peak("float32", threads, 0.2))
        for name in options.libraries:
            times[name].append(run_worker(options, name, operation, threads))
    flop = OPERATIONS[operation] * options.rows * options.features * options.components
    sizes = f"{options.rows} x {options.features}, k = {options.components}"
    yield f"\n{operation}, {sizes}, {threads} thread(s), peak {peak / 1e9:.0f} GFLOP/s"
    for name, seconds in times.items():
        failed = [message for message in seconds if isinstance(message, str)]
        if failed:
            yield f"  {name:<12} failed: {failed[0]}"
            continue
        typical = median(seconds)
        first = times[options.libraries[0]]
        ratio = median(s / f for s, f in zip(seconds, first, strict=True))
        share = f"{100 * flop / typical / peak:5.1f} % of peak"
        yield (
            f"  {name:<12} {1e3 * typical:7.1f} ms  {share}  {ratio:5.2f} x {options.libraries[0]}"
        )


def main(arguments=None):
    options = parse_arguments(arguments)
    if options.worker:
        options.threads = options.threads[0]
        work(options)
        return
    for threads in options.threads:
        for operation in options.operations:
            for line in table(options, operation, threads):
                print(line, flush=True)


if __name__ == "__main__":
    main()
