"""From pieces to token ids and back: the tokenizer of our own decoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from prover.decoder.prompts import Mark, Piece
from prover.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: So many texts are remembered with their ids: goals come again in every prompt below them.
_REMEMBERED = 16_384


class Codec:
    """Encodes marks as their special ids and each text by itself, so that equal pieces have equal ids.

    A text never becomes a mark, whatever it holds, and comes back from its ids as it was.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Wrap a tokenizer, which is left as it is.

        Raises:
            InputError: a mark is not one special token of it.
        """
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # A goal that prints "<GOAL>" is made of letters.
        self._tokenizer.encode_special_tokens = True
        self._marks = {mark: self._special(mark) for mark in Mark}
        self._ids = lru_cache(_REMEMBERED)(self._encode)

    @property
    def size(self) -> int:
        """Ids are below it."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def end_id(self) -> int:
        return self._marks[Mark.END]

    @property
    def pad_id(self) -> int:
        return self._marks[Mark.PAD]

    @property
    def tactic_id(self) -> int:
        return self._marks[Mark.TACTIC]

    def mark_id(self, mark: Mark) -> int:
        return self._marks[mark]

    def encode(self, pieces: Sequence[Piece]) -> tuple[int, ...]:
        """The ids of the pieces, one piece after the other."""
        ids: list[int] = []
        for piece in pieces:
            if isinstance(piece, Mark):
                ids.append(self._marks[piece])
            else:
                ids.extend(self._ids(piece))
        return tuple(ids)

    def count(self, text: str) -> int:
        """How many tokens the text has."""
        return len(self._ids(text))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; marks among them are written out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _special(self, mark: Mark) -> int:
        place = self._tokenizer.token_to_id(mark.value)
        if place is None or not self._tokenizer.get_added_tokens_decoder()[place].special:
            raise InputError(
                f"The tokenizer does not match this program: {mark.value} is not one special token of it. "
                "Use the tokenizer that was saved with the model."
            )
        return int(place)


def is_ours(tokenizer: object) -> bool:
    """Whether the tokenizer knows marks that no other one has."""
    vocabulary = getattr(tokenizer, "added_tokens_encoder", {})
    return any(mark.value in vocabulary for mark in (Mark.THEOREM, Mark.GOAL, Mark.GOAL_END, Mark.TACTIC))
