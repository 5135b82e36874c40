"""The first baseline: a fixed portfolio of tactics, some of them filled in from the goal.

Everything here is a table or a short rule. ``ALWAYS`` and ``BY_HEAD`` are proposed as they stand; each rule
in ``RULES`` looks at the main goal and proposes tactics made for it. A proposal's weight is its
prior: weights of one state are normalised into probabilities, and the search follows the likely ones
first. Only Lean's core library is assumed, not Mathlib.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prover.generators.base import Candidate, Query
from prover.lean.messages import Goal, Hypothesis

#: Candidates a state, at most.
WIDTH = 64

#: Cases of one `rcases`, at most: Lean's time for it grows with their square.
MOST_CASES = 16

Proposal = tuple[str, float]

# --- tables ---------------------------------------------------------------------------------------

#: Tried on every goal. Most either close it or fail at once; `simp` and its like may also move it on.
ALWAYS: tuple[Proposal, ...] = (
    ("rfl", 8.0),
    ("assumption", 8.0),
    ("simp", 8.0),
    ("omega", 8.0),
    ("simp_all", 6.0),
    ("grind", 6.0),
    ("decide", 5.0),
    ("contradiction", 5.0),
    ("simp +arith", 1.5),
    ("simp_all <;> omega", 1.5),
    ("split <;> simp_all", 1.0),
    ("exfalso", 0.05),
)

#: Tried when the target has this head symbol.
BY_HEAD: dict[str, tuple[Proposal, ...]] = {
    "And": (
        ("constructor", 6.0),
        ("and_intros <;> omega", 2.0),
        ("and_intros <;> simp_all", 2.0),
        ("and_intros <;> grind", 2.0),
    ),
    "Iff": (
        ("constructor", 5.0),
        ("constructor <;> intro h", 3.0),
        ("constructor <;> intro h <;> omega", 2.0),
        ("constructor <;> grind", 2.0),
    ),
    "Or": (
        ("left", 3.0),
        ("right", 3.0),
        ("exact Or.comm.mp ‹_›", 0.5),
        ("refine Classical.byContradiction fun h => ?_", 0.5),
    ),
    "Exists": (
        ("exact ⟨_, rfl⟩", 2.0),
        ("exact ⟨_, by assumption⟩", 2.0),
        ("refine ⟨_, by assumption, ?_⟩", 0.5),
        ("exact ⟨fun x => x, by simp⟩", 0.5),
        ("refine Classical.byContradiction fun h => ?_", 0.3),
    ),
    "Eq": (
        ("ac_rfl", 2.0),
        ("symm", 0.2),
        ("congr", 0.5),
        ("funext x", 1.0),
        ("ext x", 0.8),
        ("apply propext", 0.8),
        ("apply Nat.le_antisymm", 0.2),
        ("apply Int.le_antisymm", 0.2),
    ),
    "Ne": (("intro h", 5.0),),
    "Not": (("intro h", 8.0),),
    "False": (("simp at *", 2.0),),
    "LE.le": (
        ("apply Nat.le_of_lt_succ", 0.3),
        ("apply Nat.le_of_lt", 0.2),
        ("apply Nat.le_trans <;> assumption", 1.0),
    ),
    "LT.lt": (
        ("apply Nat.lt_of_lt_of_le <;> assumption", 0.5),
        ("apply Nat.pos_of_ne_zero", 0.3),
        ("apply Nat.mul_pos", 0.5),
    ),
    "Dvd.dvd": (
        ("exact ⟨_, rfl⟩", 1.0),
        ("apply Nat.dvd_of_mod_eq_zero", 1.0),
        ("apply Int.dvd_of_emod_eq_zero", 0.5),
        ("apply Nat.dvd_trans <;> assumption", 1.0),
        ("apply Int.dvd_trans <;> assumption", 0.5),
    ),
}

#: What `induction` and `cases` leave for the best-known types: constructors with names for their parts.
#: ``ih`` stands for the induction hypothesis, which `cases` has not.
CONSTRUCTORS: dict[str, tuple[tuple[str, ...], ...]] = {
    "Nat": (("zero",), ("succ", "{x}", "ih")),
    "List": (("nil",), ("cons", "head", "{x}", "ih")),
    "Option": (("none",), ("some", "val")),
    "Sum": (("inl", "val"), ("inr", "val")),
    "Int": (("ofNat", "n"), ("negSucc", "n")),
}

#: Equations that turn powers and products of sums into sums of products.
EXPAND = {
    "Nat": "Nat.pow_succ, Nat.mul_add, Nat.add_mul, Nat.mul_assoc, Nat.mul_comm, Nat.mul_left_comm",
    "Int": "Int.pow_succ, Int.mul_add, Int.add_mul, Int.mul_sub, Int.sub_mul, Int.mul_assoc, "
    "Int.mul_comm, Int.mul_left_comm",
}

#: Equations that push `%` to the leaves.
MODULO = {
    "Nat": "Nat.pow_succ, Nat.mul_mod, Nat.add_mod",
    "Int": "Int.pow_succ, Int.mul_emod, Int.add_emod, Int.sub_emod",
}

# --- a goal as the rules see it -------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """The main goal, with what several rules need. Names that cannot be written are left out."""

    goal: Goal

    @cached_property
    def facts(self) -> tuple[Hypothesis, ...]:
        """Propositions, the newest first."""
        return tuple(h for h in reversed(self.goal.hypotheses) if h.is_prop and h.accessible)[:10]

    @cached_property
    def data(self) -> tuple[Hypothesis, ...]:
        """Everything else that is not a type, the newest first."""
        return tuple(
            h
            for h in reversed(self.goal.hypotheses)
            if not h.is_prop and h.accessible and not re.match(r"(Type|Sort|Prop)\b", h.type)
        )[:8]

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The numerals of the target, then of the facts, without repetition."""
        texts = [self.goal.target, *(h.type for h in self.facts)]
        found = (int(n) for text in texts for n in re.findall(r"(?<![\w.₀-₉])\d{1,12}\b", text))
        return tuple(dict.fromkeys(found))

    @cached_property
    def definitions(self) -> tuple[str, ...]:
        """The file's own definitions in the goal, by the shortest name that the goal itself shows."""
        return tuple(self._shown(name) for name in self.goal.definitions[:6])

    def _shown(self, name: str) -> str:
        parts = name.split(".")
        suffixes = [".".join(parts[start:]) for start in range(len(parts) - 1, 0, -1)]
        return next((s for s in suffixes if _mentions(self.goal.pretty, s)), name)

    def fresh(self, name: str, *taken: str) -> str:
        """A name close to this one that nothing in the goal has."""
        used = {h.name for h in self.goal.hypotheses} | set(taken)
        while name in used:
            name += "'"
        return name


