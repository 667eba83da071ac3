"""VMX on processors that offer more or less of it: a guest that checks its machine must not see the
difference. Sandy Bridge has no 1 GiB pages in EPT and no x2APIC, Haswell has no AVX-512."""

import re

import pytest

PROBE = """
[partition.probe]
cpus = [0]
memory = "32M"
kernel = "probe.elf"
"""


@pytest.mark.only_vmx
@pytest.mark.parametrize("cpu", ["corei5_arrandale_m520", "corei7_sandy_bridge_2600k",
                                 "corei7_haswell_4770", "corei7_skylake_x"])
def test_probe(boot, guest, cpu):
    machine = boot(PROBE, {"probe.elf": guest("probe.elf")}, cpu=cpu)
    machine.wait_for(r"vmx: ept with ")
    match = machine.wait_for(r"probe: done (\d+) failed (\d+)")
    assert match.group(2) == "0"
    machine.wait_for(r"every partition has ended")
    # Where the processor delivers by itself what a guest cannot take yet, windows are for NMIs and the 8259.
    windows = sum(map(int, re.findall(r"^\[mullion\] probe: vcpu 0 exits: .*\bintr-window (\d+)", machine.text(), re.M)))
    by_itself = "lacks" not in machine.text() or "virtual-interrupt delivery" not in machine.text()
    assert by_itself == (cpu in ("corei7_haswell_4770", "corei7_skylake_x"))
    assert windows < 20 if by_itself else windows >= 20


@pytest.mark.only_vmx
def test_delivery_through_nothing(boot, guest):
    """An exception whose gate lies where there is no memory: the exit reports the event that it cut
    short, and that partition ends."""
    machine = boot(PROBE.replace("probe", "bad") + 'cmdline = "do=idt-nowhere"\n',
                   {"bad.elf": guest("bad.elf")})
    machine.wait_for(r"stopped: delivery of an event at guest-physical 0xb0000060")
    machine.wait_for(r"vmx: exit 48 .* vectoring 0x80000306")
    machine.wait_for(r"every partition has ended")
