"""What a decoder learns from: verified proofs, and tactics that failed on the way to them.

A corpus is a file of JSON lines under xz: ``{"corpus": 1, ...}`` first, then ``{"proof": ...}``,
``{"failure": ...}`` and ``{"attempt": ...}``. It is what the store (``store.py``) holds, sorted: equal stores
make equal files.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prover.errors import InputError
from prover.generators.base import Step
from prover.theorem_file import write_atomically

VERSION = 1
_COUNTED = ("proofs", "failures", "attempts")
#: In the checkout: the proofs that the shipped checkpoint was trained on.
SHIPPED = Path(__file__).parent / "data" / "corpus.jsonl.xz"


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that a fresh Lean has accepted."""

    theorem: str
    #: The library module that declares the theorem, or the one that a synthetic theorem was made from.
    module: str
    statement: str
    #: The module's place in import order.
    position: int
    #: Its tactics, each with the goals it was run on.
    steps: tuple[Step, ...]
    #: Where the theorem comes from: ``library`` or ``synthetic``.
    source: str
    #: The benchmark's split of the module; nothing but ``train`` is ever collected.
    split: str
    #: What found it, and the tactics that the search had run by then.
    generator: str = ""
    tactics: int = 0

    @property
    def script(self) -> tuple[str, ...]:
        """Its tactics alone."""
        return tuple(step.tactic for step in self.steps)


@dataclass(frozen=True, slots=True)
class Failure:
    """A tactic that Lean refused."""

    theorem: str
    #: What it was run on, as Lean prints it.
    goals: tuple[str, ...]
    tactic: str
    #: The first line of what Lean said.
    message: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One search for a proof, and how it went."""

    theorem: str
    module: str
    #: ``library`` or ``synthetic``.
    source: str
    generator: str
    model_hash: str
    seed: int
    proved: bool
    #: Tactics that it was allowed, and those that it ran.
    budget: int
    tactics: int
    expansions: int
    seconds: float
    #: The length of the shortest open goals that were reached, over that of the first ones: below 1 it came
    #: nearer, 0 it is proved.
    closest: float


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a decoder is trained on."""

    proofs: tuple[Proof, ...]
    failures: tuple[Failure, ...]
    #: The Lean that accepted the proofs.
    lean: str = ""
    #: How they came about: nothing is learned from it, but a store that goes on knows what was tried.
    attempts: tuple[Attempt, ...] = ()


def write_corpus(corpus: Corpus, path: Path) -> None:
    """Write a corpus, compressed.

    Raises:
        InputError: it cannot be written.
    """
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in _lines(corpus))
    body = lzma.compress(text.encode("utf-8", "surrogatepass"), preset=9 | lzma.PRESET_EXTREME)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent} cannot be made: {error.strerror}") from error
    write_atomically(path, body)


def read_corpus(path: Path) -> Corpus:
    """Read a corpus.

    Raises:
        InputError: there is none, or it is damaged.
    """
    proofs: list[Proof] = []
    failures: list[Failure] = []
    attempts: list[Attempt] = []
    try:
        with lzma.open(path, "rt", encoding="utf-8", errors="surrogatepass") as file:
            head = json.loads(file.readline())
            if head.get("corpus") != VERSION:
                raise ValueError(f"no corpus of version {VERSION}")
            for line in file:
                _sort_in(json.loads(line), proofs, failures, attempts)
            if [len(proofs), len(failures), len(attempts)] != [head[name] for name in _COUNTED]:
                raise ValueError("lines are missing")
    except FileNotFoundError:
        raise InputError(f"there is no corpus {path}: make one with `prover data export`") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{path} is no corpus, or a damaged one ({error}): export it again") from error
    return Corpus(tuple(proofs), tuple(failures), head["lean"], tuple(attempts))


def _lines(corpus: Corpus) -> Iterator[Mapping[str, Any]]:
    counts = {name: len(getattr(corpus, name)) for name in _COUNTED}
    yield {"corpus": VERSION, "lean": corpus.lean, **counts}
    for proof in sorted(corpus.proofs, key=lambda p: (p.position, p.theorem, p.script)):
        yield {"proof": asdict(proof)}
    for failure in sorted(corpus.failures, key=lambda f: (f.theorem, f.goals, f.tactic)):
        yield {"failure": asdict(failure)}
    for attempt in corpus.attempts:
        yield {"attempt": asdict(attempt)}


def _sort_in(
    line: Mapping[str, Any], proofs: list[Proof], failures: list[Failure], attempts: list[Attempt]
) -> None:
    if "attempt" in line:
        attempts.append(Attempt(**line["attempt"]))
    elif "proof" in line:
        body = line["proof"]
        proofs.append(Proof(**{**body, "steps": steps_from_json(body["steps"])}))
    else:
        body = line["failure"]
        failures.append(Failure(**{**body, "goals": tuple(body["goals"])}))


def steps_from_json(body: Iterable[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Read steps as ``asdict`` made them."""
    return tuple(Step(tuple(step["goals"]), step["tactic"]) for step in body)
