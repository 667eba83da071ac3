"""Manual pages and completion of the tools: they are made, and know every option that --help names."""
import os
import pathlib
import pty
import re
import select
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


def usage(tool):
    """The words of --help that show how it is called."""
    text = subprocess.run([ROOT / TOOLS[tool], "--help"], capture_output=True, text=True, check=True).stdout
    block = re.search(r"^usage: .*\n(?:(?: +or: | {8}).*\n)*", text, re.M | re.I)[0]
    return set(re.findall(r"[\w-]{2,}", block)) - {"usage", "Usage", "or", "tools"}


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
        synopsis = re.search(r"^\.SH SYNOPSIS\n(.*?)^\.SH", page, re.M | re.S)[1]
        assert usage(tool) <= set(re.findall(r"[\w-]{2,}", re.sub(r"\\(f.|,|/)", "", synopsis))), tool


@pytest.mark.parametrize("tool", TOOLS)
def test_bash_completion(tool):
    assert options(tool) == set(complete(TOOLS[tool], "--")) - {"--version"}


def test_bash_completion_of_files():
    assert complete("mullion-check", "configs/de") == ["configs/demo.toml"]
    assert complete("mullion-check", "--str") == ["--strict"]
    assert "docs" in complete("mullion-check", "--modules", "do")
    assert complete("mullion-check", "--cpus", "") == []
    assert complete("mullion-check", "configs/demo.toml", "--modules", "=", "do") == ["docs"]
    assert "docs" in complete("mullion-check", "--modules", "=")
    assert complete("mullion-check", "--modules", "docs/") == []  # of files only: no folder in it
    assert complete("mullion-check", "--module", "Makef") == []
    assert complete("mullion-check", "--module", "name", "Makef") == ["Makefile"]


def typed_in_zsh(*lines):
    """What each of these lines is after the Tab key."""
    master, slave = pty.openpty()
    shell = subprocess.Popen(["zsh", "-f", "-i"], cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                             env=dict(os.environ, TERM="dumb"))
    os.close(slave)
    seen = b""

    def until(pattern, keys):
        nonlocal seen
        os.write(master, keys.encode())
        while not (match := re.search(pattern, seen)):
            assert select.select([master], [], [], 120)[0], seen
            seen += os.read(master, 4096)
        seen = seen[match.end():]
        return match[1].decode()

    try:
        until(rb"(is ready)\r", "unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -D -u; "
              "source tools/completion/_mullion; echo is ready\r")
        # Ctrl-A goes to the beginning of the line.
        typed = [until(rb"<<([^>]*)>>\r", line + "\t\x01print -r -- \"<<\x05>>\"\r") for line in lines]
        return [line.rstrip("/ ") for line in typed]  # the end of a word, which the way to the beginning may take away
    finally:
        shell.kill()
        shell.wait()
        os.close(master)


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_completes(tmp_path):
    (tmp_path / "run.log").touch()
    (tmp_path / "above/below").mkdir(parents=True)
    check = "build/tools/mullion-check"
    assert typed_in_zsh(f"{check} --modules {tmp_path}/above/", f"{check} --modules {tmp_path}/ru", f"{check} --machine {tmp_path}/ru",
                        f"{check} --machine={tmp_path}/ru", f"{check} configs/de") == [
        f"{check} --modules {tmp_path}/above/below", f"{check} --modules {tmp_path}/ru", f"{check} --machine {tmp_path}/run.log",
        f"{check} --machine={tmp_path}/run.log", f"{check} configs/demo.toml"]


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
        assert set(re.findall(r"'\*?(--[a-z-]+)=?\[", case[1])) - {"--version"} == options(tool), tool
