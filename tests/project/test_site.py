"""The site: the reference has every public name, the pages of other libraries every parameter."""

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest
from sklearn import decomposition, neural_network

import aefast
from aefast._base.foreign_names import Alias
from aefast.sparse_coding import foreign_names

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MODULES = sorted(set(aefast._MODULES) - {"anomaly", "imputation", "table_autoencoder"})
ELSEWHERE = (  # what aefast/__init__.py does not list, for they need other libraries
    *("aefast.torch", "aefast.dask"),
)
REQUIRES = {"aefast.torch": "torch", "aefast.dask": "distributed"}
PAGES_OF_MODELS = {
    "AnomalyDetector": "anomalies",
    "Autoencoder": "recipe",
    "AutoencoderCV": "defaults",
    "AutoencoderClassifier": "labels",
    "AutoencoderEnsemble": "ensembles",
    "AutoencoderRegressor": "labels",
    "DictionaryLearning": "dictionary-learning",
    "FactorAnalysis": "factor-models",
    "Imputer": "imputation",
    "ItemAutoencoder": "recommenders",
    "MarginalizedAutoencoder": "linear-autoencoders",
    "MixtureOfFactorAnalyzers": "mixtures",
    "MixtureOfProbabilisticPCA": "mixtures",
    "MultinomialAutoencoder": "recommenders",
    "ProbabilisticPCA": "factor-models",
    "SparseCoder": "sparse-coding",
    "StackedAutoencoder": "training",
    "TableAutoencoder": "tables",
    "TableEncoder": "tables",
    "Whitening": "statistics",
}
NO_PARAMETERS = {"Gradients", "GoodnessOfFit", "SamplingAdequacy", "SphericityTest"}  # results


def names_in_reference():
    """Return the names that the tables of the reference list, with their modules."""
    found = set()
    for page in (DOCS / "reference").glob("*.rst"):
        text = page.read_text(encoding="utf-8")
        (module,) = re.findall(r"^\.\. currentmodule:: (\S+)$", text, re.MULTILINE)
        for table in re.findall(r"^\.\. autosummary::\n(.*?)(?=^\S|\Z)", text, re.M | re.S):
            found |= {f"{module}.{name}" for name in re.findall(r"^   (\w+)$", table, re.MULTILINE)}
    return found


def public_objects():
    """Yield the qualified name and the value of each public function and class."""
    for name in aefast.__all__:
        value = getattr(aefast, name)
        if callable(value):
            yield f"aefast.{name}", value
    for module in [f"aefast.{name}" for name in MODULES]:
        loaded = importlib.import_module(module)
        for name in loaded.__all__:
            if callable(getattr(loaded, name)):
                yield f"{module}.{name}", getattr(loaded, name)


OBJECTS = dict(public_objects())


def test_the_reference_has_every_public_name():
    listed = {name.rpartition(".")[2]: name for name in names_in_reference()}
    missing = [name for name in OBJECTS if name.rpartition(".")[2] not in listed]
    assert missing == []
    for name in names_in_reference():
        module, _, attribute = name.rpartition(".")
        if module in REQUIRES or module.startswith("aefast.interop"):
            continue
        assert attribute in dir(importlib.import_module(module)), name


def imported(code):
    """Return the qualified names that code imports from modules of aefast."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aefast"):
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def test_the_reference_has_every_name_that_readers_are_shown():
    listed = names_in_reference() | {f"aefast.{name}" for name in aefast._MODULES}
    listed |= {"aefast.dask", "aefast.torch", "aefast.interop.onnx"}
    codes = [path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.py")]
    for page in DOCS.rglob("*.md"):
        if "develop" not in page.parts:
            text = page.read_text(encoding="utf-8")
            codes += re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert {name for code in codes for name in imported(code)} - listed == set()


@pytest.mark.parametrize("module", ELSEWHERE)
def test_modules_that_need_other_libraries_are_listed(module):
    pytest.importorskip(REQUIRES[module])
    public = {f"{module}.{name}" for name in importlib.import_module(module).__all__}
    assert public <= names_in_reference()


def test_each_estimator_has_a_page():
    estimators = {name for name in aefast.__all__ if hasattr(getattr(aefast, name), "fit")}
    assert set(PAGES_OF_MODELS) == estimators


@pytest.mark.parametrize("name", PAGES_OF_MODELS)
def test_the_page_of_a_model_is_complete(name):
    """It has a formula, an example, a picture and references; one page says when to take it."""
    text = (DOCS / "guide" / f"{PAGES_OF_MODELS[name]}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    assert re.search(r"^\$\$.+|^    .* = ", prose, re.MULTILINE), "no formula"
    assert any(f"{name}(" in block for block in blocks), "no example"
    assert re.search(r"^!\[[^]]+\]\([\w.-]+\)$", prose, re.MULTILINE), "no picture"
    _, _, references = prose.partition("\n## References\n")
    assert re.search(r"\(\d{4}\)", references), "no references"
    rows = (DOCS / "which-model.md").read_text(encoding="utf-8").splitlines()
    assert any(f"`{name}`" in row for row in rows), "not among the models to choose from"


def documented(docstring):
    """Return the parameters that a docstring documents, or None where it has no such section."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", docstring, re.M | re.S)
    if section is None:
        return None
    heads = re.findall(r"^(\S[^:\n]*?)(?: :.*)?$", section[1], re.MULTILINE)
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def methods(value):
    """Yield the public methods of a class that are aefast's."""
    for name, member in inspect.getmembers(value, callable):
        inner = getattr(member, "__func__", member)
        if not name.startswith("_") and getattr(inner, "__module__", "").startswith("aefast"):
            yield name, inner


