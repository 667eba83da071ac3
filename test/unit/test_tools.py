"""Manual pages and completion of the tools: they are made, and know every option that --help names."""
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = {"mullion-check": "build/tools/mullion-check", "mullion-image": "tools/mullion-image", "inventory": "tools/inventory",
         "run": "tools/run"}
BASH = """
source tools/completion/mullion.bash
COMP_WORDS=({words}); COMP_CWORD=$(({count} - 1))
eval "$(complete -p {tool} | sed 's/.*-F \\([^ ]*\\) .*/\\1/')"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module", autouse=True)
def built():
    subprocess.run(["make", "-s", "-C", ROOT, "tools"], check=True)


def options(tool):
    text = subprocess.run([ROOT / TOOLS[tool], "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--[a-z][a-z-]+", text)) - {"--version"}


def complete(tool, *words):
    script = BASH.format(words=" ".join(f"'{w}'" for w in (tool, *words)), count=len(words) + 1, tool=tool)
    return subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(not shutil.which("help2man"), reason="help2man is not installed")
def test_manual_pages():
    subprocess.run(["make", "-s", "-C", ROOT, "man"], check=True)
    for tool in TOOLS:
        page = (ROOT / f"build/man/{tool}.1").read_text().replace("\\-", "-")
        assert page.count(".SH NAME") == 1 and ".SH SYNOPSIS" in page
        assert options(tool) <= set(re.findall(r"--[a-z][a-z-]+", page))


@pytest.mark.parametrize("tool", TOOLS)
def test_bash_completion(tool):
    assert options(tool) <= set(complete(TOOLS[tool], "--"))


def test_bash_completion_of_files():
    assert complete("mullion-check", "configs/de") == ["configs/demo.toml"]
    assert complete("mullion-check", "--str") == ["--strict"]
    assert "docs" in complete("mullion-check", "--modules", "do")
    assert complete("mullion-check", "--cpus", "") == []


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_completion():
    script = "autoload -Uz compinit; compinit -D -u; source tools/completion/_mullion; print -r -- " + \
        " ".join(f"$_comps[{tool}]" for tool in TOOLS.values())
    done = subprocess.run(["zsh", "-fc", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["_mullion"] * len(TOOLS), "")
    text = (ROOT / "tools/completion/_mullion").read_text()
    for tool in TOOLS:
        assert all(f"'{option}[" in text for option in options(tool))
