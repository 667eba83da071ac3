"""The hypervisor's own house, looked at from outside: the machine is stopped, and its page tables
and control registers are read through the emulator's monitor. And the image as a file."""

import os
import pathlib
import re
import struct
import subprocess
import tempfile

import pytest

from conftest import BUILD, TOP
from hostspace import PAGE, BochsMonitor, Host, QemuMonitor, overlap, symbols

IMAGE = pathlib.Path(os.environ.get("MULLION", BUILD / "mullion.elf"))
DEBUG = IMAGE.with_suffix(".debug.elf")
CR0 = {"PG": 31, "WP": 16, "NE": 5}
EFER_NXE, EFER_SVME = 1 << 11, 1 << 12
CR4 = {"smep": 20, "smap": 21, "umip": 11}

# One partition that mostly sleeps, so that its core is found in host mode; one that never exits of
# its own will, on two cores; and, where there is a fourth core, one without a partition.
CONFIG = """
[partition.sleeper]
cpus = [0]
memory = "16M"
kernel = "control-loop.elf"

[partition.spinner]
cpus = {cpus}
memory = "20M"
kernel = "bad.elf"
cmdline = "do=cli-loop"
"""


@pytest.fixture
def stopped(boot, vendor, guest):
    """A function that boots both partitions, stops the machine and returns a Host."""
    monitors = []

    def start(**options):
        modules = {name: guest(name) for name in ("control-loop.elf", "bad.elf")}
        if vendor == "svm":
            path = pathlib.Path(tempfile.mkdtemp(), "qmp")
            machine = boot(CONFIG.format(cpus=[1, 2]), modules, cpus=4,
                           extra=QemuMonitor.arguments(path), **options)
        else:
            machine = boot(CONFIG.format(cpus=[1]), modules, cpus=3, **options)
        machine.wait_for(r"about to cli-loop")
        machine.wait_for(r"control-loop: period")
        monitor = QemuMonitor(path) if vendor == "svm" else BochsMonitor(machine)
        monitors.append(monitor)
        for _ in range(50):
            monitor.stop()
            try:
                return Host(monitor, DEBUG, TOP)
            except LookupError:
                monitor.go()
        pytest.fail("no core was found in host mode")

    yield start
    for monitor in monitors:
        monitor.close()


def text_of(pages):
    return "\n".join(f"va {p.va:#x} pa {p.pa:#x} bytes {p.bytes:#x} "
                     f"{'w' if p.write else '-'}{'x' if p.execute else '-'}" for p in pages[:20])


def none(pages, what):
    pages = list(pages)
    assert not pages, f"{what}:\n{text_of(pages)}"


def check_image(host, pages):
    """Rights of each part of the image, at its address and at any other. Start-up code is gone."""
    at = host.symbols
    base = host.layout.value("IMAGE_BASE")
    assert at["image_start"] == base
    none((p for p in pages if at["image_start"] <= p.va < at["init_end"]), "start-up code")
    for first, last, write, execute in (("init_end", "text_end", False, True),
                                        ("text_end", "rodata_end", False, False),
                                        ("rodata_end", "late_end", False, False),
                                        ("late_end", "image_end", True, False)):
        part = [p for p in pages if at[first] <= p.va < at[last]]
        assert sum(p.bytes for p in part) == at[last] - at[first], f"{first} to {last}"
        none((p for p in part if p.pa - host.image != p.va - base), "not where it was loaded")
        none((p for p in part if (p.write, p.execute) != (write, execute)), f"{first} to {last}")
    none((p for p in pages if overlap(p, host.image, at["image_end"] - base) and
          not base <= p.va < at["image_end"]), "the image under another address")
    none((p for p in pages if p.execute and not at["init_end"] <= p.va < at["text_end"]),
         "executable, and no text")


def local_pages(host):
    """Offsets of the pages that a core has of its own; the others are guards."""
    value = host.layout.value
    return ({*range(value("LOCAL_DATA_PAGES")), value("LOCAL_FAULT_PAGE"),
             value("LOCAL_VENDOR_PAGE")} |
            {value("LOCAL_STACK_PAGE") + i for i in range(value("LOCAL_STACK_PAGES"))})


def in_local(host, page):
    return 0 <= page.va - host.layout.value("LOCAL_BASE") < 0x10000000


