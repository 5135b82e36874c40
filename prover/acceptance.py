"""From proofs that a search believes in to a file that a fresh Lean accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prover.lean.messages import Sorry, Source
from prover.lean.pool import LeanPool
from prover.proof_script import Script
from prover.search.best_first import SearchResult
from prover.theorem_file import Replacement, TheoremFile
from prover.verify import Verification, verify


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the search made of one goal of one ``sorry``."""

    sorry: Sorry
    result: SearchResult | None
    found: Script | None
    crashes: int
    message: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the fresh Lean accepted; a ``sorry`` goes by the byte it starts at."""

    places: dict[int, Replacement]
    #: Proofs that were refused, and why.
    refused: dict[int, str]
    #: The file's text with the accepted proofs in place.
    text: str


async def accept(
    file: TheoremFile, pool: LeanPool, dependencies: Sequence[Source], attempts: Sequence[Attempt]
) -> Accepted:
    """Put the proofs in place and keep those that a fresh Lean accepts.

    A proof that fails as a person would write it gets a second chance as the search ran it; what fails then
    as well is taken out, and the rest is judged again, until the whole file passes.

    Raises:
        LeanUnavailable: Lean cannot be started.
    """
    flat: set[int] = set()
    refused: dict[int, str] = {}
    while places := _places(attempts, flat, refused):
        spliced = file.with_proofs(places.values())
        verdict = await verify(pool, file.source(), spliced.source(), dependencies)
        bad = _faults(verdict, attempts, places, file)
        if not bad:
            return Accepted(places, refused, spliced.raw)
        for start, reason in bad.items():
            if start in flat:
                refused[start] = reason
            flat.add(start)
    return Accepted({}, refused, file.raw)


def _places(attempts: Sequence[Attempt], flat: set[int], refused: dict[int, str]) -> dict[int, Replacement]:
    """One replacement a ``sorry``, for those of declarations of which every ``sorry`` has a proof."""
    incomplete = {a.sorry.declaration for a in attempts if not a.found or a.sorry.start.byte in refused}
    groups: dict[int, list[Attempt]] = {}
    for attempt in attempts:
        if attempt.sorry.declaration not in incomplete:
            groups.setdefault(attempt.sorry.start.byte, []).append(attempt)
    return {start: _replacement(group, as_flat=start in flat) for start, group in groups.items()}


def _replacement(group: Sequence[Attempt], *, as_flat: bool) -> Replacement:
    """The proof for one ``sorry``; where it stands for several goals, the first proof that fits each."""
    sorry = group[0].sorry
    scripts = [a.found.flat if as_flat else a.found.lines for a in group if a.found is not None]
    distinct = list(dict.fromkeys(scripts))
    lines = distinct[0] if len(distinct) == 1 else _first_that_fits(distinct)
    return Replacement(sorry.start.byte, sorry.end.byte, lines, sorry.tactic)


def _first_that_fits(scripts: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    lines = ["first"]
    for script in scripts:
        opening = [f"  | ({script[0]}", *(f"     {line}" for line in script[1:])]
        lines += [*opening[:-1], opening[-1] + ")"]
    return tuple(lines)


def _faults(
    verdict: Verification,
    attempts: Sequence[Attempt],
    places: dict[int, Replacement],
    file: TheoremFile,
) -> dict[int, str]:
    """Which proofs are to blame: those of refused declarations, those an error stands in, else all."""
    bad: dict[int, str] = {}
    for error in verdict.errors:
        blamed = _proof_at(error.position.byte, places, file)
        if blamed is not None:
            bad.setdefault(blamed, error.text)
    for attempt in attempts:
        start = attempt.sorry.start.byte
        judged = verdict.verdict(attempt.sorry.declaration)
        if start in places and not judged.accepted:
            bad.setdefault(start, judged.reason)
    return bad or (dict.fromkeys(places, verdict.fault) if verdict.fault else {})


def _proof_at(byte: int, places: dict[int, Replacement], file: TheoremFile) -> int | None:
    """The proof in which a place of the spliced file is; None where it is in what the author wrote."""
    size = len(file.text.encode())
    for start, place in places.items():
        earlier = [other for other in places.values() if other.start_byte < start]
        begin = start + len(file.with_proofs(earlier).text.encode()) - size
        end = place.end_byte + len(file.with_proofs([*earlier, place]).text.encode()) - size
        if begin <= byte <= end:
            return start
    return None
