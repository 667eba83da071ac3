"""Coverage of the hypervisor inside the emulators: MULLION_COVERAGE=1 with MULLION naming the coverage build. Each machine
sends its counters when it stops, or when this module types Ctrl-\\ at the end of a test; test/coverage/collect.py adds
them up."""

import os
import re
import sys
import time

from conftest import BUILD, TOP

sys.path.insert(0, str(TOP / "test/coverage"))
import collect  # noqa: E402

ON = bool(os.environ.get("MULLION_COVERAGE"))
END = "gcov E"
# Seconds until a machine that does not answer (no partition left, keyboard on a core that hangs) is given up.
PATIENCE = {"svm": 20, "vmx": 60}


def with_port(options, vendor, log):
    """The emulator's options, with a place for the counters: in Bochs that is the log itself."""
    if not ON or vendor != "svm":
        return options
    extra = [*options.get("extra", ()), "-chardev", f"file,id=gcov,path={log}",
             "-device", "isa-debugcon,iobase=0x403,chardev=gcov"]
    return {**options, "extra": extra}


def _text(machine, log):
    return log.read_text(errors="replace") if log.exists() else machine.text()


def without(text):
    """A log without the counters."""
    return re.sub(r"^gcov [FDE].*\n?", "", text, flags=re.M) if ON else text


def finish(machine, vendor, log):
    """Before the machine is killed."""
    if not ON:
        return
    if machine.running():
        before = _text(machine, log).count(END)
        machine.send("\x1c")
        deadline = time.monotonic() + PATIENCE[vendor]
        while machine.running() and time.monotonic() < deadline and _text(machine, log).count(END) == before:
            time.sleep(0.2)
    files = collect.collect(_text(machine, log))
    with open(BUILD / "cov/emulators.log", "a") as report:
        print(machine.log_path.name, files, file=report)
