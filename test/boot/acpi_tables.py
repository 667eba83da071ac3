"""ACPI tables for the boot tests, right ones and broken ones. Each is its bytes."""

import struct

LAPIC_AT, IOAPIC_AT = 0xfee00000, 0xfec00000


def table(signature, body, length=None, checksum=0):
    """length: what its header says instead of the truth. checksum: of all its bytes, 0 for a right one."""
    header = signature + struct.pack("<IBB6s8sI4sI", length or 36 + len(body), 1, 0, b"MULLIO", b"TESTTEST", 1, b"TEST", 1)
    made = bytearray(header + body)
    made[9] = checksum - sum(made) & 0xff
    return bytes(made)


def cpu(number, enabled=1):
    return struct.pack("<BBBBI", 0, 8, number, number, enabled)


def ioapic(at=IOAPIC_AT):
    return struct.pack("<BBBBII", 1, 12, 1, 0, at, 0)


def madt(*entries, lapic=LAPIC_AT, **wrong):
    return table(b"APIC", struct.pack("<II", lapic, 1) + b"".join(entries), **wrong)


def fadt(size=116, pm_timer=0x608, control=0x604):
    """Of ACPI 1.0, with the ports of QEMU's q35. size: of the table."""
    body = bytearray(80)
    struct.pack_into("<II", body, 64 - 36, control, 0)
    struct.pack_into("<I", body, 76 - 36, pm_timer)
    body[89 - 36] = 2
    body[91 - 36] = 4 if pm_timer else 0
    return table(b"FACP", bytes(body[:size - 36]) + bytes(max(size - 116, 0)))


def hpet(at=0xfed00000, **wrong):
    return table(b"HPET", struct.pack("<IBBBBQBHB", 0x8086a201, 0, 64, 0, 0, at, 0, 100, 0), **wrong)


def mcfg(at=0xb0000000, first=0, last=255, **wrong):
    return table(b"MCFG", struct.pack("<QQHBBI", 0, at, 0, first, last, 0), **wrong)


def scope(kind, number, bus, device, function=0):
    return struct.pack("<BBHBBBB", kind, 8, 0, number, bus, device, function)


def dmar_reserved(reserved):
    """QEMU's intel-iommu, with all functions and the I/O APIC behind it. reserved: device on bus 0 for which memory is kept open."""
    unit = struct.pack("<BBHQ", 1, 0, 0, 0xfed90000) + scope(3, 0, 0xff, 0)
    region = struct.pack("<HHQQ", 0, 0, 0x100000, 0x100fff) + scope(1, 0, 0, reserved)
    parts = [struct.pack("<HH", kind, 4 + len(body)) + body for kind, body in ((0, unit), (1, region))]
    return table(b"DMAR", struct.pack("<BB10x", 38, 1) + b"".join(parts))


def dmar(base=0xfed90000, size=16, **wrong):
    """One remapping unit, for all functions. size: what its structure says of its length."""
    return table(b"DMAR", struct.pack("<BB10x", 47, 1) + struct.pack("<HHBBHQ", 0, size, 1, 0, 0, base), **wrong)


def ivrs(base=0xfed80000, size=28, **wrong):
    """One unit, for all functions. size: what its block says of its length."""
    block = struct.pack("<BBHHHQHHI", 0x10, 0, size, 0x10, 0x40, base, 0, 0, 0) + struct.pack("<BHB", 1, 0, 0)
    return table(b"IVRS", struct.pack("<I8x", 0x2800) + block, **wrong)


def node_memory(node, base, size, entry=40):
    return struct.pack("<BBIHQQIIQ", 1, entry, node, 0, base, size, 0, 1, 0)


def srat(*entries, **wrong):
    return table(b"SRAT", struct.pack("<IQ", 1, 0) + b"".join(entries), **wrong)
