"""Each file of configs/, as `make run CONFIG=...` starts it: tools/run makes the machine that the file needs."""

import re

import pytest
from conftest import BUILD, SECONDS, TOP
from terminal import Terminal, copy_of_tree

KEYBOARD = "\x1d"  # Ctrl-]
PROMPT = r"^\[{}\] Linux .* Type exit to power off\.\n"
# How much more Linux needs than the smallest guest.
LINUX = 10


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return copy_of_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def run(request, vendor, tree, stock):
    """A function from the name of a file in configs/ to the terminal in which it runs."""
    for needed in ("linux/vmlinuz-stock", "linux/vmlinuz-rt", "initrd-pci.img", "initrd-stress.img"):
        stock(needed)
    request.node.machines = machines = []

    def start(name):
        command = f"exec tools/run {'--bochs ' if vendor == 'vmx' else ''}configs/{name}.toml"
        log = BUILD / "logs" / f"{request.node.name}.log"
        machines.append(Terminal(command, tree, log, SECONDS[vendor] / 60))
        return machines[-1]

    yield start
    for machine in machines:
        machine.kill()


def ends(machine):
    """Every partition has ended; so does the command."""
    machine.wait_for(r"^\[mullion\] mullion: every partition has ended, powering off\n", 60 * LINUX)
    assert machine.wait_exit() == 0


def quit_by_key(machine):
    machine.send("\x01x")
    assert machine.wait_exit() == 0


@pytest.mark.only_svm
def test_demo(run):
    demo(run("demo"))


@pytest.mark.long
@pytest.mark.only_vmx
def test_demo_vmx(run):
    demo(run("demo"))


def demo(machine):
    machine.wait_for(r"^run: .*, 3 cores, 528 MiB; Ctrl-A x ends the run\n")
    machine.wait_for(r"^\[control-loop\] control-loop: period 10000 us, ")
    machine.wait_for(PROMPT.format("linux"), 60 * LINUX)
    machine.wait_for(r"^\[control-loop\] control-loop: periods \d+ missed ", 60 * LINUX)
    quit_by_key(machine)


@pytest.mark.only_svm
def test_two_linux(run):
    two_linux(run("two-linux"))


@pytest.mark.long
@pytest.mark.only_vmx
def test_two_linux_vmx(run):
    two_linux(run("two-linux"))


def two_linux(machine):
    for name in ("left", "right"):
        machine.wait_for(PROMPT.format(name), 60 * LINUX)
    machine.send("exit\r")
    machine.wait_for(r"^\[mullion\] left: powered off\n")
    assert "[mullion] right: powered off" not in machine.text()
    # Whether the keyboard has left it by now or not, this key brings it to the other.
    machine.send(KEYBOARD + "echo $((6 * 7)) cores: $(nproc)\r")
    machine.wait_for(r"^\[right\] 42 cores: 1\n")
    machine.send("exit\r")
    ends(machine)


@pytest.mark.only_svm  # the real-time kernel takes long to unpack itself in Bochs: test_stock.py does it
def test_realtime(run):
    machine = run("realtime")
    machine.wait_for(r"^\[rt\] cyclic: status 0 threads 1 of 1 wake-ups 500 late \d+\n", 60 * LINUX)
    machine.wait_for(r"^\[mullion\] rt: powered off\n")
    machine.wait_for(r"^\[control-loop\] control-loop: periods \d+ missed ")
    machine.wait_for(r"^\[busy\] init: test stress\n")
    assert not re.search(r"^\[mullion\] (busy|control-loop): (powered off|crashed)", machine.text(), re.M)
    quit_by_key(machine)


def test_many(run):
    machine = run("many")
    machine.wait_for(r"^run: .*, 8 cores, ")
    for n in range(8):
        machine.wait_for(rf"^\[loop{n}\] control-loop: periods \d+ missed \d+ jitter ", 120)
    quit_by_key(machine)


@pytest.mark.only_svm  # Bochs has none of these devices
def test_passthrough(run, tree):
    machine = run("passthrough")
    machine.wait_for(r"^\[mullion\] pci: \S+ Non-Volatile memory controller \[0108\]: \w.* \[1b36:0010\] .*, owner linux\n")
    machine.wait_for(r"^\[edu\] pci: done checks \d+ failed 0\n", 60 * LINUX)
    machine.wait_for(PROMPT.format("linux"), 60 * LINUX)
    machine.send("ls /dev/nvme0n1 /sys/class/net\r")
    machine.wait_for(r"^\[linux\] .*\beth0\b")
    machine.wait_for(r"^\[linux\] /dev/nvme0n1\n")
    machine.send("exit\r")
    ends(machine)
    assert (tree / "build/disk.img").stat().st_size == 64 << 20


@pytest.mark.only_svm
def test_sriov(run):
    machine = run("sriov")
    for name, count in (("store", 6), ("one", 3), ("two", 3)):
        machine.wait_for(rf"^\[{name}\] sriov: done\n", 60 * LINUX)
        told = set(re.findall(rf"^\[{name}\] sriov: (.+ (?:ok|FAIL))\n", machine.text(), re.M))
        assert len(told) == count and not any("FAIL" in line for line in told)
    ends(machine)


@pytest.mark.only_svm  # on VT-x: test_orders
def test_control(run):
    machine = run("control")
    machine.wait_for(PROMPT.format("linux"), 60 * LINUX)
    machine.send("exec 3<>/dev/ttyS1; stty -F /dev/ttyS1 raw -echo; echo stop control-loop >&3; read a <&3; echo said $a\r")
    machine.wait_for(r"^\[linux\] said ok\n")
    machine.wait_for(r"^\[mullion\] control-loop: stopped by linux\n")
    quit_by_key(machine)


def test_each_file_is_booted():
    tests = {name.removeprefix("test_").replace("_", "-") for name in globals()}
    assert {path.stem for path in (TOP / "configs").glob("*.toml")} <= tests


@pytest.mark.parametrize("path", sorted((TOP / "configs").glob("*.toml")), ids=lambda path: path.stem)
def test_each_file_says_what_it_is(path):
    """Its head: a comment with the command that starts it and the place of the keys."""
    head = path.read_text().split("\n[")[0]
    assert path.stem == "demo" and "`make run`" in head or f"make run CONFIG=configs/{path.name}\n" in head
    assert "docs/partition-file.md" in head
