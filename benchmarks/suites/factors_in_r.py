"""Factor analysis beside R's factanal and psych: ``python -m benchmarks.suites.factors_in_r``.

Needs Rscript with the packages psych and GPArotation (Debian: r-base-core, r-cran-psych,
r-cran-gparotation). It compares figures for R's own matrices, times fits of one larger matrix, and
counts varimax rotations that fall short of the maximum. Not run by continuous integration.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.decomposition._factor_analysis import _ortho_rotation
from sklearn.exceptions import ConvergenceWarning

from aefast import FactorAnalysis, SufficientStatistics
from aefast.factors import bartlett_sphericity, kaiser_meyer_olkin

_R = r"""
suppressMessages({library(psych); library(GPArotation)})
folder <- commandArgs(TRUE)[1]
show <- function(name, x) cat(name, format(as.numeric(x), digits = 15), "\n")
tight <- list(opt = list(factr = 1, maxit = 5000))
matrices <- list(Harman74 = list(Harman74.cor$cov, 145, 4),
                 ability = list(cov2cor(ability.cov$cov), 112, 2))
for (name in names(matrices)) {
  m <- matrices[[name]]; C <- m[[1]]; n <- m[[2]]; k <- m[[3]]
  key <- function(x) paste0(name, ".", x)
  show(key("matrix"), C); show(key("n"), n); show(key("k"), k)
  f <- factanal(factors = k, covmat = C, n.obs = n, rotation = "none", control = tight)
  L <- unclass(f$loadings)
  show(key("uniquenesses, ML"), f$uniquenesses)
  show(key("chi-squared"), f$STATISTIC)
  show(key("varimax"), sort(colSums(unclass(varimax(L, eps = 1e-15)$loadings)^2)))
  show(key("oblimin"), sort(colSums(oblimin(L, eps = 1e-8, maxit = 1e5)$loadings^2)))
  show(key("geomin"), sort(colSums(geominQ(L, eps = 1e-8, maxit = 1e5)$loadings^2)))
  p <- suppressWarnings(fa(C, k, n.obs = n, fm = "ml", rotate = "none"))
  show(key("TLI"), p$TLI); show(key("RMSR"), p$rms); show(key("RMSEA interval"), p$RMSEA[2:3])
  p <- suppressWarnings(fa(C, k, n.obs = n, fm = "minres", rotate = "none"))
  show(key("uniquenesses, minres"), p$uniquenesses)
  show(key("KMO"), KMO(C)$MSAi)
  show(key("sphericity"), cortest.bartlett(C, n = n)$chisq)
}
C <- as.matrix(read.csv(file.path(folder, "wide.csv"), header = FALSE))
seconds <- function(f) min(replicate(3, system.time(f())[["elapsed"]]))
show("seconds, ML", seconds(function() factanal(factors = 10, covmat = C, n.obs = 2000,
                                                rotation = "varimax")))
show("seconds, minres", seconds(function() fa(C, 10, n.obs = 2000, fm = "minres",
                                              rotate = "varimax")))
f <- factanal(factors = 10, covmat = C, n.obs = 2000, rotation = "none")
show("seconds, oblimin alone", seconds(function() oblimin(unclass(f$loadings))))
show("criterion", f$criteria[["objective"]])
for (file in list.files(folder, "^saddle.*csv$", full.names = TRUE)) {
  L <- as.matrix(read.csv(file, header = FALSE))
  show(paste0("rotated ", basename(file)), varimax(L)$loadings)
}
"""


def run_r(folder):
    """Return the figures that R prints, by name."""
    script = Path(folder) / "figures.R"
    script.write_text(_R)
    done = subprocess.run(
        ["Rscript", str(script), str(folder)], check=True, capture_output=True, text=True
    )
    found = {}
    for line in done.stdout.splitlines():
        words = line.split()
        first = next(i for i in range(1, len(words)) if _all_numbers(words[i:]))
        found[" ".join(words[:first])] = np.array(words[first:], dtype=float)
    return found


def _all_numbers(words):
    try:
        return [float(word) for word in words] != []
    except ValueError:
        return False


# ---- figures of published matrices ----


def figures(name, theirs):
    """Yield the name of each figure, R's values and ours."""
    of = {key.partition(".")[2]: value for key, value in theirs.items() if key.startswith(name)}
    n, k = int(of["n"][0]), int(of["k"][0])
    d = round(len(of["matrix"]) ** 0.5)
    given = SufficientStatistics.from_covariance(of["matrix"].reshape(d, d), n)

    def model(**options):
        return FactorAnalysis(k, tol=1e-12, **options).fit_statistics(given)

    def sums(rotation):
        return np.sort(np.square(model(rotation=rotation).loadings_).sum(axis=0))

    plain = model()
    fit = plain.goodness_of_fit()
    ours = {
        "uniquenesses, ML": plain.uniquenesses_,
        "chi-squared": fit.chi_square,
        "varimax": sums("varimax"),
        "oblimin": sums("oblimin"),
        "geomin": sums("geomin"),
        "TLI": fit.tli,
        "RMSR": fit.rmsr,
        "RMSEA interval": fit.rmsea_interval,
        "uniquenesses, minres": model(method="minres").uniquenesses_,
        "KMO": kaiser_meyer_olkin(given).of_columns,
        "sphericity": bartlett_sphericity(given).chi_square,
    }
    for key, value in ours.items():
        yield key, of[key], np.atleast_1d(value)


