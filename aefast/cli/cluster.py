"""Options of commands that fit on a cluster of Dask, or on several processes of this machine."""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

from aefast.cli.common import text_of

_NUMBER = re.compile(r"^partition (\d+): ")


def add_cluster(command):
    """Add --dask and --workers."""
    group = command.add_argument_group("more rows than memory, more machines than one")
    add = group.add_mutually_exclusive_group().add_argument
    add(
        "--dask",
        metavar="ADDRESS",
        help="fit on the cluster of Dask whose scheduler is at ADDRESS (tcp://host:8786): the "
        "files of DATA are read by its workers, which find them under the same names",
    )
    add(
        "--workers",
        type=int,
        metavar="N",
        help="fit in N processes of this machine, each of which reads some of the files of DATA",
    )


def is_asked(arguments):
    """Return whether a command is to fit on a cluster."""
    return arguments.dask is not None or arguments.workers is not None


@contextlib.contextmanager
def engine_of_files(arguments) -> Iterator[Any]:
    """Yield the engine whose partitions are the files of DATA; errors name the file."""
    from aefast._base.exchange import interop
    from aefast.tables.readers import Options
    from aefast.tables.selection import Choice
    from aefast.tables.sources import STANDARD_INPUT, sources_of

    option = "--dask" if arguments.dask is not None else "--workers"
    if arguments.workers is not None and arguments.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {arguments.workers}")
    if arguments.data in (STANDARD_INPUT, "digits"):
        raise ValueError(f"{option} reads files by their names, and {arguments.data!r} is none")
    sources = sources_of(os.path.abspath(arguments.data))
    choice = Choice(arguments.columns, arguments.drop, arguments.id, None)
    options = Options(choice, text_of(arguments), gaps=True, numeric=True)
    try:
        files, cluster = interop("distributed.files"), interop("distributed.cluster")
    except ImportError as error:
        raise ImportError(f"{option} needs Dask: pip install 'aefast[dask]'") from error
    parts = files.parts_of_files(sources, options, arguments.scale)
    with _client(arguments) as client:
        try:
            yield cluster.Cluster(client, parts)
        except (ValueError, TypeError, RuntimeError, FloatingPointError) as error:
            found, text = _NUMBER.match(str(error)), str(error)
            if found is not None:
                text = f"{sources[int(found[1])].name}: {text[found.end() :]}"
            elif not isinstance(error, RuntimeError):
                raise
            raise ValueError(text) from error


@contextlib.contextmanager
def _client(arguments):
    from distributed import Client, LocalCluster

    if arguments.dask is not None:
        try:
            client = Client(arguments.dask, set_as_default=False, timeout=30)
        except (OSError, ValueError) as error:
            raise ConnectionError(f"--dask {arguments.dask}: no scheduler answers") from error
        with client:
            yield client
        return
    options = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    with LocalCluster(arguments.workers, processes=True, **options) as local:
        with Client(local, set_as_default=False) as client:
            yield client
