"""A processor of Bochs that calls native functions of this process on this process's own memory.

Virtual addresses are those of the process. The emulated page tables have one page of 1 GiB for each
GiB of the address space that is in use; behind it, Bochs asks for each page of 4 KiB when it is
touched first, and gets the address where this process has it. There is one processor, thus one
thread: the creation of another fails as where a limit of threads is reached. Emulated code has the
variables of a thread of its own, so it must not call Python, which another thread holds.
"""

import ctypes
import errno
import struct

import bochscpu
import bochscpu.cpu
import bochscpu.memory

from .process import Library, allocate, mappings, overwrite, separate_thread_pointer, system_call

MODEL, DEFAULT_MODEL = "sapphire_rapids", "corei3_cnl"
GIB = 1 << 30
TABLES_AT = 1000 * GIB  # physical address of the page tables
N_TABLES = 600
STACK_BYTES = 1 << 23
PRESENT, LARGE_PAGE = 0x67, 0x80  # present, writable, of user mode, accessed, dirty
ENDS = (0x10, 0x90)  # offsets in the page of `hlt`: where calls return, where system calls arrive
CLONE, CLONE3 = 56, 435
CALLER_REGISTERS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")  # of a function's integer arguments
SYSTEM_REGISTERS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
U64 = (1 << 64) - 1


def choose_model():
    """Let sessions have the processor MODEL. The package has one model built in, DEFAULT_MODEL.

    The function that makes the default model becomes a jump to the one that makes the other.
    """
    library = Library(bochscpu._bochscpu.__file__, dynamic=True)

    def maker(model):
        (name,) = (name for name in library.symbols if f"create_{model}_cpuid" in name)
        return library.address(name)

    jump = b"\x49\xbb" + maker(MODEL).to_bytes(8, "little") + b"\x41\xff\xe3"  # mov r11; jmp r11
    overwrite(maker(DEFAULT_MODEL), jump)


class EmulatedFault(RuntimeError):
    """An exception of the emulated processor, as of an instruction it does not know."""


