"""Finding lemmas near a goal: BM25 over the names and types of the premises that a proof may use.

The index is built once; what is not accessible to a proof is masked out of the scores ("accessible premises"
of LeanDojo, Yang et al. 2023).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prover.environment import Scope
from prover.generators.base import NAME_PART
from prover.generators.bm25 import Bm25, top
from prover.generators.printed import Shape, base, shape, symbols
from prover.lean.messages import Declaration, Goal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Constants that Lean prints as an operator, and what lemma names call them.
OPERATORS = {
    "HAdd.hAdd": ("+", "add"),
    "HSub.hSub": ("-", "sub"),
    "HMul.hMul": ("*", "mul"),
    "HDiv.hDiv": ("/", "div"),
    "HMod.hMod": ("%", "mod"),
    "HPow.hPow": ("^", "pow"),
    "HAppend.hAppend": ("++", "append"),
    "HAnd.hAnd": ("&&&", "and"),
    "HOr.hOr": ("|||", "or"),
    "HXor.hXor": ("^^^", "xor"),
    "HShiftLeft.hShiftLeft": ("<<<", "shiftLeft"),
    "HShiftRight.hShiftRight": (">>>", "shiftRight"),
    "Neg.neg": ("-", "neg"),
    "Complement.complement": ("~~~", "not"),
    "LT.lt": ("<", "lt"),
    "LE.le": ("≤", "le"),
    "Dvd.dvd": ("∣", "dvd"),
    "Membership.mem": ("∈", "mem"),
    "HasSubset.Subset": ("⊆", "subset"),
    "Union.union": ("∪", "union"),
    "Inter.inter": ("∩", "inter"),
    "SDiff.sdiff": ("\\", "diff"),
    "List.cons": ("::", "cons"),
    "List.nil": ("[]", "nil"),
    "List.Perm": ("~", "perm"),
    "BEq.beq": ("==", "beq"),
    "bne": ("!=", "bne"),
    "Bool.and": ("&&", "and"),
    "Bool.or": ("||", "or"),
    "Bool.not": ("!", "not"),
    "Bool.xor": ("^^", "xor"),
    "Eq": ("=", "eq"),
    "Ne": ("≠", "ne"),
    "HEq": ("≍", "heq"),
    "Not": ("¬", "not"),
    "And": ("∧", "and"),
    "Or": ("∨", "or"),
    "Iff": ("↔", "iff"),
    "Exists": ("∃", "exists"),
    "Bind.bind": (">>=", "bind"),
    "Functor.map": ("<$>", "map"),
    "Seq.seq": ("<*>", "seq"),
    "GetElem.getElem": ("", "getElem"),
    "GetElem?.getElem?": ("", "getElem?"),
    "GetElem?.getElem!": ("", "getElem!"),
    "Prod.mk": ("", "mk"),
    "ite": ("if", "ite"),
    "dite": ("if", "dite"),
}

_WRITABLE = re.compile(rf"{NAME_PART}(?:\.{NAME_PART})*")

#: What the names of lemmas that reduce an equation to another one hold.
EXTENSIONALITY = ("n:inj", "n:ext")

#: How much a goal knows of a constant when it has another one of its name, as ``List.map`` and ``Array.map``.
NAMESAKE = 0.7

#: Types count at least so much among a lemma's constants: one about ``Nat`` says little about ``Int``.
TYPE_WEIGHT = 2.5
#: Inverse document frequency of definitions worth unfolding: they occur in fewer than one of twenty theorems.
RARE = 3.0
#: What is left of a lemma that has no type in common with the goal.
FOREIGN = 0.25

#: How much a token counts in a query, by what it names and whether the target or only a fact mentions it.
IN_TARGET, IN_FACTS = 1.0, 0.35


@dataclass(frozen=True, slots=True)
class Lemma:
    """A theorem that was found for a goal."""

    name: str
    #: From 0 to 1: a lemma that mentions nothing that the goal does not, and as much of the goal as any.
    score: float
    shape: Shape


def spoken(constant: str) -> str:
    """What lemma names call a constant.

    >>> spoken("HAdd.hAdd"), spoken("List.length")
    ('add', 'length')
    """
    return OPERATORS[constant][1] if constant in OPERATORS else base(constant)


def name_words(name: str) -> Iterator[str]:
    """The words of a declaration's last component, as other names use them.

    >>> list(name_words("List.length_map_of_mem'"))
    ['length', 'map', 'of', 'mem']
    """
    for word in base(name).split("_"):
        if word.strip("'"):
            yield word.strip("'")


def stem(word: str) -> str:
    """A word without the marks that tell variants of one function apart.

    >>> stem("getKey!")
    'getKey'
    """
    return word.rstrip("!?'₀ₘ")


def _is_instance(constant: str) -> bool:
    return base(constant).startswith("inst")


def _family(type_: str) -> str:
    """Where a type belongs: ``Std.TreeMap`` for ``Std.TreeMap.Raw``."""
    return ".".join(type_.split(".")[:2])


def document(declaration: Declaration) -> frozenset[str]:
    """The tokens under which a premise is found: constants, what they are called, the words of its name."""
    found = {f"n:{word}" for word in name_words(declaration.name)}
    found.update(f"n:{stem(word)}" for word in name_words(declaration.name))
    for constant in declaration.constants:
        found.update((f"c:{constant}", f"b:{spoken(constant)}"))
    return frozenset(found)


def query_tokens(goal: Goal) -> dict[str, float]:
    """The tokens of a goal with their weights: its constants, those of the target first."""
    names = {h.name for h in goal.hypotheses}
    shown = set(symbols(goal.target, names))
    weights = dict.fromkeys(EXTENSIONALITY, 0.3) if "=" in shown else {}
    for constant in goal.constants:
        word = spoken(constant)
        printed = OPERATORS[constant][0] if constant in OPERATORS else base(constant)
        near = IN_TARGET if printed in shown or word in shown else IN_FACTS
        weight = near * (0.3 if _is_instance(constant) else 1.0)
        for token, share in ((f"c:{constant}", 1.0), (f"b:{word}", 0.5), (f"n:{word}", 0.7)):
            weights[token] = max(weights.get(token, 0.0), share * weight)
    return weights


class LemmaIndex:
    """The theorems among some premises with their index: a second to build, milliseconds to ask."""

    def __init__(self, premises: Sequence[Declaration]) -> None:
        self.theorems = [p for p in premises if p.kind == "theorem" and _WRITABLE.fullmatch(p.name)]
        self._index = Bm25([document(theorem) for theorem in self.theorems])
        self._mask = ModuleMask([theorem.module for theorem in self.theorems])
        self._equations = _equations(self.theorems)
        self._types = frozenset(p.name for p in premises if p.kind == "inductive") - OPERATORS.keys()
        self._definitions = frozenset(p.name for p in premises if p.kind == "definition" and _unfolds(p.name))

    def __len__(self) -> int:
        return len(self.theorems)

    def near(self, goal: Goal, scope: Scope, limit: int) -> list[Lemma]:
        """Return the lemmas in scope nearest to a goal, the nearest first.

        BM25 asks how much of the goal a lemma mentions; what a lemma mentions beside it counts against it.
        """
        names = frozenset(goal.constants)
        words = frozenset(map(spoken, names))
        found = self.search(query_tokens(goal), scope, limit)
        rated = [(d, score * self._known(d, names, words)) for d, score in found]
        highest = max((score for _, score in found), default=1.0)
        rated.sort(key=lambda pair: -pair[1])
        return [Lemma(d.name, score / highest, shape(d.type)) for d, score in rated if score > 0.0]

    def _known(self, lemma: Declaration, names: frozenset[str], words: frozenset[str]) -> float:
        """The share of a lemma's constants that a goal has too, by their inverse document frequency."""
        whole = known = 0.0
        for constant in lemma.constants:
            weight = self._weight(constant)
            whole += weight
            known += weight * (constant in names or NAMESAKE * (spoken(constant) in words))
        types, ours = ({_family(c) for c in cs if c in self._types} for cs in (lemma.constants, names))
        foreign = types and ours and types.isdisjoint(ours)
        return (known / whole if whole else 0.5) * (FOREIGN if foreign else 1.0)

    def _weight(self, constant: str) -> float:
        weight = self._index.idf(f"c:{constant}") * (0.3 if _is_instance(constant) else 1.0)
        return max(weight, TYPE_WEIGHT) if constant in self._types else weight

    def search(
        self, query: Mapping[str, float], scope: Scope, limit: int
    ) -> list[tuple[Declaration, float]]:
        """Return the best theorems in scope for a weighted query with their BM25 scores, the best first."""
        scores = self._index.scores(query)
        if scope.modules is not None:
            scores *= self._mask(scope.modules)
        found = [(self.theorems[i], float(scores[i])) for i in top(scores, limit)]
        for own in scope.own:
            if own.kind == "theorem" and _WRITABLE.fullmatch(own.name):
                found.append((own, self._index.score(query, document(own))))
        found.sort(key=lambda pair: -pair[1])
        return [(theorem, score) for theorem, score in found[:limit] if score > 0.0]

    def unfoldable(self, goal: Goal) -> list[str]:
        """The library's definitions that a goal mentions, the rarest first, without what is everywhere."""
        rarity = {c: self._index.idf(f"c:{c}") for c in goal.constants if c in self._definitions}
        return sorted((c for c in rarity if rarity[c] > RARE), key=lambda c: -rarity[c])

    def equations(self, goal: Goal, scope: Scope) -> list[Lemma]:
        """Return the lemmas in scope that say what the goal's definitions are, those of the rarest first."""
        found = (
            theorem
            for name in self.unfoldable(goal)
            for theorem in self._equations.get(base(name), ())
            if name in theorem.constants and (scope.modules is None or theorem.module in scope.modules)
        )
        return [Lemma(t.name, 1.0, s) for t in found if (s := shape(t.type)).rewrites and s.left]


