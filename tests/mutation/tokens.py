"""A tokenizer for C as clang-format leaves it, with the questions that mutants ask."""

import re
from typing import NamedTuple

TOKEN = re.compile(
    r"""(?P<comment>/\*.*?\*/|//[^\n]*)
    |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<directive>^[ \t]*\#(?:\\\n|/\*.*?\*/|[^\n])*)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
    |(?P<sign>->|\+\+|--|<<=|>>=|<<|>>|[-+*/%&|^<>=!]=|&&|\|\||[-+*/%&|^<>=!~?:;,.(){}\[\]])""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
OPENING, CLOSING = "([{", ")]}"
STATEMENT_WORDS = {"return", "else", "case", "goto", "do", "sizeof"}
LOOSER_THAN_SUM = {
    *("<<", ">>", "<", ">", "<=", ">=", "==", "!=", "&", "^", "|", "&&", "||", "?", ":"),
    *("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=", ",", ";", ")", "]", "}"),
}
SUM, PRODUCT = {"+", "-"}, {"*", "/", "%"}


class Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


class Source:
    """The tokens of a C file, without comments and preprocessor directives."""

    def __init__(self, text):
        self.text = text
        self.tokens = [
            Token(match.lastgroup or "", match[0], *match.span())
            for match in TOKEN.finditer(text)
            if match.lastgroup not in ("comment", "directive")
        ]
        self.partner = self._match_brackets()

    def _match_brackets(self):
        partner, opened = {}, []
        for i, token in enumerate(self.tokens):
            if token.kind == "sign" and token.text in OPENING:
                opened.append(i)
            elif token.kind == "sign" and token.text in CLOSING:
                j = opened.pop()
                partner[i], partner[j] = j, i
        if opened:
            raise ValueError("unbalanced brackets")
        return partner

    def word(self, i):
        return self.tokens[i].text if 0 <= i < len(self.tokens) else ""

    def span(self, first, last):
        """Return the text from token `first` to token `last`, both included."""
        return self.text[self.tokens[first].start : self.tokens[last].end]

    def line_of(self, position):
        return self.text.count("\n", 0, position) + 1

    def ends_operand(self, i):
        """Say whether token i can be the end of an operand: an operator after it is binary."""
        if i < 0:
            return False
        token = self.tokens[i]
        if token.kind in ("name", "number"):
            return token.text not in STATEMENT_WORDS
        return token.text in (")", "]")

    def is_binary(self, i):
        """Say whether the arithmetic sign at i has two operands: then space follows it."""
        return self.ends_operand(i - 1) and self.text[self.tokens[i].end].isspace()

    def end_of(self, i, stops):
        """Return the last token of the expression at i, which ends before a sign of `stops`."""
        j = i
        while j < len(self.tokens):
            token = self.tokens[j]
            if token.kind == "sign" and token.text in stops and (j > i or token.text in CLOSING):
                if token.text not in SUM | PRODUCT or self.is_binary(j):
                    return j - 1
            j = self.partner[j] + 1 if token.text in OPENING and token.kind == "sign" else j + 1
        return j - 1

    def arguments(self, opening):
        """Return the first and last token of each argument in the bracket at `opening`."""
        result, first, closing = [], opening + 1, self.partner[opening]
        while first < closing:
            last = self.end_of(first, {",", ")"})
            result.append((first, last))
            first = last + 2
        return result

    def for_heads(self):
        """Return in which of the three parts of a `for` each token of its brackets is."""
        part = {}
        for i, token in enumerate(self.tokens):
            if token.text == "for" and token.kind == "name" and self.word(i + 1) == "(":
                at, j = 0, i + 2
                while j < self.partner[i + 1]:
                    at += self.word(j) == ";"
                    part[j] = at
                    j += 1
        return part
