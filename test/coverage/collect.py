#!/usr/bin/python3
"""Adds the counters that a machine sent out (test/coverage/stream.c) to those of the runs before.

    test/coverage/collect.py LOG...

The text names each .gcda file by the path that the compiler gave it. Of several dumps in one log the last one that is
complete counts: the counters only grow. Format: gcc/gcov-io.h of gcc 12, whose lengths are in bytes."""

import pathlib
import re
import struct
import sys

MAGIC, FUNCTION, ARCS = 0x67636461, 0x01000000, 0x01a10000


def last_dump(text):
    """{path: bytes} of the last complete dump in a log, {} if there is none."""
    found, files, name = {}, {}, None
    for kind, rest in re.findall(r"^gcov ([FDE])(?: (.*))?$", text.replace("\r", ""), re.M):
        if kind == "F":
            name = rest
            files[name] = bytearray()
        elif kind == "D" and name:
            files[name] += bytes.fromhex(rest) if re.fullmatch(r"(?:[0-9a-f]{2})+", rest) else b""
        elif kind == "E":
            found, files, name = files, {}, None
    return found


def records(data):
    """Yields (tag, offset of the content, bytes of it); the first 16 bytes are the head."""
    at = 16
    while at + 8 <= len(data):
        tag, length = struct.unpack_from("<Ii", data, at)
        yield tag, at + 8, length
        at += 8 + max(length, 0)  # a negative length: so many counters, all zero


def counters(data):
    """{number of the record: [counts]}."""
    found = {}
    for number, (tag, at, length) in enumerate(records(data)):
        if tag == ARCS:
            found[number] = list(struct.unpack_from(f"<{length // 8}Q", data, at)) if length > 0 else [0] * (-length // 8)
    return found


def rewrite(data, sums):
    """data with these counts; those of records that gave none are written out in full."""
    out = bytearray(data[:16])
    for number, (tag, at, length) in enumerate(records(data)):
        if tag == ARCS:
            out += struct.pack("<Ii", tag, 8 * len(sums[number]))
            out += struct.pack(f"<{len(sums[number])}Q", *sums[number])
        else:
            out += struct.pack("<Ii", tag, length) + data[at:at + max(length, 0)]
    return bytes(out)


def add(path, new):
    """Adds one file's counters to what is on disk, unless that comes from another build."""
    sums = counters(new)
    if path.exists() and path.read_bytes()[:16] == new[:16]:
        old = counters(path.read_bytes())
        sums = {n: [a + b for a, b in zip(counts, old[n])] for n, counts in sums.items()}
    path.write_bytes(rewrite(new, sums))


def collect(text):
    """Returns how many files the dump had."""
    files = {n: bytes(d) for n, d in last_dump(text).items() if len(d) >= 16 and
             struct.unpack_from("<I", d)[0] == MAGIC}
    for name, data in files.items():
        add(pathlib.Path(name), data)
    return len(files)


if __name__ == "__main__":
    for log in sys.argv[1:]:
        print(log, collect(pathlib.Path(log).read_text(errors="replace")))
