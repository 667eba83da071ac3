"""ACPI tables that are missing or broken. Each machine starts its partition, or says what is wrong and halts; none hangs, none
resets. GRUB takes a table away and gives another (its command acpi); what GRUB itself reads is spoilt in the firmware.
The parser alone: test_acpi.c, fuzz_acpi.c."""

import re

import pytest

from acpi_tables import cpu, dmar, dmar_reserved, fadt, hpet, ioapic, ivrs, madt, mcfg, node_memory, srat
from partitions import assert_all_ended, log_of, partition
from test_faults import start, started
from test_pci import IOMMUS, bus
from test_refuse import refused

REMEDY = r"update the firmware; the machine's tables must be valid"
FULL = cpu(0), ioapic()
NO_PORT, NO_DEVICE = 0x1234, 0xd0000000  # where nothing answers


def exchanged(tmp_path, names, tables):
    """Options of boot that take these tables away, by name, and give others."""
    paths = []
    for number, made in enumerate(tables):
        paths.append(tmp_path / f"table{number}")
        paths[-1].write_bytes(made)
    return {"without": names.split(), "tables": paths}


def spoilt(boot, guest, tmp_path, names, tables):
    return start(boot, guest, **exchanged(tmp_path, names, tables))


BOTH = [
    ("APIC", [madt(*FULL, checksum=1)], r"APIC: checksum of the table is wrong"),
    ("FACP", [fadt(100)], r"FACP: a length of 100 bytes is impossible"),
]


@pytest.mark.parametrize("names, tables, what", BOTH, ids=["madt-checksum", "fadt-length"])
def test_refused(boot, guest, tmp_path, vendor, names, tables, what):
    refused(spoilt(boot, guest, tmp_path, names, tables), "acpi: " + what, REMEDY)


@pytest.mark.only_svm
@pytest.mark.parametrize("tables, what", [
    ([], r"APIC: the machine has no such table \(MADT\)"),
    ([madt(cpu(0, enabled=0), ioapic())], r"APIC: no processor in it is enabled"),
    ([madt(*FULL, length=0x7fffffff)], r"APIC: a length of 2147483647 bytes is impossible"),
    ([madt(cpu(0), b"\x00\x00")], r"APIC: the entry at offset 52 has an impossible length"),
], ids=["absent", "no-processor", "length", "entry"])
def test_madt(boot, guest, tmp_path, vendor, tables, what):
    refused(spoilt(boot, guest, tmp_path, "APIC", tables), "acpi: " + what, REMEDY)


def test_fault_of_start_up(boot, guest, tmp_path, vendor):
    """An I/O APIC whose second register lies behind the 4 GiB that are mapped at first: the fault is told, and is no reset."""
    machine = spoilt(boot, guest, tmp_path, "APIC", [madt(cpu(0), ioapic(0xfffffff8))])
    machine.wait_for(r"^\[mullion\] panic: exception 14, error code 0x[02], rip 0xffffffff80[0-9a-f]{6}, cr2 0xffff800100000008, at start\n")
    machine.wait_for(r"panic: the machine is stopped; please report these lines\n")
    assert machine.running() and machine.text().count("mullion: version") == 1, "it was reset"


@pytest.mark.parametrize("name", ["RSD ", "RSDT"])
def test_root(boot, guest, vendor, name):
    """No root pointer: GRUB skips one that is not valid. And a root table that is none."""
    machine = start(boot, guest, firmware={name.encode(): name.replace("D", "X").encode()})
    if name == "RSDT":
        refused(machine, r"acpi: RSDT: other signature at 0x[0-9a-f]+", REMEDY)
    else:
        refused(machine, r"the boot loader found no ACPI root table", r"enable ACPI in the firmware")


@pytest.mark.parametrize("tables, clock", [
    ([fadt(pm_timer=NO_PORT), hpet(), mcfg(NO_DEVICE)], "hpet"),
    ([fadt(pm_timer=0), hpet(checksum=1), mcfg(checksum=1)], "pit"),
], ids=["nothing-there", "checksums"])
def test_spared(boot, guest, tmp_path, vendor, tables, clock):
    """A clock that is not where FADT says, or not at all; an HPET and an MCFG that are broken. There is another way to each."""
    machine = spoilt(boot, guest, tmp_path, "FACP HPET MCFG", tables)
    machine.wait_for(rf"boot: time-stamp counter \d+ kHz, measured by {clock}\n")
    started(machine)
    assert ("MCFG does not lead to the functions" in machine.text()) == (clock == "hpet")


@pytest.mark.only_svm
def test_mcfg_in_memory(boot, guest, tmp_path, vendor):
    """What it finds there is no function, and must not be written to."""
    machine = spoilt(boot, guest, tmp_path, "MCFG", [mcfg(0)])
    machine.wait_for(r"pci: the table MCFG does not lead to the functions .*\n")
    started(machine)


@pytest.mark.only_svm
def test_reserved_memory(boot, guest, tmp_path, vendor):
    """The firmware wants a device to reach memory of its own choice: who is given it does not start, and is told why."""
    path = tmp_path / "dmar"
    path.write_bytes(dmar_reserved(reserved=4))
    config = "[machine]\nconsole = \"com1\"\n" + "".join(
        f"[partition.{name}]\ncpus = [{core}]\nmemory = \"16M\"\nkernel = \"hello.elf\"\npci = [\"00:{device:02x}.0\"]\n"
        for core, name, device in ((0, "free", 5), (1, "kept", 4)))
    machine = boot(config, {"hello.elf": guest("hello.elf")}, cpus=2, without=["DMAR"], tables=[path],
                   extra=["-device", "intel-iommu,intremap=on,aw-bits=48", "-device", "nvme,serial=a,addr=4",
                          "-device", "nvme,serial=b,addr=5"])
    machine.wait_for(r"VT-d: 1 unit, .*, 1 regions of firmware closed\n")
    machine.wait_for(r"kept: does not start: 00:04\.0: the firmware keeps memory open for it \(RMRR\); switch its use by the "
                     r"firmware off, or give another function\n")
    machine.wait_for(r"free: powered off")
    machine.wait_for(r"every partition has ended")


