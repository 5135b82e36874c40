"""The decoder as a tactic generator: what a model says at a state, as candidates for the search."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from prover.decoder.completion import Backend, Completion, JudgingBackend, Sampling
from prover.decoder.recall import Asker, GuideSource, MemorySource
from prover.decoder.writers import Writer
from prover.generators.base import Candidate, Query
from prover.generators.mixture import log_sum_exp


class Decoder:
    """A language model that proposes one tactic at a time.

    Queries of one call, and of calls that are under way at the same time, share the model's batches.
    """

    name = "decoder"

    def __init__(
        self,
        backend: Backend,
        writer: Writer,
        sampling: Sampling,
        batch: int = 1,
        judges: bool = False,
        memory: MemorySource | None = None,
        guides: GuideSource | None = None,
    ) -> None:
        """Make a generator.

        Args:
            batch: queries that a search should bring together.
            judges: whether the model has learned to say of a tactic that it fails.
            memory: has the memory that the model reads at each query.
            guides: keep what is drawn to what may be said, with a backend that takes guides.

        Raises:
            InputError: a source of memories for a model that reads none.
        """
        self.judges = judges and isinstance(backend, JudgingBackend)
        self.backend = backend
        self.batch = batch
        self._asker = Asker(backend, memory, guides)
        self._writer = writer
        self._sampling = sampling

    @property
    def content_hash(self) -> str:
        """16 hex digits: of the model, its memories, its prompts and how it is sampled."""
        parts = (self._asker.content_hash, self._writer.content_hash, self._sampling)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        prompts = [self._writer.prompt(query) for query in queries]
        answers = await self._asker.complete(queries, prompts, self._sampling)
        return [candidates(answer, self._writer, self._sampling.per_token) for answer in answers]

    async def judge(
        self, queries: Sequence[Query], tactics: Sequence[Sequence[str]]
    ) -> list[list[float | None]]:
        """See :class:`prover.decoder.judging.Judge`; a tactic longer than it could draw has no verdict."""
        longest = self._sampling.max_tokens
        short = [[t for t in own if self._writer.answer_tokens(t) <= longest] for own in tactics]
        prompts = [self._writer.prompt(query) for query in queries]
        found = await self._asker.judge(queries, prompts, short)
        verdicts = [dict(zip(own, said, strict=True)) for own, said in zip(short, found, strict=True)]
        return [[said.get(t) for t in own] for own, said in zip(tactics, verdicts, strict=True)]


def candidates(
    completions: Sequence[Completion], writer: Writer, per_token: bool = False
) -> list[Candidate]:
    """The tactics of the answers that came to an end, each once, the most probable first.

    Equal texts are the same sample drawn again, and count once. Different texts that come to the same tactic
    are different ways to say it: their probabilities add up. Means a token do not: the best of them counts.
    """
    if per_token:
        completions = [replace(c, logprob=c.logprob / max(1, c.tokens)) for c in completions]
    texts = {c.text: c.logprob for c in sorted(completions, key=lambda c: c.logprob) if c.finished}
    said: dict[str, list[float]] = {}
    for text, logprob in texts.items():
        if tactic := writer.tactic(text):
            said.setdefault(tactic, []).append(logprob)
    total = max if per_token else log_sum_exp
    found = [Candidate(tactic, min(0.0, total(logs))) for tactic, logs in said.items()]
    return sorted(found, key=lambda candidate: -candidate.logprob)
