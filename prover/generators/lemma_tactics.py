"""From the lemmas near a goal to tactics: which of them could close it, rewrite it, simplify it, how likely.

The shapes are read from printed types (:mod:`prover.generators.printed`), so a tactic may well fail; what
cannot work by its shape is not proposed. Weights are on the portfolio's scale.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count

from prover.generators.base import NAME_PART
from prover.generators.lemmas import Lemma
from prover.generators.portfolio import Proposal
from prover.generators.printed import (
    FAMILIES,
    Relation,
    Shape,
    conclusion,
    inner_names,
    leading_names,
    relation,
    shape,
    symbols,
)
from prover.lean.messages import Goal

#: Lemmas that are tried as the last step, as rules to rewrite with, and looked at for extensionality.
CLOSERS, REWRITERS, EXTENSIONAL = 12, 6, 50

#: How names begin that take a part out of something; a rule that adds constructors instead would never end.
_PROJECTIONS = ("to", "val", "get")

#: Rules that fit less than this share of the best are not handed to a simplifier with it.
HELPFUL = 0.3

#: What the same head, the same symbols in the conclusion, and the same with the premises count for a lemma.
BY_HEAD, BY_CONCLUSION, BY_PREMISES = 0.2, 0.4, 0.4

_PLAIN = re.compile(NAME_PART)

#: Symbols that say little about where a rule applies.
_FAINT = frozenset(("=", "fun", "true", "false", "0", "1", "2", "#", "∀", "∃", "→", "[]"))


@dataclass(frozen=True)
class Near:
    """A goal with the lemmas near it (the best first) and the definitions it mentions."""

    goal: Goal
    lemmas: Sequence[Lemma]
    #: Definitions of the library in the goal, the rarest first, that could be unfolded.
    definitions: Sequence[str] = ()
    #: Lemmas that say what such definitions are, for those that cannot be unfolded.
    equations: Sequence[Lemma] = ()

    @cached_property
    def conclusion(self) -> Relation:
        """The target without its binders and premises."""
        return conclusion(self.goal.target)

    @cached_property
    def head(self) -> str:
        return FAMILIES.get(self.conclusion.head, self.conclusion.head)

    @cached_property
    def bound(self) -> frozenset[str]:
        """Names that are no constants."""
        names = {h.name for h in self.goal.hypotheses}
        return frozenset(names.union(self.binders, inner_names(self.goal.target)))

    @cached_property
    def target(self) -> Counter[str]:
        """The symbols of the conclusion."""
        sides = (self.conclusion.left, self.conclusion.right)
        found = Counter(symbol for side in sides for symbol in symbols(side, self.bound))
        return found + Counter([self.conclusion.head] if self.conclusion.right else [])

    @cached_property
    def given(self) -> Counter[str]:
        """The symbols of the facts and of the target's premises."""
        facts = [h.type for h in self.goal.hypotheses if h.is_prop]
        found = Counter(symbol for text in facts for symbol in symbols(text, self.bound))
        return found + Counter(shape(self.goal.target).given)

    @cached_property
    def relations(self) -> list[tuple[str, Relation]]:
        """The facts that can be named, taken apart, the newest first."""
        facts = [h for h in reversed(self.goal.hypotheses) if h.is_prop and h.accessible]
        return [(h.name, relation(h.type)) for h in facts]

    @cached_property
    def wrappers(self) -> list[str]:
        """Facts that are an application, no relation or connective."""
        return [name for name, r in self.relations if not r.right and r.head not in ("¬", "∀", "∃")][:4]

    @cached_property
    def negations(self) -> list[str]:
        """Negated facts: what is not so may be asked for as a test that gives ``false``."""
        return [name for name, r in self.relations if FAMILIES.get(r.head, r.head) == "¬"][:3]

    @cached_property
    def discharger(self) -> str:
        """What closes a premise that stands among the facts, if only inside a wrapper."""
        ways = [f"exact {name}.1" for name in self.wrappers]
        ways += [f"exact eq_false_of_ne_true {name}" for name in self.negations]
        return f"({' | '.join(['first', 'assumption', *ways])})" if ways else "assumption"

    @cached_property
    def binders(self) -> list[str]:
        """Names for all that can be introduced, as the target has them; premises get new ones."""
        names = leading_names(self.goal.target)
        taken = {h.name for h in self.goal.hypotheses}.union(names)
        free = (name for i in count(1) if (name := f"h{i}") not in taken)
        return [next(free) if n == "→" else n if _PLAIN.fullmatch(n) else "_" for n in names]

    @cached_property
    def closers(self) -> list[tuple[Lemma, float]]:
        """Lemmas whose conclusion may be the target, the best first, each with how well it fits."""
        found = [(lemma, lemma.score * closeness(lemma.shape, self)) for lemma in self.lemmas]
        return _best(found, CLOSERS)

    @cached_property
    def rewriters(self) -> list[tuple[Lemma, float]]:
        """Equations and equivalences whose left side may occur in the target, the best first."""
        found = [(lemma, lemma.score * occurrence(lemma.shape.left, self.target)) for lemma in self.lemmas]
        return _best([(lemma, fit) for lemma, fit in found if lemma.shape.rewrites], REWRITERS)

    @cached_property
    def reversed(self) -> list[tuple[Lemma, float]]:
        """Those whose right side may occur in the target."""
        found = [(lemma, lemma.score * occurrence(lemma.shape.right, self.target)) for lemma in self.lemmas]
        return _best([(lemma, fit) for lemma, fit in found if lemma.shape.rewrites], REWRITERS)