# --- of IOMMUs: the machine has one, whose table is away or broken

HUGE = 0x7fffffff
UNITS = {
    "dmar-absent": ("intel", "DMAR", [], r"the machine has no IOMMU"),
    "dmar-checksum": ("intel", "DMAR", [dmar(checksum=1)], r"DMAR: checksum of the table is wrong"),
    "dmar-length": ("intel", "DMAR", [dmar(length=HUGE)], rf"DMAR: a length of {HUGE} bytes is impossible"),
    "dmar-short": ("intel", "DMAR", [dmar(length=40)], r"DMAR: .+"),
    "dmar-endless": ("intel", "DMAR", [dmar(size=0)], r"DMAR: offset 48: structure: impossible length"),
    "dmar-cut": ("intel", "DMAR", [dmar(size=200)], r"DMAR: offset 48: structure: impossible length"),
    "ivrs-absent": ("amd", "IVRS", [], r"the machine has no IOMMU"),
    "ivrs-checksum": ("amd", "IVRS", [ivrs(checksum=1)], r"IVRS: checksum of the table is wrong"),
    "ivrs-length": ("amd", "IVRS", [ivrs(length=HUGE)], rf"IVRS: a length of {HUGE} bytes is impossible"),
    "ivrs-short": ("amd", "IVRS", [ivrs(length=40)], r"IVRS: .+"),
    "ivrs-endless": ("amd", "IVRS", [ivrs(size=0)], r"IVRS: offset 0x30: a block of impossible length"),
    "ivrs-cut": ("amd", "IVRS", [ivrs(size=200)], r"IVRS: offset 0x30: a block of impossible length"),
}


@pytest.mark.only_svm
@pytest.mark.parametrize("case", UNITS)
def test_iommu_tables(boot, guest, tmp_path, vendor, case):
    """The partition with a device does not start and says why; the other one does."""
    iommu, name, tables, why = UNITS[case]
    machine = boot(bus("one", 0, ["00:05.0"]) + partition("two", [1], "hello.elf"),
                   {name: guest(name) for name in ("pci.elf", "hello.elf")}, cpus=2,
                   extra=IOMMUS[iommu] + ["-device", "edu,addr=5"], **exchanged(tmp_path, name, tables))
    assert_all_ended(machine)
    text = machine.text()
    assert re.search(rf"^\[mullion\] one: does not start: {why}; dma = \"unprotected\" would .*\n", text, re.M), text
    assert "[one]" not in text and text.count("mullion: version") == 1
    assert re.search(r"^\[two\] hello: cpu ", text, re.M)


# --- of NUMA nodes: without, all memory is alike

NEAR, FAR = node_memory(0, 0, 256 << 20), node_memory(1, 256 << 20, 256 << 20)
ENTRY = r"SRAT: the entry at offset 88 has an impossible length"
NODES = {
    "checksum": (srat(NEAR, FAR, checksum=1), r"SRAT: checksum of the table is wrong"),
    "length": (srat(NEAR, FAR, length=HUGE), rf"SRAT: a length of {HUGE} bytes is impossible"),
    "short": (srat(NEAR, FAR, length=40), r"SRAT: .+"),
    "endless": (srat(NEAR, node_memory(1, 256 << 20, 256 << 20, entry=0)), ENTRY),
    "cut": (srat(NEAR, node_memory(1, 256 << 20, 256 << 20, entry=200)), ENTRY),
    "twice": (srat(NEAR, node_memory(1, 128 << 20, 256 << 20)), r"SRAT: the memory at 0x8000000 belongs to two entries"),
}


def without_nodes(boot, guest, tmp_path, case):
    made, why = NODES[case]
    machine = spoilt(boot, guest, tmp_path, "SRAT", [made])
    machine.wait_for(rf"^\[mullion\] acpi: {why}; NUMA nodes are not known\n")
    started(machine)
    assert "node" not in "".join(log_of(machine.text(), "one"))


@pytest.mark.only_svm
@pytest.mark.parametrize("case", NODES)
def test_nodes_table(boot, guest, tmp_path, vendor, case):
    without_nodes(boot, guest, tmp_path, case)


@pytest.mark.only_vmx
def test_nodes_table_vmx(boot, guest, tmp_path, vendor):
    """One of them: Bochs has no such table, and GRUB gives it one."""
    without_nodes(boot, guest, tmp_path, "endless")


@pytest.mark.only_svm
@pytest.mark.parametrize("there", [True, False])
def test_nodes_table_absent(boot, guest, tmp_path, vendor, there):
    """A machine with nodes, with and without its SRAT."""
    numa = ("-object memory-backend-ram,id=near,size=256M -object memory-backend-ram,id=far,size=256M "
            "-numa node,nodeid=0,memdev=near,cpus=0 -numa node,nodeid=1,memdev=far").split()
    machine = start(boot, guest, extra=numa, **exchanged(tmp_path, "" if there else "SRAT", []))
    started(machine)
    assert ("lie on node 0" in "".join(log_of(machine.text(), "one"))) == there
    assert "are not known" not in machine.text()
