"""The backend in process: a model of transformers with a decode loop of its own.

What ``generate`` of transformers lacks is needed here: the same answer to the same prompt and seed whatever
else is in the batch, exact log-probabilities at temperature 1, and prompts that share beginnings over time.
The first holds in float32; in half precision a batch's shape shows in the digits that are left, and samples
that were close calls fall out differently.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import accumulate
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from memory.errors import MemoryInputError, MemoryUnavailable
from prover.decoder.batching import Batcher
from prover.decoder.branches import Branches, Layers, check_attention, prompts_ask, start
from prover.decoder.checkpoint import LoadedModel, end_ids
from prover.decoder.completion import Completion, Decoding, Guide, Prompt, Sampling, Usage
from prover.decoder.drawing import Beam, Continuation, Drawing, Limits, Noise, Sampler, draw
from prover.decoder.prefix_cache import Ids, MemoryVersion, PrefixCache, scope_of
from prover.decoder.prompts import verdict
from prover.decoder.vocabulary import ForeignVocabulary, OwnVocabulary, Vocabulary
from prover.errors import InputError, ModelUnavailable

if TYPE_CHECKING:
    from memory.lookup import Memory

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class _Draw:
    """Continuations wanted of a prompt."""

    prompt: Ids
    memory: Memory | None
    sampling: Sampling
    seed: int
    guide: Guide | None

    @property
    def tokens(self) -> int:
        """At most."""
        return len(self.prompt) + self.sampling.n * self.sampling.max_tokens


@dataclass(frozen=True, slots=True)
class _Score:
    """Log-probabilities wanted of texts after a prompt, their ends included."""

    prompt: Ids
    memory: Memory | None
    texts: tuple[Ids, ...]

    @property
    def tokens(self) -> int:
        return len(self.prompt) + sum(map(len, self.texts))

    @property
    def read(self) -> tuple[Ids, ...]:
        """What is run of the texts: what their last tokens would be followed by is of no interest."""
        return tuple(text[:-1] for text in self.texts)


@dataclass(frozen=True, slots=True)
class _Judge(_Score):
    """Verdicts wanted on texts after a prompt, whose ends are run as well."""

    @property
    def read(self) -> tuple[Ids, ...]:
        return self.texts


_Job = _Draw | _Score
_Answer = list[Completion] | list[float]


class TransformersBackend:
    """Continues prompts with a loaded model; to be closed.

    Prompts of concurrent calls go through the model together. Own prompts are token ids, and marks are never
    drawn but <END>, and <TACTIC> after a prompt that holds <PROOF>; a model with a tokenizer of its own is
    asked in text. With a model that has a memory layer, each prompt may have a memory: see
    :class:`~prover.decoder.completion.RecallingBackend`.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        batch_prompts: int = 64,
        batch_tokens: int = 65_536,
        cache_bytes: int = 512 * MIB,
    ) -> None:
        """Take a model over.

        Args:
            batch_prompts: prompts in a batch, at most.
            batch_tokens: tokens of prompts and continuations in a batch, were all as long as they may be.
            cache_bytes: keys and values of earlier prompts that are kept; 0 keeps none.

        Raises:
            InputError: it is a kind of model that this backend cannot decode.
        """
        check_attention(loaded.model)
        self._loaded = loaded
        self._model = loaded.model
        self.memory_kind = loaded.memory_kind
        self._vocabulary = _vocabulary(loaded)
        self._forbidden = lru_cache(4)(partial(_all_but, loaded=loaded))
        self._batch_tokens = batch_tokens
        self._cache = PrefixCache(cache_bytes)
        self._usage = Usage()
        self._closing = threading.Event()
        self._batcher: Batcher[_Job, _Answer] = Batcher(self._work, batch_prompts)

    @property
    def name(self) -> str:
        return self._loaded.name

    @property
    def content_hash(self) -> str:
        return self._loaded.content_hash

    @property
    def usage(self) -> Usage:
        return self._usage

    async def complete(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        *,
        memories: Sequence[Memory | None] | None = None,
        guides: Sequence[Guide | None] | None = None,
    ) -> list[list[Completion]]:
        """See :class:`Backend`.

        Args:
            memories: one a prompt; None: no prompt has one.
            guides: one a prompt; None: no prompt has one.

        Raises:
            ValueError: a memory for a model without a memory layer.
            InputError: a prompt leaves no room for a continuation, or a memory does not fit the model.
            ModelUnavailable: memory does not suffice, or the backend is closed.
        """
        _check_sampling(sampling)
        own = self._memories(len(prompts), memories)
        jobs = [
            self._draw(self._checked(prompt), memory, sampling, seed, guide)
            for prompt, memory, seed, guide in zip(
                prompts, own, seeds, guides or [None] * len(prompts), strict=True
            )
        ]
        return cast(list[list[Completion]], await self._batcher.submit(jobs))

    async def score(
        self,
        prompts: Sequence[Prompt],
        texts: Sequence[Sequence[str]],
        *,
        memories: Sequence[Memory | None] | None = None,
    ) -> list[list[float]]:
        """The natural log-probability, at temperature 1, of each text after its prompt, the end included.

        A text that can be cut into tokens in several ways is scored in the way of the tokenizer.

        Args:
            texts: some for each prompt.

        Raises:
            InputError: a prompt with one of its texts is longer than the model's context.
            ModelUnavailable: memory does not suffice, or the backend is closed.
        """
        own = self._memories(len(prompts), memories)
        jobs = [self._told(_Score, *asked) for asked in zip(prompts, texts, own, strict=True)]
        return cast(list[list[float]], await self._batcher.submit(jobs))

    async def judge(
        self,
        prompts: Sequence[Prompt],
        texts: Sequence[Sequence[str]],
        *,
        memories: Sequence[Memory | None] | None = None,
    ) -> list[list[float]]:
        """The natural log-probability of <PROOF> against <TACTIC> after each text and its end.

        A model that was trained with lessons says so whether a tactic is of a proof, or fails.

        Args:
            texts: some for each prompt.

        Raises:
            InputError: a prompt with one of its texts is longer than the model's context.
            ModelUnavailable: memory does not suffice, or the backend is closed.
        """
        own = self._memories(len(prompts), memories)
        jobs = [self._told(_Judge, *asked) for asked in zip(prompts, texts, own, strict=True)]
        return cast(list[list[float]], await self._batcher.submit(jobs))

    async def close(self) -> None:
        """Stop the batch that is worked on at its next token, and forget the cache."""
        self._closing.set()
        await self._batcher.close()
        self._cache.clear()

    # --- the jobs ---------------------------------------------------------------------------------

    def _checked(self, prompt: Prompt) -> Ids:
        ids = self._vocabulary.prompt(prompt)
        if not ids:
            raise ValueError("an empty prompt")
        if len(ids) >= (most := self._loaded.max_context):
            raise InputError(f"A prompt has {len(ids)} tokens, and {self.name} takes {most} with its answer.")
        return ids

    def _memories(self, prompts: int, memories: Sequence[Memory | None] | None) -> Sequence[Memory | None]:
        if memories is None:
            return [None] * prompts
        if self.memory_kind is None and any(memory is not None for memory in memories):
            raise ValueError(f"{self.name} has no memory layer: it can read no memories")
        return memories

    def _draw(
        self, prompt: Ids, memory: Memory | None, sampling: Sampling, seed: int, guide: Guide | None
    ) -> _Draw:
        room = self._loaded.max_context - len(prompt)
        cut = replace(sampling, max_tokens=min(sampling.max_tokens, room))
        return _Draw(prompt, memory, cut, seed, guide)

    def _told(self, kind: type[_Score], asked: Prompt, texts: Sequence[str], memory: Memory | None) -> _Score:
        prompt, end = self._checked(asked), tuple(self._vocabulary.ends)[:1]
        ids = tuple((*self._vocabulary.continuation(text), *end) for text in texts)
        # The last token is predicted, and need not be run; where it is, nothing of it is kept.
        longest, most = len(prompt) + max(map(len, ids), default=0) - 1, self._loaded.max_context
        if longest > most:
            raise InputError(f"A prompt and its text have {longest} tokens, and {self.name} takes {most}.")
        return kind(prompt, memory, ids)

    # --- in the thread ----------------------------------------------------------------------------

    def _work(self, jobs: Sequence[_Job]) -> list[_Answer]:
        """Answer jobs in order, in batches of about the same length."""
        answers: dict[int, _Answer] = {}
        for batch in self._batches(jobs):
            answers |= zip(batch, self._answer([jobs[place] for place in batch]), strict=True)
        return [answers[place] for place in range(len(jobs))]

    def _batches(self, jobs: Sequence[_Job]) -> Iterator[list[int]]:
        """The places of jobs that go together: of one kind, and no more tokens than allowed when padded."""
        batch: list[int] = []
        for place in sorted(range(len(jobs)), key=lambda place: _likeness(jobs[place])):
            job = jobs[place]
            mixed = batch and type(jobs[batch[0]]) is not type(job)
            if batch and (mixed or (len(batch) + 1) * job.tokens > self._batch_tokens):
                yield batch
                batch = []
            batch.append(place)
        if batch:
            yield batch

    def _answer(self, jobs: Sequence[_Job]) -> list[_Answer]:
        """Answer a batch; where memory does not suffice, first without the cache, and then by halves."""
        try:
            return self._run(jobs)
        except MemoryInputError as error:
            raise InputError(str(error)) from error
        except MemoryUnavailable as error:
            raise ModelUnavailable(str(error)) from error
        except RuntimeError as error:
            if not _is_memory(error):
                raise
            reason = str(error).splitlines()[0]
        # Out of the handler, where the error would hold on to the tensors.
        cached = self._cache.clear()
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
        if cached:
            return self._answer(jobs)
        if len(jobs) == 1:
            raise ModelUnavailable(
                f"Memory does not suffice for {jobs[0].tokens} tokens at once with {self.name}: ask for "
                f"fewer or shorter samples, or use a smaller model ({reason})."
            )
        half = len(jobs) // 2
        self._batch_tokens = half * max(job.tokens for job in jobs)
        return [*self._answer(jobs[:half]), *self._answer(jobs[half:])]

    @torch.inference_mode()
    def _run(self, jobs: Sequence[_Job]) -> list[_Answer]:
        began = time.monotonic()
        scopes = [self._scope(job) for job in jobs]
        prefixes = [self._cache.longest(*it) for it in zip((job.prompt for job in jobs), scopes, strict=True)]
        # A model without a memory layer is told nothing of memories.
        memories = [job.memory for job in jobs] if any(job.memory is not None for job in jobs) else None
        branches, logits, layers = start(self._model, [job.prompt for job in jobs], prefixes, memories)
        for job, scope, own in zip(jobs, scopes, layers, strict=True):
            # A memory that has grown meanwhile is never again the one it was before.
            self._cache.keep(*self._kept(job.prompt, own), scope)
        answers, generated = self._finish(jobs, branches, logits)
        cached, old = sum(prefix.length for prefix in prefixes), self._usage
        self._usage = Usage(
            prompts=old.prompts + len(jobs),
            batches=old.batches + 1,
            prompt_tokens=old.prompt_tokens + sum(len(job.prompt) for job in jobs) - cached,
            cached_tokens=old.cached_tokens + cached,
            generated_tokens=old.generated_tokens + generated,
            seconds=old.seconds + time.monotonic() - began,
        )
        return answers

    def _scope(self, job: _Job) -> MemoryVersion | None:
        """What the keys and values of a prompt depend on beside its tokens."""
        return scope_of(job.memory) if prompts_ask(self._model) else None

    def _kept(self, prompt: Ids, layers: Layers) -> tuple[Ids, Layers]:
        """What of a prompt is good for others of its scope: not a last token that alone has looked up."""
        if prompts_ask(self._model):
            return prompt, layers
        return prompt[:-1], tuple((keys[:, :-1], values[:, :-1]) for keys, values in layers)

    def _finish(self, jobs: Sequence[_Job], branches: Branches, logits: Tensor) -> tuple[list[_Answer], int]:
        """The answers, and how many tokens were generated for them."""
        draws = [job for job in jobs if isinstance(job, _Draw)]
        if not draws:
            return self._scores([job for job in jobs if isinstance(job, _Score)], branches, logits), 0
        drawings = [self._drawing(job) for job in draws]
        draw(branches, logits, drawings, self._check_open)
        answers = [[self._completion(it) for it in drawing.drawn()] for drawing in drawings]
        return [*answers], sum(it.tokens for answer in answers for it in answer)

    def _scores(self, jobs: Sequence[_Score], branches: Branches, logits: Tensor) -> list[_Answer]:
        given = [[text for text in job.read if text] for job in jobs]
        after = branches.read(given) if any(given) else logits[:, None]
        return [self._read(job, logits[row], after[row]) for row, job in enumerate(jobs)]

    def _read(self, job: _Score, first: Tensor, after: Tensor) -> list[float]:
        """The answers to a job, from the logits (V,) after its prompt and those (Q, V) in its texts."""
        if not isinstance(job, _Judge):
            return _sums(job.texts, first, after)
        assert self._loaded.codec is not None, "only own models judge"
        ends = [end - 1 for end in accumulate(map(len, job.texts))]
        marks = [self._loaded.codec.mark_id(verdict(works)) for works in (True, False)]
        return after[ends][:, marks].float().log_softmax(dim=-1)[:, 0].tolist()

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise ModelUnavailable("The model was closed.")

    def _drawing(self, job: _Draw) -> Drawing:
        sampling = job.sampling
        limits = Limits(
            n=sampling.n,
            max_tokens=sampling.max_tokens,
            forbidden=self._forbidden(self._vocabulary.drawable(job.prompt)),
            ending=_Ending(self._vocabulary, sampling.stop),
            allows=_Guided(self._vocabulary, job.guide) if job.guide is not None else None,
        )
        if sampling.decoding is Decoding.BEAM:
            return Beam(limits)
        return Sampler(limits, sampling.temperature, Noise(job.seed, job.prompt, self._model.device))

    def _completion(self, drawn: Continuation) -> Completion:
        text = self._vocabulary.text(drawn.ids) if drawn.text is None else drawn.text
        return Completion(text, drawn.logprob, len(drawn.ids), drawn.text is not None)


