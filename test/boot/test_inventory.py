"""mullion.inventory: the machine as a partition file that the checker takes; and the names of its PCI functions, in the
inventory and in the log, which are lspci's if the module pci.ids is there."""

import os
import re
import subprocess
import tomllib

import pytest

import image
from conftest import BUILD, TOP
from partitions import assert_all_ended, partition
from terminal import copy_of_tree


def lspci(functions, folder):
    """What `lspci -nn` prints, without the address, for functions of these words: vendor, device, class, revision."""
    dump = folder / "dump"
    with open(dump, "w") as file:
        for number, (vendor, device, kind, revision) in enumerate(map(str.split, functions)):
            little = [vendor[2:], vendor[:2], device[2:], device[:2], *["00"] * 4, revision, "00", kind[2:], kind[:2], *["00"] * 4]
            file.write(f"00:{number:02x}.0 x\n00: {' '.join(little)}\n\n")
    told = subprocess.run(["lspci", "-nn", "-F", dump], check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.split(" ", 1)[1] for line in told]


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
    own = {name: value for name, value in os.environ.items() if name != "MULLION"}  # it runs what it has built
    text = subprocess.run(["make", "--no-print-directory", "inventory", "DEVICES=--cpus 3 -device edu,addr=4"], cwd=tree, env=own,
                          check=True, capture_output=True, text=True).stdout
    assert text.startswith("#: begin\n") and text.endswith("#: end\n")
    assert "#: cores 3\n" in text and "#: pci 00:04.0 1234:11e8 class 00ff00 " in text
    named = {f"00:{slot}": line.split(": ", 1)[1] for slot, line in
             zip(("00.0", "1f.2", "04.0"), lspci(["8086 29c0 0600 00", "8086 2922 0106 00", "1234 11e8 00ff 00"], tmp_path))}
    for address, line in named.items():
        ids = re.search(r" \[(\w+:\w+)\]$", line)
        name = line[:ids.start()]
        assert re.search(rf"^#: pci {address} {ids[1]} class .* # [\w ]+: {re.escape(name)}\n", text, re.M), text
    assert f'#     "00:1f.2", # 8086:2922 SATA controller: {named["00:1f.2"][:-len(" [8086:2922]")]}\n' in text
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
    assert re.search(r"^#: pci 01:00\.0 8086:10d3 class 020000 group 01:00\.0 msi msi-x pm pm-reset express # Ethernet", text, re.M)
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


QEMU_FUNCTIONS = ["-device", "intel-iommu,intremap=on", "-device", "edu,addr=4", "-device", "e1000e,addr=5",
                  "-device", "nvme,serial=1,addr=6", "-device", "virtio-rng-pci,addr=7", "-device", "qemu-xhci,addr=8"]
BOCHS_FUNCTIONS = """\
pci: enabled=1, chipset=i440fx, slot1=e1000
e1000: enabled=1, mac=52:54:00:12:34:56, ethmod=null, ethdev=none
"""


@pytest.mark.parametrize("named", [True, False], ids=["names", "numbers"])
def test_names_in_the_log(boot, guest, vendor, tmp_path, named):
    """Each function's line begins with what lspci -nn prints for it; without the module, without the names. (lspci leaves
    out revision 0, which the log does not.)"""
    card, extra = {"svm": ("8086:10d3", QEMU_FUNCTIONS), "vmx": ("8086:100e", BOCHS_FUNCTIONS)}[vendor]
    file = partition("one", [0], "hello.elf", more=f'pci = ["{card}"]\npci-reset = "optional"\ndma = "unprotected"')
    modules = {"hello.elf": guest("hello.elf"), **({"pci.ids": image.PCI_IDS} if named else {})}
    machine = boot(file, modules, extra=extra)
    assert_all_ended(machine)
    lines = re.findall(r"^\[mullion\] pci: \S+ (.+), group .*\n", machine.text(), re.M)
    functions = [re.fullmatch(r".+ \[(\w+)\]: .*\[(\w+):(\w+)\] \(rev (\w+)\)", line).group(2, 3, 1, 4) for line in lines]
    want = [line if " (rev " in line else line + " (rev 00)" for line in lspci(map(" ".join, functions), tmp_path)]
    if not named:
        want = [re.sub(r"(\[\w{4}\]: ).*(\[\w{4}:\w{4}\])", r"\1\2", line) for line in want]
    assert lines == want
    assert len(lines) == {"svm": 9, "vmx": 6}[vendor]
    if named:
        vendors = re.findall(r"Intel Corporation|Red Hat", " ".join(lines))
        assert len(vendors) >= 5
