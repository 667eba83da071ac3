"""A stock Linux beside the control loop: /tests/check in its initrd looks at cores, memory, clock,
interrupts and vector registers; the loop keeps its period all the while."""

import re

import pytest
from partitions import control_loop, lines_of, partition

MEMORY = 192  # MiB of the Linux partition


def linux_and_loop(linux_cores, loop_core, period_us, report, linear):
    """linear: bits of a linear address. Linux uses five levels of page tables where they are offered."""
    cmdline = (f"console=ttyS0 quiet mullion.test=check expect_cpus={len(linux_cores)} "
               f"expect_mem={MEMORY} expect_linear={linear}")
    return (partition("linux", linux_cores, "vmlinuz", memory=f"{MEMORY}M", cmdline=cmdline,
                      more='initrd = "initrd"')
            + control_loop(loop_core, period_us, report=report))


@pytest.fixture
def modules(linux, initrd, guest):
    return {"vmlinuz": linux, "initrd": initrd, "control-loop.elf": guest("control-loop.elf")}


def assert_checked(machine, cpus, timeout):
    """Every check of /tests/check was made, and came out well; Linux powered off."""
    machine.wait_for(r"^\[linux\] check: done \d+ failed\n", timeout)
    checks = dict(re.findall(r"^\[linux\] check: ([\w-]+) (ok|FAIL|skipped)\b.*\n", machine.text(),
                             re.M))
    told = "\n".join(line for line in lines_of(machine.text(), "linux") if "check:" in line)
    wanted = {"cpus", "memory", "linear", "clocksource", "tsc", "calibration", "sleep", "avx",
              *(f"interrupts-cpu{n}" for n in range(cpus)), *(["ipi"] if cpus > 1 else [])}
    assert set(checks) == wanted, told
    assert set(checks.values()) == {"ok"}, told
    machine.wait_for(r"^\[mullion\] linux: powered off\n", timeout)
    for n in range(cpus):
        machine.wait_for(rf"^\[mullion\] linux: vcpu {n} exits in all: [1-9]\d*\n", 60)


def reports(machine):
    """[(periods, missed)], as the loop told them."""
    return [tuple(map(int, m)) for m in re.findall(
        r"^\[loop\] control-loop: periods (\d+) missed (\d+) jitter .*\n", machine.text(), re.M)]


@pytest.mark.only_svm
def test_one_vcpu_exact(boot, modules):
    """Time counted in instructions: through the whole life of Linux not one period of 1 ms is lost.
    QEMU's cores take turns, and a round begins with core 0: the loop has it."""
    machine = boot(linux_and_loop([1], 0, period_us=1000, report=500, linear=57), modules, cpus=2, icount=True)
    assert_checked(machine, 1, 900)
    told = reports(machine)
    assert len(told) >= 4, "the control loop fell silent"
    assert told[-1][1] == 0, f"{told[-1][1]} of {told[-1][0]} periods missed"


@pytest.mark.only_svm
def test_two_vcpus_svm(boot, modules):
    """Three cores on as many threads. What the host's load does to the loop's time proves nothing
    here; that it goes on reporting does."""
    machine = boot(linux_and_loop([0, 1], 2, period_us=10000, report=50, linear=57), modules, cpus=3)
    assert_checked(machine, 2, 600)
    before = len(reports(machine))
    assert before >= 4, "the control loop fell silent"
    machine.wait_for(r"^\[loop\] control-loop: periods \d+", start=len(machine.text()))


@pytest.mark.only_vmx
def test_two_vcpus_vmx(boot, modules):
    """Bochs counts time in instructions as well: the loop beside two vCPUs loses no period."""
    file = linux_and_loop([0, 1], 2, period_us=20000, report=50, linear=48)
    machine = boot(file, modules, cpus=3)
    assert_checked(machine, 2, 2400)
    told = reports(machine)
    assert len(told) >= 4, "the control loop fell silent"
    assert told[-1][1] == 0, f"{told[-1][1]} of {told[-1][0]} periods missed"


def test_hpet(boot, linux, initrd):
    """An HPET, where the file asks for one, is all that Linux needs to keep time and to be woken."""
    machine = boot(partition("linux", [0], "vmlinuz", memory=f"{MEMORY}M", more='initrd = "initrd"\nhpet = true',
                             cmdline="console=ttyS0 mullion.test=hpet clocksource=hpet nolapic_timer"),
                   {"vmlinuz": linux, "initrd": initrd})
    said = machine.wait_for(r"^\[linux\] hpet: clocksource (\S+), timer (\S+), (\d+) interrupts in ([1-4]) s\n", 1200)
    assert said.group(1, 2) == ("hpet", "hpet")
    assert int(said.group(3)) >= 20
    machine.wait_for(r"^\[mullion\] linux: powered off\n", 120)
