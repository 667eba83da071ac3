"""What docs/first-ten-minutes.md and README.md show in fenced blocks is typed, in their order, and happens.

    sh              commands, which succeed
    diff            an edit, which applies
    console         `$ COMMAND` runs in a terminal; other lines are what it prints, in which any number stands for any.
                    `[NAME] linux# TEXT` waits for that prompt and types TEXT, <Ctrl-]> and <Ctrl-A x> are keys, a
                    block's end waits for the end of the command. Lines may be left out.
    console fails   the same, and the last command ends with an error

Any other block is one that nobody would replay, and fails. With MULLION_FRESH, all is typed in the machine that test/fresh
has made there.
"""

import os
import pathlib
import re
import shlex
import subprocess

import pytest
from conftest import BUILD, TOP
from emulator import MarkerNotSeen
from terminal import Terminal, copy_of_tree

GUIDES = {"docs/first-ten-minutes.md": 12, "README.md": 1}  # with the number of blocks that there are at least
KEYS = {"<Ctrl-]>": "\x1d", "<Ctrl-A x>": "\x01x"}
FRESH = os.environ.get("MULLION_FRESH")
TIMEOUT = 600  # seconds for a line: an emulated Linux starts meanwhile
NUMBER = re.compile(r"0x[0-9a-f]+|\d[\d.]*(?:-\d+)*")


def blocks(text):
    """[(kind, line number, body)]"""
    found = re.finditer(r"^```([^\n]+)\n(.*?)^```\n", text, re.M | re.S)
    return [(match[1], text[:match.start()].count("\n") + 2, match[2]) for match in found]


def pattern(line):
    """A regular expression for this line, with any number for each number."""
    parts, at = [], 0
    for number in NUMBER.finditer(line):
        parts += [re.escape(line[at:number.start()]), r"(?:0x[0-9a-f]+|\d[\d.]*(?:-\d+)*)"]
        at = number.end()
    return "^" + "".join(parts) + re.escape(line[at:].rstrip()) + r" *\n"


def typed(command):
    """What this machine's shell is told."""
    print("$", command)
    return f"FRESH={FRESH} {TOP}/test/fresh --inside {shlex.quote(command)}" if FRESH else command


