"""Synthetic theorems: what a library theorem says, said otherwise, each with a plan of how it may be proved.

Forward application and mutation of library statements: the theorem itself, its equation turned round, a
direction of its equivalence, its contrapositive, two theorems joined. They are stated from its printed type;
what does not elaborate again is passed over. A plan is only a guess: what counts is what Lean accepts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from eval.benchmarks.base import Problem, Split, draw
from prover.generators.base import NAME_PART
from prover.generators.printed import Relation, cut_comma, inner_names, one_line, relation
from prover.lean.messages import Declaration
from prover.premises import PremiseCorpus

#: For each step, what may be tried there, the likely tactics first; later steps are tried as the last one.
Plan = tuple[tuple[str, ...], ...]

HEADER = "import Std\nset_option autoImplicit false"
#: Characters of a type: longer ones are mostly about internals.
_LONGEST = 300
_WRITABLE = re.compile(rf"{NAME_PART}(?:\.{NAME_PART})*")
_UNIVERSES = re.compile(r"(?:Type|Sort) (?:\(([^()]*)\)|([\w']+))")
#: What Lean prints and does not read.
_UNREADABLE = ("⋯", "✝", "match ", "Sort")
_FACTS = ("h", "h₁", "h₂", "h₃", "h₄", "h₅")


@dataclass(frozen=True, slots=True)
class Stated:
    """A theorem taken apart: universes, binders as they stand, premises, conclusion."""

    name: str
    universes: tuple[str, ...]
    binders: str
    premises: tuple[str, ...]
    conclusion: Relation
    text: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """What is to be proved, behind the theorem's own binders, and how it may be."""

    kind: str
    facts: tuple[str, ...]
    target: str
    plan: Plan


def taken_apart(theorem: Declaration) -> Stated | None:
    """Take a theorem apart, or return None when it is not of a form that can be stated again."""
    type_ = one_line(theorem.type)
    if len(type_) > _LONGEST or not _WRITABLE.fullmatch(theorem.name):
        return None
    if any(mark in type_ for mark in _UNREADABLE):
        return None
    binders, text = "", type_
    while text.startswith("∀ "):
        group, _, text = cut_comma(text[2:])
        if group[:1] not in "({[⦃":
            return None
        binders += f" {group}"
    premises: list[str] = []
    while (found := relation(text)).head == "→":
        premises.append(found.left)
        text = found.right
    if found.head == "∀" or len(premises) > len(_FACTS) - 1 or inner_names(binders) & set(_FACTS):
        return None
    return Stated(theorem.name, _universes(type_), binders.strip(), tuple(premises), found, text)


def _universes(type_: str) -> tuple[str, ...]:
    found = " ".join(a or b for a, b in _UNIVERSES.findall(type_))
    names = re.findall(r"[a-z]\w*'?", found)
    return tuple(dict.fromkeys(name for name in names if name not in ("max", "imax")))


# --- what can be made of one ------------------------------------------------------------------------


def mutations(stated: Stated) -> Iterator[Mutation]:
    """Everything that can be made of one theorem."""
    name, facts, found = stated.name, stated.premises, stated.conclusion
    given = _FACTS[: len(facts)]
    applied = " ".join([name, *given])
    direct = _direct(name, given, found)
    yield Mutation("itself", facts, stated.text, (direct,))
    if found.head == "=":
        turned = f"{found.right} = {found.left}"
        yield Mutation("turned", facts, turned, ((f"exact ({applied}).symm", "symm", *direct), direct))
    if found.head == "↔":
        yield from _directions(facts, found, name, applied)
    if len(facts) == 1 and found.head not in ("¬", "≠", "∃"):
        yield _contrapositive(facts[0], stated.text, name)
    if found.head == "≠":
        fact = f"{found.left} = {found.right}"
        plan = ((f"exact {applied} {_FACTS[len(facts)]}", f"apply {name}", "contradiction"), _CLOSERS)
        yield Mutation("absurd", (*facts, fact), "False", plan)


_CLOSERS = ("assumption", "exact h", "exact h₁", "exact h₂", "simp_all")


def _direct(name: str, given: Sequence[str], found: Relation) -> tuple[str, ...]:
    tactics = [f"exact {' '.join([name, *given])}", f"apply {name}", f"exact {name} ..", f"simp [{name}]"]
    if found.head in ("=", "↔"):
        tactics.insert(2, f"rw [{name}]")
    if given:
        tactics.insert(2, f"apply {name} <;> assumption")
        tactics.append(f"simp_all [{name}]")
    return (*tactics, "assumption", "simp", "rfl")


