"""What pages say to Sphinx alone, so that GitHub shows them well too.

A comment ``<!-- toctree: ... -->`` with a path a line is a hidden table of contents. The name of an
example in backticks is a link to its page in the gallery. A comment ``<!-- needs: ... -->`` before
the title is a line after it about what to install. Members that estimators have from scikit-learn
are left out of the reference: scikit-learn documents them.
"""

import os
import re

import gallery

TOCTREE = re.compile(r"^<!-- toctree:\n(.*?)-->$", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"\A<!-- needs: (.*?) -->\n(# .*\n)")
EXAMPLE = re.compile(r"`examples/(\w+)\.py`")


def read_comments(app, name, source):
    source[0] = TOCTREE.sub(r"```{toctree}\n:hidden:\n:glob:\n\n\1```", source[0])


def tell_needs(app, name, source):
    def told(found):
        return f"{found[2]}\n*The code of this page needs* `pip install {found[1]}`.\n"

    source[0] = NEEDS.sub(told, source[0])


def link_examples(app, name, source):
    def link(found):
        is_shown = found[1] in gallery.ORDER
        return f"[{found[0]}](/docs/gallery/{found[1]}.rst)" if is_shown else found[0]

    if os.fspath(app.env.doc2path(name)).endswith(".md"):
        source[0] = EXAMPLE.sub(link, source[0])


def leave_out(app, what, name, member, skip, options):
    module = getattr(member, "__module__", None) or ""
    return True if module.startswith(("sklearn.", "builtins")) else None


def setup(app):
    app.connect("source-read", read_comments)
    app.connect("source-read", tell_needs)
    app.connect("source-read", link_examples)
    app.connect("autodoc-skip-member", leave_out)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
