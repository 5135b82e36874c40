"""Runs that were never run: records and search trees of any shape, in folders as the runner leaves them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.records import Plan, Record, Status
from eval.store import RunStore
from prover.search.tree import Kind, SearchTree

PLAN = Plan(
    benchmark="minif2f",
    benchmark_version="1",
    split="valid",
    generator="portfolio",
    online=False,
    seeds=(0,),
    expansions=100,
    tactics=100_000,
    seconds=60.0,
    problems=0,
    problems_hash="0123456789abcdef",
    model_hash="feedfacefeedface",
    memory_hash="",
    lean="4.28.0",
)

RECORD = Record(
    problem="t",
    seed=0,
    split="valid",
    tags=(),
    position=0,
    status=Status.NOT_PROVED,
    proof=None,
    steps=(),
    ended="exhausted",
    error_kind="",
    message="no proof found (exhausted)",
    expansions=10,
    tactics=400,
    errors=380,
    crashes=0,
    refused=2,
    duplicates=5,
    lean_seconds=3.0,
    model_seconds=0.25,
    open_seconds=0.1,
    check_seconds=0.5,
    wall_seconds=4.0,
    search_seconds=3.4,
    tries=1,
    statement_hash="",
    model_hash=PLAN.model_hash,
    memory_hash="",
    lean=PLAN.lean,
    commit="c0e8d0a",
    machine="2 cores, 8 GiB",
)


def attempt(problem: str, status: Status = Status.NOT_PROVED, **changes: Any) -> Record:
    """A record; a proved one has a proof."""
    success = {"proof": ("simp",), "ended": "proved", "message": ""} if status is Status.PROVED else {}
    failure = {"error_kind": "timeout", "ended": ""} if status is Status.INFRASTRUCTURE else {}
    return replace(RECORD, problem=problem, status=status, **(success | failure | changes))


def write_run(
    folder: Path,
    records: Sequence[Record],
    trees: Mapping[tuple[str, int], SearchTree] | None = None,
    **plan: Any,
) -> Path:
    """Write a run as the runner does."""
    seeds = tuple(sorted({record.seed for record in records}))
    problems = len({record.problem for record in records})
    with RunStore(folder, replace(PLAN, **{"seeds": seeds, "problems": problems, **plan})) as store:
        for record in records:
            tree = (trees or {}).get(record.key)
            store.write(record, tree.to_json() if tree else None)
    return folder


_TACTICS = (
    "intro h", "simp_all", "omega", "decide", "rfl", "constructor", "cases h", "exfalso", "norm_num",
    "induction n with\n| zero => simp\n| succ n ih => simp [ih]", "exact Nat.le_of_lt_succ h", "linarith",
    "rw [Nat.add_comm]", "apply Nat.le_antisymm", "obtain ⟨x, hx⟩ := h", "refine ⟨_, ?_⟩",
)  # fmt: skip
_ENDINGS = ("exhausted", "budget_seconds", "budget_expansions")
_TYPES = ("Nat", "Int", "List α", "Fin n", "BitVec 8")


def grow(
    seed: int, *, expansions: int, width: int = 40, proved: bool = True, statement: str = ""
) -> SearchTree:
    """A tree of a search that was never made: as wide and as wordy as a real one."""
    dice = random.Random(seed)
    tree = SearchTree((_goal(dice, 0),), statement=statement or f"theorem t{seed} (n : Nat) : n = n")
    for turn in range(expansions):
        node = max((n for n in tree.nodes if not n.expanded), key=lambda n: n.score, default=None)
        if node is None:
            break
        last = node
        node.visit, node.expanded = turn, True
        for _ in range(width):
            _try(tree, node.id, dice)
    if proved:
        tree.note(last, "exact Nat.le_refl _", -0.7, Kind.FINISHED, "", 0.01)
    return tree


def _try(tree: SearchTree, place: int, dice: random.Random) -> None:
    tactic, logprob = dice.choice(_TACTICS), -dice.uniform(0.1, 6)
    node = tree.nodes[place]
    if dice.random() < 0.06:
        tree.reach(node, tactic, logprob, (_goal(dice, len(tree.nodes)),), 0.02)
    else:
        tree.note(node, tactic, logprob, Kind.ERROR, _message(dice, node.goals[0]), 0.03)


def _goal(dice: random.Random, number: int) -> str:
    names = dice.sample("abcdfgkmn", dice.randint(2, 4))
    hypotheses = [f"{name} : {dice.choice(_TYPES)}" for name in names]
    for i in range(dice.randint(0, 3)):
        hypotheses.append(f"h{i} : {dice.choice(names)} ≤ {dice.choice(names)} * {number}")
    target = f"({names[0]} + {number}) * {names[1]} = {names[1]} * {names[0]} + {dice.randint(0, 99)}"
    return "\n".join([*hypotheses, f"⊢ {target}"])


def _message(dice: random.Random, goal: str) -> str:
    reasons = ("unsolved goals", "omega could not prove the goal", "type mismatch", "simp made no progress")
    return f"{dice.choice(reasons)}\n{goal}"


def benchmark_run(
    folder: Path,
    problems: int,
    seed: int,
    *,
    seeds: Sequence[int] = (0,),
    strength: float = 0.5,
    **plan: Any,
) -> Path:
    """A run that looks like one on a real benchmark."""
    drawn = [_draw(n, s, random.Random(f"{n}/{s}/{seed}"), strength) for n in range(problems) for s in seeds]
    searched = [record for record in drawn if record.status in (Status.PROVED, Status.NOT_PROVED)]
    trees = {record.key: _tree_of(record, seed) for record in searched}
    return write_run(folder, drawn, trees, seeds=tuple(seeds), **plan)


def _tree_of(record: Record, seed: int) -> SearchTree:
    claim = f"theorem {record.problem} (n : Nat) (h : 0 < n) :\n    n + {seed} = {seed} + n := by\n  sorry"
    proved = record.status is Status.PROVED
    return grow(record.position + seed, expansions=min(40, record.expansions), proved=proved, statement=claim)


def _draw(number: int, seed: int, dice: random.Random, strength: float) -> Record:
    hard = random.Random(number).random()
    category = ("algebra", "number_theory", "induction", "competition")[number % 4]
    tags = [f"category:{category}", f"difficulty:level {1 + int(hard * 5)}"]
    tags += ["known:wrong"] if number % 97 == 5 else ["known:trivial"] if number % 89 == 7 else []
    name = f"{('mathd_algebra', 'mathd_numbertheory', 'induction', 'amc12a')[number % 4]}_{number}"
    status = _status(dice, hard, strength)
    seconds = round(dice.lognormvariate(0.5 + 2 * hard, 1.0), 3)
    expansions = max(1, min(100, int(dice.lognormvariate(1.0 + 2.5 * hard, 0.9))))
    record = attempt(name, status, seed=seed, position=number, tags=tuple(tags), expansions=expansions)
    if status is Status.NOT_EXPRESSIBLE:
        nothing = dict.fromkeys(("expansions", "tactics", "errors"), 0) | {"search_seconds": 0.0, "ended": ""}
        return replace(record, **nothing, message="unknown identifier 'Real.sqrt'")
    return replace(
        record,
        tactics=expansions * 40,
        errors=expansions * 36,
        search_seconds=seconds,
        wall_seconds=seconds * 1.15,
        lean_seconds=seconds * 0.9,
        model_seconds=seconds * 0.06,
        open_seconds=0.0,
        check_seconds=seconds * 0.1,
        ended=dice.choice(_ENDINGS) if status is Status.NOT_PROVED else record.ended,
    )


def _status(dice: random.Random, hard: float, strength: float) -> Status:
    roll = dice.random()
    if roll < 0.01:
        return Status.INFRASTRUCTURE
    if roll < 0.015:
        return Status.REJECTED
    if hard > 0.8 and hard * 1000 % 2 < 1:
        return Status.NOT_EXPRESSIBLE
    return Status.PROVED if dice.gauss(strength, 0.15) > hard else Status.NOT_PROVED
