"""Check the links of the built site without a network: ``python docs/site/links.py build/site``.

Each link to a page must lead to a file, each fragment to an element of that name, and each picture,
script and style sheet must be a file. No page may ask another host for any of these.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The names and the links of a page."""

    def __init__(self, path):
        super().__init__()
        self.names, self.links, self.parts = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.names.update(given[key] for key in ("id", "name") if given.get(key))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("img", "script") and given.get("src"):
            self.parts.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload"):
            self.parts.append(given["href"])


def broken(root):
    """Yield a line for each link that leads nowhere."""
    pages = {
        path: Page(path) for path in sorted(root.rglob("*.html")) if "_static" not in path.parts
    }
    for path, page in pages.items():
        for link in [*page.links, *page.parts]:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                if link in page.parts and url.scheme != "data":
                    yield f"{path.relative_to(root)}: {link} comes from another host"
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            fragment = unquote(url.fragment)
            if not target.is_file():
                yield f"{path.relative_to(root)}: {link} is no file"
            elif fragment and target in pages and fragment not in pages[target].names:
                yield f"{path.relative_to(root)}: {link} names nothing"


def main():
    root = Path(sys.argv[1]).resolve()
    lines = list(broken(root))
    print("\n".join(lines) or "all links lead somewhere")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
