"""What tools/mullion-image makes starts machines: one partition file by ISO, disk and network, under BIOS and
UEFI, and what then runs is what mullion-check has told and drawn of it. The guests are the smallest."""

import json
import re
import subprocess
import xml.etree.ElementTree

import emulator
import pytest
from conftest import BUILD, MODELS, PATIENCE, SECONDS, TOP
from partitions import partition

MAC = "52:54:00:12:34:56"  # QEMU's own, for its first network card
CORES, MEMORY = 4, 512  # of the machine
# Three partitions whose own words or whose end tell what they got. The crash report tells the core of vCPU 0.
FILE = (partition("hello", [1], "hello.elf") + partition("pair", [3, 0], "smp.elf", memory="24M", cmdline="rounds=5 ticks=2")
        + partition("broken", [2], "bad.elf", memory="10M", cmdline="do=triple-fault"))
WAYS = [(medium, uefi) for medium in ("cdrom", "disk", "net") for uefi in (False, True)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function from a medium to what it boots from; "inventory" is an ISO that only tells what the machine has. The
    network's folder has the file for all machines, and another one for the machine with MAC."""
    folder = tmp_path_factory.mktemp("image")
    outputs = {"cdrom": folder / "out.iso", "disk": folder / "out.img", "net": folder / "net",
               "inventory": folder / "inventory.iso", "file": folder / "file.toml"}

    def make(file, text, *arguments, options="no-x2apic"):
        file.write_text(text)
        subprocess.run([TOP / "tools/mullion-image", file, "--cmdline", options, *arguments], check=True)

    make(outputs["file"], FILE, "--iso", outputs["cdrom"], "--disk", outputs["disk"], "--netboot", outputs["net"])
    make(outputs["file"], FILE, "--iso", outputs["inventory"], options="mullion.inventory")
    make(folder / "mine.toml", partition("mine", [0], "hello.elf"), "--netboot", outputs["net"], "--mac", MAC)
    return outputs.__getitem__


def boots(request, made, vendor, medium, uefi=False, image=None, name=None, **options):
    """The machine runs to its end, and powers off; what it printed. name: of the log, if not the test's own."""
    log = BUILD / "logs" / f"{name or request.node.name}.log"
    if uefi:
        options["uefi"] = True
    machine = emulator.for_vendor(vendor, made(image or medium), log, cpus=CORES, memory=MEMORY,
                                  limit=int(3600 * PATIENCE), cpu=MODELS[vendor], medium=medium, **options)
    request.node.machines = [machine]
    with machine:
        # UEFI takes its time over the network; its end is the same.
        machine.wait_exit(SECONDS[vendor] * PATIENCE * (4 if uefi else 2))
        return machine.text()


def told(text, pattern):
    """The groups of the first whole line like this."""
    match = re.search(rf"^{pattern}\n", text, re.M)
    assert match, f"no {pattern!r} in\n{text}"
    return match.groups()


def assert_as_planned(text, report):
    """What ran is what the report says: partitions, cores, memory."""
    partitions = {p["name"]: p for p in report["partitions"]}
    built = re.findall(r"^\[mullion\] ([\w-]+): (\d+) vcpus, (\d+) MiB in ", text, re.M)
    assert {(n, int(c), int(m) << 20) for n, c, m in built} == {
        (n, len(p["cpus"]), p["memory"]) for n, p in partitions.items()}
    assert told(text, r"\[hello\] hello: cpu .*, (\d+) cpus, .*") == (str(len(partitions["hello"]["cpus"])),)
    assert told(text, r"\[pair\] smp: ok (\d+) cpus") == (str(len(partitions["pair"]["cpus"])),)
    core, = told(text, r"\[mullion\] broken: vcpu 0 on core (\d+) stopped: triple fault .*")
    assert [int(core)] == partitions["broken"]["cpus"]
    assert report["machine"] is None or told(text, r"\[mullion\] boot: (\d+) cores, .*") == (str(report["machine"]["cores"]),)
    assert "[mullion] mullion: every partition has ended, powering off\n" in text


def assert_drawn(picture, report):
    """The picture shows the same: who has each core, and each partition's memory."""
    texts = [element.text for element in xml.etree.ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]
    owners = {int(text[5:]): after for text, after in zip(texts, texts[1:]) if re.fullmatch(r"core \d+", text)}
    assert owners == {core: p["name"] for p in report["partitions"] for core in p["cpus"]}
    for p in report["partitions"]:
        assert [after for text, after in zip(texts, texts[1:]) if text == p["name"] and after == f"{p['memory'] >> 20}M"]


@pytest.fixture(scope="module")
def plans():
    """Reports by firmware: made when they are first asked for."""
    return {}


def plan(request, made, vendor, uefi, plans, folder):
    """The checker's report of the file on this machine, which has told what it has."""
    if uefi not in plans:
        text = boots(request, made, vendor, "cdrom", uefi, image="inventory", name=f"{request.node.name}.inventory")
        (folder / "log").write_text(text)
        inventory = subprocess.run([TOP / "tools/inventory", "--log", folder / "log"], check=True, capture_output=True)
        (folder / "machine").write_bytes(inventory.stdout)
        report = subprocess.run([BUILD / "tools/mullion-check", made("file"), "--machine", folder / "machine", "--json",
                                 "--svg", folder / "out.svg"], check=True, capture_output=True).stdout
        plans[uefi] = json.loads(report), (folder / "out.svg").read_text()
    return plans[uefi]


@pytest.mark.only_svm
@pytest.mark.parametrize("medium, uefi", WAYS, ids=[f"{m}-{'uefi' if u else 'bios'}" for m, u in WAYS])
def test_same_file_by_every_way(request, made, vendor, plans, tmp_path, medium, uefi):
    report, picture = plan(request, made, vendor, uefi, plans, tmp_path)
    assert report["machine"]["cores"] == CORES and all(p["placed"] for p in report["partitions"])
    assert_drawn(picture, report)
    # By network: another machine than MAC, which has a file of its own.
    mac = {"mac": "52:54:00:12:34:57"} if medium == "net" else {}
    assert_as_planned(boots(request, made, vendor, medium, uefi, **mac), report)


@pytest.mark.only_vmx
@pytest.mark.parametrize("medium", ["cdrom", "disk"])
def test_bios_vmx(request, made, vendor, medium):
    report = subprocess.run([BUILD / "tools/mullion-check", made("file"), "--json"], check=True, capture_output=True).stdout
    assert_as_planned(boots(request, made, vendor, medium), json.loads(report))


@pytest.mark.only_svm
def test_iso_on_a_stick(request, made, vendor):
    """The ISO written to a disk, as dd does it."""
    assert "[mullion] hello: powered off\n" in boots(request, made, vendor, "disk", image="cdrom")


@pytest.mark.only_svm
@pytest.mark.parametrize("uefi", [False, pytest.param(True, marks=pytest.mark.long)], ids=["bios", "uefi"])
def test_network_by_mac(request, made, vendor, uefi):
    """The machine's own folder comes before the default."""
    text = boots(request, made, vendor, "net", uefi)
    assert "[mullion] mine: powered off\n" in text and "hello.elf" not in text and "[pair]" not in text
