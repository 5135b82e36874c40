"""Shortening proofs and laying them out: against a scripted environment, and for any shape of proof."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.proof_script import (
    Bullets,
    Step,
    arrange,
    format_flat,
    format_proof,
    from_the_root,
    replay,
    shorten,
)
from tests.search.fake_environment import CRASH, FakeEnvironment

# --- replay and shorten ---------------------------------------------------------------------------

DETOUR = {
    "p": {"split": "q r", "swap": "p'", "close all": ""},
    "p'": {"split": "q r"},
    "q": {"close": "", "slow": "q2", "boom": CRASH},
    "q2": {"close": ""},
    "r": {"close": "", "slow": "r2"},
    "r2": {"close": ""},
}


async def test_replay_shows_the_goals_before_and_after() -> None:
    environment = FakeEnvironment(DETOUR)
    steps = await replay(environment, ["split", "close", "close", "never reached"])
    assert steps == (
        Step("split", ("⊢ p",), ("⊢ q", "⊢ r")),
        Step("close", ("⊢ q", "⊢ r"), ("⊢ r",)),
        Step("close", ("⊢ r",), ()),
    )
    assert environment.alive == {()}


@pytest.mark.parametrize("tactics", [["split"], ["split", "wrong", "close"], ["split", "boom"], []])
async def test_what_does_not_finish_is_no_proof(tactics: list[str]) -> None:
    environment = FakeEnvironment(DETOUR)
    assert await replay(environment, tactics) is None
    assert await shorten(environment, tactics) == tuple(tactics)
    assert environment.alive == {()}


async def test_unnecessary_steps_go() -> None:
    environment = FakeEnvironment(DETOUR)
    proof = ["swap", "split", "slow", "close", "slow", "close"]
    assert await shorten(environment, proof) == ("split", "close", "close")
    assert environment.alive == {()}


async def test_necessary_steps_stay() -> None:
    assert await shorten(FakeEnvironment(DETOUR), ["split", "close", "close"]) == ("split", "close", "close")


async def test_a_step_that_only_a_later_one_needed_goes_too() -> None:
    """`use h` fails without `have h`; once `use h` is gone, `have h` is idle."""
    script = {"p": {"have h": "h⊢p", "done": ""}, "h⊢p": {"use h": "h'⊢p", "done": ""}, "h'⊢p": {"done": ""}}
    assert await shorten(FakeEnvironment(script), ["have h", "use h", "done"]) == ("done",)


async def test_a_step_that_only_an_earlier_one_needed_goes_too() -> None:
    """`unmark` is needed after `mark`, and idle without it."""
    script = {"p": {"mark": "m", "unmark": "p", "done": ""}, "m": {"unmark": "p"}}
    assert await shorten(FakeEnvironment(script), ["mark", "unmark", "done"]) == ("done",)


async def test_attempts_are_bounded() -> None:
    script = {"p": {f"skip{i}": "p" for i in range(50)} | {"done": ""}}
    proof = [f"skip{i}" for i in range(50)] + ["done"]
    environment = FakeEnvironment(script)
    assert len(await shorten(environment, proof, attempts=10)) == 42
    assert len(await shorten(environment, proof)) == 1


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tactic", "written"),
    [
        ("exact foo h", "exact _root_.foo h"),
        ("simp [← b.foo, foo.mp, bar]", "simp [← _root_.b.foo, _root_.foo.mp, bar]"),
        ("exact foo' (x.foo) foo_bar c.b.foo", "exact foo' (x.foo) foo_bar c.b.foo"),
        ("exact _root_.foo", "exact _root_.foo"),
        ("exact «foo»", "exact «foo»"),
    ],
)
def test_names_that_could_be_the_theorems_own_are_said_from_the_root(tactic: str, written: str) -> None:
    assert from_the_root(tactic, "a.b.foo") == written
    assert from_the_root(tactic, "") == tactic


# --- arrange and format ---------------------------------------------------------------------------


def steps_of(*moves: tuple[str, str]) -> list[Step]:
    """``("t", "q r")``: the tactic t puts the goals q and r in place of the main one."""
    goals: tuple[str, ...] = ("p",)
    steps = []
    for tactic, new in moves:
        after = (*new.split(), *goals[1:])
        steps.append(Step(tactic, goals, after))
        goals = after
    return steps


def test_one_goal_stays_flat() -> None:
    assert format_proof(steps_of(("intro h", "q"), ("simp", "r"), ("omega", ""))) == [
        "intro h",
        "simp",
        "omega",
    ]


def test_bullets_for_several_goals() -> None:
    steps = steps_of(("constructor", "q r"), ("intro h", "s"), ("exact h", ""), ("simp", ""))
    assert format_proof(steps, "  ") == ["  constructor", "  · intro h", "    exact h", "  · simp"]


def test_nested_bullets() -> None:
    steps = steps_of(
        ("induction n", "z s"),
        ("rfl", ""),
        ("cases h", "a b"),
        ("simp", "a'"),
        ("omega", ""),
        ("constructor", "x y"),
        ("rfl", ""),
        ("rfl", ""),
    )
    assert format_proof(steps) == [
        "induction n",
        "· rfl",
        "· cases h",
        "  · simp",
        "    omega",
        "  · constructor",
        "    · rfl",
        "    · rfl",
    ]


def test_lines_of_a_tactic_keep_their_shape() -> None:
    tactic = "  calc a = b := by\n      simp\n\n    _ = c := h  "
    steps = steps_of(("constructor", "q r"), (tactic, ""), ("exact ⟨x,\n  y⟩", ""))
    assert format_proof(steps) == [
        "constructor",
        "· calc a = b := by",
        "      simp",
        "    _ = c := h",
        "· exact ⟨x,",
        "    y⟩",
    ]


def test_a_tactic_that_reaches_beyond_its_goal_leaves_that_part_flat() -> None:
    steps = [
        Step("constructor", ("p",), ("q", "r")),
        Step("all_goals simp", ("q", "r"), ("q'", "r'")),
        Step("constructor", ("q'", "r'"), ("a", "b", "r'")),
        Step("rfl", ("a", "b", "r'"), ("b", "r'")),
        Step("rfl", ("b", "r'"), ("r'",)),
        Step("omega", ("r'",), ()),
    ]
    assert format_proof(steps) == ["constructor", "all_goals simp", "constructor", "· rfl", "· rfl", "omega"]


def test_a_goal_that_another_block_changes_gets_no_bullet() -> None:
    """The second goal shares a metavariable with the first: solving that one changes it."""
    steps = [
        Step("refine ⟨?_, ?_⟩", ("p",), ("q ?x", "r ?x")),
        Step("exact h", ("q ?x", "r ?x"), ("r 3",)),
        Step("simp", ("r 3",), ()),
    ]
    assert format_proof(steps) == ["refine ⟨?_, ?_⟩", "exact h", "simp"]


def test_several_goals_from_the_start() -> None:
    steps = [
        Step("split", ("p", "q"), ("a", "b", "q")),
        Step("rfl", ("a", "b", "q"), ("b", "q")),
        Step("rfl", ("b", "q"), ("q",)),
        Step("rfl", ("q",), ()),
    ]
    assert format_proof(steps) == ["split", "· rfl", "· rfl", "rfl"]


def test_flat() -> None:
    assert format_flat(["intro h", "exact ⟨x,\n  y⟩"], "  ") == ["  intro h", "  exact ⟨x,", "    y⟩"]


def test_nothing_is_nothing() -> None:
    assert format_proof([]) == []
    assert arrange([]) == ()


# --- any proof ------------------------------------------------------------------------------------


class Walk:
    """A random proof: unique tactics, each with the goals it takes from the front and those it puts there."""

    def __init__(self, seed: int, length: int, wide: float) -> None:
        rng = random.Random(seed)
        self.moves: dict[str, tuple[list[str], list[str]]] = {}
        self.steps: list[Step] = []
        self.goals = ["⊢ g"]
        while self.goals:
            growing = len(self.steps) < length
            taken = rng.randint(2, 3) if rng.random() < wide else 1
            self._step(taken, rng.choice([0, 1, 1, 2, 2, 3]) if growing else 0)

    def _step(self, taken: int, made: int) -> None:
        number = len(self.steps)
        tactic = f"tac{number} «αβ ∀»" + ("\n  more\n    and more" if number % 4 == 3 else "")
        before, new = self.goals, [f"⊢ g{number}.{i} ∈ ℕ" for i in range(made)]
        self.moves[tactic] = before[:taken], new
        self.goals = new + before[taken:]
        self.steps.append(Step(tactic, tuple(before), tuple(self.goals)))


Block = list["str | Block"]


def read(lines: Sequence[str]) -> Block:
    """Read a laid out proof by its columns alone: tactics, and a block of its own for each bullet."""
    groups: list[list[str]] = []
    for line in lines:
        if line.startswith(" "):
            groups[-1].append(line)
        else:
            groups.append([line])
    return [
        read([first[2:], *(line.removeprefix("  ") for line in others)])
        if first.startswith("· ")
        else "\n".join([first, *others])
        for first, *others in groups
    ]


def run(walk: Walk, block: Block, goals: list[str]) -> list[str]:
    """Run a block as Lean does: a bullet sees the main goal only and must close it; return the tactics."""
    order: list[str] = []
    for item in block:
        if isinstance(item, list):
            order += run(walk, item, goals[:1])
            goals = goals[1:]
        else:
            taken, new = walk.moves[item]
            assert goals[: len(taken)] == taken, f"{item!r} does not see the goals it works on"
            goals = [*new, *goals[len(taken) :]]
            order.append(item)
    assert goals == [], "goals are left"
    return order


@given(st.integers(), st.integers(0, 40), st.sampled_from([0.0, 0.1, 0.4]))
def test_layout_keeps_the_steps_and_still_proves(seed: int, length: int, wide: float) -> None:
    walk = Walk(seed, length, wide)
    lines = format_proof(walk.steps)
    assert run(walk, read(lines), ["⊢ g"]) == [step.tactic for step in walk.steps]


@given(st.integers(), st.integers(0, 40))
def test_without_reaching_tactics_every_split_gets_bullets(seed: int, length: int) -> None:
    walk = Walk(seed, length, wide=0.0)
    splits = sum(len(new) > 1 for _, new in walk.moves.values())

    def count(items: Sequence[Step | Bullets]) -> int:
        blocks = [block for item in items if isinstance(item, Bullets) for block in item.blocks]
        return sum(isinstance(item, Bullets) for item in items) + sum(map(count, blocks))

    assert count(arrange(walk.steps)) == splits


def test_deep_nesting() -> None:
    moves = [(f"split{i}", "a b") for i in range(100)] + [("rfl", "")] * 101
    lines = format_proof(steps_of(*moves))
    assert len(lines) == 201
    assert lines[1] == "· split1"
    assert lines[100] == "  " * 99 + "· rfl"
    assert lines[-1] == "· rfl"
