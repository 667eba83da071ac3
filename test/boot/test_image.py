"""What tools/mullion-image makes starts machines: one partition file by ISO, disk and network, under BIOS and
UEFI. The firmware and the boot loader are under test here, so the guest is the smallest."""

import subprocess

import emulator
import pytest
from conftest import BUILD, MODELS, PATIENCE, SECONDS, TOP
from partitions import partition

MAC = "52:54:00:12:34:56"  # QEMU's own, for its first network card


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function from a medium to what it boots from. The network's folder has one partition file for all, another
    for the machine with MAC."""
    folder = tmp_path_factory.mktemp("image")
    outputs = {"cdrom": folder / "out.iso", "disk": folder / "out.img", "net": folder / "net"}

    def make(name, *arguments):
        file = folder / f"{name}.toml"
        file.write_text(partition(name, [0], "hello.elf"))
        subprocess.run([TOP / "tools/mullion-image", file, "--cmdline", "no-x2apic", *arguments], check=True)

    make("hello", "--iso", outputs["cdrom"], "--disk", outputs["disk"], "--netboot", outputs["net"])
    make("mine", "--netboot", outputs["net"], "--mac", MAC)
    return outputs.__getitem__


def boots(request, made, vendor, medium, uefi=False, name="hello", **options):
    """The partition runs to its end, and the machine powers off."""
    log = BUILD / "logs" / f"{request.node.name}.log"
    if uefi:
        options["uefi"] = True
    machine = emulator.for_vendor(vendor, made(medium), log, cpus=1, memory=512, limit=int(3600 * PATIENCE),
                                  cpu=MODELS[vendor], medium=medium, **options)
    request.node.machines = [machine]
    with machine:
        machine.wait_for(rf"^\[{name}\] hello: cpu ", SECONDS[vendor] * PATIENCE * (2 if uefi else 1))
        machine.wait_for(r"^\[mullion\] mullion: every partition has ended, powering off\n", SECONDS[vendor] * PATIENCE)
        machine.wait_exit(SECONDS[vendor] * PATIENCE)


@pytest.mark.parametrize("medium", ["cdrom", "disk"])
def test_bios(request, made, vendor, medium):
    boots(request, made, vendor, medium)


@pytest.mark.only_svm
def test_iso_on_a_stick(request, made, vendor):
    """The ISO written to a disk, as dd does it."""
    boots(request, lambda medium: made("cdrom"), vendor, "disk")


@pytest.mark.only_svm
def test_bios_by_network_by_mac(request, made, vendor):
    """The firmware here is QEMU's PXE; the machine's own folder comes before the default."""
    boots(request, made, vendor, "net", name="mine")


@pytest.mark.only_svm
def test_bios_by_network_of_any_machine(request, made, vendor):
    """Another MAC: there is no folder of its own."""
    boots(request, made, vendor, "net", mac="52:54:00:12:34:57")


@pytest.mark.only_svm
@pytest.mark.parametrize("medium", [pytest.param("cdrom", marks=pytest.mark.long), "disk",
                                    pytest.param("net", marks=pytest.mark.long)])
def test_uefi(request, made, vendor, medium):
    boots(request, made, vendor, medium, uefi=True, name="mine" if medium == "net" else "hello")
