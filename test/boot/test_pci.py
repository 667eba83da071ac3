"""PCI functions passed through, in QEMU behind its intel-iommu and its amd-iommu: to stock Linux, whose drivers
are the kernel's own modules (tools/make-initrd pci; the script is guests/linux/tests/pci), and to a bare-metal
program, guests/pci.c. Bochs has no IOMMU: there only what works without one."""

import hashlib
import random
import re
import struct
from collections import Counter

import pytest
from acpi_tables import dmar, ivrs
from partitions import assert_all_ended, partition

IOMMUS = {
    "amd": ["-device", "amd-iommu,intremap=on"],
    "intel": ["-device", "intel-iommu,intremap=on,aw-bits=48,caching-mode=on"],
}
FILE_BYTES = 1 << 20
READ_MIB = 64  # 256 for the table in docs/passthrough.md
SLACK = 500  # exits by which two starts of Linux differ


def pytest_generate_tests(metafunc):
    if "iommu" in metafunc.fixturenames and not metafunc.definition.get_closest_marker("parametrize"):
        metafunc.parametrize("iommu", sorted(IOMMUS))


@pytest.fixture
def modules(stock):
    return {"vmlinuz": stock("linux/vmlinuz-stock"), "initrd": stock("initrd-pci.img")}


@pytest.fixture
def served(tmp_path):
    """(folder for QEMU's TFTP server, MD5 sum of its file `data`)."""
    folder = tmp_path / "served"
    folder.mkdir()
    data = random.Random(1).randbytes(FILE_BYTES)
    (folder / "data").write_bytes(data)
    return folder, hashlib.md5(data).hexdigest()


@pytest.fixture
def disk(tmp_path):
    """A function that makes an empty disk and returns the options of QEMU for it: id, size in MiB."""
    def make(name, mebibytes=48):
        path = tmp_path / f"{name}.img"
        with open(path, "wb") as file:
            file.truncate(mebibytes << 20)
        return ["-drive", f"if=none,id={name},file={path},format=raw"]
    return make


def nvme(disk, name, slot, mebibytes=48):
    return disk(name, mebibytes) + ["-device", f"nvme,serial={name},drive={name},addr={slot}"]


def network(name, folder, device):
    return ["-netdev", f"user,id={name},tftp={folder}", "-device", f"{device},netdev={name}"]


VIRTIO = "disable-legacy=on,iommu_platform=on"


def linux(name, core, pci, steps, served=None, more="", memory="256M", words="", stages=None):
    cmdline = f"console=ttyS0 quiet {words} mullion.test=pci do={steps}"
    if served:
        cmdline += f" file=data sum={served[1]}"
    if stages:
        cmdline += f" stages={stages}"
        more += '\nrestart = { on = "reset", limit = 9 }'
    functions = ", ".join(f'"{function}"' for function in pci)
    return partition(name, [core], "vmlinuz", memory=memory, cmdline=cmdline,
                     more=f'initrd = "initrd"\npci = [{functions}]\n{more}')


def assert_steps(machine, name, steps, timeout=300, stage=1):
    """Every step came out well."""
    machine.wait_for(rf"^\[{name}\] pci: done {stage}\n", timeout)
    told = re.findall(rf"^\[{name}\] pci: (\S+) (ok|FAIL)\n", machine.text(), re.M)
    assert [step for step, result in told if result == "FAIL"] == []
    assert [step for step, _ in told][-len(steps):] == steps


@pytest.mark.only_svm
def test_linux_drives_devices(boot, modules, served, disk, iommu):
    """Two network cards, three disks, one of them behind USB: data goes and comes back whole."""
    folder, _ = served
    steps = ["extended:e1000e", "disk:nvme0n1", "disk:vda", "disk:sda", "net:e1000e", "net:virtio_net"]
    extra = (IOMMUS[iommu] + nvme(disk, "n0", 5) + network("net0", folder, "e1000e,addr=6")
             + disk("v0") + ["-device", f"virtio-blk-pci,drive=v0,addr=7,{VIRTIO}"]
             + network("net1", folder, f"virtio-net-pci,addr=8,{VIRTIO}")
             + ["-device", "qemu-xhci,addr=9,id=x0"] + disk("u0")
             + ["-device", "usb-storage,bus=x0.0,drive=u0"])
    file = linux("linux", 0, ["00:05.0", "00:06.0", "00:07.0", "00:08.0", "00:09.0"],
                 ",".join(steps), served, more='pci-reset = "optional"')
    machine = boot(file, modules, cpus=1, memory=768, extra=extra)
    assert_steps(machine, "linux", steps)
    assert_extended(machine, 0)
    machine.wait_for(r"^\[linux\] init: power off\n")
    assert_all_ended(machine)


