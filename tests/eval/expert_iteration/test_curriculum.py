"""Which theorems come next."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from eval.benchmarks.base import Problem, Split
from eval.expert_iteration.curriculum import LATE_TACTICS, TURN, choose, in_turn
from prover.training.store import Standing

FAR, NEAR = Standing(False, 1, 0, 64, 1.0), Standing(False, 1, 0, 64, 0.4)
EASY, LATE = Standing(True, 1, 2, 64, 0.0), Standing(True, 1, LATE_TACTICS, 64, 0.0)


def problem(number: int, module: str = "M") -> Problem:
    return Problem(f"t{number}", "library", "1", Split.TRAIN, module, "", "", (), "", number % 7)


PROBLEMS = [problem(n) for n in range(40)]


def chosen_names(known: dict[str, Standing], size: int) -> set[str]:
    return names(choose(PROBLEMS, known, size, "decoder", 64))


def names(problems: list[Problem]) -> set[str]:
    return {p.id for p in problems}


def test_what_was_proved_easily_does_not_come_again() -> None:
    known = {p.id: EASY for p in PROBLEMS[:30]}
    assert chosen_names(known, 40) == names(PROBLEMS[30:])


def test_a_round_has_new_near_and_late_theorems() -> None:
    known = {p.id: s for p, s in zip(PROBLEMS, [NEAR] * 10 + [FAR] * 10 + [LATE] * 10, strict=False)}
    chosen = chosen_names(known, 16)
    counts = Counter(known.get(name) for name in chosen)
    assert counts == {None: 8, NEAR: 6, LATE: 2}


def test_what_was_tried_often_waits() -> None:
    known = {p.id: replace(NEAR, attempts=5) for p in PROBLEMS[:20]} | {
        p.id: replace(FAR, attempts=1) for p in PROBLEMS[20:]
    }
    assert chosen_names(known, 20) == names(PROBLEMS[20:])


@given(st.lists(st.sampled_from([None, FAR, NEAR, EASY, LATE]), min_size=40, max_size=40), st.integers(1, 50))
def test_a_round_is_as_large_as_it_can_be(standings: list[Standing | None], size: int) -> None:
    known = {p.id: s for p, s in zip(PROBLEMS, standings, strict=True) if s is not None}
    chosen = choose(PROBLEMS, known, size, "decoder", 64)
    assert len(chosen) == len(names(chosen)) == min(size, 40 - sum(s == EASY for s in standings))
    assert [p.position for p in chosen] == sorted(p.position for p in chosen)


def test_a_large_module_does_not_crowd_out_the_others() -> None:
    problems = [problem(n, "Large") for n in range(3 * TURN)]
    problems += [problem(n, f"M{n}") for n in range(3 * TURN, 3 * TURN + 5)]
    first = in_turn(problems)[: TURN + 5]
    assert Counter(p.module for p in first)["Large"] == TURN
    assert in_turn(problems[::-1]) == in_turn(problems)


def test_the_same_search_is_not_made_again() -> None:
    mine = frozenset({"decoder"})
    known = {p.id: replace(NEAR, generators=mine) for p in PROBLEMS[:20]}
    known |= {p.id: replace(LATE, generators=mine, budget=32) for p in PROBLEMS[20:30]}
    assert chosen_names(known, 40) == names(PROBLEMS[20:])
