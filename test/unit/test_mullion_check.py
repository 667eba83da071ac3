"""tools/mullion-check as a user runs it: what it prints, where, and its exit codes."""
import json
import os
import re
import subprocess
import xml.etree.ElementTree as xml

import pytest
from images import elf

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
            "  remedy: known keys are cpus, memory, address, node, kernel, initrd, cmdline, format, load, entry, mode, modules, "
            "debug-exit, hpet, ports, pci, dma, pci-groups, pci-reset, pci-fault, control, restart")


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
    (tmp_path / "mods" / "vmlinuz").write_bytes(elf())
    assert check(GOOD, "--modules", "mods").returncode == 0


@pytest.mark.parametrize("args", [[], ["a", "b"], ["--nope", "a"], ["a", "--cpus"], ["a", "--cpus", "0"],
                                  ["a", "--cpus", "-1"], ["a", "--cpus", "2x"], ["a", "--memory", "5"],
                                  ["a", "--modules", "no/such/folder"], ["a", "--module"], ["a", "--module", "b"],
                                  ["no-such-file"], ["/"]])
def test_wrong_commands(args):
    result = run(*args)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("mullion-check: ")


def test_help():
    result = run("--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("Usage: mullion-check FILE")


def test_full_disk_is_not_success(check, tmp_path):
    (tmp_path / "f.toml").write_text(GOOD)
    with open("/dev/full", "w") as full:
        result = subprocess.run([ROOT + "/build/tools/mullion-check", tmp_path / "f.toml"], stdout=full,
                                stderr=subprocess.PIPE)
    assert result.returncode == 2


def test_demo_file():
    assert run(ROOT + "/configs/demo.toml", "--cpus", "3", "--memory", "272M", "--modules",
               "vmlinuz,initrd,control-loop.elf").returncode == 0


def test_virtual_functions():
    result = run(ROOT + "/configs/sriov.toml")
    assert result.returncode == 0
    assert "sriov      0000:00:05.0                 hypervisor, enables 4 virtual functions\n" in result.stdout


def test_examples_of_the_documentation_hold(check):
    with open(ROOT + "/docs/partition-file.md") as f:
        text = f.read()
    example = text.split("## Example\n\n")[1].split("\n\n`configs")[0]
    assert check(re.sub("^    ", "", example, flags=re.M)).returncode == 0
    report = text.split("$ build/tools/mullion-check configs/demo.toml\n")[1].split("\n\n")[0]
    assert re.sub("^    ", "", report, flags=re.M).strip() == run(ROOT + "/configs/demo.toml").stdout.strip()


# --- a known machine ---

MACHINE = """#: begin
#: cores 4
#: core 0 apic 0
#: memory 0x163000 0x3fe7c000
#: memory 0x100000000 0x40000000
#: vendor svm: revision 1
#: iommu amd-vi interrupts
#: pci 00:00.0 8086:29c0 class 060000 group 00:00.0 # bridge
#: pci 00:01.0 8086:10d3 class 020000 group 00:01.0 msi msi-x flr pm # network
#: bar 00:01.0 0 mem32 0xfeb80000 0x20000
#: pci 00:02.0 8086:10d3 class 020000 group 00:02.0 msi pm # network
#: pci 00:03.0 8086:2922 class 010601 group 00:03.0 flr # storage
#: pci 00:03.1 8086:2930 class 0c0500 group 00:03.0 flr # serial bus
#: pci 0001:02:00.0 1af4:1000 class 020000 group 0001:02:00.0 # network
[partition.first]
#: end
"""
TWO = GOOD + 'pci = ["%s"]\n[partition.b]\ncpus = [2]\nmemory = "16M"\nkernel = "k"\npci = ["%s"]\n'


@pytest.fixture
def on_machine(check, tmp_path):
    def call(text, *args, machine=MACHINE):
        (tmp_path / "m.txt").write_text(machine)
        return check(text, "--machine", "m.txt", *args)
    return call


def test_machine_file_is_reported(on_machine):
    result = on_machine(TWO % ("00:01.0", "0001:02:00.0"))
    assert (result.returncode, result.stderr) == (0, "")
    for line in ("core +3 +nobody", "placed +0x13f000000-0x13fffffff +a, 16M", "placed +0x13e000000-0x13effffff +b, 16M",
                 "function +00:00.0 8086:29c0 bridge +hypervisor", "function +00:01.0 8086:10d3 network +a",
                 "function +0001:02:00.0 1af4:1000 network b", "function +00:02.0 8086:10d3 network +nobody"):
        # Behind a function's owner stands its name, where the names are installed: test_pci_names.
        assert re.search(f"^{line}" + ("(, .+)?$" if "function" in line else "$"), result.stdout, re.M), line


@pytest.mark.parametrize("change, place, what, remedy", [
    (("[0, 1]", "[0, 4]"), "2:12", "core 4 does not exist: the machine has 4 cores", "write core numbers from 0 to 3"),
    (('"16M"', '"3G"'), "3:10", "too little memory for partition a: it wants 3072 MiB, 2046 MiB are free",
     "give the machine more memory or lower `memory`"),
    (('kernel', 'address = "0xc0000000"\nkernel'), "4:11", "partition a: memory at 0xc0000000 is not free on this machine",
     "choose another address, or leave `address` out"),
    (("", 'pci = ["00:07.0"]'), "5:8", "pci: the machine has no such function", "the inventory lists those that there are"),
    (("", 'pci = ["8086:10d4"]'), "5:8", "pci: the machine has no such function",
     "the inventory lists those that there are"),
    (("", 'pci = ["00:00.0"]'), "5:8", "pci: 00:00.0 is a bridge or an IOMMU, which serves others as well",
     "name functions that are devices"),
    (("", 'pci = ["00:02.0"]'), "5:8", "pci: 00:02.0 has no way to be reset",
     'pci-reset = "optional" uses it all the same'),
])
def test_what_the_machine_refuses(on_machine, change, place, what, remedy):
    text = GOOD.replace(*change, 1) if change[0] else GOOD + change[1] + "\n"
    line, column = map(int, place.split(":"))
    refused(on_machine(text), f"f.toml:{place}: {what}", "    " + text.splitlines()[line - 1],
            " " * (3 + column) + "^", f"  remedy: {remedy}")


def test_isolation_groups(on_machine):
    text = TWO % ("00:03.0", "00:03.1")
    refused(on_machine(text),
            "f.toml:10:8: pci: 00:03.0 and 00:03.1 can reach each other without the IOMMU, yet belong to a and b",
            '    pci = ["00:03.1"]', "           ^",
            '  remedy: give both to one partition; or set pci-groups = "split" in both: each can then harm the other')
    split = on_machine(text.replace("pci =", 'pci-groups = "split"\npci ='))
    assert split.returncode == 0
    assert "f.toml:6:8: warning: pci: 00:03.0 of a and 00:03.1 of b can reach each other" in split.stderr
    alone = on_machine(GOOD + 'pci = ["00:03.0"]\n')
    assert alone.returncode == 0
    assert "00:03.0 of a and 00:03.1 of nobody can reach each other without the IOMMU" in alone.stderr
    assert "  remedy: give it to a as well" in alone.stderr
    refused(on_machine(TWO % ("8086:10d3", "00:01.0")), "f.toml:5:8: pci: 00:02.0 has no way to be reset",
            '    pci = ["8086:10d3"]', "           ^", '  remedy: pci-reset = "optional" uses it all the same')
    # A power state that the function keeps its state over is no reset; one that ends it is.
    resets = on_machine(TWO % ("00:02.0", "00:03.*"), machine=MACHINE.replace("msi pm # network", "msi pm pm-reset # network"))
    assert (resets.returncode, resets.stderr) == (0, "")
    text = (TWO % ("8086:10d3", "00:01.0")).replace("pci =", 'pci-reset = "optional"\npci =', 1)
    assert on_machine(text).stderr.startswith("f.toml:11:8: pci: 00:01.0 belongs to partition a already")


def test_virtual_functions_come_later(on_machine):
    text = '[machine]\nsriov = [{ function = "%s", vfs = 2 }]\n' + TWO % ("00:03.5", "00:01.0")
    assert on_machine(text % "00:03.0").returncode == 0
    assert "f.toml:2:" in (said := on_machine(text % "00:04.0").stderr)
    assert "sriov: 00:04.0: the machine has no such function" in said


def test_machines_that_cannot_confine(on_machine):
    text = GOOD + 'pci = ["00:01.0"]\n'
    none = MACHINE.replace("iommu amd-vi interrupts", "iommu none: the machine has no IOMMU")
    refused(on_machine(text, machine=none), "f.toml:5:8: pci: the machine has no IOMMU", '    pci = ["00:01.0"]',
            "           ^", '  remedy: dma = "unprotected" would let its devices reach all memory')
    weak = MACHINE.replace(" interrupts", "")
    refused(on_machine(text, machine=weak), "f.toml:5:8: pci: the IOMMU does not remap interrupts",
            '    pci = ["00:01.0"]', "           ^", '  remedy: dma = "unprotected" would let its devices forge them')
    for machine, what in ((none, "reaches all memory of this machine: it has no IOMMU in use"),
                          (weak, "can forge interrupts: the IOMMU does not remap them")):
        result = on_machine(text + 'dma = "unprotected"\n', machine=machine)
        assert result.returncode == 0
        assert result.stderr.splitlines()[0] == "f.toml:5:8: warning: pci: 00:01.0 " + what


def test_warnings(check):
    result = check(GOOD.replace("16M", "3M"))
    assert result.returncode == 0 and result.stdout.startswith("what ")
    assert result.stderr.splitlines() == [
        "f.toml:3:10: warning: partition a gets no 2 MiB pages: the first 2 MiB of a guest are mapped by 4 KiB",
        '    memory = "3M"', "             ^", '  remedy: write "4M" or more, if it is to be fast']
    assert "the last 1M of its memory get no 2 MiB page" in check(GOOD.replace("16M", "17M")).stderr
    refused(check(GOOD.replace("16M", "17M"), "--strict"),
            "f.toml:3:10: partition a: the last 1M of its memory get no 2 MiB page", '    memory = "17M"',
            "             ^", '  remedy: write "18M"')
    assert check(GOOD, "--strict").returncode == 0


# Two nodes of 1 GiB and 2 GiB, two cores each; the cores of one are threads of one physical core.
NODES = """#: begin
#: cores 4
#: core 0 apic 0 physical 0 node 0
#: core 1 apic 1 physical 0 node 0
#: core 2 apic 300 physical 150 node 4
#: core 3 apic 302 physical 151 node 4
#: node 0 0x0 0x40000000
#: node 4 0x40000000 0x40000000
#: node 4 0x100000000 0x40000000
#: distance 0 4 21
#: distance 4 0 21
#: memory 0x100000 0x7ff00000
#: memory 0x100000000 0x40000000
#: vendor svm: revision 1
#: end
"""


def partitions(*wanted):
    """The file: (cores, memory, further lines) of a, b, ..."""
    return "".join(f'[partition.{name}]\ncpus = {cores}\nmemory = "{memory}"\nkernel = "k"\n{more}'
                   for name, (cores, memory, *rest) in zip("abcd", wanted) for more in [rest[0] if rest else ""])


def warned(result):
    """The warnings: place and text of each, with the quoted line and the caret checked."""
    lines = result.stderr.splitlines()
    assert result.returncode == 0 and len(lines) % 4 == 0
    for i in range(0, len(lines), 4):
        column = int(lines[i].split(":")[2])
        assert lines[i + 2] == " " * (3 + column) + "^" and lines[i + 3].startswith("  remedy: ")
    return [re.match(r"f.toml:(\d+:\d+): warning: (.*)", line).groups() for line in lines[::4]]


def test_memory_comes_from_the_cores_node(on_machine):
    result = on_machine(partitions(([0, 1], "256M"), ([2], "256M")), machine=NODES)
    assert (result.returncode, result.stderr) == (0, "")
    for line in ("placed +0x30000000-0x3fffffff +a, 256M", "placed +0x130000000-0x13fffffff +b, 256M",
                 "node +0, 1023 MiB free +cores 0, 1", "node +4, 2048 MiB free +cores 2, 3",
                 "threads +of one physical core +cores 0, 1"):
        assert re.search(f"^{line}$", result.stdout, re.M), line
    assert len(re.findall("^threads", result.stdout, re.M)) == 1
    said = on_machine(partitions(([2], "256M", "node = 0\n")), machine=NODES)
    assert "memory     placed on node 0             a, 256M" in said.stdout
    assert "placed     0x30000000-0x3fffffff        a, 256M" in said.stdout


def test_warns_of_siblings(on_machine):
    assert warned(on_machine(partitions(([0], "16M"), ([2], "16M"), ([3, 1], "16M")), machine=NODES))[0] == (
        "10:12", "core 1 of c and core 0 of a are threads of one physical core: each slows the other down")
    assert warned(on_machine(partitions(([0, 1], "16M"), ([2], "16M"), ([3], "16M")), machine=NODES)) == []
    assert warned(on_machine(partitions(([0], "16M")), machine=NODES)) == []  # its sibling is nobody's


def test_warns_of_memory_that_is_far(on_machine):
    def first(*wanted):
        return warned(on_machine(partitions(*wanted), machine=NODES))

    far = "lie on another node than its cores, which are on node"
    # Node 0 has not so much left: all of it comes from node 4.
    assert first(([0], "768M"), ([1], "512M")) == [
        ("6:9", "core 1 of b and core 0 of a are threads of one physical core: each slows the other down"),
        ("7:10", f"partition b: 512M of its 512M {far} 0")]
    assert first(([0, 1], "2560M")) == [("3:10", f"partition a: 2G of its 2560M {far} 0")]  # no node has so much
    assert first(([2], "256M", "node = 0\n")) == [("5:8", f"partition a: 256M of its 256M {far} 4")]
    assert first(([2], "256M", 'address = "0x3f000000"\n')) == [("5:11", f"partition a: 16M of its 256M {far} 4")]
    assert first(([2, 3, 0], "16M")) == [
        ("2:15", "core 0 of a is on node 0, others are on node 4: memory is far for some of them")]
    assert first(([2], "16M", "node = 4\n")) == []


def test_refuses_what_a_node_has_not(on_machine):
    refused(on_machine(partitions(([0], "16M", "node = 2\n")), machine=NODES),
            "f.toml:5:8: the machine has no node 2 with memory", "    node = 2", "           ^",
            "  remedy: write one of 0, 4, or remove node")
    refused(on_machine(partitions(([0], "16M", "node = 0\n"))),
            "f.toml:5:8: there is no node 0: the machine tells of no NUMA nodes", "    node = 0", "           ^",
            "  remedy: remove node")
    refused(on_machine(partitions(([0], "2G", "node = 0\n")), machine=NODES),
            "f.toml:5:8: too little memory on node 0 for partition a: it wants 2048 MiB", "    node = 0", "           ^",
            "  remedy: lower `memory`, or leave `node` out: then other nodes help")


def test_nodes_for_programs_and_as_a_picture(on_machine, tmp_path):
    text = partitions(([0, 1], "256M"), ([2], "256M", "node = 4\n"))
    result = on_machine(text, "--json", "--svg", "out.svg", machine=NODES)
    said = json.loads(result.stdout)
    assert [n["node"] for n in said["machine"]["nodes"]] == [0, 4]
    assert [n["cores"] for n in said["machine"]["nodes"]] == [[0, 1], [2, 3]]
    assert said["machine"]["nodes"][1]["memory"][1] == {"base": 1 << 32, "bytes": 1 << 30}
    assert said["machine"]["physical"] == [0, 0, 150, 151]
    assert [p["node"] for p in said["partitions"]] == [None, 4]
    picture = (tmp_path / "out.svg").read_text()
    xml.fromstring(picture)
    assert "core 1 node 0<" in picture and "core 2 node 4<" in picture
    assert re.findall(r">(node \d)<", picture) == ["node 0", "node 4", "node 4"]
    old = json.loads(on_machine(text.replace("node = 4\n", ""), "--json").stdout)
    assert old["machine"]["nodes"] == [] and old["machine"]["physical"] == [None] * 4


@pytest.mark.parametrize("change", [("node 0 0x0", "node x 0x0"), ("node 4 0x40000000", "node 4 0x3ffff000"),
                                    ("0x40000000\n#: node 4 0x4", "0\n#: node 4 0x4"), ("apic 0 ", "apic "),
                                    ("core 1 ", "core 70000 "), ("distance 0 4 21", "distance 0 4 256")])
def test_nodes_that_are_none(on_machine, change):
    assert change[0] in NODES
    result = on_machine(GOOD, machine=NODES.replace(*change))
    assert (result.returncode, result.stdout) == (2, "")
    assert "this line of the inventory is not understood" in result.stderr


@pytest.mark.parametrize("text", ["", "hello\n", MACHINE.replace("#: end\n", ""), MACHINE.replace("cores 4", "cores x"),
                                  MACHINE.replace("group 00:02.0", "group 00:02"), "#: end\n", "\0" * 99])
def test_inventory_that_is_none(on_machine, text):
    result = on_machine(GOOD, machine=text)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("mullion-check: m.txt: ")
    assert result.stderr.splitlines()[-1].startswith("  remedy: take it anew")


def test_files_that_cannot_be_used(check, tmp_path):
    (tmp_path / "d").mkdir()
    for args in (("--machine", "none"), ("--machine", "d"), ("--machine", "f.toml"), ("--svg", "d"),
                 ("--svg", "no/such/a.svg"), ("--svg", "/dev/full"), ("--svg", "f.toml/a.svg"), ("--svg", "f.toml")):
        result = check(GOOD, *args)
        assert (result.returncode, result.stdout) == (2, ""), args
        assert result.stderr.startswith(f"mullion-check: {args[1]}: "), args
    assert sorted(os.listdir(tmp_path)) == ["d", "f.toml"] and not os.listdir(tmp_path / "d")


def test_json(on_machine, check):
    said = json.loads(on_machine(TWO % ("00:01.0", "8086:2930#0"), "--json").stdout)
    assert (said["format"], said["file"], said["error"], said["focus"]) == (1, "f.toml", None, "a")
    assert [p["cpus"] for p in said["partitions"]] == [[0, 1], [2]]
    assert said["partitions"][0]["dma"] == "remapped"
    assert said["partitions"][0]["placed"] == [{"base": 0x13f000000, "bytes": 16 << 20}]
    assert {f["id"]: f["owner"] for f in said["machine"]["functions"] if f["owner"]} == {"00:01.0": "a", "00:03.1": "b"}
    assert [w["line"] for w in said["warnings"]] == [10]
    odd = json.loads(check(GOOD + 'cmdline = "\\"\\\\ \u00e9"\n', "--json").stdout)
    assert odd["partitions"][0]["cmdline"] == '"\\ \u00e9'
    assert odd["machine"] is None and odd["warnings"] == []
    wrong = check("x = 1\n", "--json")
    assert wrong.returncode == 1
    assert json.loads(wrong.stdout)["error"] == {"line": 1, "column": 1, "what": "the file has no key x",
                                                 "remedy": "known keys are machine, partition"}


def test_control(check, tmp_path):
    """Who controls whom, in all three reports."""
    text = (GOOD + 'control = ["*"]\n' + TWO.split("\n", 5)[5] % "00:01.0"
            + '[partition.c]\ncpus = [3]\nmemory = "16M"\nkernel = "k"\ncontrol = ["b"]\n')
    result = check(text, "--svg", "out.svg")
    assert (result.returncode, result.stderr) == (0, "")
    assert [" ".join(line.split()) for line in result.stdout.splitlines() if line.startswith("control")] == [
        f"control {which} {by}, stops and starts it" for which, by in ("ba", "ca", "bc")]
    assert [p["control"] for p in json.loads(check(text, "--json").stdout)["partitions"]] == [["b", "c"], [], ["b"]]
    picture = (tmp_path / "out.svg").read_text()
    xml.fromstring(picture)
    assert picture.count('d="M300 ') == 3 and "Control: " in picture
    assert "Control" not in (check(GOOD, "--svg", "out.svg"), (tmp_path / "out.svg").read_text())[1]


def test_svg(on_machine, check, tmp_path):
    for call in (on_machine, check):
        result = call(TWO % ("00:01.0", "00:03.1"), "--svg", "out.svg")
        assert result.returncode == 0
        text = (tmp_path / "out.svg").read_text()
        xml.fromstring(text)
        assert "core 2" in text and ">b<" in text and "16M" in text and "00:03.1" in text
        assert not re.search(r"href|url\((?!#)|@import", text)
    assert sorted(os.listdir(tmp_path)) == ["f.toml", "m.txt", "out.svg"]


BOX = re.compile(r'<rect x="([\d.]+)" y="(\d+)" width="([\d.]+)" height="(\d+)" fill="(#\w+)"( stroke="#555")?/>')


def test_svg_is_to_scale_and_coloured(on_machine, check, tmp_path):
    """A partition has one colour, for its legend, cores, memory and functions; memory is as wide as it is large."""
    text = ('[partition.a]\ncpus = [0, 1]\nmemory = "64M"\nkernel = "k"\npci = ["00:01.0"]\n'
            '[partition.b]\ncpus = [2]\nmemory = "16M"\nkernel = "k"\npci = ["00:03.*"]\n')
    for call, total in ((check, 80 << 20), (on_machine, 0x3fe7c000 + 0x40000000)):
        assert call(text, "--svg", "out.svg").returncode == 0
        found = [(float(x), int(height), float(width), fill, bool(framed))
                 for x, _, width, height, fill, framed in BOX.findall((tmp_path / "out.svg").read_text())]
        legend = [fill for _, height, width, fill, framed in found if (height, width) == (18, 20.0)]
        a, b = legend
        assert a != b
        cores = [fill for x, height, width, fill, framed in found if height == 44 and framed and width < 200]
        assert cores[:3] == [a, a, b] and set(cores[3:]) <= {"#fff"}
        memory = {fill: width for x, height, width, fill, framed in found if height == 46 and not framed and fill != "#fff"}
        assert set(memory) == {a, b}
        for fill, size in ((a, 64 << 20), (b, 16 << 20)):
            assert abs(memory[fill] - 940 * size / total) < 0.01
        devices = [fill for x, height, width, fill, framed in found if height == 44 and framed and width > 200]
        assert devices.count(a) == 1 and devices.count(b) in (1, 2)


def test_svg_of_many_partitions_overlaps_nowhere(on_machine, tmp_path):
    text = "".join(f'[partition.p{i}-{"W" * (28 - len(str(i)))}]\ncpus = [{i}]\nmemory = "{4 << i % 5}M"\n'
                   f'kernel = "{"M" * 99}"\n' for i in range(30))
    result = on_machine(text, "--svg", "out.svg", machine=MACHINE.replace("cores 4", "cores 64"))
    assert (result.returncode, result.stderr) == (0, "")
    picture = (tmp_path / "out.svg").read_text()
    assert len(set(re.findall(r'fill="(#\w{6})" stroke', picture))) == 12 and "url(#again)" in picture
    rows = {}
    for x, y, inside in re.findall(r'<text x="(\d+)" y="(\d+)" class="[bt]"[^>]*>([^<]*)<', picture):
        rows.setdefault(y, []).append((int(x), int(x) + 7.3 * len(inside)))  # fixed pitch
    for row in rows.values():
        row.sort()
        assert all(a[1] <= b[0] for a, b in zip(row, row[1:])) and row[-1][1] <= 1000, row
