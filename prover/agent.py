"""The proving agent: what becomes of a file, from its first ``sorry`` to the verdict of a fresh Lean.

    theorem file -> Lean environment -> goals -> search -> proof -> splice -> verify in a fresh Lean -> report

Start reading at :func:`prove_file`; :func:`_attempt` is the story of one ``sorry``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from prover.errors import InputError, LeanUnavailable
from prover.generators import make_generator
from prover.generators.base import TacticGenerator
from prover.lean.messages import Sorry, Source
from prover.lean.pool import LeanPool
from prover.lean.toolchain import LeanCommand, choose_lean, mounts_of
from prover.lean_environment import LeanDojo, LeanFile, open_file
from prover.proof_script import format_flat, format_proof, replay, shorten
from prover.reports import (
    CheckReport,
    FileReport,
    Finished,
    OnEvent,
    Options,
    Progress,
    Stage,
    Started,
    TheoremReport,
    TheoremStatus,
)
from prover.search.best_first import Budget, SearchResult, best_first_search
from prover.search.best_first import Progress as SearchProgress
from prover.theorem_file import Replacement, TheoremFile, project_sources, read_theorem_file
from prover.verify import Verification, verify

_EXAMPLE = re.compile(r"(?:^|\.)_example_\d+$")
_STATEMENT_PATH = Path("statement.lean")


@dataclass(frozen=True, slots=True)
class _Found:
    """A proof that the search believes in."""

    flat: tuple[str, ...]
    #: As a person would write it, with bullets.
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What the search made of one goal of one ``sorry``."""

    sorry: Sorry
    result: SearchResult | None
    found: _Found | None
    crashes: int
    message: str


# --- files ------------------------------------------------------------------------------------------


async def prove_files(paths: Sequence[Path], options: Options, on_event: OnEvent) -> list[FileReport]:
    """Prove the ``sorry``s of files, one file after the other; when cancelled, report what is done by then.

    Raises:
        InputError: a file cannot be read, does not compile, or an option names nothing.
        LeanUnavailable: Lean cannot be installed or started.
    """
    generator = make_generator(options.generator)
    reports: list[FileReport] = []
    try:
        # Neighbours that run under the same Lean share its processes.
        for command, together in groupby(paths, lambda path: _choose(path, options, on_event)):
            neighbours = list(together)
            async with _pool(command, neighbours, options, on_event) as pool:
                for path in neighbours:
                    file, known = read_theorem_file(path), project_sources(path)
                    reports.append(await prove_file(file, pool, generator, options, on_event, known))
    except asyncio.CancelledError:
        if not reports:
            raise
    return reports


async def prove_statement(statement: str, options: Options, on_event: OnEvent) -> FileReport:
    """Prove a bare statement: a proposition, or a whole ``theorem`` without its proof.

    Raises:
        InputError: it does not elaborate.
        LeanUnavailable: Lean cannot be installed or started.
    """
    generator = make_generator(options.generator)
    command = _choose(None, options, on_event)
    file = TheoremFile(_STATEMENT_PATH, statement_source(statement))
    async with _pool(command, [], options, on_event) as pool:
        return await prove_file(file, pool, generator, options, on_event)


async def check_file(candidate: Path, original: Path, options: Options, on_event: OnEvent) -> CheckReport:
    """Hold a finished file against the original with its ``sorry``s.

    Raises:
        InputError: a file cannot be read, or the original does not compile.
        LeanUnavailable: Lean cannot be installed or started.
    """
    first, second = read_theorem_file(original), read_theorem_file(candidate)
    command = _choose(original, options, on_event)
    async with _pool(command, [original], replace(options, workers=1), on_event) as pool:
        on_event(Stage("Checking in a fresh Lean"))
        sources = Source(first.source().name, str(candidate), second.text)
        verdict = await verify(pool, first.source(), sources, project_sources(original))
    verdicts = verdict.verdicts
    if verdict.fault:
        verdicts = tuple(
            replace(v, accepted=False, reason=verdict.fault) if v.accepted else v for v in verdicts
        )
    return CheckReport(str(candidate), verdicts, verdict.messages, verdict.accepted)


async def prove_file(
    file: TheoremFile,
    pool: LeanPool,
    generator: TacticGenerator,
    options: Options,
    on_event: OnEvent,
    dependencies: Sequence[Source] = (),
) -> FileReport:
    """Prove the ``sorry``s of one file, and have a fresh Lean judge the file with the proofs in place.

    Args:
        dependencies: the project's own modules that the file imports, in order.

    Raises:
        InputError, LeanUnavailable: as :func:`prove_files`.
    """
    source = file.source()
    async with open_file(pool, source, dependencies, options.workers) as lean_file:
        chosen = _chosen(lean_file.sorries, options.theorems, source)
        attempts, cancelled = await _attempt_all(lean_file, chosen, generator, options, on_event)
    reports = [_report(file, attempt) for attempt in attempts]
    text = file.raw
    if any(attempt.found for attempt in attempts):
        on_event(Stage("Verifying in a fresh Lean"))
        reports, text = await _judge(file, pool, dependencies, attempts)
    for report in reports:
        on_event(Finished(report))
    if cancelled and (task := asyncio.current_task()) is not None:
        task.uncancel()
    return FileReport(str(file.path), tuple(reports), text if text != file.raw else None)


