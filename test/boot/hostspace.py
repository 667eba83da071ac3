"""Looks into a stopped machine from outside: physical memory and control registers through the
emulator's own monitor, the hypervisor's structures by its symbols and headers, and the page tables
by a walker of this file's own.

    memory = QemuMonitor(machine, socket)
    memory.stop()
    host = Host(memory, image="build/mullion.debug.elf")
    for page in host.pages(host.cores[0].cr3): ...
"""

import collections
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time

PAGE = 4096
ADDRESS = (1 << 52) - PAGE
PRESENT, WRITE, USER, LARGE, NO_EXECUTE = 1, 2, 4, 1 << 7, 1 << 63

Page = collections.namedtuple("Page", "va pa bytes write execute user")


def overlap(page, base, size):
    return page.pa < base + size and base < page.pa + page.bytes


# --- monitors: stop(), go(), read(), registers()

class QemuMonitor:
    """QMP. Start the machine with extra=QemuMonitor.arguments(path)."""

    @staticmethod
    def arguments(path):
        return ["-qmp", f"unix:{path},server=on,wait=off"]

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(120)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r")
        json.loads(self._lines.readline())  # the greeting
        self._do("qmp_capabilities")
        with tempfile.NamedTemporaryFile(delete=False) as file:
            self._file = pathlib.Path(file.name)

    def _do(self, command, **arguments):
        request = json.dumps({"execute": command, "arguments": arguments})
        self._socket.sendall(request.encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def close(self):
        self._socket.close()
        self._file.unlink()

    def stop(self):
        self._do("stop")

    def go(self):
        self._do("cont")

    def read(self, pa, size):
        self._do("pmemsave", val=pa, size=size, filename=str(self._file))
        data = self._file.read_bytes()
        assert len(data) == size
        return data

    def registers(self):
        """[{"RIP": ..., "CR0": ..., ...}] in order of the cores, of guest or host."""
        text = self._do("human-monitor-command", **{"command-line": "info registers -a"})
        return [{name: int(value, 16)
                 for name, value in re.findall(r"\b(RIP|CR\d|EFER) ?=([0-9a-f]+)", part)}
                for part in re.split(r"CPU#\d+", text)[1:]]

    def halted(self):
        """[bool], in order of the cores."""
        text = self._do("human-monitor-command", **{"command-line": "info registers -a"})
        return [flag == "1" for flag in re.findall(r"\bHLT=(\d)", text)]

    def machine_check(self, core):
        """An error that was not corrected and that says so at once: SDM Vol 3B, IA32_MCi_STATUS: VAL, UC, EN, PCC."""
        self._do("human-monitor-command", **{"command-line": f"mce {core} 1 0xb200000000000000 0x4 0 0"})

    def saved(self, pa):
        """Host registers of a core in guest mode. QEMU keeps them in the host save area as in the
        save area of a VMCB."""
        save = self.read(pa + 0x400, 0x200)
        return {name: int.from_bytes(save[at:at + 8], "little")
                for name, at in (("EFER", 0xd0), ("CR4", 0x148), ("CR3", 0x150), ("CR0", 0x158))}


class BochsMonitor:
    """Bochs's debugger, which SIGINT calls."""

    def __init__(self, machine):
        self._machine = machine
        pid = machine.process.pid
        while children := pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pid = int(children[0])
        self._pid = pid
        self._asked = 0

    def close(self):
        pass

    def _do(self, command):
        """What the debugger prints up to a mark that a second command makes it print."""
        self._asked += 1
        mark = 0x5000000 + self._asked
        start = len(self._machine.text())
        os.write(self._machine.process.stdin.fileno(), f"{command}\n? {mark}\n".encode())
        self._machine.wait_for(rf"^0x0*{mark:x} {mark}\b", 60, start=start)
        return self._machine.text()[start:]

    def stop(self):
        start = len(self._machine.text())
        os.kill(self._pid, signal.SIGINT)
        self._machine.wait_for(r"<bochs:\d+>", 60, start=start)

    def go(self):
        os.write(self._machine.process.stdin.fileno(), b"c\n")
        time.sleep(0.1)

    def read(self, pa, size):
        words = (size + 3) // 4
        text = self._do(f"xp /{words}wx {pa:#x}")
        found = []
        for line in re.findall(r"<bogus[^>]*>:(.*)", text):
            found += [int(word, 16) for word in re.findall(r"0x([0-9a-f]{8})\b", line)]
        assert len(found) == words, text
        return struct.pack(f"<{words}I", *found)[:size]

    def registers(self):
        """As QEMU's."""
        found = []
        for core in range(self._machine.cpus):
            self._do(f"set $cpu={core}")
            text = self._do("creg") + self._do("r")
            found.append({name.upper(): int(value, 16) for name, value in
                          re.findall(r"^(CR[034]|EFER|rip)[=:] ?(?:0x)?([0-9a-f_]+)", text, re.M)})
        return found


# --- the hypervisor's own structures

OFFSETS = """
#include <stdio.h>
#include "core/local.h"
#include "core/machine.h"
#include "core/passthrough.h"
#define F(s, f) printf(#s "." #f " %zu %zu\\n", offsetof(struct s, f), sizeof(((struct s *)0)->f));
#define S(s) printf(#s " 0 %zu\\n", sizeof(struct s));
#define D(d) printf(#d " 0 %llu\\n", (unsigned long long)(d));
int main(void) {
    F(machine, boot) F(machine, config) F(machine, partitions)
    F(boot_info, cores) F(boot_info, core_count) F(boot_info, image) F(boot_info, acpi)
    F(boot_core, cr3) S(boot_core)
    F(config, partition_count)
    F(partition, config) F(partition, hw) F(partition, pieces) F(partition, piece_count)
    F(partition, block) F(partition, block_bytes) F(partition, images) F(partition, image_count)
    F(image_module, data) F(image_module, bytes) S(image_module)
    F(partition, vcpus) F(partition, vcpu_count) F(partition, pci)
    F(passthrough, block) F(passthrough, block_bytes)
    F(config_partition, name)
    F(vendor_partition, stage2_root) F(vcpu, core) F(vcpu, hw) F(vcpu_hw, block_pa) S(piece)
    F(host_acpi, lapic_address) F(host_acpi, ioapics) F(host_acpi, ioapic_count)
    F(host_ioapic, address) S(host_ioapic)
    D(IMAGE_BASE) D(LOCAL_BASE) D(DIRECT_BASE)
    D(LOCAL_DATA_PAGES) D(LOCAL_STACK_PAGE) D(LOCAL_STACK_PAGES) D(LOCAL_FAULT_PAGE)
    D(LOCAL_VENDOR_PAGE)
}
"""


class Layout:
    """Offsets and sizes as the compiler sees them: layout["machine.boot"] is (offset, bytes)."""

    def __init__(self, top):
        with tempfile.TemporaryDirectory() as where:
            program = pathlib.Path(where, "offsets")
            subprocess.run(["gcc", "-std=gnu11", "-DHOST_BUILD", f"-I{top}", "-w", "-xc", "-", "-o",
                            program], input=OFFSETS, text=True, check=True)
            lines = subprocess.run([program], text=True, check=True, capture_output=True).stdout
        self._found = {name: (int(offset), int(size))
                       for name, offset, size in map(str.split, lines.splitlines())}

    def __getitem__(self, name):
        return self._found[name]

    def value(self, name):
        return self._found[name][1]


def symbols(image):
    lines = subprocess.run(["nm", image], text=True, check=True, capture_output=True).stdout
    return {name: int(value, 16)
            for value, _, name in map(str.split, lines.splitlines())}


class Partition:
    """Physical ranges, as (base, bytes). controls: of each vCPU's control block. pci: what its functions need, in a
    list: none without functions."""

    def __init__(self, name, cores, stage2, block, pieces, modules, controls, pci):
        self.name, self.cores, self.stage2, self.controls = name, cores, stage2, controls
        self.block, self.pieces, self.modules, self.pci = block, pieces, modules, pci

    def ranges(self):
        return [self.block, *self.pieces, *self.modules, *self.pci]


class Host:
    """The hypervisor in a stopped machine. Found through a core that is in host mode: its cr3 maps
    the image."""

    def __init__(self, memory, image, top):
        self.memory, self.layout, self.symbols = memory, Layout(top), symbols(image)
        self._tables = {}
        image_base = self.layout.value("IMAGE_BASE")
        for registers in memory.registers():
            if registers.get("RIP", 0) >= image_base:
                # Its first pages hold start-up code, which is not mapped any more.
                there = self.symbols["init_end"]
                self.image = self._translate(registers["CR3"], there) - (there - image_base)
                break
        else:
            raise LookupError("no core is in host mode")
        boot = self._pointer("machine", self._of_image("machine"), "boot")
        self.cr3 = [self._field("boot_core", at, "cr3") for at in self._array(
            "boot_core", self._pointer("boot_info", boot, "cores"),
            self._field("boot_info", boot, "core_count"))]
        self.boot = boot
        self.devices = self._devices(self._pointer("boot_info", boot, "acpi"))
        self.partitions = self._partitions()

    # --- memory

    def _of_image(self, symbol):
        return self.symbols[symbol] - self.layout.value("IMAGE_BASE") + self.image

    def _physical(self, va):
        """Of a pointer that the hypervisor keeps: into the direct map or into the image."""
        if va >= self.layout.value("IMAGE_BASE"):
            return va - self.layout.value("IMAGE_BASE") + self.image
        return va - self.layout.value("DIRECT_BASE")

    def _number(self, pa, size):
        first = pa & ~7
        return int.from_bytes(self.memory.read(first, 16)[pa - first:][:size], "little")

    def _field(self, structure, at, name):
        offset, size = self.layout[f"{structure}.{name}"]
        return self._number(at + offset, size)

    def _pointer(self, structure, at, name):
        value = self._field(structure, at, name)
        return self._physical(value) if value else 0

    def _array(self, structure, at, count):
        return [at + i * self.layout.value(structure) for i in range(count)]

    def _string(self, pa):
        first = pa & ~7
        return self.memory.read(first, 128)[pa - first:].split(b"\0")[0].decode()

    # --- structures

    def _devices(self, acpi):
        ioapics = acpi + self.layout["host_acpi.ioapics"][0]
        return [self._field("host_acpi", acpi, "lapic_address")] + [
            self._field("host_ioapic", at, "address")
            for at in self._array("host_ioapic", ioapics,
                                  self._field("host_acpi", acpi, "ioapic_count"))]

    def _partitions(self):
        machine = self._of_image("machine")
        count = self._field("config", self._pointer("machine", machine, "config"),
                            "partition_count")
        table = self._pointer("machine", machine, "partitions")
        return [self._partition(self._physical(self._number(table + 8 * i, 8)))
                for i in range(count)]

    def _partition(self, at):
        def field(name):
            return self._field("partition", at, name)

        def pointer(name):
            return self._pointer("partition", at, name)

        name = self._string(self._pointer("config_partition", pointer("config"), "name"))
        vcpus = [self._physical(self._number(pointer("vcpus") + 8 * i, 8))
                 for i in range(field("vcpu_count"))]
        pieces = [struct.unpack("<QQ", self.memory.read(piece, 16)) for piece in
                  self._array("piece", pointer("pieces"), field("piece_count"))]
        modules = [(self._pointer("image_module", image, "data"), self._field("image_module", image, "bytes"))
                   for image in self._array("image_module", pointer("images"), field("image_count"))]
        pci = [(self._field("passthrough", functions, "block"), self._field("passthrough", functions, "block_bytes"))
               for functions in [pointer("pci")] if functions]
        stage2 = self._field("vendor_partition", at + self.layout["partition.hw"][0], "stage2_root")
        return Partition(name, [self._field("vcpu", v, "core") for v in vcpus], stage2,
                         (field("block"), field("block_bytes")), pieces, modules,
                         [self._field("vcpu_hw", v + self.layout["vcpu.hw"][0], "block_pa") for v in vcpus], pci)

    # --- page tables

    def _table(self, pa):
        if pa not in self._tables:
            self._tables[pa] = struct.unpack("<512Q", self.memory.read(pa, PAGE))
        return self._tables[pa]

    def _translate(self, root, va):
        table = root & ADDRESS
        for level in (4, 3, 2, 1):
            entry = self._table(table)[va >> (12 + 9 * (level - 1)) & 511]
            assert entry & PRESENT, f"{va:#x} is not mapped"
            size = PAGE << 9 * (level - 1)
            if level == 1 or entry & LARGE:
                return (entry & ADDRESS & ~(size - 1)) + (va & (size - 1))
            table = entry & ADDRESS

    def tables(self, root):
        """The addresses of the pages that a tree of tables consists of."""
        found, todo = [], [(root & ADDRESS, 4)]
        while todo:
            at, level = todo.pop()
            found.append(at)
            if level > 1:
                todo += [(e & ADDRESS, level - 1) for e in self._table(at)
                         if e & PRESENT and not (level < 4 and e & LARGE)]
        return found

    def pages(self, root):
        """Every leaf, with the rights of all levels combined. Of an EPT the addresses are right, and
        the right to write."""
        def walk(table, level, va, write, execute, user):
            for i, entry in enumerate(self._table(table)):
                if not entry & PRESENT:
                    continue
                at = va | i << (12 + 9 * (level - 1))
                rights = (write and bool(entry & WRITE), execute and not entry & NO_EXECUTE,
                          user and bool(entry & USER))
                if level > 1 and not entry & LARGE:
                    yield from walk(entry & ADDRESS, level - 1, at, *rights)
                    continue
                size = PAGE << 9 * (level - 1)
                if at >= 1 << 47:
                    at |= 0xffff << 48
                yield Page(at, entry & ADDRESS & ~(size - 1), size, *rights)
        return list(walk(root & ADDRESS, 4, 0, True, True, True))
