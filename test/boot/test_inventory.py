"""mullion.inventory: the machine as a partition file that the checker takes."""

import subprocess
import tomllib

import pytest

from conftest import BUILD, TOP



def inventory(boot, tmp_path, **options):
    """The text that tools/inventory makes of a machine's log."""
    machine = boot(config=None, cmdline="mullion.inventory", **options)
    machine.wait_for(r"#: end")
    machine.wait_exit()
    log = tmp_path / "log"
    log.write_text(machine.text())
    return subprocess.run([TOP / "tools/inventory", "--log", log], check=True, capture_output=True, text=True).stdout


def accepted(text, tmp_path):
    """Does the checker take it?"""
    path = tmp_path / "first.toml"
    path.write_text(text)
    assert tomllib.loads(text)["partition"]["first"]["cpus"] == [0]
    subprocess.run([BUILD / "tools/mullion-check", path], check=True, stdout=subprocess.DEVNULL)


def test_inventory(boot, vendor, tmp_path):
    text = inventory(boot, tmp_path, cpus=2)
    assert "#: cores 2\n" in text
    assert f"#: vendor {vendor}:" in text
    assert "#: iommu none: the machine has no IOMMU\n" in text
    # The host bridges of q35 and of i440FX.
    assert f"#: pci 00:00.0 8086:{dict(svm='29c0', vmx='1237')[vendor]} class 060000" in text
    accepted(text, tmp_path)


@pytest.mark.only_svm  # the devices are QEMU's
def test_inventory_devices(boot, tmp_path):
    """Functions behind a bridge too, with their BARs and groups; what is offered is not shared."""
    text = inventory(boot, tmp_path, extra=[
        "-device", "intel-iommu,intremap=on", "-device", "edu,addr=4",
        "-device", "pcie-root-port,id=down,addr=5", "-device", "e1000e,bus=down,addr=0"])
    assert "#: iommu VT-d interrupts\n" in text
    assert "#: pci 00:04.0 1234:11e8 class 00ff00 group 00:04.0 msi # Unclassified device\n" in text
    assert "#: bar 00:04.0 0 mem32 0x" in text and " 0x100000\n" in text
    assert "#: pci 00:05.0" in text and " bridge # PCI bridge\n" in text
    assert "#: pci 01:00.0 8086:10d3 class 020000 group 0" in text
    assert '#     "01:00.0", # 8086:10d3 Ethernet controller\n' in text
    assert '"00:05.0"' not in text
    # Uncommented, the offer is a file as well.
    offer = text[text.index("# pci = ["):text.index("#: end")]
    accepted(text.replace(offer, "\n".join(line.removeprefix("# ") for line in offer.splitlines()) + "\n"), tmp_path)

