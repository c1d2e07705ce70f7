"""Command `aefast info`: facts about this build or about a model file."""

import aefast
from aefast.cli import report as reports
from aefast.cli.common import describe, model_path, report


def add_info(command):
    describe(command, _info)
    command.add_argument(
        "model", metavar="MODEL", nargs="?", help="a model file, or the folder of a fit"
    )


def _info(arguments):
    if arguments.model is None:
        facts = aefast.build_info()
    else:
        facts = reports.model_facts(model_path(arguments.model))
    width = max(map(len, facts))
    lines = []
    for name, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        lines.append(f"{name:<{width}}  {text}")
    report(arguments, "\n".join(lines), facts)