Rule = Callable[[View], Iterator[Proposal]]

# --- rules: the target ----------------------------------------------------------------------------


def introduce(view: View) -> Iterator[Proposal]:
    """∀ x, …  and  p → …"""
    if view.goal.head != "∀":
        return
    names: list[str] = []
    for name in binder_names(view.goal.target) or ["h"]:
        names.append(view.fresh(name, *names))
    yield f"intro {names[0]}", 20.0
    if len(names) > 1:
        yield f"intro {' '.join(names)}", 20.0
    yield "intros <;> simp_all", 3.0
    yield "intros <;> omega", 2.0


def witnesses(view: View) -> Iterator[Proposal]:
    """∃ x, …: small numerals, the goal's own numerals and its variables."""
    if view.goal.head != "Exists":
        return
    terms = [h.name for h in view.data[:5]] + [str(n) for n in dict.fromkeys((0, 1, 2, *view.numbers[:4]))]
    for term in terms:
        yield f"refine ⟨{term}, ?_⟩", 0.8
    for term in terms[:3]:
        yield f"exact ⟨{term}, by simp_all⟩", 0.8


def big_powers(view: View) -> Iterator[Proposal]:
    """Big powers of numerals: Lean evaluates exponents above 256 only when told."""
    exponents = [int(n) for n in re.findall(r"\d\s*\^\s*(\d{3,5})\b", view.goal.target)]
    if exponents and max(exponents) > 256:
        yield f"set_option exponentiation.threshold {max(exponents)} in decide", 4.0
        yield f"set_option exponentiation.threshold {max(exponents)} in simp", 4.0


