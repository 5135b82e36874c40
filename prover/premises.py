"""The library as premises: every declaration a proof may use, and which modules can see which.

Read once from a running Lean and kept in the cache; which premises are *accessible* to a proof is then a
matter of the modules it imports (LeanDojo, Yang et al. 2023, section 4, "accessible premises").
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from prover.errors import InputError, LeanUnavailable
from prover.lean.messages import (
    Answer,
    Declaration,
    DeclarationsRequest,
    InfoRequest,
    Module,
    ModulesRequest,
    OpenRequest,
    Request,
    Source,
    Status,
)
from prover.lean.pool import LeanPool
from prover.lean.process import LeanProcess, ProcessFailure
from prover.lean.toolchain import LeanCommand
from prover.settings import settings

FORMAT = "premise-corpus 1"
#: What the corpus of the default library holds.
LIBRARY = ("Init", "Std")
#: Declarations asked for at a time, and the seconds that may take.
_WINDOW, _SECONDS = 500, 120.0

#: Takes (text, done, total), as the installer's does.
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PremiseCorpus:
    """Declarations of a library, module by module in import order."""

    #: The Lean they were read from.
    lean: str
    #: Each after those it imports.
    modules: tuple[Module, ...]
    #: In the order of ``modules``; what Lean generated (recursors, ``injEq`` ...) is left out.
    premises: tuple[Declaration, ...]

    @cached_property
    def order(self) -> dict[str, int]:
        """Place of each module in import order."""
        return {module.name: i for i, module in enumerate(self.modules)}

    @cached_property
    def _closures(self) -> dict[str, frozenset[str]]:
        closures: dict[str, frozenset[str]] = {}
        for module in self.modules:
            below = frozenset[str]().union(*(closures[name] for name in module.imports))
            closures[module.name] = below | {module.name}
        return closures

    def accessible(self, module: str) -> frozenset[str]:
        """The modules that a module sees: what it imports, directly or not, without itself.

        Raises:
            KeyError: there is no such module.
        """
        return self._closures[module] - {module}

    def save(self, path: Path) -> None:
        """Write it whole, as gzipped JSON lines: a head with the modules, then a premise a line."""
        head = {"format": FORMAT, "lean": self.lean, "modules": [asdict(module) for module in self.modules]}
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        with gzip.open(scratch, "wt", encoding="utf-8", compresslevel=6) as file:
            for line in (head, *(asdict(premise) for premise in self.premises)):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        scratch.replace(path)

    @classmethod
    def load(cls, path: Path) -> PremiseCorpus:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: it cannot be read, or is something else.
        """
        try:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                head, *rest = map(json.loads, file)
            if head["format"] != FORMAT:
                raise ValueError(head["format"])
            modules = tuple(Module(m["name"], tuple(m["imports"])) for m in head["modules"])
            premises = tuple(Declaration(**{**d, "constants": tuple(d["constants"])}) for d in rest)
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no premise corpus ({error}): delete it") from error
        return cls(head["lean"], modules, premises)


# --- generated declarations -----------------------------------------------------------------------

_GENERATED = re.compile(
    r"""(?:^|\.)(?:
        rec|recOn|casesOn|below|brecOn|binductionOn|ibelow|ndrec|ndrecOn
      | noConfusion|noConfusionType|noConfusionEnum
      | ctorIdx|toCtorIdx|ctorElim|ctorElimType|ofNat_ctorIdx|sizeOf_spec|sizeOf_eq|injEq|inj
      | (?:match|proof|eq|hcongr|brecOn|rec|fun_cases|induct)_\d+(?:_\d+)*|eq_def|eq_unfold|congr_simp
      | induct(?:_unfolding)?|mutual_induct(?:_unfolding)?|fun_cases(?:_unfolding)?|partial_fixpoint_induct
      | _?sunfold|_unsafe_rec|_cstage\d+|_.*
    )(?:\.|$)""",
    re.VERBOSE,
)


def is_generated(name: str) -> bool:
    """Lean made this declaration by itself (a recursor, a matcher, ``injEq``, an equation ...)."""
    return _GENERATED.search(name) is not None


