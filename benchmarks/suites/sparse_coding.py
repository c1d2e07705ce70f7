"""Sparse codes and dictionary learning: ``python -m benchmarks.suites.sparse_coding``.

The rows are 8 × 8 (or 16 × 16) patches of scikit-learn's photograph china.jpg, with the mean of
each patch subtracted and every column divided by its standard deviation. The dictionary consists of
patches scaled to norm 1, and α = 0.5 (1.0). Each rival runs alone in its process; its time is the
smallest of a few calls. The report includes the largest duality gap of the codes, computed by NumPy
in float64.
"""

import argparse
import json
import subprocess
import sys
import time

import numpy as np

from benchmarks.harness.runner import ROOT

PROBLEMS = {
    "256 atoms of 8 x 8": (8, 256, 0.5, 10_000),
    "1024 atoms of 16 x 16": (16, 1024, 1.0, 2_000),
}
# Names of the rivals for each task.
RIVALS = {
    "lasso": ("aefast", "aefast path", "aefast cd", "spams", "sklearn cd", "sklearn lars"),
    "omp": ("aefast", "spams", "sklearn"),
    "learn": ("aefast", "spams", "sklearn cd"),
    "single": ("aefast", "celer", "sklearn"),
}
SLOW_ROWS = 1000  # rows for scikit-learn
SINGLE_ROWS = 50  # rows that are coded by one call each
STREAMED_ROWS = 1_000_000
TOLERANCES = {"float32": 1e-4, "float64": 1e-6}


def make_problem(side, n_components, n_rows, dtype):
    from sklearn.datasets import load_sample_image
    from sklearn.feature_extraction.image import extract_patches_2d

    grey = load_sample_image("china.jpg").mean(axis=2) / 255
    X = extract_patches_2d(grey, (side, side), max_patches=30_000, random_state=3).reshape(
        30_000, -1
    )
    X = X - X.mean(axis=1, keepdims=True)
    X /= X.std(axis=0)
    D = X[np.random.default_rng(11).choice(len(X), n_components, replace=False)]
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    return X[:n_rows].astype(dtype), D.astype(dtype), X[20_000:23_000].astype(dtype)


def relative_gaps(X, H, D, alpha):
    X, H, D = (np.asarray(a, np.float64) for a in (X, H, D))
    R = X - H @ D
    largest = np.abs(R @ D.T).max(axis=1)
    theta = R * np.minimum(1.0, alpha / np.maximum(largest, 1e-300))[:, None]
    half = 0.5 * np.sum(X**2, axis=1)
    primal = 0.5 * np.sum(R**2, axis=1) + alpha * np.abs(H).sum(axis=1)
    return (primal - (half - 0.5 * np.sum((X - theta) ** 2, axis=1))) / np.maximum(half, 1e-300)


def objective(X, D, alpha):
    import aefast

    X, D = X.astype(np.float64), np.ascontiguousarray(D, np.float64)
    H = aefast.sparse_encode(X, D, alpha=alpha)
    return float(np.mean(0.5 * np.sum((X - H @ D) ** 2, axis=1) + alpha * np.abs(H).sum(axis=1)))


def coder(rival, task, X, D, alpha, tol, threads):
    """Return a function that codes X as the rival's users would, and a function of its result.

    The second function converts the result to a dense array (n, k).
    """
    if rival.startswith("aefast"):
        import aefast

        name = {"aefast path": "lasso_lars", "aefast cd": "lasso_cd"}.get(rival, "lasso_active")
        options = {"algorithm": name, "alpha": alpha, "tol": tol, "n_threads": threads}
        if task == "omp":
            options |= {"algorithm": "omp", "n_nonzero_coefs": 10}
        return (
            lambda: aefast.sparse_encode(X, D, output_format="csr", **options)
        ), lambda H: H.toarray()
    if rival == "spams":
        import spams

        columns, atoms = np.asfortranarray(X.T), np.asfortranarray(D.T)
        if task == "omp":
            return (
                lambda: spams.omp(columns, D=atoms, L=10, eps=0.0, numThreads=threads)
            ), lambda H: H.toarray().T
        options = {"lambda1": alpha, "mode": 2, "numThreads": threads}
        return (lambda: spams.lasso(columns, D=atoms, **options)), lambda H: H.toarray().T
    from sklearn.decomposition import sparse_encode

    # One process, because two took 5 to 10 ms a row here, mostly for their start.
    options = {"n_nonzero_coefs": 10} if task == "omp" else {"alpha": alpha, "max_iter": 10_000}
    name = {"sklearn": "omp", "sklearn cd": "lasso_cd", "sklearn lars": "lasso_lars"}[rival]
    return (lambda: sparse_encode(X, D, algorithm=name, **options)), lambda H: H


