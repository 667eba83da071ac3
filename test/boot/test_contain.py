"""What one partition does wrong costs the others nothing: beside all deeds of guests/bad.c the control
loop keeps its period, and the log tells how each bad one ended. Both emulators count time in
instructions here, so `missed 0` speaks of the hypervisor and not of the load of the machine that
runs the test."""

import re

from partitions import (assert_all_ended, assert_kept_period, control_loop, in_counted_time, log_of,
                        partition)

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


PERIODS = 25


def boot_beside_loop(boot, guest, vendor, deeds):
    """The control loop on core 0, and a core for each deed."""
    file = control_loop(0, period_us=20000, periods=PERIODS)
    file += "".join(bad(deed, core) for core, deed in enumerate(deeds, 1))
    programs = {name: guest(name) for name in ("control-loop.elf", "bad.elf")}
    return boot(file, programs, cpus=len(deeds) + 1, **in_counted_time(vendor))


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


def test_ends(boot, guest, vendor):
    """The bad partitions end, each with its reason; the loop does, later; the machine powers off."""
    deeds = [*CRASHES, *RESETS, *POWERS_OFF]
    machine = boot_beside_loop(boot, guest, vendor, deeds)
    assert_kept_period(machine, PERIODS, 900)
    assert_all_ended(machine, 900)
    for deed in deeds:
        assert_told(log_of(machine.text(), deed), deed)


def test_endless(boot, guest, vendor):
    """These go on for ever, and nobody stops them: each has its core to itself."""
    machine = boot_beside_loop(boot, guest, vendor, ENDLESS)
    assert_kept_period(machine, PERIODS, 900)
    machine.wait_for(r"^\[mullion\] loop: powered off\n")
    assert machine.running()
    for deed in ENDLESS:
        assert log_of(machine.text(), deed)[1:] == [], "the deed was to go on"
