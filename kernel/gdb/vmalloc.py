"""Commands for gdb on a running kernel: what the vmalloc library has allocated, told by the page tables.

    source kernel/gdb/vmalloc.py    (./run.sh --gdb prints the command that does this, too)
    vmallocinfo                     lists the areas, as the kernel's own command of that name does
    whatis ADDRESS                  tells what is at an address of the kernel; of any other expression the type

Nothing is called in the kernel and no type of it is needed: so they work on optimised builds, at any moment, in a panic too.
The entries are drawn in kernel/vmalloc/src/page_table/entry.rs, the address map in kernel/src/arch/layout.rs.
"""

import itertools
import struct

import gdb

PAGE = 4096
DIRECT_MAP = range(0xFFFF_8880_0000_0000, 0xFFFF_C880_0000_0000)
VMALLOC = range(0xFFFF_C900_0000_0000, 0xFFFF_E900_0000_0000)
IMAGE = range(0xFFFF_FFFF_8000_0000, 0xFFFF_FFFF_8400_0000)

PRESENT, WRITABLE, HUGE, HIDDEN = 1 << 0, 1 << 1, 1 << 7, 1 << 8
FIRST, LAST, OWNED, GUARD, NO_EXECUTE = 1 << 9, 1 << 10, 1 << 11, 1 << 62, 1 << 63
RAM, GUARD_BELOW = 1 << 52, 1 << 63
FRAME = 0x000F_FFFF_FFFF_F000
KINDS = {1: "vmalloc", 2: "vmap", 3: "ioremap", 4: "vm_map_ram", 5: "congruent"}


def read(address, size):
    return gdb.selected_inferior().read_memory(address, size).tobytes()


def table(frame):
    """The entries of a page table, seen in the direct map."""
    try:
        return struct.unpack("<512Q", read(DIRECT_MAP.start + (frame & FRAME), PAGE))
    except gdb.MemoryError:
        raise gdb.GdbError("the kernel has no page tables of its own yet") from None


def entries(start, end, level=3, frame=None, base=0xFFFF << 48):
    """Address, size and entry of all that is not zero in the leaf tables between two addresses, in order."""
    frame = int(gdb.parse_and_eval("$cr3")) if frame is None else frame
    size = PAGE << 9 * level
    for index, entry in enumerate(table(frame)):
        address = base + index * size
        if entry == 0 or address + size <= start or address >= end or level == 3 and index < 256:
            continue
        if level == 0 or entry & PRESENT and entry & HUGE and level < 3:
            yield address, size, entry
        elif entry & PRESENT:
            yield from entries(start, end, level - 1, entry, address)


def is_guard(entry):
    return entry & (PRESENT | WRITABLE | GUARD) == WRITABLE | GUARD


def is_live(entry):
    """Whether it is that of a page of an area, be it one that nobody may access."""
    return entry & PRESENT or entry & (GUARD | HIDDEN) == HIDDEN


class Caller:
    """The place in the source that allocated: a core::panic::Location, of which the guard's entry has the lowest 32 bits of the
    address, inverted: it is in the kernel's image."""

    def __init__(self, guard):
        address = IMAGE.start & ~0xFFFF_FFFF | (~guard >> 18 & (1 << 29) - 1) << 3
        name, length, line, column = struct.unpack("<QQII", read(address, 24))
        file = read(name, length).rstrip(b"\0").decode(errors="replace") if length < PAGE else "?"
        self.text = f"{file}:{line}:{column}"

    def __str__(self):
        return self.text


class Area:
    """One area: where it is, and the entry of its guard page, which is None for a mapping of vm_map_ram."""

    def __init__(self, start, end, guard):
        self.start, self.end, self.guard = start, end, guard

    def __str__(self):
        pages = (self.end - self.start) // PAGE
        end = self.end + (PAGE if self.guard else 0)
        caller = Caller(self.guard) if self.guard else "-"
        kind = KINDS.get(self.guard >> 15 & 7, "?") if self.guard else "vm_map_ram"
        return f"{self.start:#018x}-{end:#018x} {end - self.start:>8} {caller} pages={pages} {kind}"


def areas(end=VMALLOC.stop):
    """The areas that begin before an address."""
    began = None  # The first entry of an area: address and value; then where what was seen of it ends, and its last entry.
    for address, size, entry in itertools.chain(entries(VMALLOC.start, VMALLOC.stop), [(VMALLOC.stop, PAGE, 0)]):
        if began and address == seen and not last & LAST and is_live(entry) and not entry & FIRST:
            seen, last = address + size, entry
            continue
        if began:
            start, first = began
            began = None
            if address == seen and is_guard(entry):
                yield Area(start, seen, entry)
            elif first & RAM and not first & OWNED:
                yield Area(start, seen, None)
        if address >= end:
            return
        if is_live(entry) and entry & FIRST:
            began, seen, last = (address, entry), address + size, entry


def protection(entry):
    if not entry & PRESENT:
        return "nobody may access it"
    if not entry & NO_EXECUTE:
        return "read and execute"
    return "read and write" if entry & WRITABLE else "read only"


def describe(address):
    """What is at an address of the range of vmalloc."""
    page = address & -PAGE
    entry = next((entry for _, _, entry in entries(page, page + 1)), None)
    if entry is None:
        return "in the range of vmalloc, where nothing is"
    if entry == GUARD_BELOW:
        return "in the guard page below an area"
    area = None
    for area in areas(page + 1):
        pass
    if area and area.start <= address < area.end:
        return f"{address - area.start:#x} bytes into the area\n{area}\n{protection(entry)}"
    if area and is_guard(entry) and area.end == page:
        return f"in the guard page, {address - area.end:#x} bytes behind the area\n{area}"
    if is_guard(entry):
        return f"in the guard page of an area that is being freed; it was allocated at {Caller(entry)}"
    if is_live(entry):
        return "in the address space that a mapping of vm_map_ram has, or an area that is being made"
    return "in the address space of an area that was freed: unmapped, and kept until it is used again"


class VmallocInfo(gdb.Command):
    """vmallocinfo: lists the areas of the kernel's vmalloc."""

    def __init__(self):
        super().__init__("vmallocinfo", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        count = pages = 0
        for area in areas():
            print(area)
            count, pages = count + 1, pages + (area.end - area.start) // PAGE
        print(f"areas            {count:>12}\nmapped           {pages:>12} pages")


class WhatIs(gdb.Command):
    """whatis EXPRESSION: tells what is at an address of the kernel; of any other expression the type."""

    def __init__(self):
        super().__init__("whatis", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        value = gdb.parse_and_eval(argument)
        code = value.type.strip_typedefs().code
        if code == gdb.TYPE_CODE_FUNC:
            value = value.address
        elif code not in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_PTR):
            print(f"type = {value.type}")
            return
        address = int(value) & (1 << 64) - 1
        if address in VMALLOC:
            print(f"{address:#x}: {describe(address)}")
        elif address in DIRECT_MAP:
            print(f"{address:#x}: physical address {address - DIRECT_MAP.start:#x}, in the direct map")
        elif address in IMAGE:
            print(f"{address:#x}: in the kernel's image")
            gdb.execute(f"info symbol {address:#x}")
            gdb.execute(f"info line *{address:#x}")
        elif address >> 47 == 0x1FFFF:
            print(f"{address:#x}: an address of the kernel where nothing is meant to be")
        else:
            print(f"type = {value.type}")


VmallocInfo()
WhatIs()
