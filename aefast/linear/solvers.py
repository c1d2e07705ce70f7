"""Choice of the solver of probabilistic PCA, from the table's shape alone."""

from numbers import Integral, Real

from scipy import sparse

from aefast._base import krylov

WIDEST_COVARIANCE = 5000  # number of features from which svd_solver="auto" avoids the covariance
# Multiply-adds of the covariance's way beyond which svd_solver="auto" looks for another one, and
# which must take at most this part of them: a fit from the covariance can go on by `partial_fit`.
CHEAP_COVARIANCE = 1e9
CHEAPER = 0.5
LANCZOS_PRODUCTS = 16  # products with X that the Lanczos method takes, as a rule
SPARSE_COST = 4  # time of a multiply-add of a sparse product, in those of a dense one


def k_is_chosen(k):
    """Return whether the number of components follows from the spectrum of all eigenvalues."""
    return k is None or k == "mle" or (isinstance(k, Real) and not isinstance(k, Integral))


def cheapest(table, k, may_choose):
    """Return the solver that takes the fewest multiply-adds for a table (n, d).

    The choice depends on shapes and the number of stored entries alone.

    Parameters
    ----------
    table : ndarray or CSR matrix
    k : int or None
        Number of components, if it is below min(n, d).
    may_choose : bool
        Whether k is None because it follows from the spectrum.
    """
    n, d = table.shape
    is_sparse = sparse.issparse(table)
    entries = float(table.nnz) * SPARSE_COST if is_sparse else float(n) * d
    per_row = table.nnz / n * SPARSE_COST if is_sparse else d
    few = k is not None and 10 * k <= min(n, d)
    costs = {"covariance": entries * min(per_row, d) / 2 + (1.5 if few else 6.0) * d**3}
    if n < d and (k is not None or may_choose):
        costs["gram"] = n * n * d / 2 + (1.5 if few else 6.0) * n**3 + 2.0 * n * d * (k or n)
    if few:
        costs["krylov"] = LANCZOS_PRODUCTS * entries * (k + krylov.EXTRA)
    covariance = costs.pop("covariance")
    best = min(costs, key=lambda name: costs[name], default="covariance")
    if not costs or d >= WIDEST_COVARIANCE:
        return best
    is_cheap = covariance <= max(CHEAP_COVARIANCE, costs[best] / CHEAPER)
    return "covariance" if is_cheap else best
