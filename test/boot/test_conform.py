"""A partition is a PC: guests/probe runs on the bare emulator and in a partition, and what it says
is compared, check by check and value by value. Each difference has to stand in differences.toml with
its reason and with what both sides say; and whatever the bare emulator says, no check fails in a partition."""

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
FILE = pathlib.Path(__file__).parent / "differences.toml"
BARE = {"svm": "qemu", "vmx": "bochs"}
KEYS = {"why", "on", "cpus"}


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


def accepted(vendor, cpus, text=FILE.read_text()):
    """{check: (what bare says, what the partition says)} of the entries for this machine."""
    pinned = {}
    for entry in tomllib.loads(text)["difference"]:
        assert entry["why"]
        for name in entry.keys() - KEYS:
            said = dict(entry[name])
            assert said.keys() <= {"partition", *BARE.values()} and len(said) > 1, f"{name}: no difference is named"
            inside = said.pop("partition")
            assert inside not in said.values(), f"{name}: that is no difference"
            if vendor in entry.get("on", BARE) and cpus in entry.get("cpus", [1, 2]):
                assert name not in pinned, f"{name}: a second time"
                pinned[name] = said.get(BARE[vendor], inside), inside
    return pinned


def judge(bare, inside, pinned):
    """The lines to complain about: neither side may say anything else than what is written, or than the other."""
    wrong = []
    for name in sorted(set(bare) | set(inside) | set(pinned)):
        says = bare.get(name), inside.get(name)
        if says == pinned.get(name, (says[0], says[0])):
            continue
        wrong.append(f"{name}\n    bare      {says[0]}\n    partition {says[1]}")
        if name in pinned:
            wrong.append("    written   {}\n              {}".format(*pinned[name]))
    return wrong


def test_judge():
    """Either side's words are pinned, those of the partition on both vendors."""
    text = '[[difference]]\nwhy = "q"\na.partition = "ok 1"\na.qemu = "ok 2"\n' \
           '[[difference]]\nwhy = "b"\ncpus = [2]\nb.partition = "ok"\nb.bochs = "FAIL"\n'
    assert accepted("svm", 1, text) == {"a": ("ok 2", "ok 1")}
    assert accepted("vmx", 2, text) == {"a": ("ok 1", "ok 1"), "b": ("FAIL", "ok")}
    pinned = {"a": ("ok 2", "ok 1")}
    for bare, inside, good in (("ok 2", "ok 1", True), ("ok 1", "ok 1", False), ("ok 2", "ok 2", False),
                               ("ok 3", "ok 1", False), ("ok 2", "ok 3", False), ("ok 2", None, False)):
        assert (not judge({"a": bare, "c": "ok"}, {"a": inside, "c": "ok"}, pinned)) == good
    assert judge({"c": "ok"}, {"c": "ok 1"}, {})
    assert judge({"c": "ok"}, {"c": "ok"}, pinned)
    for bad in (text + text, 'why = ""', 'why = "x"\na.partition = "ok"', 'why = "x"\na.partition = "ok"\na.qemu = "ok"',
                'why = "x"\na.partition = "ok"\na.svm = "ok 1"'):
        with pytest.raises(AssertionError):
            accepted("svm", 1, bad if bad.startswith("[[") else "[[difference]]\n" + bad)


@pytest.mark.parametrize("cpus", [pytest.param(1, marks=pytest.mark.long), 2])
def test_like_the_bare_machine(boot, vendor, guest, tmp_path, cpus):
    bare = run_bare(vendor, guest, cpus, tmp_path, BUILD / f"logs/conform_bare_{vendor}{cpus}.log")
    inside = run_partition(boot, vendor, guest, cpus)
    wrong = judge(bare, inside, accepted(vendor, cpus))
    assert not wrong, "not as in differences.toml:\n" + "\n".join(wrong)
    failed = [name for name, said in inside.items() if not re.match(r"ok\b", said)]
    assert not failed, f"fail in the partition: {failed}"
