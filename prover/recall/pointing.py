"""Names the declarations that a decoder's memory finds at a goal, as lemmas to prove it with.

A declaration was read as the goal that it proves, with its name as what to say there. So who asks at another
goal in the same words finds declarations that prove such goals: a model's keys and queries are a dense
retriever (Karpukhin et al. 2020, "Dense Passage Retrieval") of all that it has read, known or new, for one
look-up a state. What to do with a lemma is said by the rules of the kNN baseline, whose own search for lemmas
goes by the constants and words that they have in common with a goal.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from memory.attention import by_group, by_token, cosines
from memory.lookup import Memory
from memory.modeling import memory_shape
from memory.reading import Reader
from prover.decoder.checkpoint import LoadedModel
from prover.generators.base import Candidate, Query
from prover.generators.experience import Experience
from prover.generators.knn import KNN
from prover.generators.lemma_tactics import Near
from prover.generators.lemmas import Lemma
from prover.generators.printed import shape
from prover.premises import PremiseCorpus
from prover.recall.library import LibraryMemory, kind_of
from prover.recall.own import OwnDeclarations, Said
from prover.recall.passages import asking
from prover.recall.shelf import Located

#: Lemmas that the memory names at a state, and entries that each head looks up.
LEMMAS, NEIGHBOURS = 50, 64
#: A lemma counts by this power of its weight: weights of a softmax fall too fast for all but the first.
FLATTENING = 0.5


@dataclass(frozen=True, slots=True)
class Source:
    """A memory of declarations, and whose an entry is."""

    memory: Memory
    name_at: Callable[[int], str]


class Pointer:
    """Asks memories of one model which declarations would prove a goal."""

    def __init__(self, loaded: LoadedModel) -> None:
        """Take a decoder.

        Raises:
            InputError: it has no memory layer, or a tokenizer of its own.
        """
        _, self.codec = kind_of(loaded)
        self.reader = Reader(loaded.model, loaded.max_context)
        self.content_hash = loaded.content_hash
        model: Any = loaded.model
        layer = model.model.layers[memory_shape(model).layer].self_attn
        self._scale = layer.memory_scale.detach().float()
        self._groups = memory_shape(model).heads

    def find(self, goal: str, sources: Sequence[Source]) -> list[tuple[str, float]]:
        """Return the declarations that are found at a goal with their weights, the best first.

        A head's weights are the softmax of its scores over all that it finds; a declaration has the mean over
        heads of the sums of its entries'.
        """
        sources = [source for source in sources if len(source.memory)]
        if not sources:
            return []
        asked = self.reader.ask(asking(self.codec, goal))
        found = [self._scores(asked, source.memory) for source in sources]
        shares = torch.cat([scores for scores, _ in found], dim=1).softmax(dim=1) / len(asked)
        weights: defaultdict[str, float] = defaultdict(float)
        start = 0
        for source, (_, entries) in zip(sources, found, strict=True):
            own = shares[:, start : start + entries.shape[1]]
            start += entries.shape[1]
            for weight, entry in zip(own.flatten().tolist(), entries.flatten().tolist(), strict=True):
                # What is far below the best has a weight of 0 at last, and is not found.
                if entry >= 0 and weight > 0.0:
                    weights[source.name_at(entry)] += weight
        return sorted(weights.items(), key=lambda it: (-it[1], it[0]))

    def _scores(self, asked: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Scores and entries (H, K) of what queries (H, D) find; -inf and -1 where there is no more."""
        queries = by_group(asked[None], self._groups)
        got = memory.look_up(queries, NEIGHBOURS)
        answer = (cosines(queries, got), got.entries, got.found)
        near, entries, there = (by_token(it, 1)[0] for it in answer)
        return (near * self._scale[:, None]).masked_fill(~there, -torch.inf), entries


class Pointing(KNN):
    """The kNN generator, with the lemmas that a decoder's memory finds beside those of BM25."""

    name = "memory"

    def __init__(
        self,
        corpus: PremiseCorpus,
        pointer: Pointer,
        library: LibraryMemory | None = None,
        own: OwnDeclarations | None = None,
        experience: Experience | None = None,
    ) -> None:
        """Make one.

        Args:
            library: what the pointer's model remembers of the corpus.
            own: what files at hand have declared.
        """
        super().__init__(corpus, experience)
        self._declared = {it.name: it for it in corpus.premises}
        self._pointer = pointer
        self._library = library
        self._own = own
        self._lock = Lock()

    @property
    def content_hash(self) -> str:
        """16 hex digits: of the baseline, of the model, and of what it remembers and how it is asked."""
        library = self._library.content_hash if self._library else ""
        parts = (super().content_hash, self._pointer.content_hash, library, self._own is not None)
        return hashlib.sha256(repr((parts, LEMMAS, NEIGHBOURS, FLATTENING)).encode()).hexdigest()[:16]

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        # To read and to ask is to run the model: not in the event loop.
        return await asyncio.to_thread(self._answers, queries)

    def _answers(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        with self._lock:
            if self._own is not None and self._own.is_due(queries):
                self._own.read()
            return [self.answer(query) for query in queries]

    def near(self, query: Query) -> Near:
        near = super().near(query)
        return replace(near, lemmas=together(near.lemmas, self.pointed(query)))

    def pointed(self, query: Query) -> list[Lemma]:
        """The theorems that the memory finds, the best first."""
        own = {it.name: it for it in query.scope.own}
        named = self._pointer.find(query.state.goals[0].pretty, self._sources(query))
        there = [(it, w) for name, w in named if (it := own.get(name) or self._declared.get(name))]
        theorems = [(it, weight) for it, weight in there if it.kind == "theorem"][:LEMMAS]
        best = max((weight for _, weight in theorems), default=1.0)
        return [Lemma(it.name, (weight / best) ** FLATTENING, shape(it.type)) for it, weight in theorems]

    def _sources(self, query: Query) -> list[Source]:
        found = []
        if self._library is not None:
            found.append(Source(self._library.view(query.scope.modules), self._library.name_of))
        if self._own is not None:
            found += [Source(part.memory, partial(_own_name, part)) for part in self._own.located(query)]
        return found


def together(one: Sequence[Lemma], other: Sequence[Lemma]) -> list[Lemma]:
    """Put two lists of lemmas together: scores add up, the best one's is 1, and the best come first.

    After Fox & Shaw 1994, "Combination of Multiple Searches" (CombSUM).
    """
    found = {lemma.name: lemma for lemma in (*other, *one)}
    scores: defaultdict[str, float] = defaultdict(float)
    for lemma in (*one, *other):
        scores[lemma.name] += lemma.score
    best = max(scores.values(), default=1.0)
    ordered = sorted(scores.items(), key=lambda it: -it[1])
    return [replace(found[name], score=score / best) for name, score in ordered]


def _own_name(part: Located[Said], entry: int) -> str:
    name, _ = part.key_at(entry)
    return name
