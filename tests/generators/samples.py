"""A small library and goals for the tests of generators."""

from __future__ import annotations

from prover.environment import Scope, TacticState
from prover.generators.base import Query
from prover.lean.messages import Declaration, Goal, Hypothesis, Module
from prover.premises import PremiseCorpus

NAT = ("Eq", "HAdd.hAdd", "Nat")
LIST = ("Eq", "List", "List.map", "List.length")


WORD = ("Eq", "Word8", "Word8.toNat")
RAW = ("Map.Raw", "Map.Raw.WF", "Map.Raw.erase", "Map.Raw.size")


def theorem(name: str, module: str, type_: str, *constants: str) -> Declaration:
    return Declaration(name, "theorem", module, type_, tuple(sorted(constants)))


THEOREMS = (
    theorem("Nat.add_comm", "A", "∀ (n m : Nat), n + m = m + n", *NAT),
    theorem("Nat.add_zero", "A", "∀ (n : Nat), n + 0 = n", *NAT),
    theorem("Nat.le_trans", "A", "∀ {a b c : Nat}, a ≤ b → b ≤ c → a ≤ c", "LE.le", "Nat"),
    theorem("List.length_map", "B", "∀ {as : List α} (f : α → β), (List.map f as).length = as.length", *LIST),
    theorem("List.map_id", "B", "∀ (as : List α), List.map id as = as", "Eq", "List", "List.map", "id"),
    theorem("Word8.toNat_inj", "B", "∀ {a b : Word8}, a.toNat = b.toNat ↔ a = b", *WORD),
    theorem("Word16.toNat_inj", "B", "∀ {a b : Word16}, a.toNat = b.toNat ↔ a = b", "Word16"),
    theorem("Word8.toNat_inj'", "B", "∀ {a b : Word8}, a.toNat = b.toNat → a = b", *WORD),
    theorem("Map.Raw.size_erase", "B", "∀ {m : Map.Raw}, m.WF → m.erase.size = m.size", *RAW),
    theorem("List.length_map_late", "C", "∀ (f : α → β), (List.map f as).length = as.length", *LIST),
)
OTHERS = (
    Declaration("Nat", "inductive", "A", "Type", ()),
    Declaration("List", "inductive", "B", "Type u → Type u", ()),
    Declaration("Word8", "inductive", "B", "Type", ()),
    Declaration("Word16", "inductive", "B", "Type", ()),
    Declaration("List.double", "definition", "B", "List Nat → List Nat", ("List", "Nat")),
)
MODULES = (Module("A", ()), Module("B", ("A",)), Module("C", ("B",)))
CORPUS = PremiseCorpus("4.0.0", MODULES, (*OTHERS, *THEOREMS))


def goal(
    target: str, *hypotheses: tuple[str, str], constants: tuple[str, ...] = (), head: str = "Eq"
) -> Goal:
    """A goal; a hypothesis whose name begins with ``h`` is a fact."""
    lines = [f"{name} : {type_}" for name, type_ in hypotheses]
    found = tuple(
        Hypothesis(n, type_, None, n.startswith("h"), None, "✝" not in n) for n, type_ in hypotheses
    )
    return Goal(found, target, "\n".join([*lines, f"⊢ {target}"]), "", head, (), constants)


def query(at: Goal, modules: frozenset[str] | None = None, position: int | None = None) -> Query:
    return Query(TacticState((at,), ()), (), "", scope=Scope(modules, (), position))


LENGTH = goal(
    "(List.map f xs).length = xs.length", ("xs", "List Nat"), ("f", "Nat → Nat"), constants=(*LIST, "Nat")
)
