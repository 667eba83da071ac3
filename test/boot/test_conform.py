"""A partition is a PC: guests/probe runs on the bare emulator and in a partition, and what it says
is compared, check by check and value by value. Each difference has to stand in differences.toml with
its reason, and each entry there has to occur."""

import os
import pathlib
import re
import subprocess
import tomllib

import emulator
import pytest
from conftest import BUILD, MODELS, PATIENCE, TOP
from partitions import in_counted_time, partition

LINE = re.compile(r"^(?:\[probe\] )?probe: ([\w-]+) (ok|FAIL)\b([^\n]*?)(?: # .*)?\n", re.M)
DONE = r"^(?:\[probe\] )?probe: done (\d+) failed (\d+)\n"
ACCEPTED = tomllib.loads((pathlib.Path(__file__).parent / "differences.toml").read_text())["difference"]


def results(text, done):
    """{name: "ok values"}, and all of them."""
    found = {name: f"{verdict}{values}".strip() for name, verdict, values in LINE.findall(text)}
    assert len(found) == int(done.group(1))
    return found


def run_bare(vendor, guest, cpus, tmp_path, log):
    """The program from GRUB, on the emulator alone."""
    iso = tmp_path / "bare.iso"
    subprocess.run([TOP / "tools/make-iso", iso, "-"], check=True, cwd=TOP,
                   env=dict(os.environ, MULLION=str(guest("probe.elf")), MULLION_CMDLINE=""))
    with emulator.for_vendor(vendor, iso, log, cpus=cpus, memory=128, limit=int(900 * PATIENCE),
                             cpu=MODELS[vendor], **in_counted_time(vendor)) as machine:
        machine.wait_exit(900 * PATIENCE)
    text = log.read_text(errors="replace")
    if vendor == "vmx":  # Bochs: what the program prints is on COM1 alone
        text = log.with_suffix(".com1").read_text(errors="replace")
    text = text.replace("\r", "")
    return results(text, re.search(DONE, text, re.M))


def run_partition(boot, vendor, guest, cpus):
    machine = boot(partition("probe", list(range(cpus)), "probe.elf", memory="64M", more="hpet = true"),
                   {"probe.elf": guest("probe.elf")}, cpus=cpus, **in_counted_time(vendor))
    done = machine.wait_for(DONE, 900)
    return results(machine.text(), done)


def applies(entry, vendor, cpus):
    return vendor in entry.get("on", ["svm", "vmx"]) and cpus in entry.get("cpus", [1, 2])


def judge(bare, inside, vendor, cpus):
    """The lines to complain about."""
    unexplained, unused = [], []
    explained = {name: entry for entry in ACCEPTED if applies(entry, vendor, cpus)
                 for name in entry["checks"]}
    for name in sorted(set(bare) | set(inside)):
        if bare.get(name) != inside.get(name) and name not in explained:
            unexplained.append(f"{name}\n    bare      {bare.get(name)}\n    partition {inside.get(name)}")
    for name in sorted(explained):
        if bare.get(name) == inside.get(name):
            unused.append(f"{name} is the same in both: {bare.get(name)}")
    return unexplained, unused


@pytest.mark.parametrize("cpus", [pytest.param(1, marks=pytest.mark.long), 2])
def test_like_the_bare_machine(boot, vendor, guest, tmp_path, cpus):
    bare = run_bare(vendor, guest, cpus, tmp_path, BUILD / f"logs/conform_bare_{vendor}{cpus}.log")
    inside = run_partition(boot, vendor, guest, cpus)
    unexplained, unused = judge(bare, inside, vendor, cpus)
    assert not unexplained, "not in differences.toml:\n" + "\n".join(unexplained)
    assert not unused, "in differences.toml for nothing:\n" + "\n".join(unused)
    wrong = {name for name, said in inside.items() if said.startswith("FAIL")}
    assert wrong <= {name for entry in ACCEPTED for name in entry["checks"]}
