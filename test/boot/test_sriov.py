"""Virtual functions: QEMU's nvme controller in one partition, two of its virtual functions in two others,
which write and read a namespace each. The script is guests/linux/tests/sriov."""

import re

import pytest
from partitions import assert_all_ended, partition
from test_pci import IOMMUS

pytestmark = pytest.mark.only_svm

PHYSICAL = ["release", "reset", "give", "namespace 1", "namespace 2", "second reset"]
VIRTUAL = ["wait", "write", "compare"]
AGAIN = ["write", "compare"]


@pytest.fixture
def modules(stock):
    return {"vmlinuz": stock("linux/vmlinuz-stock"), "initrd": stock("initrd-pci.img")}


def controller_at(place, tmp_path):
    """QEMU's options for the controller there and its two namespaces."""
    options = ["-device", "nvme-subsys,id=ss0", "-device",
               f"nvme,serial=1,subsys=ss0,{place},id=nvme0,max_ioqpairs=10,msix_qsize=9,sriov_max_vfs=4,"
               "sriov_vq_flexible=8,sriov_vi_flexible=4"]
    for n in (1, 2):
        path = tmp_path / f"n{n}.img"
        with open(path, "wb") as file:
            file.truncate(48 << 20)
        options += ["-drive", f"if=none,id=n{n},file={path},format=raw",
                    "-device", f"nvme-ns,bus=nvme0,drive=n{n},nsid={n},shared=on"]
    return options


@pytest.fixture
def controller(tmp_path):
    return controller_at("addr=5", tmp_path)


def sriov(function="00:05.0", vfs=4):
    return f'[machine]\nsriov = [{{ function = "{function}", vfs = {vfs} }}]\n'


def linux(name, core, function, part):
    return partition(name, [core], "vmlinuz", memory="192M",
                     cmdline=f"console=ttyS0 quiet mullion.test=sriov part={part}",
                     more=f'initrd = "initrd"\npci = ["{function}"]')


def assert_part(machine, name, steps):
    machine.wait_for(rf"^\[{name}\] sriov: done\n", 400)
    told = re.findall(rf"^\[{name}\] sriov: (.+) (ok|FAIL)\n", machine.text(), re.M)
    # A line that was cut at its very end is shown once more; what is written twice (again=1) comes later.
    told = [line for n, line in enumerate(told) if line not in told[max(n - 1, 0):n]]
    assert told == [(step, "ok") for step in steps]


@pytest.mark.parametrize("iommu", IOMMUS)
def test_virtual_functions(boot, modules, controller, iommu):
    """Three partitions share one controller, each with functions of its own. One of the two goes on after the
    controller's own partition has asked for a reset of it and ended."""
    file = (sriov() + 'focus = "one"\n' + linux("pf", 0, "00:05.0", "physical:2")
            + linux("one", 1, "00:05.1", "virtual:1 again=1") + linux("two", 2, "00:05.2", "virtual:2"))
    machine = boot(file, modules, cpus=3, memory=1024, extra=IOMMUS[iommu] + controller)
    machine.wait_for(r"^\[mullion\] pci: 00:05\.0: 4 virtual functions enabled")
    machine.wait_for(r"^\[mullion\] pci: 00:05\.0 .*, sr-iov 4, owner pf\n")
    machine.wait_for(r"^\[mullion\] pci: 00:05\.2 Non-Volatile memory controller \[0108\]: \[1b36:0010\] \(rev \w+\), group 00:05\.2, msi-x, flr, pm, express, owner two\n")
    assert_part(machine, "pf", PHYSICAL)
    machine.wait_for(r"^\[mullion\] pf: powered off\n")
    machine.send("\r")
    for name, steps in (("one", VIRTUAL + AGAIN), ("two", VIRTUAL)):
        assert_part(machine, name, steps)
        assert f"[{name}] sriov: ids 0x1b36 0x0010\n" in machine.text()
        assert int(re.search(rf"^\[{name}\] sriov: interrupts (\d+)\n", machine.text(), re.M)[1]) > 16
    assert_all_ended(machine)
    assert "refused, reason" not in machine.text()


def test_behind_a_port(boot, modules, tmp_path):
    """The port forwards to all function numbers (ARI), and its windows have room. QEMU's amd-iommu takes functions
    behind ports for others (docs/emulators.md)."""
    file = (sriov("01:00.0") + linux("pf", 0, "01:00.0", "physical:1") + linux("one", 1, "01:00.1", "virtual:1"))
    machine = boot(file, modules, cpus=2, memory=768,
                   extra=IOMMUS["intel"] + ["-device", "pcie-root-port,id=rp,addr=6"]
                   + controller_at("bus=rp", tmp_path))
    machine.wait_for(r"^\[mullion\] pci: 01:00\.0: 4 virtual functions enabled, with ARI, memory from ")
    machine.wait_for(r"^\[mullion\] pci: 01:00\.1 .*, owner one\n")
    assert_part(machine, "pf", [step for step in PHYSICAL if step != "namespace 2"])
    assert_part(machine, "one", VIRTUAL)
    assert_all_ended(machine)
    assert "refused, reason" not in machine.text()


@pytest.mark.parametrize("line, why", [
    (sriov(vfs=5), "00:05.0: it has at most 4 virtual functions"),
    (sriov("00:1f.2"), "00:1f.2: it has no SR-IOV capability"),
    (sriov("00:09.0"), "00:09.0: the machine has no such function"),
], ids=["many", "none", "absent"])
def test_refused(boot, modules, controller, line, why):
    """What the machine cannot do is told with its place in the file, and nothing starts."""
    file = line + partition("one", [0], "vmlinuz", memory="192M")
    machine = boot(file, modules, memory=512, extra=IOMMUS["intel"] + controller)
    machine.wait_for(rf"mullion: cannot start: mullion.toml:2:23: sriov: {re.escape(why)}\n")