class Processor:
    """The emulated processor, and counts of what it did."""

    def __init__(self):
        choose_model()
        self.session = bochscpu.Session()
        self.session.missing_page_handler = self.provide_page
        self.hook = bochscpu.Hook()
        self.hook.exception = self.on_exception
        self.hook.hlt = lambda session, cpu: session.stop()
        self.host_gib = {}  # the GiB of this process behind each GiB of physical addresses
        self.mapped = set()
        self.tables = allocate(4096 * N_TABLES)
        self.second_level = {}  # index of the table behind each entry of the first
        self.stack = allocate(STACK_BYTES) + STACK_BYTES - 4096
        self.halts = allocate(4096)
        ctypes.memset(self.halts, 0xF4, 4096)  # hlt
        self.thread_pointer = separate_thread_pointer()
        self.fault = None
        self.n_pages = 0
        self.n_system_calls = 0

    def close(self):
        """Give the session back. Bochs crashes where one lives until the interpreter ends."""
        self.session.missing_page_handler = lambda physical: None
        del self.hook, self.session

    # ---- memory ----

    def entry(self, table, index):
        return ctypes.c_uint64.from_address(self.tables + 4096 * table + 8 * index)

    def map_process(self):
        """Enter every GiB in which this process has memory in the page tables."""
        for first, end, _, _ in mappings():
            if not first >> 47:  # user space
                for gib in range(first >> 30, ((end - 1) >> 30) + 1):
                    if gib not in self.mapped:
                        self.map_gib(gib)

    def map_gib(self, gib):
        self.mapped.add(gib)
        physical = len(self.mapped)
        self.host_gib[physical] = gib
        high, low = gib >> 9, gib & 511
        if high not in self.second_level:
            self.second_level[high] = table = 1 + len(self.second_level)
            assert table < N_TABLES and physical < TABLES_AT // GIB
            self.entry(0, high).value = (TABLES_AT + 4096 * table) | PRESENT
        self.entry(self.second_level[high], low).value = physical * GIB | LARGE_PAGE | PRESENT

    def provide_page(self, physical):
        """Tell Bochs where this process has a page of physical memory."""
        page = physical & ~0xFFF
        if page >= TABLES_AT:
            host = self.tables + page - TABLES_AT
        else:
            host = (self.host_gib[page >> 30] << 30) | (page & (GIB - 1))
        self.n_pages += 1
        bochscpu.memory.page_insert(page, host)

    # ---- calls ----

    def on_exception(self, session, cpu, vector, code):
        state = session.cpu.state
        self.fault = f"vector {vector}, code {code}, rip {state.rip:#x}, cr2 {state.cr2:#x}"
        session.stop()

    def initial_state(self):
        """Return registers of 64-bit user code with all vector extensions on."""
        state = bochscpu.State()
        bochscpu.cpu.set_long_mode(state)
        state.cr0 = 0x80050033
        state.cr4 = 0x000506A0 | 0x600  # physical addresses, OSFXSR, FSGSBASE, OSXSAVE
        state.xcr0 = 0xE7  # x87, SSE, AVX, AVX-512
        state.efer = 0xD01
        state.star, state.lstar, state.sfmask = 0x10 << 32, self.halts + ENDS[1], 0
        state.cr3 = TABLES_AT
        state.mxcsr, state.mxcsr_mask, state.fpcw = 0x1F80, 0xFFFF, 0x37F
        state.cs = segment(0x10, 0xA09B)
        state.ss, state.ds, state.es, state.gs = (segment(0x18, 0xC093) for _ in range(4))
        state.fs = segment(0x18, 0xC093, self.thread_pointer)
        state.rflags = 2
        return state

    def call(self, address, prototype, arguments):
        """Call the function at an address with arguments of its ctypes prototype."""
        self.map_process()
        self.fault = None
        state = self.initial_state()
        whole, doubles = [], []
        for kind, value in zip(prototype._argtypes_, arguments, strict=True):
            if kind is ctypes.c_double:
                doubles.append(value)
            else:
                whole.append((value or 0) & U64)
        for register, value in zip(CALLER_REGISTERS, whole, strict=False):
            setattr(state, register, value)
        on_stack = [self.halts + ENDS[0], *whole[len(CALLER_REGISTERS) :]]
        state.rsp = self.stack - 4096 - 8  # aligned to 16 bytes before the address of return
        ctypes.memmove(state.rsp, struct.pack(f"<{len(on_stack)}Q", *on_stack), 8 * len(on_stack))
        set_doubles(state, doubles)
        state.rip = address
        state = self.run(state)
        return result_of(state, prototype._restype_)

    def run(self, state):
        """Run until the function returns. System calls are made by this process."""
        self.session.cpu.state = state
        while True:
            self.session.run([self.hook])
            state = self.session.cpu.state
            if self.fault:
                raise EmulatedFault(self.fault)
            if not ENDS[1] <= state.rip - self.halts < 4096:
                return state
            self.n_system_calls += 1
            if state.rax in (CLONE, CLONE3):
                result = -errno.EAGAIN
            else:
                registers = [getattr(state, name) for name in SYSTEM_REGISTERS]
                result = system_call(state.rax, registers)
            state.rax = result & U64
            state.rip, state.rflags = state.rcx, state.r11
            state.cs, state.ss = segment(0x10, 0xA09B), segment(0x18, 0xC093)
            self.session.cpu.state = state


def segment(selector, attributes, base=0):
    """Return a flat segment."""
    made = bochscpu.Segment()
    made.base, made.limit = base, 0xFFFFFFFF
    made.selector, made.attr, made.present = selector, attributes, True
    return made


def set_doubles(state, values):
    """Write a function's arguments of type double to the vector registers."""
    registers = state.zmm
    for index, value in enumerate(values):
        register = registers[index]
        words = list(register.q)
        (words[0],) = struct.unpack("<Q", struct.pack("<d", value))
        register.q = words
        registers[index] = register
    state.zmm = registers


def result_of(state, kind):
    """Return the result of a function whose type of ctypes is `kind`."""
    if kind is None:
        return None
    if kind is ctypes.c_double:
        return struct.unpack("<d", struct.pack("<Q", state.zmm[0].q[0]))[0]
    return kind(state.rax).value
