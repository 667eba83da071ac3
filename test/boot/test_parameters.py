"""The hypervisor's command line: what docs/boot-parameters.md promises of each parameter, several in a boot."""

import os
import pathlib
import re
import subprocess

import pytest
from conftest import BUILD
from partitions import assert_all_ended, partition
from test_refuse import refused
from test_screen import Monitor, wait_until

HELLO = partition("hello", [0], "hello.elf")


def hello(boot, guest, cmdline, config=HELLO, modules=(), **options):
    return boot(config, {"hello.elf": guest("hello.elf"), **dict(modules)}, cmdline=cmdline, **options)


def log_lines(machine):
    """The hypervisor's own lines, and the partition's."""
    text = machine.text()
    return (re.findall(r"^\[mullion\] (.*)$", text, re.M), re.findall(r"^\[hello\] (.*)$", text, re.M))


@pytest.mark.parametrize("cmdline, what, remedy", [
    ("noiomu cores=x", "the command line has no parameter noiomu",
     r"correct it or take it out; there are console=, loglevel=, .*, noiommu, .*no-x2apic"),
    ("console=com2,com1", "the command line says console=com2,com1", "console= takes com1 to com4 or .*"),
])
@pytest.mark.only_svm
def test_mistake(boot, cmdline, what, remedy):
    refused(boot(HELLO, {}, cmdline=cmdline), what, remedy)


KEY = partition("hello", [0], "hello.elf", cmdline="key=1")
UARTS = {
    "pci": ("pci:00:04.0", ["-device", "pci-serial,chardev=com1,addr=4"]),
    "com2": ("com2", ["-device", "isa-serial,chardev=com1,iobase=0x2f8,irq=3"]),
    "com3": ("com3", ["-device", "isa-serial,chardev=com1,iobase=0x3e8,irq=4"]),
    "com4": ("com4", ["-device", "isa-serial,chardev=com1,iobase=0x2e8,irq=3"]),
    "port": ("0x3220", ["-device", "isa-serial,chardev=com1,iobase=0x3220,irq=5"]),
}


@pytest.mark.only_svm
@pytest.mark.parametrize("uart", UARTS)
def test_uart(boot, guest, uart):
    """The whole log on another UART than the file's, and the keyboard, with an interrupt or without."""
    name, serial = UARTS[uart]
    other = "com4" if name == "com3" else "com3"
    machine = hello(boot, guest, f"console={name}", config=f'[machine]\nconsole = "{other}"\n' + KEY, serial=serial)
    machine.wait_for(r"^\[mullion\] mullion: version .*\n")
    machine.wait_for(r"^\[hello\] hello: waits for a key\n")
    machine.send("x")
    machine.wait_for(r"^\[hello\] hello: got x\n")
    assert_all_ended(machine)


@pytest.mark.only_vmx
@pytest.mark.parametrize("name", ["com2", "com3", "com4"])
def test_uart_of_bochs(boot, guest, tmp_path, name):
    """COM1 gets nothing, this one all."""
    machine = hello(boot, guest, f"console={name}", extra=f"{name}: enabled=1, mode=file, dev={tmp_path}/{name}\n")
    assert_all_ended(machine)
    text = (tmp_path / name).read_text(errors="replace")
    assert re.search(r"^\[mullion\] mullion: version ", text, re.M) and "[hello] hello: cpu " in text
    assert "[mullion]" not in machine.log_path.with_suffix(".com1").read_text(errors="replace")


def log_in_memory(monitor, folder):
    """The end of the hypervisor's own log, as a debugger finds it. The core that is looked at must be in host mode."""
    image = pathlib.Path(os.environ.get("MULLION", BUILD / "mullion.elf")).with_suffix(".debug.elf")
    symbols = subprocess.run(["nm", "-S", image], capture_output=True, text=True, check=True).stdout
    at, size = re.search(r"^(\w+) (\w+) b log_data$", symbols, re.M).groups()
    monitor.command(f'memsave 0x{at} 0x{size} "{folder}/log"')
    return (folder / "log").read_bytes().replace(b"\0", b"").decode("ascii")


@pytest.mark.only_svm
def test_no_console(boot, guest, tmp_path):
    """Not a byte at any of four UARTs. The machine runs all the same: the partition reaches a port of its own, the log is
    in memory, and the last partition's end powers the machine off, which QEMU then keeps as it is."""
    monitor = Monitor(tmp_path)
    file = partition("hello", [0], "hello.elf", cmdline="port=0x8900 text=done", more='ports = ["0x8900"]')
    uarts = [word for n in (2, 3, 4) for word in ("-serial", f"file:{tmp_path}/com{n}")]
    machine = hello(boot, guest, "console=none", config='[machine]\nconsole = "com2"\n' + file,
                    serial=["-serial", "chardev:com1", *uarts],
                    extra=[*monitor.options, "-no-shutdown", "-chardev", f"file,id=port,path={tmp_path}/port",
                           "-device", "isa-debugcon,iobase=0x8900,chardev=port"])
    wait_until(lambda: monitor.path.exists() or None, "QEMU's monitor")
    wait_until(lambda: "paused (shutdown)" in monitor.command("info status") or None, "the machine's end")
    assert (tmp_path / "port").read_text() == "done"
    log = log_in_memory(monitor, tmp_path)
    assert re.search(r"^mullion: version ", log, re.M) and "hello: powered off\n" in log
    assert machine.raw() == b"" and [(tmp_path / f"com{n}").read_bytes() for n in (2, 3, 4)] == [b""] * 3


