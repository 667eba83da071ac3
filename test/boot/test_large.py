"""Large machines: many cores, local APIC ids of 255 and above, memory maps in hundreds of pieces, firmware that uses
five-level paging."""

import os
import pathlib
import re

import emulator
import image
import pytest
from conftest import BUILD, MODELS, PATIENCE, SECONDS
from gdbstub import GdbStub
from partitions import assert_all_ended, partition

# --- cores


@pytest.mark.only_svm
@pytest.mark.parametrize("cores", [16, pytest.param(64, marks=pytest.mark.long)])
def test_many_cores(boot, guest, cores):
    """Half of them for each of two partitions."""
    half = cores // 2
    file = "".join(partition(name, list(range(first, first + half)), "smp.elf", "64M", cmdline="rounds=5 ticks=3")
                   for name, first in (("low", 0), ("high", half)))
    machine = boot(file, {"smp.elf": guest("smp.elf")}, cpus=cores, memory=1024)
    machine.wait_for(rf"^\[mullion\] boot: {cores} cores, xapic, ", 600)
    for name in "low", "high":
        machine.wait_for(rf"^\[{name}\] smp: ok {half} cpus\n", 600)
    assert_all_ended(machine, 600)


@pytest.mark.only_svm
@pytest.mark.parametrize("iommu", ["", "intel-iommu,intremap=on,eim=on", "amd-iommu,intremap=on,xtsup=on"])
def test_large_ids(newer, guest, iommu):
    """A package has room for 256 ids, so the second one begins at 256: two cores there run a partition that sends
    interrupts between them, and with an IOMMU the console's interrupt comes to them too."""
    cpu = f"{MODELS['svm']},+x2apic"
    cores = [f"max-x86_64-cpu,svm=on,npt=on,x2apic=on,socket-id=1,die-id=0,module-id=0,core-id={i},thread-id=0"
             for i in range(2)]
    file = '[machine]\nfocus = "large"\n' + partition("large", [1, 2], "smp.elf", "64M")
    machine = newer(file, {"smp.elf": guest("smp.elf")}, cpu=cpu, cpus="1,sockets=2,cores=200,threads=1,maxcpus=400",
                   extra=[word for device in [iommu, *cores] if device for word in ("-device", device)])
    machine.wait_for(r"^\[mullion\] boot: 3 cores, x2apic, ")
    machine.wait_for(r"^\[large\] smp: ok 2 cpus\n", 300)
    assert_all_ended(machine)


# --- memory

CUTS = 200  # GRUB takes longer with the square of it: in Bochs, minutes


class Cut(image.Contents):
    """GRUB takes a page out of each mebibyte from 32 MiB on, as if it were broken: the map that it hands over has two
    entries for each, and all of the machine's memory is full of holes."""

    def configuration(self, folder):
        cuts = "".join(f"cutmem {at:#x} {at + 4096:#x}\n" for at in range(32 << 20, (32 + CUTS) << 20, 1 << 20))
        return cuts + super().configuration(folder)


@pytest.mark.only_svm
def test_memory_in_pieces(request, vendor, tmp_path, guest, monkeypatch):
    """Nothing of what is cut is used, and the rest is; the partition lies behind the holes."""
    monkeypatch.setattr(image, "LOADER", [*image.LOADER, "mmap"])
    (tmp_path / "f.toml").write_text(partition("hello", [0], "hello.elf"))
    contents = Cut(tmp_path / "f.toml", {"hello.elf": guest("hello.elf")},
                   hypervisor=os.environ.get("MULLION", BUILD / "mullion.elf"))
    image.make(image.iso(contents, tmp_path / "iso"))
    log = pathlib.Path(BUILD / "logs" / f"{request.node.name}.log")
    machine = emulator.for_vendor(vendor, tmp_path / "iso", log, cpus=1, memory=512, limit=int(900 * PATIENCE),
                                  cpu=MODELS[vendor])
    request.node.machines = [machine]
    with machine:
        free = machine.wait_for(r"^\[mullion\] boot: 1 cores, \w+, (\d+) MiB free\n", SECONDS[vendor] * 2 * PATIENCE)
        assert 505 <= int(free.group(1)) <= 510, "some 512 MiB but for 0.8 MiB of holes"
        machine.wait_for(r"^\[hello\] hello: cpu ", SECONDS[vendor] * PATIENCE)
        machine.wait_exit(SECONDS[vendor] * PATIENCE)


# --- paging

class Debugger(GdbStub):
    """With control registers."""

    CR4 = 30  # the number that QEMU gives it

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.ask("qSupported:xmlRegisters=i386")  # without it there are no control registers
        self.ask("qXfer:features:read:target.xml:0,ffb")

    def cr4(self):
        value = bytes.fromhex(self.ask(f"p{self.CR4:x}"))
        assert value
        return value


LA57 = 1 << 12  # of CR4: 57-bit linear addresses


@pytest.mark.only_svm
def test_five_level_paging(boot, guest, tmp_path):
    """On a processor that has it. UEFI firmware that runs with it hands CR4.LA57 over through GRUB, which switches
    paging off and leaves that bit: the hypervisor, and a guest, start with four levels all the same."""
    gdb = tmp_path / "gdb"
    machine = boot(partition("smp", [0, 1], "smp.elf"), {"smp.elf": guest("smp.elf")}, cpus=2, cpu=f"{MODELS['svm']},+la57",
                   extra=GdbStub.arguments(gdb))
    debugger = Debugger(gdb, BUILD / "mullion.debug.elf", 60 * PATIENCE)
    start = debugger.address("_start") - 0xffffffff80000000
    debugger.stop_at(0x100000 + start)  # GRUB takes the lowest place that the image's header allows
    before = debugger.cr4()
    value = int.from_bytes(before, "little") | LA57
    assert debugger.ask(f"P{Debugger.CR4:x}={value.to_bytes(len(before), 'little').hex()}") == "OK"
    assert int.from_bytes(debugger.cr4(), "little") & LA57
    debugger.detach()
    machine.wait_for(r"^\[smp\] smp: ok 2 cpus\n", 300)
    assert_all_ended(machine)


@pytest.mark.only_svm
@pytest.mark.parametrize("cpu, says, exits", [
    ("+la57", "57 bits #GP(0) #GP(0) 57 58 #GP(0) #GP(0)", True),
    ("-pku,-pks", "57 bits #GP(0) #GP(0) 57 58 #GP(0) #GP(0)", False),
    ("-la57", "48 bits #GP(0) #GP(0) none #GP(0)", True)], ids=["exits", "free", "none"])
def test_five_levels_of_a_guest(boot, guest, cpu, says, exits):
    """What the processor has, a guest has; whether its writes to CR4 exit, because of protection keys that it is not shown, or
    not. The rest that the probe knows of it is compared with the bare machine by test_conform.py."""
    machine = boot(partition("probe", [0], "probe.elf", "64M", cmdline="only=mode-la57"), {"probe.elf": guest("probe.elf")},
                   cpus=1, cpu=f"{MODELS['svm']},{cpu}")
    machine.wait_for(rf"^\[probe\] probe: mode-la57 ok {re.escape(says)}\n")
    counts = machine.wait_for(r"^\[mullion\] probe: vcpu 0 exits: (.*)\n").group(1)
    assert (" cr " in f" {counts}") == exits, counts
    assert_all_ended(machine)
