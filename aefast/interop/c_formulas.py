"""Activations, means and losses of distributions as statements in C99.

Losses are −log p(x | η), constants included. Each formula is that of the kernels
(`src/kernels/autoencoder/tables/`), in float.
"""

import math
import re
from typing import Any

import numpy as np

# distributions whose columns a scaling may have
REAL = frozenset({"gaussian", "gaussian_diagonal", "laplace", "huber", "student_t"})
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)

# Helper functions of a header. None calls another.
HELPERS = {
    "sigmoid": """\
static inline float NAME_sigmoid(float a)
{
    float e = expf(-fabsf(a));
    return (a >= 0.0f ? 1.0f : e) / (1.0f + e);
}
""",
    "softplus": """\
static inline float NAME_softplus(float a)
{
    return (a > 0.0f ? a : 0.0f) + log1pf(expf(-fabsf(a)));
}
""",
    "keep_largest": """\
/* Keep the `kept` largest of n entries, and set the others to 0. What is dropped is NAN at first,
   which no comparison counts; all that is larger is kept, so that the count is right. */
static inline void NAME_keep_largest(float *h, int n, int kept)
{
    for (int i = 0; i < n; ++i) {
        int before = 0;
        for (int j = 0; j < n; ++j)
            before += h[j] > h[i] || (h[j] == h[i] && j < i);
        h[i] = before < kept ? h[i] : NAN;
    }
    for (int i = 0; i < n; ++i)
        h[i] = isnan(h[i]) ? 0.0f : h[i];
}
""",
    "continuous_bernoulli_mean": """\
static inline float NAME_continuous_bernoulli_mean(float eta)
{
    float z = eta * eta;
    if (fabsf(eta) < 1.0f)
        return 0.5f + eta * (8.3333333e-2f - z * (1.3888889e-3f - z * (3.3068783e-5f -
               z * (8.2671958e-7f - z * 2.0876757e-8f))));
    return 1.0f / (1.0f - expf(-eta)) - 1.0f / eta;
}
""",
    "continuous_bernoulli_normalizer": """\
/* log((exp(eta) - 1) / eta) */
static inline float NAME_continuous_bernoulli_normalizer(float eta)
{
    float z = eta * eta, size = fabsf(eta);
    if (size < 1.0f)
        return 0.5f * eta + z * (4.1666667e-2f - z * (3.4722222e-4f - z * (5.5114638e-6f -
               z * 1.0333995e-7f)));
    return (eta > 0.0f ? eta : 0.0f) + logf(-expm1f(-size) / size);
}
""",
    "log_sum_exp": """\
static inline float NAME_log_sum_exp(const float *a, int n)
{
    float most = a[0], sum = 0.0f;
    for (int i = 1; i < n; ++i)
        most = a[i] > most ? a[i] : most;
    for (int i = 0; i < n; ++i)
        sum += expf(a[i] - most);
    return most + logf(sum);
}
""",
    "log_gamma": """\
/* log Gamma(x) by Stirling's series, from x + 8 down */
static inline float NAME_log_gamma(float x)
{
    float product = 1.0f;
    for (; x < 8.0f; x += 1.0f)
        product *= x;
    return (x - 0.5f) * logf(x) - x + 0.91893853f + (1.0f / 12.0f - 1.0f / (360.0f * x * x)) / x -
           logf(product);
}
""",
}

_ACTIVATIONS = {
    "linear": "a",
    "tanh": "tanhf(a)",
    "relu": "a > 0.0f ? a : 0.0f",
    "elu": "a > 0.0f ? a : expm1f(a)",
}


def activation(name: str, parts: Any) -> str:
    """Return the expression of an activation of `a`."""
    return _ACTIVATIONS[name] if name in _ACTIVATIONS else f"{parts.uses(name)}(a)"


def literal(value: Any) -> str:
    """Return a number as a literal of type float."""
    text = np.format_float_scientific(np.float32(value), unique=True, trim="0")
    return f"{text}f" if value >= 0 else f"({text}f)"


# ---- means ----

_MEANS = {"bernoulli": "sigmoid", "continuous_bernoulli": "continuous_bernoulli_mean"}


def mean(name: str, parts: Any, column: str, n: int, trials: str | None) -> list[str]:
    """Return statements that turn x_hat at the n columns from pre-activations into means."""
    if name in REAL:
        return []
    loop, at = f"    for (int i = 0; i < {n}; ++i)", f"x_hat[{column}]"
    if name in ("categorical", "multinomial"):
        total = trials if trials is not None and name == "multinomial" else None
        lines = ["    {", *_group(n, column, "x_hat", parts)]
        if total is None and name == "multinomial":
            lines += [
                "        float trials = 0.0f;",
                f"        for (int i = 0; i < {n}; ++i)",
                f"            trials += x[{column}];",
                "        trials = isnan(trials) ? 1.0f : trials;",
            ]
            total = "trials"
        factor = "" if total in (None, "1.0f") else f"{total} * "
        return [
            *lines,
            f"        for (int i = 0; i < {n}; ++i)",
            f"            {at} = {factor}expf(group[i] - sum);",
            "    }",
        ]
    function = f"{parts.uses(_MEANS[name])}" if name in _MEANS else "expf"
    return [loop, f"        {at} = {function}({at});"]


