"""Who writes the prompts: for our own decoder, or after a template for somebody else's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from prover.decoder.completion import Prompt
from prover.decoder.prompts import PromptForm, compose, situation_of
from prover.decoder.templates import Template
from prover.generators.base import Query

if TYPE_CHECKING:
    from prover.decoder.codec import Codec

#: Finds accessible declarations near a query's goal, ``name : type``, the nearest first.
Retriever = Callable[[Query], Sequence[str]]


class Writer(Protocol):
    """Writes the prompt for a query, and reads the tactic out of an answer."""

    @property
    def content_hash(self) -> str: ...

    def prompt(self, query: Query) -> Prompt:
        """The prompt, within the model's limits."""
        ...

    def tactic(self, text: str) -> str:
        """The tactic in an answer; "" when there is none."""
        ...

    def answer_tokens(self, tactic: str) -> int:
        """Tokens of a tactic as an answer, its end included."""
        ...


def no_context(query: Query) -> Sequence[str]:
    """The retriever of forms that show no declarations."""
    return ()


class OwnWriter:
    """Prompts in the form that our own decoder was trained on."""

    def __init__(self, codec: Codec, form: PromptForm, budget: int, retrieve: Retriever = no_context) -> None:
        """Make a writer.

        Args:
            budget: tokens of a prompt, at most.
        """
        self._codec = codec
        self._form = form
        self._budget = budget
        self._retrieve = retrieve
        self.content_hash = _hash(f"{form}\0{budget}")

    def prompt(self, query: Query) -> Prompt:
        situation = situation_of(query, self._retrieve(query))
        return self._codec.encode(compose(self._form, situation, self._budget, self._codec.count))

    def tactic(self, text: str) -> str:
        return text.strip()

    def answer_tokens(self, tactic: str) -> int:
        return self._codec.count(tactic) + 1


class TemplateWriter:
    """Prompts as somebody else's model knows them."""

    def __init__(
        self,
        template: Template,
        budget: int,
        count: Callable[[str], int],
        retrieve: Retriever = no_context,
    ) -> None:
        """Make a writer.

        Args:
            budget: tokens of a prompt, at most, as ``count`` counts them.
        """
        self._template = template
        self._budget = budget
        self._count = count
        self._retrieve = retrieve
        self.content_hash = _hash(f"{template!r}\0{budget}")

    def prompt(self, query: Query) -> Prompt:
        situation = situation_of(query, self._retrieve(query))
        return self._template.render(situation, self._budget, self._count)

    def tactic(self, text: str) -> str:
        return self._template.tactic_of(text)

    def answer_tokens(self, tactic: str) -> int:
        return self._count(tactic) + 1


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
