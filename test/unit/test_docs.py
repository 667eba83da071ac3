"""The documents against the tree: links lead somewhere, files that are named exist, and the keys in
docs/partition-file.md are those that the parser knows."""
import ast
import fnmatch
import importlib
import pathlib
import re
import subprocess

import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test"))
DOCUMENTS = [ROOT / "README.md", ROOT / "guests/README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Sections of docs/partition-file.md with a table of keys: where a key of theirs stands in a file.
SECTIONS = {
    "[machine]": "[machine]\n{}\n",
    "[partition.NAME]": "[partition.a]\n{}\n",
    "restart": "[partition.a]\nrestart = {{ {} }}\n",
}


@pytest.fixture(scope="module", autouse=True)
def built():
    subprocess.run(["make", "-s", "-C", ROOT, "tools"], check=True)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text())
    dead = [link for link in links
            if not re.match(r"[a-z]+:", link) and not (document.parent / link).exists()]
    assert not dead


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_named_files_exist(document):
    folders = "boot|configs|core|docs|drivers|guests|mm|svm|test|tools|vmx"
    names = re.findall(rf"`((?:{folders})/[\w./*-]*)`", document.read_text())
    names = [name for name in names if name != "guests/blink.c"]  # to be written by the reader
    missing = [name for name in names if not list(ROOT.glob(name.rstrip("/")))]
    if not (ROOT / "vmx").is_dir():
        missing = [name for name in missing if not name.startswith("vmx/")]
    assert not missing


def documented(section):
    """The keys of the table under this heading."""
    text = (ROOT / "docs/partition-file.md").read_text()
    body = re.search(rf"^#+ {re.escape(section)}\n(.*?)(?=^#|\Z)", text, re.M | re.S).group(1)
    return re.findall(r"^\| `([\w-]+)` \|", body, re.M)


def complaint(path, section, line):
    path.write_text(SECTIONS[section].format(line))
    result = subprocess.run([ROOT / "build/tools/mullion-check", path], capture_output=True, text=True)
    assert result.returncode == 1
    return result.stderr


@pytest.mark.parametrize("section", SECTIONS)
def test_documented_keys_are_known(section, tmp_path):
    """No key takes a date, so a known key complains of its type and an unknown one of its name."""
    keys = documented(section)
    assert keys
    for key in keys:
        error = complaint(tmp_path / "f.toml", section, f"{key} = 1979-05-27")
        assert f"{key} must be" in error, error


@pytest.mark.parametrize("section", SECTIONS)
def test_known_keys_are_documented(section, tmp_path):
    """The complaint about a key that resembles none lists the known ones."""
    error = complaint(tmp_path / "f.toml", section, "zzzzzzzzzzzzzzzz = 1")
    known = re.search(r"known keys are (.*)", error).group(1).split(", ")
    assert sorted(known) == sorted(documented(section))


def test_boot_parameters():
    """The table of the command line is that of the parser."""
    rules = re.findall(r'^    \{"([\w.-]+)", (?:take_\w+|NULL),', (ROOT / "core/config/options.c").read_text(), re.M)
    text = (ROOT / "docs/boot-parameters.md").read_text()
    table = re.search(r"^\| parameter \|.*\n\|---.*\n((?:\|.*\n)+)", text, re.M).group(1)
    assert rules == re.findall(r"^\| `([\w.-]+)` \|", table, re.M)


def marks_of(nodes):
    """Which of only_svm and only_vmx stands in these expressions."""
    return {part.attr for node in nodes for part in ast.walk(node) if isinstance(part, ast.Attribute)} & {"only_svm", "only_vmx"}


def boot_tests():
    """{name: marks} of every boot test."""
    found = {}
    for path in (ROOT / "test/boot").glob("test_*.py"):
        body = ast.parse(path.read_text()).body
        whole = marks_of(part.value for part in body
                         if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "pytestmark")
        for part in body:
            if isinstance(part, ast.FunctionDef) and part.name.startswith("test_"):
                found[part.name] = whole | marks_of(part.decorator_list)
    return found


