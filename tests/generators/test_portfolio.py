"""The portfolio proposes, for each kind of goal, the tactics that a person would try."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.environment import TacticState
from prover.generators.base import Query, well_formed
from prover.generators.portfolio import (
    BY_HEAD,
    MODULO,
    WIDTH,
    Portfolio,
    View,
    binder_names,
    bounds,
    power_cycle,
    propose,
    rank,
)
from prover.lean.messages import Goal, Hypothesis


def fact(name: str, type: str, inductive: str | None = None) -> Hypothesis:
    return Hypothesis(name, type, None, is_prop=True, inductive=inductive, accessible=True)


def var(name: str, type: str, inductive: str | None = None, accessible: bool = True) -> Hypothesis:
    return Hypothesis(name, type, None, is_prop=False, inductive=inductive, accessible=accessible)


def nat(name: str) -> Hypothesis:
    return var(name, "Nat", "Nat")


def goal(target: str, *hypotheses: Hypothesis, head: str = "Eq", definitions: tuple[str, ...] = ()) -> Goal:
    lines = [f"{h.name} : {h.type}" for h in hypotheses]
    return Goal(hypotheses, target, "\n".join([*lines, f"⊢ {target}"]), "", head, definitions)


def tactics(goal: Goal) -> list[str]:
    return [candidate.tactic for candidate in rank(propose(goal))]


def test_closers_are_always_there() -> None:
    assert {"rfl", "assumption", "simp", "omega", "simp_all", "grind", "decide"} <= set(tactics(goal("p")))


def test_introduces_all_binders_with_their_own_names() -> None:
    found = tactics(goal("∀ (x y : Nat), x < y → y ≠ x", nat("x"), head="∀"))
    assert found[0] in ("intro x'", "intro x' y h")
    assert {"intro x'", "intro x' y h"} <= set(found)


def test_takes_hypotheses_apart() -> None:
    found = tactics(
        goal(
            "r",
            fact("h", "p ∧ q", "And"),
            fact("k", "p ∨ q", "Or"),
            fact("e", "∃ n, f n = 0", "Exists"),
            fact("s", "x = 2", "Eq"),
        )
    )
    assert {
        "obtain ⟨h₁, h₂⟩ := h",
        "rcases k with k | k",
        "obtain ⟨n, e⟩ := e",
        "subst s",
        "rw [s]",
        "rw [← s]",
    } <= set(found)


def test_structure_of_the_target() -> None:
    assert "constructor" in tactics(goal("p ∧ q", head="And"))
    assert {"left", "right"} <= set(tactics(goal("p ∨ q", head="Or")))
    assert {"refine ⟨7, ?_⟩", "refine ⟨n, ?_⟩"} <= set(tactics(goal("∃ m, m = 7", nat("n"), head="Exists")))


def test_functions_of_a_competition_problem() -> None:
    """h₀ : ∀ x, f x = 2 * x + 4, and f 2 is asked for."""
    problem = goal(
        "f 2 = 8", var("f", "Nat → Nat"), fact("h₀", "∀ (x : Nat), f x = 2 * x + 4"), fact("h₁", "f 1 ≠ 0")
    )
    assert {"simp [h₀]", "rw [h₀]", "have h₀_2 := h₀ 2", "omega"} <= set(tactics(problem))


def test_induction_names_what_it_makes() -> None:
    found = tactics(goal("n + m = m + n", nat("m"), nat("n"), nat("ih")))
    assert "induction n with | zero => ?_ | succ n ih' => ?_" in found
    assert "cases n with | zero => ?_ | succ n => ?_" in found


def test_own_types_and_definitions() -> None:
    tree = goal("size (mirror t) = size t", var("t", "Tree", "Tree"), definitions=("size", "mirror"))
    assert {
        "induction t",
        "induction t <;> simp_all [size, mirror] <;> omega",
        "induction t <;> grind [size, mirror]",
        "fun_induction mirror <;> simp_all [size, mirror]",
        "unfold size",
        "simp [size, mirror]",
    } <= set(tactics(tree))


def test_definitions_go_by_the_name_that_the_goal_shows() -> None:
    shown = tactics(goal("sumTo n = n", nat("n"), definitions=("Numbers.sumTo",)))
    assert "simp [sumTo]" in shown
    hidden = tactics(goal("t.size = 0", var("t", "Tree", "Tree"), definitions=("Tree.size",)))
    assert "simp [Tree.size]" in hidden


def test_own_predicates_are_built() -> None:
    assert {"constructor", "rw [Nat.mul_succ]"} <= set(tactics(goal("Even (2 * n)", nat("n"), head="Even")))


def test_names_with_a_dagger_are_renamed_and_never_used() -> None:
    hidden = Hypothesis("h✝", "p", None, is_prop=True, inductive=None, accessible=False)
    found = tactics(goal("q", hidden, var("l✝", "Tree", "Tree", accessible=False), fact("h", "p → q")))
    assert found[0] == "rename_i h' l"
    assert not any("✝" in tactic for tactic in found)


def test_bounded_variables_are_enumerated() -> None:
    problem = goal("b = 9", nat("a"), nat("b"), fact("h", "1 ≤ a ∧ a < 4 ∧ b ≤ 30"))
    split = "rcases (by omega : a = 1 ∨ a = 2 ∨ a = 3) with rfl | rfl | rfl"
    found = tactics(problem)
    assert f"{split} <;> simp_all" in found
    assert not any("b = 30" in tactic for tactic in found), "too many cases"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (["0 < x", "x < 10"], (1, 9)),
        (["1 ≤ x ∧ x ≤ 9"], (1, 9)),
        (["x > 2", "5 ≥ x"], (3, 5)),
        (["x ≤ y", "x < 2 * k"], (0, None)),
        (["x ≤ 9 ∧ x ≤ 4", "xx ≤ 2"], (0, 4)),
    ],
)
def test_bounds(facts: list[str], expected: tuple[int | None, int | None]) -> None:
    x = nat("x")
    view = View(goal("x = x", x, *(fact(f"h{i}", text) for i, text in enumerate(facts))))
    assert bounds(view, x) == expected


def test_integers_have_no_bound_below_by_nature() -> None:
    x = var("x", "Int", "Int")
    assert bounds(View(goal("p", x, fact("h", "-3 < x"))), x) == (-2, None)


def test_remainders() -> None:
    found = tactics(goal("a ^ 2 % 3 = 0 ∨ a ^ 2 % 3 = 1", var("a", "Int", "Int"), head="Or"))
    cases = "rcases (by omega : a % 3 = 0 ∨ a % 3 = 1 ∨ a % 3 = 2) with h | h | h"
    assert f"{cases} <;> simp [{MODULO['Int']}, h]" in found


def test_cycle_of_powers() -> None:
    found = tactics(goal("¬7 ∣ 2 ^ n + 1", nat("n"), head="Not"))
    claim = "n % 3 = 0 ∧ 2 ^ n % 7 = 1 ∨ n % 3 = 1 ∧ 2 ^ n % 7 = 2 ∨ n % 3 = 2 ∧ 2 ^ n % 7 = 4"
    assert any(tactic.startswith(f"have h : {claim} := by rw") for tactic in found)
    known = goal("¬7 ∣ 2 ^ n + 1", nat("n"), fact("h", claim), head="Not")
    assert not any(claim in tactic for tactic in tactics(known)), "once is enough"


@given(st.integers(2, 50), st.integers(2, 50))
def test_power_cycle_is_a_cycle(base: int, modulus: int) -> None:
    cycle = power_cycle(base, modulus)
    if cycle:
        assert all(pow(base, k, modulus) == cycle[k % len(cycle)] for k in range(40))
    else:
        assert all(pow(base, k, modulus) != 1 for k in range(1, 9))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("∀ x, p x", ["x"]),
        ("∀ (x y : Nat) {z : List Nat}, p", ["x", "y", "z"]),
        ("∀ n ≥ 5, p n", ["n", "hn"]),
        ("∃ x, ∀ y, R x y", ["x", "y"]),
        ("p → q → r", ["h", "h"]),
        ("(p → q) → r", ["h"]),
        ("∀ (f : Nat → Nat), (∀ x, f x = 0) → f 1 = 0", ["f", "h"]),
        ("p ↔ (q → r)", []),
        ("∀ _ : p, q", ["x"]),
        ("p", []),
    ],
)
def test_binder_names(text: str, names: list[str]) -> None:
    assert binder_names(text) == names


NAMES = st.sampled_from(["x", "y", "n", "h", "h₀", "ih", "xs", "α", "p✝"])
TYPES = st.sampled_from(
    [
        *["Nat", "Int", "Prop", "Type", "List Nat", "Nat → Nat", "p ∧ q", "¬p", "x ≠ 2", "x * y = 12"],
        *["∀ n ≥ 5, f n = 2 ^ n", "x < 10 ∧ 3 ≤ x", "x ^ 2 + 1 = 5", "∃ x, x % 3 = 1", "5 ^ 2005 % 7 = 1"],
        *["if p then 1 else 2 = 1", "a ^ 2 % 3 = 0"],
    ]
)


@st.composite
def goals(draw: st.DrawFn) -> Goal:
    hypotheses = []
    for name in draw(st.lists(NAMES, unique=True, max_size=9)):
        inductive = draw(
            st.sampled_from([None, "Nat", "Int", "List", "Prod", "And", "Or", "Exists", "Eq", "Tree"])
        )
        hypotheses.append(
            Hypothesis(name, draw(TYPES), None, draw(st.booleans()), inductive, "✝" not in name)
        )
    head = draw(st.sampled_from([*BY_HEAD, "∀", "", "Tree.size"]))
    definitions = tuple(draw(st.lists(st.sampled_from(["f", "Tree.size", "sumTo"]), unique=True)))
    return goal(draw(TYPES), *hypotheses, head=head, definitions=definitions)


@given(goals())
async def test_keeps_its_promises_on_any_goal(goal: Goal) -> None:
    query = Query(TacticState((goal,), ()), (), "theorem t : p")
    [candidates] = await Portfolio().generate([query])
    assert candidates == (await Portfolio().generate([query]))[0], "deterministic"
    assert 0 < len(candidates) <= WIDTH
    assert len({c.tactic for c in candidates}) == len(candidates)
    assert [c.logprob for c in candidates] == sorted((c.logprob for c in candidates), reverse=True)
    assert math.isclose(math.fsum(math.exp(c.logprob) for c in candidates), 1.0)
    for candidate in candidates:
        assert well_formed(candidate.tactic) is None, candidate.tactic
        assert "✝" not in candidate.tactic
