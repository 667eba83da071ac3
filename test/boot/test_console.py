"""One console for all: whose line it is stands in front, and one partition has the keyboard."""

import re

import pytest
from partitions import assert_all_ended, partition

ESCAPE = "\x1d"  # Ctrl-]
LINE = re.compile(r"control-loop: (period \d+ us, .*|periods \d+ missed \d+ jitter ns min \d+ mean \d+ "
                  r"max \d+|histogram( <\d+:\d+)+|done periods \d+ missed \d+)")


def test_lines_stay_whole(boot, guest):
    """Two partitions print as fast as they can. Each line is one partition's, and whole; a line that
    was cut is shown again from its beginning."""
    names = ["left", "right"]
    file = "".join(partition(name, [core], "control-loop.elf",
                             cmdline="period_us=20000 report=1 periods=60")
                   for core, name in enumerate(names))
    machine = boot(file, {"control-loop.elf": guest("control-loop.elf")}, cpus=2)
    assert_all_ended(machine, 600)
    text = machine.text()
    lines = [re.fullmatch(r"\[([\w-]+)\] (.*)", line) for line in text[text.index("[mullion]"):].splitlines()
             if line]
    assert all(lines), "a line without a prefix"
    for name in names:
        mine = [m.group(2) for m in lines if m.group(1) == name]
        for line, following in zip(mine, [*mine[1:], ""]):
            assert LINE.fullmatch(line) or following.startswith(line), f"{line!r} is mixed or lost its end"
        assert mine[-1].startswith("control-loop: done")
    owners = [m.group(1) for m in lines if m.group(1) in names]
    changes = sum(a != b for a, b in zip(owners, owners[1:]))
    assert changes > 10, "they took turns so seldom that this shows nothing"


def shell(machine, name, timeout):
    machine.wait_for(rf"^\[{name}\] linux# ", timeout)


def ask(machine, name, command, answer, timeout):
    """Types a command; the answer is a line of this partition. Returns where it ends."""
    start = len(machine.text())
    machine.send(command + "\r", pause=0.02)
    return machine.wait_for(rf"^\[{name}\] {answer}\n", timeout, start=start)


@pytest.mark.only_svm
def test_keyboard(boot, linux, initrd):
    """What is typed reaches the shell in focus and nobody else; Ctrl-] moves the focus on."""
    file = '[machine]\nfocus = "two"\n' + "".join(
        partition(name, [core], "vmlinuz", memory="192M", cmdline="console=ttyS0 quiet",
                  more='initrd = "initrd"')
        for core, name in enumerate(["one", "two"]))
    machine = boot(file, {"vmlinuz": linux, "initrd": initrd}, cpus=2, memory=768)
    shell(machine, "two", 600)
    ask(machine, "two", "echo $((6*7))", "42", 120)
    machine.send(ESCAPE)
    shell(machine, "one", 600)  # not earlier for certain: no unfinished line comes over that of the one in focus
    ask(machine, "one", "echo $((6*9))", "54", 120)
    machine.send(ESCAPE)
    ask(machine, "two", "echo $((6*11))", "66", 120)
    text = machine.text()
    assert not re.search(r"^\[one\] (42|66|.*6\*7|.*6\*11)", text, re.M)
    assert not re.search(r"^\[two\] (54|.*6\*9)", text, re.M)
    # When the one in focus ends, the keyboard goes to the other; when both have, it is over.
    machine.send("exit\r", pause=0.02)
    machine.wait_for(r"^\[mullion\] two: powered off\n", 120)
    ask(machine, "one", "echo $((6*12))", "72", 120)
    machine.send("exit\r", pause=0.02)
    assert_all_ended(machine, 120)


@pytest.mark.only_vmx
def test_keyboard_vmx(boot, linux, initrd):
    """The same on VT-x, where a Linux takes longer, so with one."""
    file = partition("linux", [0], "vmlinuz", memory="192M", cmdline="console=ttyS0 quiet",
                     more='initrd = "initrd"')
    machine = boot(file, {"vmlinuz": linux, "initrd": initrd}, cpus=1)
    shell(machine, "linux", 1800)
    ask(machine, "linux", "echo $((6*7))", "42", 600)
    machine.send("exit\r", pause=0.02)
    assert_all_ended(machine, 600)
