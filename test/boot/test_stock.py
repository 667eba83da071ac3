"""Debian's kernels as they are, with 1, 2 and 4 vCPUs: stress-ng and rt-tests' cyclictest run to the end
of a bounded count in them, and find nothing wrong (guests/linux/tests/stress). No time is measured."""

import re

import pytest
from partitions import in_counted_time, lines_of, partition

KERNELS = {"cloud": "linux/vmlinuz", "stock": "linux/vmlinuz-stock", "rt": "linux/vmlinuz-rt"}
STRESSORS = {"cpu", "vm", "matrix", "vecwide", "sigfpe", "switch", "pipe", "fork", "futex", "mmap",
             "tlb-shootdown", "x86cpuid", "cache", "cyclictest"}
# Instructions in a second of Bochs's. At its usual 20 million a sleeper of 5 microseconds is never woken in time, which is all that
# the futex stressor counts, and a tick comes every 80,000 instructions.
FAST = {"svm": {}, "vmx": {"ips": 400_000_000}}
PAIRS = [pytest.param(kernel, cpus, id=f"{kernel}-{cpus}") for kernel in KERNELS for cpus in (1, 2, 4)]


def boot_stress(boot, stock, kernel, cpus):
    file = partition("linux", list(range(cpus)), "vmlinuz", memory="256M", more='initrd = "initrd"',
                     cmdline="console=ttyS0 mullion.test=stress quiet")
    return boot(file, {"vmlinuz": stock(KERNELS[kernel]), "initrd": stock("initrd-stress.img")},
                cpus=cpus, memory=768, limit=7200, **FAST[boot.vendor])


def assert_stressed(machine, cpus, timeout):
    """Every stressor ran on every vCPU to its count and was content; Linux powered off."""
    machine.wait_for(r"^\[linux\] stress: done \d+ failed\n", timeout)
    told = [line for line in lines_of(machine.text(), "linux") if line.startswith("stress: ")]
    passed = {match[1] for match in (re.match(r"stress: ([\w-]+) ok ", line) for line in told) if match}
    assert passed == STRESSORS and not any("FAIL" in line for line in told), "\n".join(told)
    machine.wait_for(r"^\[mullion\] linux: powered off\n")
    for n in range(cpus):
        machine.wait_for(rf"^\[mullion\] linux: vcpu {n} exits in all: [1-9]\d*\n")


def run(boot, stock, kernel, cpus):
    machine = boot_stress(boot, stock, kernel, cpus)
    # 2400 s more for each vCPU in Bochs, which has one thread for all.
    assert_stressed(machine, cpus, 1200 if machine.vendor == "svm" else 2400 * cpus)


@pytest.mark.only_svm
@pytest.mark.parametrize("kernel, cpus", PAIRS)
def test_stress_svm(boot, stock, kernel, cpus):
    run(boot, stock, kernel, cpus)


@pytest.mark.only_vmx
@pytest.mark.long
@pytest.mark.parametrize("kernel, cpus", PAIRS)
def test_stress_vmx(boot, stock, kernel, cpus):
    run(boot, stock, kernel, cpus)


@pytest.mark.only_vmx
@pytest.mark.parametrize("kernel", [pytest.param("stock", marks=pytest.mark.long), "rt"])
def test_user_space_vmx(boot, stock, initrd, kernel):
    """What make test has time for in Bochs, where unpacking XZ is slow: to user space, which tells its
    name, and off again."""
    file = partition("linux", [0], "vmlinuz", memory="192M", more='initrd = "initrd"',
                     cmdline="console=ttyS0 mullion.test=version quiet")
    machine = boot(file, {"vmlinuz": stock(KERNELS[kernel]), "initrd": initrd}, cpus=1, memory=512)
    version = machine.wait_for(r"^\[linux\] version: (.*)\n", 1200)[1]
    assert ("PREEMPT_RT" in version) == (kernel == "rt"), version
    machine.wait_for(r"^\[mullion\] linux: powered off\n")


@pytest.mark.long
def test_cyclictest_beside_load(boot, stock, vendor):
    """The real-time kernel, and beside it a partition that is busy all the while. Time is counted in
    instructions; how many wake-ups came late is recorded, as a count, in the log of the run."""
    busy = partition("busy", [1], "vmlinuz-busy", memory="256M", more='initrd = "initrd"',
                     cmdline="console=ttyS0 mullion.test=stress stress=1000 quiet")
    file = partition("linux", [0], "vmlinuz", memory="256M", more='initrd = "initrd"',
                     cmdline="console=ttyS0 mullion.test=cyclic rounds=200 interval=10000 quiet") + busy
    machine = boot(file, {"vmlinuz": stock(KERNELS["rt"]), "vmlinuz-busy": stock(KERNELS["cloud"]),
                          "initrd": stock("initrd-stress.img")}, cpus=2, memory=1024, limit=7200,
                   **in_counted_time(vendor))
    told = machine.wait_for(r"^\[linux\] cyclic: status 0 threads 1 of 1 wake-ups (\d+) late (\d+)\n", 5400)
    assert int(told[1]) == 200
    machine.wait_for(r"^\[mullion\] linux: powered off\n")
    assert not re.search(r"^\[mullion\] busy: ", machine.text()[machine.text().index("starting the partitions"):], re.M)