# ---- times ----


def wide_correlations(d=100, k=10, n=2000):
    rng = np.random.default_rng(0)
    W = np.kron(np.eye(k), np.full((1, d // k), 0.6)) + 0.1 * rng.normal(size=(k, d))
    X = rng.normal(size=(n, k)) @ W + 0.8 * rng.normal(size=(n, d))
    return np.corrcoef(X.T)


def seconds(options, C):
    """Return the least of three times of a fit to C."""
    given, found = SufficientStatistics.from_covariance(C, 2000), []
    for _ in range(3):
        start = time.perf_counter()
        FactorAnalysis(10, **options).fit_statistics(given)
        found.append(time.perf_counter() - start)
    return min(found)


# ---- varimax at a saddle ----


def normalised(L):
    return L / np.linalg.norm(L, axis=1, keepdims=True)


def criterion(L):
    squares = np.square(normalised(L))
    return float(np.square(squares).sum() - np.square(squares.sum(axis=0)).sum() / len(L))


def balanced_loadings(per_factor, n, seed):
    """Return unrotated loadings of two factors of correlation 0.5, of equally many columns."""
    rng = np.random.default_rng(seed)
    W = np.kron(np.eye(2), np.full(per_factor, 0.8))
    H = rng.normal(size=(n, 2)) @ np.linalg.cholesky([[1, 0.5], [0.5, 1]]).T
    X = H @ W + 0.6 * rng.normal(size=(n, 2 * per_factor))
    plain = FactorAnalysis(2).fit(X)
    return plain.loadings_, FactorAnalysis(2, rotation="varimax").fit(X).loadings_


def best_planar(L):
    angles = np.linspace(0, np.pi / 2, 3601)
    turns = np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]])
    return max(criterion(normalised(L) @ turns[:, :, i]) for i in range(len(angles)))


def main():
    if shutil.which("Rscript") is None:
        sys.exit("Rscript is not installed")
    warnings.simplefilter("ignore", ConvergenceWarning)
    with tempfile.TemporaryDirectory() as folder:
        C = wide_correlations()
        np.savetxt(Path(folder) / "wide.csv", C, delimiter=",", fmt="%.17g")
        cases = [(p, n, s) for p in (3, 4, 5) for n in (500, 5000, 50_000) for s in range(10)]
        loadings = {case: balanced_loadings(*case) for case in cases}
        for (p, n, s), (plain, _) in loadings.items():
            path = Path(folder) / f"saddle-{p}-{n}-{s}.csv"
            np.savetxt(path, plain, delimiter=",", fmt="%.17g")
        theirs = run_r(folder)
    for name in ("Harman74", "ability"):
        for key, expected, ours in figures(name, theirs):
            apart = float(np.abs(expected - ours).max())
            print(f"{name:9} {key:21} greatest difference {apart:.1e}")
    for key, options in (
        ("seconds, ML", {"rotation": "varimax"}),
        ("seconds, minres", {"rotation": "varimax", "method": "minres"}),
        ("seconds, oblimin alone", {"rotation": "oblimin"}),
    ):
        in_r, here = theirs[key][0], seconds(options, C)
        print(f"100 columns, 10 factors, {key}: R {in_r:.3f}, here {here:.3f}")
    short = {}
    for (p, n, s), (plain, ours) in loadings.items():
        best = best_planar(plain)
        in_r = theirs[f"rotated saddle-{p}-{n}-{s}.csv"].reshape(2, 2 * p).T
        sklearn = _ortho_rotation(normalised(plain), "varimax", 1e-6, 100)
        count = short.setdefault(f"{p} columns, {n} rows", {"aefast": 0, "R": 0, "sklearn": 0})
        for rival, rotated in (("aefast", ours), ("R", in_r), ("sklearn", sklearn)):
            count[rival] += criterion(rotated) < best * (1 - 1e-3)
    print("varimax below the maximum by a thousandth, of 10:", json.dumps(short, indent=1))


if __name__ == "__main__":
    main()
