"""The package's AVX-512 tables, with calls of the emulator behind their pointers."""

import ctypes
import importlib
import time
from collections import Counter

from .process import Library, overwrite
from .processor import Processor
from .tables import ISA, TABLES, instances_of, slots_of


def bit_of_argument(mask):
    """Return code of `int f(int n) { return mask >> n & 1; }`."""
    return b"\xb8" + mask.to_bytes(4, "little") + b"\x89\xf9\xd3\xe8\x83\xe0\x01\xc3"


def grant_instruction_set(runtime):
    """Let the package find AVX-512 and AVX512_BF16, whatever else this processor has."""
    from aefast._base import _runtime

    found = _runtime.isa_available()
    overwrite(runtime.address("aefast_isa_supported"), bit_of_argument(0xFF))
    built = _runtime.isa_available()
    if ISA not in built or ISA not in _runtime.bfloat16_built():
        raise RuntimeError(f"this build lacks {ISA} or its kernels for bfloat16: it has {built}")
    granted = sum(1 << built.index(name) for name in {ISA, *found})
    overwrite(runtime.address("aefast_isa_supported"), bit_of_argument(granted))
    only = bit_of_argument(1 << built.index(ISA))
    overwrite(runtime.address("aefast_bfloat16_supported"), only)


class Instances:
    """All instances for AVX-512 of the kernels of this process, executed by the emulator."""

    def __init__(self):
        self.processor = Processor()
        self.calls, self.seconds = Counter(), Counter()  # of each kernel
        self.faults = []
        self.kept = []  # objects of ctypes, which must live as long as the tables
        modules = {
            table.extension: Library(importlib.import_module(f"aefast.{table.extension}").__file__)
            for table in TABLES
        }
        for table in TABLES:
            for instance in instances_of(table):
                self.emulate(modules[table.extension], instance, slots_of(table))
        grant_instruction_set(modules["_base._runtime"])

    def emulate(self, library, instance, slots):
        """Replace the pointers in the table of one instance."""
        for slot in slots:
            place = library.address(instance) + slot.offset
            target = ctypes.c_uint64.from_address(place).value
            if not target:  # an instance for bfloat16 has the kernels of training alone
                continue
            if not library.has_code_at(target):
                raise RuntimeError(f"{instance}.{slot.name} points to no code: build again")
            function = self.emulated(f"{instance}.{slot.name}", target, slot.prototype)
            overwrite(place, function.to_bytes(8, "little"))

    def emulated(self, name, target, prototype):
        """Return the address of a function that calls the one at `target` in the emulator."""

        def call(*arguments):
            start = time.perf_counter()
            try:
                result = self.processor.call(target, prototype, arguments)
            except Exception as error:  # none may go through the compiled caller
                self.faults.append(f"{name}: {error!r}")
                result = None
            self.calls[name] += 1
            self.seconds[name] += time.perf_counter() - start
            return result if result is not None or prototype._restype_ is None else 0

        function = prototype(call)
        self.kept.append(function)
        return ctypes.cast(function, ctypes.c_void_p).value