def check_local(host, pages):
    """What belongs to this core lies between guards, in pages without neighbours."""
    mine = {(p.va - host.layout.value("LOCAL_BASE")) // PAGE for p in pages if in_local(host, p)}
    wanted = local_pages(host)
    assert mine == wanted
    value = host.layout.value
    for first, last in ((value("LOCAL_STACK_PAGE"),
                         value("LOCAL_STACK_PAGE") + value("LOCAL_STACK_PAGES") - 1),
                        (value("LOCAL_FAULT_PAGE"), value("LOCAL_FAULT_PAGE"))):
        assert first - 1 not in mine and last + 1 not in mine, "a stack without a guard page"


def direct(host, pages):
    base, end = host.layout.value("DIRECT_BASE"), host.layout.value("IMAGE_BASE")
    return [p for p in pages if base <= p.va < end]


def check_cores(host, more=lambda core: ([], PAGE)):
    """Each core: W^X, read-only text and data, guards, and nothing of anybody else's. more: further ranges that a core has, and
    how many bytes it may write of the little that belongs to nobody. That is the keyboard's queue, and what drivers share."""
    all_pages = [host.pages(cr3) for cr3 in host.cr3]
    assert len({cr3 for cr3 in host.cr3}) == len(host.cr3), "two cores share a root"
    tables = {at for cr3 in host.cr3 for at in host.tables(cr3)}
    local = [{p.pa for p in pages if in_local(host, p)} for pages in all_pages]
    for core, pages in enumerate(all_pages):
        none((p for p in pages if p.write and p.execute), f"core {core}: writable and executable")
        none((p for p in pages if p.user), f"core {core}: user pages")
        check_image(host, pages)
        check_local(host, pages)
        none((p for p in pages if not host.layout.value("IMAGE_BASE") <= p.va and
              p not in direct(host, pages)), f"core {core}: pages of no purpose")
        # Stage 2 follows the BARs that a guest moves, so its own cores may write it.
        closed = tables | {at for p in host.partitions if not (p.pci and core in p.cores) for at in host.tables(p.stage2)}
        none((p for p in pages if any(overlap(p, at, PAGE) for at in closed)),
             f"core {core}: page tables")
        for other in range(len(host.cr3)):
            if other != core:
                none((p for p in pages if any(overlap(p, at, PAGE) for at in local[other])),
                     f"core {core}: core {other}'s own pages")
        for partition in host.partitions:
            seen = [p for p in pages if any(overlap(p, *r) for r in partition.ranges())]
            if core not in partition.cores:
                none(seen, f"core {core}: memory of partition {partition.name}")
                continue
            assert sum(p.bytes for p in seen) >= sum(r[1] for r in partition.ranges())
            none((p for p in seen if p.write and any(overlap(p, *m) for m in partition.modules)),
                 f"core {core}: an image of partition {partition.name} is writable")
        check_direct(host, core, pages, *more(core))


def check_direct(host, core, pages, more, writable):
    """The direct map holds this core's partition, device pages, and a few pages of everybody's."""
    own = [r for p in host.partitions if core in p.cores for r in p.ranges()]
    own += [(at & -PAGE, PAGE) for at in host.devices] + more
    rest = [p for p in direct(host, pages) if not any(overlap(p, *r) for r in own)]
    assert sum(p.bytes for p in rest) < 256 << 10, text_of(rest)
    # The list of cores and the partition file's content are read.
    assert sum(p.bytes for p in rest if p.write) <= writable, text_of([p for p in rest if p.write])


def test_page_tables(stopped):
    check_cores(stopped())


def test_stage2(stopped, vendor):
    """A partition's stage 2 holds its own pieces, all of them, and nothing else."""
    host = stopped()
    assert len(host.partitions) == 2
    for partition in host.partitions:
        pages = host.pages(partition.stage2)
        for page in pages:
            assert any(base <= page.pa and page.pa + page.bytes <= base + size
                       for base, size in partition.pieces), text_of([page])
        mapped = sum(p.bytes for p in pages)
        hole = 0xe0000 - 0xa0000  # of a PC below 1 MiB
        assert mapped == sum(size for _, size in partition.pieces) - hole, partition.name


def host_registers(host, vendor):
    """Of cores that are in host mode now, by number; and of the others where QEMU saves them."""
    found = {}
    for core, registers in enumerate(host.memory.registers()):
        if registers["CR3"] == host.cr3[core]:
            found[core] = registers
        elif vendor == "svm":
            local = {(p.va - host.layout.value("LOCAL_BASE")) // PAGE: p.pa
                     for p in host.pages(host.cr3[core]) if in_local(host, p)}
            found[core] = host.memory.saved(local[host.layout.value("LOCAL_VENDOR_PAGE")])
            assert found[core]["CR3"] == host.cr3[core]
    return found


def check_registers(found, vendor, features):
    for core, registers in found.items():
        for name, bit in CR0.items():
            assert registers["CR0"] >> bit & 1, f"core {core}: CR0.{name} is clear"
        for name, bit in CR4.items():
            assert registers["CR4"] >> bit & 1 == (name in features), f"core {core}: CR4.{name}"
        if "EFER" in registers:
            assert registers["EFER"] & EFER_NXE, f"core {core}: EFER.NXE is clear"


def test_control_registers(stopped, vendor):
    """Paging's write protection, NX, SMEP, SMAP and UMIP on every core."""
    host = stopped()
    found = host_registers(host, vendor)
    assert len(found) == len(host.cr3) if vendor == "svm" else len(found) >= 2
    # The Skylake of Bochs has no UMIP.
    check_registers(found, vendor, CR4 if vendor == "svm" else {"smep", "smap"})
    if vendor == "vmx":
        # A guest that has not asked for machine checks gets none; the machine gets them all the same.
        now = host.memory.registers()
        assert any(registers["CR3"] != host.cr3[core] for core, registers in enumerate(now)), "no core is in a guest"
        assert all(registers["CR4"] >> 6 & 1 for registers in now), now


@pytest.mark.only_svm
def test_intercepts(stopped):
    """What a control block must intercept: APM Vol 2, appendix B. #DB, #AC and #MC; interrupts, NMI, INIT, RDPMC, CPUID, RSM, INVD,
    HLT, INVLPGA, ports, MSRs, shutdown; all virtualisation instructions, WBINVD, MONITOR, MWAIT, XSETBV, RDPRU; and
    the local APIC's CR8."""
    host = stopped()
    for block in (block for partition in host.partitions for block in partition.controls):
        registers, _, exceptions, first, second = struct.unpack("<5I", host.memory.read(block, 20))
        assert registers & 0x01000100 == 0x01000100
        assert exceptions & 0x60002 == 0x60002
        assert first & 0x9d4c800b == 0x9d4c800b, hex(first)
        assert second & 0x7e7f == 0x7e7f, hex(second)
        assert struct.unpack("<Q", host.memory.read(block + 0x60, 8))[0] >> 24 & 1, "the guest masks the machine's interrupts"
        assert host.memory.read(block + 0x90, 1)[0] & 1, "no nested paging"


@pytest.mark.only_svm
def test_control_registers_of_an_old_cpu(stopped, vendor):
    """A processor without them: it starts, and sets none."""
    host = stopped(cpu="max,+svm,+npt,-smep,-smap,-umip")
    check_registers(host_registers(host, vendor), vendor, set())


# --- the image as a file

def output(*command):
    return subprocess.run([str(c) for c in command], check=True, text=True,
                          capture_output=True).stdout


def test_segments():
    """No segment is writable and executable, none asks for a loader."""
    segments = re.findall(r"^  ([A-Z_]+) +(?:0x[0-9a-f]+ +){5}([RWE ]{3}) 0x",
                          output("readelf", "-lW", IMAGE), re.M)
    assert [kind for kind, _ in segments] == ["LOAD"] * 3
    assert [flags for _, flags in segments] == ["R E", "R  ", "RW "]


def test_relocations():
    for image in (IMAGE, DEBUG):
        assert "There are no relocations in this file" in output("readelf", "-rW", image)
    assert not re.search(r" U ", output("nm", DEBUG)), "undefined symbols"


def test_stack_protector():
    """The compiler's canary is in use where there are buffers on the stack."""
    objects = sorted((BUILD / "hv").glob("**/*.o"))
    users = {str(o.relative_to(BUILD / "hv")) for o in objects
             if "__stack_chk_fail" in output("nm", "-u", o)}
    assert {"core/main.o", "core/log.o", "core/crash.o", "boot/main.o", "core/base/fmt.o",
            "core/config/toml.o", "core/insn/execute.o", "mm/frames.o"} <= users, sorted(users)


# What every core can write, for good reason: the lock of ports 0xcf8 and 0xcfc, who holds virtual functions, console and log, the counters of cores and partitions,
# and, unused by now, boot's stacks, tables and list of free memory.
SHARED = {"focus", "inputs", "line_owner", "lock", "stage", "stage_at", "stage_count", "log_data",
          "locks", "panic_lock", "flushing", "staged", "log_ring", "log_source", "alive", "enabled", "panicker", "arrived",
          "boot_gdt", "boot_gdt_pointer", "boot_gdt_pointer_high", "boot_pml4", "boot_pdpt_low",
          "boot_pdpt_high", "boot_pd_high", "boot_pt", "boot_pd", "boot_stack", "boot_stack_top",
          "start_stack", "ports", "holders", "frames", "free_ranges", "scratch", "image_end", "late_end",
          "cells", "drawn", "dirty", "top", "row", "column", "escape"}  # drivers/screen.c


def test_shared_data():
    """Data that all cores may write is on a list; what only boot writes belongs in .late."""
    at = symbols(DEBUG)
    found = {name.split(".")[0] for name, value in at.items()
             if at["late_end"] <= value <= at["image_end"]}
    assert found <= SHARED, f"writable on every core: {sorted(found - SHARED)}"


VECTOR = re.compile(r"%[xyz]mm\d|%mm\d|%st\b|%k[0-7]\b")
EXTENDED = re.compile(r"(?:f(?!s\b)|xsave|xrstor|ldmxcsr|stmxcsr|vldmxcsr|emms|vzero)\w*")


def test_no_vector_instructions():
    """A guest's FPU and vector state is its own: the hypervisor touches it where it resets a vCPU, and where it carries
    out a move of a vector register for the guest (core/vector.S)."""
    found, function = set(), ""
    for line in output("objdump", "-d", "--no-show-raw-insn", DEBUG).splitlines():
        if label := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            function = label.group(1)
        elif code := re.match(r"\s*[0-9a-f]+:\t(\S+)(.*)", line):
            if EXTENDED.fullmatch(code.group(1)) or VECTOR.search(code.group(2).split("<")[0]):
                found.add((function, code.group(1)))
    assert found == {("guest_reset_extended_state", "fxrstor64"),
                     ("guest_reset_extended_state", "xrstor64"), ("moves", "movdqu"), ("moves", "vmovdqu")}
