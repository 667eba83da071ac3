"""From a partition file to what a machine boots from: finds the modules that the file names, writes
the GRUB configuration, and makes an ISO, a disk image or a folder for a TFTP server of them.

Used by tools/mullion-image, tools/make-iso and tools/run; needs nothing but the standard library,
GRUB's own tools, xorriso and mtools. What goes wrong is raised as Refused, in words for the user.
Everything is made under a temporary name beside its place and renamed at the end.
"""

import contextlib
import ipaddress
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import tomllib

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / os.environ.get("O", "build")
HYPERVISOR = BUILD / "mullion.elf"
CHECKER = BUILD / "tools/mullion-check"
GRUB = pathlib.Path("/usr/lib/grub")
PCI_IDS = pathlib.Path("/usr/share/misc/pci.ids")  # Debian's package pci.ids
KNOWN = {"vmlinuz": BUILD / "linux/vmlinuz", "initrd": BUILD / "initrd.img"}

# Made when a file first names it: what Debian's packages give.
STOCK = ["tools/fetch-linux", "stock"]
MADE = {"vmlinuz-stock": [STOCK], "initrd-pci.img": [STOCK, ["tools/make-initrd", "pci"]],
        "vmlinuz-rt": [["tools/fetch-linux", "rt"]], "initrd-stress.img": [["tools/make-initrd", "stress"]]}

# What the boot loader needs, and no more, which is smaller and quicker.
LOADER = ["multiboot2", "normal", "serial", "terminal", "test", "all_video"]
# The UEFI image of an ISO asks for every partition map by name, and prints an error for each that is absent.
MAPS = [f"part_{name}" for name in "acorn amiga apple bsd dfly dvh gpt msdos plan sun sunpc".split()]

SECTOR = 512
PARTITION_AT = 2048  # sectors: what lies before has room for GRUB's core
CYLINDER = 16 * 63  # sectors: a disk is a whole number of them, for old firmware and for Bochs
ESP = 0xef  # the type of the partition: UEFI looks for EFI/BOOT/BOOTX64.EFI there


class Refused(Exception):
    """The message says what is wrong and where."""


def tell(text):
    """Prints to the standard output. Raises Refused when that cannot be written."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries once more
        raise Refused(f"standard output: {error.strerror}") from None


# --- the partition file and its modules


def read_config(path):
    """The partition file as a dict. Raises Refused when it cannot be read or is no TOML."""
    try:
        return tomllib.loads(pathlib.Path(path).read_bytes().decode())
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise Refused(f"{path}: {error}") from None


def check(path, what, *options):
    """Asks the checker. Raises Refused with its words. what: they mean if it refuses."""
    if not os.access(CHECKER, os.X_OK):
        raise Refused(f"{CHECKER} is missing; `make tools` builds it")
    result = subprocess.run([CHECKER, path, *options], capture_output=True, text=True, errors="replace", check=False)
    if result.returncode:
        raise Refused(f"{path}: {what}\n{result.stderr.rstrip()}")


def partitions(config):
    """The tables of the partitions: {name: table}."""
    tables = config.get("partition", {})
    return {n: t for n, t in tables.items() if isinstance(t, dict)} if isinstance(tables, dict) else {}


def find_module(name, beside):
    """The file of a module: beside the partition file, else where this tree builds it; None if nowhere."""
    candidates = [beside / name, KNOWN.get(name), BUILD / "guests" / name, BUILD / name, BUILD / "linux" / name]
    if not (beside / name).exists():
        for command in MADE.get(name, []):
            if subprocess.run([str(TOP / command[0]), *command[1:]], check=False, cwd=TOP).returncode:
                raise Refused(f"module {name!r}: {' '.join(command)} does not make it")
    if "/" not in name:
        candidates += sorted(path for path in (BUILD / "guests").rglob("*") if path.name == name)
    return next((path for path in candidates if path and path.exists()), None)


def readable(path, what):
    """The path itself. Raises Refused unless it is a file with contents that may be read."""
    try:
        if not path.is_file():
            raise Refused(f"{what}: {path} is not a file")
        with open(path, "rb") as file:
            if not file.read(1):
                raise Refused(f"{what}: {path} is empty")
    except OSError as error:
        raise Refused(f"{what}: {path}: {error.strerror}") from None
    return path.resolve()


def modules_of(config, path):
    """{name: file} of all that the partitions name, in the file's order. Raises Refused for one that is missing."""
    beside, found = pathlib.Path(path).resolve().parent, {}
    for partition, table in partitions(config).items():
        names = [table[key] for key in ("kernel", "initrd") if key in table] + list(table.get("modules", []))
        for name in names:
            what = f"{path}: [partition.{partition}] names the module {name}"
            if name not in found:
                file = find_module(str(name), beside)
                if not file:
                    raise Refused(f"{what}: no such file in {beside}, {BUILD}/guests or {BUILD}")
                found[name] = readable(file, what)
    return found


