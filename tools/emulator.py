"""Starts a machine to run Mullion in, reads what it prints, types to it, and ends it for certain.

Two emulators, because neither has both vendors: QEMU for AMD (SVM, NPT), Bochs for Intel (VMX,
EPT). Used by tools/run and by the boot tests; needs nothing but the standard library.

    with Qemu("build/mullion.iso", log="build/logs/x.log", cpus=2, memory=512) as machine:
        machine.wait_for(r"mullion: started", timeout=60)
        machine.send("exit\\r")
        machine.wait_exit(timeout=30)
"""

import atexit
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
import tty

import image

BOCHS_BIOS = "/usr/share/bochs/BIOS-bochs-latest"
SEABIOS = "/usr/share/seabios/bios-256k.bin"
OVMF_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
OVMF_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
GUARD = ["setpriv", "--pdeathsig", "KILL"]
# What Bochs's debugger says of an instruction, when a machine shuts down, in the middle of anything.
DEBUGGER = re.compile(r"\(\d+\)\.\[\d+\] (\[0x[^\n]*\(unk\. ctxt\)|\?\?\? \(physical)[^\n]*\n")
ESCAPE = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]|\x1bc")


class MarkerNotSeen(AssertionError):
    """wait_for gave up; the message holds the end of the log."""


class EmulatorCrashed(MarkerNotSeen):
    """The emulator died of its own defect, which no guest could cause if it were right: docs/emulators.md."""


def _first_line_of(path):
    try:
        return pathlib.Path(path).read_text().splitlines()[0]
    except (OSError, IndexError):
        return ""


