#!/usr/bin/python3
"""Runs the attack suite on both vendors (test/boot/test_attack.py), and on AMD-V that of devices behind both IOMMUs
(test/boot/test_dma.py), and prints what they came to: attempts by name, deeds, random instructions, and what the victim
beside them felt. Exit status 1 if a test failed or anything was a breach.

    test/attack.py [--report] [PYTEST OPTION...]

--report: of the logs that are there, without a run."""

import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
LOGS = TOP / "build/logs"
VENDORS = {"svm": "AMD-V", "vmx": "VT-x"}
TESTS = ["test_attack", "test_deeds", "test_leftovers", "test_fuzzer", "test_crowd", "test_task_switch", "test_beside_linux"]
IOMMUS = {"amd-svm": "AMD-Vi", "intel-svm": "VT-d"}
PYTEST = ["/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-m", "not long", "test/boot/test_attack.py",
          "test/boot/test_dma.py::test_dma"]
COUNTS = ["attempts", "blocked", "expected", "breaches"]
FELT = r"victim: done periods (\d+) missed (\d+) unexpected (\d+) corrupt (\d+)"


def log(test, vendor):
    path = LOGS / f"{test}[{vendor}].log"
    return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""


def attempts(text, program="attack"):
    """{name: (tries, "ok" or "BREACH")}, in order."""
    return {name: (int(tries or of), verdict) for name, verdict, tries, of in
            re.findall(program + r": ([a-z0-9-]+) (ok|BREACH) (?:(\d+)\n|\d+ of (\d+))", text)}


def deeds(text):
    """{name: how the partition ended}."""
    found = {}
    for part in re.split(r"attack: about to ", text)[1:]:
        name, end = part.split()[0], re.search(r"attacker: (crashed|reset)\b", part)
        if "BREACH" in part:
            found[name] = "BREACH"
        elif end:  # without one the machine was switched off meanwhile: the test had seen all of them
            found.setdefault(name, end.group(1))
    return found


def table(title, rows, columns=None):
    """rows: [(name, {vendor: text})]."""
    columns = columns or VENDORS
    print(f"\n{title:44}" + "".join(f"{name:>22}" for name in columns.values()))
    for name, cells in rows:
        print(f"  {name:42}" + "".join(f"{cells.get(column, '-'):>22}" for column in columns))


def counted(test, vendor):
    """Is time counted in instructions, so that a late victim is the hypervisor's fault?"""
    return vendor == "vmx" or test == "test_attack"


def by_vendor(function):
    return {vendor: function(vendor) for vendor in VENDORS}


def report():
    """Prints; returns how many breaches there were, those that the victim felt among them."""
    tried = by_vendor(lambda v: attempts(log("test_attack", v)))
    done = by_vendor(lambda v: deeds(log("test_deeds", v)))
    names = list(dict.fromkeys(n for v in VENDORS for n in tried[v]))
    table("attempts that leave the attacker running", [
        (name, {v: "{} {}".format(*tried[v][name]) for v in VENDORS if name in tried[v]}) for name in names])
    sums = by_vendor(lambda v: re.search(r"attack: done attempts (\d+) blocked (\d+) faults (\d+) breaches (\d+)",
                                         log("test_attack", v)))
    table("in all", [(what, {v: sums[v].group(i) for v in VENDORS if sums[v]})
                     for i, what in enumerate(["attempts", "blocked", "expected faults", "breaches"], 1)])
    table("deeds, each of which ends the attacker alone", [
        (name, {v: done[v][name] for v in VENDORS if name in done[v]})
        for name in sorted(dict.fromkeys(n for v in VENDORS for n in done[v]))])
    table("random instructions", [("exits, runs", by_vendor(lambda v: fuzzed(log("test_fuzzer", v))))])
    table("changing code and tables; NMIs, INITs, SIPIs", [
        ("rounds, faults, NMIs, starts by SIPI", by_vendor(lambda v: crowd(log("test_crowd", v))))])
    felt = {}
    for test in TESTS:
        for vendor in VENDORS if test != "test_leftovers" else ():
            ends = re.findall(FELT, log(test, vendor))
            if ends:
                periods, missed, *others = ends[-1]
                felt.setdefault(test, {})[vendor] = " ".join((periods, missed if counted(test, vendor) else f"({missed})", *others))
    table("the victim: periods, missed, unexpected, corrupt", list(felt.items()))
    print("  (missed): by a clock that goes on while the emulator waits for its turn; not a breach")
    breaches = sum(verdict != "ok" for v in VENDORS for _, verdict in tried[v].values())
    breaches += sum(end == "BREACH" for v in VENDORS for end in done[v].values())
    breaches += sum(int(n) for cells in felt.values() for text in cells.values() for n in text.split()[1:] if n.isdigit())
    by_devices, broken = report_devices()
    breaches += broken
    print(f"\nattack: {sum(int(s.group(1)) for s in sums.values() if s)} attempts, {by_devices} by devices, "
          f"{sum(len(d) for d in done.values())} deeds, {breaches} breaches")
    return breaches


def report_devices():
    """Of the devices behind each IOMMU: prints; returns attempts and breaches."""
    logs = {iommu: log("test_dma", iommu) for iommu in IOMMUS}
    tried = {iommu: attempts(text, "dma") for iommu, text in logs.items()}
    for iommu, text in logs.items():
        tried[iommu].update((name, ("left", "out")) for name in re.findall(r"dma: (\S+) left out", text))
    table("attempts by devices, on AMD-V", [
        (name, {i: "{} {}".format(*tried[i][name]) for i in IOMMUS if name in tried[i]})
        for name in dict.fromkeys(n for i in IOMMUS for n in tried[i])], IOMMUS)
    print("  left out: what QEMU lets pass where hardware would not (docs/emulators.md)")
    done = "dma: done " + " ".join(rf"{what} (\d+)" for what in COUNTS)
    sums = {iommu: found.groups() for iommu, text in logs.items() if (found := re.search(done, text))}
    table("in all", [(what, {i: s[n] for i, s in sums.items()}) for n, what in enumerate(COUNTS)], IOMMUS)
    felt = {i: re.findall(FELT, text) for i, text in logs.items()}
    table("the victim beside the devices", [
        ("periods, missed, unexpected, corrupt", {i: "{} ({}) {} {}".format(*f[-1]) for i, f in felt.items() if f})], IOMMUS)
    breaches = sum(verdict == "BREACH" for found in tried.values() for _, verdict in found.values())
    return sum(int(s[0]) for s in sums.values()), breaches + sum(int(n) for f in felt.values() if f for n in f[-1][2:])


def fuzzed(text):
    """Exits in all, of so many runs."""
    exits = re.findall(r"attacker: vcpu 0 exits in all: (\d+)", text)
    return f"{exits[-1]} {len(re.findall('fuzzer: seed [0-9]+ exact', text))}" if exits else "-"


def crowd(text):
    ends = re.findall(r"crowd: done rounds (\d+) faults (\d+) nmis (\d+) started (\d+)", text)
    return " ".join(ends[-1]) if ends else "ended itself" if text else "-"


def main():
    failed = 0
    if "--report" not in sys.argv:
        for name in [*(f"{test}[{vendor}]" for test in TESTS for vendor in VENDORS), *(f"test_dma[{i}]" for i in IOMMUS)]:
            (LOGS / f"{name}.log").unlink(missing_ok=True)
        failed = subprocess.run([*PYTEST, *sys.argv[1:]], cwd=TOP, check=False).returncode
    return 1 if report() or failed else 0


if __name__ == "__main__":
    sys.exit(main())
