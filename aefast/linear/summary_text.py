"""Text of the tables that a factor analysis prints."""

import math

import numpy as np

from aefast.linear.goodness_of_fit import GoodnessOfFit

MOST_ROWS = 200  # that a table shows
MOST_FACTORS = 20
WIDEST_NAME = 24
_METHODS = {"ml": "maximum likelihood", "minres": "minimum residuals"}


class Text(str):
    """A string that Python's prompt shows as it prints."""

    __slots__ = ()

    def __repr__(self):
        return str(self)


def heading(parameters, d, k, n):
    """Return the line that says what was fitted."""
    rotation = parameters["rotation"]
    method = _METHODS[parameters.get("method", "ml")]
    return (
        f"Factor analysis by {method}: {n:,} rows, {d:,} columns, {k:,} "
        f"factor{'s' * (k > 1)}, " + ("not rotated" if rotation is None else f"rotation {rotation}")
    )


def loadings(names, factors, L, communalities, uniquenesses, cutoff):
    """Return the table of standardised loadings (d, k) with communalities and uniquenesses."""
    shown, more = L[:MOST_ROWS, :MOST_FACTORS], max(len(L) - MOST_ROWS, 0)
    width = min(max(map(len, names[:MOST_ROWS])), WIDEST_NAME)
    lines = [
        "Standardised loadings",
        _line("", [*factors[:MOST_FACTORS], "commun.", "unique."], width),
    ]
    for name, row, communality, uniqueness in zip(
        names, shown, communalities, uniquenesses, strict=False
    ):
        cells = [f"{value:.3f}" if abs(value) >= cutoff else "" for value in row]
        lines.append(_line(name, [*cells, f"{communality:.3f}", f"{uniqueness:.3f}"], width))
    if more or L.shape[1] > MOST_FACTORS:
        lines.append(
            f"({more:,} more columns, {max(L.shape[1] - MOST_FACTORS, 0):,} more factors: see "
            "loadings_)"
        )
    return "\n".join(lines)


def shares(factors, ss_loadings, d):
    """Return the table of sums of squared loadings."""
    ratio = ss_loadings / d
    lines = [_line("", factors[:MOST_FACTORS], WIDEST_NAME)]
    for name, values in (
        ("SS loadings", ss_loadings),
        ("Proportion of variance", ratio),
        ("Cumulative proportion", np.cumsum(ratio)),
    ):
        lines.append(_line(name, [f"{value:.3f}" for value in values[:MOST_FACTORS]], WIDEST_NAME))
    return "\n".join(lines)


def correlations(factors, Phi):
    """Return the table of correlations of factors, empty where these are uncorrelated."""
    if np.array_equal(Phi, np.eye(len(Phi))):
        return ""
    width = max(map(len, factors))
    lines = ["Correlations of factors", _line("", factors[:MOST_FACTORS], width)]
    for name, row in zip(factors[:MOST_FACTORS], Phi[:MOST_FACTORS], strict=True):
        lines.append(_line(name, [f"{value:.3f}" for value in row[:MOST_FACTORS]], width))
    return "\n".join(lines)


def test_of_fit(fit):
    """Return the lines about a `GoodnessOfFit`, or about the reason why there is none."""
    if not isinstance(fit, GoodnessOfFit):
        return f"No test of fit: {fit}"
    chi_square = (
        f"chi-squared = {fit.chi_square:.2f} on {fit.degrees_of_freedom} degrees of freedom"
    )
    if math.isnan(fit.p_value):
        return f"{chi_square}: too many factors for a test. SRMR = {fit.srmr:.4f}"
    low, high = fit.rmsea_interval
    return (
        f"Test that the factors are sufficient: {chi_square}, p = {fit.p_value:.3g}\n"
        f"RMSEA = {fit.rmsea:.3f}, 90 % interval {low:.3f} to {high:.3f}; "
        f"TLI = {fit.tli:.3f}; CFI = {fit.cfi:.3f}; SRMR = {fit.srmr:.3f}"
    )


def _line(name, cells, width):
    name = "".join(letter if letter.isprintable() else " " for letter in name)
    name = name if len(name) <= width else name[: width - 1] + "…"
    return (f"{name:<{width}} " + " ".join(f"{cell:>7}" for cell in cells)).rstrip()