def nested_kvm():
    """"svm" or "vmx" where a guest of KVM truly gets it, else None. That /dev/kvm exists says
    nothing: the module's `nested` parameter and the CPU flag do."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return None
    try:
        flags = re.search(r"^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        return None
    flags = flags.group(1).split() if flags else []
    for flag, module in (("svm", "kvm_amd"), ("vmx", "kvm_intel")):
        nested = _first_line_of(f"/sys/module/{module}/parameters/nested")
        if flag in flags and nested in ("1", "Y"):
            return flag
    return None


class Emulator:
    """One run. The log is what the machine prints on its console, as bytes, in a file and in
    memory; it grows while the machine runs."""

    def __init__(self, iso, log, cpus, memory, limit=None, medium="cdrom"):
        """iso: path of what is booted, by medium: "cdrom", "disk", or in QEMU "net", where it is the
        folder that tools/mullion-image --netboot made. log: path, overwritten. memory: MiB.
        limit: seconds after which the process is killed whatever else happens, None for an interactive run."""
        self.iso = os.path.abspath(iso)
        self.log_path = pathlib.Path(log)
        self.cpus, self.memory, self.limit, self.medium = cpus, memory, limit, medium
        self.cwd = None
        self.echo = None  # a binary stream that receives a copy of the log
        self.process = None
        self._log = bytearray()
        self._changed = threading.Condition()
        self._log_thread = None
        self._keyboard = self._scratch = None

    # --- for the two emulators

    def command(self):
        """The argument list; may create files under self.scratch()."""
        raise NotImplementedError

    def _connect(self):
        """After the process started: the readers, and the file object that takes keystrokes."""
        raise NotImplementedError

    def _disconnect(self):
        """After the process ended."""

    def _clean(self, text):
        """The log without what the emulator itself says."""
        return text

    def _patched(self, bios, changes):
        """A copy of this firmware in which each of the byte strings is another; none may be missing."""
        image = pathlib.Path(bios).read_bytes()
        for old, new in changes.items():
            assert old in image and len(old) == len(new), f"{bios} has no {old}"
            image = image.replace(old, new)
        path = pathlib.Path(self.scratch(), "bios")
        path.write_bytes(image)
        return path

    def scratch(self):
        """A directory of this run's own."""
        if not self._scratch:
            self._scratch = tempfile.mkdtemp(prefix="mullion-")
        return self._scratch

    # --- life

    def start(self):
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        command = self.command()
        # Guards for when this process is killed: the emulator dies with its parent. And for when
        # it hangs: some Bochs displays ignore SIGTERM.
        command = GUARD + command
        if self.limit:
            command = GUARD + ["timeout", "-k", "5", str(self.limit)] + command
        self.log_path.with_suffix(".cmd").write_text(" ".join(command) + "\n")
        self._log_file = open(self.log_path, "wb")
        self.process = subprocess.Popen(
            command, cwd=self.cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=open(self.log_path.with_suffix(".err"), "wb"), start_new_session=True)
        atexit.register(self.kill)
        self._connect()
        return self

    def kill(self):
        """Ends the process and all it started. Safe to call again."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self._drain()
        self._disconnect()
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None
        self._log_file.close()
        self.process = None
        atexit.unregister(self.kill)

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *exc):
        self.kill()

    # --- reading

    def _reader(self, fd, take):
        def loop():
            while True:
                try:
                    data = os.read(fd, 65536)
                except OSError:  # a pseudo-terminal without a peer
                    break
                if not data:
                    break
                take(data)
            with self._changed:
                self._changed.notify_all()
        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        return thread

    def _drain(self):
        """After the process ended: what it printed last may still be in the pipe."""
        if self._log_thread:
            self._log_thread.join(timeout=5)

    def _take(self, data):
        with self._changed:
            self._log += data
            self._log_file.write(data)
            self._log_file.flush()
            if self.echo:
                try:
                    self.echo.write(data)
                    self.echo.flush()
                except OSError:  # its reader has gone
                    self.echo = None
            self._changed.notify_all()

    def text(self):
        """The log so far, without terminal escapes and carriage returns."""
        with self._changed:
            raw = bytes(self._log)
        return self._clean(ESCAPE.sub("", raw.decode("utf-8", "replace")).replace("\r", ""))

    def raw(self):
        """The log so far, byte for byte."""
        with self._changed:
            return bytes(self._log)

    def tail(self, lines=60):
        return "\n".join(self.text().splitlines()[-lines:])

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait_for(self, pattern, timeout, start=0, flags=re.M):
        """Waits until the log holds a match that begins at or after character `start` of text();
        returns the match. Raises MarkerNotSeen at the timeout (seconds), or earlier when the
        machine ended without it."""
        wanted = re.compile(pattern, flags)
        deadline = time.monotonic() + timeout
        while True:
            ended = not self.running()
            if ended:
                self._drain()
            match = wanted.search(self.text(), start)
            if match:
                return match
            left = deadline - time.monotonic()
            if ended:
                self._assert_no_crash()
            if ended or left <= 0:
                why = "the machine ended" if ended else f"{timeout} s passed"
                raise MarkerNotSeen(f"{why} without {pattern!r}; {self.log_path}:\n{self.tail()}")
            with self._changed:
                self._changed.wait(min(left, 0.25))

    def wait_exit(self, timeout):
        """Waits until the machine powers off; raises MarkerNotSeen if it does not."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise MarkerNotSeen(
                f"still running after {timeout} s; {self.log_path}:\n{self.tail()}") from None
        self._drain()
        self._assert_no_crash()
        return self.process.returncode

    def _assert_no_crash(self):
        """After the process ended. `timeout` passes its child's signal on, in one way or the other."""
        for died in signal.SIGSEGV, signal.SIGABRT:
            if self.process.returncode in (-died, 128 + died):
                raise EmulatorCrashed(f"{died.name}; {self.log_path}:\n{self.tail()}")

    # --- writing

    def send(self, text, pause=0.0):
        """Types text at the serial console. pause: seconds after each character, for readers
        without a queue."""
        data = text.encode() if isinstance(text, str) else text
        for piece in ([data] if not pause else [data[i:i + 1] for i in range(len(data))]):
            try:
                os.write(self._keyboard, piece)
            except OSError:
                if not self.running():
                    self._assert_no_crash()
                raise
            if pause:
                time.sleep(pause)

    def interact(self):
        """Joins the terminal to the machine until it ends, or until Ctrl-A x is typed. Ctrl-A
        twice types one Ctrl-A."""
        self.echo = sys.stdout.buffer
        self.start()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        source = sys.stdin.fileno()
        saved = termios.tcgetattr(source) if os.isatty(source) else None
        open_input = True
        try:
            if saved:
                tty.setraw(source)
            prefix = False
            while self.running() and self.echo:
                if not open_input:
                    time.sleep(0.1)
                    continue
                if not select.select([source], [], [], 0.2)[0]:
                    continue
                data = os.read(source, 1024)
                open_input = bool(data)
                keys = bytearray()
                for key in data:
                    if prefix:
                        prefix = False
                        if key in b"xX":
                            return
                        keys.append(key)
                    elif key == 1 and saved:
                        prefix = True
                    else:
                        keys.append(key)
                if keys:
                    os.write(self._keyboard, bytes(keys))
        except (KeyboardInterrupt, BrokenPipeError):
            pass
        finally:
            self.kill()
            if saved:
                termios.tcsetattr(source, termios.TCSADRAIN, saved)


