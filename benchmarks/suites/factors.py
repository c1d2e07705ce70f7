"""Linear factor models and sufficient statistics: ``python -m benchmarks.suites.factors``.

Each measurement runs in a process of its own, and rivals take turns. Covariances, likelihoods and
captured variances of all rivals must agree; otherwise nothing is printed.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


def factor_rows(n, d, k, dtype=np.float64):
    """Draw rows of a factor model."""
    rng = np.random.default_rng(0)
    W, spread = rng.normal(size=(k, d)), rng.uniform(0.3, 2.0, d)
    X = rng.standard_normal((n, d), dtype=np.float32) * spread.astype(np.float32)
    X += rng.standard_normal((n, k), dtype=np.float32) @ W.astype(np.float32)
    return (X + 3).astype(dtype, copy=False)


def word_rows(n, d, per_row=100, n_topics=60):
    """Draw a CSR matrix of logarithms of counts.

    Each topic is a power law over a permuted vocabulary, and each row mixes a few topics.
    """
    from scipy import sparse

    rng = np.random.default_rng(0)
    words = np.cumsum(1 / np.arange(1, d + 1) ** 0.8)
    orders = np.array([rng.permutation(d) for _ in range(n_topics)])
    mixtures = rng.dirichlet(np.full(3, 0.5), n).cumsum(axis=1)
    topics_of_rows = rng.integers(0, n_topics, (n, 3))
    which = (mixtures[:, None, :] < rng.random((n, per_row, 1))).sum(axis=2).clip(0, 2)
    topics = np.take_along_axis(topics_of_rows, which, axis=1)
    ranks = np.searchsorted(words / words[-1], rng.random((n, per_row))).clip(0, d - 1)
    columns, begin = orders[topics, ranks].ravel(), np.arange(0, n * per_row + 1, per_row)
    X = sparse.csr_matrix((np.ones(n * per_row, np.float32), columns, begin), (n, d))
    X.sum_duplicates()
    X.data = np.log1p(X.data)
    return X


class Task:
    """Task with a method for each rival, timed on the data that ``setup()`` makes once.

    Each method returns a number; the numbers of all rivals must agree to `tolerance`.
    """

    repeats = 3
    tolerance = 1e-6


class Factors(Task):
    """Factor analysis to convergence, 10 000 x 100, 20 factors: mean log-likelihood."""

    n, repeats = 10_000, 1

    def setup(self):
        return factor_rows(self.n, 100, 20)

    def aefast(self, X):
        from aefast import FactorAnalysis

        return FactorAnalysis(20).fit(X).log_likelihood_curve_[-1]

    def sklearn(self, X):
        from sklearn.decomposition import FactorAnalysis

        model = FactorAnalysis(20, tol=1e-4, max_iter=2000, svd_method="lapack").fit(X)
        return model.loglike_[-1] / len(X)


class FactorsLarge(Factors):
    """Factor analysis of 100 000 x 100, 20 factors.

    scikit-learn makes only 5 of the iterations it needs, and its result is not checked.
    """

    n, tolerance = 100_000, np.inf

    def sklearn(self, X):
        import warnings

        from sklearn.decomposition import FactorAnalysis

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = FactorAnalysis(20, tol=0, max_iter=5, svd_method="lapack").fit(X)
        return model.loglike_[-1] / len(X)


class Streamed(Task):
    """Probabilistic PCA of 1 000 000 x 100 float32 from a memory map: captured variance."""

    tolerance = 1e-2  # IncrementalPCA is approximate

    def setup(self):
        path = Path(tempfile.gettempdir()) / f"aefast-benchmark-{os.getpid()}.npy"
        np.save(path, factor_rows(1_000_000, 100, 20, np.float32))
        X = np.load(path, mmap_mode="r")
        path.unlink()
        return X

    def aefast(self, X):
        from aefast import ProbabilisticPCA

        return float(ProbabilisticPCA(20).fit(X).explained_variance_.sum())

    def sklearn(self, X):
        from sklearn.decomposition import IncrementalPCA

        return float(IncrementalPCA(20, batch_size=10_000).fit(X).explained_variance_.sum())

    def reading(self, X):
        """Read the file and sum its bytes as integers: a lower bound for any method."""
        np.add.reduce(X.view(np.int64).ravel())
        return None


class Statistics(Task):
    """Mean and covariance of 100 000 x 1 000 float32.

    NumPy computes one triangle of X.T @ X without centring; its result is not checked.
    """

    tolerance = 1e-5

    def setup(self):
        return factor_rows(100_000, 1_000, 20, np.float32)

    def aefast(self, X):
        from aefast import SufficientStatistics

        return float(np.trace(SufficientStatistics(1_000).update(X).covariance()))

    def numpy(self, X):
        X.T @ X
        return None


class Likelihood(Task):
    """Mean log p(x) of 1 000 000 rows of 100 float32 features, 20 components."""

    tolerance = 1e-4

    def setup(self):
        return factor_rows(1_000_000, 100, 20, np.float32)

    def prepare(self, name, X):
        from sklearn.decomposition import PCA

        from aefast import ProbabilisticPCA

        of = ProbabilisticPCA(20) if name == "aefast" else PCA(20, svd_solver="covariance_eigh")
        return of.fit(X[:100_000]), X

    def aefast(self, data):
        return float(data[0].score_samples(data[1]).mean())

    def sklearn(self, data):
        return float(data[0].score_samples(data[1]).mean(dtype=np.float64))


class Sparse(Task):
    """Probabilistic PCA of a float32 CSR matrix, 50 components: captured variance.

    The matrix has 100 000 x 20 000 entries, of which 0.5 % are not zero.
    """

    tolerance, repeats = 1e-5, 3

    def setup(self):
        return word_rows(100_000, 20_000)

    def aefast(self, X):
        from aefast import ProbabilisticPCA

        return float(ProbabilisticPCA(50).fit(X).explained_variance_.sum())

    def sklearn(self, X):
        from sklearn.decomposition import PCA

        return float(PCA(50, svd_solver="arpack").fit(X).explained_variance_.sum())


def with_gaps(X, share=0.2):
    """Return standardised columns of which a share of the entries is missing, and all of them."""
    complete = (X - X.mean(axis=0)) / X.std(axis=0)
    gaps = complete.copy()
    gaps[np.random.default_rng(1).random(X.shape) < share] = np.nan
    return gaps, complete


class Gaps(Task):
    """Factor analysis of breast cancer, 569 x 30, 3 factors, 20 % missing: mean log-likelihood.

    "complete" fits to the table without gaps.
    """

    repeats = 5

    def setup(self):
        from sklearn.datasets import load_breast_cancer

        return with_gaps(load_breast_cancer().data)

    def aefast(self, data):
        from aefast import FactorAnalysis

        return FactorAnalysis(3).fit(data[0]).log_likelihood_curve_[-1]

    def complete(self, data):
        self.aefast(data[1:])


class GapsWine(Gaps):
    """The same of wine, 178 x 13."""

    def setup(self):
        from sklearn.datasets import load_wine

        return with_gaps(load_wine().data)


class GapsDiabetes(Gaps):
    """The same of diabetes, 442 x 10, with two Heywood cases."""

    def setup(self):
        from sklearn.datasets import load_diabetes

        return with_gaps(load_diabetes().data)


class GapsLong(Gaps):
    """Factor analysis of 20 000 x 7, 2 factors, two columns nearly the same, 10 % missing."""

    repeats = 3

    def setup(self):
        X = factor_rows(20_000, 7, 2)
        X[:, 1] = X[:, 0] + 0.02 * np.random.default_rng(2).normal(size=len(X))
        return with_gaps(X, 0.1)

    def aefast(self, data):
        from aefast import FactorAnalysis

        return FactorAnalysis(2).fit(data[0]).log_likelihood_curve_[-1]


class GapsSearch(Task):
    """Number of components of breast cancer with 10 % missing, by cross-validation."""

    repeats = 1

    def setup(self):
        from sklearn.datasets import load_breast_cancer

        return with_gaps(load_breast_cancer().data, 0.1)[0]

    def aefast(self, X):
        from aefast import ProbabilisticPCA

        return len(ProbabilisticPCA("cv").fit(X).components_)


class FewRows(Task):
    """Probabilistic PCA of 294 x 3000, 16 components: captured variance."""

    n, d, k = 294, 3000, 16
    tolerance = 1e-3  # scikit-learn's is approximate

    def setup(self):
        return factor_rows(self.n, self.d, 20)

    def aefast(self, X):
        from aefast import ProbabilisticPCA

        return float(ProbabilisticPCA(self.k).fit(X).explained_variance_.sum())

    def sklearn(self, X):
        from sklearn.decomposition import PCA

        variance = PCA(self.k, random_state=0).fit(X).explained_variance_.sum()
        return float(variance) * (self.n - 1) / self.n


class Wide(FewRows):
    """The same of 1000 x 50 000, 20 components."""

    n, d, k, repeats = 1000, 50_000, 20, 1


class WideFactors(Task):
    """Factor analysis of 2000 x 1500, 20 factors: mean log-likelihood."""

    def setup(self):
        return factor_rows(2000, 1500, 20)

    def aefast(self, X):
        from aefast import FactorAnalysis

        return FactorAnalysis(20).fit(X).log_likelihood_curve_[-1]


TASKS = {
    "factors": Factors,
    "factors-large": FactorsLarge,
    "streamed": Streamed,
    "statistics": Statistics,
    "likelihood": Likelihood,
    "sparse": Sparse,
    "gaps": Gaps,
    "gaps-wine": GapsWine,
    "gaps-diabetes": GapsDiabetes,
    "gaps-long": GapsLong,
    "gaps-search": GapsSearch,
    "few-rows": FewRows,
    "wide": Wide,
    "wide-factors": WideFactors,
}
TIMED_MODULES = (
    "aefast.linear.factor_analysis",
    "aefast.linear.probabilistic_pca",
    "aefast._base.moments",
    "sklearn.decomposition",
)
RIVALS = ("aefast", "complete", "numpy", "sklearn", "reading")


def measure(task_name, rival):
    """Run one rival in this process; return the seconds of each run and the number found."""
    for module in TIMED_MODULES:  # imported first, so that the import is not timed
        importlib.import_module(module)
    task = TASKS[task_name]()
    data = task.setup()
    if hasattr(task, "prepare"):
        data = task.prepare(rival, data)
    seconds, run = [], getattr(task, rival)
    for _ in range(task.repeats):
        start = time.perf_counter()
        value = run(data)
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "value": value}


def run_worker(task, rival, threads):
    command = [sys.executable, "-m", "benchmarks.suites.factors", "--worker", task, rival]
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    done = subprocess.run(
        command, env={**os.environ, **limits}, cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{task}, {rival}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(task, threads, rounds):
    """Yield lines of a table: the best time of each rival, and its ratio to aefast's."""
    rivals = [name for name in RIVALS if hasattr(TASKS[task], name)]
    best, values = {}, {}
    for _ in range(rounds):
        for rival in rivals:
            result = run_worker(task, rival, threads)
            best[rival] = min([*result["seconds"], best.get(rival, np.inf)])
            values[rival] = result["value"]
    for rival in rivals:
        expected, got = values["aefast"], values[rival]
        if got is not None and not abs(got - expected) <= TASKS[task].tolerance * abs(expected):
            raise RuntimeError(f"{task}: {rival} found {got}, aefast {expected}")
        shown, ratio = "" if got is None else f"{got:.9g}", best[rival] / best["aefast"]
        yield f"| {task} | {rival} | {best[rival]:.3f} | {ratio:.2f} | {shown} |"


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suites.factors", description=__doc__
    )
    parser.add_argument("tasks", nargs="*", help=f"any of {', '.join(TASKS)}; default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--worker", nargs=2, metavar=("TASK", "RIVAL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(*options.worker)))
        return
    for name in options.tasks:
        if name not in TASKS:
            parser.error(f"unknown task {name!r}: expected any of {', '.join(TASKS)}")
    print("| task | rival | s | over aefast | found |\n|---|---|--:|--:|--:|")
    for task in options.tasks or TASKS:
        for line in compare(task, options.threads, options.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
