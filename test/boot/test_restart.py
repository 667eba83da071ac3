"""A partition that ended starts again where its `restart` says so, and no more often."""

import re

import pytest
from partitions import assert_all_ended, lines_of, log_of, partition


def bad(name, core, deed, on, limit=2):
    return partition(name, [core], "bad.elf", cmdline=f"do={deed}",
                     more=f'restart = {{ on = "{on}", limit = {limit} }}')


def ends(machine, name):
    """The ends and the restarts of a partition, in order."""
    return [line for line in log_of(machine.text(), name)
            if line in ("crashed", "reset", "powered off") or line.startswith("restart ")]


@pytest.fixture
def machine(boot, guest):
    file = (bad("crash", 0, "triple-fault", "crash") + bad("reset", 1, "reset-cf9", "reset")
            + bad("always", 2, "reset-kbd", "always", limit=1)
            + bad("other-reset", 3, "reset-cf9", "crash") + bad("other-crash", 4, "stack", "reset")
            + bad("off", 5, "jump", "always"))
    return boot(file, {"bad.elf": guest("bad.elf")}, cpus=6)


def test_restart(machine):
    """Each for its reason, at most `limit` times, from the beginning; then the machine powers off.
    A partition that powered itself off stays off."""
    assert_all_ended(machine, 600)
    again = ["restart 1 of 2", "restart 2 of 2"]
    assert ends(machine, "crash") == ["crashed", again[0], "crashed", again[1], "crashed"]
    assert ends(machine, "reset") == ["reset", again[0], "reset", again[1], "reset"]
    assert ends(machine, "always") == ["reset", "restart 1 of 1", "reset"]
    assert ends(machine, "other-reset") == ["reset"]
    assert ends(machine, "other-crash") == ["crashed"]
    assert ends(machine, "off") == ["powered off"]
    for name, deed, runs in (("crash", "triple-fault", 3), ("reset", "reset-cf9", 3),
                             ("always", "reset-kbd", 2), ("off", "jump", 1)):
        # A line that was cut at its very end is shown once more.
        assert lines_of(machine.text(), name).count(f"bad: about to {deed}") >= runs


def test_crash_loop(boot, guest):
    """Without a limit it is started again for ever, but its log is no flood: the first crashes are told with registers and exits,
    the others in a line each."""
    file = partition("loop", [0], "bad.elf", cmdline="do=triple-fault", more='restart = { on = "crash" }')
    machine = boot(file, {"bad.elf": guest("bad.elf")}, cpus=1)
    machine.wait_for(r"^\[mullion\] loop: restart 12\n", 600)
    log = log_of(machine.text(), "loop")
    crashes = [i for i, line in enumerate(log) if line == "crashed"]
    assert sum(line.startswith("rip 0x") for line in log) == 8
    assert sum(" exits in all: " in line for line in log) == 8
    told = [line for i in crashes[8:12] for line in log[i - 1:i + 2]]
    for number, line in enumerate(told, 3 * 9):
        assert re.fullmatch([rf"vcpu 0 on core 0 stopped: triple fault \(.*\), crash {number // 3} in a row: no report",
                             "crashed", f"restart {number // 3}"][number % 3], line), line
