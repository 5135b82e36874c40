"""Generators that join one after the other, and are made only when their turn comes.

A theorem that the first of them proves never waits for a model to be loaded.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

from prover.generators.base import (
    Candidate,
    Learner,
    Observer,
    Query,
    Step,
    TacticGenerator,
    Tried,
    content_hash,
    memory_hash,
)

#: Makes a generator; what it holds is given back by whoever made this.
Maker = Callable[[], Awaitable[TacticGenerator]]
#: Puts generators together, by their names.
Combine = Callable[[dict[str, TacticGenerator]], TacticGenerator]
#: Steps, observations and the like that a part that is not there yet is told later, the newest, at most.
KEPT = 10_000


class Staged:
    """A schedule (see :class:`~prover.generators.base.Scheduled`): each stage is a mixture of more parts.

    What is learned and observed before a part is made, it is told when it is.
    """

    def __init__(
        self, makers: Mapping[str, Maker], stages: Sequence[Sequence[str]], combine: Combine
    ) -> None:
        """Make a schedule; no part is made yet.

        Args:
            makers: of the parts, by name.
            stages: the parts that join at each stage; the first holds one at least.
        """
        self.name = ",".join("+".join(parts) for parts in stages)
        self._makers = makers
        self._stages = [[name for parts in stages[: i + 1] for name in parts] for i in range(len(stages))]
        self._combine = combine
        self._parts: dict[str, TacticGenerator] = {}
        self._made: dict[int, TacticGenerator] = {}
        self._missed: list[Callable[[TacticGenerator], None]] = []
        self._making = asyncio.Lock()

    @property
    def stages(self) -> int:
        return len(self._stages)

    @property
    def content_hash(self) -> str:
        """16 hex digits: of the last stage, which has to be made, and of the order."""
        text = f"{self.name}\0{content_hash(self._made[self.stages - 1])}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def memory_hash(self) -> str:
        """What the last stage has learned, which has to be made; "" when nothing."""
        return memory_hash(self._made[self.stages - 1])

    async def stage(self, number: int) -> TacticGenerator:
        """Return a stage, from 0; its parts are made if they are not there.

        Raises:
            ProverError: as the makers do.
        """
        async with self._making:
            if number not in self._made:
                names = self._stages[number]
                for name in names:
                    if name not in self._parts:
                        part = await self._makers[name]()
                        for tell in self._missed:
                            tell(part)
                        self._parts[name] = part
                if len(self._parts) == len(self._makers):
                    self._missed.clear()
                self._made[number] = self._combine({name: self._parts[name] for name in names})
        return self._made[number]

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        """Answer as the last stage."""
        return await (await self.stage(self.stages - 1)).generate(queries)

    def learn(self, proof: Sequence[Step], position: int | None) -> None:
        """Hand a proof to the parts that learn."""

        def tell(part: TacticGenerator) -> None:
            if isinstance(part, Learner):
                part.learn(proof, position)

        self._tell(tell)

    def observe(self, query: Query, tried: Sequence[Tried]) -> None:
        """Tell the parts that observe."""

        def tell(part: TacticGenerator) -> None:
            if isinstance(part, Observer):
                part.observe(query, tried)

        self._tell(tell)

    def _tell(self, tell: Callable[[TacticGenerator], None]) -> None:
        for part in self._parts.values():
            tell(part)
        if len(self._parts) < len(self._makers):
            self._missed.append(tell)
            del self._missed[:-KEPT]
