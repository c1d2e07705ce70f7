"""A page of HTML with text, tables and figures in it, which needs no other file and no network."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

from aefast._base.errors import shown

_LONGEST = 300  # number of characters of a value
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: #777; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { border-top: 1px solid var(--line); padding-top: 1rem; }
nav a { margin-right: 1rem; white-space: nowrap; }
p.note, figcaption { color: var(--quiet); }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .75rem .25rem 0; text-align: left; }
td.number { text-align: right; } td:first-child { white-space: nowrap; }
figure { margin: 1rem 0; } img { background: white; height: auto; max-width: 100%; }
"""


class Page:
    """Sections of a page, in order."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._sections: list[tuple[str, list[str]]] = []

    def section(self, title: str) -> "Page":
        """Begin a section; what follows belongs to it."""
        self._sections.append((title, []))
        return self

    def text(self, words: str) -> "Page":
        return self._add(f'<p class="note">{html.escape(words)}</p>')

    def figure(self, figure: Any, caption: str) -> "Page":
        """Add a figure of matplotlib as a picture in the page."""
        made = io.BytesIO()
        figure.savefig(made, format="png", dpi=130)
        data = base64.b64encode(made.getvalue()).decode("ascii")
        words = html.escape(caption)
        return self._add(
            f'<figure><img alt="{words}" src="data:image/png;base64,{data}">'
            f"<figcaption>{words}</figcaption></figure>"
        )

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> "Page":
        """Add a table; numbers are shortened and stand on the right."""
        lines = ["<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in header) + "</tr>"]
        lines += ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows]
        return self._add('<div class="wide"><table>' + "".join(lines) + "</table></div>")

    def facts(self, facts: Mapping[str, Any]) -> "Page":
        """Add a table of names and values."""
        rows = [(name, _shown(value)) for name, value in facts.items()]
        return self.table(("", ""), rows)

    def html(self) -> str:
        """Return the page."""
        title = html.escape(self._title)
        links = "".join(
            f'<a href="#s{i}">{html.escape(name)}</a>' for i, (name, _) in enumerate(self._sections)
        )
        body = "".join(
            f'<section id="s{i}"><h2>{html.escape(name)}</h2>{"".join(parts)}</section>'
            for i, (name, parts) in enumerate(self._sections)
        )
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="data:,">'
            f"<title>{title}</title><style>{_STYLE}</style></head>"
            f"<body><h1>{title}</h1><nav>{links}</nav>{body}</body></html>\n"
        )

    def _add(self, part: str) -> "Page":
        self._sections[-1][1].append(part)
        return self


def _cell(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
        return f'<td class="number">{shown}</td>'
    return f"<td>{html.escape(str(value))}</td>"


def _shown(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else shown(value).strip("'")[:_LONGEST]
