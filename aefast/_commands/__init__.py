"""The families of the command `aefast`, a module each.

A module's `add_commands(commands)` adds its subcommands to the parser; each sets ``run``, which is called with the parsed arguments. A new family is a module
here and its name in `FAMILIES`.
"""

from aefast._commands import apply, dictionary, factors, fit, info, walk

FAMILIES = (fit, apply, walk, factors, dictionary, info)
