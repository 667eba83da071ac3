"""What the boot tests write into mullion.toml, and how they read the console again.

A line of the console is `[NAME] TEXT`. When another partition's line comes between, the unfinished
line is cut and shown again whole later: so a test looks for whole lines, with their end.
"""

import json
import re


def partition(name, cpus, kernel, memory="16M", cmdline="", more=""):
    """One table of the file. more: further lines, as they stand there."""
    return (f"[partition.{name}]\ncpus = {json.dumps(cpus)}\nmemory = {json.dumps(memory)}\n"
            f"kernel = {json.dumps(kernel)}\ncmdline = {json.dumps(cmdline)}\n{more}\n")


def control_loop(core, period_us, periods=0, report=1000):
    """The partition `loop`. periods: after so many it powers off, 0 for never."""
    return partition("loop", [core], "control-loop.elf",
                     cmdline=f"period_us={period_us} periods={periods} report={report}")


def lines_of(text, name):
    """The lines of one partition, whole ones and cut ones, in order."""
    return re.findall(rf"^\[{re.escape(name)}\] (.*)\n", text, re.M)


def log_of(text, name):
    """What the hypervisor says about this partition."""
    return [line[len(name) + 2:] for line in lines_of(text, "mullion")
            if line.startswith(name + ": ")]


def wait_loop_done(machine, timeout=None):
    """Waits for the control loop's last line; returns (periods, missed)."""
    match = machine.wait_for(r"^\[loop\] control-loop: done periods (\d+) missed (\d+)\n", timeout)
    return int(match.group(1)), int(match.group(2))


def assert_kept_period(machine, periods, timeout=None):
    """The control loop came to its end and missed nothing."""
    done, missed = wait_loop_done(machine, timeout)
    assert missed == 0, f"{missed} of {done} periods missed"
    assert done == periods


def assert_all_ended(machine, timeout=None):
    """The last partition's end powers the machine off: the emulator ends by itself."""
    machine.wait_for(r"^\[mullion\] mullion: every partition has ended, powering off\n", timeout)
    machine.wait_exit()


def in_counted_time(vendor):
    """Options of boot with which time is counted in instructions, whatever the load of the machine.
    Bochs always does."""
    return {"icount": True} if vendor == "svm" else {}
