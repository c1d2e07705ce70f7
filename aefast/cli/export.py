"""Command `aefast export`: a model file as ONNX, C, or parameters for PyTorch."""

import aefast
from aefast._base.exchange import interop
from aefast.cli.common import describe, model_path, report

FORMS = ("onnx", "c", "torch")


def add_export(command):
    describe(command, _export)
    command.add_argument("model", metavar="MODEL", help="a model file, or the folder of a fit")
    command.add_argument(
        "--to",
        required=True,
        choices=FORMS,
        help="onnx: an ONNX file; c: a header in C99; torch: a safetensors file with the state "
        "dict of the module that `to_torch` makes",
    )
    command.add_argument("-o", "--output", required=True, metavar="FILE", help="file to write")
    command.add_argument(
        "--name", default="model", help="with --to c: prefix of all names (default: model)"
    )


def _export(arguments):
    model = aefast.load(model_path(arguments.model))
    if arguments.to == "c":
        aefast.export_c(model, arguments.output, name=arguments.name)
    elif arguments.to == "onnx":
        interop("onnx").export(model, arguments.output)
    else:
        interop("torch_module").save_state(model, arguments.output)
    kind = type(model).__name__
    facts = {"model": arguments.model, "kind": kind, "output": arguments.output}
    report(arguments, f"{arguments.output}: {kind}", facts)
