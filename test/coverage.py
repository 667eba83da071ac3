#!/usr/bin/python3
"""Lines and branches of an lcov tracefile by folder; exit status 1 below the wanted percentages.

    test/coverage.py FILE.info [--lines PERCENT] [--branches PERCENT]

Files below the wanted percentage of lines are listed with what no test reaches."""

import argparse
import collections
import os
import pathlib
import sys


class Count:
    def __init__(self):
        self.lines = self.reached = self.branches = self.taken = 0
        self.missed = []

    def add(self, other):
        self.lines += other.lines
        self.reached += other.reached
        self.branches += other.branches
        self.taken += other.taken

    def percent(self):
        return [100 * part / whole if whole else 100.0
                for part, whole in ((self.reached, self.lines), (self.taken, self.branches))]

    def __str__(self):
        return "%5.1f%% of %5d lines  %5.1f%% of %5d branches" % (
            self.percent()[0], self.lines, self.percent()[1], self.branches)


def read(path):
    """{source: Count}. A line is "DA:line,hits", a branch "BRDA:line,block,branch,hits"."""
    files = collections.defaultdict(Count)
    for text in pathlib.Path(path).read_text().splitlines():
        kind, _, rest = text.partition(":")
        if kind == "SF":
            count = files[os.path.relpath(rest)]
        elif kind == "DA":
            line, hits = rest.split(",")[:2]
            count.lines += 1
            count.reached += int(hits) > 0
            if int(hits) == 0:
                count.missed.append(line)
        elif kind == "BRDA":
            count.branches += 1
            count.taken += rest.split(",")[3] not in ("-", "0")
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("info")
    parser.add_argument("--lines", type=float, default=0)
    parser.add_argument("--branches", type=float, default=0)
    options = parser.parse_args()

    files = read(options.info)
    folders, total = collections.defaultdict(Count), Count()
    for name, count in files.items():
        folders[os.path.dirname(name)].add(count)
        total.add(count)
    for name in sorted(folders):
        print(f"coverage: {name:12} {folders[name]}")
    print(f"coverage: {'all':12} {total}")
    for name in sorted(files):
        if files[name].percent()[0] < options.lines:
            print(f"coverage: {name}: no test reaches lines {', '.join(files[name].missed)}")
    lines, branches = total.percent()
    if lines < options.lines or branches < options.branches:
        print(f"coverage: at least {options.lines:g}% of lines and {options.branches:g}% of "
              "branches are wanted", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