def unfold_definitions(view: View) -> Iterator[Proposal]:
    """Definitions of the file itself."""
    if not view.definitions:
        return
    these = _list(view)
    yield f"simp{these}", 5.0
    yield f"simp_all{these}", 4.0
    yield f"grind{these}", 4.0
    yield f"simp{these} <;> omega", 2.0
    yield f"simp_all{these} <;> grind", 1.0
    for name in view.definitions[:3]:
        yield f"unfold {name}", 1.0
        yield f"rw [{name}]", 0.8
        yield f"fun_induction {name} <;> simp_all{these}", 1.5
        yield f"fun_induction {name} <;> grind{these}", 1.5
        yield f"fun_cases {name} <;> simp_all{these}", 0.5


def construct(view: View) -> Iterator[Proposal]:
    """Inductive predicates of the file itself (and whatever else has no table of its own)."""
    if view.goal.head and view.goal.head != "∀" and view.goal.head not in BY_HEAD:
        yield "constructor", 3.0
        yield "repeat constructor", 1.0
        yield "constructor <;> assumption", 1.5
        yield "constructor <;> simp_all", 1.0
        if re.search(r"\d \* ", view.goal.target):
            yield "rw [Nat.mul_succ]", 1.0


def case_split(view: View) -> Iterator[Proposal]:
    """`if` and `match` in the target."""
    if re.search(r"\b(if|match)\b", view.goal.target):
        yield "split", 5.0
        yield "split <;> omega", 2.0
        yield "split <;> grind", 1.0


def name_the_nameless(view: View) -> Iterator[Proposal]:
    """Names with a dagger cannot be written: give them new ones."""
    nameless = [h for h in view.goal.hypotheses if not h.accessible and not h.name.startswith("inst")]
    names: list[str] = []
    for hypothesis in nameless:
        base = re.sub(r"[^\w']", "", hypothesis.name) or ("h" if hypothesis.is_prop else "x")
        names.append(view.fresh(base, *names))
    if names:
        yield f"rename_i {' '.join(names)}", 30.0


# --- rules: facts ---------------------------------------------------------------------------------


def use_fact(view: View) -> Iterator[Proposal]:
    """Every fact: hand it over, apply it, simplify with it."""
    for index, h in enumerate(view.facts):
        newer = 0.9**index
        yield f"simp at {h.name}", 0.8 * newer
        if re.search(r"→|∀|¬|↔|≠", h.type):
            yield f"apply {h.name}", 2.0 * newer
        if h.type == view.goal.target:
            yield f"exact {h.name}", 5.0
    if view.facts:
        yield "simp at *", 0.5
        names = ", ".join(h.name for h in reversed(view.facts))
        yield f"simp [{names}]", 1.0
        yield "simp [*] at *", 0.5


def rewrite_with_fact(view: View) -> Iterator[Proposal]:
    """Equations and equivalences."""
    for index, h in enumerate(view.facts):
        if not re.search(r"[=↔]", h.type):
            continue
        newer = 0.9**index
        yield f"rw [{h.name}]", 3.0 * newer
        yield f"rw [← {h.name}]", 0.8 * newer
        yield f"simp [{h.name}]", 2.0 * newer
        yield f"simp [{h.name}] <;> omega", 0.5 * newer


def take_apart(view: View) -> Iterator[Proposal]:
    """Facts that hold parts: conjunctions, disjunctions, existence, equations, the file's own predicates."""
    for h in view.facts:
        match h.inductive:
            case "And" | "Iff":
                left, right = view.fresh(h.name + "₁"), view.fresh(h.name + "₂")
                yield f"obtain ⟨{left}, {right}⟩ := {h.name}", 10.0 if h.inductive == "And" else 3.0
            case "Or":
                yield f"rcases {h.name} with {h.name} | {h.name}", 5.0
                yield f"rcases {h.name} with {h.name} | {h.name} <;> simp_all", 2.0
                yield f"rcases {h.name} with {h.name} | {h.name} <;> grind", 1.0
            case "Exists":
                bound = (binder_names(h.type) or ["x"])[0]
                yield f"obtain ⟨{view.fresh(bound)}, {h.name}⟩ := {h.name}", 10.0
            case "Eq":
                yield f"subst {h.name}", 4.0
                yield f"injection {h.name}", 0.3
            case None | "True" | "False":
                pass
            case _:
                yield f"cases {h.name}", 1.5
                yield f"cases {h.name} <;> simp_all", 1.5
                yield f"cases {h.name} <;> assumption", 1.0
                yield f"induction {h.name} <;> simp_all{_list(view)}", 0.8
                yield f"induction {h.name}", 0.6


