"""Every boot form, with the program of guests/forms, which checks what it was given. Bare emulators start the same files,
as far as they know the form: that shows that the checks are right."""

import re
import subprocess

import pytest

from conftest import BUILD
from partitions import assert_all_ended, lines_of, partition

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


FLAT = {"flat16.bin": ("real", 0x7c00), "flat32.bin": ("protected", 0x20000), "flat64.bin": ("long", 0x200000)}