def _likeness(job: _Job) -> tuple[str, int]:
    return type(job).__name__, job.tokens


def _vocabulary(loaded: LoadedModel) -> Vocabulary:
    if loaded.codec is not None:
        return OwnVocabulary(loaded.codec)
    return ForeignVocabulary(loaded.tokenizer, end_ids(loaded))


def _all_but(drawable: frozenset[int], loaded: LoadedModel) -> Tensor:
    """(V,), true for the tokens that are not drawn; there may be rows that are no tokens at all."""
    size = int(loaded.model.config.get_text_config().vocab_size)
    mask = torch.ones(size, dtype=torch.bool)
    mask[[token for token in drawable if token < size]] = False
    return mask.to(loaded.model.device)


def _sums(texts: Sequence[Ids], first: Tensor, after: Tensor) -> list[float]:
    """The log-probability of each text, from the logits (V,) of its first token and (Q, V) of the rest."""
    sums, place = [], 0
    for text in texts:
        logits = torch.cat([first[None], after[place : place + len(text) - 1]])
        logprobs = logits.float().log_softmax(dim=-1)
        sums.append(sum(logprobs[range(len(text)), text].tolist()))
        place += len(text) - 1
    return sums


def _check_sampling(sampling: Sampling) -> None:
    if sampling.n < 1 or sampling.max_tokens < 1 or sampling.temperature < 0.0:
        raise ValueError(f"nothing can be drawn with {sampling}")


