"""Mullion comes up under each firmware and in each mode of the local APIC, runs what it was given,
and switches the machine off when that has ended."""

import re

import pytest
from partitions import assert_all_ended, log_of, partition

MODE = {"svm": "xapic", "vmx": "x2apic"}  # of the machine's own local APICs: QEMU 7.2 has no other
VENDOR = {"svm": r"svm: revision \d+, \d+ asids, nested paging with pages up to (2 MiB|1 GiB)",
          "vmx": r"vmx: ept with 4K"}


def boot_smp(boot, guest, cores, **options):
    """Two vCPUs, on all cores but core 0, which nobody has."""
    return boot(partition("smp", list(range(1, cores)), "smp.elf"), {"smp.elf": guest("smp.elf")},
                cpus=cores, **options)


def assert_up(machine, vendor, cores, mode):
    machine.wait_for(r"^\[mullion\] mullion: version \S+\n")
    machine.wait_for(rf"^\[mullion\] boot: {cores} cores, {mode}, \d+ MiB free\n")
    machine.wait_for(rf"^\[mullion\] {VENDOR[vendor]}")
    machine.wait_for(r"^\[mullion\] mullion: all cores are in host mode, starting the partitions\n")
    # Bochs has no IA32_ARCH_CAPABILITIES.
    assert (vendor == "vmx") == bool(re.search(r"^\[mullion\] vmx: WARNING: .*CVE-2018-12207.*no-large-pages", machine.text(), re.M))


def test_bios(boot, guest, vendor):
    """Core 0 has no owner, and sleeps: the partition starts without it, and ends the machine."""
    machine = boot_smp(boot, guest, 3)
    assert_up(machine, vendor, 3, MODE[vendor])
    machine.wait_for(r"^\[smp\] smp: ok 2 cpus\n", 300)
    assert_all_ended(machine)


@pytest.mark.only_svm
def test_uefi(boot, guest, vendor):
    """OVMF: other memory map, RSDP of ACPI 2.0, power-off by the same registers."""
    machine = boot_smp(boot, guest, 3, uefi=True, memory=768)
    assert_up(machine, vendor, 3, MODE[vendor])
    machine.wait_for(r"^\[smp\] smp: ok 2 cpus\n", 300)
    assert_all_ended(machine)


@pytest.mark.only_vmx
def test_xapic_where_x2apic_is(boot, guest, vendor):
    """`no-x2apic` on the hypervisor's command line leaves the local APICs in xAPIC mode."""
    machine = boot_smp(boot, guest, 3, cmdline="no-x2apic")
    assert_up(machine, vendor, 3, "xapic")
    machine.wait_for(r"^\[smp\] smp: ok 2 cpus\n", 300)
    assert_all_ended(machine)


def test_exit_counts(boot, guest):
    """At a partition's end the log has its exits by reason, and they add up."""
    machine = boot(partition("hello", [0], "hello.elf"), {"hello.elf": guest("hello.elf")})
    assert_all_ended(machine)
    log = log_of(machine.text(), "hello")
    counts = {name: int(n) for line in log if line.startswith("vcpu 0 exits:")
              for name, n in re.findall(r"([\w-]+) (\d+)", line.split(":")[1])}
    total = next(int(m.group(1)) for line in log
                 if (m := re.fullmatch(r"vcpu 0 exits in all: (\d+)", line)))
    assert counts["cpuid"] >= 3 and counts["io"] > 50
    assert sum(counts.values()) == total


@pytest.mark.only_svm
@pytest.mark.parametrize("ports, reaches", [("[0xf4]", True), ("[\"0xf0-0xf3\", \"0xf8-0xff\"]", False)])
def test_port(boot, guest, ports, reaches):
    """At ports 0xf4 to 0xf7 QEMU has a device that ends it with the status 2 * value + 1. The io-storm writes
    to every port: it gets there where the port is the partition's own, and only there."""
    file = partition("bad", [0], "bad.elf", cmdline="do=io-storm", more=f"ports = {ports}")
    file += partition("loop", [1], "control-loop.elf", cmdline="period_us=20000 periods=50")
    machine = boot(file, {name: guest(name) for name in ("bad.elf", "control-loop.elf")}, cpus=2)
    machine.wait_for(r"^\[bad\] bad: about to io-storm\n")
    if reaches:
        assert machine.wait_exit() == (0xf4 * 2 + 1) & 0xff
    else:
        machine.wait_for(r"^\[mullion\] loop: powered off\n")
        assert machine.running()


@pytest.mark.only_vmx
@pytest.mark.parametrize("ports, reaches", [("[0x8900]", True), ("[\"0x88fc-0x88ff\", \"0x8901-0x8904\"]", False)])
def test_port_of_bochs(boot, guest, ports, reaches):
    """Bochs ends at once on a certain word at port 0x8900."""
    machine = boot(partition("hello", [0], "hello.elf", cmdline="port=0x8900 text=Shutdown", more=f"ports = {ports}"),
                   {"hello.elf": guest("hello.elf")})
    machine.wait_for(r"starting the partitions")
    machine.wait_exit()
    assert (r"[mullion] hello: powered off" in machine.text()) != reaches
