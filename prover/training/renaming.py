"""Names made up: what a lemma is called can then be known from where it stands alone, and has to be copied.

A small model learns the library's names by heart before it learns to read them off its prompt or its memory,
and then has nothing to say about a lemma that it never saw. Names of theorems occur in tactics and not in
goals, so that they can be exchanged everywhere at once.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import replace

from prover.generators.base import Step
from prover.generators.printed import rename
from prover.training.examples import Proof
from prover.training.lessons import Lesson

#: Words of a made-up name.
_FEWEST, _MOST = 2, 4


def made_up(names: Collection[str], chance: random.Random) -> dict[str, str]:
    """Return another name for each, in its own namespace, of words of all of them."""
    words = sorted({word for name in names for word in name.rpartition(".")[2].split("_") if word})
    return {name: _made_up(name, words, chance) for name in sorted(names)} if words else {}


def _made_up(name: str, words: list[str], chance: random.Random) -> str:
    space, dot, _ = name.rpartition(".")
    return f"{space}{dot}{'_'.join(chance.choices(words, k=chance.randint(_FEWEST, _MOST)))}"


def renamed_lesson(lesson: Lesson, names: Mapping[str, str]) -> Lesson:
    """The lesson with other names in its tactics, and in those that led to it."""
    new = dict(names)
    return Lesson(
        _renamed_proof(lesson.proof, new),
        lesson.place,
        tuple(rename(tactic, new) for tactic in lesson.worked),
        tuple(rename(tactic, new) for tactic in lesson.failed),
    )


def _renamed_proof(proof: Proof, names: dict[str, str]) -> Proof:
    return replace(proof, steps=tuple(Step(step.goals, rename(step.tactic, names)) for step in proof.steps))


def renamed_line(line: str, names: Mapping[str, str]) -> str:
    """``name : type`` with another name.

    >>> renamed_line("Nat.foo : 1 = 1", {"Nat.foo": "Nat.bar"})
    'Nat.bar : 1 = 1'
    """
    name, colon, type_ = line.partition(" : ")
    return f"{names.get(name, name)}{colon}{type_}"