def names_for(config, cmdline):
    """{module: file} with the names of PCI vendors and devices, where the hypervisor would print them. A host without
    the file is no reason to refuse: the functions have their numbers."""
    granted = any(table.get("pci") for table in partitions(config).values())
    if not granted and "mullion.inventory" not in cmdline.split():
        return {}
    if os.access(PCI_IDS, os.R_OK):
        return {"pci.ids": PCI_IDS}
    sys.stderr.write(f"note: without {PCI_IDS} (Debian's package pci.ids) the log shows PCI functions by number only\n")
    return {}


# --- what GRUB loads


class Contents:
    """The files of one machine: .files is {name in the folder: path}, .configuration(folder) GRUB's text."""

    def __init__(self, config_path, modules, cmdline="", hypervisor=HYPERVISOR, console="com1", without=(), tables=()):
        """modules: {string: path}. config_path: None for no partition file. console: as in the file. without, tables:
        names of ACPI tables that GRUB takes away, paths of those that it adds; for tests, ISO only."""
        self.files = {"mullion.elf": readable(pathlib.Path(hypervisor), "the hypervisor (`make` builds it)")}
        self.console = console
        self.loader = list(LOADER)
        self._consoles = [value for word in cmdline.split() if word.startswith("console=")
                          for value in word.removeprefix("console=").split(",")]
        self._lines = ["multiboot2 {}/mullion.elf " + " ".join(map(_word, cmdline.split()))]
        if without or tables:
            self.loader.append("acpi")
            names = [f"table-{number}" for number in range(len(tables))]
            self.files.update((name, readable(pathlib.Path(path), name)) for name, path in zip(names, tables))
            self._lines.insert(0, " ".join([f"acpi --exclude={','.join(without)}", *(f"{{0}}/{name}" for name in names)]))
        for string, path in modules.items():
            self._add(string, readable(pathlib.Path(path), f"module {string}"))
        if config_path:
            self._add("mullion.toml", readable(pathlib.Path(config_path), "the partition file"))

    def _add(self, string, path):
        name = re.sub(r"[^\w.-]", "_", pathlib.Path(string).name, flags=re.A)
        taken = {"grub", *(n.lower() for n in self.files)}  # FAT does not tell A from a
        if name.lower() in taken:
            name = f"{len(self.files)}-{name}"
        self.files[name] = path
        self._lines.append(f"module2 {{}}/{name} {_word(string)}")

    def configuration(self, folder):
        """The only place where a GRUB configuration for Mullion is written. folder: where the files lie."""
        lines = []
        for word in self._consoles or [self.console]:
            if re.fullmatch("com[1-4]", word):
                port = f"--unit={int(word[3]) - 1}"
            elif re.fullmatch("0x[0-9a-fA-F]+", word):
                port = f"--port={word}"
            else:
                continue
            lines += [f"serial {port} --speed=115200", "terminal_input console serial",
                      "terminal_output console serial"]
        lines += ["set timeout=0", "menuentry Mullion {"]
        lines += ["    " + line.format(folder).rstrip() for line in self._lines]
        # A screen of graphics only where it is asked for; UEFI has no other. After multiboot2, which asks for one itself,
        # and of any depth at last: with 8 bits and a palette GRUB 2.06 crashes in Bochs.
        screen = "1024x768x32,800x600x32,640x480x32,text" if "framebuffer" in self._consoles else "text"
        lines += ["    insmod all_video", f"    if [ \"$grub_platform\" = pc ]; then set gfxpayload={screen}; fi", "}"]
        return "\n".join(lines) + "\n"


