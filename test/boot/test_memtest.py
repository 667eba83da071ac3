"""memtest86+ as Debian ships it: it sees all memory of its partition and no more, and finds no
fault in it. 6 MiB is the least that it runs in, on a bare machine as well."""

import re
import time

import pytest
from conftest import PATIENCE
from partitions import partition
from screen import Screen

MEMTEST = "packages/memtest/boot/memtest86+x64.bin"


class Memtest:
    """Its screen and its keys. It draws every two seconds of its own time and drops a key that comes
    while it is busy with the UART: so each step waits for what it shows."""

    def __init__(self, machine):
        self.machine, self._screen, self._at = machine, Screen(), 0

    def screen(self):
        """What the screen shows now."""
        if not self._at:
            start = self.machine.raw().find(b"[memtest] ")
            if start < 0:
                return ""
            self._at = start + len(b"[memtest] ")
        data = self.machine.raw()[self._at:]
        self._at += len(data)
        self._screen.feed(data)
        return self._screen.text()

    def see(self, pattern, seconds):
        """Waits until the screen matches; returns the match."""
        deadline = time.monotonic() + seconds * PATIENCE
        while True:
            text = self.screen()
            match = re.search(pattern, text)
            if match:
                return match
            assert time.monotonic() < deadline and self.machine.running(), \
                f"no {pattern!r} on the screen:\n{text}"
            time.sleep(0.1)

    def key(self, key, pattern):
        self.machine.send(key)
        self.see(pattern, 120)


def start(boot, stock, cpus, memory):
    file = partition("memtest", list(range(cpus)), "memtest", memory=f"{memory}M",
                     cmdline="console=ttyS0,115200 nopause")
    machine = boot(file, {"memtest": stock(MEMTEST)}, cpus=cpus, memory=256)
    machine.wait_for(r"^\[memtest\] ")
    return Memtest(machine)


def select_tests(memtest, first, last):
    """In its menu, which starts the pass anew."""
    memtest.see(r"Test #0", 120)
    memtest.key("1", r"<F1>  Test selection")
    memtest.key("1", r"<F1>  Clear selection")
    memtest.key("1", r"\n[^\n]{24}\.{11}")
    memtest.key("4", r"Enter first test #")
    memtest.key(f"{first}\r", r"Enter last test #")
    memtest.key(f"{last}\r", rf"\n[^\n]{{{24 + first}}}\*{{{last - first + 1}}}")
    memtest.key("0", r"<F1>  Test selection")
    memtest.machine.send("0")


def assert_passed(memtest, cpus, memory, seconds):
    """One pass, no error, over the memory of the partition. The hole between 640 KiB and 1 MiB is
    what a PC lacks of it."""
    memtest.see(r"\| Pass:  1 ", seconds)
    screen = memtest.screen()
    assert re.search(rf"^Memory  : +{memory}MB ", screen, re.M), screen
    tested = re.search(r"\[\S+ of (\d+\.\d\d)MB\]", screen)
    assert tested and abs(float(tested[1]) - (memory - 0.375)) < 0.01, screen
    assert re.search(rf"^CPU: {cpus} Cores {cpus} Threads ", screen, re.M), screen
    assert re.search(r"Pass:  1 +Errors: 0\b", screen), screen


def test_pass(boot, stock, vendor):
    """All tests but the one that waits for 80 seconds; in Bochs the first six. Two vCPUs in QEMU: they
    test side by side."""
    cpus = 2 if vendor == "svm" else 1
    memtest = start(boot, stock, cpus, 6)
    select_tests(memtest, 0, 9 if vendor == "svm" else 5)
    assert_passed(memtest, cpus, 6, 900)


@pytest.mark.long
def test_whole_pass(boot, stock):
    """Everything that it does unasked, on two vCPUs."""
    assert_passed(start(boot, stock, 2, 8), 2, 8, 3000)
