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

from prover.acceptance import Accepted, Attempt, accept
from prover.choosing import check_generator, generator_by_name, needs_scope
from prover.environment import ANY_SCOPE
from prover.errors import InputError, LeanUnavailable, ModelUnavailable, ProverError
from prover.generators.base import Learner, Step, TacticGenerator
from prover.lean.messages import Sorry, Source
from prover.lean.pool import LeanPool
from prover.lean.toolchain import LeanCommand, choose_lean, mounts_of
from prover.lean_environment import LeanDojo, LeanFile, open_file
from prover.proof_script import write_down
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
from prover.search.best_first import Budget, best_first_search
from prover.search.best_first import Progress as SearchProgress
from prover.theorem_file import TheoremFile, project_sources, read_theorem_file
from prover.verify import verify

_EXAMPLE = re.compile(r"(?:^|\.)_example_\d+$")
_STATEMENT_PATH = Path("statement.lean")


# --- files ------------------------------------------------------------------------------------------


async def prove_files(paths: Sequence[Path], options: Options, on_event: OnEvent) -> list[FileReport]:
    """Prove the ``sorry``s of files, one file after the other; when cancelled, report what is done by then.

    A file that is at fault, or that Lean does not survive, costs the others nothing: its report says so.

    Raises:
        InputError: an option names nothing.
        LeanUnavailable: Lean cannot be installed.
    """
    check_generator(options.generator)
    reports: list[FileReport] = []
    try:
        # Neighbours that run under the same Lean share its processes.
        for command, together in groupby(paths, lambda path: _choose(path, options, on_event)):
            neighbours = list(together)
            async with _equipped(command, neighbours, options, on_event) as (pool, generator):
                for path in neighbours:
                    reports.append(await _prove_path(path, pool, generator, options, on_event))
                    if _is_cancelled():
                        return reports
    except asyncio.CancelledError:
        if not reports:
            raise
    return reports


async def _prove_path(
    path: Path, pool: LeanPool, generator: TacticGenerator, options: Options, on_event: OnEvent
) -> FileReport:
    try:
        file, dependencies = read_theorem_file(path), project_sources(path)
        return await prove_file(file, pool, generator, options, on_event, dependencies)
    except ProverError as fault:
        return FileReport(str(path), (), None, fault)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def prove_statement(statement: str, options: Options, on_event: OnEvent) -> FileReport:
    """Prove a bare statement: a proposition, or a whole ``theorem`` without its proof.

    Raises:
        InputError: it does not elaborate.
        LeanUnavailable: Lean cannot be installed or started.
    """
    async with equipped(options, on_event) as (pool, generator):
        return await prove_text(statement_source(statement), pool, generator, options, on_event)


