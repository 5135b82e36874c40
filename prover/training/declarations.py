"""Exercises that need no proof: what a library declares, to be told and to be named.

After PACT (Han et al. 2022, "Proof Artifact Co-training for Theorem Proving with Language Models"), whose
auxiliary tasks predict a theorem's type from its name and its name from its type. The third one, reading
modules as documents, is plain language modelling over them in import order.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from prover.decoder.prompts import Mark, Piece, answer
from prover.generators.printed import cut_comma, relation
from prover.lean.messages import Declaration
from prover.premises import PremiseCorpus, by_module
from prover.training.renaming import made_up

#: A group of binders, with one more pair of brackets in it at most.
_GROUP = re.compile(
    r"[({\[⦃](?:[^(){}\[\]⦃⦄]|[({\[⦃](?:[^(){}\[\]⦃⦄]|[({\[][^(){}\[\]]*[)}\]])*[)}\]⦄])*[)}\]⦄]"
)
#: Theorems that are shown to be copied, at most, and how often that is tried.
_COPIED, _COPIES = 8, 4000
#: Kinds of declarations that a person reads.
_READ = frozenset(("theorem", "definition", "inductive", "axiom"))


@dataclass(frozen=True, slots=True)
class Exercise:
    """What is shown, and what is to follow; a document is all to follow."""

    shown: tuple[Piece, ...]
    learned: tuple[Piece, ...]


def type_of(declaration: Declaration) -> Exercise:
    """The type is to follow the name, as it does in a prompt's declarations."""
    return Exercise((Mark.LEMMA, declaration.name), (f" : {declaration.type}",))


def name_of(theorem: Declaration) -> Exercise:
    """The theorem is to be named where it is the goal: ``exact @name`` proves it."""
    shown = (Mark.GOAL, f"⊢ {theorem.type}", Mark.GOAL_END, Mark.TACTIC)
    return Exercise(shown, answer(f"exact @{theorem.name}"))


def introduced(type_: str) -> str:
    """The goal that is left of a printed type when all that can be introduced has been.

    >>> print(introduced("∀ {α : Type u} (x y : α), x = y → y = x"))
    α : Type u
    x y : α
    h : x = y
    ⊢ y = x
    """
    hypotheses: list[str] = []
    while True:
        if type_.startswith("∀ "):
            binders, _, rest = cut_comma(type_[2:])
            hypotheses += _bound(binders)
        elif (found := relation(type_)).head == "→":
            hypotheses.append(f"h : {found.left}")
            rest = found.right
        else:
            return "\n".join([*hypotheses, f"⊢ {type_}"])
        type_ = rest


def _bound(binders: str) -> Iterator[str]:
    """The hypotheses of ``{α : Type u} (x y : α) [BEq α]``, or of ``x y`` or ``x y : T``."""
    if not binders.startswith(("(", "{", "[", "⦃")):
        yield binders
        return
    for text in _GROUP.findall(binders):
        yield text[1:-1] if ":" in text or text[0] != "[" else f"inst✝ : {text[1:-1]}"


def documents(
    declarations: Sequence[Declaration], budget: int, count: Callable[[str], int]
) -> Iterator[Exercise]:
    """Yield a module as documents of at most ``budget`` tokens; what is longer by itself is left out."""
    pieces: list[Piece] = []
    size = 0
    for declaration in declarations:
        text = f"{declaration.name} : {declaration.type}"
        needed = 1 + count(text)
        if size + needed > budget and pieces:
            yield Exercise((), tuple(pieces))
            pieces, size = [], 0
        if needed <= budget:
            pieces += (Mark.LEMMA, text)
            size += needed
    if pieces:
        yield Exercise((), tuple(pieces))


def copies(
    corpus: PremiseCorpus,
    keep: Callable[[str], bool],
    budget: int,
    count: Callable[[str], int],
    seed: int = 0,
) -> Iterator[Exercise]:
    """Yield some theorems with made-up names, and half of them again in another order.

    What is to follow can be read off what stands before. Small models learn to copy late, and what is shown
    to them, declarations in a prompt or in a memory, is of use to one that can (Olsson et al. 2022,
    "In-context Learning and Induction Heads").

    Args:
        keep, budget: as for :func:`exercises`.
    """
    theorems = [d for d in corpus.premises if d.kind == "theorem" and keep(d.module)]
    chance = random.Random(f"{seed} copies")
    for _ in range(_COPIES if len(theorems) > 1 else 0):
        drawn = chance.sample(theorems, min(len(theorems), chance.randint(2, _COPIED)))
        names = made_up([theorem.name for theorem in drawn], chance)
        lines = [f"{names.get(theorem.name, theorem.name)} : {theorem.type}" for theorem in drawn]
        again = chance.sample(lines, (len(lines) + 1) // 2)
        if sum(1 + count(line) for line in (*lines, *again)) <= budget:
            shown = [piece for line in lines for piece in (Mark.LEMMA, line)]
            learned = [piece for line in again for piece in (Mark.LEMMA, line)]
            yield Exercise((*shown, learned[0]), tuple(learned[1:]))


def exercises(
    corpus: PremiseCorpus, keep: Callable[[str], bool], budget: int, count: Callable[[str], int]
) -> list[list[Exercise]]:
    """Return the exercises of each of the three kinds, in import order.

    Args:
        keep: whether a module may be learned from. To measure on held-out modules, it must not be one of
            theirs: a type is what a theorem says, and a name often how it is proved.
        budget: tokens of an exercise, at most.
    """
    types: list[Exercise] = []
    names: list[Exercise] = []
    modules: list[Exercise] = []
    for module, declared in by_module(corpus):
        if keep(module.name):
            read = [d for d in declared if d.kind in _READ]
            theorems = [d for d in read if d.kind == "theorem"]
            types += _short(map(type_of, read), budget, count)
            names += _short(map(name_of, theorems), budget, count)
            modules += documents(read, budget, count)
    return [types, names, modules]


def _short(found: Iterator[Exercise], budget: int, count: Callable[[str], int]) -> Iterator[Exercise]:
    return (e for e in found if _size((*e.shown, *e.learned), count) <= budget)


def _size(pieces: Collection[Piece], count: Callable[[str], int]) -> int:
    return sum(1 if isinstance(piece, Mark) else count(piece) for piece in pieces)
