"""PCI functions passed through to stock Linux, in QEMU behind its intel-iommu and its amd-iommu. The drivers
are the kernel's own modules (tools/make-initrd pci), the script is guests/linux/tests/pci."""

import hashlib
import random
import re

import pytest
from partitions import assert_all_ended, partition

pytestmark = pytest.mark.only_svm

IOMMUS = {
    "amd": ["-device", "amd-iommu,intremap=on"],
    "intel": ["-device", "intel-iommu,intremap=on,aw-bits=48,caching-mode=on"],
}
FILE_BYTES = 1 << 20


def pytest_generate_tests(metafunc):
    if "iommu" in metafunc.fixturenames:
        metafunc.parametrize("iommu", sorted(IOMMUS))


@pytest.fixture
def modules(stock):
    return {"vmlinuz": stock("linux/vmlinuz-stock"), "initrd": stock("initrd-pci.img")}


@pytest.fixture
def served(tmp_path):
    """(folder for QEMU's TFTP server, MD5 sum of its file `data`)."""
    folder = tmp_path / "served"
    folder.mkdir()
    data = random.Random(1).randbytes(FILE_BYTES)
    (folder / "data").write_bytes(data)
    return folder, hashlib.md5(data).hexdigest()


@pytest.fixture
def disk(tmp_path):
    """A function that makes an empty disk and returns the options of QEMU for it: id, size in MiB."""
    def make(name, mebibytes=48):
        path = tmp_path / f"{name}.img"
        with open(path, "wb") as file:
            file.truncate(mebibytes << 20)
        return ["-drive", f"if=none,id={name},file={path},format=raw"]
    return make


def nvme(disk, name, slot, mebibytes=48):
    return disk(name, mebibytes) + ["-device", f"nvme,serial={name},drive={name},addr={slot}"]


def network(name, folder, device):
    return ["-netdev", f"user,id={name},tftp={folder}", "-device", f"{device},netdev={name}"]


VIRTIO = "disable-legacy=on,iommu_platform=on"


def linux(name, core, pci, steps, served=None, more="", memory="256M", restart=False, stages=None):
    cmdline = f"console=ttyS0 quiet mullion.test=pci do={steps}"
    if served:
        cmdline += f" file=data sum={served[1]}"
    if stages:
        cmdline += f" stages={stages}"
        more += '\nrestart = { on = "reset", limit = 9 }'
    functions = ", ".join(f'"{function}"' for function in pci)
    return partition(name, [core], "vmlinuz", memory=memory, cmdline=cmdline,
                     more=f'initrd = "initrd"\npci = [{functions}]\n{more}')


def assert_steps(machine, name, steps, timeout=300, stage=1):
    """Every step came out well."""
    machine.wait_for(rf"^\[{name}\] pci: done {stage}\n", timeout)
    told = re.findall(rf"^\[{name}\] pci: (\S+) (ok|FAIL)\n", machine.text(), re.M)
    assert [step for step, result in told if result == "FAIL"] == []
    assert [step for step, _ in told][-len(steps):] == steps


def test_linux_drives_devices(boot, modules, served, disk, iommu):
    """Two network cards, three disks, one of them behind USB: data goes and comes back whole."""
    folder, _ = served
    steps = ["disk:nvme0n1", "disk:vda", "disk:sda", "net:e1000e", "net:virtio_net"]
    extra = (IOMMUS[iommu] + nvme(disk, "n0", 5) + network("net0", folder, "e1000e,addr=6")
             + disk("v0") + ["-device", f"virtio-blk-pci,drive=v0,addr=7,{VIRTIO}"]
             + network("net1", folder, f"virtio-net-pci,addr=8,{VIRTIO}")
             + ["-device", "qemu-xhci,addr=9,id=x0"] + disk("u0")
             + ["-device", "usb-storage,bus=x0.0,drive=u0"])
    file = linux("linux", 0, ["00:05.0", "00:06.0", "00:07.0", "00:08.0", "00:09.0"],
                 ",".join(steps), served, more='pci-reset = "optional"')
    machine = boot(file, modules, cpus=1, memory=768, extra=extra)
    assert_steps(machine, "linux", steps)
    machine.wait_for(r"^\[linux\] init: power off\n")
    assert_all_ended(machine)


# --- a bare-metal program with two small devices

def bus(name, core, pci, cmdline="", more=""):
    functions = ", ".join(f'"{function}"' for function in pci)
    return partition(name, [core], "pci.elf", cmdline=cmdline,
                     more=f'pci = [{functions}]\npci-reset = "optional"\n{more}')


def assert_checked(machine, name, wanted):
    """Every check came out well, and those of `wanted` were made."""
    machine.wait_for(rf"^\[{name}\] pci: done checks \d+ failed 0\n")
    told = re.findall(rf"^\[{name}\] pci: ([\w-]+) \w\w (ok|FAIL) ", machine.text(), re.M)
    assert {result for _, result in told} == {"ok"}
    assert wanted <= {check for check, _ in told}


COMMON = {"host-bridge", "foreign-reads", "foreign-writes", "ecam", "move", "move-often", "over-memory"}


def test_bare_guest(boot, guest, iommu):
    """edu with MSI and DMA, edu by its line, an 82540EM by its line. q35 has INTA of slot s at pin
    20 + s mod 4 of its I/O APIC."""
    extra = IOMMUS[iommu] + ["-device", "edu,addr=5", "-device", "e1000,addr=6", "-device", "edu,addr=7"]
    machine = boot(bus("one", 0, ["00:05.0", "00:06.0 irq 22", "00:07.0 irq 23"], "dma"),
                   {"pci.elf": guest("pci.elf")}, cpus=1, extra=extra)
    assert_checked(machine, "one", COMMON | {"line", "line-masked", "msi", "msi-off", "dma"})
    assert_all_ended(machine)
