"""A small repository as LeanDojo leaves it when it has traced one, and a `lake` that speaks its protocol."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lean.scripted_toolchain import SAID, make_toolchain, write_program

FILE = "Sums.lean"


@dataclass(frozen=True, slots=True)
class Stated:
    """A theorem of the file: its name, what stands up to ``:=``, and its proof."""

    name: str
    statement: str
    proof: str

    @property
    def text(self) -> str:
        return f"theorem {self.name} {self.statement} := {self.proof}"


THEOREMS = (
    Stated("two_le", "(n : Nat) (h : 4 ≤ n) : 2 ≤ n", "by omega"),
    Stated("swap", "(a b : Nat) : a + b = b + a", "by\n  rw [Nat.add_comm]"),
    Stated("both", "(p q : Prop) (hp : p) (hq : q) : p ∧ q", "⟨hp, hq⟩"),
)


def make_repository(folder: Path) -> str:
    """Write the repository, and return its commit."""
    folder.mkdir(parents=True)
    (folder / FILE).write_text(file_text())
    (folder / "lean-toolchain").write_text("leanprover/lean4:v4.28.0\n")
    (folder / "lakefile.toml").write_text('name = "sums"\n\n[[lean_lib]]\nname = "Sums"\n')
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-q", "-m", "sums")):
        subprocess.run(["git", *command], cwd=folder, check=True, stdin=subprocess.DEVNULL)
    said = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    )
    return said.stdout.strip()


def file_text() -> str:
    return "\n\n".join(stated.text for stated in THEOREMS) + "\n"


def trace(repository: Path, traced: Path) -> None:
    """Write what tracing the repository would: its files, the REPL, and the syntax trees."""
    subprocess.run(["cp", "-r", str(repository), str(traced)], check=True)
    (traced / "Lean4Repl.lean").write_text(
        "-- LeanDojo's own; built, it is imported by the file under proof\n"
    )
    trees = traced / ".lake" / "build" / "ir"
    trees.mkdir(parents=True)
    (trees / "Sums.ast.json").write_text(json.dumps(syntax_trees()))
    (trees / "Sums.dep_paths").write_text("")


def syntax_trees() -> dict[str, Any]:
    """The file's trees as ExtractData.lean writes them, without what nobody here looks at."""
    text, commands = file_text(), [_node("Lean.Parser.Module.header")]
    for stated in THEOREMS:
        start = text.index(stated.text)
        name, sign = text.index(stated.name, start), text.index(" := ", start) + 1
        theorem = _node(
            "Lean.Parser.Command.theorem",
            _atom(text, start, "theorem"),
            _node("Lean.Parser.Command.declId", _ident(text, name, stated.name)),
            _node(
                "Lean.Parser.Command.declSig",
                _atom(text, text.index(stated.statement, name), stated.statement),
            ),
            _node(
                "Lean.Parser.Command.declValSimple",
                _atom(text, sign, ":="),
                _node("Lean.Parser.Term.byTactic", _atom(text, sign + 3, stated.proof)),
            ),
        )
        declaration = _node(
            "Lean.Parser.Command.declaration", _node("Lean.Parser.Command.declModifiers"), theorem
        )
        commands.append(declaration)
    return {"commandASTs": commands, "tactics": [], "premises": []}


def _node(kind: str, *arguments: dict[str, Any]) -> dict[str, Any]:
    return {"node": {"info": "none", "kind": kind, "args": list(arguments)}}


def _place(text: str, start: int, token: str) -> dict[str, Any]:
    first = len(text[:start].encode())
    return {"original": {"leading": "", "trailing": " ", "pos": first, "endPos": first + len(token.encode())}}


def _atom(text: str, start: int, token: str) -> dict[str, Any]:
    return {"atom": {"info": _place(text, start, token), "val": token}}


def _ident(text: str, start: int, name: str) -> dict[str, Any]:
    info = _place(text, start, name)
    return {"ident": {"info": info, "rawVal": name, "val": name, "preresolved": []}}


# --- lake -------------------------------------------------------------------------------------------

_LEAN = """#!{python}
import os, sys
arguments, server, answering = sys.argv[1:], {server!r}, {answering!r}
if arguments == ["--version"]:
    print({said!r})
elif arguments[0] == "--run":
    os.chdir(server[0])
    os.execve(server[1][0], server[1], {{}})
else:
    os.execv(answering[0], [*answering, arguments[-1]])
"""


def make_lake(folder: Path, server: tuple[Path, Sequence[str]], answering: Sequence[str]) -> Path:
    """Write a toolchain and return the folder of its programs.

    Args:
        server: the working folder and the command line of our tactic server, for the verdict.
        answering: what runs a file with LeanDojo's REPL in it; the file's name is added.
    """
    programs = make_toolchain(folder)
    given = {"server": (str(server[0]), list(server[1])), "answering": list(answering)}
    write_program(programs / "lean", _LEAN.format(python=sys.executable, said=SAID, **given))
    return programs
