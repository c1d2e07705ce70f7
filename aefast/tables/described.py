"""Codings in files: their state as JSON, and its checks."""

from typing import Any

import numpy as np

from aefast._base import saving
from aefast._base.saving import COUNT, FLAG, OBJECT, TEXT, Check, one_of, optional
from aefast.tables import roles as role
from aefast.tables.coding import LEVELS, Coding
from aefast.tables.codings import CODINGS
from aefast.tables.columns import Dtype

_DTYPE_CHECKS = {
    "kind": one_of(["number", "boolean", "text", "category", "date", "time", "duration", "empty"]),
    "name": TEXT,
    "categories": optional(LEVELS),
    "ordered": FLAG,
    "unit": optional(TEXT),
    "zone": optional(TEXT),
    "digits": optional(COUNT),
}
_CODING_CHECKS = {
    "label": Check(lambda v: isinstance(v, str) or saving.is_count(v), "a name"),
    "role": one_of(role.ROLES),
    "coding": one_of(CODINGS),
    "dtype": OBJECT,
    "state": OBJECT,
}


def coding_of_json(described: dict[str, Any]) -> Coding:
    check_of = saving.check_entries
    check_of("column", described, _CODING_CHECKS)
    check_of("dtype", described["dtype"], _DTYPE_CHECKS)
    dtype = Dtype(**described["dtype"])
    coding = CODINGS[described["coding"]]
    return coding.restored(described["label"], dtype, described["role"], described["state"])


def json_of_coding(coding: Coding) -> dict[str, Any]:
    """Return what `coding_of_json` reads."""
    label = coding.label
    return {
        "label": int(label) if isinstance(label, np.integer) else label,
        "role": coding.role,
        "coding": coding.kind,
        "dtype": coding.dtype._asdict(),
        "state": coding.state,
    }
