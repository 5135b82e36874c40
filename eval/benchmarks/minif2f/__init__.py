"""miniF2F: 488 statements of olympiad and school problems (Zheng, Han, Polu, ICLR 2022, arXiv 2109.00110).

The statements are yangky11's Lean 4 port; none of them is in this repository. ``benchmark.json`` says which
version is meant, ``tags.json`` which statements are known to be wrong or trivial and who says so, and
``core_header.lean`` stands in for Mathlib where there is none.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from eval.benchmarks.base import Problem, Split
from eval.benchmarks.minif2f.statements import Statement, digest, read_statements
from prover.errors import InputError

_HERE = Path(__file__).parent

#: In place of the published header's ``open``s, behind ``core_header.lean``.
CORE_OPENING = "set_option autoImplicit false\nopen Nat\n"

#: By the beginning of the name: the category and the difficulty, as the paper's table of subjects has them
#: ("custom": the authors' own, and textbook exercises).
_KINDS = (
    ("mathd_algebra_", "algebra", "mathd"),
    ("mathd_numbertheory_", "number_theory", "mathd"),
    ("algebra_", "algebra", "custom"),
    ("numbertheory_", "number_theory", "custom"),
    ("induction_", "induction", "custom"),
    ("aime", "aime", "aime"),
    ("amc", "amc", "amc"),
    ("imo_", "imo", "imo"),
)


@dataclass(frozen=True)
class MiniF2F:
    """The benchmark over statements given by path; without Mathlib under the core header."""

    #: A JSONL or a checkout, see :func:`~eval.benchmarks.minif2f.statements.read_statements`.
    statements: Path
    #: Whether the Lean in use has Mathlib: then each statement runs under the header it is published with.
    mathlib: bool
    name: str = field(default="minif2f", init=False)

    @property
    def version(self) -> str:
        """The pinned commit; without Mathlib also the core header's hash, for its wording makes the task."""
        pinned = str(_load("benchmark.json")["version"])
        header = hashlib.sha256(core_header().encode()).hexdigest()[:8]
        return pinned if self.mathlib else f"{pinned}+core.{header}"

    def problems(self, split: Split) -> list[Problem]:
        """Return the problems of a split, by name.

        Raises:
            InputError: the statements cannot be read, or there is none of that split.
        """
        found = [statement for statement in self._read if statement.split is split]
        if not found:
            raise InputError(
                f"{self.statements} holds no statement of the split {split} (miniF2F has valid and test)"
            )
        source = self._source(split, found)
        return [self._problem(statement, source, position) for position, statement in enumerate(found)]

    @cached_property
    def _read(self) -> list[Statement]:
        return read_statements(self.statements)

    def _source(self, split: Split, found: list[Statement]) -> str:
        """The pinned commit only if these are its statements; else the hash of what was found."""
        about = _load("benchmark.json")
        if digest(found) == about["splits"][split]["digest"]:
            return f"{about['source']} {about['commit']}"
        return f"{len(found)} statements, sha256 {digest(found)}"

    def _problem(self, statement: Statement, source: str, position: int) -> Problem:
        return Problem(
            id=statement.name,
            benchmark=self.name,
            version=self.version,
            split=statement.split,
            module=None,
            header=statement.header if self.mathlib else CORE_OPENING,
            prelude="" if self.mathlib else core_header(),
            statement=statement.text,
            tags=tags(statement),
            source=source,
            position=position,
        )


def core_header() -> str:
    """What Mathlib's definitions are replaced by: the prelude of a statement where there is no Mathlib."""
    return (_HERE / "core_header.lean").read_text(encoding="utf-8")


def tags(statement: Statement) -> tuple[str, ...]:
    """Category and difficulty by the name, and what is known about the statement.

    ``known:wrong`` and ``known:trivial`` as ``tags.json`` has it; ``known:corrected`` for one that is wrong
    in other copies, but reads here as it was corrected.
    """
    name = statement.name
    kinds = ((category, difficulty) for begin, category, difficulty in _KINDS if name.startswith(begin))
    category, difficulty = next(kinds, ("other", "other"))
    known = [_known(entry, statement) for entry in _load("tags.json") if entry["name"] == name]
    return (f"category:{category}", f"difficulty:{difficulty}", *known)


def _known(entry: dict[str, Any], statement: Statement) -> str:
    return "known:corrected" if entry.get("corrected") == statement.digest else f"known:{entry['known']}"


def _load(name: str) -> Any:
    return json.loads((_HERE / name).read_text(encoding="utf-8"))
