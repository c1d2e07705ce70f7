"""Imports of Python and compiled modules, and includes of C headers and bindings.

Both are read as a mapping from names to the names that they import. `faults` checks such a mapping,
so that tests can also check a mapping with an import added.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAMILIES = ("networks", "linear", "sparse_coding", "tables")

# Components that each component of the Python package may import besides itself. Pictures are above
# the families that they draw: plotting/ may import any family, no family imports plotting.
PYTHON_LAYERS = {
    "_base": {"_version"},
    "_version": set(),
    **{family: {"_base"} for family in FAMILIES},
    "public": {"_base", "_version", *FAMILIES},  # aefast/*.py
    "plotting": {"_base", "public", *FAMILIES},
    "interop": {"_base", "_version", "public", *FAMILIES},
    "root": {"_version", "_base", "public", "plotting", "interop", *FAMILIES},  # aefast/__init__.py
    "cli": {"root", "_base", "_version", "public", "plotting", "interop", *FAMILIES},
}

# Folders that each folder of src/ may include besides itself. runtime/dispatch.h, the list of
# instruction sets, is available to every folder with a table of kernels.
KERNEL_FAMILIES = ("autoencoder", "items", "sparse_coding", "statistics")
C_LAYERS = {
    "dispatch": set(),
    "runtime": {"dispatch", "kernels/base"},
    "kernels/base": set(),
    "kernels/products": {"kernels/base", "dispatch"},
    **{
        f"kernels/{family}": {"kernels/products", "kernels/base", "dispatch"}
        for family in KERNEL_FAMILIES
    },
    "bindings": {"kernels/base", "kernels/products"},  # files that several extensions cimport
    "bindings/_runtime": {"runtime", "dispatch", "kernels/base"},
    "bindings/_rows": {"bindings", "kernels/base", "kernels/products"},
    **{
        f"bindings/_{family}": {
            "bindings",
            "kernels/base",
            "kernels/products",
            f"kernels/{family}",
        }
        for family in KERNEL_FAMILIES
    },
}


# ---- checks ----


def faults(imports, component_of, layers):
    """Return the faults of a mapping of imports as sentences: first layers, then circles."""
    found = []
    for importer, names in sorted(imports.items()):
        component = component_of(importer)
        if component not in layers:
            found.append(f"{importer} belongs to no layer: say where it stands")
            continue
        for name in sorted(names):
            other = component_of(name)
            if other != component and other not in layers[component]:
                found.append(f"{importer} must not import {name}")
    return found + [f"circle: {' -> '.join(circle)}" for circle in circles(imports)]


def circles(imports):
    """Return circles of imports, at least one for each set of modules that import each other."""
    found, state = [], {}

    def visit(name, path):
        state[name] = "open"
        for other in sorted(imports.get(name, ())):
            if state.get(other) == "open":
                found.append([*path[path.index(other) :], other])
            elif other not in state:
                visit(other, [*path, other])
        state[name] = "done"

    for name in sorted(imports):
        if name not in state:
            visit(name, [name])
    return found


# ---- Python ----


def python_component(module):
    parts = module.split(".")
    if parts == ["aefast"]:
        return "root"
    if parts[1] == "__main__":
        return "cli"
    if parts[1] == "_version":
        return "_version"
    is_file = len(parts) == 2 and not (ROOT / "aefast" / parts[1]).is_dir()
    return "public" if is_file else parts[1]


def python_imports():
    """Return the imports of every module, with lazy imports and imports of compiled modules."""
    sources = {_module_name(path): path.read_text() for path in (ROOT / "aefast").rglob("*.py")}
    extensions = extension_modules()
    known = {*sources, *extensions}
    found = {module: imported_by(source, known) for module, source in sources.items()}
    for module, stem in extensions.items():
        source = (ROOT / "src/bindings" / f"{stem}.pyx").read_text()
        lines = re.findall(r"^(?:from aefast|import aefast).*", source, re.MULTILINE)
        found[module] = imported_by("\n".join(lines), known)
    return found


def extension_modules():
    """Map compiled modules to the names of their files in src/bindings without the suffix."""
    text = (ROOT / "setup.py").read_text()
    pairs = re.findall(r'"([\w.]+)",\s*\[\s*"src/bindings/(\w+)\.pyx"', text)
    return {f"aefast.{module}": stem for module, stem in pairs}


def _module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_by(source, known):
    """Return the modules among `known` that a source imports, at its top or anywhere inside.

    Imports under `if TYPE_CHECKING:` do not count.
    """
    found = set()
    for node in _running_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {_nearest(alias.name, known) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                found.add(_nearest(f"{node.module}.{alias.name}", known))
    return found - {None}


def _running_nodes(node):
    """Yield all nodes except those under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from (other, *_running_nodes(other))
        else:
            yield child
            yield from _running_nodes(child)


def _nearest(name, known):
    """Return the module that a dotted name denotes or belongs to, or None if it is not known."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


# ---- C and Cython ----


def c_component(file):
    """Return the layer of a file of src/, given by its path there."""
    if file == "runtime/dispatch.h":
        return "dispatch"
    path = Path(file)
    if path.parts[0] == "kernels":
        return "/".join(path.parts[:2])
    if path.parts[0] == "runtime":
        return "runtime"
    stems = [stem for stem in _extension_stems() if path.stem == stem or _serves(path.stem, stem)]
    return f"bindings/{stems[0]}" if stems else "bindings"


def _serves(stem, extension):
    """Return whether a file of src/bindings belongs to one extension, by its name or an include."""
    text = (ROOT / "src/bindings" / f"{extension}.pyx").read_text()
    return stem.startswith(f"{extension}_") or f'include "{stem}.pxi"' in text


def _extension_stems():
    return sorted(extension_modules().values())


def c_imports():
    """Return, for every file of src/, the headers it includes and the files it cimports from."""
    found = {}
    for path in (ROOT / "src").rglob("*.*"):
        if path.suffix in (".c", ".h", ".pyx", ".pxd", ".pxi"):
            found[path.relative_to(ROOT / "src").as_posix()] = included_by(path.read_text())
    return found


def included_by(text):
    """Return the files of src/ that a C or Cython source includes or cimports from."""
    headers = re.findall(
        r'^\s*(?:#\s*include|cdef extern from)\s+"((?:kernels|runtime)/.*?)"', text, re.MULTILINE
    )
    cimports = re.findall(r"^from (_\w+) cimport", text, re.MULTILINE)
    parts = re.findall(r'^include "(\w+\.pxi)"', text, re.MULTILINE)
    return {*headers, *(f"bindings/{name}.pxd" for name in cimports)} | {
        f"bindings/{name}" for name in parts
    }
