"""A memory that remembers what it was asked and what it answered: to see what a model looks up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from memory.lookup import Memory, Retrieved


@dataclass(frozen=True, slots=True)
class LookUp:
    """One look-up."""

    #: (H, Q, D), of unit length.
    queries: Tensor
    retrieved: Retrieved


class ListeningMemory:
    """Another memory, with all look-ups so far."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.heard: list[LookUp] = []

    def __len__(self) -> int:
        return len(self._memory)

    def look_up(self, queries: Tensor, k: int) -> Retrieved:
        """Do as the other memory does."""
        retrieved = self._memory.look_up(queries, k)
        self.heard.append(LookUp(queries, retrieved))
        return retrieved