def _best(found: Sequence[tuple[Lemma, float]], limit: int) -> list[tuple[Lemma, float]]:
    kept = [(lemma, fit) for lemma, fit in found if fit > 0.0]
    return sorted(kept, key=lambda pair: -pair[1])[:limit]


def closeness(lemma: Shape, near: Near) -> float:
    """How far a conclusion is the target: 0 (another head) to 1 (the same symbols).

    Some is left when only the heads agree, since what has other names may still unfold to the same.
    """
    if not lemma.head or lemma.head != near.head:
        return 0.0
    says = Counter([*lemma.left, *lemma.right, *([lemma.head] if lemma.rewrites else [])])
    whole = overlap(says + Counter(lemma.given), near.target + near.given)
    return BY_HEAD + BY_CONCLUSION * overlap(says, near.target) + BY_PREMISES * whole


def overlap(left: Counter[str], right: Counter[str]) -> float:
    """Dice's coefficient of two multisets: from 0 (nothing in common) to 1 (the same)."""
    return 2.0 * (left & right).total() / (left.total() + right.total() or 1)


def occurrence(pattern: Sequence[str], text: Counter[str]) -> float:
    """Whether a pattern's symbols all occur: 0 (no, or it says nothing) towards 1 (a telling pattern)."""
    telling = [symbol for symbol in pattern if symbol not in _FAINT]
    if not telling or Counter(pattern) - text:
        return 0.0
    return 1.0 - 0.5 ** len(telling)


# --- rules ----------------------------------------------------------------------------------------

Rule = Callable[[Near], Iterator[Proposal]]


def close_with(near: Near) -> Iterator[Proposal]:
    """The lemma itself, its premises from the facts, or what is left of them."""
    for lemma, fit in near.closers:
        if near.goal.head == "∀":
            yield f"exact {lemma.name}", 8.0 * fit
        elif lemma.shape.premises:
            yield f"apply {lemma.name} <;> try {near.discharger}", 8.0 * fit
        else:
            yield f"apply {lemma.name}", 8.0 * fit


def project_facts(near: Near) -> Iterator[Proposal]:
    """A fact about a wrapper, as that a map is well formed, holds the fact about what is wrapped."""
    for name in near.wrappers:
        yield f"exact {name}.1", 1.5


