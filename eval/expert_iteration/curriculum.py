"""Which training theorems are attempted next: new ones, and those that were nearly or only just proved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from eval.benchmarks.base import Problem, draw
from prover.training.store import Standing

#: Theorems of a module that are taken before the next module's turn: few, so that some large modules on maps
#: do not crowd out all others, but not too few, since each module has imports of its own to be read.
TURN = 100
#: Of a round: what was never attempted, what came nearer to a proof without one, what was proved late.
FRESH, NEAR, LATE = 0.5, 0.375, 0.125
#: A proof after so many tactics is late.
LATE_TACTICS = 32


def choose(
    problems: Sequence[Problem], known: Mapping[str, Standing], size: int, generator: str, budget: int
) -> list[Problem]:
    """Return up to ``size`` problems for the next round, by position.

    What one kind has too few of goes to the others. What this generator has attempted with such a budget of
    tactics is left alone: it would do the same again.
    """
    fresh = [p for p in in_turn(problems) if p.id not in known]
    seen = [(p, known[p.id]) for p in problems if p.id in known]
    seen = [(p, s) for p, s in seen if generator not in s.generators or s.budget < budget]
    near = [(s.attempts, s.closest, p.id, p) for p, s in seen if not s.proved]
    late = [(s.attempts, -s.tactics, p.id, p) for p, s in seen if s.proved and s.tactics >= LATE_TACTICS]
    kinds = [fresh, [p for *_, p in sorted(near, key=_key)], [p for *_, p in sorted(late, key=_key)]]
    chosen = _shares(kinds, (FRESH, NEAR, LATE), size)
    return sorted(chosen, key=lambda p: p.position)


def _key(row: tuple[int, float, str, Problem]) -> tuple[int, float, str]:
    return row[:3]


def in_turn(problems: Sequence[Problem]) -> list[Problem]:
    """All problems: turn by turn, in each turn up to so many of a module, modules and problems at random."""
    taken: Counter[str | None] = Counter()
    turns: list[tuple[int, bytes, Problem]] = []
    for problem in sorted(problems, key=lambda p: draw(p.id)):
        turns.append((taken[problem.module] // TURN, draw(problem.module or problem.tag("module")), problem))
        taken[problem.module] += 1
    return [problem for *_, problem in sorted(turns, key=lambda turn: turn[:2])]


def _shares(kinds: Sequence[Sequence[Problem]], shares: Sequence[float], size: int) -> list[Problem]:
    """Take each kind's share; what is missing is filled up with what is left, the first kind first."""
    counts = [min(len(kind), round(size * share)) for kind, share in zip(kinds, shares, strict=True)]
    for i, kind in enumerate(kinds):
        counts[i] += max(0, min(len(kind) - counts[i], size - sum(counts)))
    return [p for kind, count in zip(kinds, counts, strict=True) for p in kind[:count]][:size]