def learner(rival, X, n_components, alpha, threads):
    """Return a function that learns a dictionary (k, d) in one pass with batches of 256."""
    if rival == "aefast":
        from aefast import DictionaryLearning

        model = DictionaryLearning(
            n_components, alpha=alpha, max_epochs=1, random_state=0, n_threads=threads
        )
        return lambda: model.fit(X).components_
    if rival == "spams":
        import spams

        columns = np.asfortranarray(X.T)
        options = {
            "K": n_components,
            "lambda1": alpha,
            "mode": 2,
            "batchsize": 256,
            "iter": -(-len(X) // 256),
        }
        return lambda: spams.trainDL(columns, numThreads=threads, verbose=False, **options).T
    from sklearn.decomposition import MiniBatchDictionaryLearning

    model = MiniBatchDictionaryLearning(
        n_components,
        alpha=alpha,
        max_iter=1,
        batch_size=256,
        fit_algorithm="cd",
        n_jobs=threads,
        random_state=0,
    )
    return lambda: model.fit(X).components_


def single_coder(rival, X, D, alpha, tol):
    """Return a function that codes each row with a separate call."""
    if rival == "aefast":
        import aefast

        return lambda: np.vstack(
            [aefast.sparse_encode(x, D, alpha=alpha, tol=tol) for x in X[:, None]]
        )
    if rival == "celer":
        from celer import Lasso
    else:
        from sklearn.linear_model import Lasso

    # Both divide their objective by the number of features, and their gap is relative to ‖x‖² / d.
    atoms = np.asfortranarray(D.T)
    model = Lasso(alpha / D.shape[1], fit_intercept=False, tol=tol / 2, max_iter=10_000)
    return lambda: np.array([model.fit(atoms, x).coef_ for x in X])


def measure(rival, task, problem, dtype, threads, repeats):
    side, k, alpha, n = PROBLEMS[problem]
    X, D, held_out = make_problem(side, k, n, dtype)
    if task == "single":
        X = X[:SINGLE_ROWS]
    slow = rival.startswith("sklearn") and task in ("lasso", "omp")
    X = X[:SLOW_ROWS] if slow else X
    if task == "learn":
        run = learner(rival, X, k, alpha, threads)
    elif task == "single":
        run, as_array = single_coder(rival, X, D, alpha, TOLERANCES[dtype]), np.asarray
    else:
        run, as_array = coder(rival, task, X, D, alpha, TOLERANCES[dtype], threads)
    seconds = []
    for _ in range(1 if slow or rival.startswith("sklearn") else repeats):
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
    record = {"seconds": min(seconds), "microseconds a row": 1e6 * min(seconds) / len(X)}
    if task in ("lasso", "single"):
        H = as_array(result)
        record |= {
            "largest gap": float(relative_gaps(X, H, D, alpha).max()),
            "atoms": np.count_nonzero(H) / len(H),
        }
    if task == "omp":
        H = as_array(result)
        left = np.sum((X - H @ D) ** 2, dtype=np.float64) / np.sum(np.square(X, dtype=np.float64))
        record |= {"energy left": float(left), "atoms": np.count_nonzero(H) / len(H)}
    if task == "learn":
        record |= {"held-out objective": objective(held_out, result, alpha)}
    return record


def stream(threads):
    """Print the time and memory of one pass of learning over a memory map of patches."""
    import tempfile
    from pathlib import Path

    from sklearn.datasets import load_sample_image

    from aefast import DictionaryLearning, extract_patches

    grey = [load_sample_image(name).mean(axis=2) / 255 for name in ("china.jpg", "flower.jpg")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "patches.npy"
        rows = np.lib.format.open_memmap(path, "w+", np.float32, (STREAMED_ROWS, 64))
        step = STREAMED_ROWS // 10
        for first in range(0, STREAMED_ROWS, step):
            patches = extract_patches(grey, 8, step, random_state=first)
            rows[first : first + step] = 4 * (patches - patches.mean(axis=1, keepdims=True))
        del rows, patches
        before, most = anonymous_mib(), []
        model = DictionaryLearning(
            256,
            alpha=0.5,
            max_epochs=1,
            random_state=0,
            n_threads=threads,
            callbacks=lambda *_: most.append(anonymous_mib()),
        )
        start = time.perf_counter()
        model.fit(np.load(path, mmap_mode="r"))
        seconds = time.perf_counter() - start
        file_mib = path.stat().st_size / 2**20
    print(
        f"one pass over {STREAMED_ROWS} rows of a memory map of {file_mib:.0f} MiB: "
        f"{seconds:.1f} s, {1e6 * seconds / STREAMED_ROWS:.1f} µs a row, "
        f"{max(most) - before:.0f} MiB more anonymous memory at the end"
    )


def anonymous_mib():
    """Return the anonymous memory of this process in MiB (Linux)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("RssAnon"))


def run_alone(*arguments):
    command = [
        sys.executable,
        "-m",
        "benchmarks.suites.sparse_coding",
        "--worker",
        *map(str, arguments),
    ]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    if process.returncode:
        return {"error": (process.stderr.strip().splitlines() or ["?"])[-1]}
    return json.loads(process.stdout.splitlines()[-1])


def show(record):
    if "error" in record:
        return record["error"]
    facts = [
        f"{name} {value:.3g}" for name, value in record.items() if name != "microseconds a row"
    ]
    return f"{record['microseconds a row']:10.2f} µs a row   " + ", ".join(facts)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suites.sparse_coding", description=__doc__
    )
    parser.add_argument("--worker", nargs=6, help=argparse.SUPPRESS)
    parser.add_argument("--tasks", nargs="+", choices=list(RIVALS), default=list(RIVALS))
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--rivals", nargs="+", help="default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--stream", action="store_true", help="only a million patches from a memory map"
    )
    options = parser.parse_args(arguments)
    if options.stream:
        stream(options.threads)
        return
    if options.worker:
        rival, task, problem, dtype, threads, repeats = options.worker
        print(json.dumps(measure(rival, task, problem, dtype, int(threads), int(repeats))))
        return
    for problem in options.problems:
        for task in options.tasks:
            for dtype in ("float32", "float64"):
                base = None
                for rival in RIVALS[task]:
                    if options.rivals and rival not in options.rivals:
                        continue
                    record = run_alone(
                        rival, task, problem, dtype, options.threads, options.repeats
                    )
                    base = base or record.get("microseconds a row")
                    ratio = record.get("microseconds a row", np.nan) / (base or np.nan)
                    print(
                        f"{problem}, {task:6} {dtype} {rival:13} {ratio:7.2f} ×  {show(record)}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
