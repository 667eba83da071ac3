"""console=framebuffer: the screen has the text, pixel by pixel in the font that was built in; and what GRUB gives of a
screen, under BIOS and UEFI. The vendor plays no part in it."""

import pathlib
import re
import socket
import time

import pytest
from conftest import BUILD, PATIENCE, SECONDS
from partitions import assert_all_ended, partition
from test_refuse import refused

WIDTH, HEIGHT = 8, 16
KEY = partition("hello", [0], "hello.elf", cmdline="key=1")


class Monitor:
    """QEMU's monitor. The machine needs its options."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.path = self.folder / "monitor"
        self.options = ["-monitor", f"unix:{self.path},server,nowait"]

    def command(self, line):
        """What it answers."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(SECONDS["svm"] * PATIENCE)
            link.connect(str(self.path))
            data = b""
            for text in (None, line):
                if text:
                    link.sendall(text.encode() + b"\n")
                    data = b""
                while not data.endswith(b"(qemu) "):
                    data += link.recv(4096)
        return data.decode("ascii", "replace")

    def picture(self):
        """The screen as (width, height, bytes of red, green and blue)."""
        path = self.folder / "screen.ppm"
        self.command(f"screendump \"{path}\"")
        kind, size, _, pixels = path.read_bytes().split(b"\n", 3)
        assert kind == b"P6"
        return (*map(int, size.split()), pixels)

    def text_memory(self):
        """The characters of a VGA's text memory, row by row."""
        path = self.folder / "text"
        self.command(f"pmemsave 0xb8000 4000 \"{path}\"")
        cells = path.read_bytes()[::2].decode("ascii", "replace")
        return [cells[i:i + 80].rstrip() for i in range(0, 2000, 80)]


def built_font():
    """{character: its rows} of the array that was compiled."""
    rows = re.findall(r"^    \{(.*)\},$", (BUILD / "gen/font.c").read_text(), re.M)
    return {chr(32 + i): [int(word, 16) for word in row.split(", ")] for i, row in enumerate(rows)}


def render(text, font):
    """The rows of pixels of a text, as a picture has them: white on black."""
    return [b"".join(b"\xff\xff\xff" if font[c][y] & 0x80 >> x else bytes(3) for c in text for x in range(WIDTH))
            for y in range(HEIGHT)]


def row_of(picture, text, font):
    """The row of the screen that begins with this text, or None."""
    width, height, pixels = picture
    wanted = render(text, font)
    for row in range(height // HEIGHT):
        starts = [3 * width * (row * HEIGHT + y) for y in range(HEIGHT)]
        if all(pixels[at:at + len(line)] == line for at, line in zip(starts, wanted)):
            return row
    return None


def wait_until(find, what):
    """What find returns, when it is not None. The partition's cores paint when they come to it."""
    deadline = time.monotonic() + SECONDS["svm"] * PATIENCE
    while time.monotonic() < deadline:
        found = find()
        if found is not None:
            return found
        time.sleep(0.2)
    raise AssertionError(f"never seen on the screen: {what}")


@pytest.mark.only_svm
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_both(boot, guest, tmp_path, firmware):
    """The log and a partition's lines, on COM1 and on the screen."""
    monitor, font = Monitor(tmp_path), built_font()
    machine = boot(KEY, {"hello.elf": guest("hello.elf")}, cmdline="console=com1,framebuffer",
                   display=["-vga", "std"], extra=monitor.options, memory=768,
                   **({"uefi": True} if firmware == "uefi" else {}))
    version = machine.wait_for(r"^\[mullion\] mullion: version \S+\n", 120).group(0).strip()
    machine.wait_for(r"^\[hello\] hello: waits for a key\n")
    last = wait_until(lambda: row_of(monitor.picture(), "[hello] hello: waits for a key ", font), "the last line")
    picture = monitor.picture()
    assert picture[:2] == (1024, 768)
    assert row_of(picture, version + " ", font) == 0
    assert 0 < row_of(picture, "[mullion] mullion: all cores are in host mode, starting the partitions", font) < last
    assert row_of(picture, "[mullion] mullion: this screen ends here", font) is None
    machine.send("x")
    assert_all_ended(machine)


@pytest.mark.only_svm
def test_screen_alone(boot, guest, tmp_path):
    """Nothing on COM1; more lines than the screen has, so it scrolls."""
    monitor, font = Monitor(tmp_path), built_font()
    file = partition("bad", [0], "bad.elf", cmdline="do=triple-fault", more='restart = { on = "crash", limit = 5 }')
    file += partition("key", [1], "hello.elf", cmdline="key=1")
    machine = boot(file, {name: guest(name) for name in ("bad.elf", "hello.elf")}, cpus=2,
                   cmdline="console=framebuffer loglevel=debug", display=["-vga", "std"], extra=monitor.options)
    wait_until(lambda: monitor.path.exists() or None, "QEMU's monitor")
    wait_until(lambda: row_of(monitor.picture(), "[mullion] bad: restart 5 of 5 ", font), "the last restart")
    assert row_of(monitor.picture(), "[mullion] mullion: version ", font) is None
    assert "[mullion]" not in machine.text() and "[key]" not in machine.text()


@pytest.mark.only_svm
def test_text(boot, guest, tmp_path):
    """Without console= the start is seen, here in text memory, until the partitions start."""
    monitor = Monitor(tmp_path)
    machine = boot(KEY, {"hello.elf": guest("hello.elf")}, display=["-vga", "std"], extra=monitor.options)
    machine.wait_for(r"^\[hello\] hello: waits for a key\n")
    rows = monitor.text_memory()
    assert rows[0].startswith("[mullion] mullion: version ")
    seen = [row for row in rows if row]
    assert seen[-1].startswith("[mullion] mullion: this screen ends here; console=com1,framebuffer would keep it")
    machine.send("x")
    assert_all_ended(machine)


def test_no_screen(boot, guest, vendor):
    """Asked for where there is none, or (in Bochs) one of text or graphics: it starts all the same."""
    machine = boot(partition("hello", [0], "hello.elf"), {"hello.elf": guest("hello.elf")},
                   cmdline="console=com1,framebuffer")
    assert_all_ended(machine)
    if vendor == "svm":
        assert "[mullion] boot: no console on the screen: the boot loader's framebuffer is " in machine.text()


@pytest.mark.only_svm
def test_screen_is_not_given_away(boot, guest):
    """The graphics card of the console is nobody's; of another console it may be given."""
    file = partition("hello", [0], "hello.elf", more='pci = ["00:01.0"]\ndma = "unprotected"\npci-reset = "optional"')
    modules = {"hello.elf": guest("hello.elf")}
    machine = boot(file, modules, cmdline="console=com1,framebuffer", display=["-vga", "std"])
    refused(machine, r"mullion\.toml:6:8: pci: 00:01\.0 is the hypervisor's console",
            r"leave it out, or choose another console on the command line")
    assert_all_ended(boot(file, modules, display=["-vga", "std"]))
