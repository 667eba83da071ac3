"""The hypervisor's own house, as in test_hygiene.py, where partitions have PCI functions behind an IOMMU: what its cores
then have of the IOMMU, of configuration space and of the functions' MSI-X tables. The IOMMU's tables are found from its
registers on, and the functions' pages from their configuration spaces."""

import pathlib
import struct
import tempfile

import pytest

from hostspace import PAGE, QemuMonitor, overlap
from partitions import partition
from test_dma import ADDRESS, IOMMUS, wait_for_host, words
from test_hygiene import check_cores, none

pytestmark = pytest.mark.only_svm

ECAM, ECAM_BYTES = 0xb0000000, 256 << 20  # where SeaBIOS puts it on q35
REGISTERS = {"amd": (0xfed80000, 16 << 10), "intel": (0xfed90000, PAGE)}
IOAPIC = 0xa0  # as which QEMU's amd-iommu knows it
STATE = 48 << 10  # of the drivers: locks, tails of queues, which function is attached to whom
OWNERS = {5: "spinner", 6: "sleeper", 7: "spinner"}  # by slot
DEVICES = ["-device", "edu,addr=5", "-device", "nvme,serial=n,addr=6", "-device", "e1000e,addr=7"]
MSIX = 0x11  # the capability


def pytest_generate_tests(metafunc):
    if "iommu" in metafunc.fixturenames:
        metafunc.parametrize("iommu", sorted(IOMMUS))


def tree(memory, iommu, root, level=4):
    """The pages of a function's DMA tables."""
    yield root
    for entry in words(memory, root, 512) if level > 1 else ():
        next_level = entry >> 9 & 7 if iommu == "amd" else not entry >> 7 & 1
        if entry & (1 if iommu == "amd" else 3) and next_level:
            yield from tree(memory, iommu, entry & ADDRESS, level - 1)


def amd_tables(memory, slots):
    """48882, IOMMU MMIO Registers: Device Table, Command Buffer and Event Log Base Address; Device Table Entry Format."""
    devices, commands, events = words(memory, REGISTERS["amd"][0], 3)
    shared = [(devices & ADDRESS, ((devices & 0x1ff) + 1) * PAGE)]
    shared += [(at & ADDRESS, 16 << (at >> 56 & 15)) for at in (commands, events)]
    roots = set()
    for number in [*(slot << 3 for slot in slots), IOAPIC]:
        entry = words(memory, (devices & ADDRESS) + 32 * number, 3)
        assert entry[0] & 3 == 3 and entry[2] & 1, f"{number:#x} is not behind the IOMMU"
        roots |= {entry[0] & ADDRESS} - {0}
        shared.append((entry[2] & ((1 << 52) - 64), 16 << (entry[2] >> 1 & 15)))
    return shared, roots


def intel_tables(memory, slots):
    """VT-d 4.1, Register Descriptions: Root Table Address, Invalidation Queue Address, Interrupt Remapping Table Address."""
    root, queue, interrupts = (words(memory, REGISTERS["intel"][0] + reg, 1)[0] for reg in (0x20, 0x90, 0xb8))
    bus = words(memory, root & ADDRESS, 1)[0] & ADDRESS
    shared = [(root & ADDRESS, PAGE), (bus, PAGE), (queue & ADDRESS, PAGE << (queue & 7)),
              (interrupts & ADDRESS, 32 << (interrupts & 15))]
    entries = [words(memory, bus + 16 * (slot << 3), 1)[0] for slot in slots]
    assert all(entry & 1 for entry in entries)
    return shared, {entry & ADDRESS for entry in entries}


