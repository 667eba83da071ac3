"""Machines that lack something: each starts its partition, or says what is missing and halts. None
hangs, none resets."""

import pathlib
import tempfile
import time

import pytest

from hostspace import QemuMonitor
from partitions import partition
from test_refuse import refused

CONFIG = '[partition.one]\ncpus = [0]\nmemory = "16M"\nkernel = "hello.elf"\n'
CPU = "max,+svm,+npt"
STARTED = r"one\W+hello: cpu (.+)"


def start(boot, guest, **options):
    return boot(CONFIG, {"hello.elf": guest("hello.elf")}, **options)


def started(machine):
    machine.wait_for(STARTED)
    machine.wait_for(r"every partition has ended")
    assert machine.text().count("mullion: version") == 1, "it was reset"


# --- the processor

@pytest.mark.only_svm
@pytest.mark.parametrize("flag, what", [("nx", "no-execute"), ("lm", "long mode"), ("svm", "SVM"),
                                        ("npt", "NPT")])
def test_needed(boot, guest, flag, what):
    """Features without which it does not start."""
    machine = start(boot, guest, cpu=f"{CPU},-{flag}")
    refused(machine, rf".*{what}.*", r".+")
    assert machine.running() and machine.text().count("cannot start") == 1


@pytest.mark.only_svm
@pytest.mark.parametrize("flag", ["xsave", "pdpe1gb", "smep,-smap,-umip", "rdrand", "avx,-avx2",
                                  "tsc-deadline,-x2apic", "fsgsbase", "rdtscp", "pcid", "pge",
                                  "vgif", "xsave,-avx", "fxsr"])
def test_spared(boot, guest, flag):
    """Features that are used if they are there."""
    started(start(boot, guest, cpu=f"{CPU},-{flag}"))


@pytest.mark.only_vmx
@pytest.mark.parametrize("cpu", ["corei5_arrandale_m520", "corei7_sandy_bridge_2600k",
                                 "corei7_haswell_4770", "corei7_icelake_u"])
def test_older_and_newer(boot, guest, cpu):
    """Generations of VMX, from the first with unrestricted guests."""
    started(start(boot, guest, cpu=cpu))


# --- the board

@pytest.mark.only_svm
@pytest.mark.parametrize("extra", [
    ["-machine", "hpet=off"],
    ["-machine", "pit=off"],
    ["-machine", "hpet=off,pit=off"],
    ["-machine", "smm=off"],
    ["-machine", "i8042=off"],
    ["-machine", "acpi=off"],  # the firmware then writes tables of its own
    ["-machine", "acpi=off,hpet=off"],
], ids=lambda extra: extra[1])
def test_board_without(boot, guest, extra):
    started(start(boot, guest, extra=extra))


@pytest.mark.only_svm
def test_no_local_apic(boot, guest):
    """QEMU keeps its tables that tell of one. Without, no timer would ever go off."""
    refused(start(boot, guest, cpu=f"{CPU},-apic"), "this processor has no local APIC", r"use one that has it; .+")


@pytest.mark.only_svm
@pytest.mark.parametrize("smp", ["1,maxcpus=8", "2,maxcpus=4", "8"])
def test_cores(boot, guest, smp):
    """Empty sockets are no cores."""
    machine = start(boot, guest, cpus=smp)
    machine.wait_for(rf"boot: {smp.split(',')[0]} cores")
    started(machine)


# --- memory

@pytest.mark.only_svm
@pytest.mark.parametrize("memory", [4, 6, 8, 10, 12, 16, 20, 24, 32])
def test_little_memory(boot, guest, memory):
    """GRUB itself, or Mullion, says that it is too little; or it is enough."""
    machine = start(boot, guest, memory=memory)
    machine.wait_for(rf"{STARTED}|mullion: cannot start: .*memory|out of memory|error: .*memory",
                     timeout=60)
    assert machine.text().count("mullion: version") <= 1, "it was reset"


@pytest.mark.only_svm
def test_much_memory(boot, guest):
    """Above 4 GiB and with a hole below."""
    started(start(boot, guest, memory=6144))


# --- the machine itself breaks

@pytest.mark.only_svm
def test_machine_check(boot, guest):
    """While the hypervisor runs, which waits for the sleeper's timer: it tells where, and stops all cores. No emulator
    interrupts a guest with it: QEMU gives it to the guest."""
    path = pathlib.Path(tempfile.mkdtemp(), "qmp")
    machine = boot(partition("sleeper", [0], "control-loop.elf", cmdline="period_us=30000000")
                   + partition("spinner", [1], "bad.elf", cmdline="do=cli-loop"),
                   {name: guest(name) for name in ("control-loop.elf", "bad.elf")}, cpus=2,
                   extra=QemuMonitor.arguments(path))
    machine.wait_for(r"about to cli-loop")
    machine.wait_for(r"control-loop: period")
    monitor = QemuMonitor(path)
    deadline = time.monotonic() + 60
    while not monitor.halted()[0] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert monitor.halted() == [True, False]
    monitor.machine_check(0)
    machine.wait_for(r"panic: rip 0xffffffff8[0-9a-f]{7} rsp 0x[0-9a-f]+ .*\n")
    machine.wait_for(r"panic: exception 18 \(machine check\), error code 0x0, in the hypervisor\n")
    machine.wait_for(r"panic: the machine is stopped; please report these lines\n")
    while not all(monitor.halted()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert all(monitor.halted()), "a core goes on"
    monitor.close()
    assert machine.running() and machine.text().count("mullion: version") == 1, "it was reset"
