"""tools/mullion-check as a user runs it: what it prints, where, and its exit codes."""
import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOOD = '[partition.a]\ncpus = [0, 1]\nmemory = "16M"\nkernel = "vmlinuz"\n'


@pytest.fixture(scope="module", autouse=True)
def built():
    subprocess.run(["make", "-s", "-C", ROOT, "tools"], check=True)


def run(*args, cwd=None):
    return subprocess.run([ROOT + "/build/tools/mullion-check", *args], capture_output=True, text=True, cwd=cwd)


@pytest.fixture
def check(tmp_path):
    def call(text, *args):
        (tmp_path / "f.toml").write_bytes(text.encode())
        return run("f.toml", *args, cwd=tmp_path)
    return call


def refused(result, *lines):
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == list(lines)


def test_good_file_gives_the_report(check):
    result = check(GOOD)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"^core +1 +a, vcpu 1$", result.stdout, re.M)
    assert re.search(r"^memory +placed at start +a, 16M$", result.stdout, re.M)
    assert re.search(r"^port +0x3f8-0x3ff +hypervisor, console$", result.stdout, re.M)
    assert re.search(r"^interrupt +all machine lines +hypervisor", result.stdout, re.M)
    assert re.search(r"^module +vmlinuz +a, kernel$", result.stdout, re.M)


def test_mistake_is_shown_in_its_line(check):
    refused(check(GOOD.replace("memory", "memroy")),
            "f.toml:3:1: [partition.a] has no key memroy", '    memroy = "16M"', "    ^",
            "  remedy: did you mean memory?")


def test_caret_counts_characters_and_tabs_as_one(check):
    refused(check('[partition.a]\n\t"\u00e9" = 1\n'),
            "f.toml:2:2: [partition.a] has no key ?", '     "\u00e9" = 1', "     ^",
            "  remedy: known keys are cpus, memory, address, kernel, initrd, cmdline, format, load, entry, mode, modules, "
            "debug-exit, hpet, ports, pci, dma, pci-groups, pci-reset, pci-fault, restart")


def test_long_line_is_cut_around_the_mistake(check):
    result = check('[partition.a]\ncmdline = "' + "x" * 300 + '" y\n')
    source, caret = result.stderr.splitlines()[1:3]
    assert len(source) < 110
    assert source[caret.index("^")] == "y"


def test_byte_order_mark_takes_no_column(check):
    refused(check("\ufeffx = 1\n"), "f.toml:1:1: the file has no key x", "    x = 1", "    ^",
            "  remedy: known keys are machine, partition")


def test_machine_options(check):
    assert check(GOOD, "--cpus", "2", "--memory=16M", "--modules", "vmlinuz,initrd").returncode == 0
    refused(check(GOOD, "--cpus", "1"), "f.toml:2:12: core 1 does not exist: the machine has 1 core",
            "    cpus = [0, 1]", "               ^", "  remedy: the only core is 0")
    refused(check(GOOD, "--memory", "8M"),
            "f.toml:3:10: memory 16M does not fit: of the machine's 8M free only 8M is left", '    memory = "16M"',
            "             ^", '  remedy: write at most "8M", or give other partitions less')
    refused(check(GOOD, "--modules", "initrd,mullion.toml"), "f.toml:4:10: there is no module vmlinuz for kernel",
            '    kernel = "vmlinuz"', "             ^", "  remedy: write one of: initrd")


def test_modules_of_a_directory(check, tmp_path):
    (tmp_path / "mods").mkdir()
    assert check(GOOD, "--modules", "mods").stderr.splitlines()[-1].startswith("  remedy: no module is loaded")
    (tmp_path / "mods" / "vmlinuz").write_bytes(b"")
    assert check(GOOD, "--modules", "mods").returncode == 0


@pytest.mark.parametrize("args", [[], ["a", "b"], ["--nope", "a"], ["a", "--cpus"], ["a", "--cpus", "0"],
                                  ["a", "--cpus", "-1"], ["a", "--cpus", "2x"], ["a", "--memory", "5"],
                                  ["a", "--modules", "no/such/folder"], ["no-such-file"], ["/"]])
def test_wrong_commands(args):
    result = run(*args)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("mullion-check: ")


def test_help():
    result = run("--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: mullion-check FILE")


def test_full_disk_is_not_success(check, tmp_path):
    (tmp_path / "f.toml").write_text(GOOD)
    with open("/dev/full", "w") as full:
        result = subprocess.run([ROOT + "/build/tools/mullion-check", tmp_path / "f.toml"], stdout=full,
                                stderr=subprocess.PIPE)
    assert result.returncode == 2


def test_demo_file():
    assert run(ROOT + "/configs/demo.toml", "--cpus", "3", "--memory", "272M", "--modules",
               "vmlinuz,initrd,control-loop.elf").returncode == 0


def test_examples_of_the_documentation_hold(check):
    with open(ROOT + "/docs/partition-file.md") as f:
        text = f.read()
    example = text.split("## Example\n\n")[1].split("\n\n`configs")[0]
    assert check(re.sub("^    ", "", example, flags=re.M)).returncode == 0
    report = text.split("$ build/tools/mullion-check configs/demo.toml\n")[1].split("\n\n")[0]
    assert re.sub("^    ", "", report, flags=re.M).strip() == run(ROOT + "/configs/demo.toml").stdout.strip()
