"""Values that nobody means, and the check that calls name the parameter that has one."""

import decimal
import fractions
import re

import numpy as np

LONGEST_MESSAGE = 5000


def nested(kind, depth):
    value = kind()
    for _ in range(depth):
        value = kind([value])
    return value


ENDLESS: list = []
ENDLESS.append(ENDLESS)
HOSTILE = {
    "10**400": 10**400,
    "-10**400": -(10**400),
    "10**5000": 10**5000,
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "1e308": 1e308,
    "-1": -1,
    "0": 0,
    "None": None,
    "True": True,
    "fraction": fractions.Fraction(1, 3),
    "decimal": decimal.Decimal("NaN"),
    "complex": 1j,
    "date": np.datetime64("NaT"),
    "text": "",
    "long text": "x" * 10**6,
    "surrogate": "\ud800",
    "numpy text": np.str_("adam"),
    "bytes": b"",
    "object": object(),
    "function": lambda *arguments: None,
    "dict": {},
    "set": set(),
    "list": [],
    "tuple": (),
    "seven": [1] * 7,
    "seven in a tuple": (1,) * 7,
    "None in a list": [None],
    "text in a tuple": ("",),
    "deep list": nested(list, 5000),
    "deep tuple": nested(tuple, 50_000),
    "endless list": ENDLESS,
    "0-d": np.array(3),
    "0-d nan": np.array(np.nan),
    "0-d text": np.array("x"),
    "0-d object": np.array(None),
    "array": np.ones(3),
    "array of objects": np.array([object()]),
    # forms that parameters with tuples and lists begin to read
    "pair": ("gaussian", None),
    "pair of a huge number": ("gaussian", 10**400),
    "pair of an array": ("gaussian", np.ones(3)),
    "pair of a deep list": ("gaussian", nested(list, 5000)),
    "option": ("student_t", {"df": []}),
    "option without a name": ("student_t", {1: 2, "a": 3}),
    "half a part": [("gaussian",)],
    "part of a huge column": [("gaussian", 10**400)],
    "part of an object": [("gaussian", object())],
    "part of a dict": [({}, [0])],
    "part of a long range": [("gaussian", range(10**12))],
    "part of a slice": [("gaussian", slice("a", None))],
    "part of a slice of floats": [("gaussian", slice(0.5, None))],
}


def check_named(call, parameter, also=()):
    """Make calls with every value; collect those that fail without naming the parameter."""
    faults = []
    for label, value in HOSTILE.items():
        try:
            call(value)
        except (ValueError, TypeError) as error:
            names = "|".join(map(re.escape, (parameter, *also)))
            message = str(error)
            if not re.search(rf"\b({names})\b", message):
                faults.append(f"{label}: {type(error).__name__} without a name: {message[:200]}")
            elif len(message) > LONGEST_MESSAGE:
                faults.append(f"{label}: a message of {len(message)} characters")
        except OSError:
            if parameter not in PATHS:
                faults.append(f"{label}: OSError")
        except Exception as error:
            faults.append(f"{label}: {type(error).__name__}: {str(error)[:200]}")
    assert not faults, f"{parameter}\n" + "\n".join(faults)


PATHS = ("path", "image", "images")  # texts are names of files, whose errors are the system's
