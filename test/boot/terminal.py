"""The tree as a user has it, and a terminal in it: for tests of what is typed into a shell."""

import os
import pathlib
import pty
import shutil
import signal
import subprocess
import threading
import time

import emulator
from conftest import BUILD, PATIENCE, TOP

# What is copied of build/; the rest are links, or is not needed.
COPIED = ["gen", "guests", "host", "hv", "tools", "version", "initrd.img", "initrd-pci.img", "initrd-stress.img",
          "mullion.debug.elf", "mullion.elf", "mullion.map"]
LINKED = ["linux", "packages"]


def copy_of_tree(folder):
    """The tree with what has been built, in a folder of its own: disks and images that a test makes stay there."""
    files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=TOP, check=True,
                           capture_output=True, text=True).stdout.split("\0")
    for file in filter(None, files):
        if (TOP / file).exists():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / file, folder / file)
    (folder / "build").mkdir(parents=True)
    for name in COPIED:
        if (BUILD / name).exists():
            subprocess.run(["cp", "-a", BUILD / name, folder / "build"], check=True)
    for name in LINKED:
        (folder / "build" / name).symlink_to(BUILD / name)
    return folder


class Terminal:
    """One command, with a terminal around it."""

    def __init__(self, command, cwd, log, scale=1):
        """command: for bash. scale: of the timeouts, beside PATIENCE."""
        self.scale = scale * PATIENCE
        self.log_path = pathlib.Path(log)
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self.log_path.with_suffix(".err").write_text("")
        self._log, self._raw = open(self.log_path, "wb"), bytearray()
        self._master, slave = pty.openpty()
        environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        self.process = subprocess.Popen(emulator.GUARD + ["bash", "-c", command], cwd=cwd, stdin=slave, stdout=slave,
                                        stderr=slave, start_new_session=True, env=environment)
        os.close(slave)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # nobody holds the other side any more
                return
            if not data:
                return
            self._log.write(data)
            self._log.flush()
            self._raw += data

    def text(self):
        return emulator.ESCAPE.sub("", bytes(self._raw).decode("utf-8", "replace")).replace("\r", "")

    def tail(self, lines=60):
        return "\n".join(self.text().splitlines()[-lines:])

    def wait_for(self, pattern, timeout=60, start=0):
        """As in emulator.Emulator; timeout: seconds."""
        wanted = emulator.re.compile(pattern, emulator.re.M)
        deadline = time.monotonic() + timeout * self.scale
        while True:
            ended = self.process.poll() is not None
            if ended:
                self._thread.join(timeout=5)
            match = wanted.search(self.text(), start)
            if match:
                return match
            if ended or time.monotonic() > deadline:
                why = f"ended, code {self.process.returncode}," if ended else f"{timeout} s passed"
                raise emulator.MarkerNotSeen(f"{why} without {pattern!r}; {self.log_path}:\n{self.tail()}")
            time.sleep(0.1)

    def send(self, text):
        """Types, slowly enough for a reader without a queue."""
        for key in text:
            os.write(self._master, key.encode())
            time.sleep(0.02)

    def wait_exit(self, timeout=60):
        """The command's exit code."""
        try:
            self.process.wait(timeout * self.scale)
        except subprocess.TimeoutExpired:
            raise emulator.MarkerNotSeen(f"still running after {timeout} s; {self.log_path}:\n{self.tail()}") from None
        self._thread.join(timeout=5)
        return self.process.returncode

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)  # tools/run ends its emulator, which would die with it anyway
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self._thread.join(timeout=5)
        if not self._log.closed:
            os.close(self._master)
            self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.kill()
