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


def refused(machine, what, remedy):
    """Waits for the three lines; `what` and `remedy` are the whole text of theirs."""
    told = machine.wait_for(r"^\[mullion\] mullion: cannot start: (.*)\n"
                            r"\[mullion\] mullion: remedy: (.*)\n\[mullion\] mullion: halted\n")
    assert re.fullmatch(what, told.group(1)), told.group(1)
    assert re.fullmatch(remedy, told.group(2)), told.group(2)
    assert machine.running(), "it halts, so that the message can be read"


# --- the processor

NEITHER = ("this processor offers neither VMX nor SVM",
           "switch virtualisation on in the firmware's setup; in an emulator choose a CPU model with it")


@pytest.mark.only_svm
def test_no_svm(boot, dummy):
    refused(boot(partition(), dummy, cpu="max,-svm"), *NEITHER)


@pytest.mark.only_svm
def test_no_npt(boot, dummy):
    refused(boot(partition(), dummy, cpu="max,+svm,-npt"),
            r"this processor lacks nested paging \(NPT\)", r"use one that has it; .*")


@pytest.mark.only_vmx
@pytest.mark.parametrize("cpu", ["athlon64_venice", "p4_prescott_celeron_336"])
def test_no_vmx(boot, dummy, cpu):
    refused(boot(partition(), dummy, cpu=cpu), *NEITHER)


@pytest.mark.only_vmx
def test_no_ept(boot, dummy):
    refused(boot(partition(), dummy, cpu="core2_penryn_t9600"),
            r".*\b(EPT|extended page tables)\b.*", r"use .*")


@pytest.mark.only_vmx
def test_no_unrestricted_guest(boot, dummy):
    """The first Core i has EPT, and not yet unrestricted guests."""
    refused(boot(partition(), dummy, cpu="corei5_lynnfield_750"),
            r".*\bunrestricted guest.*", r"use .*")


@pytest.mark.only_vmx
def test_locked_off(boot, dummy):
    """The firmware has locked VMX off; nothing but its setup changes that."""
    refused(boot(partition(), dummy, locked_off=True), r"VMX is locked off by firmware",
            r"enable Intel virtualisation technology in firmware setup")


# --- the boot loader's modules

def test_no_partition_file(boot):
    refused(boot(), r"there is no module named mullion\.toml",
            r"add a line `module2 /boot/mullion\.toml mullion\.toml` to grub\.cfg")


def test_missing_module(boot):
    refused(boot(partition()), r"mullion\.toml:4:10: there is no module guest\.elf for kernel",
            r".+")


def test_no_program(boot, dummy):
    refused(boot(partition(), dummy), r"partition one: module guest\.elf: .+",
            r"give a file of the right kind, or set `format`")


# --- the partition file against the machine

def test_too_many_cores(boot, dummy):
    refused(boot(partition(cpus="[0, 7]"), dummy, cpus=1), r"mullion\.toml:2:12: .*\bcore 7\b.*",
            r".+")


def test_too_little_memory(boot, dummy):
    refused(boot(partition(memory='"8G"'), dummy),
            r"too little memory for partition one: it wants 8192 MiB, \d+ MiB are free",
            r"give the machine more memory or lower `memory`")


# --- the partition file alone: line and column are named. test/unit has all of the mistakes.

@pytest.mark.parametrize("text, what, remedy", [
    ("[partition.one\ncpus = [0]\n", r"mullion\.toml:1:\d+: .+", r".+"),
    (partition(more="colour = 3"), r"mullion\.toml:5:1: \[partition\.one\] has no key colour", r".+"),
    ("# nothing\n", r"mullion\.toml:\d+:\d+: .*\bpartition\b.*", r".+"),
    (partition() + partition().replace(".one", ".two"),
     r"mullion\.toml:7:9: core 0 belongs to partition one already \(line 2\)",
     r"remove it from one of the two lists: each has one owner"),
    (partition(memory="16M"), r"mullion\.toml:3:10: 16M is neither a number nor text in quotes",
     r'for text write "16M"'),
    (partition(more='ports = ["0x80-0xa0"]'),
     r"mullion\.toml:5:10: port 0x92 belongs to the partition's own reset port",
     r"leave 0x92 out of ports"),
], ids=["syntax", "unknown-key", "empty", "core-twice", "no-quotes", "port"])
@pytest.mark.only_svm
def test_bad_file(boot, dummy, text, what, remedy):
    refused(boot(text, dummy), what, remedy)