# --- reading it from Lean -------------------------------------------------------------------------


def corpus_path(lean: str) -> Path:
    """Where the cache holds the library's premises for a Lean version."""
    version = re.sub(r"[^\w.]+", "-", lean)
    return settings().cache / "premises" / f"{version}-{'-'.join(LIBRARY)}.jsonl.gz"


async def lean_version(pool: LeanPool) -> str:
    """Return the version that a pool's Lean says it is.

    Raises:
        LeanUnavailable: Lean cannot be started, or fails.
    """
    process = await pool.acquire()
    try:
        return str((await process.ask(InfoRequest(), _SECONDS)).body["lean"])
    except ProcessFailure as failure:
        raise LeanUnavailable(f"Lean did not say its version.\n{failure}") from failure
    finally:
        await pool.release(process)


async def library_corpus_beside(command: LeanCommand, lean: str, report: Report) -> PremiseCorpus:
    """As :func:`library_corpus`, while every process of the pool is in use; a Lean is started if it must be.

    Raises:
        LeanUnavailable: Lean cannot be started, or fails while it lists them.
        InputError: the cached file is damaged.
    """
    path = corpus_path(lean)
    if path.exists():
        return await asyncio.to_thread(PremiseCorpus.load, path)
    async with LeanPool(command, 1, spares=0) as pool:
        return await library_corpus(pool, report)


async def library_corpus(pool: LeanPool, report: Report) -> PremiseCorpus:
    """Return the premises of the library of a pool's Lean, read once and then from the cache.

    Raises:
        LeanUnavailable: Lean cannot be started, or fails while it lists them.
        InputError: the cached file is damaged.
    """
    path = corpus_path(lean := await lean_version(pool))
    process = await pool.acquire()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            (await read_corpus(process, lean, LIBRARY, report)).save(path)
        return PremiseCorpus.load(path)
    except ProcessFailure as failure:
        raise LeanUnavailable(f"Lean did not survive listing its library.\n{failure}") from failure
    except OSError as error:
        raise LeanUnavailable(
            f"The cache cannot be written: {error}. Name another folder in LEAN_PROVER_CACHE."
        ) from error
    finally:
        await pool.release(process)


async def read_corpus(
    process: LeanProcess, lean: str, imports: tuple[str, ...], report: Report
) -> PremiseCorpus:
    """List everything that a file with these imports can use.

    Raises:
        ProcessFailure: the process died or hung.
        LeanUnavailable: Lean answers with an error.
    """
    opening = "" if "Init" in imports else "prelude\n"  # Lean imports Init unless told otherwise
    text = opening + "".join(f"import {name}\n" for name in imports)
    await _ask(process, OpenRequest(Source("Premises", "premises.lean", text)))
    modules = (await _ask(process, ModulesRequest())).modules
    premises: list[Declaration] = []
    start: int | None = 0
    while start is not None:
        answer = await _ask(process, DeclarationsRequest(start, _WINDOW))
        premises += [_on_one_line(d) for d in answer.declarations if not is_generated(d.name)]
        start = answer.body["next"]
        report("Reading the library's declarations (once)", start or 0, 0)
    return PremiseCorpus(lean, modules, tuple(premises))


async def _ask(process: LeanProcess, request: Request) -> Answer:
    answer = await process.ask(request, _SECONDS)
    if answer.status is not Status.OK:
        raise LeanUnavailable(f"Lean cannot list its library: {answer.error}")
    return answer


def _on_one_line(declaration: Declaration) -> Declaration:
    text = " ".join(declaration.type.split())
    return Declaration(declaration.name, declaration.kind, declaration.module, text, declaration.constants)


def by_module(corpus: PremiseCorpus) -> Iterator[tuple[Module, list[Declaration]]]:
    """Yield each module with what it declares."""
    declared: dict[str, list[Declaration]] = {module.name: [] for module in corpus.modules}
    for premise in corpus.premises:
        declared[premise.module].append(premise)
    for module in corpus.modules:
        yield module, declared[module.name]
