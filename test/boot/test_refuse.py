"""Where Mullion cannot run it says what is missing and what to do, and halts. Each refusal is two
lines: `mullion: cannot start: WHAT`, `mullion: remedy: WHAT TO DO`."""

import re

import pytest

LOOP = "guest.elf"


def partition(cpus="[0]", memory='"16M"', kernel=LOOP, more=""):
    return f'[partition.one]\ncpus = {cpus}\nmemory = {memory}\nkernel = "{kernel}"\n{more}\n'


@pytest.fixture
def dummy(tmp_path):
    """{name: path} of a module that is no program: what refuses earlier never looks into it."""
    path = tmp_path / LOOP
    path.write_bytes(b"not a program\n" * 64)
    return {LOOP: path}


def refused(machine, what):
    """Waits for both lines; `what` is searched in the first, without regard to case."""
    match = machine.wait_for(r"mullion: cannot start: (.*)\n(?:.*\n)??.*mullion: remedy: (.+)\n")
    assert re.search(what, match.group(1), re.I), f"{match.group(1)!r} does not tell {what!r}"
    assert len(match.group(2).split()) >= 2, f"no remedy: {match.group(2)!r}"
    return match


# --- the processor

@pytest.mark.only_svm
def test_no_svm(boot, dummy):
    refused(boot(partition(), dummy, cpu="max,-svm"), r"svm|vmx|virtuali[sz]ation")


@pytest.mark.only_svm
def test_no_npt(boot, dummy):
    refused(boot(partition(), dummy, cpu="max,+svm,-npt"), r"npt|nested pag")


@pytest.mark.only_vmx
@pytest.mark.parametrize("cpu", ["athlon64_venice", "p4_prescott_celeron_336"])
def test_no_vmx(boot, dummy, cpu):
    refused(boot(partition(), dummy, cpu=cpu), r"svm|vmx|virtuali[sz]ation")


@pytest.mark.only_vmx
def test_no_ept(boot, dummy):
    refused(boot(partition(), dummy, cpu="core2_penryn_t9600"), r"ept|extended page")


@pytest.mark.only_vmx
def test_no_unrestricted_guest(boot, dummy):
    """The first Core i has EPT, and not yet unrestricted guests."""
    refused(boot(partition(), dummy, cpu="corei5_lynnfield_750"), r"unrestricted")


# --- the boot loader's modules

def test_no_partition_file(boot):
    refused(boot(), r"mullion\.toml")


def test_missing_module(boot):
    refused(boot(partition()), r"guest\.elf")


# --- the partition file against the machine

def test_too_many_cores(boot, dummy):
    refused(boot(partition(cpus="[0, 7]"), dummy, cpus=1), r"core|cpu")


def test_too_little_memory(boot, dummy):
    refused(boot(partition(memory='"8G"'), dummy), r"memory")


# --- the partition file alone: the line is named

@pytest.mark.parametrize("name, text, line", [
    ("syntax", "[partition.one\ncpus = [0]\n", 1),
    ("unknown-key", partition(more="colour = 3"), 5),
    ("empty", "# nothing\n", None),
    ("core-twice", partition() + partition().replace(".one", ".two"), None),
])
@pytest.mark.only_svm
def test_bad_file(boot, dummy, name, text, line):
    match = refused(boot(text, dummy), r"mullion\.toml|partition|core")
    if line:
        assert f"mullion.toml:{line}:" in match.group(1)
