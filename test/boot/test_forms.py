"""Every boot form, with the program of guests/forms, which checks what it was given. Bare emulators start the same files,
as far as they know the form: that shows that the checks are right."""

import pathlib
import re
import subprocess

import pytest

from conftest import TOP
from partitions import assert_all_ended, lines_of, log_of, partition

FORMS = {"mb1.elf": "multiboot1", "mb1-64.elf": "multiboot1", "mb1-address.bin": "multiboot1",
         "pvh32.elf": "pvh", "pvh64.elf": "pvh",
         "mb2.elf": "multiboot2", "mb2-64.elf": "multiboot2", "mb2-address.bin": "multiboot2"}
RAM_KIB = 640 + 15 * 1024  # of a partition of 16 MiB
MODULE = bytes(i * i % 251 for i in range(5000))


def module_options():
    total = 0
    for byte in MODULE:
        total = total * 31 + byte & 0xFFFFFFFF
    return f"module={len(MODULE)} sum={total}"


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "module"
    path.write_bytes(MODULE)
    return path


def check(lines, form, module_count):
    """Nothing failed, and every check was made."""
    assert not [line for line in lines if line.startswith("FAIL")], lines
    assert f"forms: {form} good" in lines
    assert len([line for line in lines if line.startswith("PASS")]) >= 14 + 3 * (module_count > 0), lines


@pytest.mark.only_svm
@pytest.mark.parametrize("name", ["mb1.elf", "mb1-address.bin", "pvh32.elf", "pvh64.elf"])
def test_bare(vendor, guest, module, name):
    done = subprocess.run(
        ["timeout", "-k", "5", "60", "qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-m", "64", "-display", "none",
         "-serial", "stdio", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
         "-kernel", guest(name), "-initrd", module, "-append", f"modules=1 {module_options()} exit=244"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 42 << 1 | 1, done.stderr
    check(done.stdout.splitlines(), FORMS[name], 1)


def test_forms(boot, guest, module):
    """All of them on one machine."""
    config, modules = "", {"module": module}
    for core, (name, form) in enumerate(FORMS.items()):
        count = 1 if core % 2 else 0
        modules[name] = guest(name)
        config += partition(re.sub(r"\W", "-", name), [core], name,
                            cmdline=f"ram={RAM_KIB} modules={count} " + (module_options() if count else ""),
                            more='initrd = "module"' if count else "")
    machine = boot(config, modules, cpus=len(FORMS))
    assert_all_ended(machine)
    for core, (name, form) in enumerate(FORMS.items()):
        lines = lines_of(machine.text(), re.sub(r"\W", "-", name))
        check(lines, form, core % 2)
        if form == "multiboot1":
            assert any(line.startswith(f"cmdline {name} ram=") for line in lines)
        if form != "pvh":
            assert "loader Mullion" in lines
            assert core % 2 == 0 or "module module" in lines


def test_flat(boot, guest):
    """In each mode."""
    config, modules = "", {}
    for core, (bits, mode, load) in enumerate([(16, "real", 0x7c00), (32, "protected", 0x20000), (64, "long", 0x200000)]):
        modules[f"flat{bits}.bin"] = guest(f"flat{bits}.bin")
        config += partition(mode, [core], f"flat{bits}.bin", cmdline="flat",
                            more=f'format = "flat"\nmode = "{mode}"\nload = {load}')
    machine = boot(config, modules, cpus=3)
    assert_all_ended(machine)
    for mode in ("real", "protected", "long"):
        assert f"flat: {mode} good" in lines_of(machine.text(), mode)


def test_debug_exit(boot, guest, module):
    """What is written to the port is told and ends the partition; another's port does nothing."""
    config = partition("one", [0], "mb1.elf", cmdline="exit=244", more='debug-exit = "0xf4"\nmodules = ["module", "mb1.elf"]\n'
                       'restart = { on = "always" }')
    config += partition("two", [1], "mb1.elf", cmdline="exit=244 modules=1", more='debug-exit = 0x501\nmodules = ["module"]')
    machine = boot(config, {"mb1.elf": guest("mb1.elf"), "module": module}, cpus=2)
    assert_all_ended(machine)
    assert log_of(machine.text(), "one")[-4:-2] == ["debug exit with 0x2a", "powered off"]
    assert "powered off" in log_of(machine.text(), "two")
    assert not [line for line in log_of(machine.text(), "two") if "debug exit" in line]
    check(lines_of(machine.text(), "two"), "multiboot1", 0)


# --- bad images: refused by name and field, the others run

def patched(path, tmp_path, at, data):
    """A copy of the file with other bytes."""
    content = bytearray(path.read_bytes())
    content[at:at + len(data)] = data
    copy = tmp_path / f"bad-{path.name}"
    copy.write_bytes(content)
    return copy


BAD = {
    "header": ("mb1.elf", 0x1004, b"\x0b\0\0\0\xf3\x4f\x52\xe4", "", "flags: 0xb .*"),
    "note": ("pvh32.elf", 0x1018 + 8, b"\x11", 'format = "pvh"', "PT_NOTE: .*"),
    "segment": ("pvh64.elf", 0x40 + 24, b"\0\0\0\x02", "", "p_paddr: .*"),
    "checksum": ("mb2-address.bin", 4000 + 8, b"\xff\xff", 'format = "multiboot2"', "magic: .*"),
    "entry": ("mb1-64.elf", 24, b"\x10\0\0\0", "", "e_entry: 0x10 is in no PT_LOAD segment"),
    "flat": ("flat32.bin", 0, b"", 'format = "flat"\nload = 0xfffff0', "load: .*"),
    "linux": ("bzImage", 0x206, b"\x05\x02", "", "version: boot protocol 2.5, .*"),
    "large": ("mb2.elf", 0, b"", 'initrd = "large"', r"module large: no room for its 20000 KiB .*"),
}


def bzimage(tmp_path):
    """A setup header of Linux and zeroes."""
    header = bytearray(8192)
    header[0x1f1] = 1
    header[0x1fe:0x208] = b"\x55\xaa\xeb\x6aHdrS\x0c\x02"
    (tmp_path / "bzImage").write_bytes(header)
    return tmp_path / "bzImage"


def test_bad_image(boot, guest, tmp_path):
    """All on one machine, with a good one."""
    modules = {"hello.elf": guest("hello.elf"), "large": tmp_path / "large"}
    modules["large"].write_bytes(bytes(20000 * 1024))
    bzimage(tmp_path)
    config = ""
    for core, (why, (name, at, data, more, what)) in enumerate(BAD.items()):
        path = tmp_path / name if (tmp_path / name).exists() else guest(name)
        modules[f"{why}.bin"] = patched(path, tmp_path, at, data)
        config += partition(why, [core], f"{why}.bin", more=more)
    machine = boot(config + partition("good", [len(BAD)], "hello.elf"), modules, cpus=len(BAD) + 1)
    machine.wait_for(r"^\[good\] hello: cpu .*\n")
    assert_all_ended(machine)
    for why, (name, at, data, more, what) in BAD.items():
        told = log_of(machine.text(), why)
        assert re.fullmatch(rf"not started: module {why}\.bin: {what}", told[-1]), told


# --- firmware

GRUB_MODULES = "biosdisk memdisk tar serial terminal echo lsacpi multiboot"
GRUB_CONFIG = """serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
echo grub from a floppy disk
lsacpi
multiboot (memdisk)/mb1.elf mb1.elf
boot
"""


@pytest.fixture
def grub_floppy(tmp_path, guest):
    """A floppy disk with GRUB, which starts a multiboot program from its own memory."""
    (tmp_path / "grub.cfg").write_text(GRUB_CONFIG)
    subprocess.run(["tar", "-cf", tmp_path / "memdisk.tar", "-C", guest("mb1.elf").parent, "mb1.elf"], check=True)
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-o", tmp_path / "core.img", "-p", "(memdisk)/", "-m", tmp_path / "memdisk.tar",
                    "-c", tmp_path / "grub.cfg", *GRUB_MODULES.split()], check=True)
    sectors = pathlib.Path("/usr/lib/grub/i386-pc/boot.img").read_bytes() + (tmp_path / "core.img").read_bytes()
    path = tmp_path / "grub.img"
    path.write_bytes(sectors.ljust(360 * 1024, b"\0"))
    return path