# --- one sorry after the other ----------------------------------------------------------------------


async def _attempt_all(
    file: LeanFile, chosen: Sequence[int], generator: TacticGenerator, options: Options, on_event: OnEvent
) -> tuple[list[_Attempt], bool]:
    """Attempt the chosen ``sorry``s, several side by side when there are several workers."""
    abreast = max(1, min(options.workers, len(chosen)))
    seats = asyncio.Semaphore(abreast)
    attempts = {i: _Attempt(file.sorries[i], None, None, 0, "interrupted before its turn") for i in chosen}

    async def attempt(number: int, index: int) -> None:
        async with seats:
            dojo = LeanDojo(file, index, options.workers // abreast)
            story = _Story(file, dojo, generator, options, on_event, number, len(chosen))
            attempts[index] = await _attempt(story, file.sorries[index])
            await _trust_if_complete(file, attempts, file.sorries[index].declaration)

    tasks = [asyncio.create_task(attempt(n, i)) for n, i in enumerate(chosen, 1)]
    cancelled = False
    try:
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        cancelled = True
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [attempts[i] for i in chosen], cancelled


@dataclass(frozen=True, slots=True)
class _Story:
    """What an attempt needs to know."""

    file: LeanFile
    dojo: LeanDojo
    generator: TacticGenerator
    options: Options
    on_event: OnEvent
    number: int
    total: int


async def _attempt(story: _Story, sorry: Sorry) -> _Attempt:
    """Search for a proof of one goal, make it short, and write it as a person would."""
    if not sorry.is_prop:
        return _Attempt(sorry, None, None, 0, "it stands for data, not for a proof: define it yourself")
    name, crashes = display_name(sorry), story.file.crashes
    story.on_event(Started(name, story.number, story.total, sorry.goal.pretty))
    budget = Budget(story.options.max_expansions, story.options.max_tactics, story.options.timeout)
    try:
        result = await best_first_search(
            story.dojo,
            story.generator,
            budget,
            statement=sorry.goal.pretty,
            seed=story.options.seed,
            on_event=lambda progress: story.on_event(_progress(story, name, progress)),
        )
        found = await _write_down(story.dojo, result)
        await story.dojo.close()
    except LeanUnavailable as failure:
        return _Attempt(sorry, None, None, story.file.crashes - crashes, str(failure))
    return _Attempt(sorry, result, found, story.file.crashes - crashes, "")


async def _write_down(dojo: LeanDojo, result: SearchResult) -> _Found | None:
    if result.proof is None:
        return None
    short = await shorten(dojo, result.proof)
    steps = await replay(dojo, short)
    flat = tuple(format_flat(short))
    return _Found(flat, tuple(format_proof(steps)) if steps is not None else flat)


async def _trust_if_complete(file: LeanFile, attempts: dict[int, _Attempt], declaration: str) -> None:
    """Once every ``sorry`` of a declaration is proved, later proofs may use it."""
    own = [i for i, sorry in enumerate(file.sorries) if sorry.declaration == declaration]
    if declaration and all(i in attempts and attempts[i].found for i in own):
        await file.trust([declaration])


# --- the verdict ------------------------------------------------------------------------------------


async def _judge(
    file: TheoremFile, pool: LeanPool, dependencies: Sequence[Source], attempts: Sequence[_Attempt]
) -> tuple[list[TheoremReport], str]:
    """Put the proofs in place and keep those that a fresh Lean accepts.

    A proof that fails as a person would write it gets a second chance as the search ran it; what fails then
    as well is taken out, and the rest is judged again, until the whole file passes.
    """
    flat: set[int] = set()
    refused: dict[int, str] = {}
    while places := _places(attempts, flat, refused):
        spliced = file.with_proofs(places.values())
        verdict = await verify(pool, file.source(), spliced.source(), dependencies)
        bad = _faults(verdict, attempts, places, file)
        if not bad:
            break
        for start, reason in bad.items():
            if start in flat:
                refused[start] = reason
            flat.add(start)
    reports = [_judged(_report(file, attempt), attempt, places, refused) for attempt in attempts]
    return reports, file.with_proofs(places.values()).raw


def _places(
    attempts: Sequence[_Attempt], flat: set[int], refused: dict[int, str]
) -> dict[int, Replacement]:
    """One replacement a ``sorry``, for those of declarations of which every ``sorry`` has a proof."""
    incomplete = {a.sorry.declaration for a in attempts if not a.found or a.sorry.start.byte in refused}
    groups: dict[int, list[_Attempt]] = {}
    for attempt in attempts:
        if attempt.sorry.declaration not in incomplete:
            groups.setdefault(attempt.sorry.start.byte, []).append(attempt)
    return {start: _replacement(group, as_flat=start in flat) for start, group in groups.items()}


def _replacement(group: Sequence[_Attempt], *, as_flat: bool) -> Replacement:
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
    attempts: Sequence[_Attempt],
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
    """The last proof that begins at or before a place of the spliced file."""
    size = len(file.text.encode())
    found = None
    for start in sorted(places):
        earlier = file.with_proofs(place for other, place in places.items() if other < start)
        if start + len(earlier.text.encode()) - size <= byte:
            found = start
    return found


# --- reports ----------------------------------------------------------------------------------------


def display_name(sorry: Sorry) -> str:
    """The name of the declaration; "" for an ``example``."""
    return "" if _EXAMPLE.search(sorry.declaration) else sorry.declaration


def _report(file: TheoremFile, attempt: _Attempt) -> TheoremReport:
    """What the search alone can tell: nothing is proved before the verdict."""
    sorry, result = attempt.sorry, attempt.result
    counts = result.counts if result else None
    return TheoremReport(
        file=str(file.path),
        name=display_name(sorry),
        line=sorry.start.line,
        column=sorry.start.column,
        status=_status(attempt),
        statement=sorry.goal.pretty,
        proof=None,
        expansions=counts.expansions if counts else 0,
        tactics=counts.tactics if counts else 0,
        crashes=attempt.crashes,
        seconds=result.seconds if result else 0.0,
        lean_seconds=counts.lean_seconds if counts else 0.0,
        message=attempt.message or (f"no proof found ({result.status})" if result else ""),
        tree=result.tree.to_json() if result else None,
    )


def _status(attempt: _Attempt) -> TheoremStatus:
    if attempt.result is not None:
        return TheoremStatus.NOT_PROVED
    return TheoremStatus.CRASHED if attempt.crashes else TheoremStatus.SKIPPED


def _judged(
    report: TheoremReport, attempt: _Attempt, places: dict[int, Replacement], refused: dict[int, str]
) -> TheoremReport:
    """The report after the verdict; ``places`` holds the proofs that were accepted."""
    start = attempt.sorry.start.byte
    if start in places:
        return replace(report, status=TheoremStatus.PROVED, proof=places[start].lines, message="")
    if start in refused:
        return replace(report, status=TheoremStatus.REJECTED, message=refused[start])
    if attempt.found:
        return replace(report, message="this goal is proved, but not every sorry of its declaration")
    return report


def _progress(story: _Story, name: str, progress: SearchProgress) -> Progress:
    rate = progress.counts.tactics / progress.seconds if progress.seconds > 0 else 0.0
    return Progress(
        name,
        story.number,
        story.total,
        progress.counts.expansions,
        progress.counts.tactics,
        rate,
        progress.best_goal,
    )


# --- beginnings -------------------------------------------------------------------------------------


def _choose(path: Path | None, options: Options, on_event: OnEvent) -> LeanCommand:
    return choose_lean(path, options.lean, lambda text, done, total: on_event(Stage(text, done, total)))


@asynccontextmanager
async def _pool(
    command: LeanCommand, paths: Sequence[Path], options: Options, on_event: OnEvent
) -> AsyncIterator[LeanPool]:
    on_event(Stage(f"Starting {command.description}"))
    async with LeanPool(command, options.workers, mounts=mounts_of(paths)) as pool:
        yield pool


def _chosen(sorries: Sequence[Sorry], names: Sequence[str], source: Source) -> list[int]:
    """The ``sorry``s to prove, by the names asked for (whole, or the last part)."""
    answering = [{sorry.declaration, sorry.declaration.split(".")[-1]} for sorry in sorries]
    unknown = [name for name in names if not any(name in known for known in answering)]
    if unknown:
        raise InputError(f"{source.path} has no sorry in {', '.join(unknown)}")
    return [i for i, known in enumerate(answering) if not names or known & set(names)]


def statement_source(statement: str) -> str:
    """Make a file of a bare statement, or of a theorem without its proof."""
    text = statement.strip()
    if not re.match(r"(?:theorem|lemma|example)\b", text):
        text = f"theorem statement : {text}"
    text = re.sub(r"^lemma\b", "theorem", text)
    if not re.search(r"\bsorry\b", text):
        text = f"{text.removesuffix(':=').rstrip()} := by sorry"
    header = ["set_option autoImplicit false"]
    # The usual notations, which Mathlib would bring.
    header += [f'notation "{n}" => {t}' for n, t in (("ℕ", "Nat"), ("ℤ", "Int")) if n in text]
    return "\n".join([*header, text]) + "\n"
