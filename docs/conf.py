"""Sphinx: the site of the documentation, from the same pages that are read on GitHub.

The source directory is the root of the repository, so that links between pages, also to
CONTRIBUTING.md and to the results of the benchmarks, are those of the files:

    python -m sphinx -W --keep-going -c docs . build/site

Formulas become MathML, which browsers draw without a script or a font from elsewhere.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "site"))
# examples and the reference are this checkout's, compiled in place; .ci/site has one installed
if any((ROOT / "aefast").rglob("*.so")):
    sys.path.insert(0, str(ROOT))
os.environ.setdefault("MPLBACKEND", "agg")

import absent  # noqa: E402
import gallery  # noqa: E402

import aefast  # noqa: E402

absent.stand_in("torch", "torch.autograd", "torch.autograd.function", "onnx")
absent.stand_in("pyod", "pyod.models", "pyod.models.base")

project = "aefast"
author = "The aefast developers"
copyright = "The aefast developers"
version = release = aefast.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "pages",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "benchmarks/RESULTS.md",
    "benchmarks/results/*.md",
    *("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
]
exclude_patterns = [
    *("build", ".*", "**/.*", "tests", "aefast", "src", "examples", "*.egg-info"),
    *("docs/README.md", "docs/site"),
    *("docs/gallery/*.md5", "docs/gallery/*.py", "docs/gallery/*.ipynb", "docs/gallery/*.json"),
]
suppress_warnings = ["config.cache"]  # the gallery's order is a function

# pages
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4  # those of GitHub
html_math_renderer = "mathml"

# reference
autosummary_generate = True
templates_path = [str(HERE / "site" / "templates")]
default_role = "py:obj"
nitpicky = True
# parameters, attributes and other libraries' names stand in backticks too: only ours must be known
nitpick_ignore_regex = [(r"py:.*", r"(?!aefast\.).*")]
autodoc_typehints = "none"  # docstrings have the types, with shapes and ranges
autodoc_member_order = "groupwise"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # the template has them
numpydoc_validation_checks: set[str] = set()

# gallery
sphinx_gallery_conf = {
    "examples_dirs": str(gallery.stage(ROOT)),
    "gallery_dirs": "docs/gallery",
    "filename_pattern": ".*",
    "image_scrapers": (gallery.scrape,),
    "reset_modules": (),
    "within_subsection_order": "gallery.order",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "plot_gallery": "True",
    "parallel": 2,
    "remove_config_comments": True,
    "thumbnail_size": (480, 360),
    "doc_module": ("aefast",),
    "backreferences_dir": "docs/gallery/backreferences",
    "copyfile_regex": r"^$",
}

# look
html_theme = "pydata_sphinx_theme"
html_title = "aefast"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_extra_path = ["site/root"]
html_copy_source = False
html_sidebars = {"docs/quick-start": []}  # a section of one page
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "aefast"},
    "github_url": "https://github.com/aefast/aefast",
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_context = {"default_mode": "light"}