def _group(n, column, source, parts):
    """Return statements that gather a group's pre-activations and their log-sum of exponentials."""
    return [
        f"        float group[{n}], sum;",
        f"        for (int i = 0; i < {n}; ++i)",
        f"            group[i] = {source}[{column}];",
        f"        sum = {parts.uses('log_sum_exp')}(group, {n});",
    ]


# ---- losses ----


def loss(block: Any, parts: Any, column: str, n: int, value: str) -> list[str]:
    """Return statements that add −log p of the n columns to `loss`; NaN adds nothing."""
    if block.distribution in ("categorical", "multinomial"):
        return _group_loss(block.distribution, parts, column, n)
    terms = _LOSSES[block.distribution](block, parts)
    return [
        f"    for (int i = 0; i < {n}; ++i) {{",
        f"        float v = {value}, e = eta[{column}];",
        f"        loss += isnan(v) ? 0.0f : {terms};",
        "    }",
    ]


def _group_loss(name, parts, column, n):
    lines = [
        f"    if (!isnan(x[{_first(column)}])) {{",
        *_group(n, column, "eta", parts),
        f"        for (int i = 0; i < {n}; ++i)",
        f"            loss -= x[{column}] * (group[i] - sum);",
    ]
    if name == "multinomial":
        log_gamma = parts.uses("log_gamma")
        lines += [
            "        float total = 0.0f;",
            f"        for (int i = 0; i < {n}; ++i) {{",
            f"            loss += {log_gamma}(x[{column}] + 1.0f);",
            f"            total += x[{column}];",
            "        }",
            f"        loss -= {log_gamma}(total + 1.0f);",
        ]
    return [*lines, "    }"]


def _first(column):
    """Return the number of the first column, from the expression of that of column i."""
    return re.sub(r"\bi\b", "0", column)


def _bernoulli(block, parts):
    return f"{parts.uses('softplus')}(e) - v * e"


def _continuous_bernoulli(block, parts):
    return f"{parts.uses('continuous_bernoulli_normalizer')}(e) - v * e"


def _gaussian_diagonal(block, parts):
    s = block.constant + np.exp(block.theta)
    precision = parts.array(0.5 / s, "half_precision")
    normalizer = parts.array(0.5 * np.log(s) + HALF_LOG_2PI, "normalizer")
    return f"(e - v) * (e - v) * {precision}[i] + {normalizer}[i]"


def _poisson(block, parts):
    return f"expf(e) - v * e + {parts.uses('log_gamma')}(v + 1.0f)"


def _gamma(block, parts):
    k = np.exp(block.theta)
    rest = [math.lgamma(value) - value * math.log(value) for value in k]
    shape, rest = parts.array(k, "shape"), parts.array(rest, "normalizer")
    return f"{shape}[i] * (v * expf(-e) + e) - ({shape}[i] - 1.0f) * logf(v) + {rest}[i]"


def _negative_binomial(block, parts):
    r = np.exp(block.theta)
    log_gamma, softplus = parts.uses("log_gamma"), parts.uses("softplus")
    rest = parts.array([math.lgamma(value) for value in r], "normalizer")
    r, theta = parts.array(r, "r"), parts.array(block.theta, "log_r")
    return (
        f"(v + {r}[i]) * {softplus}(e - {theta}[i]) - v * (e - {theta}[i]) - "
        f"{log_gamma}(v + {r}[i]) + {rest}[i] + {log_gamma}(v + 1.0f)"
    )


def _huber(block, parts):
    delta = block.constant
    middle = math.sqrt(2 * math.pi) * math.erf(delta * math.sqrt(0.5))
    normalizer = math.log(middle + 2 / delta * math.exp(-0.5 * delta * delta))
    d = literal(delta)
    inner = f"fminf(fmaxf(e - v, -{d}), {d})"
    return f"{inner} * (e - v - 0.5f * {inner}) + {literal(normalizer)}"


def _student_t(block, parts):
    df, s_squared = block.constant, np.exp(2 * block.theta) + 1e-6
    normalizer = (
        math.lgamma(df / 2) - math.lgamma((df + 1) / 2) + 0.5 * math.log(math.pi * df)
    ) + 0.5 * np.log(s_squared)
    precision = parts.array(1 / (df * s_squared), "precision")
    normalizer = parts.array(normalizer, "normalizer")
    return f"{literal((df + 1) / 2)} * log1pf((e - v) * (e - v) * {precision}[i]) + {normalizer}[i]"


_LOSSES = {
    "gaussian": lambda *_: f"0.5f * (e - v) * (e - v) + {literal(HALF_LOG_2PI)}",
    "bernoulli": _bernoulli,
    "continuous_bernoulli": _continuous_bernoulli,
    "gaussian_diagonal": _gaussian_diagonal,
    "poisson": _poisson,
    "exponential": lambda *_: "e + v * expf(-e)",
    "gamma": _gamma,
    "negative_binomial": _negative_binomial,
    "laplace": lambda *_: f"fabsf(e - v) + {literal(math.log(2))}",
    "huber": _huber,
    "student_t": _student_t,
}
