"""Recommenders beside implicit, NumPy and PyTorch: ``python -m benchmarks.suites.recommenders``.

*quality*: nDCG@100, recall@20 and coverage@100 for users that models have not seen (strong
generalisation: of a fifth of the users, 80 % of the choices are given and the others are to be
found), with the seconds of a fit. Each rival chooses from a few hyperparameters on other held-out
users, which is not timed. Data are MovieLens-100k, which the package recbole carries (ratings of 4
and 5 are choices; ``pip install --no-deps recbole``), and choices drawn from a model: an item's
popularity falls with a power of its rank, each item belongs to a cluster, users prefer few of them.
*closed form*: seconds and memory of the fit alone, beside NumPy's inverse. *speed*: the 100 best
items for many users. *published*: the protocol of Liang et al. (2018), for a ratings.csv of
MovieLens-20M (--file).

A process of its own fits each rival; implicit and PyTorch are left out where they are missing.
"""

import argparse
import csv
import importlib.util
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse

ROOT = Path(__file__).resolve().parents[2]
K = 100


# ---- data ----


def drawn(n_users, n_items, n_clusters=50, mean_choices=30.0, seed=0):
    """Return choices of users: a cluster by the user's taste, an item of it by popularity.

    One choice in ten is of any cluster. Tastes are of a Dirichlet distribution of 0.05, numbers of
    choices log-normal; of repeated choices one counts.
    """
    rng = np.random.default_rng(seed)
    popularity = (1 + np.arange(n_items)) ** -0.8
    cluster = rng.integers(n_clusters, size=n_items)
    order = np.argsort(cluster, kind="stable")
    total = np.concatenate([[0], np.cumsum(popularity[order])])
    begin = np.searchsorted(cluster[order], np.arange(n_clusters + 1))
    taste = rng.dirichlet(np.full(n_clusters, 0.05), n_users)
    counts = np.maximum(5, rng.lognormal(np.log(mean_choices), 0.7, n_users).astype(int))
    user = np.repeat(np.arange(n_users), counts)
    chosen = (taste.cumsum(axis=1)[user] < rng.random((len(user), 1))).sum(axis=1)
    chosen = np.minimum(chosen, n_clusters - 1)
    low, high = total[begin[chosen]], total[begin[chosen + 1]]
    anywhere = rng.random(len(user)) < 0.1
    low[anywhere], high[anywhere] = 0, total[-1]
    at = np.searchsorted(total, low + (high - low) * rng.random(len(user)), side="right") - 1
    items = order[np.clip(at, 0, n_items - 1)]
    X = sparse.csr_array((np.ones(len(user), np.float32), (user, items)), (n_users, n_items))
    X.data[:] = 1
    return X


def movielens_100k():
    found = importlib.util.find_spec("recbole")
    if found is None:
        raise SystemExit("MovieLens-100k needs: pip install --no-deps recbole")
    folder = Path(found.submodule_search_locations[0], "dataset_example/ml-100k")
    table = np.loadtxt(folder / "ml-100k.inter", skiprows=1, usecols=(0, 1, 2))
    users, items = (np.unique(table[table[:, 2] >= 4, j], return_inverse=True)[1] for j in (0, 1))
    return sparse.csr_array((np.ones(len(users), np.float32), (users, items)))


def choices_of(data):
    if data == "movielens-100k":
        return movielens_100k()
    n_users, n_items = map(int, data.removeprefix("drawn-").split("x"))
    return drawn(n_users, n_items)


def halves(X, rng):
    """Return the given and the hidden choices of users, four fifths and one."""
    hidden = rng.random(X.nnz) < 0.2
    parts = []
    for kept in (~hidden, hidden):
        part = X.copy()
        part.data = part.data * kept
        part.eliminate_zeros()
        parts.append(part)
    return parts


