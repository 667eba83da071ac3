"""Every boot form, with the program of guests/forms, which checks what it was given. Bare emulators start the same files,
as far as they know the form: that shows that the checks are right."""

import pathlib
import re
import struct
import subprocess

import pytest

from conftest import TOP
from partitions import assert_all_ended, lines_of, log_of, partition

FORMS = {"mb1.elf": "multiboot1", "mb1-64.elf": "multiboot1", "mb1-address.bin": "multiboot1",
         "pvh32.elf": "pvh", "pvh64.elf": "pvh",
         "mb2.elf": "multiboot2", "mb2-64.elf": "multiboot2", "mb2-address.bin": "multiboot2"}
# How many modules each of them gets.
COUNTS = (0, 1, 3, 3, 0, 3, 1, 0)
RAM_KIB = 640 + 15 * 1024  # of a partition of 16 MiB
MODULES = {"module": bytes(i * i % 251 for i in range(5000)), "short": b"x", "long": bytes(i % 241 for i in range(70001))}


def module_options(count):
    total, given = 0, b"".join(list(MODULES.values())[:count])
    for byte in given:
        total = total * 31 + byte & 0xFFFFFFFF
    return f"modules={count} " + (f"module={len(given)} sum={total}" if count else "")


@pytest.fixture
def modules(tmp_path):
    """{name: path} of all of them."""
    for name, data in MODULES.items():
        (tmp_path / name).write_bytes(data)
    return {name: tmp_path / name for name in MODULES}


