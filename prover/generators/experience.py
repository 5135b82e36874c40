"""What was learned from proofs: which tactic was used on which goal, and which goals are alike.

After Tactician (Blaauwbroek, Urban & Geuvers 2020, "Tactic Learning and Proving for the Coq Proof
Assistant"): a goal is a set of features, goals are compared by the Jaccard index of their features weighted
by inverse document frequency, and learning is remembering. Goals are remembered as text, so that an
experience can be made again from the records of any run.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self

from prover.errors import InputError
from prover.generators.base import Step
from prover.generators.printed import printed_goal, relation, symbols

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = "experience 1"

#: What a feature counts, by where it comes from: the target's head, the target, the hypotheses.
_WEIGHTS = {"head": 2.0, "⊢": 1.0, ":": 0.4}


@dataclass(frozen=True, slots=True)
class Memory:
    """A tactic of an accepted proof, and the main goal it was run on."""

    goal: str
    tactic: str
    #: The theorem's place in the order of learning; None: before everything.
    position: int | None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A memory that is like a goal: from 0 (nothing in common) to 1 (the same features)."""

    memory: Memory
    similarity: float


@lru_cache(maxsize=10_000)
def features(goal: str) -> Mapping[str, float]:
    """The features of a goal's text with their weights: symbols, pairs of neighbouring symbols, the head.

    Names of hypotheses do not matter; a fact counts by the symbols of its type, a variable by its type.
    """
    read = printed_goal(goal)
    found = [f"head {relation(read.target).head}"]
    found += [f"⊢ {feature}" for feature in _walk(read.target, read.names)]
    for _, type_ in read.hypotheses:
        found += [f": {feature}" for feature in _walk(type_, read.names)]
    return {feature: _weight(feature) for feature in found}


def _weight(feature: str) -> float:
    return _WEIGHTS[feature.partition(" ")[0]]


def _walk(text: str, names: Collection[str]) -> Iterator[str]:
    """Symbols and pairs of neighbours."""
    found = symbols(text, names)
    yield from found
    yield from (f"{left} {right}" for left, right in pairwise(found))


class Experience:
    """Memories with an index over their features. Only ever added to."""

    def __init__(self, memories: Sequence[Memory] = ()) -> None:
        self.memories: list[Memory] = []
        self._known: set[Memory] = set()
        self._places: dict[str, array[int]] = {}
        #: Of each memory its position, -1 for None.
        self._positions = array("q")
        #: Of each memory the weight of all its features; too short when something was learned since.
        self._weights: NDArray[np.float64] | None = None
        for memory in memories:
            self.add(memory)

    def __len__(self) -> int:
        return len(self.memories)

    def learn(self, proof: Sequence[Step], position: int | None) -> None:
        """Remember each tactic of a proof with the main goal it was run on."""
        for step in proof:
            if step.goals:
                self.add(Memory(step.goals[0], step.tactic, position))

    def add(self, memory: Memory) -> None:
        """Remember one thing; what is known already stays once."""
        if memory in self._known:
            return
        place = len(self.memories)
        self._known.add(memory)
        self.memories.append(memory)
        self._positions.append(-1 if memory.position is None else memory.position)
        for feature in features(memory.goal):
            self._places.setdefault(feature, array("q")).append(place)

    def nearest(self, goal: str, before: int | None, limit: int) -> list[Neighbour]:
        """Return the memories most like a goal, the most similar first (the newer first of equals).

        Args:
            before: only what was learned at a place before this one; None: everything.
        """
        import numpy as np

        if not self.memories:
            return []
        wanted = features(goal)
        shared = self._shared(wanted)
        whole = self._totals() + sum(weight * self.idf(feature) for feature, weight in wanted.items())
        similarity = shared / (whole - shared)
        if before is not None:
            similarity[np.frombuffer(self._positions, dtype=np.int64) >= before] = 0.0
        newest_first = np.argsort(-similarity[::-1], kind="stable")[:limit]
        places = (len(self.memories) - 1 - int(i) for i in newest_first)
        return [Neighbour(self.memories[i], float(similarity[i])) for i in places if similarity[i] > 0.0]

    def _shared(self, wanted: Mapping[str, float]) -> NDArray[np.float64]:
        """For each memory, the weight of the features that it shares."""
        import numpy as np

        shared = np.zeros(len(self.memories))
        for feature, weight in wanted.items():
            if feature in self._places:
                shared[np.frombuffer(self._places[feature], dtype=np.int64)] += weight * self.idf(feature)
        return shared

    def _totals(self) -> NDArray[np.float64]:
        """For each memory, the weight of all its features; counted anew when something was learned."""
        if self._weights is None or len(self._weights) < len(self.memories):
            self._weights = self._shared({feature: _weight(feature) for feature in self._places})
        return self._weights

    def idf(self, feature: str) -> float:
        """Inverse document frequency, above 0."""
        return math.log(1.0 + (1 + len(self.memories)) / (1 + len(self._places.get(feature, ()))))

    # --- on disk ------------------------------------------------------------------------------------

    @property
    def content_hash(self) -> str:
        """16 hex digits of the SHA-256 of all that is remembered, in order; "" of nothing."""
        if not self.memories:
            return ""
        digest = hashlib.sha256()
        for memory in self.memories:
            digest.update(_line(memory).encode())
        return digest.hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write it whole, as JSON lines: a head with the format, then a memory a line."""
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        lines = [json.dumps({"format": FORMAT}) + "\n", *map(_line, self.memories)]
        scratch.write_text("".join(lines), encoding="utf-8")
        scratch.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: it cannot be read, or is something else.
        """
        try:
            head, *rest = map(json.loads, path.read_text(encoding="utf-8").splitlines())
            if head != {"format": FORMAT}:
                raise ValueError(f"its first line is {json.dumps(head)[:80]}")
            return cls([Memory(m["goal"], m["tactic"], m["position"]) for m in rest])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} holds no experience ({error}): name one that was saved") from error


def _line(memory: Memory) -> str:
    return json.dumps(asdict(memory), ensure_ascii=False) + "\n"