def refute_with_fact(view: View) -> Iterator[Proposal]:
    """Negations whose opposite may be provable."""
    for h in view.facts:
        if re.match(r"¬", h.type) or "≠" in h.type:
            yield f"refine absurd ?_ {h.name}", 0.8
            yield f"exact absurd (by simp_all) {h.name}", 0.5


def specialise_fact(view: View) -> Iterator[Proposal]:
    """∀-facts, at the goal's variables and numerals."""
    for h in view.facts:
        if not h.type.startswith("∀"):
            continue
        terms = [d.name for d in view.data[:4] if "→" not in d.type] + [str(n) for n in view.numbers[:4]]
        for name, term in ((f"{h.name}_{term}", term) for term in terms):
            if view.fresh(name) == name:
                yield f"have {name} := {h.name} {term}", 0.4


# --- rules: variables -----------------------------------------------------------------------------


def induct(view: View) -> Iterator[Proposal]:
    """Induction on the goal's variables, with the names that a person would give."""
    candidates = [d for d in view.data if d.inductive and _mentions(view.goal.target, d.name)]
    for index, x in enumerate(candidates[:4]):
        newer = 0.8**index
        others = " ".join(d.name for d in reversed(candidates) if d.name != x.name)
        extra = _list(view)
        if x.inductive in ("Bool", "Prod", "Int", "Option", "Sum", "Fin", "Unit"):
            continue
        if x.inductive in CONSTRUCTORS:
            yield f"induction {x.name} with {alternatives(view, x, inductive=True)}", 1.5 * newer
        else:
            yield f"induction {x.name}", 1.5 * newer
        yield f"induction {x.name} <;> simp_all{extra}", 2.0 * newer
        yield f"induction {x.name} <;> grind{extra}", 2.0 * newer
        yield f"induction {x.name} <;> simp_all{extra} <;> omega", 1.5 * newer
        if others:
            yield f"induction {x.name} generalizing {others} <;> simp_all{extra}", 1.0 * newer
            yield f"induction {x.name} generalizing {others} <;> grind{extra}", 1.0 * newer


def take_cases(view: View) -> Iterator[Proposal]:
    """Case distinctions on the goal's variables."""
    for index, x in enumerate(d for d in view.data if d.inductive):
        newer = 0.8**index
        if x.inductive in CONSTRUCTORS:
            yield f"cases {x.name} with {alternatives(view, x, inductive=False)}", 0.8 * newer
        elif x.inductive in ("Prod", "Fin", "Subtype", "Sigma"):
            yield f"obtain ⟨{view.fresh(x.name + '₁')}, {view.fresh(x.name + '₂')}⟩ := {x.name}", 2.0 * newer
        else:
            yield f"cases {x.name}", 0.8 * newer
        yield f"cases {x.name} <;> simp_all{_list(view)}", 1.0 * newer
    for p in view.goal.hypotheses:
        if p.type == "Prop" and p.accessible:
            yield f"by_cases {view.fresh('h' + p.name)} : {p.name}", 0.5


def expand_products(view: View) -> Iterator[Proposal]:
    """Powers and products of numbers."""
    kind = number_type(view)
    if kind is None or not re.search(r"[*^]", view.goal.pretty):
        return
    yield f"simp [{EXPAND[kind]}]", 0.8
    yield f"simp [{EXPAND[kind]}] at * <;> omega", 0.8
    for x in [d for d in view.data if d.inductive == "Nat"][:2]:
        yield f"induction {x.name} <;> simp_all [Nat.pow_succ, Nat.mul_add] <;> omega", 1.0
        yield f"cases {x.name} <;> simp_all [Nat.pow_succ] <;> omega", 0.8


