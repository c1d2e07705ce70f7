"""Starting clusters of a mixture: k-means on the leading principal components of the rows."""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from aefast._base import threads
from aefast._base.passes import copied_rows
from aefast._base.projection import project
from aefast._base.sparse_rows import as_dense
from aefast.linear.rotation import fixed_signs

MOST_ROWS = 10_000  # rows that k-means looks at; the others go to the nearest centre it finds
MOST_ROUNDS = 25  # of Lloyd's algorithm


class Axes(NamedTuple):
    """Principal axes on which rows are clustered: codes are ``(x − mean) B``."""

    mean: np.ndarray  # (d,)
    B: np.ndarray  # (d, q)

    def codes(self, rows, n_threads):
        """Return codes (n, q) in float64; a missing entry (NaN) counts as the column's mean."""
        rows = as_dense(rows)
        codes = project(
            rows, self.mean, self.B, dtype=np.float64, n_threads=n_threads, none_if_missing=True
        )
        if codes is not None:
            return codes
        filled = np.where(np.isnan(rows), self.mean, rows.astype(np.float64))
        return project(filled, self.mean, self.B, n_threads=n_threads)


@threads.with_same_bits
def principal_axes(mean, covariance, scale, q):
    """Return the q leading principal axes of columns in units of `scale`.

    Their signs are fixed, since LAPACK's follow rounding errors, and draws follow the codes' order.
    """
    C = covariance / np.outer(scale, scale)
    d = len(C)
    _, U = linalg.eigh(C, subset_by_index=[d - q, d - 1], check_finite=False)
    B = fixed_signs(U[:, ::-1].T).T / scale[:, None]
    return Axes(mean, np.ascontiguousarray(B))


def sampled_codes(rows, weight, axes, random, n_threads):
    """Return codes and weights of at most MOST_ROWS rows of positive weight, sorted by code.

    With the order gone from the rows, draws from the codes do not depend on it, and a row of
    weight 2 is drawn as two equal rows are.
    """
    places = np.arange(rows.shape[0]) if weight is None else np.flatnonzero(weight)
    if len(places) > MOST_ROWS:
        places = np.sort(random.choice(places, MOST_ROWS, replace=False))
        rows = copied_rows(rows, places)
    elif len(places) < rows.shape[0]:
        rows = rows[places]
    codes = axes.codes(rows, n_threads)
    weight = np.ones(len(places)) if weight is None else weight[places]
    return sorted_codes(codes, weight)


def sorted_codes(codes, weight):
    """Return codes and weights in the order of the codes."""
    order = np.lexsort(codes.T[::-1])
    return codes[order], weight[order]


@threads.with_same_bits
def cluster_centers(codes, weight, n_clusters, random):
    """Return the centres (n_clusters, q) of k-means, started by k-means++.

    Fewer centres are returned where there are fewer different codes.
    """
    centers = _seeds(codes, weight, n_clusters, random)
    labels = None
    for _ in range(MOST_ROUNDS):
        previous, labels = labels, nearest(codes, centers)
        if previous is not None and np.array_equal(labels, previous):
            break
        share = np.equal.outer(np.arange(len(centers)), labels) * weight
        mass = share.sum(axis=1)
        kept = mass > 0
        centers = (share[kept] @ codes) / mass[kept, None]
        if not kept.all():
            labels = None
    return centers


def nearest(codes, centers):
    """Return the index (n,) of the centre nearest to each code."""
    return (0.5 * np.square(centers).sum(axis=1) - codes @ centers.T).argmin(axis=1)


def _seeds(codes, weight, n_clusters, random):
    """Return starting centres by greedy k-means++ (Arthur & Vassilvitskii 2007).

    Each centre is drawn with probability proportional to the squared distance from the centres so
    far, and is the best of a few draws.
    """
    n_candidates = 2 + int(np.log(n_clusters))
    seeds = codes[[_drawn(weight, random.uniform(size=1))[0]]]
    distances = np.square(codes - seeds[0]).sum(axis=1)
    spread = distances @ weight
    while len(seeds) < n_clusters:
        chances = distances * weight
        # Codes of equal rows differ by rounding.
        if not chances.sum() > 1e-20 * spread:
            break
        candidates = codes[_drawn(chances, random.uniform(size=n_candidates))]
        squares = np.square(codes).sum(axis=1)[:, None] + np.square(candidates).sum(axis=1)
        left = np.minimum(distances[:, None], squares - 2 * codes @ candidates.T)
        best = int((weight @ left).argmin())
        seeds = np.vstack([seeds, candidates[best]])
        distances = np.minimum(distances, np.square(codes - candidates[best]).sum(axis=1))
    return seeds


def _drawn(chances, uniform):
    """Return indices drawn in proportion to `chances` by numbers uniform in [0, 1)."""
    total = np.cumsum(chances)
    return np.searchsorted(total, uniform * total[-1], side="right").clip(0, len(chances) - 1)
