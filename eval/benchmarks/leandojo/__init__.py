"""LeanDojo's benchmark, attempted in a checkout of its repository.

Its theorems are cut out of the repository's files where the benchmark says that they stand; what is before a
theorem in its file is the header. They run under the repository's own toolchain, through our tactic server:
for LeanDojo's ``Dojo`` see :mod:`prover.leandojo`.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from eval.benchmarks.base import Problem, Split
from prover.errors import InputError
from prover.leandojo.benchmark import WAYS, BenchmarkTheorem, read_order, read_theorems

_BEGINS = re.compile(r"\b(?:theorem|lemma)\b")
_OPEN, _CLOSE = "([{⟨⦃", ")]}⟩⦄"
#: Comments, strings, brackets, and what is looked for. Within a block comment only its edges count.
_TOKEN = re.compile(rf'/-|-/|--[^\n]*|"(?:[^"\\]|\\.)*"|:=|[{re.escape(_OPEN + _CLOSE)}]')


class LeanDojoBenchmark:
    """The splits of one way of splitting."""

    name = "leandojo"

    def __init__(self, folder: Path, checkout: Path) -> None:
        """Take a benchmark.

        Args:
            folder: of LeanDojo's benchmark, or of one way of splitting within it; alone it is ``random``.
            checkout: of the repository, at the benchmark's commit, built.
        """
        inner = folder.name in WAYS
        self._folder, self._way = (folder.parent, folder.name) if inner else (folder, WAYS[0])
        self._checkout = checkout

    @property
    def version(self) -> str:
        """The way it is split in, and 8 hex digits of its corpus."""
        try:
            digest = hashlib.sha256((self._folder / "corpus.jsonl").read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(
                f"{self._folder} is no benchmark of LeanDojo's: it has no corpus.jsonl"
            ) from error
        return f"{self._way}-{digest[:8]}"

    def problems(self, split: Split) -> list[Problem]:
        """Return the theorems of a split whose proof stands behind ``:=``, in import order.

        Raises:
            InputError: there is no such split, or the checkout is not of that commit.
        """
        version, order = self.version, read_order(self._folder)
        found = []
        lines: dict[Path, list[str]] = {}
        for theorem in read_theorems(self._folder, split, self._way):
            path = self._checkout / theorem.file
            if path not in lines:
                lines[path] = _lines(path, theorem)
            if cut := _cut(theorem, path, lines[path]):
                header, statement = cut
                found.append(
                    Problem(
                        id=theorem.name,
                        benchmark=self.name,
                        version=version,
                        split=split,
                        module=None,
                        header=header,
                        statement=statement,
                        tags=(f"area:{'.'.join(theorem.module.split('.')[:2])}",),
                        source=f"{theorem.url}@{theorem.commit}",
                        position=order.get(theorem.file, len(order)),
                    )
                )
        return sorted(found, key=lambda problem: (problem.position, problem.id))


def _lines(path: Path, theorem: BenchmarkTheorem) -> list[str]:
    """The lines of a theorem's file, with their ends.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path} cannot be read: check out {theorem.url} at {theorem.commit}") from error


def _cut(theorem: BenchmarkTheorem, path: Path, lines: list[str]) -> tuple[str, str] | None:
    """What stands before a theorem, and the theorem with a ``sorry``; None where it has no ``:=``.

    Raises:
        InputError: the theorem does not stand there.
    """
    before, up_to_end = (_up_to(lines, place) for place in (theorem.start, theorem.end))
    own = up_to_end[len(before) :]
    if not _BEGINS.search(own):
        raise InputError(
            f"{theorem.name} does not stand at line {theorem.start[0]} of {path}: "
            f"check out {theorem.url} at {theorem.commit}"
        )
    sign = _assignment(own)
    return None if sign is None else (before.rstrip() + "\n", f"{own[:sign]}:= by sorry")


def _up_to(lines: list[str], place: tuple[int, int]) -> str:
    """The text before a line and column, both from 1."""
    line, column = place
    return "".join((*lines[: line - 1], "".join(lines[line - 1 : line])[: column - 1]))


def _assignment(text: str) -> int | None:
    """Where the ``:=`` stands that a theorem's proof follows: outside brackets, comments and strings."""
    depth = comments = 0
    for token in _TOKEN.finditer(text):
        word = token.group()
        if word in ("/-", "-/"):
            comments = max(0, comments + (1 if word == "/-" else -1))
        elif comments:
            continue
        elif word in _OPEN:
            depth += 1
        elif word in _CLOSE:
            depth -= 1
        elif word == ":=" and depth == 0:
            return token.start()
    return None
