"""The layout of the tables of kernels, as the emulation of AVX-512 reads it from the headers."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from emulation.tables import SOURCES, TABLES, layout, slots_of

CHECKOUT = Path(__file__).parents[2]
NOTHING_EXECUTED = 77  # status of .ci/emulated


def test_every_table_is_emulated():
    declared = {
        (path.relative_to(SOURCES).as_posix(), struct)
        for path in SOURCES.rglob("*.h")
        for struct in re.findall(r"\} (\w+_kernels);", path.read_text(encoding="utf-8"))
    }
    assert declared == {(table.header, table.struct) for table in TABLES}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.prefix)
def test_the_compiler_has_the_same_layout(table, tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    slots, size = layout((SOURCES / table.header).read_text(encoding="utf-8"), table.struct)
    assert slots
    claims = [f"sizeof({table.struct}) == {size}"]
    claims += [f"offsetof({table.struct}, {slot.name}) == {slot.offset}" for slot in slots]
    program = tmp_path / "layout.c"
    includes = f'#include <stddef.h>\n#include "{table.header}"\n'
    command = [compiler, "-std=gnu17", "-fsyntax-only", "-DAEFAST_ISA=avx512", f"-I{SOURCES}"]
    command += ["-DAEFAST_REAL_BITS=32", str(program)]

    def compiles(claims):
        asserts = "\n".join(f'_Static_assert({claim}, "");' for claim in claims)
        program.write_text(includes + asserts, encoding="utf-8")
        return subprocess.run(command, capture_output=True, text=True)

    done = compiles(claims)
    assert done.returncode == 0, done.stderr
    assert compiles([f"sizeof({table.struct}) == {size + 8}"]).returncode != 0


def test_a_new_member_moves_the_others():
    header = """
    typedef struct {
        int n_a, n_b; /* counts; of two tables */
        int n_c;
        double (*link)(int output, double mean);
        const char *(*name)(int);
    } some_kernels;
    """
    slots, size = layout(header, "some_kernels")
    assert [(slot.name, slot.offset) for slot in slots] == [("link", 16), ("name", 24)]
    assert size == 32
    slots, _ = layout(header.replace("int n_c;", "int n_c; void (*new)(void *);"), "some_kernels")
    assert [(slot.name, slot.offset) for slot in slots][1:] == [("link", 24), ("name", 32)]


@pytest.mark.parametrize("member", ["float x", "uint8_t (*f)(int)", "struct job *job"])
def test_members_of_an_unknown_kind_are_refused(member):
    with pytest.raises((ValueError, KeyError)):
        layout(f"typedef struct {{ {member}; }} some_kernels;", "some_kernels")


def test_all_kinds_of_arguments_are_read():
    """A function with more integers than registers, and doubles between them."""
    (sample,) = (slot for slot in slots_of(TABLES[0]) if slot.name == "output_sample")
    assert len(sample.prototype._argtypes_) == 9


@pytest.mark.emulated
def test_all_cases_by_the_emulator():
    done = subprocess.run(
        ["bash", CHECKOUT / ".ci" / "emulated", "all"],
        env={"AEFAST_PYTHON": sys.executable, **os.environ},
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    if done.returncode == NOTHING_EXECUTED:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