def _directions(facts: tuple[str, ...], found: Relation, name: str, applied: str) -> Iterator[Mutation]:
    fact = _FACTS[len(facts)]
    for kind, end, start, arrow, field in (
        ("forth", found.right, found.left, "← ", "mp"),
        ("back", found.left, found.right, "", "mpr"),
    ):
        first = (
            f"exact ({applied}).{field} {fact}",
            f"rw [{arrow}{name}]",
            f"apply {name}.{field}",
            f"simpa [{name}] using {fact}",
            f"rw [{name}] at {fact}" if kind == "forth" else f"rw [← {name}] at {fact}",
            f"simp_all [{name}]",
        )
        yield Mutation(kind, (*facts, start), end, (first, (f"exact {fact}", *_CLOSERS)))


def _contrapositive(premise: str, conclusion: str, name: str) -> Mutation:
    plan = (
        ("intro hp", f"exact mt {name} h", f"exact fun hp => h ({name} hp)"),
        (f"exact h ({name} hp)", "apply h", "exact absurd hp h"),
        (f"exact {name} hp", f"apply {name}", f"simp_all [{name}]"),
        _CLOSERS,
    )
    return Mutation("contrapositive", (f"¬({conclusion})",), f"¬({premise})", plan)


def joined(one: Stated, other: Stated) -> Mutation:
    """Both theorems at once; the other one keeps its binders to itself."""
    rest = f"∀ {other.binders}, " if other.binders else ""
    rest += "".join(f"{premise} → " for premise in other.premises) + other.text
    given = _FACTS[: len(one.premises)]
    applied = " ".join([one.name, *given])
    plan = (
        ("constructor", f"refine ⟨{applied}, ?_⟩", f"exact ⟨{applied}, {other.name}⟩"),
        (f"exact {applied}", f"exact {other.name}", f"exact @{other.name}", f"apply {one.name}", "intros"),
        (f"exact {other.name}", f"exact @{other.name}", f"apply {other.name}", "intros", "assumption"),
        (f"apply {other.name} <;> assumption", f"apply {other.name}", f"simp [{other.name}]"),
        _CLOSERS,
    )
    return Mutation("joined", one.premises, f"({one.text}) ∧ {rest}", plan)


# --- problems ---------------------------------------------------------------------------------------


def synthetic(
    corpus: PremiseCorpus, keep: Callable[[str], bool], known: Iterable[str] = ()
) -> Iterator[tuple[Problem, Plan]]:
    """Yield synthetic theorems in random order, always the same.

    Args:
        keep: whether a module's theorems may be taken: those of the training split.
        known: names of those that were made already.
    """
    theorems = [p for p in corpus.premises if p.kind == "theorem" and keep(p.module)]
    stated = [(t, s) for t in sorted(theorems, key=lambda t: draw(t.name)) if (s := taken_apart(t))]
    done = set(known)
    found: list[tuple[Problem, Plan]] = []
    for place, (theorem, one) in enumerate(stated):
        other = stated[place - 1][1]
        universes = tuple(dict.fromkeys(one.universes + other.universes))
        made = [(m, one.universes) for m in mutations(one)] + [(joined(one, other), universes)]
        for mutation, names in made:
            problem = _problem(theorem, one, mutation, names, corpus)
            if problem.id not in done:
                found.append((problem, mutation.plan))
    yield from sorted(found, key=lambda pair: draw(pair[0].id))


def _problem(
    theorem: Declaration, stated: Stated, mutation: Mutation, universes: Sequence[str], corpus: PremiseCorpus
) -> Problem:
    """A mutation as a statement in Lean source."""
    facts = [f"({name} : {fact})" for name, fact in zip(_FACTS, mutation.facts, strict=False)]
    levels = f".{{{', '.join(universes)}}}" if universes else ""
    head = " ".join(filter(None, (f"synthetic{levels}", stated.binders, *facts)))
    return Problem(
        id=f"{theorem.name}~{mutation.kind}",
        benchmark="synthetic",
        version="1",
        split=Split.TRAIN,
        module=None,
        header=HEADER,
        statement=f"theorem {head} : {mutation.target} := by sorry",
        tags=(f"module:{theorem.module}", f"kind:{mutation.kind}"),
        source=f"Lean {corpus.lean}",
        position=corpus.order[theorem.module],
    )