def strong_generalisation(X, seed=0):
    """Return rows to fit to, and given and hidden choices of users to tune on and to test on."""
    rng = np.random.default_rng(seed)
    order, fifth = rng.permutation(X.shape[0]), X.shape[0] // 5
    tune, test, train = (
        order[: fifth // 2],
        order[fifth // 2 : fifth * 3 // 2],
        order[fifth * 3 // 2 :],
    )
    return X[train], halves(X[tune], rng), halves(X[test], rng)


# ---- rivals: a function of (options) that fits rows and returns a function of users' rows ----


def popularity(X, given, **_):
    counts = np.asarray(X.sum(axis=0)).ravel()
    order = np.argsort(-counts, kind="stable")

    def recommend(rows):
        best = np.full((rows.shape[0], K), -1)
        for u in range(rows.shape[0]):
            seen = rows.indices[rows.indptr[u] : rows.indptr[u + 1]]
            best[u] = order[~np.isin(order, seen, kind="table")][:K]
        return best

    return recommend


def aefast_items(X, given, **options):
    from aefast import ItemAutoencoder

    model = ItemAutoencoder(**options).fit(X)
    return lambda rows: model.recommend(rows, K)[0]


def aefast_dae(X, given, **options):
    from aefast import MultinomialAutoencoder

    model = MultinomialAutoencoder(random_state=0, **options).fit(X)
    return lambda rows: model.recommend(rows, K)[0]


def best_of(scores, rows):
    """Return the items of the K largest scores, without those of the rows."""
    scores[rows.nonzero()] = -np.inf
    best = np.argpartition(-scores, K, axis=1)[:, :K]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def numpy_ease(X, given, l2, dtype=np.float64):
    """EASE as its author's lines of NumPy have it."""
    G = (X.T @ X).toarray().astype(dtype)
    G[np.diag_indices_from(G)] += l2
    P = np.linalg.inv(G)
    B = P / -np.diag(P)
    np.fill_diagonal(B, 0)

    def recommend(rows):
        slices = range(0, rows.shape[0], 1000)
        return np.vstack([best_of(rows[i : i + 1000] @ B, rows[i : i + 1000]) for i in slices])

    return recommend


def implicit_als(X, given, knows_users=False, **options):
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(random_state=0, use_gpu=False, **options)
    model.fit(sparse.csr_matrix(X), show_progress=False)

    def recommend(rows):
        users, rows = np.arange(rows.shape[0]), sparse.csr_matrix(rows)
        return model.recommend(users, rows, N=K, recalculate_user=not knows_users)[0]

    return recommend


def implicit_bpr(X, given, **options):
    """BPR has no factors of new users: it is fitted to the given choices of test users too."""
    from implicit.bpr import BayesianPersonalizedRanking

    n = X.shape[0]
    model = BayesianPersonalizedRanking(random_state=0, use_gpu=False, **options)
    model.fit(sparse.csr_matrix(sparse.vstack([X, given])), show_progress=False)

    def recommend(rows):
        users, rows = np.arange(n, n + rows.shape[0]), sparse.csr_matrix(rows)
        return model.recommend(users, rows, N=K)[0]

    return recommend


def implicit_items(X, given, kind, **options):
    from implicit import nearest_neighbours

    model = getattr(nearest_neighbours, kind)(**options)
    model.fit(sparse.csr_matrix(X), show_progress=False)

    def recommend(rows):
        users, rows = np.arange(rows.shape[0]), sparse.csr_matrix(rows)
        return model.recommend(users, rows, N=K, recalculate_user=True)[0]

    return recommend


def torch_dae(X, given, epochs, units=200, batch=100, decay=1e-5):
    """Mult-DAE (Liang et al. 2018): dropout of 0.5, tanh, multinomial loss, Adam, dense batches."""
    import torch

    torch.manual_seed(0)
    d = X.shape[1]
    encoder, decoder = torch.nn.Linear(d, units), torch.nn.Linear(units, d)
    for layer in (encoder, decoder):
        torch.nn.init.xavier_uniform_(layer.weight)
        torch.nn.init.trunc_normal_(layer.bias, std=0.001)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    solver = torch.optim.Adam(parameters, lr=1e-3, weight_decay=decay)

    def scores(x, drop):
        h = torch.nn.functional.normalize(x)
        return decoder(torch.tanh(encoder(torch.nn.functional.dropout(h, 0.5, drop))))

    rng = np.random.default_rng(0)
    for _ in range(epochs):
        order = rng.permutation(X.shape[0])
        for first in range(0, len(order), batch):
            x = torch.from_numpy(X[order[first : first + batch]].toarray())
            loss = -(torch.log_softmax(scores(x, True), dim=1) * x).sum(dim=1).mean()
            solver.zero_grad()
            loss.backward()
            solver.step()

    def recommend(rows):
        found = []
        with torch.no_grad():
            for first in range(0, rows.shape[0], 1000):
                part = rows[first : first + 1000]
                found.append(best_of(scores(torch.from_numpy(part.toarray()), False).numpy(), part))
        return np.vstack(found)

    return recommend


def grid(name, values, **options):
    return [options | {name: value} for value in values]


# For each rival, its function and the options among which it chooses.
RIVALS = {
    "popularity": (popularity, [{}]),
    "aefast EASE": (aefast_items, grid("l2", [30, 100, 300, 1000])),
    "aefast EASE, float32": (aefast_items, grid("l2", [30, 100, 300, 1000], precision="float32")),
    "aefast EASE, 5 % of entries": (aefast_items, grid("l2", [30, 100, 300, 1000], density=0.05)),
    "aefast ELSA, 128": (aefast_items, grid("max_iter", [10, 30], n_components=128)),
    "aefast Mult-DAE, 200": (
        aefast_dae,
        grid("max_epochs", [10, 30, 60]),
    ),
    "NumPy EASE": (numpy_ease, grid("l2", [30, 100, 300, 1000])),
    "implicit ALS, 128": (
        implicit_als,
        [{"factors": 128, "alpha": a, "regularization": r} for a in (1, 10) for r in (0.1, 10)],
    ),
    "implicit BPR, 128": (
        implicit_bpr,
        [{"factors": 128, "learning_rate": rate, "iterations": 100} for rate in (0.01, 0.05)],
    ),
    "implicit item-item": (
        implicit_items,
        [
            {"kind": kind, "K": n}
            for kind in ("CosineRecommender", "TFIDFRecommender")
            for n in (50, 200)
        ],
    ),
    "PyTorch Mult-DAE, 200": (torch_dae, grid("epochs", [10, 30, 60])),
}
NEEDS = {"implicit": "implicit", "PyTorch": "torch"}
FAST = ("aefast EASE, float32", "aefast ELSA, 128", "implicit ALS, 128", "NumPy EASE")


def is_available(rival):
    needed = NEEDS.get(rival.split()[0])
    return needed is None or importlib.util.find_spec(needed) is not None


# ---- workers ----


def measure(fit, options, X, given):
    started = time.perf_counter()
    recommend = fit(X, given, **options)
    fitted = time.perf_counter()
    best = recommend(given)
    return best, fitted - started, time.perf_counter() - fitted


def quality_of(rival, data):
    """Tune and measure one rival."""
    from aefast.metrics import coverage_at_k, ndcg_at_k, recall_at_k

    fit, choices = RIVALS[rival]
    X, (tune, hidden), (given, wanted) = strong_generalisation(choices_of(data))
    options, tuned = choices[0], -1.0
    for candidate in choices if len(choices) > 1 else []:
        found = ndcg_at_k(hidden, measure(fit, candidate, X, tune)[0].astype(int), K)
        if found > tuned:
            options, tuned = candidate, found
    best, fit_seconds, seconds = measure(fit, options, X, given)
    best = best.astype(int)
    return {
        "ndcg": ndcg_at_k(wanted, best, K),
        "recall": recall_at_k(wanted, best, 20),
        "coverage": coverage_at_k(best, X.shape[1], K),
        "fit": fit_seconds,
        "recommend": seconds,
        "options": options,
        "shape": [*X.shape, int(X.nnz), len(best)],
    }


def closed_form_of(rival, data):
    X, fit = choices_of(data), RIVALS[rival][0]
    options = {"l2": 300.0} | ({"precision": "float32"} if rival.endswith("32") else {})
    fit(X[:, :300].tocsr(), None, **options)  # imports, threads
    before = memory_peak()
    started = time.perf_counter()
    fit(X, None, **options)
    seconds = time.perf_counter() - started
    return {"fit": seconds, "mib": memory_peak("VmHWM") - before}


def memory_peak(name="VmRSS"):
    """Return the memory of this process in MiB, on Linux; VmRSS begins a new peak, VmHWM."""
    try:
        if name == "VmRSS":
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
    except (OSError, StopIteration):
        return float("nan")


def speed_of(rival, data):
    X, (fit, choices) = choices_of(data), RIVALS[rival]
    options = dict(choices[0])
    options |= {"iterations": 1, "knows_users": True} if "ALS" in rival else {}
    options |= {"max_iter": 1, "precision": "float32"} if "ELSA" in rival else {}
    options |= {"dtype": np.float32} if "NumPy" in rival else {}
    # implicit has factors of the users that it was fitted to: it need not compute them
    recommend = fit(X if "ALS" in rival else X[:20_000], None, **options)
    recommend(X[:200])
    started = time.perf_counter()
    recommend(X)
    return {"recommend": time.perf_counter() - started}


WORKERS = {"quality": quality_of, "closed form": closed_form_of, "speed": speed_of}


def run(part, rival, data):
    command = [
        sys.executable,
        "-m",
        "benchmarks.suites.recommenders",
        "--worker",
        part,
        rival,
        data,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{rival}, {data}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


# ---- tables ----


def quality(rivals, data):
    print("\n| rival | nDCG@100 | recall@20 | coverage@100 | fit, s | recommend, s | chosen |")
    print("|---|--:|--:|--:|--:|--:|---|")
    for rival in rivals:
        r = run("quality", rival, data)
        chosen = ", ".join(f"{key}={value}" for key, value in r["options"].items())
        print(
            f"| {rival} | {r['ndcg']:.4f} | {r['recall']:.4f} | {r['coverage']:.3f} | "
            f"{r['fit']:.2f} | {r['recommend']:.2f} | {chosen} |",
            flush=True,
        )
    n, d, nnz, n_test = r["shape"]
    print(f"\n{data}: {n:,} users of {d:,} items, {nnz:,} choices to fit to; {n_test:,} to test on")


def closed_form(rivals, data, rounds):
    print(f"\n{data}, fit, median of {rounds}\n\n| rival | s | MiB more |\n|---|--:|--:|")
    found = {rival: [] for rival in rivals if "EASE" in rival and "%" not in rival}
    for _ in range(rounds):
        for rival, results in found.items():
            results.append(run("closed form", rival, data))
    for rival, results in found.items():
        seconds, mib = (np.median([r[name] for r in results]) for name in ("fit", "mib"))
        print(f"| {rival} | {seconds:.2f} | {mib:.0f} |", flush=True)


def speed(rivals, data, rounds):
    print(
        f"\n{data}, {K} best items, median of {rounds}\n\n"
        "| rival | s | users a second |\n|---|--:|--:|"
    )
    found = {rival: [] for rival in rivals if rival in FAST}
    for _ in range(rounds):
        for rival, results in found.items():
            results.append(run("speed", rival, data)["recommend"])
    n_users = int(data.removeprefix("drawn-").split("x")[0])
    for rival, results in found.items():
        seconds = np.median(results)
        print(f"| {rival} | {seconds:.2f} | {n_users / seconds:,.0f} |", flush=True)


def published(path, l2, n_held_out):
    """Fit EASE to MovieLens-20M as Liang et al. (2018) and Steck (2019) did; expect 0.420."""
    from aefast import ItemAutoencoder
    from aefast.metrics import ndcg_at_k, recall_at_k

    with open(path, encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        next(lines)
        pairs = [(int(user), int(item)) for user, item, rating, *_ in lines if float(rating) > 3.5]
    users, items = np.array(pairs).T
    names, n_of_user = np.unique(users, return_counts=True)
    kept = np.isin(users, names[n_of_user >= 5])
    names, users = np.unique(users[kept], return_inverse=True)
    _, items = np.unique(items[kept], return_inverse=True)
    X = sparse.csr_array((np.ones(len(users), np.float32), (users, items)))
    X.data[:] = 1
    order = np.random.RandomState(98765).permutation(len(names))
    X_train, X_test = X[order[: -2 * n_held_out]], X[order[-n_held_out:]]
    of_train = np.flatnonzero(np.asarray(X_train.sum(axis=0)).ravel() > 0)
    X_train, X_test = X_train[:, of_train], X_test[:, of_train]
    given, hidden = halves(X_test, np.random.default_rng(98765))
    started = time.perf_counter()
    model = ItemAutoencoder(l2, verbose=1).fit(X_train)
    seconds = time.perf_counter() - started
    best, _ = model.recommend(given, K)
    print(
        f"{X_train.shape[0]:,} users, {X_train.shape[1]:,} items, {X_train.nnz:,} choices; "
        f"l2={l2:g}: nDCG@100 {ndcg_at_k(hidden, best, 100):.4f}, recall@20 "
        f"{recall_at_k(hidden, best, 20):.4f}, recall@50 {recall_at_k(hidden, best, 50):.4f}; "
        f"fit {seconds:.1f} s"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=[*WORKERS, "published"], default=[*WORKERS])
    parser.add_argument("--rivals", nargs="+", choices=list(RIVALS), default=list(RIVALS))
    parser.add_argument("--data", nargs="+", default=["movielens-100k", "drawn-8000x3000"])
    parser.add_argument("--large", default="drawn-20000x4000", help="of closed form")
    parser.add_argument("--many", default="drawn-100000x5000", help="of speed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file", help="ratings.csv of MovieLens-20M, for published")
    parser.add_argument("--l2", type=float, default=500.0, help="of published")
    parser.add_argument("--held-out", type=int, default=10_000, help="users, of published")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        part, rival, data = arguments.worker
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            print(json.dumps(WORKERS[part](rival, data)))
        return
    rivals = [rival for rival in arguments.rivals if is_available(rival)]
    for data in arguments.data if "quality" in arguments.parts else []:
        quality(rivals, data)
    if "closed form" in arguments.parts:
        closed_form(rivals, arguments.large, arguments.rounds)
    if "speed" in arguments.parts:
        speed(rivals, arguments.many, arguments.rounds)
    if "published" in arguments.parts:
        published(arguments.file, arguments.l2, arguments.held_out)


if __name__ == "__main__":
    main()
