"""mullion.inventory: the machine as a partition file that the checker takes."""

import re
import subprocess
import tomllib

import pytest

from conftest import BUILD, TOP
from terminal import copy_of_tree


def inventory(boot, tmp_path, **options):
    """The text that tools/inventory makes of a machine's log."""
    machine = boot(config=None, cmdline="mullion.inventory", **options)
    machine.wait_for(r"#: end")
    machine.wait_exit()
    log = tmp_path / "log"
    log.write_text(machine.text())
    return subprocess.run([TOP / "tools/inventory", "--log", log], check=True, capture_output=True, text=True).stdout


def accepted(text, tmp_path, *options):
    """Does the checker take it?"""
    path = tmp_path / "first.toml"
    path.write_text(text)
    assert tomllib.loads(text)["partition"]["first"]["cpus"] == [0]
    subprocess.run([BUILD / "tools/mullion-check", path, *options], check=True, stdout=subprocess.DEVNULL)


def test_inventory(boot, vendor, tmp_path):
    text = inventory(boot, tmp_path, cpus=2)
    assert "#: cores 2\n" in text
    assert f"#: vendor {vendor}:" in text
    assert "#: iommu none: the machine has no IOMMU\n" in text
    # The host bridges of q35 and of i440FX.
    assert f"#: pci 00:00.0 8086:{dict(svm='29c0', vmx='1237')[vendor]} class 060000" in text
    accepted(text, tmp_path, "--machine", tmp_path / "first.toml")


@pytest.mark.only_svm
def test_make_inventory(tmp_path, vendor):
    """The same of an emulated machine, by one command, with a device of the caller's."""
    tree = copy_of_tree(tmp_path / "tree")
    text = subprocess.run(["make", "inventory", "DEVICES=--cpus 3 -device edu,addr=4"], cwd=tree, check=True, capture_output=True,
                          text=True).stdout
    assert text.startswith("#: begin\n") and text.endswith("#: end\n")
    assert "#: cores 3\n" in text and "#: pci 00:04.0 1234:11e8 class 00ff00 " in text
    accepted(text, tmp_path, "--machine", tmp_path / "first.toml")


@pytest.mark.only_svm  # the devices are QEMU's
def test_inventory_devices(boot, tmp_path):
    """Functions behind a bridge too, with their BARs, capabilities and groups; what is offered is not shared."""
    text = inventory(boot, tmp_path, extra=[
        "-device", "intel-iommu,intremap=on", "-device", "edu,addr=4",
        "-device", "pcie-root-port,id=down,addr=5", "-device", "e1000e,bus=down,addr=0", "-device", "secondary-vga,addr=7",
        "-device", "nvme-subsys,id=ss0", "-device", "nvme,serial=1,subsys=ss0,addr=6,max_ioqpairs=10,msix_qsize=9,"
        "sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4"])
    assert "#: iommu VT-d interrupts\n" in text
    assert "#: pci 00:04.0 1234:11e8 class 00ff00 group 00:04.0 msi # Unclassified device\n" in text
    assert "#: bar 00:04.0 0 mem32 0x" in text and " 0x100000\n" in text
    assert re.search(r"^#: pci 00:05\.0 \w+:\w+ class 060400 group 00:05\.0 msi-x express acs bridge # PCI bridge\n", text, re.M)
    assert re.search(r"^#: pci 01:00\.0 8086:10d3 class 020000 group 01:00\.0 msi msi-x pm express # Ethernet", text, re.M)
    assert re.search(r"^#: rom 01:00\.0 0x[0-9a-f]+ 0x40000\n", text, re.M)
    assert re.search(r"^#: bar 01:00\.0 2 io 0x[0-9a-f]+ 0x20\n", text, re.M)
    assert re.search(r"^#: pci 00:06\.0 1b36:0010 class 010802 group 00:06\.0 msi-x flr pm express sr-iov 4 # Non-", text, re.M)
    assert re.search(r"^#: bar 00:06\.0 0 mem64 0x[0-9a-f]+ 0x4000\n", text, re.M)
    assert re.search(r"^#: bar 00:07\.0 0 mem32 0x[0-9a-f]+ 0x1000000 prefetch\n", text, re.M)
    assert '#     "01:00.0", # 8086:10d3 Ethernet controller\n' in text
    assert '"00:05.0"' not in text
    # Uncommented, the offer is a file as well.
    offer = text[text.index("# pci = ["):text.index("#: end")]
    accepted(text.replace(offer, "\n".join(line.removeprefix("# ") for line in offer.splitlines()) + "\n"), tmp_path)