async def prove_text(
    text: str, pool: LeanPool, generator: TacticGenerator, options: Options, on_event: OnEvent
) -> FileReport:
    """Prove the ``sorry``s of a file that is not on disk, with what :func:`equipped` has started.

    Raises:
        InputError: it does not compile.
        LeanUnavailable: Lean cannot be started, or does not survive it.
    """
    return await prove_file(TheoremFile(_STATEMENT_PATH, text), pool, generator, options, on_event)


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
    return CheckReport(str(candidate), verdicts, verdict.messages, verdict.accepted, verdict.fault)


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
        InputError: the file does not compile, or an option names nothing in it.
        LeanUnavailable: Lean cannot be started, or does not survive the file.
    """
    source = file.source()
    async with open_file(pool, source, dependencies, options.workers) as lean_file:
        chosen = _chosen(lean_file.sorries, options.theorems, source)
        attempts = await _attempt_all(file, lean_file, chosen, generator, options, on_event)
    reports = [_report(file, attempt) for attempt in attempts]
    text = file.raw
    if any(attempt.found for attempt in attempts):
        on_event(Stage("Verifying in a fresh Lean"))
        accepted = await accept(file, pool, dependencies, attempts)
        reports = [_judged(r, a, accepted) for r, a in zip(reports, attempts, strict=True)]
        text = accepted.text
    for report in reports:
        on_event(Finished(report))
    return FileReport(str(file.path), tuple(reports), text if text != file.raw else None)


# --- one sorry after the other ----------------------------------------------------------------------


async def _attempt_all(
    theorems: TheoremFile,
    file: LeanFile,
    chosen: Sequence[int],
    generator: TacticGenerator,
    options: Options,
    on_event: OnEvent,
) -> list[Attempt]:
    """Attempt the chosen ``sorry``s, several side by side; when cancelled, return what is done by then."""
    abreast = max(1, min(options.workers, len(chosen)))
    seats = asyncio.Semaphore(abreast)
    attempts = {i: Attempt(file.sorries[i], None, None, 0, "interrupted before its turn") for i in chosen}

    async def attempt(number: int, index: int) -> None:
        async with seats:
            dojo = LeanDojo(file, index, options.workers // abreast)
            story = _Story(theorems, file, dojo, generator, options, on_event, number, len(chosen))
            attempts[index] = await _attempt(story, file.sorries[index])
            await _trust_if_complete(file, attempts, file.sorries[index].declaration)

    tasks = [asyncio.create_task(attempt(n, i)) for n, i in enumerate(chosen, 1)]
    try:
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        pass  # the task stays marked as cancelled, and whoever goes on to the next file looks there
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [attempts[i] for i in chosen]


@dataclass(frozen=True, slots=True)
class _Story:
    """What an attempt needs to know."""

    theorems: TheoremFile
    file: LeanFile
    dojo: LeanDojo
    generator: TacticGenerator
    options: Options
    on_event: OnEvent
    number: int
    total: int


async def _attempt(story: _Story, sorry: Sorry) -> Attempt:
    """Search for a proof of one goal, make it short, and write it as a person would."""
    if not sorry.is_prop:
        return Attempt(sorry, None, None, 0, "it stands for data, not for a proof: define it yourself")
    name, crashes = display_name(sorry), story.file.crashes
    story.on_event(Started(name, story.number, story.total, sorry.goal.pretty))
    budget = Budget(story.options.max_expansions, story.options.max_tactics, story.options.timeout)
    try:
        is_told = needs_scope(story.options.generator, story.options.decoder)
        scope = await story.dojo.scope() if is_told else ANY_SCOPE
        result = await best_first_search(
            story.dojo,
            story.generator,
            budget,
            statement=story.theorems.statement_before(sorry.start.byte) or sorry.goal.pretty,
            seed=story.options.seed,
            length_exponent=story.options.length_exponent,
            scope=scope,
            on_event=lambda progress: story.on_event(_progress(story, name, progress)),
        )
        found = await write_down(story.dojo, result.proof, sorry.declaration) if result.proof else None
        if found is not None and isinstance(story.generator, Learner):
            # A hint as the proof itself is until the end: the tactics did work.
            story.generator.learn([Step(step.before, step.tactic) for step in found.steps], None)
        await story.dojo.close()
    except (LeanUnavailable, ModelUnavailable) as failure:
        return Attempt(sorry, None, None, story.file.crashes - crashes, str(failure))
    return Attempt(sorry, result, found, story.file.crashes - crashes, "")


async def _trust_if_complete(file: LeanFile, attempts: dict[int, Attempt], declaration: str) -> None:
    """Once every ``sorry`` of a declaration is proved, later proofs may use it."""
    own = [i for i, sorry in enumerate(file.sorries) if sorry.declaration == declaration]
    if declaration and all(i in attempts and attempts[i].found for i in own):
        await file.trust([declaration])


# --- reports ----------------------------------------------------------------------------------------


def display_name(sorry: Sorry) -> str:
    """The name of the declaration; "" for an ``example``."""
    return "" if _EXAMPLE.search(sorry.declaration) else sorry.declaration


def _report(file: TheoremFile, attempt: Attempt) -> TheoremReport:
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


def _status(attempt: Attempt) -> TheoremStatus:
    if attempt.result is not None:
        return TheoremStatus.NOT_PROVED
    return TheoremStatus.CRASHED if attempt.crashes else TheoremStatus.SKIPPED


def _judged(report: TheoremReport, attempt: Attempt, accepted: Accepted) -> TheoremReport:
    """The report after the verdict."""
    start = attempt.sorry.start.byte
    if start in accepted.places:
        proof = accepted.places[start].lines
        return replace(report, status=TheoremStatus.PROVED, proof=proof, message="")
    if start in accepted.refused:
        return replace(report, status=TheoremStatus.REJECTED, message=accepted.refused[start])
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
    return choose_lean(
        path, options.lean, lambda text, done, total: on_event(Stage(text, done, total)), options.sandbox
    )


@asynccontextmanager
async def _pool(
    command: LeanCommand, paths: Sequence[Path], options: Options, on_event: OnEvent
) -> AsyncIterator[LeanPool]:
    on_event(Stage(f"Starting {command.description}"))
    async with LeanPool(command, options.workers, mounts=mounts_of(paths)) as pool:
        yield pool


@asynccontextmanager
async def equipped(options: Options, on_event: OnEvent) -> AsyncIterator[tuple[LeanPool, TacticGenerator]]:
    """Lean processes and a tactic generator for statements that belong to no file.

    Raises:
        InputError: an option names nothing.
        LeanUnavailable: Lean cannot be installed.
    """
    check_generator(options.generator)
    command = _choose(None, options, on_event)
    async with _equipped(command, [], options, on_event) as ready:
        yield ready


@asynccontextmanager
async def _equipped(
    command: LeanCommand, paths: Sequence[Path], options: Options, on_event: OnEvent
) -> AsyncIterator[tuple[LeanPool, TacticGenerator]]:
    """Lean processes, and a tactic generator that knows what it needs of them."""

    def report(text: str, done: int, total: int) -> None:
        on_event(Stage(text, done, total))

    async with (
        _pool(command, paths, options, on_event) as pool,
        generator_by_name(options.generator, pool, report, options.decoder, options.remember) as generator,
    ):
        yield pool, generator


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
