"""The guests' AML by another interpreter: ACPICA's acpiexec loads DSDT and SSDT together and evaluates what an operating
system evaluates. ACPI 6.4, Device-Specific Objects; PCI Firmware Specification 3.2, _OSC."""
import pathlib
import re
import struct
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
OSC = "5b4ddb33f71f1c4096577441c03dd766"  # 33db4d5b-1ff7-401c-9657-7441c03dd766 as it lies in memory


@pytest.fixture(scope="module")
def aml():
    subprocess.run(["make", "-s", "-C", ROOT, "build/gen/dsdt.c", "build/gen/pci.c"], check=True)
    return ROOT / "build/gen"


def run(aml, *commands, ssdt=None):
    out = subprocess.run(["acpiexec", "-b", "; ".join((*commands, "quit")), aml / "dsdt.aml", ssdt or aml / "pci.aml"],
                         capture_output=True, text=True, timeout=60)
    assert "AE_" not in out.stdout.replace("AcpiSetCurrentResources failed: AE_NOT_FOUND", ""), out.stdout
    return out.stdout


def test_routing(aml):
    """Every device's INTA goes to pin 16 + n % 8."""
    text = run(aml, r"resources \_SB.PCI0")
    routes = re.findall(r"Address : ([0-9A-F]{16})\s+Pin : (\w+)\s+Source : \[NULL NAMESTRING\]\s+Source Index : (\w+)", text)
    assert [(int(a, 16), int(p, 16), int(g, 16)) for a, p, g in routes] == \
        [(n << 16 | 0xffff, 0, 16 + n % 8) for n in range(1, 32)]


def windows(text):
    text = text[text.index("[00] 16-Bit"):text.index("Resource Conversion Comparison")]
    kinds = re.findall(r"Resource Type : (\w+)", text)
    spans = re.findall(r"Address Minimum : (\w+)\s+Address Maximum : (\w+)\s+Translation Offset : 0+\s+Address Length : (\w+)",
                       text)
    for low, high, length in spans:
        assert int(high, 16) - int(low, 16) + 1 == int(length, 16)
    return [(kind, int(low, 16), int(high, 16)) for kind, (low, high, _) in zip(kinds, spans, strict=True)]


def descriptors(text):
    """Each descriptor of _CRS with its fields, zeroes left out."""
    text = text[text.index("Evaluating _CRS"):]
    found = re.findall(r"^\[\w\w\] (.*) Resource$\n((?: +[\w/ ]+ : .*\n)+)", text, re.M)
    return [(kind, {key: value.strip() for key, value in re.findall(r"^ +([\w/ ]+?) : (.*)", fields, re.M)
                    if value.strip("0 ") and "Source" not in key}) for kind, fields in found]


FIXED = {"Consumer/Producer": "ResourceProducer", "Address Decode": "PosDecode", "Min Relocatability": "MinFixed",
         "Max Relocatability": "MaxFixed"}
STATIC = {"Translation": "TypeStatic"}
PORTS = FIXED | STATIC | {"Resource Type": "I/O Range", "Range Type": "EntireRange", "Translation Type": "DenseTranslation"}
MEMORY = FIXED | STATIC | {"Resource Type": "Memory Range", "Range Type": "AddressRangeMemory", "Write Protect": "ReadWrite",
                           "Caching": "NonCacheable"}


def spans(low, high, length, digits):
    """A range that starts at 0 has no minimum here."""
    wanted = {"Address Minimum": low, "Address Maximum": high, "Address Length": length}
    return {key: f"{value:0{digits}X}" for key, value in wanted.items() if value}


