"""L-BFGS: the recursion against a matrix, minima, going on from an iterate, and its ends."""

import numpy as np
import pytest
from reference import quasi_newton as reference
from scipy.optimize import minimize, rosen, rosen_der

from aefast._base.lbfgs import LEAST_CURVATURE, Pair, direction, from_saved, minimize_lbfgs, saved

# to the end, as here
FULL = {"ftol": 0, "gtol": 1e-10}


def never(iterate):
    return False


def valley(x):
    return float(rosen(x)), rosen_der(x)


def counted(function, calls):
    def evaluated(x):
        calls.append(x.copy())
        return function(x)

    return evaluated


@pytest.mark.parametrize("n_pairs", [0, 1, 4, 10])
def test_the_recursion_is_a_product_with_the_inverse_hessian(n_pairs):
    random = np.random.default_rng(n_pairs)
    n = 7
    hessian = np.cov(random.normal(size=(n, 3 * n)))
    pairs = [Pair(s, hessian @ s) for s in random.normal(size=(n_pairs, n))]
    gradient = random.normal(size=n)
    expected = reference.direction(gradient, pairs)
    found = direction(gradient, tuple(pairs))
    condition = np.linalg.cond(reference.inverse_hessian(gradient, pairs))
    allowed = 100 * np.finfo(float).eps * condition * np.linalg.norm(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)
    if n_pairs:  # the secant equation of the last pair
        s, y = pairs[-1]
        np.testing.assert_allclose(-direction(y, tuple(pairs)), s, rtol=1e-9)


def test_a_minimum_with_no_more_evaluations_than_scipy():
    start, calls, losses = np.full(6, -1.2), [], []

    def after(iterate):
        losses.append(iterate.loss)
        return False

    end = minimize_lbfgs(counted(valley, calls), start, most_iterations=500, after_iteration=after)
    by_scipy = minimize(valley, start, jac=True, method="L-BFGS-B", options=FULL)
    np.testing.assert_allclose(end.x, 1, atol=1e-8)
    assert len(calls) <= 1.2 * by_scipy.nfev and (np.diff(losses) < 0).all()
    assert len({x.tobytes() for x in calls}) == len(calls)  # no point twice
    assert len(end.pairs) == 10 and start[0] == -1.2


@pytest.mark.parametrize("n_before", [1, 3, 17])
def test_an_iterate_has_all_that_the_next_one_follows_from(n_before):
    def run(n, state=None):
        return minimize_lbfgs(
            valley, np.full(6, -1.2), most_iterations=n, after_iteration=never, state=state
        )

    whole, before = run(25), run(n_before)
    after = run(25 - n_before, from_saved(*saved(before), 6))
    assert (after.x.tobytes(), after.loss) == (whole.x.tobytes(), whole.loss)
    for one, other in zip(after.pairs, whole.pairs, strict=True):
        assert [part.tobytes() for part in one] == [part.tobytes() for part in other]


@pytest.mark.parametrize("change", [{"n_pairs": 3}, {"n_pairs": 11}, {"loss": "x"}, {}])
def test_what_is_no_iterate_is_refused(change):
    before = minimize_lbfgs(valley, np.zeros(6), most_iterations=2, after_iteration=never)
    state, tensors = saved(before)
    with pytest.raises(ValueError, match=r"expected|arrays|iterate"):
        from_saved(state | change, tensors, 6 if change else 7)


def test_the_caller_ends_it_and_errors_arrive():
    seen = []
    options = {"most_iterations": 9, "after_iteration": lambda of: len(seen.append(of) or seen) > 2}
    end = minimize_lbfgs(valley, np.zeros(2), **options)
    assert len(seen) == 3 and end is seen[-1]

    def fails(x):
        raise OverflowError

    with pytest.raises(OverflowError):
        minimize_lbfgs(fails, np.zeros(2), **options)


@pytest.mark.parametrize("start", [np.zeros(3), np.zeros(0)])
def test_a_start_that_is_a_minimum_stays(start):
    calls = []
    function = counted(lambda x: (float(x @ x), 2 * x), calls)
    end = minimize_lbfgs(function, start, most_iterations=5, after_iteration=never)
    assert end.x.tobytes() == start.tobytes() and len(calls) == 1


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1e6, 1e12])
def test_functions_whose_first_step_is_far_too_short_or_long(scale):
    """Narrow and wide parabolas: a search finds the length of the first step."""
    end = minimize_lbfgs(
        lambda x: (float(0.5 * scale * (x - 3) @ (x - 3)), scale * (x - 3)),
        np.zeros(4),
        most_iterations=50,
        after_iteration=never,
    )
    limit = max(1e-9 / scale, 1e-6)  # the gradient's limit, or rounding of the loss
    np.testing.assert_allclose(end.x, 3, atol=limit)


def test_no_lower_point_is_the_end():
    """A gradient that has nothing to do with the loss, as where rounding errors prevail."""
    calls = []
    function = counted(lambda x: (1.0, np.ones(3)), calls)
    end = minimize_lbfgs(function, np.zeros(3), most_iterations=5, after_iteration=never)
    assert end.x.tobytes() == np.zeros(3).tobytes() and len(calls) < 100


def test_negative_curvature_makes_no_pair():
    """A concave slope down which the search doubles its step to the end."""
    end = minimize_lbfgs(
        lambda x: (float(-(x @ x)), -2 * x),
        np.ones(2),
        most_iterations=3,
        after_iteration=never,
    )
    assert end.pairs == () and end.loss < -1e3


def test_kinks():
    """|x| is not differentiable where it is least: losses fall to the end."""
    losses = []

    def after(iterate):
        losses.append(iterate.loss)
        for s, y in iterate.pairs:
            assert s @ y > LEAST_CURVATURE * np.linalg.norm(s) * np.linalg.norm(y)
        return False

    start = np.array([1.3, -0.7, 2.1])
    minimize_lbfgs(
        lambda x: (float(np.abs(x) @ [1, 2, 3]), np.sign(x) * [1.0, 2, 3]),
        start,
        most_iterations=50,
        after_iteration=after,
    )
    assert (np.diff(losses) < 0).all() and losses[-1] < 1
