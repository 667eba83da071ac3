"""Boot loaders as guests, from Debian's packages up to their prompts on the serial console: GRUB as a
multiboot image, and iPXE, whose image is a Linux one with a 16-bit entry that calls a BIOS: SeaBIOS,
and GRUB from a floppy disk, start it."""

import pathlib
import subprocess

import pytest
from conftest import TOP
from partitions import assert_all_ended, partition

COREBOOT_GRUB = "packages/loaders/usr/lib/grub/i386-coreboot/kernel.img"
IPXE = "packages/loaders/boot/ipxe.lkrn"
SEABIOS = "/usr/share/seabios/bios-256k.bin"
SECTOR, IPXE_AT, FLOPPY = 512, 320, 720 * 1024


class Prompt:
    """Types lines, slowly, as nothing queues them; each when the answer to the one before and a new prompt
    are there."""

    def __init__(self, machine, prompt):
        self.machine, self.prompt, self.at = machine, prompt, 0

    def type(self, line, answer):
        self.at = self.machine.wait_for(self.prompt, start=self.at).end()
        self.machine.send(line + "\r", pause=0.02)
        self.at = self.machine.wait_for(answer, start=self.at).end()


def test_grub(boot, stock, tmp_path):
    """It finds its memory in the image itself (tools/make-grub) and the partition's ACPI tables, clock and
    CPUID where a PC has them; its own way of powering off works."""
    memory = 16
    image = tmp_path / "grub.elf"
    subprocess.run([TOP / "tools/make-grub", image, stock(COREBOOT_GRUB).parent, str(memory)], check=True)
    machine = boot(partition("grub", [0], "grub.elf", memory=f"{memory}M"), {"grub.elf": image})
    machine.wait_for(r"^\[grub\] GNU GRUB +version 2\.")
    prompt = Prompt(machine, r"^\[grub\] grub> ")
    prompt.type("lsmmap", rf"base_addr = 0x100000, length = 0x{(memory - 1) << 20:x}, available RAM\n")
    prompt.type("echo on $grub_cpu-$grub_platform", r"^\[grub\] on i386-coreboot\n")
    prompt.type("lsacpi", r"FACP +276B .*\(valid\)[^$]*APIC +\d+B .*\(valid\)")
    prompt.type("date", r"^\[grub\] 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d ")
    prompt.type("sleep 1 ; echo awake", r"^\[grub\] awake\n")
    prompt.type("halt", r"^\[mullion\] grub: powered off\n")
    assert_all_ended(machine)


@pytest.fixture
def ipxe_floppy(stock, tmp_path):
    """A floppy disk with GRUB, and behind it iPXE, which GRUB reads by sectors."""
    ipxe = stock(IPXE).read_bytes()
    sectors = -(-len(ipxe) // SECTOR)
    (tmp_path / "grub.cfg").write_text(f"linux16 (fd0){IPXE_AT}+{sectors}\nboot\n")
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-o", tmp_path / "core.img", "-p", "/", "-c", tmp_path / "grub.cfg",
                    "biosdisk", "linux16"], check=True)
    grub = pathlib.Path("/usr/lib/grub/i386-pc/boot.img").read_bytes() + (tmp_path / "core.img").read_bytes()
    assert len(grub) <= IPXE_AT * SECTOR and IPXE_AT * SECTOR + len(ipxe) <= FLOPPY
    path = tmp_path / "ipxe.img"
    path.write_bytes((grub.ljust(IPXE_AT * SECTOR, b"\0") + ipxe).ljust(FLOPPY, b"\0"))
    return path


def reach_prompt(boot, ipxe_floppy):
    """Banner, prompt, a command. The firmware reads the disk byte by byte, and each is an exit."""
    file = partition("pc", [0], "bios.bin", memory="32M", more='format = "firmware"\nmodules = ["ipxe.img"]')
    machine = boot(file, {"bios.bin": SEABIOS, "ipxe.img": ipxe_floppy})
    machine.wait_for(r"^\[pc\] iPXE initialising devices\.\.\.ok\n", 600)
    machine.wait_for(r"Press Ctrl-B for the iPXE command line")
    machine.send("\x02")
    Prompt(machine, r"iPXE> ").type("echo iPXE answers from ${platform}", r"^\[pc\] iPXE answers from pcbios\n")


@pytest.mark.only_svm
def test_ipxe_svm(boot, ipxe_floppy):
    reach_prompt(boot, ipxe_floppy)


@pytest.mark.long
@pytest.mark.only_vmx
def test_ipxe_vmx(boot, ipxe_floppy):
    reach_prompt(boot, ipxe_floppy)