@pytest.mark.parametrize("bios", ["bios-256k.bin", "bios.bin"])
def test_seabios(boot, vendor, tmp_path, grub_floppy, bios):
    """The banner, the boot menu by the serial console, and GRUB from a floppy disk, which finds the ACPI tables that
    the firmware has installed, and starts a program."""
    if (vendor, bios) == ("vmx", "bios.bin"):
        pytest.skip("the smaller image differs in nothing that depends on the processor")
    config = partition("pc", [0], bios, memory="32M", more='format = "firmware"\nmodules = ["grub.img"]')
    machine = boot(config, {bios: f"/usr/share/seabios/{bios}", "grub.img": grub_floppy})
    machine.wait_for(r"^\[pc\] SeaBIOS \(version .*\n")
    machine.wait_for(r"Press ESC for boot menu")
    machine.send("\x1b")
    machine.wait_for(r"Select boot device:")
    machine.wait_for(r"1\. .*grub\.img")
    machine.send("1")
    machine.wait_for(r"Welcome to GRUB")
    machine.wait_for(r"FACP +276B .*\(valid\)[^$]*APIC +\d+B .*\(valid\)")
    machine.wait_for(r"loader GRUB 2")
    machine.wait_for(r"^\[pc\] forms: multiboot1 good\n")
    assert_all_ended(machine)


# --- the stock kernel as an ELF file

@pytest.fixture
def vmlinux(linux, tmp_path):
    """What is in the bzImage."""
    path = tmp_path / "vmlinux"
    subprocess.run([TOP / "tools/extract-vmlinux", linux, path], check=True)
    return path


def boot_vmlinux(boot, vmlinux, initrd, timeout):
    """By the PVH note, with its initrd as the module: the init's checks are those of test_linux.py."""
    config = partition("linux", [0], "vmlinux", memory="192M", more='initrd = "initrd"',
                       cmdline="console=ttyS0 mullion.test=check expect_cpus=1 expect_mem=192")
    machine = boot(config, {"vmlinux": vmlinux, "initrd": initrd}, cpus=1, memory=768)
    machine.wait_for(r"^\[linux\] .*Booting paravirtualized kernel|^\[linux\] check: ", timeout)
    machine.wait_for(r"^\[linux\] check: done 0 failed\n", timeout)
    assert not re.search(r"^\[linux\] check: .* FAIL", machine.text(), re.M)
    assert_all_ended(machine, timeout)


@pytest.mark.only_svm
def test_vmlinux_svm(boot, vmlinux, initrd):
    boot_vmlinux(boot, vmlinux, initrd, 300)


@pytest.mark.long
@pytest.mark.only_vmx
def test_vmlinux_vmx(boot, vmlinux, initrd):
    boot_vmlinux(boot, vmlinux, initrd, 1800)
