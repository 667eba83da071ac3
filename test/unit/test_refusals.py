"""Bad input for each program of tools/: a missing file, an unreadable kernel, a full disk, a wrong machine. Each ends with
a code that is not 0 and an error that names it, and leaves nothing half-written. test_image_tool.py and
test_mullion_check.py go further with theirs."""
import os
import pathlib
import re
import subprocess
import zlib

import pytest
from images import bzimage, elf, multiboot2

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = '[partition.a]\ncpus = [0]\nmemory = "16M"\nkernel = "k.elf"\n'
AS_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
SCRIPTS = sorted(path.name for path in (ROOT / "tools").iterdir() if path.is_file() and os.access(path, os.X_OK))


@pytest.fixture(scope="module", autouse=True)
def built():
    subprocess.run(["make", "-s", "-C", ROOT, "tools"], check=True)


@pytest.fixture
def here(tmp_path):
    """A folder with a partition file and a kernel, and build/ with a checker and a hypervisor of sorts."""
    (tmp_path / "f.toml").write_text(FILE)
    (tmp_path / "k.elf").write_bytes(elf())
    (tmp_path / "build/tools").mkdir(parents=True)
    (tmp_path / "build/tools/mullion-check").symlink_to(ROOT / "build/tools/mullion-check")
    (tmp_path / "build/mullion.elf").write_bytes(multiboot2())
    return tmp_path