def attempts(*guests):
    """Names in the lists of these programs."""
    text = "".join(path.read_text() for guest in guests for path in sorted((ROOT / "guests" / guest).glob("*.c")))
    lists = re.findall(r"^const struct attempt \w+\[\] = \{\n(.*?)^\};", text, re.M | re.S)
    return re.findall(r'\{"([\w-]+)", \w+\}', "".join(lists))


def unit_tests():
    return {path.stem for path in (ROOT / "test/unit").glob("test_*")}


PROGRAMS = {"test_attack": ["attack"], "test_deeds": ["attack"], "test_dma": ["dma"]}
ONLY = {"only_svm": "AMD-V only", "only_vmx": "VT-x only"}


def shown_by():
    """The last column of the promises."""
    text = (ROOT / "docs/security.md").read_text()
    rows = re.search(r"^\| promise \|.*\n\|---.*\n((?:\|.*\n)+)", text, re.M).group(1)
    return [line.rstrip(" |").split(" | ")[-1] for line in rows.splitlines()]


def wrong_names(cell):
    """What a cell names and nobody has. Its parts are separated by semicolons; attempts follow their test, up to the first
    words that are none."""
    boots, units = boot_tests(), unit_tests()
    for part in cell.split("; "):
        yield from (name for name in re.findall(r"`(test_\w+)`", part) if name not in boots)
        if "unit test_" in part:
            yield from (name for name in re.findall(r"\b(test_\w+)", part.split("unit ")[1]) if name not in units)
        yield from (name for name in re.findall(r"[Ff]uzzer `(\w+)`", part) if not (ROOT / f"test/fuzz/fuzz_{name}.c").exists())
        listed = re.search(r"`(test_\w+)`(?: \([^)]*\))? ([a-z].*)", part)
        if listed and listed.group(1) in PROGRAMS:
            for name in listed.group(2).split(", "):
                if not re.fullmatch(r"[\w*-]+", name):
                    break
                if not fnmatch.filter(attempts(*PROGRAMS[listed.group(1)]), name):
                    yield name


def test_proofs_exist():
    assert len(boot_tests()) > 100 and {"hypercalls", "read-victim"} & set(attempts("attack")) and "msix-pending" in attempts("dma")
    assert [name for cell in shown_by() for name in wrong_names(cell)] == []


def test_proofs_name_their_vendor():
    """Where a test is one vendor's, its part says so, or the row does in front of all."""
    boots = boot_tests()
    for cell in shown_by():
        head = cell.split(":")[0]
        for part in cell.split("; "):
            needed = {mark for name in re.findall(r"`(test_\w+)`", part) for mark in boots.get(name, ())}
            assert {mark for mark in needed if ONLY[mark] not in head and ONLY[mark] not in part} == set(), part


def test_sabotages_are_looked_for_by_tests_that_exist():
    boots, units = boot_tests(), unit_tests()
    for name, _, _, _, (kind, test, extra) in importlib.import_module("break").BREAKS:
        function, _, vendor = test.partition(" and ")
        if kind == "unit":
            assert test in units, name
        elif kind == "fuzz":
            assert (ROOT / f"test/fuzz/seeds/{test}/{extra}").exists(), name
        else:
            assert function in boots, name
            assert not extra or extra in attempts("attack"), name
            assert not vendor or vendor not in ("svm", "vmx") or boots[function] <= {f"only_{vendor}"}, name


def test_every_promise_is_broken_once():
    """docs/security.md and test/break.py speak of the same promises and the same sabotages."""
    sabotages = importlib.import_module("break").BREAKS
    text = (ROOT / "docs/security.md").read_text()
    promises = re.search(r"^\| promise \|.*\n\|---.*\n((?:\|.*\n)+)", text, re.M).group(1)
    promised = [line.split(" | ")[0].lstrip("| ") for line in promises.splitlines()]
    assert sorted(promised) == sorted({s[1] for s in sabotages})
    table = subprocess.run([sys.executable, "-B", ROOT / "test/break.py", "--table"], text=True, capture_output=True, check=True)
    assert table.stdout in text


def test_sabotages_find_their_place():
    """Each text that test/break.py replaces stands once in its file."""
    for name, _, file, edits, _ in importlib.import_module("break").BREAKS:
        text = (ROOT / file).read_text()
        assert [old for old, _ in edits if text.count(old) != 1] == [], f"{name}: {file}"
