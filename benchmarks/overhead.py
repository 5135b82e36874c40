"""What a tactic costs beyond Lean's own time: ``python benchmarks/overhead.py``.

Prints two figures, with what they should be at most or at least, and ends with 1 when one is missed:
what one cheap tactic costs from Python more than Lean itself reports (median), and how much of a portfolio
search's wall time is spent inside Lean.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from prover.environment import Outcome
from prover.generators import make_generator
from prover.lean.messages import Source
from prover.lean.pool import LeanPool
from prover.lean.toolchain import choose_lean
from prover.lean_environment import LeanDojo, LeanFile, open_file
from prover.search.best_first import Budget, best_first_search

#: Milliseconds, and a share of the wall time.
MOST_OVERHEAD, LEAST_SHARE = 2.0, 0.85

THEOREMS = """
theorem cheap (p q r : Prop) (a b : Nat) (hp : p) (hq : q) (h : a = b) : (p ∧ q) ∧ b = a := by sorry

theorem false (p q r : Prop) (l m : List Nat) (h : p ∧ (q ∨ r)) (hl : l.length = m.length) :
    (p ∧ (r ∨ q)) ∧ (l = m ∨ ∃ n, n ∈ l) := by
  sorry
"""
#: Those that fail, that go on and that finish, in turn.
CHEAP = ("exact hp", "constructor", "refine ⟨⟨hp, hq⟩, h.symm⟩", "intro x", "refine ⟨⟨?_, ?_⟩, ?_⟩")


async def measure(tactics: int, seconds: float) -> bool:
    """Take and print both figures; return whether they are good enough."""
    command = choose_lean(None, None)
    print(f"{command.description}; {platform.platform()}, Python {platform.python_version()}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    async with (
        LeanPool(command, size=1, spares=0) as pool,
        open_file(pool, Source("O", "O.lean", THEOREMS)) as file,
    ):
        overhead = await overhead_of_tactics(LeanDojo(file, 0), tactics)
        share = await share_of_search(file, seconds)
    return overhead <= MOST_OVERHEAD and share >= LEAST_SHARE


async def overhead_of_tactics(dojo: LeanDojo, count: int) -> float:
    """Median milliseconds that a tactic costs from here more than Lean reports."""
    await dojo.run_tacs(dojo.root, CHEAP)
    outcomes: list[Outcome] = []
    for number in range(count):
        outcomes.append(await dojo.run_tac(dojo.root, CHEAP[number % len(CHEAP)]))
    over = sorted(1000 * (o.seconds - o.lean_seconds) for o in outcomes)
    lean = statistics.median(1000 * o.lean_seconds for o in outcomes)
    median = statistics.median(over)
    print(
        f"{count} cheap tactics: {median:.2f} ms each beyond Lean's own {lean:.2f} ms (medians; "
        f"nine in ten below {over[count * 9 // 10]:.2f} ms); at most {MOST_OVERHEAD} ms are wanted"
    )
    await dojo.close()
    return median


async def share_of_search(file: LeanFile, seconds: float) -> float:
    """Share of a search's wall time that is spent inside Lean."""
    dojo = LeanDojo(file, 1)
    result = await best_first_search(dojo, make_generator("portfolio"), Budget(10_000, 1_000_000, seconds))
    share = result.counts.lean_seconds / result.seconds
    print(
        f"portfolio search: {result.counts.tactics} tactics and {result.counts.expansions} expansions in "
        f"{result.seconds:.1f} s ({result.status}), {share:.1%} of it inside Lean, "
        f"{result.counts.generator_seconds:.2f} s in the generator; at least {LEAST_SHARE:.0%} are wanted"
    )
    return share


def main(arguments: Sequence[str] | None = None) -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tactics", type=int, default=1000, help="how many cheap tactics")
    parser.add_argument("--seconds", type=float, default=20.0, help="the search's budget")
    given = parser.parse_args(arguments)
    return 0 if asyncio.run(measure(given.tactics, given.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
