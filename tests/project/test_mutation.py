"""The mutants of tests/mutation: each kind on a line of C, and nothing else is touched."""

from pathlib import Path

import pytest
from mutation.candidates import candidates
from mutation.tokens import TOKEN

KERNELS = sorted((Path(__file__).parents[2] / "src" / "kernels").rglob("*.[ch]"))


def mutated(statement, kind):
    """Return the statement's mutants of one kind."""
    head, tail = "static void f(double *x)\n{\n    ", "\n}\n"
    text = head + statement + tail
    found = candidates(text).get(kind, [])
    whole = [text[: m.start] + m.replacement + text[m.end :] for m in found]
    return [changed[len(head) : -len(tail)] for changed in whole]


@pytest.mark.parametrize(
    "statement, kind, expected",
    [
        ("y = a + b * c;", "sign", ["y = a - b * c;"]),
        ("y = -a;", "sign", ["y = a;"]),
        ("y += a;", "sign", ["y -= a;"]),
        ("return -1;", "sign", []),
        ("real *y = *x;", "factor", []),
        ("y = a + b * c - d;", "term", ["y = a - d;", "y = a + b * c;"]),
        ("y = a * f(b, c) / d + e;", "factor", ["y = a / d + e;", "y = a * f(b, c) + e;"]),
        ("y = vec_fma(a, b, c);", "term", ["y = ((a) * (b));", "y = (c);"]),
        ("y = vec_fma(a, b, c);", "sign", ["y = vec_fma(-(a), b, c);"]),
        ("y = x[i];", "index", ["y = x[i + 1];"]),
        ("vec sum[4];", "index", []),
        ("for (i = 0; i < n; i += 2)", "index", [
            "for (i = 1; i < n; i += 2)", "for (i = 0; i <= n; i += 2)"]),
        ("for (i = 0; i < n; i += 2)", "sign", []),
        ("y = a <= b;", "comparison", ["y = a >= b;"]),
        ("y = min_i64(a, b);", "extreme", ["y = max_i64(a, b);"]),
        ("y = a * minimum;", "extreme", []),
        ("y += a;", "accumulation", ["y = a;"]),
        ("if (a && b)", "condition", ["if (!(a && b))"]),
        ("y = a ? b : c ? d : e;", "condition", [
            "y = a ? (c ? d : e) : (b);", "y = a ? b : c ? (e) : (d);"]),
        ("__builtin_prefetch(a + b);", "sign", []),
    ],
)  # fmt: skip
def test_kinds(statement, kind, expected):
    assert mutated(statement, kind) == expected


def test_nothing_is_mutated_outside_of_functions():
    assert candidates("static const double table[] = {1 + 2, 3 * 4};\n#define F(a) (a + 1)\n") == {}


def test_mutants_leave_comments_strings_and_directives():
    for text in (path.read_text() for path in KERNELS):
        kept = [
            m for m in TOKEN.finditer(text) if m.lastgroup in ("comment", "string", "directive")
        ]
        for mutants in candidates(text).values():
            for _, start, end, replacement in mutants:
                assert text[start:end] != replacement
                for other in kept:  # a dropped term may have a comment in it: then all of that
                    inside = start <= other.start() and other.end() <= end
                    assert inside or end <= other.start() or other.end() <= start
