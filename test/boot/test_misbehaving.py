"""Devices and IOMMUs that do not do as told, beside partitions that go on. QEMU's always do: a test stops the machine at
the place where Mullion asks them for something, and changes what they find there (gdbstub.py). The rest is QEMU's own: a
command of the wrong kind stops its VT-d unit's queue, and a wait that stores nothing never shows to have ended."""

import functools
import re
import struct
import time

import emulator
import pytest
from conftest import PATIENCE
from gdbstub import GdbStub, Ports
from partitions import partition
from test_hygiene import DEBUG
from test_pci import IOMMUS, assert_checked, bus

pytestmark = pytest.mark.only_svm

# What a unit is called in the log, its registers, the ring's address and its tail among them, and the function that waits
# for commands.
UNITS = {"amd": ("amd-vi", 0xfed80000, 8, 0x2008, "complete"), "intel": ("VT-d", 0xfed90000, 0x90, 0x88, "invalidate")}
# Both as the hypervisor has them: the attach and the detach of a function.
ATTACH = {"amd": "attach", "intel": "vtd_attach"}
DETACH = {"amd": "detach", "intel": "vtd_detach"}
RING, ADDRESS = 4096, (1 << 52) - 4096
BOUND = 20  # seconds in which a core gives up: it waits for two at most
FAULTS = [("amd", "silent"), ("amd", "refused"), ("intel", "silent"), ("intel", "refused")]


def spoilt(iommu, fault, low):
    """The wait command, by the first half of it, that this was; None for other commands. 48882, COMPLETION_WAIT: the
    operation in bits 63:60, the store flag in bit 0. VT-d 4.1, Invalidation Wait Descriptor: the type in bits 3:0, status
    write and interrupt flag in bits 5 and 4."""
    if low >> 60 != 1 if iommu == "amd" else low & 15 != 5:
        return None
    if fault == "refused":  # an operation that there is not
        return low | 15 << 60 if iommu == "amd" else low | 15
    return low & ~1 if iommu == "amd" else low & ~(1 << 5) | 1 << 4


def spoil_wait(gdb, iommu, fault):
    """Lets the function that waits for a unit write its commands, and spoils the wait among them before the unit is told."""
    _, registers, *places, waiter = UNITS[iommu]
    gdb.run_to(waiter)
    ring, tail = (struct.unpack("<Q", gdb.read_pa(registers + place, 8))[0] for place in places)
    ring &= ADDRESS

    def commands():
        """The next few, which the unit has not been told of, by address. Each wait has a number of its own."""
        here = gdb.read_pa(ring + tail, min(256, RING - tail))
        halves = struct.unpack("<32Q", here + gdb.read_pa(ring, 256 - len(here)))
        return {ring + (tail + 16 * i) % RING: halves[2 * i:2 * i + 2] for i in range(16)}

    before = commands()
    for _ in range(400):
        gdb.step()
        for at, halves in commands().items():
            changed = spoilt(iommu, fault, halves[0]) if halves != before[at] else None
            if changed is not None:
                gdb.write_pa(at, struct.pack("<Q", changed))
                return
    pytest.fail("no command to wait for the others was written")


@pytest.fixture
def stopped(boot, guest, tmp_path):
    """A function that starts a machine, which waits, and returns it and the way into it."""
    ends = []

    def start(file, extra, **options):
        path = tmp_path / "gdb"
        machine = boot(file, {name: guest(name) for name in ("pci.elf", "control-loop.elf") if f'"{name}"' in file},
                       extra=extra + GdbStub.arguments(path), **options)
        ends.append(GdbStub(path, DEBUG, 60 * PATIENCE))
        return machine, ends[-1]

    yield start
    for end in ends:
        end.close()


def loop(core):
    return partition("loop", [core], "control-loop.elf", cmdline="period_us=10000 report=100")


def qemu_may_lose(check):
    """QEMU 7.2 may lead an access of one core to its local APIC astray while BARs of a function on another come or go, and a
    timer is then never set (docs/emulators.md): a check that waited in vain makes the test run again, as after a crash."""
    @functools.wraps(check)
    def checked(*arguments):
        try:
            return check(*arguments)
        except emulator.MarkerNotSeen as error:
            raise emulator.EmulatorCrashed(f"or a neighbour stands still: {error}") from error
    return checked


