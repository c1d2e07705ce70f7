"""This process's own memory and libraries: symbols, addresses, and places that are overwritten."""

import ctypes
import mmap
import os
import subprocess
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]

PROTECTION = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC


def mappings():
    """Yield the mappings of this process as (first address, end, permissions, file or "")."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        for line in file:
            span, permissions, _, _, _, *path = line.split(maxsplit=5)
            first, end = (int(address, 16) for address in span.split("-"))
            yield first, end, permissions, path[0].strip() if path else ""


class Library:
    """A shared library that is loaded in this process: addresses of its symbols, local ones too."""

    def __init__(self, path, dynamic=False):
        self.path = os.path.realpath(path)
        ctypes.CDLL(self.path, mode=os.RTLD_NOW)  # bound now: the emulator cannot call the loader
        found = [item for item in mappings() if item[3] == self.path]
        self.base = min(first for first, *_ in found)
        self.code = [(first, end) for first, end, permissions, _ in found if "x" in permissions]
        names = subprocess.run(
            ["nm", *(["-D"] if dynamic else []), self.path],
            capture_output=True,
            text=True,
            check=True,
        )
        lines = (line.split() for line in names.stdout.splitlines())
        self.symbols = {words[2]: int(words[0], 16) for words in lines if len(words) == 3}

    def address(self, symbol):
        """Return the address of a symbol. Raises KeyError where the library has no such name."""
        if symbol not in self.symbols:
            raise KeyError(f"{self.path} has no symbol {symbol}: it is stripped, or an old build")
        return self.base + self.symbols[symbol]

    def has_code_at(self, address):
        """Return whether an address lies in the library's instructions."""
        return any(first <= address < end for first, end in self.code)


def allocate(n_bytes):
    """Return the address of n_bytes bytes of zeros, which stay allocated."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    address = libc.mmap(None, n_bytes, PROTECTION, flags, -1, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise MemoryError(f"no {n_bytes} bytes for the emulator")
    return address


def overwrite(address, content):
    """Overwrite bytes of this process, instructions and constants included."""
    first = address & ~0xFFF
    length = ((address + len(content) + 0xFFF) & ~0xFFF) - first
    if libc.mprotect(ctypes.c_void_p(first), ctypes.c_size_t(length), PROTECTION):
        raise OSError(ctypes.get_errno(), "the page cannot be made writable")
    ctypes.memmove(address, content, len(content))


def separate_thread_pointer():
    """Return the thread pointer of a new thread, which sleeps for ever.

    Emulated code that uses it has its own memory (c_library.c). With that of the emulator's thread
    the emulator could ask for memory while emulated code is in the middle of malloc.
    """
    found = ctypes.c_size_t(0)
    thread = threading.Thread(
        target=libc.emulation_lends_thread, args=(ctypes.byref(found),), daemon=True
    )
    thread.start()
    while not found.value:
        if not thread.is_alive():
            raise MemoryError("no memory for emulated code")
        time.sleep(0.001)
    return found.value


def system_call(number, arguments):
    """Make a system call. Returns its result, or minus the number of the error."""
    result = libc.syscall(number, *map(ctypes.c_uint64, arguments))
    return result if result >= 0 else -ctypes.get_errno()
