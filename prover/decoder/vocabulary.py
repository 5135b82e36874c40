"""What a backend needs of a tokenizer, ours or a model's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from prover.decoder.codec import Codec
from prover.decoder.completion import Prompt
from prover.decoder.prompts import Mark

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Vocabulary(Protocol):
    """Prompts to ids, and ids to texts."""

    #: Tokens that end a continuation; a given text is ended by the first one.
    ends: tuple[int, ...]

    def prompt(self, prompt: Prompt) -> tuple[int, ...]:
        """The ids of a prompt.

        Raises:
            TypeError: it is of the other kind, text or ids.
        """
        ...

    def continuation(self, text: str) -> tuple[int, ...]:
        """The ids of a text that follows a prompt, without an end."""
        ...

    def text(self, ids: Sequence[int]) -> str: ...

    def drawable(self, prompt: Sequence[int]) -> frozenset[int]:
        """The tokens that may be drawn after a prompt; the others are never meant by anybody."""
        ...


class OwnVocabulary:
    """Our own tokenizer: prompts come as ids, and continuations hold no marks but those they should."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self.ends: tuple[int, ...] = (codec.end_id,)
        marks = {codec.mark_id(mark) for mark in Mark}
        self._letters = frozenset(range(codec.size)) - marks | {codec.end_id}
        self._of_proofs = self._letters | {codec.tactic_id}

    def prompt(self, prompt: Prompt) -> tuple[int, ...]:
        if isinstance(prompt, str):
            raise TypeError("a model with our own tokenizer is asked in token ids")
        return tuple(prompt)

    def continuation(self, text: str) -> tuple[int, ...]:
        return self._codec.encode([text])

    def text(self, ids: Sequence[int]) -> str:
        return self._codec.decode(ids)

    def drawable(self, prompt: Sequence[int]) -> frozenset[int]:
        # In a whole proof the mark stands between the tactics.
        whole = self._codec.mark_id(Mark.PROOF) in prompt
        return self._of_proofs if whole else self._letters


class ForeignVocabulary:
    """A model's own tokenizer: prompts come as texts."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ends: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self.ends: tuple[int, ...] = tuple(ends)
        special = set(tokenizer.all_special_ids) - set(ends)
        self._letters = frozenset(range(len(tokenizer))) - special

    def prompt(self, prompt: Prompt) -> tuple[int, ...]:
        if not isinstance(prompt, str):
            raise TypeError("a model with a tokenizer of its own is asked in text")
        begin = self._tokenizer.bos_token
        has_begin = begin is not None and prompt.startswith(str(begin))
        return tuple(self._tokenizer.encode(prompt, add_special_tokens=not has_begin))

    def continuation(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def text(self, ids: Sequence[int]) -> str:
        text = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)

    def drawable(self, prompt: Sequence[int]) -> frozenset[int]:
        return self._letters
