"""Check of an installed aefast: ``python -m aefast.selftest``.

Runs kernels of each family, with every instruction set that the processor has and with SciPy's
matrix products, in float32 and float64, and compares the results with a few lines of NumPy in
float64. The command prints what it found. Its exit status is 0 if everything agrees and 1 if
something does not; a processor that cannot execute a kernel ends the process with a signal.
"""

import argparse
import platform
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aefast import ops
from aefast._base import _runtime
from aefast._base.moments import SufficientStatistics
from aefast._base.types import Array
from aefast._build_info import build_info
from aefast.networks.autoencoder import Autoencoder
from aefast.networks.precision import is_available
from aefast.sparse_coding.coder import sparse_encode

__all__ = ["Comparison", "compare", "main"]


def __dir__() -> list[str]:
    return __all__


# No multiple of the widths of vectors, tiles and panels: the remainders are run too.
N_SAMPLES, N_FEATURES, N_COMPONENTS = 259, 67, 29
ROOT_OF_TERMS = N_SAMPLES**0.5
LEARNING_RATE = 0.5
ALPHA = 0.3


class Comparison(NamedTuple):
    """One result of a kernel: its largest error, and the largest that rounding explains."""

    name: str
    error: float
    bound: float

    @property
    def agrees(self) -> bool:
        return self.error <= self.bound  # not for NaN


class Problem(NamedTuple):
    """Rows in [0, 1], weights and biases, all of one type."""

    X: Array
    W: Array
    b: Array
    c: Array


def make_problem(dtype: str) -> Problem:
    """Draw rows and parameters that float32 represents exactly, so that both types agree."""
    random = np.random.default_rng(0)
    n, d, k = N_SAMPLES, N_FEATURES, N_COMPONENTS
    arrays = (
        random.random((n, d)),
        random.normal(0, 0.3, (k, d)),
        random.normal(0, 1, k),
        random.normal(0, 1, d),
    )
    return Problem(*(array.astype(np.float32).astype(dtype) for array in arrays))


# ---- what kernels compute, in float64 NumPy ----


def logistic(a):
    return 1 / (1 + np.exp(-a))


def twin_gradients(X, W, b, c):
    """The loss of a tied autoencoder with Bernoulli outputs, and its gradients by W, b and c.

    With codes H = g(X Wᵀ + b), means g(H W + c) and dÂ = (means − X)/n, the gradients are
    dc = Σ dÂ, db = Σ dA for dA = (dÂ Wᵀ) ∘ H ∘ (1 − H), and dW = dAᵀ X + Hᵀ dÂ.
    """
    codes = logistic(X @ W.T + b)
    eta = codes @ W + c
    loss = (np.logaddexp(0, eta) - X * eta).sum(axis=1).mean()
    D_eta = (logistic(eta) - X) / len(X)
    D_codes = (D_eta @ W.T) * codes * (1 - codes)
    return loss, D_codes.T @ X + codes.T @ D_eta, D_codes.sum(axis=0), D_eta.sum(axis=0)


# ---- comparisons ----


def comparison(name, result, twin, eps):
    """Compare arrays: errors grow with the square root of the terms of the longest sum."""
    result, twin = np.asarray(result, np.float64), np.asarray(twin, np.float64)
    error = float(np.abs(result - twin).max())
    return Comparison(name, error, 2 * ROOT_OF_TERMS * eps * float(np.abs(twin).max()))


def passes_over_rows(problem, exact, eps):
    X, W, b, c = problem
    codes = ops.encode(X, W, b)
    yield comparison("encode", codes, logistic(exact.X @ exact.W.T + exact.b), eps)
    means = logistic(codes.astype(np.float64) @ exact.W + exact.c)
    yield comparison("decode", ops.decode(codes, W, c, output="bernoulli"), means, eps)
    loss, gradients = ops.loss_and_gradients(X, W, b, c, output="bernoulli")
    twin_loss, *twins = twin_gradients(*exact)
    yield comparison("loss", loss, twin_loss, eps)
    for name, gradient, twin in zip("Wbc", gradients, twins, strict=False):
        yield comparison(f"gradient of {name}", gradient, twin, eps)
    yield comparison("softplus", ops.softplus(W), np.logaddexp(0, exact.W), eps)


def training_step(problem, exact, eps):
    """One step of gradient descent: the change of the parameters is −rate × gradient."""
    for name, before, twin, after in one_step(problem, exact, "auto"):
        yield comparison(f"step of {name}", after, before - LEARNING_RATE * twin, eps)


def bfloat16_step(problem, exact, eps):
    """A step whose products round their operands to bfloat16, with a relative error of 2⁻⁹."""
    if problem.X.dtype != np.float32 or not is_available("bfloat16"):
        return
    for name, before, twin, after in one_step(problem, exact, "bfloat16"):
        error = np.abs((before - after) / LEARNING_RATE - twin).max()
        yield Comparison(f"bfloat16 step of {name}", float(error), 2**-5 * np.abs(twin).max())


def one_step(problem, exact, precision):
    """Name, value before, gradient by NumPy and value after a step, of each parameter."""
    model = Autoencoder(
        N_COMPONENTS,
        output="bernoulli",
        gain=False,
        init="glorot",
        solver="sgd",
        momentum=0.0,
        learning_rate=LEARNING_RATE,
        learning_rate_schedule="constant",
        batch_size=N_SAMPLES,
        precision=precision,
        max_epochs=0,
        random_state=0,
    )
    model.fit(problem.X)
    start = (model.components_, model.hidden_bias_, model.visible_bias_)
    before = [array.astype(np.float64) for array in start]
    _, *twins = twin_gradients(exact.X, *before)
    model.partial_fit(problem.X)
    after = (model.components_, model.hidden_bias_, model.visible_bias_)
    return zip("Wbc", before, twins, after, strict=True)


