"""A partition that tries to break out, or to disturb, beside one that notices: guests/attack.c and
guests/victim.c. Every attempt has an expected answer, and the victim must feel none of them."""

import os
import re
import time

import pytest
from partitions import in_counted_time, partition

CONFIG = """
[machine]
console = "com1"
focus   = "victim"

[partition.victim]
cpus    = [0]
memory  = "16M"
kernel  = "victim.elf"
cmdline = "period_us={period}"

[partition.attacker]
cpus    = {cpus}
memory  = "16M"
kernel  = "{kernel}"
cmdline = "mem=16M {cmdline}"
restart = {restart}
{more}"""
NEVER = '{ on = "never" }'
ALWAYS = '{ on = "always", limit = %d }'
PERIOD_US = 20000
# The latest that a timer may go off, in counted time: in Bochs, at 20 MHz, twice what the victim's own exits cost, its look at
# the UART and the timer's, some 1,800 instructions. In QEMU a tick is a nanosecond, and they are a microsecond; but its cores
# take turns of 100 us (tools/emulator.py), and on a busy machine a timer has been seen to fall into another one's. To wait for
# a line of another's output is milliseconds at 115200 baud.
LATEST_US = 200
LENIENT = {"svm": "lenient", "vmx": ""}  # QEMU's processor: guests/attack/attack.h


ONLY = os.environ.get("ATTACK_ONLY")  # one attempt by name: test/break.py


def start(boot, guest, vendor, kernel, cmdline, restart=NEVER, cores=1, more="", modules={}, memory=256, attacker_more="",
          **options):
    """The victim on core 0, the attacker on the next ones. more, modules: of further partitions, which have the last core."""
    if vendor == "svm":
        options = {"extra": ["-rtc", "base=2020-01-01"], **options}
    machine = boot(
        config=CONFIG.format(kernel=kernel, cmdline=cmdline, restart=restart, cpus=[*range(1, cores + 1)],
                             period=PERIOD_US, more=attacker_more) + more,
        modules={kernel: guest(kernel), "victim.elf": guest("victim.elf"), **modules},
        cpus=1 + cores + bool(more), memory=memory, **options)
    machine.wait_for(r"victim: watching")
    return machine


def check_undisturbed(machine, least=3, counted=False):
    """The victim says that nothing happened to it; the hypervisor is whole. That it was never late, by LATEST_US, is
    required where time is counted in instructions (counted: in QEMU too): otherwise a core is a thread of a machine
    with other work, and may stand still for any time."""
    assert machine.running(), machine.tail()
    machine.send("q")
    done = machine.wait_for(
        r"victim: done periods (\d+) missed (\d+) unexpected (\d+) corrupt (\d+)")
    periods, missed, unexpected, corrupt = (int(x) for x in done.groups())
    assert periods >= least
    assert (unexpected, corrupt) == (0, 0), machine.tail()
    if machine.vendor == "vmx" or counted:
        worst = int(re.search(r"victim: memory passes \d+, worst lateness (\d+) us", machine.text()).group(1))
        assert missed == 0 and worst <= LATEST_US, machine.tail()
    assert not re.search(r"(?i)\bpanic\b", machine.text()), machine.tail()


def test_attack(boot, guest, vendor):
    """All that leaves the attacker running."""
    machine = start(boot, guest, vendor, "attack.elf", LENIENT[vendor] + (f" only={ONLY}" if ONLY else ""),
                    **in_counted_time(vendor))
    done = machine.wait_for(
        r"attack: done attempts (\d+) blocked (\d+) faults (\d+) breaches (\d+)\n|attacker: crashed\n", 600)
    assert done.group(1), machine.tail()
    attempts, blocked, faults, breaches = (int(x) for x in done.groups())
    assert (ONLY or attempts > 100000) and attempts == blocked + faults + breaches
    assert breaches == 0, "\n".join(re.findall(r"attack: .* BREACH .*", machine.text()))
    machine.wait_for(r"attacker: powered off")
    if ONLY:
        time.sleep(1)  # a short attempt: the victim has had no period yet
    check_undisturbed(machine, 0 if ONLY else 3, counted=True)


EXCEPTIONS = {"single-step": {"svm": 100, "vmx": 100}, "ring3-alignment": {"svm": 0, "vmx": 100}}


@pytest.mark.parametrize("attempt", EXCEPTIONS)
def test_exceptions_exit(boot, guest, vendor, attempt):
    """Each #DB and #AC of the guest exits, so that one that the processor raises without end closes no core to the host.
    QEMU's processor raises no #AC."""
    least = EXCEPTIONS[attempt][vendor]
    machine = boot(partition("attacker", [0], "attack.elf", cmdline=f"mem=16M {LENIENT[vendor]} only={attempt}"),
                   {"attack.elf": guest("attack.elf")})
    machine.wait_for(r"attack: done attempts \d+ blocked \d+ faults \d+ breaches 0\n")
    counts = machine.wait_for(r"^\[mullion\] attacker: vcpu 0 exits: (.*)\n").group(1)
    exits = int((re.search(r"\bexception (\d+)", counts) or ["", 0])[1])
    assert least <= exits < 2 * least + 10, counts