def check(lines, form, count):
    """Nothing failed, and every check was made."""
    assert not [line for line in lines if line.startswith("FAIL")], lines
    assert f"forms: {form} good" in lines
    wanted = 15 + (2 + count + count * (count - 1) // 2 if count else 0)
    assert len([line for line in lines if line.startswith("PASS")]) >= wanted, lines


@pytest.mark.only_svm
@pytest.mark.parametrize("name", ["mb1.elf", "mb1-address.bin", "pvh32.elf", "pvh64.elf"])
def test_bare(vendor, guest, modules, name):
    done = subprocess.run(
        ["timeout", "-k", "5", "60", "qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-m", "64", "-display", "none",
         "-serial", "stdio", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
         "-kernel", guest(name), "-initrd", modules["module"], "-append", f"{module_options(1)} exit=244"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 42 << 1 | 1, done.stderr
    check(done.stdout.splitlines(), FORMS[name], 1)


def test_forms(boot, guest, modules):
    """All of them on one machine."""
    config, files = "", dict(modules)
    for core, ((name, form), count) in enumerate(zip(FORMS.items(), COUNTS)):
        files[name] = guest(name)
        names = list(MODULES)[:count]
        more = ('initrd = "module"\n' if names else "") + (f"modules = {names[1:]}" if names[1:] else "")
        config += partition(re.sub(r"\W", "-", name), [core], name, cmdline=f"ram={RAM_KIB} {module_options(count)}", more=more)
    machine = boot(config, files, cpus=len(FORMS))
    assert_all_ended(machine)
    for (name, form), count in zip(FORMS.items(), COUNTS):
        lines = lines_of(machine.text(), re.sub(r"\W", "-", name))
        check(lines, form, count)
        if form == "multiboot1":
            assert any(line.startswith(f"cmdline {name} ram=") for line in lines)
        if form != "pvh":
            assert "loader Mullion" in lines
            assert [line for line in lines if line.startswith("module ")] == [f"module {given}" for given in list(MODULES)[:count]]


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


def test_reset_entry(boot, guest):
    """A jump to ffff:0000, where a PC's firmware begins, is a reset."""
    config = partition("real", [0], "flat16-reset.bin",
                       more='format = "flat"\nmode = "real"\nload = 0x7c00\nrestart = { on = "reset", limit = 1 }')
    machine = boot(config, {"flat16-reset.bin": guest("flat16-reset.bin")})
    assert_all_ended(machine)
    assert lines_of(machine.text(), "real").count("flat: real good") == 2
    assert len([line for line in log_of(machine.text(), "real") if line.startswith("reset")]) == 2


def test_debug_exit(boot, guest, modules):
    """What is written to the port is told and ends the partition; another's port does nothing."""
    config = partition("one", [0], "mb1.elf", cmdline="exit=244", more='debug-exit = "0xf4"\nmodules = ["module", "mb1.elf"]\n'
                       'restart = { on = "always" }')
    config += partition("two", [1], "mb1.elf", cmdline="exit=244 modules=1", more='debug-exit = 0x501\nmodules = ["module"]')
    machine = boot(config, {"mb1.elf": guest("mb1.elf"), "module": modules["module"]}, cpus=2)
    assert_all_ended(machine)
    assert log_of(machine.text(), "one")[-4:-2] == ["debug exit with 0x2a", "powered off"]
    assert "powered off" in log_of(machine.text(), "two")
    assert not [line for line in log_of(machine.text(), "two") if "debug exit" in line]
    check(lines_of(machine.text(), "two"), "multiboot1", 0)


# --- bad images: refused by name and field, the others run

def patched(path, copy, at, data):
    """A copy of the file with other bytes."""
    content = bytearray(path.read_bytes())
    content[at:at + len(data)] = data
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


# What else a file can say that is wrong, field by field: the code that refuses is the same on both vendors.
FLAT = 'format = "flat"\nload = 0x100000\n'
MORE_BAD = {
    "class": ("pvh64.elf", 4, b"\3", 'format = "pvh"', "e_ident: class 3 .*"),
    "order": ("pvh64.elf", 5, b"\2", 'format = "pvh"', "e_ident: not a little-endian file"),
    "version": ("pvh64.elf", 20, b"\2", 'format = "pvh"', "e_version: not 1"),
    "type": ("pvh64.elf", 16, b"\3", 'format = "pvh"', "e_type: 3, .*"),
    "machine": ("pvh64.elf", 18, b"\x28", 'format = "pvh"', r"e_machine: 40, not 62 \(x86\)"),
    "phentsize": ("pvh64.elf", 54, b"\x20", 'format = "pvh"', "e_phentsize: 32, not 56"),
    "phnum": ("pvh64.elf", 56, b"\0", 'format = "pvh"', "e_phnum: 0, not 1 to 64"),
    "phoff": ("pvh64.elf", 32, b"\0\0\0\1", 'format = "pvh"', "e_phoff: .* outside the file .*"),
    "filesz": ("pvh64.elf", 0x40 + 32, b"\0\0\1", 'format = "pvh"', "p_filesz: 0x10000 is above p_memsz .*"),
    "offset": ("pvh64.elf", 0x40 + 8, b"\0\0\1", 'format = "pvh"', "p_offset: 0x10000 .* outside the file"),
    "boot-area": ("pvh64.elf", 0x40 + 24, b"\0\0\x08", "", "p_paddr: .* covers the boot area .*"),
    "above": ("pvh64.elf", 0x40 + 24, b"\0\xf0\xff\xff", "", "p_paddr: .* ends above 4 GiB"),
    "pvh-entry": ("pvh32.elf", 0x1024, b"\x10\0\0\0", "", "entry address: 0x10 is in no PT_LOAD segment"),
    "load": ("mb1-address.bin", 4016, b"\0\0\x11", "", "load_addr: 0x110000 is no place .*"),
    "load-end": ("mb1-address.bin", 4020, b"\0\0\x11", "", "load_end_addr: 0x110000 is not in the file"),
    "bss-end": ("mb1-address.bin", 4024, b"\x01\0\x10", "", "bss_end_addr: 0x100001 is below .*"),
    "bss-large": ("mb1-address.bin", 4024, b"\0\0\0\2", "", "load_addr: .* is not wholly in the partition's memory"),
    "mb1-entry": ("mb1-address.bin", 4028, b"\0\0\x20", "", "entry_addr: 0x200000 is outside the image"),
    "architecture": ("mb2.elf", 0x1004, b"\4\0\0\0\x68\0\0\0\xbe\xae\xad\x17", "", r"architecture: 4, not 0 \(i386\)"),
    "length": ("mb2.elf", 0x1008, b"\0\0\x10\0\x2a\xaf\x9d\x17", "", "header_length: 0x100000 bytes .*"),
    "request": ("mb2.elf", 0x1018, b"\x63", "", "information request: tag 99 is not offered"),
    "tag-size": ("mb2.elf", 0x1014, b"\4", "", "header tag 1: size 4 is not inside the header"),
    "framebuffer": ("mb2.elf", 0x1032, b"\0\0", "", "header tag 5: demands what a partition does not have"),
    "sectors": ("bzImage", 0x1f1, b"\xff", "", "setup_sects: 255 sectors leave no kernel .*"),
    "size": ("bzImage", 0x1f4, b"\0\0\1", "", "syssize: 0x100000 bytes .* cut short"),
    "jump": ("bzImage", 0x201, b"\x10", "", "jump: .* ends at 0x212 is impossible"),
    "loadflags": ("bzImage", 0x211, b"\0", "", "loadflags: not LOADED_HIGH, .*"),
    "xloadflags": ("bzImage", 0x236, b"\0", "", r"xloadflags: no 64-bit entry point .*"),
    "alignment": ("bzImage", 0x230, b"\3", "", "kernel_alignment: 0x200003 is not a power of two"),
    "preferred": ("bzImage", 0x25c, b"\2", "", "pref_address: 0x200200000 is not between .*"),
    "memory": ("bzImage", 0x260, b"\0\0\0\2", "", "init_size: the kernel needs 32768 KiB .*"),
    "initrd": ("bzImage", 0, b"", 'initrd = "large"', r"module large: no room for its 20000 KiB .*"),
    "flat-entry": ("flat32.bin", 0, b"", FLAT + "entry = 0x900000", "entry: 0x900000 is outside the image"),
    "firmware": ("flat32.bin", 0, b"", 'format = "firmware"', "size: firmware of .*"),
    "nothing": ("flat32.bin", 0, b"", "", "neither Linux bzImage nor multiboot nor ELF; .*"),
}


def bzimage(tmp_path):
    """A setup header of Linux, nothing wrong with it, and zeroes."""
    header = bytearray(8192)
    header[0x1f1] = 1
    header[0x1fe:0x208] = b"\x55\xaa\xeb\x6aHdrS\x0c\x02"
    header[0x211] = 1
    struct.pack_into("<IIBBHI", header, 0x22c, 0x7fffffff, 0x200000, 1, 21, 1, 2047)
    struct.pack_into("<QI", header, 0x258, 0x200000, 0x400000)
    (tmp_path / "bzImage").write_bytes(header)


def assert_refused(boot, guest, tmp_path, bad):
    """All on one machine, each by the file's name and the field; a good one beside them runs."""
    modules = {"hello.elf": guest("hello.elf"), "large": tmp_path / "large"}
    modules["large"].write_bytes(bytes(20000 * 1024))
    bzimage(tmp_path)
    config = ""
    for core, (why, (name, at, data, more, what)) in enumerate(bad.items()):
        path = tmp_path / name if (tmp_path / name).exists() else guest(name)
        modules[f"{why}.bin"] = patched(path, tmp_path / f"{why}.bin", at, data)
        config += partition(why, [core], f"{why}.bin", more=more)
    machine = boot(config + partition("good", [len(bad)], "hello.elf"), modules, cpus=len(bad) + 1, memory=512 + 16 * len(bad))
    machine.wait_for(r"^\[good\] hello: cpu .*\n")
    assert_all_ended(machine)
    wrong = []
    for why, (name, at, data, more, what) in bad.items():
        told = log_of(machine.text(), why)
        if not told or not re.fullmatch(rf"not started: module {why}\.bin: {what}", told[-1]):
            wrong.append(f"{why}: {told}")
    assert not wrong, "\n".join(wrong)


def test_bad_image(boot, guest, tmp_path):
    assert_refused(boot, guest, tmp_path, BAD)


@pytest.mark.only_svm
def test_bad_image_more(boot, guest, tmp_path):
    assert_refused(boot, guest, tmp_path, MORE_BAD)


# --- firmware

# SDM Vol 3A, Processor State After Reset; MTRR Initialization: E and the valid flags are clear.
RESET = ["signature 00000000", "cr0 60000010", "msr 0000001b 00000000 fee00900", "msr c0000080 00000000 00000000",
         "msr 00000277 00070406 00070406", "msr 000002ff 00000000 00000000", "msr 00000201 00000000 00000000",
         "msr 0000020f 00000000 00000000", "msr 00000250 00000000 00000000", "msr 0000026f 00000000 00000000", "end"]


def after_reset(lines):
    return [line.removeprefix("firmware: ") for line in lines if line.startswith("firmware: ")]


@pytest.mark.only_svm
def test_bare_reset(vendor, guest):
    done = subprocess.run(
        ["timeout", "-k", "5", "60", "qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-m", "64", "-display", "none",
         "-serial", "stdio", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-bios", guest("firmware.bin")],
        stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 42 << 1 | 1, done.stderr
    assert after_reset(done.stdout.splitlines()) == RESET


def test_reset(boot, guest):
    """A firmware finds what a reset leaves."""
    machine = boot(partition("pc", [0], "firmware.bin", more='format = "firmware"'), {"firmware.bin": guest("firmware.bin")})
    assert_all_ended(machine)
    assert after_reset(lines_of(machine.text(), "pc")) == RESET


GRUB_MODULES = "biosdisk memdisk tar serial terminal echo lsacpi multiboot rdmsr"
GRUB_CONFIG = """serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
echo grub from a floppy disk
lsacpi
rdmsr 0x2ff
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
    machine.wait_for(r"0xc06\s")  # MTRRs: the firmware has found them off and set them up
    machine.wait_for(r"loader GRUB 2")
    machine.wait_for(r"^\[pc\] forms: multiboot1 good\n")
    assert_all_ended(machine)


CBFS_GRUB_CONFIG = """serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
echo grub starts Linux
linux (cbfsdisk)/vmlinuz console=ttyS0 mullion.test=check expect_cpus=1 expect_mem=192
initrd (cbfsdisk)/initrd
boot
"""


def cbfs_file(name, data):
    """coreboot, util/cbfstool, cbfs.h: the header of a file, its name, its data; each file begins at 64 bytes."""
    offset = (24 + len(name) + 1 + 15) & ~15
    head = b"LARCHIVE" + struct.pack(">IIII", len(data), 0x50, 0, offset) + name.encode()
    return (head.ljust(offset, b"\0") + data).ljust((offset + len(data) + 63) & ~63, b"\xff")


def flash(seabios, files):
    """A flash chip: a file system, its header, SeaBIOS at the end. A pointer to the header lies in the last four bytes, where
    SeaBIOS has the end of a date and a machine's number. GRUB reads it as (cbfsdisk)."""
    content = b"".join(cbfs_file(name, data) for name, data in files.items())
    bios = bytearray(seabios.read_bytes())
    header_bytes, used = 64, len(content)
    rom = (used + header_bytes + len(bios) + 4095) & ~4095
    content = content.ljust(rom - len(bios) - header_bytes, b"\xff")
    struct.pack_into("<i", bios, len(bios) - 4, -(len(bios) + header_bytes))
    header = struct.pack(">IIIIIII", 0x4f524243, 0x31313132, rom, len(bios) + header_bytes, 64, 0, 1)
    return content + header.ljust(header_bytes, b"\0") + bios


@pytest.fixture
def linux_chip(tmp_path, linux, initrd):
    """The chip with the stock kernel, and a floppy disk with the GRUB that knows it: no floppy disk is large enough for both."""
    (tmp_path / "cbfs.cfg").write_text(CBFS_GRUB_CONFIG)
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-o", tmp_path / "core.img", "-p", "(fd0)/", "-c", tmp_path / "cbfs.cfg",
                    *"biosdisk serial terminal echo cbfs linux".split()], check=True)
    sectors = pathlib.Path("/usr/lib/grub/i386-pc/boot.img").read_bytes() + (tmp_path / "core.img").read_bytes()
    (tmp_path / "grub.img").write_bytes(sectors.ljust(360 * 1024, b"\0"))
    chip = flash(pathlib.Path("/usr/share/seabios/bios-256k.bin"), {"vmlinuz": linux.read_bytes(), "initrd": initrd.read_bytes()})
    (tmp_path / "flash.bin").write_bytes(chip)
    return {"flash.bin": tmp_path / "flash.bin", "grub.img": tmp_path / "grub.img"}


def boot_linux_by_firmware(boot, linux_chip, timeout):
    """SeaBIOS, GRUB, and the stock kernel as on a PC: its memory map, tables and processor by way of the firmware."""
    config = partition("pc", [0], "flash.bin", memory="192M", more='format = "firmware"\nmodules = ["grub.img"]')
    machine = boot(config, linux_chip, cpus=1, memory=768)
    machine.wait_for(r"^\[pc\] SeaBIOS \(version .*\n", timeout)
    machine.wait_for(r"grub starts Linux", timeout)
    machine.wait_for(r"^\[pc\] check: done 0 failed\n", timeout)
    assert not re.search(r"^\[pc\] check: .* FAIL", machine.text(), re.M)
    assert_all_ended(machine, timeout)


@pytest.mark.only_svm
def test_linux_by_firmware_svm(boot, linux_chip):
    boot_linux_by_firmware(boot, linux_chip, 300)


@pytest.mark.long
@pytest.mark.only_vmx
def test_linux_by_firmware_vmx(boot, linux_chip):
    boot_linux_by_firmware(boot, linux_chip, 1800)


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
                       cmdline="console=ttyS0 mullion.test=check expect_cpus=1 expect_mem=192 expect_levels=4")
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
