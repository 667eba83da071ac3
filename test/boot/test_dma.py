"""A partition that tries to reach others through devices that it owns (guests/dma.c), beside one that notices
(guests/victim.c), behind QEMU's two IOMMUs. Bochs, and with it VT-x, has no IOMMU: VT-d runs here with AMD-V."""

import pathlib
import re
import struct
import tempfile

import pytest
from conftest import TOP
from hostspace import PAGE, PRESENT, WRITE, Host, QemuMonitor
from partitions import partition
from test_attack import PERIOD_US, check_undisturbed
from test_hygiene import DEBUG

pytestmark = pytest.mark.only_svm

RAM = 320
VICTIM, ATTACKER = 0x8000000, 0x9000000
EDUS = 16
FIRST = 4  # device number of the first one
IOMMUS = {
    "amd": ["-device", "amd-iommu,intremap=on"],
    "intel": ["-device", "intel-iommu,intremap=on,aw-bits=48,caching-mode=on,snoop-control=on"],
}
# What the emulator lets pass where hardware would not (docs/emulators.md), so nothing of Mullion can be seen there.
LEFT_OUT = {
    # A DMA write to 0xfee00000 counts as the I/O APIC's, whose lines it then raises.
    # Address bits from 48 on are dropped: what is left is its own memory.
    "amd": {"forge-first", "dma-wide"},
    # Messages in the format without remapping pass although they are switched off.
    "intel": {"forge-first", "forge-compatible"},
}
# What VT-d refuses of each attempt, and so tells. Its record holds one at a time in QEMU: others that come before the
# hypervisor has taken it are lost, as it says. Refused messages are not recorded there (docs/emulators.md).
BOTH = {"read", "write"}
REFUSED = {
    "dma-own": set(), "dma-beyond": BOTH, "dma-hypervisor": BOTH, "dma-victim": BOTH, "dma-iommu": BOTH,
    "dma-apics": BOTH, "dma-bars": BOTH, "dma-limit": BOTH, "dma-wide": BOTH, "bus-master": set(),
}
CONFIG = """
[machine]
console = "com1"
focus   = "victim"

[partition.victim]
cpus    = [0]
memory  = "16M"
address = "{victim:#x}"
kernel  = "victim.elf"
cmdline = "period_us={period}"

[partition.attacker]
cpus      = [1, 2]
memory    = "16M"
address   = "{attacker:#x}"
kernel    = "dma.elf"
cmdline   = "mem=16M ram={ram}M victim={target:#x} victim_bytes={target_bytes:#x} {cmdline}"
restart   = {restart}
pci       = [{pci}]
pci-reset = "optional"  # an edu has none
{more}
"""


def pytest_generate_tests(metafunc):
    if "iommu" in metafunc.fixturenames:
        metafunc.parametrize("iommu", sorted(IOMMUS))


def start(boot, guest, devices, cmdline="", more="", restart='{ on = "never" }', target=(VICTIM, 16 << 20)):
    """devices: the machine's IOMMU, if any."""
    slots = range(FIRST, FIRST + EDUS)
    extra = list(devices)
    for slot in slots:
        extra += ["-device", f"edu,dma_mask=0xffffffffffffffff,addr={slot:#x}"]
    extra += ["-device", "e1000e,addr=0x1a", "-device", "nvme,serial=n,addr=0x1b"]
    pci = ", ".join(f'"00:{slot:02x}.0"' for slot in [*slots, 0x1a, 0x1b])
    machine = boot(
        config=CONFIG.format(victim=VICTIM, attacker=ATTACKER, period=PERIOD_US, ram=RAM, target=target[0],
                             target_bytes=target[1], cmdline=cmdline, restart=restart, pci=pci, more=more),
        modules={"dma.elf": guest("dma.elf"), "victim.elf": guest("victim.elf")}, cpus=3, memory=RAM, extra=extra)
    machine.wait_for(r"victim: watching")
    machine.wait_for(rf"dma: {EDUS + 2} functions, {EDUS} of them edu")
    return machine


def assert_blocked(machine, iommu, timeout):
    done = machine.wait_for(r"dma: done attempts (\d+) blocked (\d+) expected (\d+) breaches (\d+)\n", timeout)
    attempts, blocked, expected, breaches = (int(x) for x in done.groups())
    assert breaches == 0, "\n".join(re.findall(r"dma: .* BREACH .*", machine.text()))
    assert attempts == blocked + expected and blocked > 50000 and expected > 400
    assert set(re.findall(r"dma: (\S+) left out", machine.text())) == LEFT_OUT[iommu]
    machine.wait_for(r"attacker: powered off")