def test_bridge(aml):
    """ACPI 6.4, Address Space Resource Descriptors: all is fixed; memory of devices is neither cacheable nor, since BARs of
    both kinds lie there, prefetchable."""
    assert descriptors(run(aml, r"resources \_SB.PCI0")) == [
        ("16-Bit WORD Address Space", FIXED | {"Resource Type": "Bus Number Range"} | spans(0, 0, 1, 4)),
        ("I/O", {"Address Decoding": "Decode16", "Alignment": "01"} | spans(0xcf8, 0xcf8, 0, 4) | spans(0, 0, 8, 2)),
        ("16-Bit WORD Address Space", PORTS | spans(0, 0xcf7, 0xcf8, 4)),
        ("16-Bit WORD Address Space", PORTS | spans(0xd00, 0xffff, 0xf300, 4)),
        ("32-Bit DWORD Address Space", MEMORY | spans(0xc0000000, 0xfe8fffff, 0x3e900000, 8)),
        ("64-Bit QWORD Address Space", MEMORY | spans(1 << 32, (1 << 33) - 1, 1 << 32, 16))]


@pytest.mark.parametrize("device, port, length, line", [("COM1", 0x3f8, 8, 4), ("RTC", 0x70, 2, 8)])
def test_ports(aml, device, port, length, line):
    """ACPI 6.4, I/O Port Descriptor, IRQ Descriptor: of the ISA, an edge, high, nobody else's."""
    assert descriptors(run(aml, rf"resources \_SB.{device}")) == [
        ("I/O", {"Address Decoding": "Decode16", "Alignment": "01"} | spans(port, port, 0, 4) | spans(0, 0, length, 2)),
        ("IRQ", {"Descriptor Length": "02", "Triggering": "Edge", "Polarity": "ActiveHigh", "Sharing": "Exclusive",
                 "Interrupt Count": "01", "Interrupt List": str(line)})]


def test_configuration_space(aml):
    """PCI Firmware Specification 3.2, MCFG Table Description: reserved by a motherboard resource, and no part of the window."""
    assert descriptors(run(aml, r"resources \_SB.MCFG")) == [
        ("32-Bit Fixed Memory Range", {"Write Protect": "ReadWrite", "Address": "FE900000", "Address Length": "00100000"})]


BELOW = [("Bus", 0, 0), ("I", 0, 0xcf7), ("I", 0xd00, 0xffff), ("Memory", 0xc0000000, 0xfe8fffff)]


def test_windows(aml, tmp_path):
    """What the bridge forwards: below 4 GiB, and above where the builder says (see guest_acpi.c)."""
    assert windows(run(aml, r"resources \_SB.PCI0")) == [*BELOW, ("Memory", 1 << 32, (1 << 33) - 1)]
    table = bytearray((aml / "pci.aml").read_bytes())
    at = table.index(b"\x8a\x2b\x00\x00")
    assert table.count(b"\x8a\x2b\x00\x00") == 1
    for name, position, patch, expected in (
            ("wide", at + 14, struct.pack("<QQQQ", 1 << 36, (1 << 38) - 1, 0, 3 << 36), [("Memory", 1 << 36, (1 << 38) - 1)]),
            ("none", at, b"\x79\x00", [])):
        patched = bytearray(table)
        patched[position:position + len(patch)] = patch
        patched[9] = 0
        patched[9] = -sum(patched) & 0xff
        path = tmp_path / f"{name}.aml"
        path.write_bytes(patched)
        assert windows(run(aml, r"resources \_SB.PCI0", ssdt=path)) == BELOW + expected


def osc(aml, uuid, revision, status, control):
    words = struct.pack("<III", status, 0x1f, control).hex(" ")
    uuid = " ".join(re.findall("..", uuid))
    text = run(aml, rf"execute \_SB.PCI0._OSC ({uuid}) {revision} 3 ({words})")
    return struct.unpack("<III", bytes.fromhex(re.search(r"\[Buffer\] Length 0C = +0000: ((?:[0-9A-F]{2} )+)", text)[1]))


@pytest.mark.parametrize("asked, given, status", [(0x10, 0x10, 0), (0x1f, 0x10, 0x10), (0, 0, 0)])
def test_native_control(aml, asked, given, status):
    """The PCI Express capability is the system's; hot plug, PME and errors are not offered."""
    assert osc(aml, OSC, 1, 0, asked) == (status, 0x1f, given)


def test_unknown_control(aml):
    assert osc(aml, OSC, 2, 0, 0x10)[0] == 0x08  # revision
    assert osc(aml, "00" * 16, 1, 0, 0x10) == (0x04, 0x1f, 0x10)  # UUID
