"""A partition that tries to break out, or to disturb, beside one that notices: guests/attack.c and
guests/victim.c. Every attempt has an expected answer, and the victim must feel none of them."""

import os
import re

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
"""
NEVER = '{ on = "never" }'
ALWAYS = '{ on = "always", limit = %d }'
# A core of the emulated machine is a thread of a loaded one, and may stand still for a while.
PERIOD_US = {"svm": 500000, "vmx": 20000}
LENIENT = {"svm": "lenient", "vmx": ""}  # QEMU's processor: guests/attack/attack.h


ONLY = os.environ.get("ATTACK_ONLY")  # one attempt by name: test/break.py


def start(boot, guest, vendor, kernel, cmdline, restart=NEVER):
    machine = boot(
        config=CONFIG.format(kernel=kernel, cmdline=cmdline, restart=restart, cpus="[1]",
                             period=PERIOD_US[vendor]),
        modules={kernel: guest(kernel), "victim.elf": guest("victim.elf")}, cpus=2, memory=256,
        **({"extra": ["-rtc", "base=2020-01-01"]} if vendor == "svm" else {}))
    machine.wait_for(r"victim: watching")
    return machine


def check_undisturbed(machine):
    """The victim says that nothing happened to it; the hypervisor is whole."""
    assert machine.running(), machine.tail()
    machine.send("q")
    done = machine.wait_for(
        r"victim: done periods (\d+) missed (\d+) unexpected (\d+) corrupt (\d+)")
    periods, missed, unexpected, corrupt = (int(x) for x in done.groups())
    assert periods > 3
    assert (missed, unexpected, corrupt) == (0, 0, 0), machine.tail()
    assert not re.search(r"(?i)\bpanic\b", machine.text()), machine.tail()


def test_attack(boot, guest, vendor):
    """All that leaves the attacker running."""
    machine = start(boot, guest, vendor, "attack.elf", LENIENT[vendor] + (f" only={ONLY}" if ONLY else ""))
    done = machine.wait_for(
        r"attack: done attempts (\d+) blocked (\d+) faults (\d+) breaches (\d+)", 600)
    attempts, blocked, faults, breaches = (int(x) for x in done.groups())
    assert (ONLY or attempts > 100000) and attempts == blocked + faults + breaches
    assert breaches == 0, "\n".join(re.findall(r"attack: .* BREACH .*", machine.text()))
    machine.wait_for(r"attacker: powered off")
    check_undisturbed(machine)


def test_deeds(boot, guest, vendor):
    """What ends the attacker ends nobody else, and is explained; it is started again for the next.
    The wall clock chooses, so that a machine that stood still for a second may need more rounds."""
    rounds = 150
    machine = start(boot, guest, vendor, "attack.elf", LENIENT[vendor] + " do=sequence",
                    restart=ALWAYS % rounds)
    count = int(machine.wait_for(r"attack: deeds (\d+)").group(1))
    names, at = set(), 0
    for _ in range(rounds):
        ended = machine.wait_for(r"attacker: (crashed|reset)$", start=at)
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
    assert len(names) == count
    check_undisturbed(machine)


def test_leftovers(boot, guest, vendor):
    """A partition that starts anew finds nothing of its last run in the processor."""
    machine = start(boot, guest, vendor, "attack.elf", LENIENT[vendor] + " do=triple-fault", restart=ALWAYS % 1)
    machine.wait_for(r"attacker: restart 1 of 1")
    machine.wait_for(r"attacker: crashed$", start=machine.text().index("restart 1 of 1"))
    assert not re.findall("attack: .*BREACH.*", machine.text())
    assert "panic" not in machine.text()


def test_fuzzer(boot, guest, vendor):
    """Random instructions; the program may end itself as it likes: by a crash or a reset it is started again, by a power-off (its
    answer to an interrupt that it did not expect) it is done."""
    exits = {"svm": 100000, "vmx": 30000}[vendor]
    machine = start(boot, guest, vendor, "fuzzer.elf", f"seed=7 exits={exits}",
                    restart=ALWAYS % 20)
    machine.wait_for(r"fuzzer: done|attacker: restart 20 of 20|attacker: powered off", 300)
    check_undisturbed(machine)
