"""LeanDojo's benchmark: theorems of a repository, splits, traced tactics, and the corpus of premises.

A folder as LeanDojo publishes it (Yang et al. 2023, arXiv 2306.15626, section 4)::

    corpus.jsonl                        a file a line, in import order: path, imports, premises
    random/{train,val,test}.json        theorems with their tactics, split at random
    novel_premises/{train,val,test}.json    split so that test proofs use premises that no training proof uses
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prover.errors import InputError
from prover.generators.base import Step
from prover.generators.printed import as_statement
from prover.leandojo.goals import goal_texts
from prover.training.examples import Proof

WAYS = ("random", "novel_premises")
#: Our names of the splits, and LeanDojo's.
SPLITS = {"train": "train", "valid": "val", "test": "test"}
#: Where proofs come from that people wrote.
SOURCE = "leandojo"


@dataclass(frozen=True, slots=True)
class TracedStep:
    """A tactic of a proof that a person wrote, and the state it was run on, as Lean printed it."""

    tactic: str
    before: str
    #: Full names of the premises that it names.
    premises: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BenchmarkTheorem:
    """A theorem, and where it stands: lines and columns from 1, the end exclusive."""

    url: str
    commit: str
    file: Path
    name: str
    start: tuple[int, int]
    end: tuple[int, int]
    steps: tuple[TracedStep, ...]

    @property
    def module(self) -> str:
        return ".".join(self.file.with_suffix("").parts)


def read_theorems(folder: Path, split: str, way: str = "random") -> list[BenchmarkTheorem]:
    """Read a split.

    Args:
        split: ``train``, ``valid`` or ``test``.
        way: it was split in, one of ``WAYS``.

    Raises:
        InputError: there is no such benchmark or split, or it is damaged.
    """
    path = folder / way / f"{SPLITS[split]}.json"
    found = _json_of(path)
    try:
        return [_theorem(it) for it in found]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{path} is no split of LeanDojo's benchmark ({error!r}): extract it again"
        ) from error


def _theorem(it: dict[str, Any]) -> BenchmarkTheorem:
    steps = tuple(
        TracedStep(
            step["tactic"], step["state_before"], tuple(p["full_name"] for p in step["annotated_tactic"][1])
        )
        for step in it["traced_tactics"]
    )
    start, end = ((int(line), int(column)) for line, column in (it["start"], it["end"]))
    return BenchmarkTheorem(
        it["url"], it["commit"], Path(it["file_path"]), it["full_name"], start, end, steps
    )


def read_order(folder: Path) -> dict[Path, int]:
    """Return each file's place in import order, by its path.

    Raises:
        InputError: the corpus is missing or damaged.
    """
    path = folder / "corpus.jsonl"
    try:
        with path.open(encoding="utf-8") as lines:
            return {Path(json.loads(line)["path"]): place for place, line in enumerate(lines) if line.strip()}
    except OSError as error:
        raise InputError(f"{folder} is no benchmark of LeanDojo's: {path} cannot be read") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error!r}): extract the benchmark again") from error


def _json_of(path: Path) -> list[Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"there is no {path}: name the benchmark's folder, the one with corpus.jsonl in it"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): extract the benchmark again") from error
    if not isinstance(found, list):
        raise InputError(f"{path} is no split of LeanDojo's benchmark: it holds no list")
    return found


# --- as training data -------------------------------------------------------------------------------


def proofs_of(theorems: Sequence[BenchmarkTheorem], order: dict[Path, int]) -> Iterator[Proof]:
    """Yield the tactic proofs among some theorems of the training split, as a decoder learns from them.

    LeanDojo lists the tactics of inner blocks behind the tactic that holds them; such a list does not run as
    a script, but each tactic was run on its state.
    """
    for theorem in theorems:
        if steps := tuple(_step(step) for step in theorem.steps if "⊢" in step.before):
            yield Proof(
                theorem=theorem.name,
                module=theorem.module,
                # Put together from its first goal: the benchmark does not hold it.
                statement=as_statement(steps[0].goals[0], theorem.name),
                position=order.get(theorem.file, len(order)),
                steps=steps,
                source=SOURCE,
                split="train",
            )


def _step(step: TracedStep) -> Step:
    return Step(goal_texts(step.before), step.tactic)
