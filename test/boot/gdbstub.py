"""Stops a machine in QEMU at a place in the hypervisor, through QEMU's gdbstub, and changes there what a device would
find or answer; QEMU's devices never misbehave by themselves. Only what the tests need of gdb's remote protocol (GDB
manual, Remote Protocol), and of qtest, through which QEMU does accesses to ports as a processor would.

    machine = boot(..., extra=GdbStub.arguments(path))      # it waits before its first instruction
    gdb = GdbStub(path, image="build/mullion.debug.elf")
    gdb.run_to("vtd_attach")
    ...
    gdb.detach()                                            # the machine goes on by itself
"""

import re
import socket
import struct
import subprocess
import time

REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
             "rip")
DIRECT_BASE = 0xffff800000000000  # core/base/layout.h


def connect(path, seconds=30):
    """QEMU makes the socket some time after it was started."""
    deadline = time.monotonic() + seconds
    while True:
        end = socket.socket(socket.AF_UNIX)
        try:
            end.connect(str(path))
            return end
        except OSError:
            end.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class GdbStub:
    """All waits are bounded: seconds of `patience` for a breakpoint to be reached, of 60 for any answer."""

    @staticmethod
    def arguments(path):
        return ["-gdb", f"unix:{path},server=on,wait=off", "-S"]

    def __init__(self, path, image, patience=60):
        self._patience, self._in = patience, b""
        self._socket = connect(path)
        self._symbols = [line.split() for line in subprocess.run(
            ["nm", "-S", image], text=True, check=True, capture_output=True).stdout.splitlines()]

    def close(self):
        self._socket.close()

    # --- packets

    def _byte(self):
        if not self._in:
            self._in = self._socket.recv(65536)
            assert self._in, "QEMU has closed its gdbstub"
        first, self._in = self._in[:1], self._in[1:]
        return first

    def _send(self, text):
        self._socket.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) % 256))

    def _receive(self, seconds):
        """The next packet's contents; acknowledgements before it are passed over."""
        self._socket.settimeout(seconds)
        while self._byte() != b"$":
            pass
        text = b""
        while (byte := self._byte()) != b"#":
            text += byte
        check = self._byte() + self._byte()
        assert int(check, 16) == sum(text) % 256
        self._socket.sendall(b"+")
        return text.decode()

    def ask(self, text, seconds=60):
        """The answer to a packet."""
        self._send(text)
        answer = self._receive(seconds)
        assert not re.fullmatch(r"E[0-9a-f]{2}", answer), f"{text}: {answer}"
        return answer

    # --- places

    def _find(self, name):
        """Lines of nm for this symbol, by whatever name the compiler has left it."""
        found = [line for line in self._symbols
                 if re.fullmatch(re.escape(name) + r"(\.(isra|constprop|part)\.\d+)*", line[-1])]
        assert len(found) == 1, f"{len(found)} symbols {name}"
        return found[0]

    def address(self, name):
        return int(self._find(name)[0], 16)

    def run_to(self, name, when=lambda: True, meanwhile=lambda: None):
        """Goes on until a core is about to execute the first instruction of this function while `when` holds. meanwhile:
        what is done outside once the machine runs."""
        self.stop_at(self.address(name), when, meanwhile)

    def stop_at(self, at, when=lambda: True, meanwhile=lambda: None):
        if self.register("rip") == at:
            self.step()
        assert self.ask(f"Z1,{at:x},1") == "OK"
        self._go_on_to(at, meanwhile)
        while not when():
            self.step()
            self._go_on_to(at)
        assert self.ask(f"z1,{at:x},1") == "OK"

    def _go_on_to(self, at, meanwhile=lambda: None):
        self._send("c")
        meanwhile()
        answer = self._receive(self._patience)
        assert answer.startswith("T05") and self.register("rip") == at, f"{answer} at {self.register('rip'):#x}"

    def step(self):
        """One instruction of that core, without interrupts."""
        answer = self.ask("s")
        assert answer.startswith("T05"), answer

    def called_from(self, name):
        """At a function's first instruction: was it called by this one?"""
        start, size = (int(word, 16) for word in self._find(name)[:2])
        return start < struct.unpack("<Q", self.read(self.register("rsp"), 8))[0] <= start + size

    def detach(self):
        """The machine goes on, without breakpoints."""
        assert self.ask("D") == "OK"
        self.close()

    # --- state, of the core that has stopped

    def register(self, name):
        number = REGISTERS.index(name)
        return struct.unpack("<Q", bytes.fromhex(self.ask("g"))[8 * number:8 * number + 8])[0]

    def read(self, at, size):
        """Virtual addresses; of the machine's memory, or of a device's registers."""
        pieces = [(at + done, min(size - done, 1024)) for done in range(0, size, 1024)]  # as much as fits into a packet
        return b"".join(bytes.fromhex(self.ask(f"m{where:x},{some:x}")) for where, some in pieces)

    def write(self, at, data):
        """Of memory only."""
        assert self.ask(f"M{at:x},{len(data):x}:{data.hex()}") == "OK"

    def read_pa(self, at, size):
        return self.read(at + DIRECT_BASE, size)

    def write_pa(self, at, data):
        self.write(at + DIRECT_BASE, data)


class Ports:
    """qtest beside the processor that runs: also while the machine is stopped."""

    @staticmethod
    def arguments(path):
        return ["-qtest", f"unix:{path},server=on,wait=off", "-qtest-log", "/dev/null"]

    def __init__(self, path):
        self._socket = connect(path)
        self._socket.settimeout(60)
        self._lines = self._socket.makefile("r")

    def close(self):
        self._socket.close()

    def _do(self, command):
        self._socket.sendall(command.encode() + b"\n")
        answer = self._lines.readline().split()
        assert answer and answer[0] == "OK", f"{command}: {answer}"
        return answer

    def _select(self, function, offset):
        """PCI Local Bus 3.0, Configuration Mechanism: mechanism 1."""
        bus, device, number = (int(part, 16) for part in re.split(r"[:.]", function))
        self._do(f"outl 0xcf8 {1 << 31 | bus << 16 | device << 11 | number << 8 | offset & ~3:#x}")
        return 0xcfc + (offset & 3)

    def config_read(self, function, offset):
        """16 bits of the configuration space of "00:05.0"."""
        return int(self._do(f"inw {self._select(function, offset):#x}")[1], 16)

    def config_write(self, function, offset, value):
        self._do(f"outw {self._select(function, offset):#x} {value:#x}")

    def capability(self, function, wanted):
        """Where it stands. PCI Local Bus 3.0, Capabilities List."""
        at = self.config_read(function, 0x34) & 0xff
        while self.config_read(function, at) & 0xff != wanted:
            at = self.config_read(function, at) >> 8
            assert at, f"{function} has no capability {wanted:#x}"
        return at

    def memory_write(self, at, value):
        """32 bits, of a device's registers too."""
        self._do(f"writel {at:#x} {value:#x}")
