"""tools/mullion-image: what it writes, what it refuses, and that it leaves nothing half-written."""
import os
import pathlib
import re
import resource
import struct
import subprocess
import sys

import pytest
from images import elf, multiboot2

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools/mullion-image"
sys.path.insert(0, str(ROOT / "tools"))
import image  # noqa: E402

FILE = '[partition.a]\ncpus = [0]\nmemory = "16M"\nkernel = "k.elf"\n'
CONFIGURATION = """\
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=0
menuentry Mullion {
    multiboot2 /boot/mullion.elf no-x2apic
    module2 /boot/k.elf k.elf
    module2 /boot/mullion.toml mullion.toml
    insmod all_video
    if [ "$grub_platform" = pc ]; then set gfxpayload=text; fi
}
"""
# Root may do everything: without these two it may not read or write what the file's mode forbids.
AS_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []


@pytest.fixture(scope="module", autouse=True)
def built():
    subprocess.run(["make", "-s", "-C", ROOT, "tools"], check=True)


@pytest.fixture
def here(tmp_path):
    """A folder with a partition file, its kernel, and something in the hypervisor's place."""
    (tmp_path / "f.toml").write_text(FILE)
    (tmp_path / "k.elf").write_bytes(elf())
    (tmp_path / "hv").write_bytes(multiboot2())
    return tmp_path


def run(here, *arguments, before=(), **options):
    return subprocess.run([*before, TOOL, "f.toml", "--hypervisor", "hv", *arguments], cwd=here, capture_output=True,
                          text=True, check=False, **options)


def listing(here):
    return {str(p.relative_to(here)): p.read_bytes() if p.is_file() else None for p in here.rglob("*")}


def refused(here, pattern, *arguments, **options):
    """It fails with these words and changes nothing."""
    before = listing(here)
    result = run(here, *arguments, **options)
    assert result.returncode == 1 and result.stdout == ""
    assert re.search(pattern, result.stderr), result.stderr
    assert "Traceback" not in result.stderr
    assert listing(here) == before


