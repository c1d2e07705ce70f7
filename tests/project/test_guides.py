"""The Python of guides and examples runs, page by page."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aefast.cli import _parsed

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
BROUGHT = {"aefast", "numpy", "scipy", "sklearn", "matplotlib", *sys.stdlib_module_names}
LARGE = {"beyond-memory"}  # pages for the full tier
IN_DEFAULT_TIER = {"first_autoencoder", "rotated_loadings", "sample_digits", "variants_mnist"}


@pytest.mark.filterwarnings("error:the fit does not beat the column means")
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.extra if page.stem in LARGE else ()) for page in PAGES],
    ids=lambda page: page.stem,
)
def test_code_runs(page, tmp_path, monkeypatch):
    """The blocks of a page share their names, as a reader who types them in has it."""
    monkeypatch.chdir(tmp_path)
    text, names = page.read_text(encoding="utf-8"), {}
    needs = re.match(r"<!-- needs: (.*) -->", text)
    for library in needs[1].split() if needs else ():
        pytest.importorskip(library)
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(compile(block, str(page), "exec"), names)
    for block in re.findall(r"^```c\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if re.search(r'^#include ".*"$', block, re.MULTILINE):
            compile_beside_headers(block)


def compile_beside_headers(block):
    """Compile a file of C that includes headers which the page has written."""
    compiler = shutil.which("cc")
    if compiler is not None:
        Path("block.c").write_text(block)
        options = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-c"]
        subprocess.run([compiler, *options, "block.c"], check=True)


def libraries_of(code):
    """Return the libraries that code uses, beside what aefast brings."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.keyword) and node.arg == "as_frame":
            found.add("pandas")
    return {"distributed" if name == "dask" else name for name in found} - BROUGHT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_say_what_their_code_needs(page):
    text = page.read_text(encoding="utf-8")
    needs = re.match(r"<!-- needs: (.*) -->\n# ", text)
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert libraries_of("\n".join(blocks)) <= set(needs[1].split() if needs else ())


def command_lines(page):
    """Yield the command lines of aefast in a page, without what a shell does with the output."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    code = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    code += [line.strip() for line in text.splitlines() if line.startswith("    ")]
    for line in re.findall(r"^aefast [a-z].*$", "\n".join(code), re.MULTILINE):
        yield re.split(r"  #| \| | 2?> ", line)[0]


@pytest.mark.parametrize(
    "page, line",
    [
        pytest.param(page, line, id=f"{page.stem}: {line}")
        for page in (*PAGES, ROOT / "README.md")
        for line in command_lines(page)
    ],
)
def test_commands_have_the_options_that_pages_give(page, line):
    _, *arguments = shlex.split(line, comments=True)
    _parsed(arguments)  # exits for what no command takes


def test_the_contributors_example_is_the_source():
    """Each line that CONTRIBUTING.md adds stands in the file that it names."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (diff,) = re.findall(r"^```diff\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    source = (ROOT / re.search(r"^\+\+\+ b/(.*)$", diff, re.MULTILINE)[1]).read_text()
    added = [line[1:] for line in diff.splitlines()[2:] if line.startswith("+")]
    assert len(added) > 20
    assert set(added) <= set(source.splitlines())


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(script, marks=() if script.stem in IN_DEFAULT_TIER else pytest.mark.extra)
        for script in SCRIPTS
    ],
    ids=lambda script: script.stem,
)
def test_examples_run_and_draw(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), {"__name__": "__main__"})
    assert list(tmp_path.glob(f"{script.stem}*.png"))