def test_deeds(boot, guest, vendor):
    """What ends the attacker ends nobody else, and is explained; it is started again for the next.
    The wall clock chooses, so that a machine that stood still for a second may need more rounds."""
    rounds = 250
    machine = start(boot, guest, vendor, "attack.elf", LENIENT[vendor] + " do=sequence",
                    restart=ALWAYS % rounds)
    count = int(machine.wait_for(r"attack: deeds (\d+)").group(1))
    names, at = set(), 0
    for _ in range(rounds):
        ended = machine.wait_for(r"attacker: (crashed|reset)\n", start=at)
        # The report of a crash may come in the middle of the line, which is then shown again.
        round_ = machine.text()[at:ended.end()]
        # Bochs tells of a triple fault in the midst of all.
        round_ = re.sub(r"\(\d+\)\.\[\d+\] \[.*\n", "", round_)
        name = re.search(r"attack: about to (\S+) now$", round_, re.M).group(1)
        assert "BREACH" not in round_, round_
        assert ended.group(1) == ("reset" if "reset-" in name else "crashed"), round_
        assert ended.group(1) == "reset" or "stopped: " in round_, round_
        names.add(name)
        at = ended.end()
        if len(names) == count:
            break
    assert len(names) == count and {"read-power-32", "write-power-39"} <= names
    check_undisturbed(machine)


@pytest.mark.parametrize("end", ["triple-fault", "stack-hole"])
def test_leftovers(boot, guest, vendor, end):
    """A partition that starts anew finds nothing of its last run in the processor, whether that ended by itself or while
    an interrupt was delivered to it."""
    machine = start(boot, guest, vendor, "attack.elf", f"{LENIENT[vendor]} do={end}", restart=ALWAYS % 1)
    machine.wait_for(r"attacker: restart 1 of 1")
    machine.wait_for(r"attacker: crashed\n", start=machine.text().index("restart 1 of 1"))
    assert not re.findall("attack: .*BREACH.*", machine.text())
    assert "panic" not in machine.text()


def fuzz(boot, guest, vendor, seed, exits, timeout):
    """Random instructions until there have been so many exits: the hypervisor counts those of all runs, and tells at the end of one.
    A run ends itself as it likes, by a crash or a reset, and the next has another seed."""
    machine = start(boot, guest, vendor, "fuzzer.elf", f"{LENIENT[vendor]} seed={seed}", restart=ALWAYS % 100000, attacker_more="hpet = true\n")
    end = time.monotonic() + timeout
    count = at = 0
    while count < exits:
        told = machine.wait_for(r"attacker: vcpu 0 exits in all: (\d+)\r?\n|attacker: powered off", max(end - time.monotonic(), 1), start=at)
        assert told.group(1), "its end would be the end of the test"
        count, at = int(told.group(1)), told.end()
    assert re.search(r"fuzzer: seed \d+ at \d+000", machine.text()), "no run got anywhere"
    check_undisturbed(machine)


def test_fuzzer(boot, guest, vendor):
    fuzz(boot, guest, vendor, 7, {"svm": 100000, "vmx": 30000}[vendor], 300)


def test_crowd(boot, guest, vendor):
    """Several vCPUs of the attacker: code and page tables change under the one that uses them, others are stopped and started in
    old code all the time. It may end itself: an instruction that came between is not always one for device memory."""
    rounds = {"svm": 3000, "vmx": 1000}[vendor]
    machine = start(boot, guest, vendor, "crowd.elf", f"rounds={rounds}", cores=3, restart=ALWAYS % 3)
    done = machine.wait_for(r"crowd: done rounds (\d+) faults (\d+) nmis (\d+) started (\d+)$|restart 3 of 3", 300)
    assert done.group(0)[0] == "r" or all(int(x) for x in done.groups()), "a part of it did not happen"
    check_undisturbed(machine, 0)


def test_task_switch(boot, guest, vendor):
    """A hardware task switch in old code, into a task that cannot go on, ends that partition only. QEMU's processor does not ask, and
    carries it out by itself."""
    machine = start(boot, guest, vendor, "crowd.elf", "rounds=0 do=task-switch", cores=3)
    machine.wait_for(r"attacker: crashed\n", 120)
    assert "stopped: " in machine.text()
    check_undisturbed(machine, 0)


def beside_linux(boot, guest, vendor, linux, initrd):
    """A stock Linux as the third partition finds its machine in order."""
    more = partition("linux", [2], "vmlinuz", memory="192M", more='initrd = "initrd"',
                     cmdline="console=ttyS0 quiet mullion.test=check expect_cpus=1 expect_mem=192")
    machine = start(boot, guest, vendor, "attack.elf", LENIENT[vendor], more=more, memory=512,
                    modules={"vmlinuz": linux, "initrd": initrd})
    machine.wait_for(r"attack: done .* breaches 0", 900)
    machine.wait_for(r"check: done 0 failed", 2400)
    check_undisturbed(machine)


@pytest.mark.only_svm
def test_beside_linux(boot, guest, vendor, linux, initrd):
    beside_linux(boot, guest, vendor, linux, initrd)


@pytest.mark.long
@pytest.mark.only_vmx
def test_beside_linux_vmx(boot, guest, vendor, linux, initrd):
    beside_linux(boot, guest, vendor, linux, initrd)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 1 + 20 * int(os.environ.get("LONG", "1"))))
def test_fuzzer_long(boot, guest, vendor, seed):
    """Four million exits on AMD-V and 1.2 million on VT-x; LONG multiplies. Only the first ends in a row tell the count, so each seed
    is a machine of its own."""
    fuzz(boot, guest, vendor, seed, {"svm": 200000, "vmx": 60000}[vendor], 900)
