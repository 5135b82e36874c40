"""What a backend is: it continues prompts, and says how probable each continuation is.

Backends know nothing of Lean or of proofs; what a prompt looks like is decided above them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from memory.catalogue import MemoryKind
    from memory.lookup import Memory

#: Token ids of our own tokenizer, or text for a model that brings its own.
Prompt = tuple[int, ...] | str


class Decoding(StrEnum):
    """How continuations are drawn."""

    SAMPLE = "sample"
    BEAM = "beam"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many continuations are drawn from a prompt, and how."""

    #: Continuations a prompt (samples, or the width of the beam).
    n: int = 16
    decoding: Decoding = Decoding.SAMPLE
    #: Of the distribution that is sampled from; log-probabilities are always those at temperature 1.
    temperature: float = 1.0
    #: Tokens of a continuation, at most, its end included.
    max_tokens: int = 96
    #: Texts that end a continuation and are not part of it (for models without an end token of their own).
    stop: tuple[str, ...] = ()
    #: A tactic counts the mean log-probability of its tokens, not their sum, as BFS-Prover-V2 scores them.
    per_token: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """A continuation, without the token that ended it."""

    text: str
    #: Natural log-probability of all its tokens given the prompt, the end token included, at temperature 1.
    logprob: float
    #: Tokens that were generated, the end included.
    tokens: int
    #: It ended by itself, rather than by the limit on its length.
    finished: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """What a backend has worked since it was made."""

    #: Prompts answered, and batches they came in.
    prompts: int = 0
    batches: int = 0
    #: Tokens of prompts that the model ran over, and those that were found in the cache instead.
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    #: Seconds on the clock while a batch was under way.
    seconds: float = 0.0


class Guide(Protocol):
    """Says of a continuation that is under way whether it may still become a good one."""

    def allows(self, before: str, added: str) -> bool:
        """Say whether a text may go on so; with nothing added, whether it may end."""
        ...


class Backend(Protocol):
    """Continues prompts."""

    @property
    def name(self) -> str:
        """What people call the model."""
        ...

    @property
    def content_hash(self) -> str:
        """16 hex digits that stand for the model's weights, or for its name where they are out of reach."""
        ...

    @property
    def usage(self) -> Usage: ...

    async def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """Return up to ``sampling.n`` continuations of each prompt, the most probable first.

        The same prompt with the same seed has the same answer, whatever else is in the batch (a server
        may not keep this). Samples may repeat each other.

        Args:
            seeds: one a prompt.

        Raises:
            ModelUnavailable: the model cannot be run, or its server does not answer.
        """
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


@runtime_checkable
class JudgingBackend(Protocol):
    """A backend that can say of a text whether it would do."""

    async def judge(self, prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return the natural log-probability that each text, with its end, is of a proof.

        Raises:
            ModelUnavailable: the model cannot be run.
        """
        ...


@runtime_checkable
class RecallingBackend(Protocol):
    """A backend whose model may have a memory layer: each prompt may have a memory that it reads."""

    @property
    def memory_kind(self) -> MemoryKind | None:
        """What the memories must be of; None where the model has no memory layer."""
        ...

    async def complete(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        *,
        memories: Sequence[Memory | None] | None = None,
        guides: Sequence[Guide | None] | None = None,
    ) -> list[list[Completion]]:
        """See :meth:`Backend.complete`.

        Args:
            guides: one a prompt, or None for a prompt without. What a guide does not allow is not drawn, and
                keeps its share of the probability.
            memories: one a prompt, or None for a prompt without; None: no prompt has one. They may grow, but
                lose nothing: what was read in one is kept for as long as it has as many entries. One that
                grows while it is asked is read as it is at each token.

        Raises:
            InputError: a memory does not fit the model.
        """
        ...

    async def judge(
        self,
        prompts: Sequence[Prompt],
        texts: Sequence[Sequence[str]],
        *,
        memories: Sequence[Memory | None] | None = None,
    ) -> list[list[float]]:
        """See :meth:`JudgingBackend.judge`."""
        ...
