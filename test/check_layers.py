#!/usr/bin/python3
"""Checks what the compiler does not: that includes and calls go downward only (docs: the table of
layers), that nothing that stays calls start-up code, which is unmapped when guests run (linker.ld
lists it), that every header compiles alone, that files and functions stay short, and the format.

    test/check_layers.py [--headers] [--sizes] [--format] [--build build]

Reads the dependency files and the symbols of the objects under build/hv. One line per violation;
exit status 1 when there is one.
"""

import argparse
import collections
import fnmatch
import os
import pathlib
import re
import subprocess
import sys

HYPERVISOR = ("boot", "core", "drivers", "mm", "svm", "vmx")
PURE = ("core/vdev", "core/config", "core/insn", "core/image", "core/acpi", "core/policy", "mm")
# Declared at the bottom, defined where the machine is: every layer may call them.
CONTRACTS = ("core/base/log.h", "core/base/panic.h")
COMPILER = {"__stack_chk_fail", "__stack_chk_guard"}
FILE_LINES, FUNCTION_LINES, HOST_LINES = 500, 60, 15000  # the last: of what stays beside guests
# Who stays, yet refers to start-up code, and why it is not called once it is gone.
INTO_START_UP = {
    "svm/svm": ({"svm_probe"}, "vendor_ops names it; core_start calls it"),
    "vmx/ops": ({"vmx_probe"}, "vendor_ops names it; core_start calls it"),
    "drivers/pci": ({"pci_scan", "pci_group"}, "pci_discover: passthrough_setup"),
    "drivers/vtd": ({"dmar_parse", "dmar_find", "dmar_ioapic"}, "setup, prepare, ioapic_id: boot core"),
    "drivers/amdvi": ({"ivrs_parse", "ivrs_find"}, "setup, prepare: boot core"),
}


# --- layers

def folder(path):
    """The folder that stands in the table: core/vdev for core/vdev/x.c, core for core/x.c."""
    parts = path.split("/")[:-1]
    return "/".join(parts[:2]) if parts[:1] == ["core"] else parts[0] if parts else ""


def layer(where):
    """The layer of a folder, None for one outside the hypervisor."""
    if where == "core/base":
        return 0
    if where in PURE:
        return 1
    return {"drivers": 2, "svm": 2, "vmx": 2, "core": 3, "boot": 4}.get(where)


def allowed(user, used):
    """May code in folder `user` include from, or call into, folder `used`?"""
    if user == used or layer(user) is None or layer(used) is None:
        return True
    if layer(user) == 2:
        return used in ("core/base", "mm") or (used == "drivers" and user in ("svm", "vmx"))
    return layer(used) <= layer(user)


def objects(build):
    """{source without its ending: object}, of sources that still exist."""
    root = build / "hv"
    found = {}
    for path in sorted(root.glob("**/*.o")):
        name = str(path.relative_to(root).with_suffix(""))
        if any(os.path.exists(name + ending) for ending in (".c", ".S")):
            found[name] = path
    return found


def includes(objs):
    for name, path in objs.items():
        dependencies = path.with_suffix(".d")
        if not dependencies.exists():
            yield f"{name}: no dependency file"
            continue
        rule = dependencies.read_text().replace("\\\n", " ").split("\n", 1)[0]
        for used in sorted({os.path.normpath(w) for w in rule.split(":", 1)[1].split()}):
            if not allowed(folder(name), folder(used)):
                yield f"{name}: includes {used}: {folder(name)} must not use {folder(used)}"


def symbols(objs):
    """{object name: (defined, undefined)} by nm; weak and common symbols count as defined."""
    table = {}
    for name, path in objs.items():
        defined, undefined = set(), set()
        output = subprocess.run(["nm", "-g", str(path)], check=True, text=True, capture_output=True)
        for line in output.stdout.splitlines():
            kind, symbol = line.split()[-2:]
            (undefined if kind in "Uwv" else defined).add(symbol)
        table[name] = defined, undefined
    return table


def contracts():
    text = "".join(pathlib.Path(p).read_text() for p in CONTRACTS if os.path.exists(p))
    return COMPILER | set(re.findall(r"\b(\w+)\s*\(", text))


def calls(objs):
    table = symbols(objs)
    definers = collections.defaultdict(set)
    for name, (defined, _) in table.items():
        for symbol in defined:
            definers[symbol].add(name)
    free = contracts()
    for symbol, names in sorted(definers.items()):
        if len(names) > 1:
            yield f"{symbol}: defined in {' and '.join(sorted(names))}"
    into_core = set()
    for name, (_, undefined) in table.items():
        for symbol in sorted(undefined - free):
            for definer in definers[symbol]:
                if not allowed(folder(name), folder(definer)):
                    yield f"{name}: uses {symbol} of {definer}: " \
                          f"{folder(name)} must not use {folder(definer)}"
                if folder(name) == "boot" and folder(definer) == "core":
                    into_core.add(symbol)
    if len(into_core) > 1:
        yield f"boot: calls more than one function of core: {', '.join(sorted(into_core))}"


# --- start-up code

def start_up():
    """Patterns of the files, without ending, that linker.ld puts into .init.text."""
    section = re.search(r"\.init\.text\b.*?\{(.*?)\}", pathlib.Path("linker.ld").read_text(), re.S)
    return re.findall(r"^\s*\*/(\S+)\.o\(", section.group(1), re.M) if section else []


def goes(name):
    """Is this source, without its ending, start-up code?"""
    return any(fnmatch.fnmatch(name, pattern) for pattern in start_up())