def residues(view: View) -> Iterator[Proposal]:
    """Goals about `%` or `∣` by a small numeral: one case for each remainder of each variable."""
    moduli = [int(n) for n in re.findall(r"% (\d{1,2})\b", view.goal.pretty)]
    moduli += [int(n) for n in re.findall(r"\b(\d{1,2}) ∣", view.goal.target)]
    for modulus in list(dict.fromkeys(m for m in moduli if 2 <= m <= 12))[:2]:
        for x in [d for d in view.data if d.inductive in MODULO][:3]:
            split = _split(remainders(x.name, modulus), view.fresh("h"), modulus)
            yield f"{split} <;> simp [{MODULO[x.inductive or '']}, {view.fresh('h')}]", 1.0
    kind = number_type(view)
    if moduli and kind:
        yield f"simp [{MODULO[kind]}, *]", 1.0
        yield f"simp [{MODULO[kind]}]", 0.5


def powers_cycle(view: View) -> Iterator[Proposal]:
    """``2 ^ n`` modulo 7 is 1, 2, 4, 1, …: state the cycle for ``n``, after which `omega` can reason."""
    text = view.goal.pretty
    naturals = {d.name for d in view.data if d.inductive == "Nat"}
    moduli = {int(m) for pair in re.findall(r"% (\d{1,3})\b|\b(\d{1,3}) ∣", text) for m in pair if m}
    powers = dict.fromkeys(re.findall(r"\b(\d{1,4}) \^ \(?(?:\d+ \* )?(\w+)", text))
    for (base, x), modulus in itertools.product(powers, sorted(moduli)):
        cycle = power_cycle(int(base), modulus)
        if x in naturals and cycle and f"{base} ^ {x} % {modulus}" not in text:
            claim = cycle_claim(int(base), x, modulus, cycle)
            yield f"have {view.fresh('h')} : {claim} := by {cycle_proof(x, len(cycle))}", 2.0


def powers_grow(view: View) -> Iterator[Proposal]:
    """``n < 2 ^ n``, for the powers of two in the goal."""
    for exponent in list(dict.fromkeys(re.findall(r"\b2 \^ (\w+|\([^()]*\))", view.goal.pretty)))[:3]:
        if not exponent.isdigit() and f"< 2 ^ {exponent}" not in view.goal.pretty:
            yield f"have {view.fresh('h')} := @Nat.lt_two_pow_self {exponent}", 1.0


def squares(view: View) -> Iterator[Proposal]:
    """A square of an integer is not negative."""
    if number_type(view) != "Int":
        return
    for x in [d for d in view.data if d.inductive == "Int"][:3]:
        if re.search(rf"\b{x.name} (\* {x.name}\b|\^ 2)", view.goal.pretty):
            sign = view.fresh("h")
            split = f"rcases Int.le_total 0 {x.name} with {sign} | {sign}"
            close = f"simp [Int.pow_succ, Int.mul_nonneg, Int.mul_nonneg_of_nonpos_of_nonpos, {sign}]"
            yield f"{split} <;> {close}", 1.0


def bound_factors(view: View) -> Iterator[Proposal]:
    """Natural numbers whose product or square is known are at most the root of the greatest numeral."""
    if not any(re.search(r"\w \* \w|\^ 2", h.type) for h in view.facts) or not view.numbers:
        return
    most = math.isqrt(max(view.numbers)) + 1
    variables = [d for d in view.data if d.inductive in MODULO][:2]
    if most > 100:
        return
    for x, y in itertools.product(variables, variables):
        if bounds(view, x)[1] is not None:
            continue
        proof = product_bound(x, y, most)
        yield f"have {view.fresh('h' + x.name)} : {x.name} ≤ {most} := {proof}", 0.6


def product_bound(x: Hypothesis, y: Hypothesis, most: int) -> str:
    """Were both above ``most``, so would be their product: a proof for `have`, by contradiction."""
    factors = " ".join(f"(show {most + 1} ≤ {v.name} by omega)" for v in (x, y))
    signs = " (by omega) (by omega)" if x.inductive == "Int" else ""
    return f"by false_or_by_contra; have := {x.inductive}.mul_le_mul {factors}{signs}; grind"


