"""Fitted models as headers in C99 that depend on nothing but math.h."""

import re
from typing import Any

import numpy as np

from aefast._base.errors import shown
from aefast._base.files import replacing
from aefast._base.paths import as_path
from aefast._base.types import PathLike
from aefast._version import __version__
from aefast.interop import c_formulas
from aefast.interop.c_formulas import literal
from aefast.interop.feed_forward import Block, Dense, FeedForward, feed_forward

NUMBERS_A_LINE = 6


def export_c(model: Any, path: PathLike, *, name: str = "model") -> None:
    """Write a fitted model as a header in C99: codes, reconstruction, score of one row.

    The header defines, with NAME in capitals and name as given::

        enum { NAME_N_FEATURES = d, NAME_N_COMPONENTS = k };
        void  name_encode(const float *x, float *h);             x (d,), h (k,): `transform`
        void  name_decode(const float *h, float *x_hat);         `inverse_transform`
        void  name_reconstruct(const float *x, float *x_hat);    `reconstruct`
        float name_score(const float *x);                        `score_samples`, in nats

    as far as the model has these methods. Functions are ``static inline``, have no state, allocate
    nothing (arrays of one layer's width lie on the stack), and need no library but the C library's
    ``math.h``. All arithmetic is in float: results are those of the model for a row of float32, to
    rounding. Parameters of float64 are rounded to float32. Scalings, replacements of missing
    entries (NaN) and logarithms are part of it; entries are not checked.

    Parameters
    ----------
    model : estimator
        A fitted Autoencoder, AutoencoderCV, StackedAutoencoder, ProbabilisticPCA, FactorAnalysis,
        Whitening, MarginalizedAutoencoder or ItemAutoencoder.
    path : str or path-like
        File to write; it is written beside and renamed into place.
    name : str, default="model"
        Prefix of all names in the header: a C identifier.

    Raises
    ------
    TypeError
        For a model of another kind.
    ValueError
        For a user-defined distribution, a name that is no identifier, or parameters that overflow
        float32.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from sklearn.datasets import load_iris
    >>> import aefast
    >>> model = aefast.Autoencoder(2, random_state=0).fit(load_iris().data)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "iris.h"
    >>> aefast.export_c(model, path, name="iris")
    >>> "void iris_encode(const float *x, float *h)" in path.read_text()
    True
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(
            f"name must be a C identifier that begins with a letter, got {shown(name)}"
        )
    text = header(feed_forward(model), name, type(model).__name__)
    with replacing(as_path(path)) as file:
        file.write(text.encode("ascii"))


def header(forward: FeedForward, name: str, kind: str) -> str:
    """Return the text of the header."""
    parts = _Parts(name)
    functions = [_encode(forward, parts)]
    if forward.decoder:
        functions.append(_decode(forward, parts))
    if forward.reconstruction:
        functions += _reconstruct(forward, parts)
    if forward.reconstruction and (forward.decoder or forward.marginal):
        functions.append(_score(forward, parts))
    guard = f"{name.upper()}_H"
    lines = [
        f"/* {kind}: {forward.n_features} features, {forward.n_components} components.",
        f"   Written by aefast {__version__}. C99 and math.h, float; no state, no allocation. */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        "#include <math.h>",
        "",
        f"enum {{ {name.upper()}_N_FEATURES = {forward.n_features}, "
        f"{name.upper()}_N_COMPONENTS = {forward.n_components} }};",
        "",
        *parts.arrays,
        *(c_formulas.HELPERS[helper].replace("NAME", name) for helper in parts.helpers()),
        *functions,
        f"#endif /* {guard} */",
        "",
    ]
    return "\n".join(lines)


class _Parts:
    """Arrays and helper functions that the functions of a header use, each written once."""

    def __init__(self, name):
        self.name, self.arrays = name, []
        self._places: dict[Any, str] = {}
        self._numbers: dict[str, int] = {}
        self._used: set[str] = set()

    def array(self, values: Any, what: str, kind: str = "float") -> str:
        """Return the name of a constant array, which is added unless it is there already."""
        key = _key(values, kind)
        if key not in self._places:
            number = self._numbers[what] = self._numbers.get(what, -1) + 1
            label = self._places[key] = f"{self.name}_{what}{number}"
            self.arrays.append(_array_text(values, label, kind))
        return self._places[key]

    def find(self, values: Any) -> str | None:
        """Return the name of a constant array that is there already, or None."""
        return self._places.get(_key(values, "float"))

    def uses(self, helper: str) -> str:
        """Return the name of a helper function, which is added unless it is there already."""
        self._used.add(helper)
        return f"{self.name}_{helper}"

    def helpers(self):
        return [helper for helper in c_formulas.HELPERS if helper in self._used]


def _key(values, kind):
    return kind, np.shape(values), np.asarray(values).tobytes()


def _array_text(values, label, kind):
    if kind == "int":
        literals = [str(int(value)) for value in values]
    else:
        with np.errstate(over="ignore"):
            narrow = np.asarray(values, np.float64).ravel().astype(np.float32)
        if not np.isfinite(narrow).all():
            raise ValueError("a parameter of the model overflows float32, in which C computes")
        literals = [literal(value).strip("()") for value in narrow]
    lines = [
        "    " + ", ".join(literals[first : first + NUMBERS_A_LINE]) + ","
        for first in range(0, len(literals), NUMBERS_A_LINE)
    ]
    text = "\n".join(lines)
    return f"static const {kind} {label}[{len(literals)}] = {{\n{text}\n}};\n"


# ---- functions of the header ----


def _encode(forward, parts):
    body = [*_reading(forward, parts), *_chain(forward.encoder, parts, "read", "h", "layer")]
    return _function("void", "encode", "const float *x, float *h", body, parts)


def _decode(forward, parts):
    body = [
        *_chain(forward.decoder, parts, "h", "x_hat", "layer"),
        *_means(forward, parts, "1.0f"),
    ]
    return _function("void", "decode", "const float *h, float *x_hat", body, parts)


def _reconstruct(forward, parts):
    """Return the function of pre-activations, and that of reconstructions."""
    eta = [
        *_reading(forward, parts),
        *_chain(forward.reconstruction, parts, "read", "eta", "layer"),
    ]
    means = [f"    {parts.name}_eta(x, x_hat);", *_means(forward, parts, None)]
    return [
        _function("void", "eta", "const float *x, float *eta", eta, parts),
        _function("void", "reconstruct", "const float *x, float *x_hat", means, parts),
    ]


def _function(result, name, arguments, body, parts):
    lines = "\n".join(body)
    return f"static inline {result} {parts.name}_{name}({arguments})\n{{\n{lines}\n}}\n"


def _reading(forward: FeedForward, parts: _Parts) -> list[str]:
    """Return statements that compute `read` (d,), what the encoder reads of x."""
    d = forward.n_features
    lines = [f"    float read[{d}];", f"    for (int j = 0; j < {d}; ++j) {{"]
    lines.append("        float v = x[j];")
    if forward.fill is not None:
        lines.append(f"        v = isnan(v) ? {parts.array(forward.fill, 'fill')}[j] : v;")
    if forward.shift is not None and forward.scale is not None:
        shift, factor = (
            parts.array(forward.shift, "shift"),
            parts.array(1 / forward.scale, "factor"),
        )
        lines.append(f"        v = (v - {shift}[j]) * {factor}[j];")
    if forward.log_offset is not None and forward.log_centre is not None:
        offset = parts.array(forward.log_offset, "log_offset")
        centre = parts.array(forward.log_centre, "log_centre")
        lines.append(f"        if ({offset}[j] > 0.0f)")
        lines.append(f"            v = logf((v > 0.0f ? v : 0.0f) + {offset}[j]) - {centre}[j];")
    lines += ["        read[j] = v;", "    }"]
    if forward.normed:
        lines += [
            "    float squares = 0.0f;",
            f"    for (int j = 0; j < {d}; ++j)",
            "        squares += read[j] * read[j];",
            f"    for (int j = 0; squares > 0.0f && j < {d}; ++j)",
            "        read[j] /= sqrtf(squares);",
        ]
    return lines


def _chain(layers: tuple[Dense, ...], parts: _Parts, start: str, end: str, what: str) -> list[str]:
    """Return statements that carry `start` through layers into `end`."""
    lines, source = [], start
    for number, layer in enumerate(layers):
        n_out, n_in = layer.weights.shape
        target = end if number == len(layers) - 1 else f"{what}{number}"
        if target != end:
            lines.append(f"    float {target}[{n_out}];")
        W, at = parts.find(layer.weights.T), f"i * {n_out} + j"  # tied: the encoder's array
        if W is None:
            W, at = parts.array(layer.weights, f"{what}_weights"), f"j * {n_in} + i"
        b = parts.array(layer.bias, f"{what}_bias")
        factor = source + "[i]"
        if layer.gain is not None:
            gain = parts.array(layer.gain, f"{what}_gain")
            factor = f"(({factor} - {literal(layer.offset)}) * {gain}[i])"
        value = c_formulas.activation(layer.activation, parts)
        lines += [
            f"    for (int j = 0; j < {n_out}; ++j) {{",
            f"        float a = {b}[j];",
            f"        for (int i = 0; i < {n_in}; ++i)",
            f"            a += {W}[{at}] * {factor};",
            f"        {target}[j] = {value};",
            "    }",
        ]
        if layer.top_k:
            lines.append(f"    {parts.uses('keep_largest')}({target}, {n_out}, {layer.top_k});")
        source = target
    return lines


def _columns(block: Block, parts: _Parts) -> tuple[str, int]:
    """Return the expression of a column's number in a block, and how many there are."""
    first, n = int(block.columns[0]), len(block.columns)
    if np.array_equal(block.columns, np.arange(first, first + n)):
        return (f"{first} + i" if first else "i"), n
    return f"{parts.array(block.columns, 'columns', 'int')}[i]", n


