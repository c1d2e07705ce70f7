"""What pages say to Sphinx alone, so that GitHub shows them well too.

A comment ``<!-- toctree: ... -->`` with a path a line is a hidden table of contents. Members that
estimators have from scikit-learn are left out of the reference: scikit-learn documents them.
"""

import re

TOCTREE = re.compile(r"^<!-- toctree:\n(.*?)-->$", re.MULTILINE | re.DOTALL)


def read_comments(app, name, source):
    source[0] = TOCTREE.sub(r"```{toctree}\n:hidden:\n:glob:\n\n\1```", source[0])


def leave_out(app, what, name, member, skip, options):
    module = getattr(member, "__module__", None) or ""
    return True if module.startswith(("sklearn.", "builtins")) else None


def setup(app):
    app.connect("source-read", read_comments)
    app.connect("autodoc-skip-member", leave_out)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