@qemu_may_lose
def assert_goes_on(machine):
    """The control loop, from here on."""
    done = max([0, *map(int, re.findall(r"^\[loop\] control-loop: periods (\d+) ", machine.text(), re.M))])
    machine.wait_for(rf"^\[loop\] control-loop: periods (?!{done} )[1-9]\d* .*\n", start=len(machine.text()))
    assert "panic" not in machine.text() and machine.text().count("mullion: version") == 1


def assert_told_in_time(machine, pattern):
    return machine.wait_for(rf"^\[mullion\] {pattern}\n", BOUND)


def hang_of(iommu):
    """How the unit is told of."""
    name, registers, *_ = UNITS[iommu]
    return f"{name}: the unit at {registers:#x} does not complete an invalidation"


@pytest.mark.parametrize("iommu, fault", FAULTS)
def test_iommu_hangs_at_boot(stopped, iommu, fault):
    """Already when it is set up: it is not used."""
    machine, gdb = stopped(bus("one", 0, ["00:05.0"]) + loop(1), IOMMUS[iommu] + ["-device", "edu,addr=5"], cpus=2)
    spoil_wait(gdb, iommu, fault)
    gdb.detach()
    assert_told_in_time(machine, rf"iommu: not used: .*{UNITS[iommu][1]:#x} does not .*")
    assert_told_in_time(machine, rf"one: does not start: .*{UNITS[iommu][1]:#x} does not .*; dma = \"unprotected\" would .*")
    assert_goes_on(machine)
    assert "[one]" not in machine.text()


@pytest.mark.parametrize("iommu, fault", FAULTS)
def test_iommu_hangs_at_start(stopped, iommu, fault):
    """While it opens the DMA of the first partition's device. The one behind it, with a device behind the same unit, is
    told at once: nobody waits a second time."""
    machine, gdb = stopped(bus("one", 0, ["00:05.0"]) + bus("two", 1, ["00:06.0"]) + loop(2),
                           IOMMUS[iommu] + ["-device", "edu,addr=5", "-device", "edu,addr=6"], cpus=3)
    gdb.run_to(ATTACH[iommu])
    spoil_wait(gdb, iommu, fault)
    gdb.detach()
    assert_told_in_time(machine, hang_of(iommu) + ".*: its devices stay closed")
    for name, function in ("one", "00:05.0"), ("two", "00:06.0"):
        assert_told_in_time(machine, rf"{name}: not started: {function}: the IOMMU does not open its DMA: no answer in time")
    assert_goes_on(machine)
    assert "[one]" not in machine.text() and "[two]" not in machine.text()
    assert machine.text().count(hang_of(iommu)) == 1


def neighbour(core):
    """A partition with a device behind the same unit. It drives it, waits for a key, and drives it again: in between it
    leaves the device alone, since QEMU 7.2 may lead an access astray while another function's memory comes or goes
    (docs/emulators.md)."""
    return bus("other", core, ["00:06.0"], "dma key brief")


def resetting(function):
    """A partition that resets itself at a key."""
    return bus("one", 0, [function], "rounds=1 key brief loop", 'restart = { on = "reset" }')


def reset_by_key(machine):
    for name in "one", "other":
        machine.wait_for(rf"^\[{name}\] pci: waits for a key\n")
    machine.send("\r")


@qemu_may_lose
def assert_neighbour_works(machine):
    """Interrupts that were opened before come, and DMA goes where it went. The keyboard is its own, once that of the
    partition before it has gone."""
    machine.wait_for(r"^\[other\] pci: waits for a key\n")
    for _ in range(30):
        machine.send("\r")
        time.sleep(1)
        if "[other] pci: done" in machine.text():
            break
    assert_checked(machine, "other", {"msi", "msi-off", "dma"})