def test_dma(boot, guest, iommu):
    """All that leaves the attacker running. On VT-d the log tells of it; QEMU's AMD-Vi tells nothing. Nothing of what
    it wrote to extended configuration space is in the machine's, which has an error capability with masks."""
    path = pathlib.Path(tempfile.mkdtemp(), "qmp")
    machine = start(boot, guest, IOMMUS[iommu] + QemuMonitor.arguments(path), "skip=" + ",".join(sorted(LEFT_OUT[iommu])))
    memory = QemuMonitor(path)
    try:
        before = extended_space(memory)
        assert [before[at:at + 2] for at in (0, 0x40)] == [b"\1\0", b"\3\0"]
        assert_blocked(machine, iommu, 300)
        assert extended_space(memory) == before
    finally:
        memory.close()
    check_undisturbed(machine)
    if iommu == "intel":
        for name, kinds in REFUSED.items():
            during = re.search(rf"dma: {name} begins\n(.*)dma: {name} ok \d+\n", machine.text(), re.S).group(1)
            refused = re.findall(r"VT-d: 00:(\S+) of attacker: (\w+) at 0x[0-9a-f]+ refused, reason", during)
            assert {kind for _, kind in refused} == kinds, name
            assert {int(slot[:2], 16) for slot, _ in refused} <= set(range(FIRST, FIRST + EDUS))
        machine.wait_for(r"attacker: 00:04\.0: refused [1-9]\d* reads, [1-9]\d* writes, 0 interrupts\n")


def extended_space(memory):
    """Of the e1000e and the NVMe controller, by q35's own mapped space."""
    memory.stop()
    data = b"".join(memory.read(0xb0000000 + (slot << 15) + 0x100, 0xf00) for slot in (0x1a, 0x1b))
    memory.go()
    return data


def test_pending(boot, guest, iommu):
    """What is raised while its vector or the function is masked pends in the real Pending Bit Array, and comes once, to
    where the guest has moved it meanwhile; what is raised while it moves comes once: 375 messages, each counted
    (guests/dma/pending.c)."""
    machine = start(boot, guest, IOMMUS[iommu], "only=msix-pending")
    done = machine.wait_for(r"dma: done attempts \d+ blocked \d+ expected (\d+) breaches (\d+)\n", 120)
    assert done.group(2) == "0", "\n".join(re.findall(r"dma: .* BREACH .*", machine.text()))
    assert int(done.group(1)) > 1500, "not all of the rounds"
    machine.wait_for(r"attacker: powered off")
    check_undisturbed(machine, 0)


@pytest.mark.long
def test_dma_long(boot, guest, iommu):
    machine = start(boot, guest, IOMMUS[iommu], "long skip=" + ",".join(sorted(LEFT_OUT[iommu])))
    assert_blocked(machine, iommu, 1800)
    check_undisturbed(machine)


def test_dma_under_way(boot, guest, iommu):
    """The attacker crashes or resets itself while its devices write."""
    machine = start(boot, guest, IOMMUS[iommu], "do=restart", restart='{ on = "always", limit = 9 }')
    machine.wait_for(r"dma: round 6 breaches \d+\n", 120)
    rounds = re.findall(r"dma: round (\d) breaches (\d+)$", machine.text(), re.M)
    assert {int(number) for number, _ in rounds} == set(range(7)) and {count for _, count in rounds} == {"0"}
    machine.wait_for(r"attacker: powered off")
    check_undisturbed(machine)


def test_fault_stops(boot, guest):
    """pci-fault = "stop": the first refused access ends that partition alone."""
    machine = start(boot, guest, IOMMUS["intel"], "only=dma-own,dma-beyond,dma-hypervisor", more='pci-fault = "stop"')
    machine.wait_for(r"attacker: stopped for a refused access of its device")
    machine.wait_for(r"attacker: crashed\n")
    assert "dma: dma-own ok" in machine.text() and "dma: done" not in machine.text()
    check_undisturbed(machine)


def test_unprotected_memory(boot, guest):
    """The same program where nothing is in its way: it says so, and so does the victim."""
    machine = start(boot, guest, [], f"only=dma-victim wait_ms=3000 self={ATTACKER:#x}", more='dma = "unprotected"',
                    target=(VICTIM + (4 << 20), 4 << 20))
    done = machine.wait_for(r"dma: done attempts (\d+) blocked \d+ expected \d+ breaches (\d+)\n")
    assert int(done.group(2)) > 10
    assert "reach all memory of this machine" in machine.text()
    machine.send("q")
    assert int(machine.wait_for(r"victim: done .* corrupt (\d+)\n").group(1)) > 10