def enumerate_values(view: View) -> Iterator[Proposal]:
    """Variables between numeric bounds: one case for each value."""
    for x in [d for d in view.data if d.inductive in MODULO][:4]:
        low, high = bounds(view, x)
        if low is None or high is None or not 0 <= high - low < MOST_CASES:
            continue
        cases = " ∨ ".join(f"{x.name} = {value}" for value in range(low, high + 1))
        split = _split(f"(by omega : {cases})", "rfl", high - low + 1)
        yield f"{split} <;> first | omega | simp_all | grind", 2.0
        yield f"{split} <;> simp_all", 1.0


def strong_induction(view: View) -> Iterator[Proposal]:
    """Induction with every smaller number as hypothesis."""
    for x in [d for d in view.data if d.inductive == "Nat" and _mentions(view.goal.target, d.name)][:2]:
        ih = view.fresh("ih")
        yield f"induction {x.name} using Nat.strongRecOn with | ind {x.name} {ih} => ?_", 0.3


#: All rules; their order only breaks ties.
RULES: tuple[Rule, ...] = (
    introduce,
    witnesses,
    big_powers,
    unfold_definitions,
    construct,
    case_split,
    name_the_nameless,
    use_fact,
    rewrite_with_fact,
    take_apart,
    refute_with_fact,
    specialise_fact,
    induct,
    take_cases,
    expand_products,
    residues,
    powers_cycle,
    powers_grow,
    squares,
    bound_factors,
    enumerate_values,
    strong_induction,
)

# --- what the rules read out of the text ----------------------------------------------------------

_OPEN, _CLOSE = "([{⟨", ")]}⟩"


def binder_names(text: str) -> list[str]:
    """Names for the leading binders of ``∀ …``, ``∃ …`` and ``p → …``, at most six.

    >>> binder_names("∀ (x y : Nat), x < y → ∃ z, x < z")
    ['x', 'y', 'h']
    """
    names: list[str] = []
    while len(names) < 6:
        if text.startswith(("∀ ", "∃ ")):
            binder, comma, text = _cut(text[2:], ",")
            names.extend(_bound(binder))
        else:
            _, comma, text = _cut(text, "→")
            names.extend(["h"] if comma else [])
        if not comma:
            return names
        text = text.strip()
    return names


def _cut(text: str, mark: str) -> tuple[str, str, str]:
    """Like ``str.partition`` at the first mark outside brackets that no other binder or ``↔`` precedes."""
    depth = 0
    for index, char in enumerate(text):
        if char == mark and depth == 0:
            return text[:index], mark, text[index + 1 :]
        if depth == 0 and char in "∀∃↔λ":
            break
        depth += (char in _OPEN) - (char in _CLOSE)
    return text, "", ""


def _bound(binder: str) -> list[str]:
    """The names in ``x y``, ``(x : T) {y : U}`` and ``x ≥ 5`` (which binds a proof as well)."""
    groups = re.findall(r"[({\[⦃]([^:]*):", binder) or [binder.partition(":")[0]]
    names, relation, _ = _partition(" ".join(groups), "≤≥<>∈≠")
    found = [name if re.fullmatch(r"[\w']+", name) and name != "_" else "x" for name in names.split()]
    return found + (["h" + found[-1]] if relation and found else [])


def _partition(text: str, marks: str) -> tuple[str, str, str]:
    """Like ``str.partition`` at the first of several one-letter marks."""
    first = next((char for char in text if char in marks), None)
    return text.partition(first) if first else (text, "", "")


def power_cycle(base: int, modulus: int) -> list[int]:
    """Return the powers of ``base`` modulo ``modulus`` until they are back at 1; [] if never or late.

    >>> power_cycle(2, 7)
    [1, 2, 4]
    """
    cycle = [1]
    while len(cycle) <= 8:
        following = cycle[-1] * base % modulus
        if following == 1:
            return cycle
        cycle.append(following)
    return []


def cycle_claim(base: int, x: str, modulus: int, cycle: Sequence[int]) -> str:
    """What ``base ^ x % modulus`` is, for each remainder of ``x``."""
    if len(cycle) == 1:
        return f"{base} ^ {x} % {modulus} = 1"
    cases = (f"{x} % {len(cycle)} = {k} ∧ {base} ^ {x} % {modulus} = {r}" for k, r in enumerate(cycle))
    return " ∨ ".join(cases)