def into_start_up(objs):
    """Data of start-up code stays mapped: only its text counts."""
    where = {}
    for name, path in objs.items():
        if goes(name):
            output = subprocess.run(["nm", "-g", "--defined-only", str(path)], check=True, text=True,
                                    capture_output=True).stdout
            where.update({line.split()[2]: name for line in output.splitlines()
                          if line.split()[1] in "TW"})
    for pattern in start_up():
        if not fnmatch.filter(objs, pattern):
            yield f"linker.ld: .init.text: there is no {pattern}"
    for name, (_, undefined) in symbols(objs).items():
        free = INTO_START_UP.get(name, (set(), ""))[0]
        if goes(name):
            continue
        for symbol in sorted(undefined & set(where)):
            if symbol not in free:
                yield f"{name}: uses {symbol} of {where[symbol]}, which is unmapped when guests run"
        for symbol in sorted(free - undefined):
            yield f"{name}: does not use {symbol}: remove it from INTO_START_UP"


def gone(objs):
    """The files of start-up code: its sources, and headers that no other source includes."""
    users = collections.defaultdict(set)
    for name, path in objs.items():
        rule = path.with_suffix(".d").read_text().replace("\\\n", " ").split("\n", 1)[0]
        for used in rule.split(":", 1)[1].split():
            users[os.path.normpath(used)].add(name)
    return {path for path, names in users.items() if all(goes(name) for name in names)}


# --- headers, sizes, format

def sources(folders, endings):
    return [str(p) for f in folders for p in sorted(pathlib.Path(f).glob("**/*"))
            if p.suffix in endings and p.is_file()]


def headers():
    """Every header compiles alone and twice."""
    machine = ["-ffreestanding", "-mgeneral-regs-only", "-Ibuild", "-Ibuild/hv"]
    host = ["-DHOST_BUILD", "-Itest/fake", "-Ibuild"]
    for path in sources([*HYPERVISOR, "guests", "tools", "test"], {".h"}):
        text = pathlib.Path(path).read_text()
        if "#pragma once" not in text:
            yield f"{path}: no #pragma once"
        if "__ASSEMBLER__" in text and path.endswith("_asm.h"):
            continue
        result = subprocess.run(
            ["gcc", "-std=gnu11", *(host if path.split("/")[0] in ("tools", "test") else machine), "-fsyntax-only",
             "-Wall", "-Wextra", "-Werror", "-Wno-unused", "-I.", "-x", "c", "-"],
            input=f'#include "{path}"\n#include "{path}"\n', text=True, capture_output=True)
        if result.returncode:
            lines = [line for line in result.stderr.splitlines() if "error:" in line]
            yield f"{path}: does not compile alone: {(lines or ['?'])[0]}"


def functions(text):
    """(name, first line, lines) of the functions of a C file. The labels of a switch and what
    ends a case are not counted: an exit switch may be long where every case is one call."""
    start = head = None
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if inside:
            if re.match(r"\s+(case\b.*:|default:|break;|/?\*.*)\s*$", line):
                uncounted += 1
            if line.startswith("}"):
                yield name.group(1), start, number - start + 1 - uncounted
                inside, head = False, None
            continue
        if re.match(r"[A-Za-z_]", line):
            start, head = number, ""
        if head is None:
            continue
        head += line + "\n"
        if line.endswith("{"):
            name = re.search(r"(\w+)\s*\(", head)
            if name and "=" not in head.split("(")[0] and re.search(r"\)[\w\s]*\{$", line):
                inside, uncounted = True, 0
            else:
                head = None
        elif line.endswith((";", "}")) or not line.strip():
            head = None


def code_lines(text):
    """Lines without blank ones and comments."""
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    return sum(1 for line in re.sub(r"//.*", "", text).splitlines() if line.strip())


def sizes(objs):
    leaves = gone(objs)
    stay = go = statements = 0
    everywhere = HYPERVISOR + ("guests", "test", "tools")
    for path in sources(everywhere, {".c", ".h", ".S", ".py"}):
        text = pathlib.Path(path).read_text()
        lines = text.count("\n")
        if lines >= FILE_LINES:
            yield f"{path}: {lines} lines, a file stays under {FILE_LINES}"
        if path.split("/")[0] in HYPERVISOR:
            if path in leaves:
                go += code_lines(text)
            else:
                stay += code_lines(text)
            statements += text.count(";\n")
        if path.endswith((".c", ".h")):
            for name, first, length in functions(text):
                if length >= FUNCTION_LINES:
                    yield f"{path}:{first}: {name} has {length} lines, " \
                          f"a function stays under {FUNCTION_LINES}"
    # The statements do not change with the format.
    print(f"lint: {stay} lines of host code stay beside guests, of {HOST_LINES}; {go} are gone before; "
          f"{stay + go} lines, {statements} statements and declarations in all")
    if stay >= HOST_LINES:
        yield f"host code that stays beside guests: {stay} lines, the limit is {HOST_LINES}"


def formatted():
    files = sources(HYPERVISOR + ("guests", "test", "tools"), {".c", ".h"})
    result = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], text=True,
                            capture_output=True)
    for path in sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", result.stderr, re.M))):
        yield f"{path}: not formatted; clang-format -i {path}"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("headers", "sizes", "format"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--build", default="build", type=pathlib.Path)
    arguments = parser.parse_args()

    objs = objects(arguments.build)
    problems = [] if objs else [f"{arguments.build}/hv holds no objects; build first"]
    problems += list(includes(objs)) + list(calls(objs)) + list(into_start_up(objs))
    for wanted, check in ((arguments.headers, headers), (arguments.sizes, lambda: sizes(objs)),
                          (arguments.format, formatted)):
        if wanted:
            problems += list(check())
    for problem in problems:
        print(f"lint: {problem}")
    print(f"lint: {len(objs)} objects, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