class Qemu(Emulator):
    """AMD-V: TCG with SVM and NPT, or nested KVM (then the vendor is the host's)."""

    def __init__(self, iso, log, cpus=2, memory=512, limit=None, cpu="max,+svm,+npt", kvm=False,
                 icount=False, uefi=False, single_thread=False, extra=(), binary=None, medium="cdrom",
                 mac="52:54:00:12:34:56", serial=("-serial", "chardev:com1"), display=("-vga", "none"),
                 firmware=None):
        """icount: one instruction is one tick, exact from run to run with one CPU. extra:
        further arguments. binary: another QEMU. mac: of the card that the network boots by.
        serial: where the log is connected to. display: graphics card.
        firmware: {bytes: bytes}, changes to SeaBIOS, which then makes the ACPI tables by itself."""
        super().__init__(iso, log, cpus, memory, limit, medium)
        self.mac, self.serial, self.display, self.firmware = mac, serial, display, firmware
        self.cpu, self.kvm, self.icount, self.uefi = cpu, kvm, icount, uefi
        self.single_thread, self.extra = single_thread, list(extra)
        self.binary = binary or os.environ.get("QEMU", "qemu-system-x86_64")

    def _medium(self):
        if self.medium == "cdrom":
            return ["-cdrom", self.iso]
        if self.medium == "disk":
            return ["-drive", f"file={self.iso},format=raw,snapshot=on"]
        file = image.BOOTFILES["BC_EFI" if self.uefi else "x86PC"]
        return ["-netdev", f"user,id=boot,tftp={self.iso},bootfile=/{file}",
                "-device", f"virtio-net-pci,netdev=boot,bootindex=0,mac={self.mac}"]

    def command(self):
        accelerator = "kvm" if self.kvm else "tcg"
        if self.single_thread and not self.kvm:
            accelerator += ",thread=single"
        command = [self.binary, "-nodefaults", "-machine", "q35", "-accel", accelerator,
                   "-cpu", "host" if self.kvm else self.cpu, "-smp", str(self.cpus),
                   "-m", str(self.memory), "-display", "none", *self.display,
                   "-chardev", "stdio,id=com1,signal=off", *self.serial,
                   "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4",
                   *self._medium()]
        if self.icount:
            command += ["-icount", "shift=0,sleep=off", "-rtc", "base=2020-01-01,clock=vm"]
            if self.cpus > 1:
                # The cores take turns, and one that spins gives way only to the next timer of the
                # machine, or after 100 ms. This is a timer without a device: every 100 us.
                command += ["-netdev", "hubport,hubid=0,id=turns",
                            "-object", "filter-buffer,id=turn,netdev=turns,interval=100"]
        if self.uefi:
            variables = os.path.join(self.scratch(), "vars.fd")
            shutil.copyfile(OVMF_VARS, variables)
            command += ["-drive", f"if=pflash,format=raw,readonly=on,file={OVMF_CODE}",
                        "-drive", f"if=pflash,format=raw,file={variables}"]
        if self.firmware:
            command += ["-machine", "acpi=off", "-bios", str(self._patched(SEABIOS, self.firmware))]
        return command + self.extra

    def _connect(self):
        self._keyboard = self.process.stdin.fileno()
        self._log_thread = self._reader(self.process.stdout.fileno(), self._take)