def signatures():
    """Yield names and what is documented and taken there."""
    for name, value in OBJECTS.items():
        if isinstance(value, type) and issubclass(value, (tuple, Exception)):
            continue
        yield name, value, inspect.getdoc(value) or ""
        if isinstance(value, type):
            for method, function in methods(value):
                yield f"{name}.{method}", function, inspect.getdoc(function) or ""


SIGNATURES = {name: (value, text) for name, value, text in signatures()}


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_each_parameter_is_documented_and_no_other(name):
    value, text = SIGNATURES[name]
    there = documented(text)
    taken = {p.lstrip("*") for p in inspect.signature(value).parameters} - {"self", "cls"}
    taken = {p for p in taken if not p.startswith("_")}
    if there is None:  # sentences say it all
        there = {p for p in taken if f"`{p}`" in text}
    assert taken - there == set(), "not documented"
    assert there - taken == set(), "documented, but not taken"


def mapped_names(heading):
    """Return the first two cells of each row of the tables in a section of the page of names."""
    page = (DOCS / "coming-from.md").read_text(encoding="utf-8")
    _, *sections = re.split(r"^## ", page, flags=re.MULTILINE)
    (section,) = (part for part in sections if heading in part.partition("\n")[0].split())
    rows = [line.split("|") for line in section.splitlines() if line.startswith("|")]
    return [(row[1], row[2].strip()) for row in rows]


@pytest.mark.parametrize(
    "cls",
    [
        neural_network.MLPRegressor,
        decomposition.DictionaryLearning,
        decomposition.MiniBatchDictionaryLearning,
        decomposition.SparseCoder,
        decomposition.sparse_encode,
        decomposition.FactorAnalysis,
        decomposition.PCA,
    ],
    ids=lambda cls: cls.__name__,
)
def test_parameters_of_scikit_learn_are_mapped(cls):
    """The first column of a class' table has each of its parameters."""
    cells = " ".join(cell for cell, _ in mapped_names(cls.__name__))
    assert set(inspect.signature(cls).parameters) <= set(re.findall(r"`(\w+)`", cells))


def test_names_that_are_accepted_are_those_in_italics():
    for section, of in (
        ("MiniBatchDictionaryLearning", ["DICTIONARY_LEARNING"]),
        ("SparseCoder", ["SPARSE_CODER", "SPARSE_ENCODE"]),
    ):
        known = [row for table in of for row in getattr(foreign_names, table).items()]
        aliases = {name: alias.parameter for name, alias in known if isinstance(alias, Alias)}
        shown = {
            name: ours
            for cell, ours in mapped_names(section)
            for name in re.findall(r"\*`(\w+)`\*", cell)
        }
        assert {name: f"`{parameter}`" for name, parameter in aliases.items()} == shown


# parameters of its functions but the rows: the package is none that the tests have
SPAMS = """
    lasso D Q q return_reg_path L lambda1 lambda2 mode pos ols numThreads max_length_path verbose
        cholesky
    lassoMask D B L lambda1 lambda2 mode pos numThreads verbose
    lassoWeighted D W L lambda1 mode pos numThreads verbose
    omp D L eps lambda1 return_reg_path numThreads
    ompMask D B L eps lambda1 return_reg_path numThreads
    cd D A0 lambda1 mode itermax tol numThreads
    somp D list_groups L eps numThreads
    l1L2BCD D list_groups lambda1 mode itermax tol numThreads
    trainDL return_model model D numThreads batchsize K lambda1 lambda2 iter t0 mode posAlpha posD
        expand modeD whiten clean verbose gamma1 gamma2 rho iter_updateD stochastic_deprecated
        modeParam batch log_deprecated logName
    nmf model numThreads batchsize K iter t0 clean rho modeParam batch
    nnsc model lambda1 numThreads batchsize K iter t0 clean rho modeParam batch
"""


def test_functions_of_spams_are_mapped():
    cells = " ".join(cell for cell, _ in mapped_names("SPAMS"))
    assert set(SPAMS.split()) <= set(re.findall(r"\w+", cells))


def test_tables_of_contents_name_files():
    for page in DOCS.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^<!-- toctree:\n(.*?)-->$", text, re.MULTILINE | re.DOTALL):
            for name in block.split():
                if name.startswith("gallery/") or name.endswith("*"):
                    continue  # made by the build; any
                base = ROOT / name[1:] if name.startswith("/") else page.parent / name
                assert base.with_suffix(".md").exists() or base.with_suffix(".rst").exists(), name


def test_index_pages_link_to_what_they_list():
    """GitHub shows links, and not tables of contents."""
    for page in DOCS.rglob("index.md"):
        text = page.read_text(encoding="utf-8")
        (block,) = re.findall(r"^<!-- toctree:\n(.*?)-->$", text, re.MULTILINE | re.DOTALL)
        linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)}
        linked = {Path(page.parent, target).resolve() for target in linked}
        for name in block.split():
            base = ROOT / name[1:] if name.startswith("/") else page.parent / name
            if name.partition("/")[0] not in ("gallery", "reference"):
                assert base.with_suffix(".md").resolve() in linked, name


def test_the_gallery_shows_what_it_orders(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "site"))
    monkeypatch.setitem(sys.modules, "sphinx_gallery", type(sys)("sphinx_gallery"))
    scrapers = type(sys)("sphinx_gallery.scrapers")
    scrapers.figure_rst = None
    monkeypatch.setitem(sys.modules, "sphinx_gallery.scrapers", scrapers)
    gallery = importlib.import_module("gallery")
    shown = {path.stem for path in (ROOT / "examples").glob("*.py") if gallery.in_gallery(path)}
    assert len(shown) >= 15 and set(gallery.ORDER) == shown
