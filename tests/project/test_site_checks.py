"""The checks of the site find what they are for."""

import subprocess
import sys
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "docs" / "site"
GOOD = """<!doctype html>
<html lang="en"><head><title>good</title><link rel="icon" href="data:,"></head>
<body><h1 id="top">good</h1><main><a href="#top">up</a>
<div class="formula"><math display="block"><mi>x</mi></math></div></main></body></html>"""


def run(script, root):
    command = [sys.executable, str(SITE / script), str(root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def with_part(root, name, part):
    (root / name).write_text(GOOD.replace("</main>", f"{part}</main>"), encoding="utf-8")


def test_links(tmp_path):
    with_part(tmp_path, "good.html", '<a href="good.html#top">here</a><a href="https://a.b">o</a>')
    assert run("links.py", tmp_path).returncode == 0
    with_part(tmp_path, "one.html", '<a href="good.html#bottom">nowhere</a>')
    with_part(tmp_path, "two.html", '<a href="missing.html">nowhere</a>')
    with_part(tmp_path, "three.html", '<script src="https://a.b/c.js"></script>')
    found = run("links.py", tmp_path)
    assert found.returncode == 1
    lines = found.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["one.html", "three.html", "two.html"]


@pytest.mark.extra
def test_looks(tmp_path):
    with_part(tmp_path, "good.html", "<p>nothing wrong</p>")
    found = run("browse.py", tmp_path)
    if found.returncode == 77:
        pytest.skip("no Chromium here")
    assert found.returncode == 0, found.stdout + found.stderr
    with_part(tmp_path, "narrow.html", '<p style="width: 700px">wide</p>')
    with_part(tmp_path, "picture.html", '<img src="missing.png" alt="">')
    pixel = "<svg xmlns='http://www.w3.org/2000/svg' width='900' height='900'></svg>"
    with_part(tmp_path, "tiny.html", f'<img width="300" src="data:image/svg+xml,{pixel}" alt="">')
    with_part(tmp_path, "script.html", "<script>throw new Error('wrong')</script>")
    with_part(tmp_path, "logs.html", "<script>console.error('wrong')</script>")
    with_part(tmp_path, "formula.html", '<math style="display: block; height: 0"></math>')
    found = run("browse.py", tmp_path)
    assert found.returncode == 1
    pages = {line.partition(".html")[0] for line in found.stdout.splitlines()}
    assert (
        pages >= {"narrow", "picture", "tiny", "script", "logs", "formula"} and "good" not in pages
    )
    assert "narrow.html at 400" in found.stdout and "narrow.html at 1280" not in found.stdout