def made(here, *arguments):
    result = run(here, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def extract(here, iso, name):
    subprocess.run(["xorriso", "-osirrox", "on", "-indev", here / iso, "-extract", name, here / "extracted"],
                   check=True, capture_output=True)
    return (here / "extracted").read_bytes()


def on_disk(here, disk, name):
    return subprocess.run(["mtype", "-i", f"{here / disk}@@1M", f"::{name}"], check=True, capture_output=True).stdout


# --- contents


def test_iso(here):
    assert made(here, "--iso", "o.iso", "--cmdline", "no-x2apic") == "mullion-image: o.iso, 2 modules\n"
    assert extract(here, "o.iso", "/boot/grub/grub.cfg").decode() == CONFIGURATION
    assert sorted(p.name for p in here.iterdir()) == ["extracted", "f.toml", "hv", "k.elf", "o.iso"]


def test_disk(here):
    made(here, "--disk", "new/o.img", "--cmdline", "no-x2apic")
    assert on_disk(here, "new/o.img", "/boot/grub/grub.cfg").decode() == CONFIGURATION
    for name, path in (("mullion.elf", "hv"), ("k.elf", "k.elf"), ("mullion.toml", "f.toml")):
        assert on_disk(here, "new/o.img", f"/boot/{name}") == (here / path).read_bytes()
    assert on_disk(here, "new/o.img", "/EFI/BOOT/BOOTX64.EFI")[:2] == b"MZ"
    assert [p.name for p in (here / "new").iterdir()] == ["o.img"]
    disk = (here / "new/o.img").read_bytes()
    active, kind, first, count = struct.unpack("<B3xB3xII", disk[446:462])
    assert (active, kind, first, (first + count) * 512) == (0x80, 0xef, 2048, len(disk))
    assert disk[510:512] == b"\x55\xaa" and disk[512:1024].rstrip(b"\0")


def test_netboot_by_mac_beside_what_is_there(here):
    (here / "net/others").mkdir(parents=True)
    made(here, "--netboot", "net")
    made(here, "--netboot", "net", "--mac", "52-54-00-AB-cd-ef", "--dnsmasq", "10.1.2.0", "--server", "10.1.2.3",
         "--cmdline", "no-x2apic")
    core = (here / "net/mullion/grub/i386-pc/core.0").read_bytes()
    assert {p.name for p in (here / "net").iterdir()} == {"others", "mullion", "dnsmasq.conf"}
    assert {p.name for p in (here / "net/mullion").iterdir()} == {"grub", "default", "52:54:00:ab:cd:ef"}
    folder = here / "net/mullion/52:54:00:ab:cd:ef"
    assert (folder / "grub.cfg").read_text() == CONFIGURATION.replace("/boot/", "/mullion/52:54:00:ab:cd:ef/")
    assert {p.name for p in folder.iterdir()} == {"grub.cfg", "mullion.elf", "k.elf", "mullion.toml"}
    assert "no-x2apic" not in (here / "net/mullion/default/grub.cfg").read_text()
    made(here, "--netboot", "net")  # keeps the server
    assert (here / "net/mullion/grub/i386-pc/core.0").read_bytes() == core
    assert b"(tftp,10.1.2.3)/mullion/grub" in (here / "net/mullion/grub/x86_64-efi/core.efi").read_bytes()
    text = (here / "net/dnsmasq.conf").read_text()
    assert f"tftp-root={here / 'net'}\n" in text and "dhcp-range=10.1.2.0,proxy\n" in text
    for file in re.findall(r'^pxe-service=.*,(.*)$', text, re.M):
        assert (here / "net" / file).is_file()


def test_netboot_replaces_a_machine_whole(here):
    made(here, "--netboot", "net")
    (here / "l.elf").write_bytes(elf(b"other"))
    (here / "f.toml").write_text(FILE.replace("k.elf", "l.elf"))
    made(here, "--netboot", "net")
    assert {p.name for p in (here / "net/mullion/default").iterdir()} == {
        "grub.cfg", "mullion.elf", "l.elf", "mullion.toml"}


def test_all_modules_once_by_path_too_and_console(here):
    """Names that differ only in case, or are paths, lie apart; the guest's name for them stays."""
    for name in ("K.ELF", "sub/k.elf", "grub", "odd,+name"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(name)
    (here / "k.elf").write_bytes(multiboot2())
    second = FILE.replace(".a", ".b").replace("[0]", "[1]")
    more = 'initrd = "K.ELF"\nmodules = ["sub/k.elf", "grub", "odd,+name"]\nformat = "multiboot2"\n'
    (here / "f.toml").write_text(FILE + more + second + '[machine]\nconsole = "com2"\n')
    made(here, "--disk", "o.img")
    text = on_disk(here, "o.img", "/boot/grub/grub.cfg").decode()
    assert text.startswith("serial --unit=1 ")
    modules = re.findall(r"module2 (\S+) (\S+)", text)
    assert [name for _, name in modules] == ["k.elf", "K.ELF", "sub/k.elf", "grub", "odd,+name", "mullion.toml"]
    for path, name in modules[1:5]:
        assert on_disk(here, "o.img", path).decode() == name


def test_modules_beside_the_file_come_before_built_ones(here):
    assert image.find_module("hello.elf", here) == image.BUILD / "guests/hello.elf"
    (here / "hello.elf").write_text("mine")
    assert image.find_module("hello.elf", here) == here / "hello.elf"


def test_names_of_functions(here):
    """They come along where the hypervisor prints them: with functions given away, and with the inventory."""
    if not image.PCI_IDS.exists():
        pytest.skip(f"{image.PCI_IDS} is not there: tools/setup run")
    line = "    module2 /boot/pci.ids pci.ids\n"
    made(here, "--iso", "o.iso", "--cmdline", "mullion.inventory")
    assert line in extract(here, "o.iso", "/boot/grub/grub.cfg").decode()
    (here / "f.toml").write_text(FILE + 'pci = ["00:05.0"]\n')
    assert made(here, "--iso", "o.iso", "--disk", "o.img", "--netboot", "net").startswith("mullion-image: o.iso, 3 modules\n")
    assert line in extract(here, "o.iso", "/boot/grub/grub.cfg").decode()
    ids = image.PCI_IDS.read_bytes()
    assert extract(here, "o.iso", "/boot/pci.ids") == on_disk(here, "o.img", "/boot/pci.ids") == ids
    assert (here / "net/mullion/default/pci.ids").read_bytes() == ids


def test_names_of_functions_of_one_s_own(here):
    """A module of that name in the file is what the hypervisor reads, and there is no second one."""
    (here / "pci.ids").write_text("1234  Acme\n")
    (here / "k.elf").write_bytes(multiboot2())
    (here / "f.toml").write_text(FILE + 'format = "multiboot2"\nmodules = ["pci.ids"]\npci = ["00:05.0"]\n')
    made(here, "--iso", "o.iso")
    assert extract(here, "o.iso", "/boot/grub/grub.cfg").decode().count("pci.ids pci.ids\n") == 1
    assert extract(here, "o.iso", "/boot/pci.ids") == b"1234  Acme\n"


def test_host_without_names_of_functions(here, monkeypatch, capsys):
    monkeypatch.setattr(image, "PCI_IDS", here / "none")
    assert image.names_for({}, "no-x2apic") == {} and capsys.readouterr().err == ""
    (here / "f.toml").write_text(FILE + 'pci = ["00:05.0"]\n')
    contents = image.contents_of(here / "f.toml", hypervisor=here / "hv")
    assert sorted(contents.files) == ["k.elf", "mullion.elf", "mullion.toml"]
    note = capsys.readouterr().err
    assert note == f"note: without {here}/none (Debian's package pci.ids) the log shows PCI functions by number only\n"


def test_subnet_is_the_default_route_s(tmp_path):
    table = ("Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
             "br0\t000011AC\t00000000\t1\t0\t0\t0\t0000FFFF\n"
             "eth0\t00000000\t0101A8C0\t3\t0\t0\t0\t00000000\n"
             "eth0\t0001A8C0\t00000000\t1\t0\t0\t0\t00FFFFFF\n")
    (tmp_path / "route").write_text(table)
    assert image.own_subnet(tmp_path / "route") == "192.168.1.0"
    assert image.own_subnet(tmp_path / "none") is None


# --- refusals

EACH = pytest.mark.parametrize("kind", [["--iso", "out/o"], ["--disk", "out/o"], ["--netboot", "out/o"]],
                               ids=["iso", "disk", "netboot"])


@EACH
def test_missing_module(here, kind):
    (here / "k.elf").unlink()
    refused(here, r"f\.toml: \[partition\.a\] names the module k\.elf: no such file in ", *kind)


@EACH
def test_unreadable_kernel(here, kind):
    (here / "k.elf").write_bytes(b"")
    refused(here, r"k\.elf is empty", *kind)
    (here / "k.elf").unlink()
    (here / "k.elf").mkdir()
    refused(here, r"module k\.elf: .*/k\.elf is not a file", *kind)


@EACH
def test_images_that_would_not_start(here, kind):
    """Told in the words of the loader that refuses them, with the file."""
    (here / "k.elf").write_bytes(b"garbage")
    refused(here, r"(?s)f\.toml: would not start\nf\.toml:4:10: module k\.elf: neither Linux bzImage .*\^.*/k\.elf$", *kind)
    (here / "f.toml").write_text(FILE + 'format = "linux"\n')
    refused(here, r"f\.toml:4:10: module k\.elf: header: not a Linux bzImage", *kind)
    (here / "f.toml").write_text(FILE)
    (here / "k.elf").write_bytes(elf())
    (here / "hv").write_bytes(elf())
    refused(here, r"f\.toml: would not start\nmullion-check: \S*/hv: magic: no multiboot2 header in the first 32 KiB", *kind)


def test_command_line_that_would_be_refused(here):
    refused(here, r"(?s)--cmdline: the command line has no parameter noiomu\n  remedy: correct it", "--iso", "o", "--cmdline", "noiomu")
    refused(here, r"config=f\.toml: the partition file's name as a module is mullion\.toml", "--iso", "o", "--cmdline", "config=f.toml")
    (here / "f.toml").write_text(FILE + 'ports = ["0x2f8"]\n')
    made(here, "--iso", "o.iso")
    refused(here, r"f\.toml:5:10: port 0x2f8 belongs to the console that the command line names", "--iso", "o", "--cmdline", "console=com2")


def test_kernel_without_permission(here):
    (here / "k.elf").chmod(0)
    result = run(here, "--iso", "o.iso", before=AS_USER)
    assert result.returncode == 1 and re.search(r"/k\.elf: Permission denied", result.stderr)
    assert not (here / "o.iso").exists()


def test_missing_files(here):
    (here / "hv").unlink()
    refused(here, r"hypervisor .*: hv is not a file", "--iso", "o.iso")
    (here / "f.toml").unlink()
    refused(here, r"the partition file: f\.toml is not a file", "--iso", "o.iso")


@EACH
def test_refused_file_in_the_checker_s_words(here, kind):
    (here / "f.toml").write_text(FILE.replace("memory", "memroy"))
    refused(here, r"(?s)f\.toml:3:1: .*memroy.*\^.*did you mean memory\?", *kind)


@EACH
def test_full_disk(here, kind):
    """Files of at most 64 KiB: the error of a write is another one, the way out the same."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
    (here / "hv").write_bytes(multiboot2(bytes(100000)))
    refused(here, r"out/o: File too large|grub-mk\w+ failed", *kind, preexec_fn=limit)


@EACH
def test_really_full_disk(here, kind):
    (here / "out").mkdir()
    words = " ".join([str(TOOL), "f.toml", "--hypervisor", "hv", *kind])
    script = f"mount -t tmpfs -o size=256k none out || exit 77; {words}; code=$?; ls -A out >left; exit $code"
    result = subprocess.run(["unshare", "-rm", "sh", "-c", script], cwd=here, capture_output=True, text=True,
                            check=False)
    if result.returncode == 77 or "unshare" in result.stderr:
        pytest.skip("no mount namespaces here")
    assert result.returncode == 1
    assert re.search(r"No space left|grub-mk\w+ failed", result.stderr)
    assert (here / "left").read_text() == ""


@EACH
def test_folder_that_cannot_be_written(here, kind):
    (here / "out").mkdir()
    (here / "out").chmod(0o555)
    refused(here, r"out/o: Permission denied", *kind, before=AS_USER)


@EACH
def test_failing_tool_keeps_what_was_there(here, kind):
    made(here, *kind)
    kind = [*kind, "--server", "10.1.2.3"] if "--netboot" in kind else kind  # to make GRUB again
    (here / "bin").mkdir()
    for name in ("grub-mkrescue", "mformat", "grub-mkimage"):
        (here / "bin" / name).write_text("#!/bin/sh\necho no room\nexit 3\n")
        (here / "bin" / name).chmod(0o755)
    refused(here, r"failed, code 3:\nno room", *kind, env=dict(os.environ, PATH=f"{here}/bin:{os.environ['PATH']}"))


PXE_FAILS = 'case "$*" in *pxe*) exit 3;; esac; exec /usr/bin/grub-mkimage "$@"'
OUTPUTS = ["--iso", "out/o.iso", "--disk", "out/o.img", "--netboot", "net", "--server", "10.1.2.3"]


@pytest.mark.parametrize("before", [False, True], ids=["new", "again"])
def test_all_outputs_or_none(here, before):
    """The ISO is made already when the disk fails, and both when the network's folder does."""
    if before:
        made(here, *OUTPUTS)
        (here / "k.elf").write_bytes(elf(b"another" * 100))
    (here / "bin").mkdir()
    path = dict(os.environ, PATH=f"{here}/bin:{os.environ['PATH']}")
    for name, script in (("mmd", "exit 3"), ("grub-mkimage", PXE_FAILS)):
        (here / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (here / "bin" / name).chmod(0o755)
        refused(here, f"{name} failed, code 3", *OUTPUTS, env=path)
        (here / "bin" / name).unlink()


@pytest.mark.parametrize("link", [True, False], ids=["links", "no-links"])
def test_last_rename_fails(tmp_path, monkeypatch, link):
    """Those that had gone well are taken back: files with their contents, folders, and what was not there before."""
    if not link:
        monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(PermissionError(1, "no links")))
    (tmp_path / "new/folder").mkdir(parents=True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/old").write_text("old")
    moves = []
    for name in ("file", "folder", "absent", "blocked"):
        if name != "folder":
            (tmp_path / "new" / name).write_text("new")
        moves.append((tmp_path / "new" / name, tmp_path / name))
    (tmp_path / "file").write_text("old")
    moves[-1] = (tmp_path / "new/blocked", tmp_path / "no/such/folder")
    before = listing(tmp_path)
    with pytest.raises(image.Refused, match="no/such/folder: No such file or directory"):
        image.replace_all(moves)
    assert {n: b for n, b in listing(tmp_path).items() if "old-" not in n} == before
    image.replace_all(moves[:-1])
    assert (tmp_path / "file").read_text() == (tmp_path / "absent").read_text() == "new"
    assert not list((tmp_path / "folder").iterdir())


def test_output_that_is_a_directory(here):
    (here / "o").mkdir()
    refused(here, r"/o is a directory", "--iso", "o")
    refused(here, r"/o is a directory", "--disk", "o")
    refused(here, r"/f\.toml is no folder", "--netboot", "f.toml")


@pytest.mark.parametrize("kind", ["--iso", "--disk"])
def test_output_over_something_else(here, kind):
    """A device or a pipe, what goes into the image, the other output."""
    os.mkfifo(here / "pipe")
    (here / "link").symlink_to("k.elf")
    refused(here, r"pipe is no regular file", kind, "pipe")
    for name in ("f.toml", "k.elf", "hv", "link"):
        refused(here, rf"{name} is one of the files that go into it", kind, name)
    refused(here, r"--iso and --disk are both o; name two files", "--iso", "o", "--disk", "o")


@pytest.mark.parametrize("options", ["it's", 'say="x"', "back\\slash", "caf\u00e9"])
def test_options_that_grub_would_change(here, options):
    refused(here, r"GRUB cannot hand this over", "--iso", "o.iso", "--cmdline", options)


def test_usage(here):
    for arguments in ([], ["--mac", "52:54:00:12:34:56", "--iso", "o"], ["--netboot", "n", "--mac", "../../x"],
                      ["--netboot", "n", "--dnsmasq", "300.1.1.0"]):
        assert run(here, *arguments).returncode == 2
    text = subprocess.run([TOOL, "--help"], check=True, capture_output=True, text=True).stdout
    for option in ("--iso", "--disk", "--netboot", "--mac", "--dnsmasq", "--server", "--cmdline", "--hypervisor"):
        assert option in text
