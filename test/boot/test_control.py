"""A partition that the file lets control another one: by a bare-metal program and by Linux's own serial driver."""

import re

import pytest
from partitions import assert_all_ended, control_loop, lines_of, log_of, partition

# A core of QEMU's machine is a thread of a loaded one, and may stand still for a while.
PERIOD_US = {"svm": 500000, "vmx": 20000}


def test_orders(boot, guest, vendor):
    """guests/control.c lists, stops, starts and restarts the loop, is refused the victim, and sends noise and floods. The
    victim notices nothing; a partition that stands still does not keep the machine on."""
    file = ('[machine]\nfocus = "victim"\n'
            + partition("victim", [0], "victim.elf", cmdline=f"period_us={PERIOD_US[vendor]}")
            + partition("operator", [1], "control.elf", cmdline="target=loop other=victim", more='control = ["loop"]')
            + control_loop(2, period_us=20000))
    machine = boot(file, {name: guest(name) for name in ("victim.elf", "control.elf", "control-loop.elf")}, cpus=3)
    done = machine.wait_for(r"^\[operator\] control: done checks (\d+) failed (\d+)\n", 300)
    assert done.group(2) == "0", "\n".join(lines_of(machine.text(), "operator"))
    said = lines_of(machine.text(), "operator")
    assert "control: list: partition loop running vcpus 1 restarts 0" in said
    assert len([line for line in lines_of(machine.text(), "loop") if line.startswith("control-loop: period ")]) >= 3
    log = log_of(machine.text(), "loop")
    assert log[-1] == "stopped by operator" and "restarted by operator" in log
    machine.wait_for(r"^\[mullion\] operator: powered off\n")
    machine.send("q")
    victim = machine.wait_for(r"^\[victim\] victim: done periods \d+ missed (\d+) unexpected (\d+) corrupt (\d+)\n")
    assert victim.groups() == ("0", "0", "0"), machine.tail()
    assert "panic" not in machine.text()
    assert_all_ended(machine)


def linux_controls(boot, linux, initrd, guest, patience):
    """/tests/control of the initrd, on /dev/ttyS1, which the stock kernel has found by itself."""
    file = (partition("linux", [0], "vmlinuz", memory="192M", cmdline="console=ttyS0 mullion.test=control",
                      more='initrd = "initrd"\ncontrol = ["*"]')
            + control_loop(1, period_us=20000))
    machine = boot(file, {"vmlinuz": linux, "initrd": initrd, "control-loop.elf": guest("control-loop.elf")}, cpus=2)
    machine.wait_for(r"^\[linux\] .*ttyS1 at I/O 0x2f8 \(irq = 3\b.*\) is a 16550A\r?\n", patience)
    machine.wait_for(r"^\[linux\] control: done\r?\n", patience)
    said = [line for line in lines_of(machine.text(), "linux") if line.startswith("control: ")]
    for command, answer in (("list", r"partition loop running vcpus 1 restarts 0"),
                            ("stop loop", r"ok"),
                            ("stop loop", r"error: it does not run; start starts it"),
                            ("start loop", r"ok"),
                            ("restart loop", r"ok"),
                            ("status loop", r"partition loop running vcpus 1 restarts 2"),
                            ("status loop", r"vcpu 0 all \d+"),
                            ("status linux", r"error: there is no such partition to control; send list")):
        assert re.search(rf"^control: {command}: {answer}$", "\n".join(said), re.M), "\n".join(said)
    log = [line for line in log_of(machine.text(), "loop") if " by " in line]
    assert log == ["stopped by linux", "started by linux", "restarted by linux"]
    machine.wait_for(r"^\[mullion\] linux: powered off\n", patience)


@pytest.mark.only_svm
def test_linux_controls(boot, linux, initrd, guest):
    linux_controls(boot, linux, initrd, guest, 300)


@pytest.mark.long
@pytest.mark.only_vmx
def test_linux_controls_vmx(boot, linux, initrd, guest):
    linux_controls(boot, linux, initrd, guest, 2400)