class Session:
    """Replays console blocks."""

    def __init__(self, tree, request):
        self.tree, self.request, self.count = tree, request, 0
        self.terminal, self.typed, self.ended = None, {}, False

    def start(self, command):
        self.count += 1
        log = BUILD / "logs" / f"{re.sub(r'[^-a-z]', '_', self.request.node.name)}.{self.count}.log"
        self.terminal, self.typed, self.ended = Terminal(typed(command), self.tree, log), {}, False
        self.request.node.machines = [self.terminal]

    def end(self, fails=False):
        if self.terminal:
            with self.terminal:
                code = self.terminal.wait_exit(TIMEOUT)
            assert (code != 0) == fails, f"code {code}:\n{self.terminal.tail()}"
        self.terminal = None

    def type(self, name, text):
        """At the prompt of a partition, which has come since a command was typed there last."""
        self.terminal.wait_for(rf"^\[{name}\] linux# ", TIMEOUT, self.typed.get(name, 0))
        keys = re.fullmatch(r"(<[^>]+>)+", text)
        if self.ended and not keys:
            self.wake(name)
        if not keys:
            self.typed[name] = len(self.terminal.text())
        self.terminal.send("".join(KEYS[key] for key in re.findall(r"<[^>]+>", text)) if keys else text + "\r")
        if text == "exit":
            self.terminal.wait_for(rf"^\[mullion\] {name}: powered off\n", TIMEOUT)
            self.ended = True

    def wake(self, name):
        """A partition's end is told a little before the keyboard leaves it, and what is typed then is lost: Enter, until
        the next one answers."""
        start = len(self.terminal.text())
        for attempt in range(TIMEOUT // 5):
            self.terminal.send("\r")
            try:
                self.terminal.wait_for(rf"^\[{name}\] linux# ", 5, start)
                break
            except MarkerNotSeen:
                assert attempt + 1 < TIMEOUT // 5, "nobody answers"
        self.ended = False

    def line(self, line):
        prompt = re.match(r"\[([\w-]+)\] linux# (.+)", line)
        if line.startswith("$ "):
            self.end()
            self.start(line[2:])
        elif prompt:
            self.type(*prompt.groups())
        elif line:
            name = re.match(r"\[([\w-]+)\] ", line)
            self.terminal.wait_for(pattern(line), TIMEOUT, self.typed.get(name[1], 0) if name else 0)

    def close(self):
        if self.terminal:
            self.terminal.kill()


@pytest.mark.parametrize("guide", GUIDES)
def test_guide(guide, tmp_path, request, stock):
    for needed in () if FRESH else ("linux/vmlinuz-stock", "initrd-pci.img"):
        stock(needed)
    tree = pathlib.Path(FRESH, "root/mullion") if FRESH else copy_of_tree(tmp_path / "tree")
    shown = blocks((TOP / guide).read_text())
    assert len(shown) >= GUIDES[guide]
    session = Session(tree, request)
    try:
        for kind, number, body in shown:
            print(f"{guide}:{number}: {kind}")  # shown when it fails
            if kind == "sh":
                subprocess.run(["bash", "-ec", typed(f"set -e\n{body}")], cwd=tree, check=True)
            elif kind == "diff":
                subprocess.run(["patch", "-p0", "--fuzz=0"], input=body, cwd=tree, check=True, text=True)
            else:
                assert kind in ("console", "console fails"), f"{guide}:{number}: nobody replays {kind}"
                for line in body.splitlines():
                    session.line(line)
                session.end(fails=kind == "console fails")
    finally:
        session.close()


def recipe(document, heading):
    """The lines of the indented block under a heading."""
    text = (TOP / document).read_text()
    block = re.search(rf"^## {heading}\n.*?^((?:    [^\n]*\n)+)", text, re.M | re.S)[1]
    return re.sub(r"\\\n\s*", "", block).replace("\n    ", "\n").strip().splitlines()


RECIPES = {
    "docs/images.md": ("In an emulator", ["-cdrom", "file=build/mullion.img", "OVMF_CODE"]),
    "docs/pxe.md": ("In QEMU", ["i386-pc/core.0", "x86_64-efi/core.efi"]),
}


@pytest.mark.parametrize("document, way", [(d, w) for d, (_, ways) in RECIPES.items() for w in range(len(ways))])
def test_recipe(document, way, tmp_path, request):
    """The commands that start an emulator are typed as they stand there; `$B` is one of them. Over the network, what the text
    under the block says of UEFI is done too."""
    heading, ways = RECIPES[document]
    tree = copy_of_tree(tmp_path / "tree")
    lines = recipe(document, heading)
    starts = [line for line in lines if line.startswith("$B ")]
    if document == "docs/images.md":
        lines = [f"make {what} CONFIG=configs/demo.toml" for what in ("iso", "disk")] + lines
    else:
        uefi = [line for line in recipe("docs/images.md", RECIPES["docs/images.md"][0]) if "OVMF" in line]
        bootfile = re.search(r"^For UEFI: .*`(bootfile=\S+)`", (TOP / document).read_text(), re.M)[1]
        drives = " ".join(re.findall(r"-drive if=pflash,\S+", uefi[1]))
        lines.append(uefi[0])
        starts.append(re.sub(r"bootfile=[^ ,]+", bootfile, starts[0]) + " " + drives)
    assert len(starts) == len(ways) and ways[way] in starts[way]
    before = "\n".join(line for line in lines if not line.startswith("$B "))
    machine = Terminal(f"set -e\n{before}\n{starts[way]}", tree, BUILD / "logs" / f"{request.node.name.replace('/', '_')}.log")
    request.node.machines = [machine]
    with machine:
        machine.wait_for(r"^\[mullion\] mullion: all cores are in host mode, starting the partitions\n", TIMEOUT)
        machine.wait_for(r"^\[control-loop\] control-loop: period ", TIMEOUT)
        machine.send(KEYS["<Ctrl-A x>"])
        assert machine.wait_exit(TIMEOUT) == 0


def test_make_pxe(tmp_path):
    """As docs/pxe.md has it, for a network that every host has an address in."""
    tree = copy_of_tree(tmp_path / "tree")
    mac = "52:54:00:12:34:56"
    subprocess.run(["make", "pxe", "CONFIG=configs/two-linux.toml", "SUBNET=127.0.0.0", f"MAC={mac}", "CMDLINE=no-x2apic"],
                   cwd=tree, check=True)
    folder = tree / "build/netboot"
    assert "dhcp-range=127.0.0.0,proxy\n" in (folder / "dnsmasq.conf").read_text()
    assert " no-x2apic\n" in (folder / "mullion" / mac / "grub.cfg").read_text()
    assert (folder / "mullion" / mac / "mullion.toml").read_text() == (TOP / "configs/two-linux.toml").read_text()


def test_numbers_stand_for_numbers():
    line = "[a] periods 1000 missed 0, version 6.1.0-56-cloud, rip 0x1d"
    assert re.match(pattern(line), "[a] periods 2 missed 17, version 6.12-cloud, rip 0xabc \n")
    assert not re.match(pattern(line), line.replace("missed", "mussed") + "\n")
    assert not re.match(pattern(line), line)  # not yet whole
