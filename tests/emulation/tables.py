"""Layout of the tables of kernels, derived from the headers in src/.

A table is a C struct of ints and pointers to functions. Its members are read from the header, so
that a member which is added, moved or changed is followed here without another line.
"""

import ctypes
import re
from pathlib import Path
from typing import NamedTuple

ISA = "avx512"  # the instruction set whose instances are emulated
SOURCES = Path(__file__).parents[2] / "src"


class Table(NamedTuple):
    """A type of table: where it is declared, and which compiled module has its instances."""

    header: str
    struct: str
    prefix: str  # of the instances' names, as in statistics_f32_avx512
    extension: str
    precisions: tuple[str, ...] = ("f32", "f64")


TABLES = [
    Table(
        "kernels/autoencoder/autoencoder.h",
        "autoencoder_kernels",
        "autoencoder",
        "networks._autoencoder",
        ("f32", "f64", "bf16"),
    ),
    Table(
        "kernels/sparse_coding/sparse_coding.h",
        "sparse_coding_kernels",
        "sparse_coding",
        "sparse_coding._sparse_coding",
    ),
    Table(
        "kernels/statistics/statistics.h", "statistics_kernels", "statistics", "_base._statistics"
    ),
    Table("kernels/items/items.h", "items_kernels", "items", "_base._items"),
    Table("kernels/products/scan.h", "scan_kernels", "scan", "_base._rows"),
    Table("runtime/peak.h", "peak_kernels", "peak", "_base._runtime"),
]


class Slot(NamedTuple):
    """A pointer to a function: its place in the table, and its type."""

    name: str
    offset: int
    prototype: type  # of ctypes.CFUNCTYPE


VALUES = {"int": ctypes.c_int, "int64_t": ctypes.c_int64, "double": ctypes.c_double}
FUNCTION = re.compile(r"(?P<result>.+?)\(\*(?P<name>\w+)\)\((?P<arguments>.*)\)")
NUMBERS = re.compile(r"(?P<type>int|int64_t) (?P<names>\w+(?:, \w+)*)")


def value_type(declaration):
    """Return the ctypes type of a result or an argument; None for void."""
    if "*" in declaration:
        return ctypes.c_void_p
    words = declaration.split()
    if words == ["void"]:
        return None
    return VALUES[words[0]]


def members(text, struct):
    """Return the declarations of a struct's members in the text of a header, without comments."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    body = re.search(r"typedef struct \{([^{}]*)\} " + struct + ";", text)
    if body is None:
        raise ValueError(f"no struct {struct}")
    return [" ".join(member.split()) for member in body[1].split(";") if member.strip()]


def layout(text, struct):
    """Return the slots of a struct in the text of a header, and the size of the struct."""
    slots, at = [], 0
    for member in members(text, struct):
        if function := FUNCTION.fullmatch(member):
            at = -(-at // 8) * 8
            types = [value_type(function["result"])]
            types += map(value_type, function["arguments"].split(", "))
            slots.append(Slot(function["name"], at, ctypes.CFUNCTYPE(*types)))
            at += 8
        elif numbers := NUMBERS.fullmatch(member):
            size = ctypes.sizeof(VALUES[numbers["type"]])
            at = -(-at // size) * size + size * len(numbers["names"].split(", "))
        else:
            raise ValueError(f"unknown kind of member of {struct}: {member}")
    return slots, -(-at // 8) * 8


def slots_of(table):
    """Return the slots of a type of table, as its header declares them."""
    text = (SOURCES / table.header).read_text(encoding="utf-8")
    return layout(text, table.struct)[0]


def instances_of(table):
    """Return the names of a type of table's instances for AVX-512."""
    return [f"{table.prefix}_{precision}_{ISA}" for precision in table.precisions]