def _word(text):
    """One word of GRUB's language. GRUB itself would change quotes and backslashes on the way."""
    if not re.fullmatch(r"[!-~]+", text) or re.search(r"['\"\\]", text):
        raise Refused(f"{text!r}: GRUB cannot hand this over: no spaces, quotes or backslashes, ASCII only")
    return text if re.fullmatch(r"[\w./=,:+-]+", text) else f"'{text}'"


def contents_of(path, cmdline="", hypervisor=HYPERVISOR):
    """Contents of a partition file, checked first: the file, then what it names, as far as it shows before a start."""
    path = pathlib.Path(path)
    readable(path, "the partition file")
    check(path, "not a valid partition file")
    config = read_config(path)
    console = config.get("machine", {}).get("console", "com1")
    modules = modules_of(config, path)
    contents = Contents(path, {**names_for(config, cmdline), **modules}, cmdline, hypervisor, console)
    check(path, "would not start", "--hypervisor", contents.files["mullion.elf"], "--cmdline", cmdline,
          *(word for name, file in modules.items() for word in ("--module", name, file)))
    if other := [word for word in cmdline.split() if word.startswith("config=") and word != "config=mullion.toml"]:
        raise Refused(f"{other[0]}: the partition file's name as a module is mullion.toml")
    return contents


# --- making things


def run(command, **options):
    """Raises Refused with the program's last words if it fails."""
    command = [str(word) for word in command]
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                text=True, errors="replace", check=False, **options)
    except FileNotFoundError:
        raise Refused(f"{command[0]} is missing; `tools/setup run` installs it") from None
    if result.returncode:
        words = "\n".join(result.stdout.splitlines()[-12:])
        raise Refused(f"{command[0]} failed, code {result.returncode}:\n{words}")


@contextlib.contextmanager
def beside(out, what=None):
    """A scratch folder in the folder of `out`, which is made if it is absent; gone at the end. what: for errors."""
    made = []
    try:
        for folder in [out.parent, *out.parent.parents][::-1]:
            if not folder.is_dir():
                folder.mkdir()
                made.append(folder)
        with tempfile.TemporaryDirectory(prefix=f".{out.name[:100]}.", dir=out.parent) as scratch:
            os.chmod(scratch, 0o755)
            yield pathlib.Path(scratch)
            made = []
    except OSError as error:
        raise Refused(f"{what or out}: {error.strerror}") from None
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()


def make(*outputs):
    """Makes each of these (iso, disk, netboot), then renames all to their places: all of them or none."""
    with contextlib.ExitStack() as stack:
        replace_all([move for output in outputs for move in stack.enter_context(output)])


def _keep(place, old):
    """What is at `place`, if anything, is at `old` too; a folder, or where there are no hard links, only there."""
    if not place.is_dir() and os.path.lexists(place):
        with contextlib.suppress(OSError):
            return os.link(place, old, follow_symlinks=False)
    if os.path.lexists(place):
        place.rename(old)


def replace_all(moves):
    """Renames each new file or folder to its place; all of them or none."""
    done = []
    try:
        for new, place in moves:
            old = new.with_name(f"old-{new.name}")
            done.append((new, place, old))
            _keep(place, old)
            new.replace(place)
    except BaseException as error:
        failed = done[-1][1]
        for new, place, old in reversed(done):
            if not new.exists():
                place.rename(new)
            if os.path.lexists(old):
                old.replace(place)
        if isinstance(error, OSError):
            raise Refused(f"{failed}: {error.strerror}") from None
        raise


