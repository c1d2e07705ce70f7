"""Command `aefast walk`: sampling chains of a denoising autoencoder, as a picture or as rows."""

import numpy as np

from aefast._base.files import replacing
from aefast.cli.common import (
    DATA_HELP,
    add_reading,
    add_threads,
    describe,
    image_shape,
    inputs_of,
    read_model_and_data,
    report,
)
from aefast.tables.outputs import check_can_write_file


def add_walk(command):
    describe(
        command,
        _walk,
        "Each chain starts at a row of DATA; in each step it is corrupted, encoded, and a row is "
        "drawn from what is decoded.",
    )
    add = command.add_argument
    add("model", metavar="MODEL", help="a model file, or the folder of a fit")
    add("data", metavar="DATA", help=DATA_HELP)
    add(
        "-o",
        "--out",
        metavar="FILE",
        required=True,
        help="a .png file for a picture, a .npy file for the rows, (steps, chains, features)",
    )
    add("--steps", type=int, default=11, metavar="N", help="of each chain (default: %(default)s)")
    add("--chains", type=int, default=8, metavar="N", help="rows of DATA (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="of all that is drawn")
    add(
        "--image-shape",
        type=image_shape,
        metavar="HxW",
        help="of a row, where it is not a square of at least 64 features",
    )
    add_threads(command)
    add_reading(command)


def _walk(arguments):
    if not arguments.out.endswith((".png", ".npy")):
        raise ValueError(f"--out: expected a .png or a .npy file, got {arguments.out!r}")
    if arguments.chains < 1:
        raise ValueError(f"--chains: expected at least 1, got {arguments.chains}")
    check_can_write_file(arguments.out, inputs_of(arguments))
    model, table = read_model_and_data(arguments)
    if not hasattr(model, "walk_back"):
        raise ValueError(f"{arguments.model} holds {type(model).__name__}, which has no walk_back")
    rows = table.rows[: arguments.chains]
    chain = model.walk_back(rows, arguments.steps, arguments.seed)
    if arguments.out.endswith(".npy"):
        with replacing(arguments.out) as file:
            np.save(file, chain, allow_pickle=False)
    else:
        from aefast import plotting

        shape = arguments.image_shape or table.image_shape or None
        plotting.save(plotting.walk(model, rows, chain, shape), arguments.out)
    facts = {"data": arguments.data, "chains": len(rows), "steps": len(chain)}
    report(arguments, "", facts | {"out": arguments.out})