def introduce(near: Near) -> Iterator[Proposal]:
    """All binders at once, by their own names."""
    names = near.binders
    if len(names) > 6:
        yield f"intro {' '.join(names)}", 20.0


def extensionality(near: Near) -> Iterator[Proposal]:
    """An equation of two things from one of their parts, as in ``a.toNat = b.toNat → a = b``."""
    if near.head != "=":
        return
    for lemma in near.lemmas[:EXTENSIONAL]:
        if lemma.shape.head == "=" and lemma.shape.premises and not lemma.shape.left + lemma.shape.right:
            yield f"apply {lemma.name}", 4.0 * lemma.score
        elif lemma.shape.head == "↔" and (parts := _parts(lemma.shape)):
            forth = lemma.shape.right == ("=",)
            yield f"apply {lemma.name}.{'mp' if forth else 'mpr'}", 4.0 * lemma.score
            if any(part.startswith(_PROJECTIONS) for part in parts):
                yield f"simp [{'← ' if forth else ''}{lemma.name}]", 4.0 * lemma.score


def _parts(shape: Shape) -> list[str]:
    """What an equivalence with a bare equation says of the parts of its two sides; [] when it is none."""
    sides = sorted((shape.left, shape.right), key=len)
    return [part for part in sides[1] if part not in _FAINT] if sides[0] == ("=",) else []


def destruct(near: Near) -> Iterator[Proposal]:
    """All data at once."""
    names = [h.name for h in near.goal.hypotheses if not h.is_prop and h.accessible and h.inductive]
    if 1 < len(names) <= 4:
        apart = "; ".join(f"cases {name}" for name in names)
        yield f"({apart}; simp_all)", 0.5


def rewrite_with(near: Near) -> Iterator[Proposal]:
    for i, (lemma, fit) in enumerate(near.rewriters):
        yield _rewrite(lemma, near), 4.0 * fit
        if not lemma.shape.permutes and i < 3:
            yield f"simp [{lemma.name}]", 2.0 * fit
    for lemma, fit in near.reversed[:3]:
        yield f"rw [← {lemma.name}]", 2.0 * fit


def _rewrite(lemma: Lemma, near: Near) -> str:
    """Its premises are looked for among the facts."""
    rest = f" <;> try {near.discharger}" if lemma.shape.explicit and near.wrappers else ""
    return f"rw [{lemma.name}]{rest}"


def unfold_with(near: Near) -> Iterator[Proposal]:
    """What stands for a definition whose body is hidden."""
    for lemma in near.equations[:4]:
        yield _rewrite(lemma, near), 3.0
    if len(near.equations) > 1:
        rules = [lemma.name for lemma in near.equations[:6]] + near.wrappers
        yield f"simp only [{', '.join(rules)}]", 3.0


def simplify_with(near: Near) -> Iterator[Proposal]:
    """Several lemmas at once."""
    rules = [(lemma.name, fit) for lemma, fit in near.rewriters if not lemma.shape.permutes]
    names = [name for name, fit in rules if fit > HELPFUL * rules[0][1]]
    if len(names) > 1:
        yield f"simp [{', '.join(names)}]", 6.0 * rules[0][1]
        yield f"simp_all [{', '.join(names)}]", 4.0 * rules[0][1]


def unfold(near: Near) -> Iterator[Proposal]:
    for i, name in enumerate(near.definitions[:3]):
        yield f"simp [{name}]", 2.0 * 0.7**i
        yield f"unfold {name}", 1.5 * 0.7**i
    if near.definitions:
        these = ", ".join(near.definitions[:4])
        yield f"simp_all [{these}]", 1.5


RULES: tuple[Rule, ...] = (
    close_with,
    project_facts,
    introduce,
    extensionality,
    destruct,
    rewrite_with,
    unfold_with,
    simplify_with,
    unfold,
)


def propose(near: Near) -> Iterator[Proposal]:
    """Yield everything the rules have; the same tactic may come twice."""
    for rule in RULES:
        yield from rule(near)
