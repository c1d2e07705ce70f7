"""Files of tables as partitions: each is read where its rows are needed."""

from collections.abc import Sequence
from typing import Any

from dask.delayed import delayed

from aefast._base.partitions import Part
from aefast.interop.distributed.parts import as_part
from aefast.tables.readers import Options, read_table
from aefast.tables.sources import Source


def parts_of_files(sources: Sequence[Source], options: Options, scale: bool = False) -> list[Any]:
    """Return a task for each file, whose result is a `Part`.

    Parameters
    ----------
    sources : sequence of Source
        Files that workers find under the same names.
    options : Options
        How to read; `numeric` tables.
    scale : bool
        Whether uint8 values are divided by 255.
    """
    read = delayed(_part_of_file, pure=False)
    names = [source.name for source in sources]
    return [read(name, options, scale, number) for number, name in enumerate(names)]


def _part_of_file(name: str, options: Options, scale: bool, number: int) -> Part:
    table = read_table(name, options)
    table = table.scaled() if scale else table
    columns = table.feature_names
    part = as_part(table.rows, None, None, number)
    return part._replace(columns=None if columns is None else tuple(columns))