@pytest.mark.parametrize("iommu, fault", FAULTS)
@pytest.mark.parametrize("moment", ["end", "again"])
def test_iommu_hangs_at_reset(stopped, iommu, fault, moment):
    """While it closes or opens again the DMA of a partition that resets itself. That one ends; the device of another,
    open since the start, works on behind the same unit."""
    machine, gdb = stopped(resetting("00:05.0") + neighbour(1) + loop(2),
                           IOMMUS[iommu] + ["-device", "edu,addr=5", "-device", "edu,addr=6"], cpus=3)
    gdb.run_to(ATTACH[iommu])
    gdb.run_to(ATTACH[iommu])  # the neighbour's
    gdb.run_to((DETACH if moment == "end" else ATTACH)[iommu], meanwhile=lambda: reset_by_key(machine))
    spoil_wait(gdb, iommu, fault)
    gdb.detach()
    assert_told_in_time(machine, hang_of(iommu) + ".*: its devices stay closed")
    if moment == "again":
        assert_told_in_time(machine, "one: not started again: 00:05.0: the IOMMU does not open its DMA: no answer in time")
    assert_told_in_time(machine, "one: 00:05.0: the IOMMU does not confirm that its DMA is closed")
    assert_neighbour_works(machine)
    assert_goes_on(machine)
    assert machine.text().count(hang_of(iommu)) == 1
    assert machine.text().count("[mullion] one: restart ") == (moment == "again")


PORT, SLOT_CONTROL, POWER_OFF = "00:05.0", 0x18, 1 << 10  # PCI Express Base 4.0, Slot Control Register


def switch_slot_off(ports):
    at = ports.capability(PORT, 0x10)
    ports.config_write(PORT, at + SLOT_CONTROL, ports.config_read(PORT, at + SLOT_CONTROL) | POWER_OFF)
    assert ports.config_read("01:00.0", 0) == 0xffff


@pytest.mark.parametrize("moment, start", [("start", "not started"), ("again", "not started again")])
@pytest.mark.parametrize("iommu", sorted(IOMMUS))
def test_busy_after_reset(stopped, tmp_path, iommu, moment, start):
    """A controller whose slot loses power once its reset has begun: it reads as ones, as does one that does not come
    back. At the first start, or at the end of a run, after which it is started again."""
    path = tmp_path / "ports"
    machine, gdb = stopped(resetting("01:00.0") + neighbour(1) + loop(2),
                           IOMMUS[iommu] + ["-device", "pcie-root-port,id=p,addr=5,chassis=1", "-device", "nvme,serial=1,bus=p",
                                            "-device", "edu,addr=6"] + Ports.arguments(path), cpus=3)

    def waits():
        """Behind the start of a reset, 100 ms; the edu, which has none, does not come here."""
        return gdb.register("rdi") == 100000 and gdb.called_from("pci_reset")

    gdb.run_to("pci_reset")
    gdb.run_to("clock_wait_us", waits)
    if moment == "again":
        gdb.run_to("pci_reset")  # the edu's
        gdb.run_to("pci_reset", meanwhile=lambda: reset_by_key(machine))
        gdb.run_to("clock_wait_us", waits)
    ports = Ports(path)
    switch_slot_off(ports)
    ports.close()
    gdb.detach()
    assert_told_in_time(machine, rf"one: {start}: 01:00\.0 stays busy after its reset; power the machine off and on")
    assert_neighbour_works(machine)
    assert_goes_on(machine)


CARDS = {"e1000e": "8086:10d3", "i82550": "8086:1209"}  # QEMU's functions with D3hot and without No_Soft_Reset or FLR


@pytest.mark.parametrize("card", CARDS)
def test_power_state(boot, guest, tmp_path, card):
    """Reset by D3hot and D0: both are written to the function, at its start and at its end. QEMU's cards keep all they
    hold: what a card does then is not seen."""
    path = tmp_path / "trace"
    file = bus("one", 0, [CARDS[card]], "brief").replace('pci-reset = "optional"\n', "") + loop(1)
    machine = boot(file, {name: guest(name) for name in ("pci.elf", "control-loop.elf")}, cpus=2,
                   extra=IOMMUS["intel"] + ["-device", f"{card},addr=3", "-trace", f"enable=pci_cfg_write,file={path}"])
    machine.wait_for(r"^\[mullion\] one: 00:03\.0: reset: power state\n")
    assert_checked(machine, "one", {"host-bridge", "ecam"})
    machine.wait_for(r"^\[mullion\] one: powered off\n")
    assert_goes_on(machine)
    machine.kill()  # what it has traced is in the file then
    writes = "".join(re.findall(rf"pci_cfg_write ({card} .*\n)", path.read_text()))
    # The command register without bus mastering, then the same register of power management twice (PCI Power
    # Management 1.2, PMCSR: the state in bits 1:0).
    assert len(re.findall(r"@0x4 <- 0x400\n.* @(0x\w+) <- 0x\w*[37bf]\n.* @\1 <- 0x\w*[048c]\n", writes)) == 2