def file_at(out):
    """The absolute path of a file to be made. Raises Refused if a folder, a device or a pipe is there."""
    out = pathlib.Path(out).absolute()
    if out.is_dir():
        raise Refused(f"{out} is a directory")
    if out.exists() and not out.is_file():
        raise Refused(f"{out} is no regular file; write one, then copy it there with dd")
    return out


@contextlib.contextmanager
def iso(contents, out):
    """For make: a hybrid ISO, for BIOS and UEFI, CD or USB stick."""
    out = file_at(out)
    with beside(out) as scratch:
        (scratch / "grub.cfg").write_text(contents.configuration("/boot"))
        graft = {"grub/grub.cfg": scratch / "grub.cfg", **contents.files}
        escaped = [f"/boot/{name}=" + re.sub(r"([\\=])", r"\\\1", str(path)) for name, path in graft.items()]
        run(["grub-mkrescue", "-o", scratch / "iso", f"--install-modules={' '.join(['iso9660', *contents.loader, *MAPS])}",
              "--fonts=", "--themes=", "--locales=", *escaped, "--", "-volid", "MULLION"])
        yield [(scratch / "iso", out)]


def _loader(scratch, target, prefix, more):
    """An image of GRUB that holds all its modules."""
    image = scratch / target
    run(["grub-mkimage", "-O", target, "-p", prefix, "-o", image, "part_msdos", "fat", *LOADER, *more])
    return image


