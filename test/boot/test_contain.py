"""What one partition does wrong costs the others nothing: beside each deed of guests/bad.c the control
loop keeps its period, and the log tells how the bad one ended. Time is counted in instructions, so
that `missed 0` means the hypervisor and not the load of the machine that runs the test.

With QEMU's icount the cores take turns, and one that spins gives way only to a timer: there each deed
runs alone beside the loop, on a machine of two cores. In Bochs all of them run at once."""

import re

import pytest
from partitions import assert_all_ended, assert_kept_period, control_loop, log_of, partition

# How each deed ends, and what the log says of the reason where the partition did not end itself.
CRASHES = {
    "triple-fault": r"vcpu 0 on core \d+ stopped: triple fault \(exit triple-fault, code 0x\w+\)",
    "jump-nowhere": r"vcpu 0 on core \d+ stopped: instruction fetch at guest-physical 0xb0000000, "
                    r"which the partition does not own? \(exit stage2, code 0x\w+\)",
    # It writes over its own page tables, and no exception can be delivered without them.
    "stack": r"vcpu 0 on core \d+ stopped: triple fault \(exit triple-fault, code 0x\w+\)",
}
RESETS = ["reset-kbd", "reset-cf9"]
# The guest's library tells of an exception that nobody expects, and powers off.
POWERS_OFF = ["jump", "jump-non-canonical", "write-past-end", "vmcall", "msr"]
ENDLESS = ["cli-loop", "cli-hlt", "ud-storm", "io-storm"]


def bad(deed, core):
    return partition(deed, [core], "bad.elf", cmdline=f"do={deed}")


@pytest.fixture
def programs(guest):
    return {name: guest(name) for name in ("control-loop.elf", "bad.elf")}


# --- AMD-V: one deed at a time, exact

# QEMU lets a spinning core run for up to 100 ms before the next one's turn: a longer period needs
# only four turns to show that the loop gets its own. Where the bad one comes to rest at once, 1 ms.
SPINS = {"period_us": 120000, "periods": 4}
RESTS = {"period_us": 1000, "periods": 500}


def boot_beside_loop(boot, programs, deed, pace):
    return boot(control_loop(0, **pace) + bad(deed, 1), programs, cpus=2, icount=True)


def assert_told(log, deed):
    """The log tells how this deed ended, with the reason where the partition did not end itself."""
    end = "crashed" if deed in CRASHES else "reset" if deed in RESETS else "powered off"
    assert end in log
    assert any(re.match(r"vcpu 0 exits in all: [1-9]", line) for line in log)
    if deed not in CRASHES:
        return
    assert re.match(CRASHES[deed], log[1]), log[1]
    for wanted in (r"rip 0x\w+ rsp 0x\w+ rflags 0x\w+", r"cr0 0x\w+ .* efer 0x\w+",
                   r"rax 0x\w+ rcx 0x\w+ ", r"r12 0x\w+ .* r15 0x\w+", r"cs selector 0x10 ",
                   r"idtr ", r"instruction bytes ((\w\w )+|unreadable)"):
        assert any(re.match(wanted, line) for line in log), f"no {wanted!r} in {log}"


@pytest.mark.only_svm
@pytest.mark.parametrize("deed", [*CRASHES, *RESETS, *POWERS_OFF])
def test_ends(boot, programs, deed):
    pace = SPINS if deed in ("vmcall", "msr") else RESTS
    machine = boot_beside_loop(boot, programs, deed, pace)
    assert_kept_period(machine, pace["periods"], 300)
    assert_all_ended(machine)
    assert_told(log_of(machine.text(), deed), deed)


@pytest.mark.only_svm
@pytest.mark.parametrize("deed", ENDLESS)
def test_endless(boot, programs, deed):
    """It goes on for ever, and nobody stops it: its core is its own."""
    pace = RESTS if deed == "cli-hlt" else SPINS
    machine = boot_beside_loop(boot, programs, deed, pace)
    assert_kept_period(machine, pace["periods"], 600)
    machine.wait_for(r"^\[mullion\] loop: powered off\n")
    assert machine.running()
    assert log_of(machine.text(), deed)[1:] == [], "the deed was to go on"


# --- VT-x: many at once, in emulated time

PERIODS = 25


def boot_all_beside_loop(boot, programs, deeds):
    file = control_loop(0, period_us=20000, periods=PERIODS)
    file += "".join(bad(deed, core) for core, deed in enumerate(deeds, 1))
    return boot(file, programs, cpus=len(deeds) + 1)


@pytest.mark.only_vmx
def test_all_end(boot, programs):
    deeds = [*CRASHES, *RESETS, *POWERS_OFF]
    machine = boot_all_beside_loop(boot, programs, deeds)
    assert_kept_period(machine, PERIODS, 900)
    assert_all_ended(machine, 900)
    for deed in deeds:
        assert_told(log_of(machine.text(), deed), deed)


@pytest.mark.only_vmx
def test_all_endless(boot, programs):
    machine = boot_all_beside_loop(boot, programs, ENDLESS)
    assert_kept_period(machine, PERIODS, 900)
    machine.wait_for(r"^\[mullion\] loop: powered off\n")
    assert machine.running()
    for deed in ENDLESS:
        assert log_of(machine.text(), deed)[1:] == [], "the deed was to go on"
