"""The TOML parser against Python's: thousands of documents made of TOML's pieces, right and wrong.
Both must accept the same ones and read the same values from them. The documents are the same in
every run."""
import datetime
import glob
import json
import os
import random
import struct
import subprocess

import pytest

tomllib = pytest.importorskip("tomllib")  # Python 3.11

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENTS = 30000

PIECES = ["a", "b", "c", '"a"', "'b'", ".", ".", "=", " = ", "1", "0", "_", "0x1f", "1.5", "1e3", "-", "+", "true",
          "[", "]", "[[", "]]", "{", "}", ",", ", ", "\n", "\n", "\n", "\r\n", " ", "\t", "#", "# c\n", '"x"', "'y'",
          '"""', "'''", '"', "'", "\\", "\\n", "\\u0041", "\\U0001F600", "\\ud800", "\u00e9", "1979-05-27",
          "T07:32:00", "07:32:00.5", "Z", "+01:00", "inf", "nan", "\x01", "a.b"]
LINES = ["a = 1\n", "[a]\n", "[a.b]\n", "[[a]]\n", "[[a.b]]\n", "a.b = 1\n", "b.c = {a = 1}\n", "a = [1, 2]\n",
         "b = [{a.b = 1, a.c = 2}]\n", "[a.c]\n", 'c = """\n x\\\n y"""\n', "b = '''z''''\n", "[b]\n", "[c.a.b]\n",
         "a.b.c = 1\n", "b.a = 2\n", "c.b = 3\n"]
SEED = """# c
[a."b"]
k = [1, 0x2, {x.y = 'z'}, 1.5e3]
[[l]]
t = 1979-05-27 07:32:00Z
s = \"\"\"
\\u00e9 \\
 "" \u00e9\"\"\"
m = '''q''''
b = true
[l.sub]
q.w.e = [ [], [[1]] ]
"""


@pytest.fixture(scope="module")
def parser(tmp_path_factory):
    program = tmp_path_factory.mktemp("toml") / "toml_dump"
    sources = sorted(glob.glob(ROOT + "/core/config/*.c") + glob.glob(ROOT + "/core/base/*.c")
                     + [ROOT + "/mm/numa.c", ROOT + "/mm/frames.c"])
    subprocess.run(["gcc", "-std=gnu11", "-g", "-O1", "-DHOST_BUILD", "-fsanitize=address,undefined",
                    "-fno-sanitize-recover=all", "-I" + ROOT, ROOT + "/test/unit/toml_dump.c", *sources,
                    "-o", str(program)], check=True)
    process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def parse(document):
        process.stdin.write(struct.pack("=I", len(document)) + document)
        process.stdin.flush()
        answer = process.stdout.readline().decode()
        assert answer, document
        return None if answer[0] == "!" else json.loads(answer)

    yield parse
    process.stdin.close()
    assert process.wait() == 0


class TooLarge(Exception):
    """An integer that Python takes and TOML does not promise."""


def plain(value):
    """A value of tomllib in the form that toml_dump prints."""
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, str):
        return value.encode().decode("latin-1")
    if isinstance(value, float):
        return {"float": 1}
    if isinstance(value, (datetime.date, datetime.time)):
        return {"date": 1}
    if not isinstance(value, bool) and not -2**63 <= value < 2**63:
        raise TooLarge
    return value


def expected(document):
    try:
        return plain(tomllib.loads(document.decode()))
    except (ValueError, TooLarge):
        return None


def make(rnd):
    kind = rnd.random()
    if kind < 0.3:
        text = SEED
        for _ in range(rnd.randint(1, 3)):
            at = rnd.randrange(len(text))
            cut = rnd.choice([0, 1, 1, 3])
            text = text[:at] + (rnd.choice(PIECES) if rnd.random() < 0.6 else "") + text[at + cut:]
    elif kind < 0.7:
        text = "".join(rnd.choice(LINES if rnd.random() < 0.85 else PIECES) for _ in range(rnd.randint(1, 7)))
    else:
        text = "a = " * rnd.randint(0, 1) + "".join(rnd.choice(PIECES) for _ in range(rnd.randint(1, 9)))
    return text.encode()


def test_same_answers(parser):
    rnd = random.Random(1)
    accepted = 0
    for _ in range(DOCUMENTS):
        document = make(rnd)
        want = expected(document)
        assert parser(document) == want, document
        accepted += want is not None
    assert accepted > DOCUMENTS // 10  # the generator makes right documents too


def test_shipped_files(parser):
    for path in glob.glob(ROOT + "/configs/*.toml"):
        with open(path, "rb") as f:
            document = f.read()
        assert parser(document) == expected(document) is not None
