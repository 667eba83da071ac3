"""core/pci_names.c names PCI classes as the PCI ID Repository does, which lspci prints (Debian's package pci.ids)."""

import pathlib
import re

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
