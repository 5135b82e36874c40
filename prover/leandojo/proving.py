"""One theorem of a traced repository, from its first goal to the verdict of a fresh Lean.

LeanDojo's ``ProofFinished`` is a hint. What counts is our own verdict (``prover/verify.py``): the file of the
repository with the proof in place, held against the same file with a ``sorry`` there, by its own toolchain.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from prover.environment import ANY_SCOPE, Scope
from prover.errors import InputError
from prover.generators.base import TacticGenerator
from prover.lean.messages import Source
from prover.lean.pool import LeanPool
from prover.lean.toolchain import LeanCommand, choose_lean
from prover.leandojo.environment import TACTIC_SECONDS, opened_theorem
from prover.leandojo.package import traced_folder
from prover.proof_script import Script, write_down
from prover.search.best_first import Budget, SearchResult, best_first_search
from prover.verify import verify


class DojoStatus(StrEnum):
    PROVED = "proved"
    NOT_PROVED = "not proved"
    #: LeanDojo took the proof for finished, and a fresh Lean did not accept it.
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class DojoReport:
    """What became of a theorem."""

    name: str
    status: DojoStatus
    #: Its lines, where it is proved.
    proof: tuple[str, ...]
    result: SearchResult
    #: Why it was rejected.
    message: str = ""


@dataclass(frozen=True, slots=True)
class Located:
    """A theorem in its file: what stands before its proof, and after it."""

    file: Path
    before: str
    after: str

    def source(self, lines: Collection[str]) -> Source:
        """The file with these lines as the proof."""
        proof = "by\n" + "\n".join(f"  {line}" for line in lines)
        gap = "" if self.before[-1:].isspace() else " "
        text = f"{self.before}{gap}{proof}\n{self.after.lstrip()}"
        return Source(self.file.stem, str(self.file), text)


def locate(theorem: Any) -> Located:
    """Find a theorem's proof in the traced repository.

    Raises:
        InputError: it was not traced, or has no such theorem, or none whose proof can be replaced.
    """
    root = traced_folder(theorem)
    from lean_dojo.data_extraction.traced_data import TracedFile
    from lean_dojo.utils import to_json_path

    try:
        path = to_json_path(root, theorem.file_path, theorem.repo)
        traced = TracedFile.from_traced_file(root, path, theorem.repo)
    except FileNotFoundError as error:
        raise InputError(f"{theorem.file_path} of {theorem.repo.url} was not traced: {error}") from error
    found = traced.get_traced_theorem(theorem)
    if found is None:
        raise InputError(f"{theorem.file_path} of {theorem.repo.url} has no theorem {theorem.full_name}")
    start, end = found.locate_proof()
    code = traced.lean_file
    before, after = code[code.start_pos : start], code[end : code.end_pos]
    if not before.rstrip().endswith(":="):
        raise InputError(f"{theorem.full_name} has no proof behind `:=`, and cannot be given another one")
    return Located(root / theorem.file_path, before, after)


def lean_of(theorem: Any, sandbox: bool = True) -> LeanCommand:
    """The Lean of the repository that a theorem is of, for the verdict.

    Raises:
        InputError, LeanUnavailable: as :func:`prover.lean.toolchain.choose_lean`.
    """
    return choose_lean(traced_folder(theorem) / theorem.file_path, None, sandbox=sandbox)


async def prove_theorem(
    theorem: Any,
    pool: LeanPool,
    generator: TacticGenerator,
    budget: Budget,
    *,
    seed: int = 0,
    known: Collection[str] = (),
    scope: Scope = ANY_SCOPE,
    seconds: float = TACTIC_SECONDS,
) -> DojoReport:
    """Search for a proof through LeanDojo, and have a fresh Lean judge it.

    Args:
        theorem: a ``lean_dojo.Theorem``, see :func:`prover.leandojo.package.theorem_of`.
        pool: of the repository's Lean, see :func:`lean_of`.
        known: the library's constants, see :func:`prover.leandojo.goals.goals_of`.
        seconds: that a tactic may take.

    Raises:
        InputError: the repository is not traced, or has no such theorem.
        LeanUnavailable: Lean does not start, or does not come to the theorem.
    """
    located = locate(theorem)
    async with opened_theorem(theorem, known, seconds) as environment:
        result = await best_first_search(
            environment, generator, budget, statement=environment.root.pretty, seed=seed, scope=scope
        )
        found = await write_down(environment, result.proof, theorem.full_name) if result.proof else None
    if found is None:
        return DojoReport(theorem.full_name, DojoStatus.NOT_PROVED, (), result)
    return await _judged(theorem.full_name, located, pool, found, result)


async def _judged(
    name: str, located: Located, pool: LeanPool, found: Script, result: SearchResult
) -> DojoReport:
    """The verdict; a proof that fails as a person would write it is tried as the search ran it."""
    fault = ""
    for lines in dict.fromkeys((found.lines, found.flat)):
        verdict = await verify(pool, located.source(["sorry"]), located.source(lines))
        own = verdict.verdict(name)
        if own.accepted and not verdict.fault:
            return DojoReport(name, DojoStatus.PROVED, lines, result)
        fault = verdict.fault or own.reason
    return DojoReport(name, DojoStatus.REJECTED, (), result, fault)