def tool(here, name, *arguments, before=(), more=None, **options):
    program = ROOT / ("build/tools" if name == "mullion-check" else "tools") / name
    environment = dict(os.environ, O=str(here / "build"), TMPDIR=str(here), **(more or {}))
    cwd = ROOT if name in ("make-initrd", "fetch-linux") else here  # these two know the tree
    return subprocess.run([*before, program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False,
                          env=environment, stdin=subprocess.DEVNULL, **options)


def listing(here):
    return {str(p.relative_to(here)): p.stat().st_size if p.is_file() else None for p in here.rglob("*")}


def refused(here, pattern, name, *arguments, **options):
    before = listing(here)
    result = tool(here, name, *arguments, **options)
    assert result.returncode not in (0, 120), result.stdout
    assert "Traceback" not in result.stderr and re.search(pattern, result.stderr), result.stderr
    assert listing(here) == before


@pytest.mark.parametrize("name", SCRIPTS + ["mullion-check"])
def test_wrong_command(here, name):
    """Told how it is used, on standard error."""
    words = {"inventory": ["--cpus", "none"], "fetch-deb": ["folder"]}.get(name, ["--no-such-option"])
    refused(here, rf"usage: |tools/{name} |try: {name} --help", name, *words)


@pytest.mark.parametrize("name, words, error", [
    ("mullion-check", ["none.toml"], r"none\.toml: No such file"),
    ("mullion-check", ["f.toml", "--machine", "none"], r"none: No such file"),
    ("mullion-image", ["none.toml", "--iso", "o"], r"none\.toml is not a file"),
    ("run", ["none.toml"], r"none\.toml is not a file"),
    ("inventory", ["--log", "none"], r"inventory: none: No such file"),
    ("make-iso", ["o.iso", "none.toml"], r"make-iso: the partition file: none\.toml is not a file"),
    ("make-iso", ["o.iso", "f.toml", "none.elf"], r"module none\.elf: none\.elf is not a file"),
    ("make-font", ["none"], r"make-font: none: No such file"),
    ("make-font", ["f.toml"], r"make-font: f\.toml: Not a gzipped file"),
    ("make-grub", ["o.elf", "none", "64"], r"make-grub: none is no folder"),
    ("extract-vmlinux", ["none", "o.elf"], r"extract-vmlinux: none: the kernel: none is not a file"),
], ids=lambda v: v if isinstance(v, str) and " " not in v and "\\" not in v else "")
def test_missing_file(here, name, words, error):
    refused(here, error, name, *words)


@pytest.mark.parametrize("name, variable", [("fetch-linux", "LINUX"), ("make-initrd", "INITRD")])
def test_missing_file_of_a_variable(here, name, variable):
    (here / "build/linux").mkdir()
    (here / "build/packages").mkdir()
    refused(here, rf"{name}: {variable}=/none is no file that can be read", name, more={variable: "/none"})


def test_missing_package(here):
    """apt-get does not know it; it is not asked here, since it might take its time."""
    (here / "bin").mkdir()
    (here / "bin/apt-get").write_text("#!/bin/sh\nexit 100\n")
    (here / "bin/apt-get").chmod(0o755)
    path = {"PATH": f"{here}/bin:{os.environ['PATH']}"}
    refused(here, "fetch-deb: cannot download nothing-like-it|package lists are absent", "fetch-deb", here / "new",
            "nothing-like-it", more=path)


@pytest.mark.parametrize("name, words", [("run", ["f.toml"]), ("mullion-image", ["f.toml", "--iso", "o"]),
                                         ("make-iso", ["o.iso", "f.toml", "k.elf"]), ("extract-vmlinux", ["k.elf", "o"])])
def test_unreadable_kernel(here, name, words):
    (here / "k.elf").chmod(0)
    refused(here, r"k\.elf: Permission denied", name, *words, before=AS_USER)
    (here / "k.elf").chmod(0o644)
    (here / "k.elf").write_bytes(b"")
    refused(here, r"k\.elf is empty", name, *words)


@pytest.mark.parametrize("name, words", [("run", ["f.toml"]), ("mullion-image", ["f.toml", "--iso", "o"])])
def test_images_that_would_not_start(here, name, words):
    """The file, and what of it is wrong."""
    (here / "k.elf").write_bytes(elf(kind=3))
    refused(here, r"(?s)f\.toml: would not start\n.*f\.toml:4:10: module k\.elf: e_type: 3, not .*the file, which is \S*/k\.elf$",
            name, *words)
    (here / "k.elf").write_bytes(elf())
    (here / "build/mullion.elf").write_bytes(elf())
    refused(here, r"f\.toml: would not start\nmullion-check: \S*/mullion\.elf: magic: no multiboot2 header ", name, *words)


def test_kernel_that_is_none(here):
    refused(here, r"extract-vmlinux: k\.elf: this is not a bzImage", "extract-vmlinux", "k.elf", "o")
    header = bytearray(0x300)
    header[0x202:0x206] = b"HdrS"
    (here / "k.elf").write_bytes(header)
    refused(here, r"extract-vmlinux: k\.elf: unknown compression", "extract-vmlinux", "k.elf", "o")


@pytest.mark.parametrize("name, words", [("mullion-image", ["f.toml", "--iso", "{}"]), ("mullion-image", ["f.toml", "--disk", "{}"]),
                                         ("make-iso", ["{}", "f.toml", "k.elf"]), ("mullion-check", ["f.toml", "--svg", "{}"]),
                                         ("extract-vmlinux", ["k.elf", "{}"]), ("make-grub", ["{}", ".", "64"])])
def test_output_over_a_device(here, name, words):
    """A device or a pipe is not replaced by a file."""
    if name == "extract-vmlinux":
        (here / "k.elf").write_bytes(packed_kernel(b"\x7fELF"))
    os.mkfifo(here / "pipe")
    for out in ("/dev/null", "pipe"):
        refused(here, rf"{out} is no regular file|{out}: this is no regular file", name, *(word.format(out) for word in words))
        assert not pathlib.Path(here, out).is_file()


@pytest.mark.parametrize("what", ["pipe", "folder", "/dev/zero"])
@pytest.mark.parametrize("name, words", [
    ("mullion-check", ["{}"]), ("mullion-check", ["f.toml", "--machine", "{}"]), ("mullion-check", ["f.toml", "--hypervisor", "{}"]),
    ("mullion-check", ["f.toml", "--module", "k.elf", "{}"]), ("mullion-image", ["{}", "--iso", "o"]),
    ("mullion-image", ["f.toml", "--iso", "o", "--hypervisor", "{}"]), ("run", ["{}"]), ("inventory", ["--log", "{}"]),
    ("make-iso", ["o", "{}"]), ("make-iso", ["o", "-", "m={}"]), ("make-font", ["{}"]), ("make-grub", ["o", "{}", "64"]),
    ("extract-vmlinux", ["{}", "o"]), ("fetch-linux", "LINUX"), ("make-initrd", "INITRD")])
def test_input_that_is_no_file(here, name, words, what):
    """Told at once: nobody waits for the end of a pipe, or of a device."""
    os.mkfifo(here / "pipe")
    for folder in ("folder", "build/linux", "build/packages"):
        (here / folder).mkdir()
    more = {words: str(here / what)} if isinstance(words, str) else {}
    error = rf"{what}: (this is no regular file|Is a directory)|{what} is (not a|no( regular)?) (file|folder)|cannot open `{what}/"
    refused(here, error, name, *([] if more else [word.format(what) for word in words]), more=more, timeout=60)


@pytest.mark.parametrize("name", ["k.elf", "l.elf"])
def test_modules_of_a_folder_that_are_no_files(here, name):
    """Only those that a partition names are looked into."""
    (here / "mods").mkdir()
    (here / "mods/k.elf").write_bytes(elf())
    (here / "mods" / name).unlink(missing_ok=True)
    os.mkfifo(here / "mods" / name)
    if name == "k.elf":
        refused(here, "mods/k.elf: this is no regular file", "mullion-check", "f.toml", "--modules", "mods", timeout=60)
    else:
        assert tool(here, "mullion-check", "f.toml", "--modules", "mods", timeout=60).returncode == 0


# --- a full disk


def on_a_full_disk(here, name, *words, pattern=r"No space left on device|failed", more=None, prepare="true"):
    """The folder out/ has room for 64 KiB. prepare: a command that is run before."""
    (here / "out").mkdir(exist_ok=True)
    program = ROOT / "tools" / name
    script = (f"mount -t tmpfs -o size=64k none '{here}/out' || exit 77; cd '{here}'; {prepare}; cd '{ROOT if name == 'make-initrd' else here}'; "
              f"'{program}' {' '.join(words)}; code=$?; ls -AR '{here}/out' >'{here}/left'; exit $code")
    result = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False,
                            env=dict(os.environ, **(more or {})))
    if result.returncode == 77 or "unshare" in result.stderr:
        pytest.skip("no mount namespaces here")
    assert result.returncode not in (0, 120) and "Traceback" not in result.stderr
    assert re.search(pattern, result.stderr), result.stderr
    return [line for line in (here / "left").read_text().splitlines()[1:] if line]


