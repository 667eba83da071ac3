"""PCI classes, vendors and devices have the names of the PCI ID Repository, which lspci prints (Debian's package pci.ids)."""

import json
import pathlib
import re
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
IDS = pathlib.Path("/usr/share/misc/pci.ids")


def repository(text):
    """{class << 8 | subclass, or class << 8 | 0xff for the class itself: name}"""
    names, base = {}, None
    for line in text.splitlines():
        if match := re.match(r"C ([0-9a-f]{2})  (.+)", line):
            base = int(match[1], 16) << 8
            names[base | 0xff] = match[2]
        elif base is not None and (match := re.match(r"\t([0-9a-f]{2})  (.+)", line)):
            names[base | int(match[1], 16)] = match[2]
    return names


def ours():
    text = (TOP / "core/pci_names.c").read_text()
    return {int(kind, 16) | (0xff if any_one else 0): name
            for kind, any_one, name in re.findall(r'\{(0x[0-9a-f]{4})( \| ANY)?, "([^"]+)"\}', text)}


def test_names():
    if not IDS.exists():
        pytest.skip(f"{IDS} is not there: tools/setup test")
    known = repository(IDS.read_text(encoding="utf-8"))
    table = ours()
    assert len(table) > 60
    assert {kind: name for kind, name in table.items() if known.get(kind) != name} == {}
    # Every class that the repository had when the table was made.
    assert {kind for kind in known if kind & 0xff == 0xff and kind >> 8 <= 0x13} <= set(table)


DEVICES = ["8086:10d3", "1b36:0010", "1af4:1000", "1022:1481", "ffff:0000", "0001:0001"]
FILE = '[partition.a]\ncpus = [0]\nmemory = "16M"\nkernel = "k"\n'


def device_names(text):
    """{"vendor:device": names}, the vendor's alone under "vendor:"."""
    names, vendor = {}, None
    for line in text.splitlines():
        if match := re.match(r"([0-9a-f]{4})  (.+)", line):
            vendor = match
            names[f"{match[1]}:"] = match[2]
        elif line[:2] == "C ":
            return names
        elif vendor and (match := re.match(r"\t([0-9a-f]{4})  (.+)", line)):
            names[f"{vendor[1]}:{match[1]}"] = f"{vendor[2]} {match[2]}"


def test_names_of_devices(tmp_path):
    """As mullion-check reports them, with a device that is not known of a vendor that is, and one of nobody's."""
    if not IDS.exists():
        pytest.skip(f"{IDS} is not there: tools/setup test")
    known = device_names(IDS.read_text(encoding="utf-8"))
    (tmp_path / "f.toml").write_text(FILE)
    lines = [f"#: pci 00:{n:02x}.0 {device} class 020000 group 00:{n:02x}.0 flr" for n, device in enumerate(DEVICES)]
    (tmp_path / "m.txt").write_text("\n".join(["#: begin", "#: cores 1", "#: memory 0x100000 0x8000000",
                                               *lines, "#: end", ""]))
    command = [TOP / "build/tools/mullion-check", "f.toml", "--machine", "m.txt"]
    told = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    names = {f"{f['vendor']:04x}:{f['device']:04x}": f["name"] for f in json.loads(told)["machine"]["functions"]}
    assert names == {device: known.get(device) or known.get(device[:5]) for device in DEVICES}
    assert names["8086:10d3"] and names["ffff:0000"] == "Illegal Vendor ID"
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"^function +00:00\.0 8086:10d3 .*nobody, {re.escape(known['8086:10d3'])}$", text, re.M)


@pytest.mark.parametrize("behind", ["", ": Intel Corporation 82574L Gigabit Network Connection", ": Device: with a colon"])
def test_inventory_with_names(tmp_path, behind):
    """The class of a function is the same whether the machine knew vendor and device or not."""
    (tmp_path / "f.toml").write_text(FILE)
    (tmp_path / "m.txt").write_text("#: begin\n#: cores 1\n#: memory 0x100000 0x8000000\n#: pci 00:03.0 8086:10d3 class 020000 "
                                    f"group 00:03.0 flr # Ethernet controller{behind}\n#: end\n")
    told = subprocess.run([TOP / "build/tools/mullion-check", "f.toml", "--machine", "m.txt", "--json"], cwd=tmp_path,
                          capture_output=True, text=True, check=True).stdout
    function, = json.loads(told)["machine"]["functions"]
    assert function["kind"] == "Ethernet controller" and function["flr"]
