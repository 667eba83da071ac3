"""Manual pages and completion of the tools: they are made, and know every option that --help names."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Every program of the folder: a new one is asked for its help, manual page and completion at once.
TOOLS = {"mullion-check": "build/tools/mullion-check",
         **{path.name: f"tools/{path.name}" for path in sorted((ROOT / "tools").iterdir())
            if path.is_file() and os.access(path, os.X_OK)}}
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
    """What --help names at the beginning of a line or of a bracket."""
    text = subprocess.run([ROOT / TOOLS[tool], "--help"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^usage: ", text, re.M | re.I) and len(text.splitlines()) > 3
    return set(re.findall(r"(?:^ +|[\[,] ?|setup )(--[a-z][a-z-]+)", text, re.M)) - {"--version"} | {"--help"}


def complete(tool, *words):
    script = BASH.format(words=" ".join(f"'{w}'" for w in (tool, *words)), count=len(words) + 1, tool=tool)
    return subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(not shutil.which("help2man"), reason="help2man is not installed")
def test_manual_pages():
    subprocess.run(["make", "-s", "-C", ROOT, "man"], check=True)
    for tool in TOOLS:
        page = (ROOT / f"build/man/{tool}.1").read_text().replace("\\-", "-")
        assert page.count(".SH NAME") == 1 and ".SH SYNOPSIS" in page
        assert options(tool) - {"--help"} <= set(re.findall(r"--[a-z][a-z-]+", page))


@pytest.mark.parametrize("tool", TOOLS)
def test_bash_completion(tool):
    assert options(tool) == set(complete(TOOLS[tool], "--")) - {"--version"}


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
        name = "" if tool == "mullion-check" else tool.removeprefix("mullion-")
        case = re.search(rf"^    (?:[^\n]*\| )?\*{name}(?: \|[^\n]*)?\)(.*?);;", text, re.M | re.S)
        assert case, tool
        assert set(re.findall(r"'\*?(--[a-z-]+)\[", case[1])) - {"--version"} == options(tool), tool