# sync=none: as fast as the host can, so that a run is the same on a loaded machine. The debugger
# of Debian's build stops before the first instruction unless told to go on.
BOCHSRC = """\
config_interface: textconfig
display_library: rfb, options="timeout=0"
romimage: file={bios}
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model={cpu}, count={cpus}, ips={ips}, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest={memory}, host={memory}
boot: {medium}
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: {drive}
com1: enabled=1, mode=term, dev={terminal}
port_e9_hack: enabled=1
clock: sync=none, time0=1700000000
log: {log}
panic: action=fatal
error: action=report
sound: waveoutdrv=dummy
speaker: enabled=0
"""


class Bochs(Emulator):
    """Intel VT-x: VMX with EPT. The log is what is written to port 0xe9, which appears at once;
    COM1, with what the boot loader prints, goes to LOG.com1 and takes the keystrokes."""

    def __init__(self, iso, log, cpus=2, memory=512, limit=None, cpu="corei7_skylake_x",
                 ips=20000000, locked_off=False, extra="", binary=None, medium="cdrom", firmware=None):
        """locked_off: the firmware switches VMX off and locks it. extra: further lines of the
        bochsrc. firmware: {bytes: bytes}, changes to the BIOS."""
        super().__init__(iso, log, cpus, memory, limit, medium)
        self.cpu, self.ips, self.locked_off, self.extra = cpu, ips, locked_off, extra
        self.firmware = firmware or {}
        self.binary = binary or os.environ.get("BOCHS", "bochs")

    def _bios(self):
        changes = dict(self.firmware)
        if self.locked_off:
            # RDMSR; OR EAX, 5; WRMSR sets FEATURE_CONTROL's lock and VMXON bits: leave the lock alone.
            sites = re.findall(rb"\x0f\x32\x66?\x83\xc8\x05\x0f\x30", pathlib.Path(BOCHS_BIOS).read_bytes())
            assert sites, "this BIOS sets FEATURE_CONTROL in another way"
            changes.update((site, site.replace(b"\xc8\x05", b"\xc8\x01")) for site in sites)
        return self._patched(BOCHS_BIOS, changes) if changes else BOCHS_BIOS

    def command(self):
        self._keyboard, self._slave = pty.openpty()
        tty.setraw(self._slave)
        here = self.cwd = self.scratch()  # its network card leaves files where it runs
        # A disk's geometry is found out from its size; what is written to it goes to a file of this run.
        drive = {"cdrom": f'type=cdrom, path="{self.iso}", status=inserted',
                 "disk": f'type=disk, mode=volatile, path="{self.iso}", journal="{here}/changes", cylinders=0'}
        text = BOCHSRC.format(medium=self.medium, drive=drive[self.medium],
                              cpu=self.cpu, cpus=self.cpus, ips=self.ips, memory=self.memory,
                              bios=self._bios(), terminal=os.ttyname(self._slave),
                              log=self.log_path.absolute().with_suffix(".bochs"))
        pathlib.Path(here, "bochsrc").write_text(text + self.extra)
        pathlib.Path(here, "go").write_text("c\n")
        return [self.binary, "-q", "-f", f"{here}/bochsrc", "-rc", f"{here}/go"]

    def _connect(self):
        com1 = open(self.log_path.with_suffix(".com1"), "wb", buffering=0)
        self._com1_thread = self._reader(self._keyboard, com1.write)
        self._log_thread = self._reader(self.process.stdout.fileno(), self._take)

    def _clean(self, text):
        return DEBUGGER.sub("", text)

    def _disconnect(self):
        # The reader of COM1 sees its end only when nobody holds the other side.
        os.close(self._slave)
        self._com1_thread.join(timeout=5)
        os.close(self._keyboard)


def for_vendor(vendor, *args, **kwargs):
    """The emulator that has this vendor's extension: "svm" or "vmx"."""
    return {"svm": Qemu, "vmx": Bochs}[vendor](*args, **kwargs)