def _is_memory(error: RuntimeError) -> bool:
    """Whether memory did not suffice; on a CPU, torch says so in words alone."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


class _Ending:
    """The text of ids that end with an end token, or that hold a text to stop at."""

    def __init__(self, vocabulary: Vocabulary, stop: Sequence[str]) -> None:
        self._vocabulary = vocabulary
        self._stop = stop

    def __call__(self, ids: Ids) -> str | None:
        if ids[-1] in self._vocabulary.ends:
            return self._vocabulary.text(ids[:-1])
        if not self._stop:
            return None
        text = self._vocabulary.text(ids)
        places = [place for place in (text.find(stop) for stop in self._stop) if place >= 0]
        return text[: min(places)] if places else None


class _Guided:
    """Asks a guide about tokens."""

    def __init__(self, vocabulary: Vocabulary, guide: Guide) -> None:
        self._vocabulary = vocabulary
        self._guide = guide
        self._text = lru_cache(1024)(vocabulary.text)

    def __call__(self, ids: Ids, token: int) -> bool:
        before = self._text(ids) if ids else ""
        if token in self._vocabulary.ends:
            return self._guide.allows(before, "")
        after = self._text((*ids, token))
        # A letter that is not whole yet can be anything.
        return after.endswith("\ufffd") or self._guide.allows(before, after.removeprefix(before))