@pytest.mark.only_vmx
def test_no_console_of_bochs(boot, guest, tmp_path):
    """Not a byte at any of four UARTs; port 0xe9 tells that the machine runs."""
    uarts = "".join(f"com{n}: enabled=1, mode=file, dev={tmp_path}/com{n}\n" for n in (2, 3, 4))
    machine = hello(boot, guest, "console=none", config='[machine]\nconsole = "com2"\n' + HELLO, extra=uarts)
    assert_all_ended(machine)
    written = [machine.log_path.with_suffix(".com1"), *(tmp_path / f"com{n}" for n in (2, 3, 4))]
    assert written[0].exists() and not any(path.exists() and path.read_bytes() for path in written)


@pytest.mark.only_svm
def test_uart_that_is_not_there(boot, guest):
    """Not silence, but COM1 and a warning."""
    machine = hello(boot, guest, "console=pci:00:09.0")
    machine.wait_for(r"^\[mullion\] boot: no UART answers at pci:00:09\.0, COM1 is the console\n")
    assert_all_ended(machine)


@pytest.mark.only_svm
def test_uart_is_not_given_away(boot, guest):
    file = partition("hello", [0], "hello.elf", more='pci = ["00:04.0"]\ndma = "unprotected"')
    refused(hello(boot, guest, "console=pci:00:04.0", config=file, serial=UARTS["pci"][1]),
            r"mullion\.toml:6:8: pci: 00:04\.0 is the hypervisor's console", r"leave it out, .*")


def test_debug(boot, guest, vendor, tmp_path):
    """Much is told; the machine does without what is switched off, and has the cores that it may have."""
    other = tmp_path / "other.toml"
    other.write_text(HELLO)
    machine = hello(boot, guest, "loglevel=debug cores=2 no-x2apic no-tsc-deadline no-large-pages "
                    "no-preemption-timer config=other.toml noiommu", cpus=3,
                    config="# another\n", modules={"other.toml": other})
    assert_all_ended(machine)
    log, said = log_lines(machine)
    text = "\n".join(log)
    assert said
    assert re.search(r"^boot: memory 0x0-0x9[0-9a-f]{4} type 1$", text, re.M)
    assert re.search(r"^boot: module hello\.elf, \d+ bytes at 0x[0-9a-f]+$", text, re.M)
    assert re.search(r"^boot: core 1 has local APIC id 1$", text, re.M) and "boot: core 2 " not in text
    assert re.search(r"^boot: 2 cores, xapic, ", text, re.M)
    assert "boot: local APIC timer: one-shot" in log
    assert "iommu: not used: noiommu stands on the command line, and the machine has none" in log
    assert re.search(r"^hello: 1 vcpus, .*, pages 0 x 1 GiB, 0 x 2 MiB, \d{4} x 4 KiB; ", text, re.M)
    assert re.search(r"^hello: guest 0x100000 is 0x[0-9a-f]+, \d+ KiB$", text, re.M)
    assert "CVE-2018-12207" not in text  # with small pages nobody can
    if vendor == "vmx":
        assert re.search(r"^vmx: .*; lacks .*preemption timer", text, re.M)


def test_quiet(boot, guest, vendor):
    """Not a line of the log; a partition's output is none."""
    machine = hello(boot, guest, "loglevel=quiet")
    machine.wait_for(r"^\[hello\] hello: cpu .*\n")
    machine.wait_exit()
    log, said = log_lines(machine)
    assert said and not log


@pytest.mark.only_svm
def test_levels(boot, guest, vendor):
    """A crash is an error; that devices reach all memory is a warning; the rest is information."""
    file = partition("bad", [0], "bad.elf", cmdline="do=triple-fault")
    file += partition("hello", [1], "hello.elf", more='pci = ["00:04.0"]\ndma = "unprotected"\npci-reset = "optional"')
    shown = {}
    for level in ("error", "warn", "info"):
        machine = boot(file, {name: guest(name) for name in ("bad.elf", "hello.elf")}, cpus=2,
                       cmdline=f"loglevel={level} noiommu",
                       extra=["-device", "amd-iommu,intremap=on", "-device", "edu,addr=4"])
        machine.wait_exit()
        shown[level] = "\n".join(log_lines(machine)[0])
    assert "bad: crashed" in shown["error"] and "stopped: " in shown["error"] and "WARNING" not in shown["error"]
    for level in ("warn", "info"):
        assert "bad: crashed" in shown[level] and "hello: WARNING: dma" in shown[level]
        assert "iommu: not used: noiommu stands on the command line\n" in shown[level]
    assert "starting the partitions" in shown["info"] and "starting the partitions" not in shown["warn"]
    assert "amd-vi" not in shown["info"].lower()


@pytest.mark.only_svm
def test_no_iommu_refuses(boot, guest, vendor):
    """A device is not given away as if its DMA were remapped."""
    file = partition("hello", [0], "hello.elf", more='pci = ["00:04.0"]\npci-reset = "optional"')
    machine = hello(boot, guest, "noiommu", config=file,
                    extra=["-device", "amd-iommu,intremap=on", "-device", "edu,addr=4"])
    machine.wait_for(r"^\[mullion\] hello: does not start: .*noiommu stands on the command line.*\n")


def test_no_such_file(boot, guest):
    refused(hello(boot, guest, "config=absent.toml"), r"there is no module named absent\.toml",
            r"add a line `module2 /boot/absent\.toml absent\.toml` to grub\.cfg")


@pytest.mark.only_svm
def test_core_beyond(boot, guest):
    """Cores that are not started do not exist; the file's mistake is told with the file's name."""
    file = partition("hello", [1], "hello.elf")
    refused(hello(boot, guest, "cores=1", config=file, cpus=2),
            r"mullion\.toml:2:9: core 1 does not exist: the machine has 1 core", "the only core is 0")
