"""tools/mullion-check loads kernels and looks at the hypervisor's image, as a start would: what it says of those that would
not start."""
import pathlib
import re

import pytest
from images import elf
from test_mullion_check import GOOD, ROOT, built, check, refused, run  # noqa: F401, fixtures among them


@pytest.mark.parametrize("more, kernel, error, remedy", [
    ("", b"garbage", "neither Linux bzImage nor multiboot nor ELF; a flat binary has to be declared as one", "format"),
    ("", b"", "neither Linux bzImage", "format"),
    ("", elf(kind=3), "e_type: 3, not a fixed executable (2); link with -no-pie", "format"),
    ("", elf(at=0xfff000, memory=0x2000), "p_paddr: 0xfff000 + 0x2000 bytes is not wholly in the partition's memory", "memory"),
    ('format = "linux"\n', elf(), "header: not a Linux bzImage (no HdrS magic)", "format"),
    ('format = "pvh"\n', elf(), "PT_NOTE: no note XEN_ELFNOTE_PHYS32_ENTRY", "format"),
    ('format = "multiboot"\n', elf(), "magic: no multiboot header in the first 8 KiB", "format"),
    ('format = "multiboot2"\n', elf(), "magic: no multiboot2 header in the first 32 KiB", "format"),
    ('format = "firmware"\n', elf(), "size: firmware of 0x88 bytes, not pages, 64 KiB to 16 MiB", "format"),
    ('format = "firmware"\n', bytes(17 << 20), "size: firmware of 0x1100000 bytes", "format"),
    ('format = "flat"\nload = 0x100000\nentry = 0x100400\nmode = "long"\n', bytes(1024),
     "entry: 0x100400 is outside the image", "memory"),
    ('initrd = "i"\n', elf(), "modules: a plain ELF image takes no initrd, no modules", "format"),
], ids=range(12))
def test_kernel_that_would_not_load(check, tmp_path, more, kernel, error, remedy):
    """In the words of the hypervisor at start, with the module's file."""
    (tmp_path / "k").write_bytes(kernel)
    (tmp_path / "i").write_bytes(b"initrd")
    result = check(GOOD + more, "--module", "vmlinuz", "k", "--module", "i", "i")
    lines = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (1, "")
    assert lines[0].startswith(f"f.toml:4:10: module vmlinuz: {error}")
    assert lines[1:] == ['    kernel = "vmlinuz"', "             ^", f"  remedy: correct {remedy}, or the file, which is k"]


@pytest.mark.parametrize("more, kernel", [
    ("", elf()), ('format = "elf"\n', elf()), ('format = "firmware"\n', bytes(65536)), ('format = "firmware"\n', bytes(16 << 20)),
    ('format = "flat"\nload = 0x100000\nentry = 0x100000\nmode = "long"\n', bytes(16))], ids=range(5))
def test_kernel_that_loads(check, tmp_path, more, kernel):
    (tmp_path / "k").write_bytes(kernel)
    for memory in ("16M", "3000M", "200G"):
        assert check(GOOD.replace("16M", memory) + more, "--module", "vmlinuz", "k").stderr == ""


def test_kernels_of_the_tree():
    """Those of the shipped files, by every name that the file gives."""
    result = run(ROOT + "/configs/many.toml", "--module", "hello.elf", ROOT + "/build/guests/hello.elf",
                 "--modules", ROOT + "/build/guests", "--hypervisor", ROOT + "/build/mullion.elf")
    assert (result.returncode, result.stderr) == (0, "")


def test_unknown_file_is_not_checked(check):
    """Of the modules in a list only the names are known."""
    assert check(GOOD + 'initrd = "i"\n', "--modules", "vmlinuz,i").returncode == 0
    assert check(GOOD, "--modules", "i", "--module", "vmlinuz", "none").stderr == "mullion-check: none: No such file or directory\n"


def test_first_mistake_of_several(check, tmp_path):
    """A kernel's mistake stands behind one of the cores, and before one of another partition."""
    (tmp_path / "k").write_bytes(b"garbage")
    two = GOOD + '[partition.b]\ncpus = [9]\nmemory = "16M"\nkernel = "vmlinuz"\n'
    assert check(two, "--cpus", "1", "--module", "vmlinuz", "k").stderr.startswith("f.toml:2:12: core 1 does not exist")
    assert check(two, "--cpus", "2", "--module", "vmlinuz", "k").stderr.startswith("f.toml:4:10: module vmlinuz: ")


def test_hypervisor(check, tmp_path):
    (tmp_path / "hv").write_bytes(b"hypervisor" * 4000)
    result = check(GOOD, "--hypervisor", "hv")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "mullion-check: hv: magic: no multiboot2 header in the first 32 KiB\n"
    good = pathlib.Path(ROOT, "build/mullion.elf").read_bytes()
    (tmp_path / "hv").write_bytes(good[:len(good) // 2])
    result = check(GOOD, "--hypervisor", "hv")
    assert result.returncode == 2 and re.match(r"mullion-check: hv: p_offset: .* lies outside the file\n", result.stderr)
    (tmp_path / "hv").write_bytes(good)
    assert check(GOOD, "--hypervisor", "hv").returncode == 0


def test_command_line(check):
    result = check(GOOD, "--cmdline", "no-x2apic conole=com2")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("mullion-check: --cmdline: the command line has no parameter conole=com2\n  remedy: correct it")
    ports = GOOD + 'ports = ["0x3220"]\n'
    assert check(ports, "--cmdline", "console=com2 loglevel=debug").returncode == 0
    refused(check(ports, "--cmdline", "console=0x3220"), "f.toml:5:10: port 0x3220 belongs to the console that the command line names",
            '    ports = ["0x3220"]', "             ^", "  remedy: leave 0x3220-0x3227 out of ports")
