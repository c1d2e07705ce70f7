"""Faults at the n-th line of aefast that a call executes."""

import dis
import sys
from functools import cache
from pathlib import Path

import aefast

PACKAGE = str(Path(aefast.__file__).parent)


@cache
def ends_of_contexts(code):
    """Return the offsets at which code begins to leave a `with` block.

    Trace functions are called there, but the interpreter handles no signal before `__exit__`.
    """
    instructions, found = list(dis.get_instructions(code)), set()
    for i, first in enumerate(instructions):
        three = [(one.opname, one.argval) for one in instructions[i : i + 3]]
        if three == [("LOAD_CONST", None)] * 3 or "WITH_EXCEPT_START" in [op for op, _ in three]:
            found.add(first.offset)
            if i and instructions[i - 1].opname in ("SWAP", "NOP"):  # a value is returned
                found.add(instructions[i - 1].offset)
    return found


class LineCounter:
    """Trace function that counts the lines of aefast that run, and raises an error at one.

    The lines are those at which the interpreter may handle a signal.

    Parameters
    ----------
    place : int or None
        Number of the line before which the error is raised; None: never.
    error : type of BaseException
    """

    def __init__(self, place=None, error=KeyboardInterrupt):
        self.place, self.error = place, error
        self.n_lines, self.where, self.is_ours = 0, None, {}

    def call(self, frame, event, argument):
        code = frame.f_code
        if code not in self.is_ours:
            self.is_ours[code] = code.co_filename.startswith(PACKAGE)
        return self.line if self.is_ours[code] else None

    def line(self, frame, event, argument):
        if event == "line" and frame.f_lasti not in ends_of_contexts(frame.f_code):
            if self.n_lines == self.place:
                self.n_lines += 1
                self.where = f"{frame.f_code.co_filename[len(PACKAGE) + 1 :]}:{frame.f_lineno}"
                raise self.error(f"injected at {self.where}")
            self.n_lines += 1
        return self.line


def call_with_fault(function, place, error=KeyboardInterrupt):
    """Call a function with an error at a line. Returns the LineCounter, and whether it was raised.

    An error that the function has swallowed counts as raised.
    """
    counter, found = LineCounter(place, error), sys.gettrace()
    sys.settrace(counter.call)
    try:
        function()
    except error:
        if counter.where is None:
            raise
    finally:
        sys.settrace(found)
    return counter


def n_lines(function):
    """Return the number of lines of aefast that a call executes."""
    return call_with_fault(function, None).n_lines
