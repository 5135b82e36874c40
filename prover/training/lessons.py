"""What worked at a state and what did not, told in one row: a model learns from its failures too.

After a tactic and its end a model is to say how it went: <PROOF> where the tactic is of a proof, <TACTIC>
where another one is needed. All tactics of a state stand in one row behind their prompt, and none sees
another (:class:`prover.training.dataset.Row`), so that a verdict costs its tactic's few tokens alone.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prover.training.examples import Failure, Proof

#: Tactics of a state that are told in one row: of those that worked, and of those that failed.
WORKED, FAILED = 4, 6


@dataclass(frozen=True, slots=True)
class Lesson:
    """A state of a proof, with the tactics that are known to be of a proof there, and others that fail."""

    proof: Proof
    place: int
    worked: tuple[str, ...]
    failed: tuple[str, ...]

    def drawn(self, chance: random.Random) -> Lesson:
        """As many of its tactics as one row tells."""
        return Lesson(
            self.proof,
            self.place,
            tuple(chance.sample(self.worked, min(WORKED, len(self.worked)))),
            tuple(chance.sample(self.failed, min(FAILED, len(self.failed)))),
        )


def lessons(proofs: Sequence[Proof], failures: Iterable[Failure]) -> list[Lesson]:
    """Return the states of some proofs, in order, each once with all that is known of it."""
    failed: dict[tuple[str, tuple[str, ...]], set[str]] = defaultdict(set)
    for failure in failures:
        failed[failure.theorem, failure.goals].add(failure.tactic)
    worked: dict[tuple[str, tuple[str, ...], tuple[str, ...]], tuple[Proof, int, set[str]]] = {}
    for proof in proofs:
        for place, step in enumerate(proof.steps):
            key = (proof.theorem, proof.script[:place], step.goals)
            worked.setdefault(key, (proof, place, set()))[2].add(step.tactic)
    return [
        Lesson(proof, place, tuple(sorted(good)), tuple(sorted(failed[theorem, goals] - good)))
        for (theorem, _, goals), (proof, place, good) in worked.items()
    ]
