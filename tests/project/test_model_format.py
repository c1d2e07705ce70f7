"""The page of the files' format has every kind of file, and what the kept ones hold."""

import json
import re
from pathlib import Path

import pytest
from support.kept_files import DATA, RESULTS, class_of
from support.model_files import unpack

from aefast.model_file import HOMES

KEPT = json.loads(RESULTS.read_text(encoding="utf-8"))
PAGE = Path(__file__).parents[2] / "docs" / "develop" / "model-format.md"


def test_the_page_of_the_format_has_each_kind():
    rows = re.findall(
        r"^\| `(aefast [a-z ]+)` \| (\d+) \| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.M
    )
    expected = [(name, class_of(name)._file_version, class_of(name).__name__) for name in HOMES]
    assert sorted((name, int(version), cls) for name, version, cls in rows) == sorted(expected)


@pytest.mark.parametrize("name", sorted(KEPT))
def test_the_page_of_the_format_has_each_tensor(name):
    page = PAGE.read_text(encoding="utf-8")
    for tensor in unpack((DATA / name).read_bytes())[0].keys() - {"__metadata__"}:
        own = tensor.rpartition(".")[2].removesuffix("_missing")
        assert f"`{own}`" in page, tensor