def cycle_proof(x: str, length: int) -> str:
    """Write ``x`` as a remainder plus a multiple of the length; the multiple makes no difference."""
    if length == 1:
        return "simp [Nat.pow_mod]"
    split = _split(remainders(x, length), "h", length)
    lemmas = "Nat.pow_add, Nat.pow_mul, Nat.pow_mod, Nat.mul_mod, Nat.add_mod"
    return f"rw [← Nat.mod_add_div {x} {length}]; {split} <;> simp [h, {lemmas}]"


def remainders(x: str, modulus: int) -> str:
    """A term for the disjunction of all values of ``x % modulus``."""
    return f"(by omega : {' ∨ '.join(f'{x} % {modulus} = {r}' for r in range(modulus))})"


def alternatives(view: View, x: Hypothesis, *, inductive: bool) -> str:
    """The ``| zero => ?_ | succ n ih => ?_`` of `induction` (or, without ``ih``, `cases`) on ``x``."""
    parts = []
    for constructor, *names in CONSTRUCTORS[x.inductive or ""]:
        kept = [name for name in names if inductive or name != "ih"]
        fresh = [x.name if name == "{x}" else view.fresh(name) for name in kept]
        parts.append(" ".join(["|", constructor, *fresh, "=> ?_"]))
    return " ".join(parts)


def bounds(view: View, x: Hypothesis) -> tuple[int | None, int | None]:
    """The least and greatest value of ``x`` that numeric facts such as ``1 ≤ x ∧ x < 10`` leave."""
    lows, highs = [0] if x.inductive == "Nat" else [], []
    for fact in view.facts:
        for atom in re.split("∧", fact.type):
            for low, high in _bounds_of_atom(atom.strip(" ()"), x.name):
                lows += [low] if low is not None else []
                highs += [high] if high is not None else []
    return max(lows, default=None), min(highs, default=None)


def _bounds_of_atom(atom: str, name: str) -> Iterator[tuple[int | None, int | None]]:
    match = re.fullmatch(r"(\S+) ([<≤>≥]) (\S+)", atom)
    if match is None:
        return
    left, relation, right = match.groups()
    if relation in ">≥":
        left, relation, right = right, {">": "<", "≥": "≤"}[relation], left
    strict = relation == "<"
    if right == name and re.fullmatch(r"-?\d{1,9}", left):
        yield int(left) + strict, None
    elif left == name and re.fullmatch(r"-?\d{1,9}", right):
        yield None, int(right) - strict


def number_type(view: View) -> str | None:
    """``Int`` if the goal has an integer variable, else ``Nat`` if it has a natural one."""
    kinds = {d.inductive for d in view.data}
    return "Int" if "Int" in kinds else "Nat" if "Nat" in kinds else None


def _split(term: str, pattern: str, count: int) -> str:
    return f"rcases {term} with {' | '.join([pattern] * count)}"


def _list(view: View) -> str:
    """The file's own definitions as a simp list, with a blank in front."""
    return f" [{', '.join(view.definitions)}]" if view.definitions else ""


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w'.]){re.escape(name)}(?![\w'])", text) is not None


# --- the generator --------------------------------------------------------------------------------


class Portfolio:
    """The portfolio as a tactic generator: deterministic, and blind to history."""

    name = "portfolio"

    @property
    def content_hash(self) -> str:
        """16 hex digits of the SHA-256 of this module's source: tables and rules alike."""
        return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        return [rank(propose(query.state.goals[0])) for query in queries]


def propose(goal: Goal) -> Iterator[Proposal]:
    """Yield everything the tables and rules have for this goal; the same tactic may come twice."""
    view = View(goal)
    yield from ALWAYS
    yield from BY_HEAD.get(goal.head, ())
    for rule in RULES:
        yield from rule(view)


def rank(proposals: Iterable[Proposal], width: int = WIDTH) -> list[Candidate]:
    """Keep the ``width`` heaviest tactics and turn their weights (all above 0) into log-probabilities."""
    weights: dict[str, float] = {}
    for tactic, weight in proposals:
        weights[tactic] = max(weight, weights.get(tactic, 0.0))
    best = sorted(weights.items(), key=lambda item: -item[1])[:width]
    total = math.fsum(weight for _, weight in best)
    return [Candidate(tactic, math.log(weight / total)) for tactic, weight in best]