def test_unprotected_messages(boot, guest):
    """Messages that nothing remaps: INIT and SMI reach the cores of others, and the machine goes down."""
    machine = start(boot, guest, [], f"only=forge-compatible wait_ms=3000 self={ATTACKER:#x}",
                    more='dma = "unprotected"')
    machine.wait_exit(60)
    assert "dma: done" not in machine.text() and "victim: done" not in machine.text()


# --- the tables themselves

EDU = FIRST << 3  # requester id
ADDRESS = (1 << 52) - PAGE


def words(memory, pa, count):
    return struct.unpack(f"<{count}Q", memory.read(pa, 8 * count))


def root_of(memory, iommu):
    """The DMA table of the edu, found from the IOMMU's registers on: 48882, Device Table Base Address Register; VT-d 4.1,
    Root Table Address Register."""
    if iommu == "amd":
        devices = words(memory, 0xfed80000, 1)[0] & ADDRESS
        entry = words(memory, devices + 32 * EDU, 1)[0]
        assert entry & 3 == 3 and entry >> 9 & 7 == 4
        return entry & ADDRESS
    bus = words(memory, words(memory, 0xfed90020, 1)[0] & ADDRESS, 1)[0]
    low, high = words(memory, (bus & ADDRESS) + 16 * EDU, 2)
    assert bus & low & PRESENT and high & 7 == 2
    return low & ADDRESS


def leaves(memory, iommu, table, level=4, at=0):
    """(guest address, address, bytes) of every leaf."""
    for i, entry in enumerate(words(memory, table, 512)):
        size = PAGE << 9 * (level - 1)
        if iommu == "amd":
            present, leaf, write = entry & 1, not entry >> 9 & 7, entry >> 61 & 3 == 3
        else:
            present, leaf, write = entry & 3, level == 1 or entry >> 7 & 1, entry & 3 == 3
        if not present:
            continue
        assert write
        if leaf:
            yield at + i * size, entry & ADDRESS & -size, size
        else:
            yield from leaves(memory, iommu, entry & ADDRESS, level - 1, at + i * size)


def joined(pages):
    """Runs of pages that follow one another on both sides."""
    runs = []
    for at, pa, size in sorted(pages):
        if runs and runs[-1][0] + runs[-1][2] == at and runs[-1][1] + runs[-1][2] == pa:
            runs[-1][2] += size
        else:
            runs.append([at, pa, size])
    return runs


def largest(runs):
    """The leaves that a run can be made of."""
    for at, pa, size in runs:
        while size:
            leaf = max(1 << bits for bits in (12, 21, 30) if not (at | pa) & ((1 << bits) - 1) and size >> bits)
            yield at, pa, leaf
            at, pa, size = at + leaf, pa + leaf, size - leaf


def test_largest_pages(boot, guest, iommu):
    """What a device reaches is what stage 2 lets the guest write, in pages of 1 GiB and 2 MiB wherever they fit."""
    path = pathlib.Path(tempfile.mkdtemp(), "qmp")
    file = partition("one", [0], "control-loop.elf", memory="2052M",
                     more=f'address = {4 << 30:#x}\npci = ["1234:11e8"]\npci-reset = "optional"')
    machine = boot(file, {"control-loop.elf": guest("control-loop.elf")}, cpus=1, memory=5 << 10,
                   extra=IOMMUS[iommu] + ["-device", f"edu,addr={FIRST:#x}"] + QemuMonitor.arguments(path))
    machine.wait_for(r"control-loop: period")
    memory = QemuMonitor(path)
    try:
        memory.stop()
        dma = sorted(leaves(memory, iommu, root_of(memory, iommu)))
        host = wait_for_host(memory)
        stage2 = [(p.va, p.pa, p.bytes) for p in host.pages(host.partitions[0].stage2) if p.write]
    finally:
        memory.close()
    assert dma == list(largest(joined(dma)))
    assert joined(dma) == joined(stage2)
    assert {size for _, _, size in dma} == {PAGE, 1 << 21, 1 << 30}


def wait_for_host(memory):
    """Once a core is in host mode."""
    for _ in range(50):
        try:
            return Host(memory, DEBUG, TOP)
        except LookupError:
            memory.go()
            memory.stop()
    return pytest.fail("no core was found in host mode")