def test_full_disk_make_iso(here):
    (here / "k.elf").write_bytes(os.urandom(100000))
    assert on_a_full_disk(here, "make-iso", "out/o.iso", "f.toml", "k.elf", more={"MULLION": str(here / "k.elf")}) == []


def test_full_disk_make_initrd(here):
    assert on_a_full_disk(here, "make-initrd", "plain", more={"O": str(here / "out")}) == []


def packed_kernel(contents):
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    return bzimage(packed.compress(contents) + packed.flush() + bytes(4))


def test_full_disk_extract_vmlinux(here):
    (here / "k.elf").write_bytes(packed_kernel(b"\x7fELF" + bytes(1 << 20)))
    assert on_a_full_disk(here, "extract-vmlinux", "k.elf", "out/o") == []
    assert tool(here, "extract-vmlinux", "k.elf", "o").returncode == 0
    assert (here / "o").stat().st_size == (1 << 20) + 4


def test_full_disk_run(here):
    """Neither ISO nor log nor a disk with nothing in it is left."""
    (here / "k.elf").write_bytes(elf(os.urandom(100000)))
    (here / "f.toml").write_text("# disk: d 1M\n# qemu: -drive if=none,file={d},id=d\n" + FILE)
    left = on_a_full_disk(here, "run", "f.toml", more={"O": str(here / "out")}, prepare="cp -rP build/* out/")
    assert [line for line in left if not line.endswith(":")] == ["mullion.elf", "tools", "mullion-check"]