def sparse_codes(problem, exact, eps):
    """The lasso's conditions: |D rᵀ| ≤ α, with equality and the code's sign where it is not 0."""
    atoms = exact.W / np.linalg.norm(exact.W, axis=1, keepdims=True)
    D = atoms.astype(problem.W.dtype)
    codes = sparse_encode(problem.X, D, algorithm="lasso_active", alpha=ALPHA, tol=0.0)
    codes, atoms = codes.astype(np.float64), D.astype(np.float64)
    correlations = (exact.X - codes @ atoms) @ atoms.T
    active = codes != 0
    errors = np.where(
        active, np.abs(correlations - ALPHA * np.sign(codes)), np.abs(correlations) - ALPHA
    )
    scale = float(np.abs(exact.X @ atoms.T).max() + np.abs(codes).sum(axis=1).max())
    yield Comparison("lasso", float(errors.max()), 2 * ROOT_OF_TERMS * eps * scale)


def sums_of_rows(problem, exact, eps):
    statistics = SufficientStatistics(N_FEATURES).update(problem.X)
    centred = exact.X - exact.X.mean(axis=0)
    yield comparison("mean of rows", statistics.mean_, exact.X.mean(axis=0), eps)
    yield comparison("scatter of rows", statistics.scatter_, centred.T @ centred, eps)


def checks_of_rows(problem, exact, eps):
    """A row with an entry that is not finite is found and named."""
    X = problem.X.copy()
    X[200, 50] = np.nan
    try:
        ops.encode(X, problem.W, problem.b)
        message = "no error"
    except ValueError as error:
        message = str(error)
    yield Comparison("check of rows", float("200" not in message), 0.0)


def threads_agree(problem, exact, eps):
    X, W, b, c = problem
    one, three = (
        ops.loss_and_gradients(X, W, b, c, output="bernoulli", n_threads=n) for n in (1, 3)
    )
    same = one[0] == three[0] and all(
        np.array_equal(a, b) for a, b in zip(one[1][:3], three[1][:3], strict=True)
    )
    yield Comparison("bits of 1 and 3 threads", float(not same), 0.0)


CHECKS = (
    passes_over_rows,
    training_step,
    bfloat16_step,
    sparse_codes,
    sums_of_rows,
    checks_of_rows,
    threads_agree,
)


def compare(isa: str, products: str, dtype: str) -> Iterator[Comparison]:
    """Run the kernels of one instruction set in one precision and compare each result.

    Parameters
    ----------
    isa : str
        One of ``build_info()["isa_available"]``.
    products : {"tiles", "blas"}
        Matrix products of aefast, or SciPy's.
    dtype : {"float32", "float64"}

    Yields
    ------
    comparison : Comparison

    Notes
    -----
    The instruction set of the process is restored afterwards. No other thread may use aefast
    meanwhile.
    """
    problem, exact = make_problem(dtype), make_problem("float64")
    before = _runtime.isa(), _runtime.products()
    try:
        _runtime.set_isa(isa)
        _runtime.set_products(products)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit of one step has not converged
            for check in CHECKS:
                yield from check(problem, exact, float(np.finfo(dtype).eps))
    finally:
        _runtime.set_isa(before[0])
        _runtime.set_products(before[1])


# ---- the command ----


def describe() -> str:
    """What is installed, and on what."""
    info = build_info()
    parallel = f"OpenMP, {info['n_threads']} threads" if info["openmp"] else "serial"
    return "\n".join(
        [
            f"aefast {info['version']} in {Path(__file__).parent}",
            f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.platform()}",
            f"{info['compiler']}; {parallel}; {info['blas']}",
            f"instruction sets: {', '.join(info['isa_available'])}; in use: {info['isa']}; "
            f"bfloat16: {'yes' if info['bfloat16'] else 'no'}",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all comparisons and print them; return the exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments of the command, by default those of the process.

    Returns
    -------
    status : int
        0 if all results agree, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m aefast.selftest", description=compare.__doc__)
    parser.description = "Compare the kernels of each instruction set with NumPy."
    parser.add_argument("-v", "--verbose", action="store_true", help="print every comparison")
    verbose = parser.parse_args(arguments).verbose
    print(describe(), flush=True)
    available = _runtime.isa_available()
    cases = [(isa, "tiles") for isa in available] + [(available[-1], "blas")]
    n_compared, n_failed = 0, 0
    for isa, products in cases:
        for dtype in ("float32", "float64"):
            label = f"{isa if products == 'tiles' else 'blas'} {dtype}"
            print(f"{label:<18}", end="", flush=True)  # known if the process dies here
            found = list(compare(isa, products, dtype))
            wrong = [one for one in found if not one.agrees]
            n_compared, n_failed = n_compared + len(found), n_failed + len(wrong)
            print(f"{len(found) - len(wrong)} of {len(found)} results agree", flush=True)
            for one in found if verbose else wrong:
                verdict = "agrees" if one.agrees else "DIFFERS"
                print(f"    {one.name}: {verdict}, error {one.error:.2g}, bound {one.bound:.2g}")
    print(f"{n_failed} of {n_compared} results differ" if n_failed else "everything agrees")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
