"""All pages of documentation: links lead somewhere, named files exist, lines are short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks" / "RESULTS.md",
    *sorted((ROOT / "benchmarks" / "results").glob("*.md")),
]
NOT_IN_THE_TREE = {  # places for additions, and a folder that the benchmarks make
    "aefast/tables/",
    "aefast/interop/",
    "benchmarks/peers/peer_NAME.py",
    "benchmarks/records/",
}
FOLDERS = ("src", "aefast", "tests", "benchmarks", "docs", "examples")
MOST_COLUMNS = 100


def page_id(page):
    return page.relative_to(ROOT).as_posix()


def lines_of_prose(text):
    """Yield number and text of the lines outside of code blocks and tables."""
    in_code = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("```"):
            in_code = not in_code
        elif not in_code and not line.startswith("|"):
            yield number, line


def anchors_of(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors_of(linked), target


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_named_files_exist(page):
    if page.name == "CHANGELOG.md" or page.parent.name == "results":
        return  # history
    names = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", page.read_text(encoding="utf-8"))
    assert {name for name in names if not (ROOT / name).exists()} <= NOT_IN_THE_TREE


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_lines_are_short(page):
    text = page.read_text(encoding="utf-8")
    assert [number for number, line in lines_of_prose(text) if len(line) > MOST_COLUMNS] == []


def test_the_changelog_keeps_its_form():
    """That of Keep a Changelog: the unreleased changes first, then versions with dates."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert first == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", name) for name in versions)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= kinds
    for name in re.findall(r"^## \[(.*?)\]", text, re.MULTILINE):
        assert f"\n[{name}]: https://" in text, name


def test_the_citation_is_of_this_version_and_of_public_names():
    """The notes of a reference name the public classes, functions or parameters that it is for."""
    text = (ROOT / "CITATION.cff").read_text()
    (version,) = re.findall(r"^version: (.+)$", text, re.MULTILINE)
    assert f'__version__ = "{version}"' in (ROOT / "aefast" / "_version.py").read_text()
    references = text.partition("\nreferences:\n")[2].split("\n  - type: ")
    names = set(
        re.findall(r"^    \"(\w+)\",$", (ROOT / "aefast" / "__init__.py").read_text(), re.M)
    )
    cited = set()
    for reference in references:
        assert re.search(r"^    year: \d{4}$", reference, re.MULTILINE), reference
        (notes,) = re.findall(r"^    notes: (.+)$", reference, re.MULTILINE)
        cited |= set(notes.split(", "))
    assert {"Autoencoder", "FactorAnalysis", "DictionaryLearning", "sparse_encode"} <= cited & names
