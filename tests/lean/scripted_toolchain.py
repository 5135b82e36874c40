"""A toolchain of our own: a `lake` that starts the `lean` beside it, and a `lean` that does what it is told.

The `lean` says its version; of a file it runs each line that begins with ``#spawn`` in a shell, as a real
Lean runs the programs that a file starts with ``IO.Process.spawn``; and where it is asked for the tactic
server, it starts what stands behind it.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

_LAKE = """#!/bin/sh
# lake env lean ARGUMENT...
shift
exec "$(dirname "$0")/$@"
"""
_LEAN = """#!{python} -I
import subprocess, sys, os
BEHIND = {behind!r}
arguments = sys.argv[1:]
if arguments == ["--version"]:
    print({said!r})
elif arguments[0] == "--run":
    os.chdir(BEHIND[0])
    os.execve(BEHIND[1][0], BEHIND[1], {{}})
else:
    for line in open(arguments[0]):
        if line.startswith("#spawn "):
            done = subprocess.run(["/bin/sh", "-c", line[7:]], stdin=subprocess.DEVNULL)
            print("exit code", done.returncode, flush=True)
"""
SAID = "Lean (version 4.28.0, x86_64-unknown-linux-gnu, commit 7d01b5cae5a4, Release)"


def make_toolchain(folder: Path, said: str = SAID, behind: tuple[Path, Sequence[str]] | None = None) -> Path:
    """Write a toolchain and return the folder of its programs.

    Args:
        behind: the working folder and the command line of what answers as the tactic server.
    """
    programs = folder / "bin"
    programs.mkdir(parents=True)
    (folder / "lib" / "lean").mkdir(parents=True)
    answering = (str(behind[0]), list(behind[1])) if behind else None
    write_program(programs / "lake", _LAKE)
    write_program(programs / "lean", _LEAN.format(python=sys.executable, said=said, behind=answering))
    return programs


def write_program(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o755)
    return file


def spawning(*commands: str | Sequence[str]) -> str:
    """A file that starts programs while it is elaborated, and proves something as well."""
    shell = [command if isinstance(command, str) else shlex.join(command) for command in commands]
    assert not any("\n" in line for line in shell)
    lines = [f"#spawn {line}" for line in shell]
    return "\n".join([*lines, "theorem fine : True := trivial", ""])