class ModuleMask:
    """Which of N theorems some modules declare; the latest few answers are kept."""

    _KEPT = 16

    def __init__(self, modules: Sequence[str]) -> None:
        """Take the module of each theorem."""
        import numpy as np

        self._names = list(dict.fromkeys(modules))
        places = {name: i for i, name in enumerate(self._names)}
        self._places = np.array([places[name] for name in modules], dtype=np.int32)
        self._masks: dict[frozenset[str], NDArray[np.bool_]] = {}

    def __call__(self, modules: frozenset[str]) -> NDArray[np.bool_]:
        """Return the mask, (N,)."""
        import numpy as np

        if modules not in self._masks:
            if len(self._masks) >= self._KEPT:
                self._masks.pop(next(iter(self._masks)))
            usable = np.array([name in modules for name in self._names], dtype=np.bool_)
            self._masks[modules] = usable[self._places]
        return self._masks[modules]


def _equations(theorems: Sequence[Declaration]) -> dict[str, list[Declaration]]:
    """Theorems by what they define, by their names: ``size`` for ``Map.size_eq`` and ``Map.size_def``."""
    found: dict[str, list[Declaration]] = {}
    for theorem in theorems:
        defined, _, ending = base(theorem.name).rpartition("_")
        if ending in ("eq", "def"):
            found.setdefault(defined, []).append(theorem)
    return found


def _unfolds(name: str) -> bool:
    """It may have a body that is worth seeing: it is no operator and no instance, and can be written."""
    return name not in OPERATORS and not _is_instance(name) and _WRITABLE.fullmatch(name) is not None
