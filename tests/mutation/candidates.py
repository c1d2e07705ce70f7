"""The mutants of a C file: flipped signs, dropped terms, shifted indices and the like."""

import re
from typing import NamedTuple

from .tokens import LOOSER_THAN_SUM, OPENING, PRODUCT, SUM, Source

OTHER_SIGN = {"+": "-", "-": "+", "+=": "-=", "-=": "+="}
OTHER_WAY = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
ONE_FURTHER = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
EXTREME = re.compile(r"(?<![a-z])(f?)(min|max)(?![a-z])")
LEFT_ALONE = re.compile(r"prefetch|fetch_ahead|_Static_assert|static_assert")


class Mutant(NamedTuple):
    kind: str
    start: int
    end: int
    replacement: str


def candidates(text):
    """Return the mutants of a C source, by kind; none touches comments, directives or strings."""
    source = Source(text)
    lines = text.split("\n")
    by_kind = {}
    for mutant in _all_mutants(source):
        first, last = source.line_of(mutant.start), source.line_of(mutant.end)
        # With the line that follows: the head of a loop that prefetches.
        if not any(LEFT_ALONE.search(line) for line in lines[first - 1 : last + 1]):
            by_kind.setdefault(mutant.kind, []).append(mutant)
    return by_kind


def _all_mutants(source):
    part_of_for = source.for_heads()
    in_functions = _in_functions(source)
    for i in range(len(source.tokens)):
        if i not in in_functions:
            continue
        yield from _sign(source, i, part_of_for.get(i))
        yield from _dropped(source, i)
        yield from _fused(source, i)
        yield from _comparison(source, i, part_of_for.get(i))
        yield from _index(source, i, part_of_for.get(i))
        yield from _extreme(source, i)
        yield from _accumulation(source, i, part_of_for.get(i))
        yield from _condition(source, i)


def _in_functions(source):
    """Return the tokens in bodies of functions: outermost braces that follow a bracket."""
    inside, i = set(), 0
    while i < len(source.tokens):
        if source.word(i) == "{":
            if source.word(i - 1) == ")":
                inside.update(range(i + 1, source.partner[i]))
            i = source.partner[i]
        i += 1
    return inside


def _replace(source, kind, first, last, replacement):
    return Mutant(kind, source.tokens[first].start, source.tokens[last].end, replacement)


def _drop(source, kind, first, last):
    """Leave the tokens out, and the space before them."""
    return Mutant(kind, source.tokens[first - 1].end, source.tokens[last].end, "")


def _sign(source, i, part):
    """Signs but those of a loop's step, which crashes at once, and of the sentinel -1."""
    text = source.word(i)
    if part != 2 and (text in ("+=", "-=") or (text in SUM and source.is_binary(i))):
        yield _replace(source, "sign", i, i, OTHER_SIGN[text])
    elif text == "-" and not source.ends_operand(i - 1) and source.word(i + 1) != "1":
        yield _replace(source, "sign", i, i, "")


def _dropped(source, i):
    text = source.word(i)
    if text in SUM and source.is_binary(i):
        yield _drop(source, "term", i, source.end_of(i + 1, LOOSER_THAN_SUM | SUM))
    elif text in PRODUCT and source.is_binary(i):
        yield _drop(source, "factor", i, source.end_of(i + 1, LOOSER_THAN_SUM | SUM | PRODUCT))


def _fused(source, i):
    """vec_fma(a, b, c): a sum whose terms are arguments."""
    if source.word(i) != "vec_fma" or source.word(i + 1) != "(":
        return
    (a0, a1), (b0, b1), (c0, c1) = source.arguments(i + 1)
    a, b, c = source.span(a0, a1), source.span(b0, b1), source.span(c0, c1)
    closing = source.partner[i + 1]
    yield _replace(source, "sign", a0, a1, f"-({a})")
    yield _replace(source, "term", i, closing, f"(({a}) * ({b}))")
    yield _replace(source, "term", i, closing, f"({c})")


def _comparison(source, i, part):
    text = source.word(i)
    if text in OTHER_WAY and source.tokens[i].kind == "sign":
        if part is None:
            yield _replace(source, "comparison", i, i, OTHER_WAY[text])
        elif part == 1:
            yield _replace(source, "index", i, i, ONE_FURTHER[text])


def _index(source, i, part):
    if source.word(i) == "[" and source.ends_operand(i - 1) and not _is_declared(source, i - 1):
        last = source.partner[i] - 1
        if last > i:
            yield _replace(source, "index", i + 1, last, f"{source.span(i + 1, last)} + 1")
    elif part == 0 and source.word(i) == "=" and source.word(i + 1) == "0":
        yield _replace(source, "index", i + 1, i + 1, "1")


def _is_declared(source, i):
    """Say whether name i stands behind a type, as in `vec sum[4]`."""
    before = source.tokens[i - 1]
    return source.tokens[i].kind == "name" and source.ends_operand(i - 1) and before.kind == "name"


def _extreme(source, i):
    token = source.tokens[i]
    if token.kind == "name" and source.word(i + 1) == "(" and EXTREME.search(token.text):
        other = EXTREME.sub(lambda m: m[1] + ("max" if m[2] == "min" else "min"), token.text)
        yield _replace(source, "extreme", i, i, other)


def _accumulation(source, i, part):
    if source.word(i) in ("+=", "-=", "*=", "|=") and part is None:
        yield _replace(source, "accumulation", i, i, "=")


def _condition(source, i):
    if source.word(i) in ("if", "while") and source.word(i + 1) == "(":
        first, last = i + 2, source.partner[i + 1] - 1
        yield _replace(source, "condition", first, last, f"!({source.span(first, last)})")
    elif source.word(i) == "?":
        yield from _swapped_branches(source, i)


def _swapped_branches(source, i):
    j, depth = i + 1, 1
    while depth:
        if source.word(j) in OPENING:
            j = source.partner[j]
        depth += {"?": 1, ":": -1}.get(source.word(j), 0)
        j += 1
    colon = j - 1
    last = source.end_of(colon + 1, {",", ";", ")", "]", "}"})
    one, other = source.span(i + 1, colon - 1), source.span(colon + 1, last)
    yield _replace(source, "condition", i + 1, last, f"({other}) : ({one})")
