"""The promises about speed and size, as counts: an instruction is one tick under icount."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import bench  # noqa: E402


@pytest.fixture(scope="module")
def text():
    return bench.run(log=bench.BUILD / "logs/test_bench.log")


def test_cpuid(text):
    """A round trip of at most 300 instructions, with the true length of the instruction: were it
    taken for two bytes, the prefixed one would not come back to the right place."""
    cost = bench.round_trips(text)
    assert cost["cpuid"] <= 300
    assert cost["cpuid-prefixed"] <= 400


def test_memory_per_partition(text):
    assert bench.memory_per_partition(text)[0] <= 256


def test_image():
    assert bench.image_bytes() < 512 * 1024


def test_code_lines():
    stay, total = bench.code_lines()
    assert stay < 15000 and stay < total
