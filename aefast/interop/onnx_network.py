"""The arithmetic of a fitted model as nodes of ONNX: codes, reconstructions, scores."""

import math
from collections.abc import Sequence

import numpy as np
from onnx import helper

from aefast.interop.feed_forward import Dense, FeedForward
from aefast.interop.onnx_graph import Graph

REAL = frozenset({"gaussian", "gaussian_diagonal", "laplace", "huber", "student_t"})
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
SHIFT = 8  # log Gamma is computed by Stirling's series of x + 8, whose error is 3e-10


# ---- the chain of a model ----


def build(graph: Graph, forward: FeedForward, x: str, wanted: Sequence[str]) -> dict[str, str]:
    """Add the nodes that compute the wanted results of the rows x; return their names."""
    found = {}
    read = _read(graph, forward, x)
    h = _chain(graph, forward.encoder, read)
    if "codes" in wanted:
        found["codes"] = h
    if not {"reconstruction", "score"} & set(wanted):
        return found
    n_encoders = len(forward.encoder)
    if forward.reconstruction[:n_encoders] == forward.encoder:
        eta = _chain(graph, forward.reconstruction[n_encoders:], h)
    else:
        eta = _chain(graph, forward.reconstruction, read)
    if "reconstruction" in wanted:
        found["reconstruction"] = _means(graph, forward, x, eta)
    if "score" in wanted:
        if forward.marginal is None:
            found["score"] = _score(graph, forward, x, eta)
        else:
            found["score"] = _marginal(graph, forward.marginal, x, h, eta)
    return found


def _read(graph, forward, x):
    if forward.fill is not None:
        x = graph.where(graph.of("IsNaN", x), forward.fill, x)
    if forward.shift is not None:
        x = graph.times(graph.minus(x, forward.shift), 1 / forward.scale)
    if forward.normed:
        norm = graph.add("ReduceL2", [x, graph.constant([1], np.int64)], keepdims=1)
        x = graph.over(x, graph.where(graph.less(graph.constant(0.0), norm), norm, 1.0))
    if forward.log_offset is not None:
        is_read_so = forward.log_offset > 0
        offset = np.where(is_read_so, forward.log_offset, 1.0)
        logarithm = graph.of("Log", graph.plus(graph.most(x, 0.0), offset))
        chosen = graph.constant(is_read_so, np.bool_)
        x = graph.where(chosen, graph.minus(logarithm, forward.log_centre), x)
    return x


_ACTIVATIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "softplus": "Softplus"}


def _chain(graph, layers: Sequence[Dense], x: str) -> str:
    for layer in layers:
        if layer.gain is not None:
            x = graph.times(graph.minus(x, layer.offset), layer.gain)
        a = graph.plus(graph.add("MatMul", [x, graph.constant(layer.weights.T)]), layer.bias)
        if layer.activation in _ACTIVATIONS:
            a = graph.of(_ACTIVATIONS[layer.activation], a)
        elif layer.activation == "elu":
            a = graph.of("Elu", a)
        x = _largest(graph, a, layer) if layer.top_k else a
    return x


def _largest(graph, h, layer):
    """Keep each row's largest entries: multiply by the sum of their one-hot vectors."""
    indices = f"{graph.prefix}kept{len(graph.nodes)}"
    values = f"{indices}_values"
    k = graph.constant([layer.top_k], np.int64)
    graph.nodes.append(helper.make_node("TopK", [h, k], [values, indices], axis=1))
    zeros = graph.times(h, 0.0)
    return graph.add("ScatterElements", [zeros, indices, values], axis=1)


def _means(graph, forward, x, eta):
    """Return reconstructions in the user's units, in the order of the columns."""
    if all(block.distribution in REAL for block in forward.blocks):
        out = eta
    else:
        parts, order = [], []
        for block in forward.blocks:
            part = graph.columns(eta, block.columns)
            parts.append(_mean(graph, block, part, x))
            order += block.columns.tolist()
        joined = graph.add("Concat", parts, axis=1)
        out = graph.columns(joined, np.argsort(order))
    if forward.shift is not None:
        out = graph.plus(graph.times(out, forward.scale), forward.shift)
    return out