FONT = ROOT / "build/packages/font/usr/share/consolefonts/Lat15-Fixed16.psf.gz"


def test_full_disk_make_grub(here):
    (here / "bin").mkdir()
    (here / "bin/grub-mkimage").write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done; exec head -c 100000 /dev/zero >"$2"\n')
    (here / "bin/grub-mkimage").chmod(0o755)
    assert on_a_full_disk(here, "make-grub", "out/o.elf", ".", "64", more={"PATH": f"{here}/bin:{os.environ['PATH']}"}) == []


def test_full_disk_fetch_deb(here):
    (here / "bin").mkdir()
    (here / "bin/apt-get").write_text("#!/bin/sh\nexec head -c 100000 /dev/zero >big.deb\n")
    (here / "bin/apt-get").chmod(0o755)
    assert on_a_full_disk(here, "fetch-deb", "out/new", "package", more={"PATH": f"{here}/bin:{os.environ['PATH']}"},
                          pattern="fetch-deb: cannot download package") == []


def test_full_disk_picture(here):
    (here / "f.toml").write_text("".join(FILE.replace("a]", f"a{n}]").replace("[0]", f"[{n}]") for n in range(200)))
    assert on_a_full_disk(here, "../build/tools/mullion-check", "f.toml", "--svg", "out/o.svg") == []


@pytest.mark.parametrize("name, words", [("mullion-check", ["f.toml"]), ("inventory", ["--log", "log"]), ("make-font", [FONT]),
                                         ("mullion-image", ["f.toml", "--hypervisor", "build/mullion.elf", "--netboot", "net"])])
def test_full_standard_output(here, name, words):
    (here / "log").write_text("[mullion] #: begin\n[mullion] #: end\n")
    program = ROOT / ("build/tools" if name == "mullion-check" else "tools") / name
    with open("/dev/full", "wb") as full:
        result = subprocess.run([program, *words], cwd=here, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode not in (0, 120)
    assert result.stderr == f"{name}: standard output: No space left on device\n"


# --- a wrong machine


def test_run_on_a_machine_without_what_the_file_needs(here):
    (here / "f.toml").write_text("# qemu: -device edu\n" + FILE)
    refused(here, r"run: f\.toml asks for devices of QEMU, which Bochs does not have", "run", "--bochs", "f.toml")
    refused(here, r"run: none is missing; `tools/setup run` installs it", "run", "f.toml", more={"QEMU": "none"})
    (here / "f.toml").write_text("# qemu: -drive file={data}\n" + FILE)
    refused(here, r"there is no disk data; write a line # disk: data 64M", "run", "f.toml")
    (here / "f.toml").write_text("# disk: data big\n" + FILE)
    refused(here, r"# disk: data big: write a name and a size", "run", "f.toml")
    (here / "f.toml").write_text(FILE.replace("[0]", "[70000]"))
    refused(here, r"f\.toml:2:\d+: ", "run", "f.toml")


def test_run_tells_why_the_emulator_does_not_start(here):
    (here / "f.toml").write_text("# qemu: -device no-such-device\n" + FILE)
    result = tool(here, "run", "f.toml")
    assert result.returncode == 1
    assert re.search(r"run: the emulator did not start:\n.*no-such-device", result.stderr), result.stderr


def test_inventory_of_what_is_none(here):
    (here / "log").write_text("nothing\n")
    refused(here, "inventory: no inventory in this log; boot with mullion.inventory", "inventory", "--log", "log")
    refused(here, "inventory: the machine does not answer: .*no-such-device|the ISO was not made", "inventory", "-device",
            "no-such-device")
