"""Tables of mixed columns for `aefast fit`: as a matrix while it trains, as a table model after."""

import argparse
import dataclasses
import re
from typing import Any

import numpy as np

import aefast
from aefast.cli.held_out import hold_out
from aefast.tables.roles import CHOICES, LEVELLED

ROLE_HELP = (
    f"the role of a column, where the one inferred is not meant: {', '.join(CHOICES)}, or levels "
    "in order, as 'size=S<M<L'; may be given again"
)


def add_roles(command):
    command.add_argument(
        "--role", type=role, action="append", default=[], metavar="NAME=ROLE", help=ROLE_HELP
    )


def role(text):
    """Return a column and its role; levels become a list."""
    name, separator, kind = text.rpartition("=")
    levels = re.split(r"\s*<\s*", kind.strip())
    if not separator or not (kind in CHOICES or len(levels) > 1):
        raise argparse.ArgumentTypeError(
            f"expected NAME=ROLE with a role among {', '.join(CHOICES)}, got {text!r}"
        )
    return name, (levels if len(levels) > 1 else kind)


def texts_of(roles):
    """Return the columns to read as text: those of levels."""
    return tuple(name for name, kind in roles if isinstance(kind, list) or kind in LEVELLED[1:])


def texts_of_model(model):
    """Return the columns that were text when a model was fitted."""
    encoder = getattr(model, "encoder_", None)
    codings = () if encoder is None else encoder._layout.codings
    return tuple(coding.label for coding in codings if coding.dtype.kind == "text")


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A table of mixed columns as a matrix.

    Attributes
    ----------
    encoder : TableEncoder
        Fitted to the rows that will be trained on.
    table : FileTable
        With the matrix in the place of the rows.
    roles : dict or None
    """

    encoder: Any
    table: Any
    roles: dict | None

    def set_parameters(self, network):
        """Set the parameters of a network that follow from the columns."""
        if network.output != "gaussian":
            raise ValueError(
                "--output is for tables of numbers: the distributions of this table follow from "
                "the roles of its columns (--role)"
            )
        scale = self.encoder.scale_ if network.scale == "auto" else network.scale
        network.set_params(output=self.encoder.output_, missing="mask", scale=scale)

    def whole(self, network, rows):
        """Return the table model of a network that has been trained on rows of the matrix."""
        return aefast.TableAutoencoder.from_fitted(self.encoder, network, rows)


def encoded(table, arguments):
    """Encode a table; roles follow from the rows that `hold_out` will keep for training."""
    frame = table.frame()
    train, _ = hold_out(
        np.arange(len(table))[:, np.newaxis], arguments.test_fraction, arguments.random_state
    )
    roles = dict(arguments.role) or None
    encoder = aefast.TableEncoder(roles).fit(frame.take(train[:, 0]))
    matrix = encoder.transform(frame)
    names = tuple(map(str, encoder.get_feature_names_out()))
    table = dataclasses.replace(
        table, rows=matrix, row_shape=(matrix.shape[1],), feature_names=names
    )
    return Encoded(encoder, table, roles)
