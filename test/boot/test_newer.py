"""What QEMU 10 has and 7.2 lacks (docs/emulators.md): `make qemu-newer` unpacks Debian's backport of it under build/. A card
with virtual functions, and a VT-d unit that records the messages that it refuses."""

import pytest
from gdbstub import Ports
from partitions import assert_all_ended, partition
from test_pci import IOMMUS, assert_checked, assert_steps, bus, linux, network, served  # noqa: F401: a fixture

pytestmark = pytest.mark.only_svm

# Address of a message, in VT-d's format (VT-d 4.1, Interrupt Requests in Remappable Format), the entry that it names, and
# why it is refused (VT-d 4.1, Interrupt Remapping Fault Conditions): another function's entry, here pin 4's of the I/O APIC,
# an empty one, one behind the end of the table.
FORGED = [(0xfee00010 | 4 << 5, 4, 0x26), (0xfee00010 | 200 << 5, 200, 0x22), (0xfee00010 | 20000 << 5, 20000, 0x21)]
EDU_RAISE = 0x60


def test_refused_messages(newer, guest, tmp_path):
    """A device that sends other messages than it was told to: each stands in the log with its name, its owner, the entry
    and the reason, and the sum at the end. The device's registers are written from outside."""
    path = tmp_path / "ports"
    machine = newer(bus("one", 0, ["00:05.0"], "brief key"), {"pci.elf": guest("pci.elf")}, cpus=1,
                    extra=IOMMUS["intel"] + ["-device", "edu,addr=5"] + Ports.arguments(path))
    machine.wait_for(r"^\[one\] pci: waits for a key\n")
    ports = Ports(path)
    msi = ports.capability("00:05.0", 5)
    registers = ports.config_read("00:05.0", 0x10) & ~15 | ports.config_read("00:05.0", 0x12) << 16
    good = [ports.config_read("00:05.0", msi + at) for at in (4, 6)]

    def set_address(low, high):
        ports.config_write("00:05.0", msi + 4, low)
        ports.config_write("00:05.0", msi + 6, high)

    for address, entry, reason in FORGED:
        start = len(machine.text())
        set_address(address & 0xffff, address >> 16)
        ports.memory_write(registers + EDU_RAISE, 1)
        machine.wait_for(rf"^\[mullion\] VT-d: 00:05\.0 of one: interrupt at {entry:#x} refused, reason {reason:#x}\n", start=start)
    set_address(*good)
    machine.send("\r")
    assert_checked(machine, "one", {"msi", "msi-off"})
    machine.wait_for(r"^\[mullion\] one: 00:05\.0: refused 0 reads, 0 writes, 3 interrupts\n")
    ports.close()
    assert_all_ended(machine)


@pytest.fixture
def modules(stock):
    return {"vmlinuz": stock("linux/vmlinuz-stock"), "initrd": stock("initrd-pci.img")}


def test_igb(newer, modules, served):  # noqa: F811
    """A virtual function of an Intel 82576, with the kernel's driver, moves packets; the physical one is another
    partition's."""
    file = ('[machine]\nsriov = [{ function = "00:05.0", vfs = 2 }]\n'
            + partition("card", [0], "vmlinuz", memory="192M", cmdline="console=ttyS0 quiet mullion.test=igb",
                        more='initrd = "initrd"\npci = ["00:05.0"]')
            + linux("user", 1, ["00:15.0"], "net:igbvf", served))
    machine = newer(file, modules, cpus=2, memory=768, extra=IOMMUS["intel"] + network("net0", served[0], "igb,addr=5"))
    machine.wait_for(r"^\[mullion\] pci: 00:05\.0: 2 virtual functions enabled")
    machine.wait_for(r"^\[mullion\] pci: 00:15\.0 Ethernet controller \[0200\]: \[8086:10ca\] .*, owner user\n")
    assert_steps(machine, "user", ["net:igbvf"])
    machine.wait_for(r"^\[mullion\] user: powered off\n")
    assert "refused, reason" not in machine.text()
