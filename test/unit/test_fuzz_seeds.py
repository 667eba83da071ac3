"""The fuzzers' seeds: a folder for each, and what make_seeds.py writes is what is in the tree."""
import pathlib
import shutil
import subprocess
import sys

FUZZ = pathlib.Path(__file__).resolve().parents[1] / "fuzz"
FUZZERS = {path.stem.removeprefix("fuzz_") for path in FUZZ.glob("fuzz_*.c")}


def test_each_fuzzer_has_seeds():
    filled = {path.parent.name for path in FUZZ.glob("seeds/*/*")}
    assert FUZZERS and filled == FUZZERS


def test_seeds_are_those_of_the_script(tmp_path):
    script = shutil.copy(FUZZ / "make_seeds.py", tmp_path)
    subprocess.run([sys.executable, "-B", script], check=True)
    written, kept = ({path.relative_to(root / "seeds"): path.read_bytes() for path in root.glob("seeds/*/*.bin")}
                     for root in (tmp_path, FUZZ))
    assert written == kept
