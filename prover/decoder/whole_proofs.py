"""Whole proofs as a tactic generator: proofs are drawn at once, and the search walks along them.

At a state, what is proposed is the next tactic of each proof that begins as the state's history does, by the
share of the proofs that go on so. Where none does, proofs are drawn that go on from there.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence

from prover.decoder.completion import Backend, Completion, Sampling
from prover.decoder.recall import Asker, MemorySource
from prover.decoder.writers import Writer
from prover.generators.base import Candidate, Query

Script = tuple[str, ...]
#: Theorems whose proofs are remembered.
_KEPT = 256


class WholeProofs:
    """A language model that proposes whole proofs, tactic by tactic."""

    name = "decoder"

    def __init__(
        self,
        backend: Backend,
        writer: Writer,
        sampling: Sampling,
        split: Callable[[str], Sequence[str]],
        memory: MemorySource | None = None,
    ) -> None:
        """Make a generator.

        Args:
            writer: writes prompts that end where a proof, or the rest of one, is to begin.
            split: the tactics of an answer's proof.
            memory: has the memory that the model reads at each query.

        Raises:
            InputError: a source of memories for a model that reads none.
        """
        self.backend = backend
        self._asker = Asker(backend, memory)
        self._writer = writer
        self._sampling = sampling
        self._split = split
        #: By theorem and seed, what was drawn: whole proofs from the root.
        self._drawn: OrderedDict[tuple[str, int], list[Script]] = OrderedDict()

    @property
    def content_hash(self) -> str:
        """16 hex digits: of the model, its memories, its prompts and how it is sampled."""
        parts = ("whole", self._asker.content_hash, self._writer.content_hash, self._sampling)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        unknown = [query for query in queries if not self._next(query)]
        if unknown:
            prompts = [self._writer.prompt(query) for query in unknown]
            answers = await self._asker.complete(unknown, prompts, self._sampling)
            for query, answer in zip(unknown, answers, strict=True):
                self._keep(query, answer)
        return [self._next(query) for query in queries]

    def _keep(self, query: Query, answer: Sequence[Completion]) -> None:
        key = (query.statement, query.seed)
        proofs = self._drawn.setdefault(key, [])
        begun = _begun(query)
        # An answer that was cut off in the middle is still worth its beginning, without its torn last tactic.
        for one in answer:
            tactics = tuple(self._split(one.text))
            proofs.append(begun + (tactics if one.finished else tactics[:-1]))
        self._drawn.move_to_end(key)
        while len(self._drawn) > _KEPT:
            self._drawn.popitem(last=False)

    def _next(self, query: Query) -> list[Candidate]:
        """The tactics with which known proofs go on from here, by their share."""
        begun = _begun(query)
        proofs = self._drawn.get((query.statement, query.seed), ())
        place = len(begun)
        following = Counter(p[place] for p in proofs if p[:place] == begun and len(p) > place)
        total = following.total()
        found = [Candidate(tactic, math.log(count / total)) for tactic, count in following.items()]
        return sorted(found, key=lambda candidate: -candidate.logprob)


def _begun(query: Query) -> Script:
    return tuple(step.tactic for step in query.history)