@contextlib.contextmanager
def disk(contents, out):
    """For make: a disk with one FAT partition; GRUB before it for BIOS, in it for UEFI."""
    out = file_at(out)
    with beside(out) as scratch:
        (scratch / "grub.cfg").write_text(contents.configuration("/boot"))
        core = _loader(scratch, "i386-pc", "(,msdos1)/boot/grub", ["biosdisk"]).read_bytes()
        if len(core) > (PARTITION_AT - 1) * SECTOR:
            raise Refused(f"GRUB for BIOS is too large: {len(core)} bytes")
        files = {"EFI/BOOT/BOOTX64.EFI": _loader(scratch, "x86_64-efi", "/boot/grub", []),
                 "boot/grub/grub.cfg": scratch / "grub.cfg"}
        files.update((f"boot/{name}", path) for name, path in contents.files.items())

        sectors = sum(-(-path.stat().st_size // SECTOR) + 64 for path in files.values())
        sectors += sectors // 64 + (16 << 20) // SECTOR  # the FAT itself, and room to try another kernel
        total = -(-(PARTITION_AT + sectors) // CYLINDER) * CYLINDER
        # GRUB's core expects to lie at sector 1, where it is put: see its boot.img and diskboot.img.
        start = (GRUB / "i386-pc/boot.img").read_bytes()[:440] + struct.pack("<IH", 0x4c4c554d, 0)
        far = b"\xfe\xff\xff"  # the cylinder, head and sector of what lies beyond them
        entry = struct.pack("<B3sB3sII", 0x80, far, ESP, far, PARTITION_AT, total - PARTITION_AT)
        with open(scratch / "disk", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, total * SECTOR)
            file.write(start + entry + bytes(48) + b"\x55\xaa" + core)
        image = f"disk@@{PARTITION_AT * SECTOR}"
        run(["mformat", "-i", image, "-T", total - PARTITION_AT, "-h", 16, "-s", 63, "-H", PARTITION_AT,
              "-v", "MULLION", "::"], cwd=scratch)
        run(["mmd", "-i", image, "::/boot", "::/boot/grub", "::/EFI", "::/EFI/BOOT"], cwd=scratch)
        for name, path in files.items():
            run(["mcopy", "-i", image, path, f"::/{name}"], cwd=scratch)
        yield [(scratch / "disk", out)]


# --- the folder of a TFTP server

NET_MODULES = ["tftp", "test", "configfile"]
# -s opens the file, while -f would look it up in its folder, which TFTP cannot list.
NET_START = """\
set machine=/mullion/$net_default_mac
if [ ! -s $machine/grub.cfg ]; then set machine=/mullion/default; fi
source $machine/grub.cfg
"""
BOOTFILES = {"x86PC": "mullion/grub/i386-pc/core.0", "BC_EFI": "mullion/grub/x86_64-efi/core.efi",
             "X86-64_EFI": "mullion/grub/x86_64-efi/core.efi"}


@contextlib.contextmanager
def netboot(contents, out, mac=None, server=None, subnet=None):
    """For make: files for BIOS and UEFI under `out`, all in its folder mullion: grub/, and default/ or the folder of
    the machine with this MAC address (lower case, colons). server: the TFTP server's address; without it GRUB asks
    the one that DHCP names, which is the wrong one beside proxy-DHCP, and a grub/ that is there stays.
    subnet: writes dnsmasq.conf for it too."""
    out = pathlib.Path(out).absolute()
    if out.exists() and not out.is_dir():
        raise Refused(f"{out} is no folder")
    machine = mac or "default"
    with beside(out / "mullion/new", out) as scratch:
        (scratch / machine).mkdir()
        for name, path in contents.files.items():
            shutil.copyfile(path, scratch / machine / name)
        (scratch / machine / "grub.cfg").write_text(contents.configuration(f"/mullion/{machine}"))
        moves = [(scratch / machine, out / "mullion" / machine)]
        if server or not (out / "mullion/grub").exists():
            _net_loader(scratch / "grub", scratch, server)
            moves.append((scratch / "grub", out / "mullion/grub"))
        if subnet:
            (scratch / "dnsmasq.conf").write_text(dnsmasq(out, subnet))
            moves.append((scratch / "dnsmasq.conf", out / "dnsmasq.conf"))
        yield moves


def _net_loader(grub, scratch, server):
    """Makes the folder `grub`: what the firmware fetches, and what that fetches then."""
    prefix = f"(tftp,{server})/mullion/grub" if server else "/mullion/grub"
    for target, more, place in (("i386-pc-pxe", ["pxe"], "i386-pc/core.0"),
                                ("x86_64-efi", ["efinet"], "x86_64-efi/core.efi")):
        (grub / place).parent.mkdir(parents=True)
        shutil.copyfile(_loader(scratch, target, prefix, [*NET_MODULES, *more]), grub / place)
    (grub / "grub.cfg").write_text(NET_START)


def dnsmasq(folder, subnet):
    """dnsmasq's configuration: tells machines on this subnet what to boot, beside the DHCP server there."""
    services = "\n".join(f'pxe-service={kind},"Mullion",{file}' for kind, file in BOOTFILES.items())
    return f"""\
# dnsmasq --no-daemon --conf-file={folder}/dnsmasq.conf
# No name server; addresses come from the DHCP server that is there, only the boot file from here.
port=0
dhcp-range={subnet},proxy
log-dhcp
enable-tftp
tftp-root={folder}
# The one choice is taken at once.
pxe-prompt="Mullion",0
{services}
"""


def own_address(subnet):
    """This machine's address towards a subnet, None without any."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(ipaddress.IPv4Address(subnet) + 1), 9))  # sends nothing
            return probe.getsockname()[0]
        except OSError:
            return None


def own_subnet(routes="/proc/net/route"):
    """The subnet of this machine's default route, else its first one; None without any."""
    try:
        rows = [line.split() for line in pathlib.Path(routes).read_text().splitlines()[1:]]
    except OSError:
        return None
    default = [row[0] for row in rows if row[1] == "00000000"]
    nets = [row for row in rows if row[1] != "00000000" and row[2] == "00000000"]
    nets.sort(key=lambda row: row[0] not in default)
    return ".".join(str(byte) for byte in struct.pack("<I", int(nets[0][1], 16))) if nets else None
