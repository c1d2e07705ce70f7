"""Files of every kind that are kept: they load, and give the numbers that they gave."""

import json
import shutil

import numpy as np
import pytest
from support.kept_files import DATA, RESULTS, class_of, name_of, results_of
from support.model_files import assert_refused, edited

import aefast
from aefast.model_file import HOMES

KEPT = json.loads(RESULTS.read_text(encoding="utf-8"))
# those of pipelines need skops: tests/interop/test_pipelines.py
FILES = sorted(p.name for p in DATA.glob("*.safetensors") if not p.name.startswith("pipeline-"))


@pytest.mark.parametrize("file_format", HOMES)
def test_the_present_version_of_each_kind_is_kept(file_format):
    assert name_of(file_format) in KEPT, "run tests/support/kept_files.py"
    assert type(aefast.load(DATA / name_of(file_format))) is class_of(file_format)


@pytest.mark.parametrize("name", sorted(KEPT))
def test_kept_files_give_the_numbers_that_they_gave(name):
    model = aefast.load(DATA / name)
    np.testing.assert_allclose(results_of(model), KEPT[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", FILES)
def test_later_versions_are_refused(name, tmp_path):
    path = tmp_path / name
    shutil.copy(DATA / name, path)
    with edited(path) as (_, metadata, _):
        newest = class_of(metadata["format"])._file_version
        metadata |= {"format_version": newest + 1, "aefast_version": "9.8.7"}
    later = rf"format version {newest + 1}, written by aefast '9\.8\.7'; .* up to {newest}: upgrade"
    assert_refused(path, later)