def _mean(graph, block, eta, x):
    name = block.distribution
    if name in REAL:
        return eta
    if name == "bernoulli":
        return graph.of("Sigmoid", eta)
    if name == "continuous_bernoulli":
        return _continuous_bernoulli_mean(graph, eta)
    if name == "categorical":
        return graph.of("Softmax", eta, axis=1)
    if name == "multinomial":
        trials = graph.sum_of_row(graph.columns(x, block.columns), keepdims=1)
        trials = graph.where(graph.of("IsNaN", trials), 1.0, trials)
        return graph.times(graph.of("Softmax", eta, axis=1), trials)
    return graph.of("Exp", eta)


def _score(graph, forward, x, eta):
    """Return log p(x | eta) (n,), the sum over blocks; missing entries count nothing."""
    total = None
    observed = graph.of("Not", graph.of("IsNaN", x))
    filled = x if forward.fill is None else graph.where(observed, x, forward.fill)
    scaled, log_scale = filled, None
    if forward.shift is not None:
        scaled = graph.times(graph.minus(filled, forward.shift), 1 / forward.scale)
        log_scale = graph.where(observed, np.log(forward.scale), 0.0)
    for block in forward.blocks:
        v, e = graph.columns(scaled, block.columns), graph.columns(eta, block.columns)
        terms = _LOSSES[block.distribution](graph, v, e, block)
        if forward.fill is not None:
            terms = graph.where(graph.columns(observed, block.columns), terms, 0.0)
        loss = graph.sum_of_row(terms)
        total = loss if total is None else graph.plus(total, loss)
    if log_scale is not None:
        total = graph.plus(total, graph.sum_of_row(log_scale))
    return graph.of("Neg", total)


def _marginal(graph, marginal, x, h, eta):
    residual = graph.times(graph.square(graph.minus(x, eta)), 0.5 * marginal.noise)
    prior = graph.add("MatMul", [h, graph.constant(0.5 * marginal.prior)])
    loss = graph.plus(graph.sum_of_row(residual), graph.sum_of_row(graph.times(prior, h)))
    return graph.minus(marginal.constant, loss)


# ---- −log p(x | η), constants included ----


def _polynomial(graph, z, coefficients):
    """Return c0 + z (c1 + z (c2 + ...))."""
    value = graph.constant(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = graph.plus(graph.times(z, value), coefficient)
    return value


def _continuous_bernoulli_mean(graph, eta):
    z, near = graph.square(eta), graph.less(graph.of("Abs", eta), 0.5)
    terms = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)
    series = graph.plus(graph.times(eta, _polynomial(graph, z, terms)), 0.5)
    safe = graph.where(near, 1.0, eta)
    e = graph.of("Exp", graph.of("Neg", graph.of("Abs", safe)))
    u = graph.of("Abs", safe)
    of_positive = graph.minus(graph.over(1.0, graph.minus(1.0, e)), graph.over(1.0, u))
    of_negative = graph.minus(1.0, of_positive)
    exact = graph.where(graph.less(safe, 0.0), of_negative, of_positive)
    return graph.where(near, series, exact)


def _continuous_bernoulli(graph, x, eta, block):
    z, near = graph.square(eta), graph.less(graph.of("Abs", eta), 0.5)
    terms = (1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800, 1 / 479001600)
    series = graph.plus(graph.times(0.5, eta), graph.times(z, _polynomial(graph, z, terms)))
    safe = graph.where(near, 1.0, eta)
    u = graph.of("Abs", safe)
    e = graph.of("Exp", graph.of("Neg", u))
    exact = graph.plus(graph.most(safe, 0.0), graph.of("Log", graph.over(graph.minus(1.0, e), u)))
    return graph.minus(graph.where(near, series, exact), graph.times(x, eta))


def _log_gamma(graph, x):
    """log Gamma(x) by Stirling's series of x + SHIFT."""
    z = graph.plus(x, float(SHIFT))
    log_z, w = graph.of("Log", z), graph.over(1.0, z)
    series = _polynomial(graph, graph.square(w), (1 / 12, -1 / 360, 1 / 1260))
    value = graph.plus(graph.times(graph.minus(z, 0.5), log_z), HALF_LOG_2PI)
    value = graph.plus(graph.minus(value, z), graph.times(w, series))
    for step in range(SHIFT):
        value = graph.minus(value, graph.of("Log", graph.plus(x, float(step))))
    return value