def msix_page(memory, slot):
    """[(address, bytes)] of the pages with the function's MSI-X table, if it has one."""
    space = memory.read(ECAM + (slot << 15), 256)
    at = space[0x34]
    while at and space[at] != MSIX:
        at = space[at + 1]
    if not at:
        return []
    entries, table = struct.unpack_from("<xxHI", space, at)
    low, high = struct.unpack_from("<II", space, 0x10 + 4 * (table & 7))
    base = (low & ~15) + ((high << 32) if low & 4 else 0) + (table & ~7)
    return [(base & -PAGE, -(-((base & (PAGE - 1)) + 16 * ((entries & 0x7ff) + 1)) // PAGE) * PAGE)]


def bars(memory, slot):
    """Addresses of its memory BARs, of which nothing but the MSI-X table is the hypervisor's."""
    low = struct.unpack("<6I", memory.read(ECAM + (slot << 15) + 0x10, 24))
    return [at & ~15 for at in low if at & ~15 and not at & 1]


def mapped(pages, base, size):
    return [p for p in pages if overlap(p, base, size)]


def check_device_pages(host, memory, iommu, pages, owner):
    """Of one core, whose partition is `owner`, or None. Returns the ranges that it has for the sake of devices."""
    shared, roots = (amd_tables if iommu == "amd" else intel_tables)(memory, OWNERS)
    assert len(roots) == len(set(OWNERS.values())), "a table for each partition"
    what = f"on a core of {owner}"
    for root in roots:
        for at in tree(memory, iommu, root):
            none(mapped(pages, at, PAGE), f"DMA tables {what}")
    allowed = []
    for base, size in [*shared, REGISTERS[iommu]]:
        seen = mapped(pages, base & -PAGE, size)
        if owner:
            assert seen and all(p.write for p in seen), f"the IOMMU's {base:#x} is not {what}"
            allowed.append((base & -PAGE, -(-size // PAGE) * PAGE))
        else:
            none(seen, f"the IOMMU {what}")
    for slot, its in OWNERS.items():
        for base, size in [(ECAM + (slot << 15), PAGE), *msix_page(memory, slot)]:
            seen = mapped(pages, base, size)
            if its == owner:
                assert sum(p.bytes for p in seen) == size, f"slot {slot} {what}"
                allowed.append((base, size))
            else:
                none(seen, f"slot {slot} {what}")
        for base in bars(memory, slot):
            none((p for p in mapped(pages, base, PAGE) if not any(overlap(p, *r) for r in allowed)),
                 f"slot {slot}'s registers {what}")
    none((p for p in mapped(pages, ECAM, ECAM_BYTES) if not any(overlap(p, *r) for r in allowed)),
         f"configuration space {what}")
    return allowed


def test_page_tables_with_devices(boot, guest, iommu):
    """Two partitions with functions, on three cores, and a core without."""
    path = pathlib.Path(tempfile.mkdtemp(), "qmp")
    functions = {name: ", ".join(f'"00:{slot:02x}.0"' for slot in OWNERS if OWNERS[slot] == name)
                 for name in OWNERS.values()}
    file = "".join(partition(name, cpus, kernel, memory, cmdline, f'pci = [{functions[name]}]\npci-reset = "optional"')
                   for name, cpus, kernel, memory, cmdline in (("sleeper", [0], "control-loop.elf", "16M", ""),
                                                               ("spinner", [1, 2], "bad.elf", "20M", "do=cli-loop")))
    machine = boot(file, {name: guest(name) for name in ("control-loop.elf", "bad.elf")}, cpus=4,
                   extra=IOMMUS[iommu] + DEVICES + QemuMonitor.arguments(path))
    machine.wait_for(r"about to cli-loop")
    machine.wait_for(r"control-loop: period")
    memory = QemuMonitor(path)
    try:
        memory.stop()
        host = wait_for_host(memory)
        owners = {core: p.name for p in host.partitions for core in p.cores}
        assert owners == {0: "sleeper", 1: "spinner", 2: "spinner"} and all(p.pci for p in host.partitions)
        allowed = [check_device_pages(host, memory, iommu, host.pages(cr3), owners.get(core))
                   for core, cr3 in enumerate(host.cr3)]
        check_cores(host, lambda core: (allowed[core], STATE if core in owners else PAGE))
    finally:
        memory.close()