def assert_extended(machine, by_ports):
    """Errors and serial number of QEMU's e1000e, which makes the number of its address."""
    told = re.findall(r"^\[linux\] pci: extended(?: e1000e)?: (.*)\n", machine.text(), re.M)
    assert told == ["100 0001 v2", "140 0003 v1 525400ffff123456", f"4096 bytes, ports {by_ports}"]


@pytest.mark.only_svm
def test_linux_extended_by_ports(boot, modules):
    """Linux that may not use the mapped space reads extended registers by bits 27:24 of port 0xcf8, as it does on every
    processor of AMD from family 10h on."""
    steps = ["extended:e1000e"]
    file = linux("linux", 0, ["00:06.0"], ",".join(steps), words="pci=nommconf", more='pci-reset = "optional"')
    machine = boot(file, modules, cpus=1, memory=768, cpu="EPYC,+svm,+npt", extra=IOMMUS["intel"] + ["-device", "e1000e,addr=6"])
    assert_steps(machine, "linux", steps)
    assert_extended(machine, 1)
    assert_all_ended(machine)


@pytest.mark.only_svm
def test_interrupts_move(boot, modules, served, disk, iommu):
    """Interrupts of a card and of a USB controller are sent to the other vCPU and back while they come. None is lost, and
    none comes twice: each command of the disk behind the controller is three transfers, of which the next one begins
    with the interrupt of the one before. After a lost one the kernel would reset the disk, with interrupts of its own."""
    folder, _ = served
    steps = ["move:e1000e", "shift:sda:2:xhci_hcd"]
    file = linux("linux", 0, ["8086:10d3", "00:09.0"], ",".join(steps), served, more='pci-reset = "optional"')
    machine = boot(file.replace("[0]", "[0, 1]", 1), modules, cpus=2, memory=768,
                   extra=IOMMUS[iommu] + network("net0", folder, "e1000e,addr=6")
                   + ["-device", "qemu-xhci,addr=9,id=x0"] + disk("u0") + ["-device", "usb-storage,bus=x0.0,drive=u0"])
    assert_steps(machine, "linux", steps)
    told = re.findall(r"^\[linux\] pci: count (\w+):\w+: (\d+) \w+, (\d+) moves, both (\d)\n", machine.text(), re.M)
    counts = {step: int(amount) for step, amount, _, _ in told}
    assert counts["move"] >= 2 * -(-FILE_BYTES // 1428)  # packets
    assert counts["shift"] == 3 * (2 << 20) // 4096  # interrupts
    assert all(int(moves) >= 20 and both == "1" for _, _, moves, both in told)


# --- a bare-metal program with two small devices

def bus(name, core, pci, cmdline="", more=""):
    functions = ", ".join(f'"{function}"' for function in pci)
    return partition(name, [core], "pci.elf", cmdline=cmdline,
                     more=f'pci = [{functions}]\npci-reset = "optional"\n{more}')


def assert_checked(machine, name, wanted):
    """Every check came out well, and those of `wanted` were made."""
    machine.wait_for(rf"^\[{name}\] pci: done checks \d+ failed \d+\n")
    assert_good(machine.text(), name, wanted)


def assert_good(text, name, wanted):
    told = re.findall(rf"^\[{name}\] pci: ([\w-]+) \w\w (ok|FAIL) ", text, re.M)
    assert {result for _, result in told} == {"ok"}
    assert wanted <= {check for check, _ in told}


COMMON = {"host-bridge", "foreign-reads", "foreign-writes", "ecam", "extended", "move", "move-often", "over-memory"}


@pytest.mark.only_svm
def test_bare_guest(boot, guest, iommu):
    """edu with MSI and DMA, edu by its line, an 82540EM by its line. q35 has INTA of slot s at pin
    20 + s mod 4 of its I/O APIC. Extended space: an 82574 has errors and a serial number, an NVMe controller that can
    make others ARI and SR-IOV, which are hidden; the others are conventional."""
    extra = (IOMMUS[iommu] + ["-device", "edu,addr=5", "-device", "e1000,addr=6", "-device", "edu,addr=7"]
             + ["-device", "e1000e,addr=8,mac=52:54:00:ab:cd:ef", "-device", "nvme-subsys,id=ss0", "-device",
                "nvme,serial=1,subsys=ss0,addr=9,max_ioqpairs=10,msix_qsize=9,sriov_max_vfs=4,sriov_vq_flexible=8,"
                "sriov_vi_flexible=4"])
    machine = boot(bus("one", 0, ["00:05.0", "00:06.0 irq 22", "00:07.0 irq 23", "00:08.0", "00:09.0"], "dma rounds=10 loop",
                       'restart = { on = "reset", limit = 1 }'),
                   {"pci.elf": guest("pci.elf")}, cpus=1, extra=extra)
    assert_all_ended(machine, 120)
    wanted = COMMON | {"line", "line-masked", "msi", "msi-off", "dma"}
    # After a reset the devices are as new.
    first, second = machine.text().split("[mullion] one: restart 1 of 1\n")
    for text in first, second:
        assert_good(text, "one", wanted)
        assert re.findall(r"pci: (?:extended|serial) (\w\w (?:at .*|\w{16}))\n", text) == [
            "04 at 0x100: 0001 v2", "04 at 0x140: 0003 v1", "04 525400ffffabcdef"]


@pytest.mark.only_svm
@pytest.mark.parametrize("kind, bridge", [
    ("express", ["-device", "pcie-pci-bridge,id=b,addr=5", "-device", "edu,bus=b,addr=3"]),
    ("conventional", ["-device", "i82801b11-bridge,id=b0,addr=5", "-device", "pci-bridge,id=b,bus=b0,chassis_nr=1,addr=2",
                      "-device", "edu,bus=b,addr=3"]),
])
def test_behind_a_bridge(boot, guest, kind, bridge):
    """edu on a conventional bus: its DMA and its messages bear the identity of a bridge."""
    machine = boot(bus("one", 0, ["1234:11e8"], "dma rounds=10"), {"pci.elf": guest("pci.elf")}, cpus=1,
                   extra=IOMMUS["intel"] + bridge)
    assert_checked(machine, "one", {"msi", "msi-off", "dma"})
    assert_all_ended(machine)
    assert "refused, reason" not in machine.text()


@pytest.mark.only_svm
def test_bus_reset(boot, guest, iommu):
    """An 82540EM has no reset of its own; behind a port that is its partition's alone, the bus is reset before each
    start: the address that the guest's first run has written into the card is gone in the second one. Its neighbour, on a bus
    with others, is left out."""
    card = "e1000,mac=52:54:00:12:34:56"
    extra = IOMMUS[iommu] + ["-device", "pcie-root-port,id=p,addr=5,chassis=1", "-device", f"{card},bus=p",
                             "-device", f"{card},addr=6"]
    file = bus("one", 0, ["01:00.0"], "fresh loop", 'restart = { on = "reset", limit = 1 }') + bus("two", 1, ["00:06.0"])
    machine = boot(file.replace('pci-reset = "optional"\n', ""), {"pci.elf": guest("pci.elf")}, cpus=2, extra=extra)
    assert_all_ended(machine, 120)
    first, second = machine.text().split("[mullion] one: restart 1 of 1\n")
    for text in first, second:
        assert_good(text, "one", COMMON | {"fresh"})
    assert "[mullion] one: 01:00.0: reset: bus\n" in first
    assert "[mullion] two: 00:06.0: reset: none\n" in first
    assert "[mullion] two: not started: 00:06.0 has no way to be reset; pci-reset" in first


# i440FX has INTA of device d at pin 16 + (d - 1) mod 4 of the I/O APIC; the first slot is device 2.
BOCHS_CARD = """\
pci: enabled=1, chipset=i440fx, slot1=e1000
e1000: enabled=1, mac=52:54:00:12:34:56, ethmod=null, ethdev=none
"""


@pytest.mark.only_vmx
def test_unprotected_vmx(boot, guest):
    """Without an IOMMU, where the file accepts it, and with a warning: enumeration, BARs, interrupts."""
    machine = boot(bus("one", 0, ["8086:100e irq 17"], more='dma = "unprotected"'),
                   {"pci.elf": guest("pci.elf")}, cpus=1, extra=BOCHS_CARD)
    assert_checked(machine, "one", COMMON | {"line", "line-masked"})
    assert "WARNING: dma = \"unprotected\"" in machine.text()
    assert_all_ended(machine)


BOCHS_NE2000 = """\
pci: enabled=1, chipset=i440fx, slot1=ne2k
ne2k: mac=52:54:00:12:34:57, ethmod=null, ethdev=none
"""


def test_port_move(boot, guest, vendor):
    """An I/O BAR of an NE2000 answers where the guest has moved it."""
    extra = IOMMUS["amd"] + ["-device", "ne2k_pci,addr=5"] if vendor == "svm" else BOCHS_NE2000
    more = "" if vendor == "svm" else 'dma = "unprotected"'
    machine = boot(bus("one", 0, ["10ec:8029"], more=more), {"pci.elf": guest("pci.elf")}, cpus=1, extra=extra)
    assert_checked(machine, "one", {"host-bridge", "foreign-reads", "foreign-writes", "ecam", "port-move"})
    assert_all_ended(machine)


# --- what is refused

def refused(machine, what):
    told = machine.wait_for(r"^\[mullion\] mullion: cannot start: (.*)\n\[mullion\] mullion: remedy: (.+)\n")
    assert re.fullmatch(what, told.group(1)), told.group(1)
    if "no such function" in what:
        assert "mullion.inventory" in told.group(2)


# The sixth line is the list of functions.
@pytest.mark.only_svm
@pytest.mark.parametrize("first, second, what", [
    (["00:05.0", "00:0a.0"], None, r"mullion\.toml:6:19: pci: the machine has no such function"),
    (["8086:ffff"], None, r"mullion\.toml:6:8: pci: the machine has no such function"),
    (["1234:11e8#1"], None, r"mullion\.toml:6:8: pci: the machine has no such function"),
    (["00:00.0"], None, r"mullion\.toml:6:8: pci: 00:00\.0 is a bridge or an IOMMU, .*"),
    (["00:1f.0"], None, r"mullion\.toml:6:8: pci: 00:1f\.0 is a bridge or an IOMMU, .*"),
    (["00:06.0"], None, r"mullion\.toml:6:8: pci: 00:06\.0 is a bridge or an IOMMU, .*"),
    (["00:05.0"], ["1234:11e8"],
     r"mullion\.toml:\d+:8: pci: 00:05\.0 belongs to partition one already"),
    (["00:1f.2"], ["00:1f.3"], r"mullion\.toml:\d+:8: pci: 00:1f\.2 and 00:1f\.3 can reach each other "
     r"without the IOMMU, yet belong to one and two"),
    (["00:05.0 irq 23"], ["00:1f.2 irq 23"], r"mullion\.toml:\d+:8: pci: this interrupt line is another function's already"),
], ids=["absent", "no-kind", "no-second", "host-bridge", "isa-bridge", "root-port", "twice", "group", "line"])
def test_refused(boot, guest, first, second, what):
    """With line and column of the function in the file."""
    file = bus("one", 0, first) + (bus("two", 1, second) if second else "")
    extra = IOMMUS["intel"] + ["-device", "edu,addr=5", "-device", "pcie-root-port,addr=6,id=p"]
    refused(boot(file, {"pci.elf": guest("pci.elf")}, cpus=2, extra=extra), what)


# --- machines on which DMA cannot be confined: that partition does not start, the others do

UNUSABLE = {
    "none": ([], r"the machine has no IOMMU"),
    "amd-no-intremap": (["-device", "amd-iommu,intremap=off"], r"the IOMMU does not remap interrupts"),
    "intel-no-intremap": (["-device", "intel-iommu,intremap=off,aw-bits=48,caching-mode=on"],
                          r"the IOMMU does not remap interrupts"),
    "dmar-silent": (dmar(), r".+"),
    "dmar-nowhere": (dmar(base=0), r".+"),
    "dmar-cut": (dmar(size=200), r".+"),
    "dmar-endless": (dmar(size=0), r".+"),
    "ivrs-silent": (ivrs(), r".+"),
    "ivrs-nowhere": (ivrs(base=0), r".+"),
    "ivrs-cut": (ivrs(size=200), r".+"),
    "ivrs-endless": (ivrs(size=0), r".+"),
}


@pytest.mark.only_svm
@pytest.mark.parametrize("case", [
    pytest.param(case, marks=[pytest.mark.long] if case.endswith(("nowhere", "endless")) else [])
    for case in UNUSABLE])
def test_not_confined(boot, guest, tmp_path, case):
    extra, why = UNUSABLE[case]
    if isinstance(extra, bytes):
        (tmp_path / "table").write_bytes(extra)
        extra = ["-acpitable", f"file={tmp_path / 'table'}"]
    file = bus("one", 0, ["00:05.0"]) + partition("two", [1], "hello.elf")
    machine = boot(file, {name: guest(name) for name in ("pci.elf", "hello.elf")}, cpus=2,
                   extra=extra + ["-device", "edu,addr=5"])
    assert_all_ended(machine)
    text = machine.text()
    assert re.search(rf"^\[mullion\] one: does not start: {why}.*; dma = \"unprotected\" would .*\n", text, re.M)
    assert "[one]" not in text
    assert re.search(r"^\[two\] hello: cpu ", text, re.M)


@pytest.mark.only_vmx
def test_no_iommu_vmx(boot, guest):
    file = bus("one", 0, ["8086:100e"]) + partition("two", [1], "hello.elf")
    machine = boot(file, {name: guest(name) for name in ("pci.elf", "hello.elf")}, cpus=2, extra=BOCHS_CARD)
    assert_all_ended(machine)
    assert re.search(r"^\[mullion\] one: does not start: the machine has no IOMMU; dma = ", machine.text(), re.M)
    assert re.search(r"^\[two\] hello: cpu ", machine.text(), re.M)


@pytest.mark.only_svm
@pytest.mark.parametrize("case", ["amd-no-intremap", "intel-no-intremap"])
def test_interrupts_not_confined(boot, guest, case):
    """Where the file accepts it: DMA is confined all the same, and the device's messages come as they are."""
    machine = boot(bus("one", 0, ["00:05.0"], "dma rounds=10", 'dma = "unprotected"'), {"pci.elf": guest("pci.elf")},
                   cpus=1, extra=UNUSABLE[case][0] + ["-device", "edu,addr=5"])
    assert_checked(machine, "one", {"msi", "msi-off", "dma"})
    assert_all_ended(machine)
    assert re.search(r"^\[mullion\] one: WARNING: dma = \"unprotected\": its devices can send any interrupt to any core\n",
                     machine.text(), re.M)
    assert "reach all memory" not in machine.text()


# --- load

@pytest.mark.only_svm
def test_two_disks_at_once(boot, modules, disk, iommu):
    """Two Linux, each with an NVMe disk of its own, both busy."""
    steps = ["disk:nvme0n1"] * 2
    file = (linux("one", 0, ["00:05.0"], ",".join(steps)) + linux("two", 1, ["00:06.0"], ",".join(steps)))
    machine = boot(file, modules, cpus=2, memory=1024, extra=IOMMUS[iommu] + nvme(disk, "n0", 5) + nvme(disk, "n1", 6))
    for name in "one", "two":
        assert_steps(machine, name, steps)
    assert_all_ended(machine)


def exits(text, name):
    """Exits by reason, at the last end of this partition in the text; they go on counting over restarts."""
    line = re.findall(rf"^\[mullion\] {name}: vcpu 0 exits: (.*)\n", text, re.M)[-1].split()
    return Counter(dict(zip(line[::2], map(int, line[1::2]))))


@pytest.mark.only_svm
def test_exits_of_data_path(boot, modules, served, disk, iommu):
    """What a device's traffic adds to the exits of a start without any: per interrupt one exit, with interrupts
    off in the guest or on, and one end of interrupt. Each command of 4 KiB also writes two doorbells, which would exceed that by far. Between the
    steps the partition is reset, and the devices work again."""
    steps = ["nothing", f"read:nvme0n1:{READ_MIB // 16}:4096", f"read:nvme0n1:{READ_MIB}:1048576", "fetch:e1000e"]
    extra = (IOMMUS[iommu] + nvme(disk, "n0", 5, READ_MIB) + network("net0", served[0], "e1000e,addr=6"))
    # A core that is never idle has no timer to set each time.
    file = linux("linux", 0, ["00:05.0", "00:06.0"], "/".join(steps), served, stages="nvme0n1",
                 more='pci-reset = "optional"', words="idle=poll nohz=off")
    machine = boot(file, modules, cpus=1, memory=768, extra=extra)
    assert_all_ended(machine, 600)
    parts = re.split(r"^\[mullion\] linux: restart .*\n", machine.text(), flags=re.M)
    assert len(parts) == len(steps)
    counts = [exits(part, "linux") for part in parts]
    ticks = [int(re.search(r"pci: ticks (\d+)", part).group(1)) for part in parts]
    for i, step in list(enumerate(steps))[1:]:
        amount, unit, irqs = re.search(r"count [^ ]* (\d+) (MiB|packets), (\d+) interrupts", parts[i]).groups()
        irqs, more = int(irqs), Counter(counts[i])
        for known in (counts[i - 1], counts[0]):
            more.subtract(known)
        slower = ticks[i] - ticks[0]
        told = f"{step}: {amount} {unit}, {irqs} interrupts, {slower} ticks, {dict(more)}"
        print(told)
        assert more["interrupt"] + more["intr-window"] <= irqs + slower + SLACK, told
        assert counts[i]["intr-window"] <= SLACK, told  # of the whole start
        # The end of each interrupt; a tick sets the next one as well. Linux uses the x2APIC here.
        assert more["wrmsr"] <= irqs + 2 * slower + SLACK, told
        assert more["stage2"] <= SLACK, told
        assert more["io"] <= SLACK, told