def _quadratic(graph, x, eta, factor, constant):
    return graph.plus(graph.times(graph.square(graph.minus(eta, x)), factor), constant)


def _gaussian(graph, x, eta, block):
    return _quadratic(graph, x, eta, 0.5, HALF_LOG_2PI)


def _gaussian_diagonal(graph, x, eta, block):
    s = block.constant + np.exp(block.theta.astype(np.float64))
    return _quadratic(graph, x, eta, 0.5 / s, 0.5 * np.log(s) + HALF_LOG_2PI)


def _bernoulli(graph, x, eta, block):
    return graph.minus(graph.of("Softplus", eta), graph.times(x, eta))


def _poisson(graph, x, eta, block):
    loss = graph.minus(graph.of("Exp", eta), graph.times(x, eta))
    return graph.plus(loss, _log_gamma(graph, graph.plus(x, 1.0)))


def _exponential(graph, x, eta, block):
    return graph.plus(eta, graph.times(x, graph.of("Exp", graph.of("Neg", eta))))


def _gamma(graph, x, eta, block):
    k = np.exp(block.theta.astype(np.float64))
    rest = np.array([math.lgamma(value) - value * math.log(value) for value in k])
    loss = graph.times(k, _exponential(graph, x, eta, block))
    return graph.plus(graph.minus(loss, graph.times(k - 1, graph.of("Log", x))), rest)


def _negative_binomial(graph, x, eta, block):
    theta = block.theta.astype(np.float64)
    r = np.exp(theta)
    rest = np.array([math.lgamma(value) for value in r])
    q, total = graph.minus(eta, theta), graph.plus(x, r)
    loss = graph.minus(graph.times(total, graph.of("Softplus", q)), graph.times(x, q))
    loss = graph.minus(loss, _log_gamma(graph, total))
    return graph.plus(graph.plus(loss, rest), _log_gamma(graph, graph.plus(x, 1.0)))


def _laplace(graph, x, eta, block):
    return graph.plus(graph.of("Abs", graph.minus(eta, x)), math.log(2))


def _huber(graph, x, eta, block):
    delta = block.constant
    middle = math.sqrt(2 * math.pi) * math.erf(delta * math.sqrt(0.5))
    normalizer = math.log(middle + 2 / delta * math.exp(-0.5 * delta * delta))
    r = graph.minus(eta, x)
    inner = graph.add("Clip", [r, graph.constant(-delta), graph.constant(delta)])
    return graph.plus(graph.times(inner, graph.minus(r, graph.times(0.5, inner))), normalizer)


def _student_t(graph, x, eta, block):
    df, s_squared = block.constant, np.exp(2 * block.theta.astype(np.float64)) + 1e-6
    normalizer = (
        math.lgamma(df / 2) - math.lgamma((df + 1) / 2) + 0.5 * math.log(math.pi * df)
    ) + 0.5 * np.log(s_squared)
    u = _quadratic(graph, x, eta, 1 / (df * s_squared), 1.0)
    return graph.plus(graph.times((df + 1) / 2, graph.of("Log", u)), normalizer)


def _categorical(graph, x, eta, block):
    return graph.of("Neg", graph.times(x, graph.of("LogSoftmax", eta, axis=1)))


def _multinomial(graph, x, eta, block):
    terms = graph.plus(_log_gamma(graph, graph.plus(x, 1.0)), _categorical(graph, x, eta, block))
    total = _log_gamma(graph, graph.plus(graph.sum_of_row(x, keepdims=1), 1.0))
    return graph.minus(terms, graph.times(total, 1 / len(block.columns)))


_LOSSES = {
    "gaussian": _gaussian,
    "bernoulli": _bernoulli,
    "continuous_bernoulli": _continuous_bernoulli,
    "gaussian_diagonal": _gaussian_diagonal,
    "poisson": _poisson,
    "exponential": _exponential,
    "gamma": _gamma,
    "negative_binomial": _negative_binomial,
    "laplace": _laplace,
    "huber": _huber,
    "student_t": _student_t,
    "categorical": _categorical,
    "multinomial": _multinomial,
}
