#!/usr/bin/python3
"""Functions of the hypervisor that no test reaches, on the host or in an emulator, by an lcov tracefile. Each has to stand
with its reason in the table of docs/testing.md, and nothing else may stand there; exit status 1 when the two differ.

    test/coverage/functions.py FILE.info [--listed docs/testing.md]"""

import argparse
import collections
import os
import pathlib
import re
import sys

ROW = re.compile(r"^\| ((?:`[\w./]+:\w+`(?:, )?)+) \| (\S.*) \|$", re.M)


def read(path):
    """{"file:function": calls}."""
    found = collections.Counter()
    source = ""
    for text in pathlib.Path(path).read_text().splitlines():
        kind, _, rest = text.partition(":")
        if kind == "SF":
            source = os.path.relpath(rest)
        elif kind == "FNDA" and not source.endswith(".h"):  # inline ones count where they are called
            calls, name = rest.split(",", 1)
            found[f"{source}:{name}"] += int(calls)
    return found


def listed(path):
    """{"file:function": reason}."""
    return {name: reason for names, reason in ROW.findall(pathlib.Path(path).read_text())
            for name in re.findall(r"`([^`]+)`", names)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("info")
    parser.add_argument("--listed", default="docs/testing.md")
    options = parser.parse_args()

    calls, reasons = read(options.info), listed(options.listed)
    missed = sorted(name for name, count in calls.items() if not count)
    unlisted = [name for name in missed if name not in reasons]
    print(f"coverage: {len(calls)} functions, {len(missed)} that no test reaches, {len(unlisted)} of them without a reason "
          f"in {options.listed}")
    for name in unlisted:
        print(f"coverage: no test reaches {name}", file=sys.stderr)
    for name in sorted(reasons):
        if name not in calls:
            print(f"coverage: {options.listed} lists {name}, which is no function", file=sys.stderr)
            unlisted.append(name)
        elif calls[name]:
            print(f"coverage: {options.listed} lists {name}, which a test reaches", file=sys.stderr)
            unlisted.append(name)
    return 1 if unlisted else 0


sys.exit(main())
