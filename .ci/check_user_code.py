"""Check the Python code of the README and of pages for users with mypy, as a user's files.

Each block of the README becomes a file; the blocks of a page, which share names, become one file.
mypy reads the package as an installed one, through ``py.typed``.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def files():
    """Yield the name and the text of each file."""
    readme = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    for number, block in enumerate(readme, start=1):
        yield f"readme_{number}.py", block
    for page in sorted((ROOT / "docs").rglob("*.md")):
        if page.parent.name == "develop":
            continue  # what is inside
        blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
        if blocks:
            name = "_".join(page.relative_to(ROOT / "docs").with_suffix("").parts)
            yield f"{name.replace('-', '_')}.py", "\n".join(blocks)


def main():
    with tempfile.TemporaryDirectory() as folder:
        written = dict(files())
        for name, text in written.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        print(f"{len(written)} files from README.md and docs")
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
        return subprocess.run([*command, *sys.argv[1:], *written], cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())