def _means(forward, parts, trials):
    """Return statements that turn pre-activations in x_hat into means, in the user's units.

    `trials` is the number of trials of a multinomial; None: the sum of the row x.
    """
    lines = []
    for block in forward.blocks:
        column, n = _columns(block, parts)
        statements = c_formulas.mean(block.distribution, parts, column, n, trials)
        lines += statements
    if forward.shift is not None and forward.scale is not None:
        shift, scale = parts.array(forward.shift, "shift"), parts.array(forward.scale, "scale")
        lines.append(f"    for (int j = 0; j < {forward.n_features}; ++j)")
        lines.append(f"        x_hat[j] = x_hat[j] * {scale}[j] + {shift}[j];")
    return lines


def _score(forward, parts):
    d, name = forward.n_features, parts.name
    lines = [f"    float eta[{d}], loss = 0.0f;"]
    if forward.marginal is not None:
        k, marginal = forward.n_components, forward.marginal
        noise = parts.array(marginal.noise, "precision")
        prior = parts.array(marginal.prior, "prior")
        lines += [
            f"    float h[{k}];",
            f"    {name}_encode(x, h);",
            f"    {name}_eta(x, eta);",
            f"    for (int j = 0; j < {d}; ++j)",
            f"        loss += 0.5f * (x[j] - eta[j]) * (x[j] - eta[j]) * {noise}[j];",
            f"    for (int i = 0; i < {k}; ++i)",
            f"        for (int j = 0; j < {k}; ++j)",
            f"            loss += 0.5f * h[i] * {prior}[i * {k} + j] * h[j];",
            f"    return {literal(marginal.constant)} - loss;",
        ]
        return _function("float", "score", "const float *x", lines, parts)
    lines.append(f"    {name}_eta(x, eta);")
    for block in forward.blocks:
        column, n = _columns(block, parts)
        scaled = forward.shift is not None and block.distribution in c_formulas.REAL
        value = f"x[{column}]"
        if scaled:
            shift, factor = (
                parts.array(forward.shift, "shift"),
                parts.array(1 / forward.scale, "factor"),
            )
            log_scale = parts.array(np.log(forward.scale), "log_scale")
            value = f"(x[{column}] - {shift}[{column}]) * {factor}[{column}]"
        lines += c_formulas.loss(block, parts, column, n, value)
        if scaled:
            lines += [
                f"    for (int i = 0; i < {n}; ++i)",
                f"        loss += isnan(x[{column}]) ? 0.0f : {log_scale}[{column}];",
            ]
    lines.append("    return -loss;")
    return _function("float", "score", "const float *x", lines, parts)
