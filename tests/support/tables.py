"""Tables for tests of several families."""

import numpy as np


def mixed_table(n=60):
    """Return rows with a group of columns of each distribution, and the `output` of them."""
    rng = np.random.default_rng(0)
    real = rng.normal(3, 2, (n, 5)) @ rng.normal(size=(5, 5))
    unit, counts = rng.random((n, 2)), rng.poisson(4, (n, 2))
    positive = rng.gamma(2, 3, (n, 2))
    one_hot, trials = np.eye(3)[rng.integers(0, 3, n)], rng.multinomial(7, [0.2, 0.3, 0.5], n)
    X = np.hstack([real, unit, counts, positive, one_hot, trials]).astype(np.float32)
    output = [
        ("gaussian", [0]),
        ("gaussian_diagonal", [1]),
        ("laplace", [2]),
        ("huber", [3]),
        ("student_t", [4]),
        ("bernoulli", [5]),
        ("continuous_bernoulli", [6]),
        ("poisson", [7]),
        ("negative_binomial", [8]),
        ("gamma", [9]),
        ("exponential", [10]),
        ("categorical", [11, 12, 13]),
        ("multinomial", [14, 16, 15]),
    ]
    return X, output
