"""Linear models of items, and measures of recommendations, by their definitions."""

import numpy as np


def closed_form(X, l2, weight=None):
    """Return B of EASE (Steck 2019, eq. 8): P = (Xᵀ W X + l2 I)⁻¹, B = −P / diag(P)."""
    weight = np.ones(len(X)) if weight is None else weight
    P = np.linalg.inv(X.T @ (weight[:, None] * X) + l2 * np.eye(X.shape[1]))
    B = -P / np.diag(P)
    np.fill_diagonal(B, 0)
    return B


def refitted(X, l2, B, n_kept, weight=None):
    """Return B with the n_kept largest entries of each column, each a ridge regression on them."""
    weight = np.ones(len(X)) if weight is None else weight
    G = X.T @ (weight[:, None] * X)
    made = np.zeros_like(B)
    for j in range(len(B)):
        sizes = np.abs(B[:, j])
        sizes[j] = -1
        S = np.argsort(-sizes, kind="stable")[:n_kept]
        made[S, j] = np.linalg.solve(G[np.ix_(S, S)] + l2 * np.eye(len(S)), G[S, j])
    return made


def cosine_loss(X, A, weight=None):
    """Return the loss of ELSA (Vančura et al. 2022): rows of X and of X (A Aᵀ − I), length 1."""
    weight = np.ones(len(X)) if weight is None else weight
    P = X @ (A @ A.T - np.eye(len(A)))
    loss = total = 0.0
    for w, x, p in zip(weight, X, P, strict=True):
        if x.any():
            loss += w * np.sum((x / np.linalg.norm(x) - p / np.linalg.norm(p)) ** 2)
            total += w
    return loss / total


def ranking(scores, n, seen=None, allowed=None):
    """Return the n items of highest score of each row, −1 where there are no more."""
    items = np.full((len(scores), n), -1)
    for u, row in enumerate(scores):
        candidates = [
            j
            for j in range(len(row))
            if (seen is None or seen[u, j] == 0) and (allowed is None or allowed[j])
        ]
        best = sorted(candidates, key=lambda j: (-row[j], j))[:n]
        items[u, : len(best)] = best
    return items


def recall(items, chosen, k):
    """Return the mean of hits among the first k over min(k, number of chosen items)."""
    found = []
    for recommended, row in zip(items, chosen, strict=True):
        wanted = set(np.flatnonzero(row))
        if wanted:
            hits = sum(item in wanted for item in recommended[:k])
            found.append(hits / min(k, len(wanted)))
    return np.mean(found)


def ndcg(items, chosen, k):
    """Return the mean of Σ 1 / log₂(place + 1) over hits, as a share of the best possible."""
    found = []
    for recommended, row in zip(items, chosen, strict=True):
        wanted = set(np.flatnonzero(row))
        if wanted:
            gain = sum(
                1 / np.log2(place + 1)
                for place, item in enumerate(recommended[:k], start=1)
                if item in wanted
            )
            ideal = sum(1 / np.log2(place + 1) for place in range(1, min(k, len(wanted)) + 1))
            found.append(gain / ideal)
    return np.mean(found)


def coverage(items, n_items, k):
    """Return the share of items that are recommended to anybody."""
    return len({item for row in items for item in row[:k] if item >= 0}) / n_items
