"""tools/emulator.py tells an emulator that died of its own defect from a machine that ended, or that says nothing."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import emulator  # noqa: E402


class Script(emulator.Qemu):
    """A shell script in the emulator's place."""

    def __init__(self, folder, script):
        super().__init__(folder / "none.iso", folder / "log", limit=60)
        self.script = script

    def command(self):
        return ["sh", "-c", self.script]


@pytest.mark.parametrize("name", ["SEGV", "ABRT"])
@pytest.mark.parametrize("wait", [lambda m: m.wait_for("never", 60), lambda m: m.wait_exit(60)])
def test_crash(tmp_path, name, wait):
    with Script(tmp_path, f"echo last words; kill -{name} $$") as machine:
        with pytest.raises(emulator.EmulatorCrashed, match=f"SIG{name}"):
            wait(machine)


def test_what_it_said_counts(tmp_path):
    with Script(tmp_path, "echo last words; kill -SEGV $$") as machine:
        machine.wait_for("^last words\n", 60)


@pytest.mark.parametrize("script", ["exit 0", "exit 3", "kill -TERM $$"])
def test_other_ends(tmp_path, script):
    with Script(tmp_path, script) as machine:
        with pytest.raises(emulator.MarkerNotSeen, match="the machine ended") as raised:
            machine.wait_for("never", 60)
        assert not isinstance(raised.value, emulator.EmulatorCrashed)
