"""Reading: a model runs over texts once, and what its memory layer makes of their tokens is kept.

The layer's keys and values depend on the layers below it alone, so that the model is run no further.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from memory.errors import MemoryInputError
from memory.modeling import MemoryShape, memory_shape

#: Tokens that are run at once, padding among them.
BATCH_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Text:
    """Tokens to read, and of how many, counted from the end, keys and values are wanted."""

    tokens: tuple[int, ...]
    #: At least 1, at most all of them.
    kept: int

    def __post_init__(self) -> None:
        if not 1 <= self.kept <= len(self.tokens):
            raise MemoryInputError(f"{self.kept} tokens are to be kept of {len(self.tokens)}")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Keys of unit length and values, (N, H, D) both, float16: of the kept tokens of some texts, in order."""

    keys: NDArray[np.float16]
    values: NDArray[np.float16]


class _Read(Exception):
    """Ends a run of the model at its memory layer."""


class _Keeper:
    """A recorder that stops the model, and what it was told: (B, H, T, D) each."""

    keys: Tensor
    values: Tensor
    queries: Tensor

    def keep(self, keys: Tensor, values: Tensor, queries: Tensor) -> None:
        self.keys, self.values, self.queries = keys, values, queries
        raise _Read


class Reader:
    """Reads with a model that has a memory layer."""

    def __init__(
        self, model: PreTrainedModel, max_tokens: int, batch_tokens: int = BATCH_TOKENS, fast: bool = False
    ) -> None:
        """Take a model.

        Args:
            max_tokens: of a text; of a longer one its beginning is left out.
            batch_tokens: that are run at once, at most; a longer text is run by itself.
            fast: compute in bfloat16 whatever the weights are in; keys then differ in their third digit.

        Raises:
            MemoryInputError: the model has no memory layer.
        """
        self._shape = memory_shape(model)
        self._shift = int(model.config.memory_shift)
        self._model = model
        self._max_tokens = max_tokens
        self._batch_tokens = batch_tokens
        self._fast = fast

    @property
    def shape(self) -> MemoryShape:
        return self._shape

    @property
    def max_tokens(self) -> int:
        """Of a text; as many are kept at most."""
        return self._max_tokens

    @torch.inference_mode()
    def read(self, texts: Sequence[Text]) -> Pairs:
        """Return what the memory layer makes of the kept tokens; no text sees another."""
        cut = [_cut(text, self._max_tokens) for text in texts]
        ends = np.cumsum([0, *(text.kept for text in cut)])
        width = (int(ends[-1]), self._shape.heads, self._shape.width)
        keys, values = np.empty(width, np.float16), np.empty(width, np.float16)
        for batch in _batches([len(text.tokens) for text in cut], self._batch_tokens):
            found = self._run([cut[place].tokens for place in batch])
            pairs = shifted(found.keys, self._shift).half(), found.values.half()
            for row, place in enumerate(batch):
                length, kept = len(cut[place].tokens), cut[place].kept
                for all_rows, tensor in zip((keys, values), pairs, strict=True):
                    part = tensor[row, :, length - kept : length].transpose(0, 1)
                    all_rows[ends[place] : ends[place + 1]] = part.cpu().numpy()
        return Pairs(keys, values)

    @torch.inference_mode()
    def ask(self, text: Sequence[int]) -> Tensor:
        """Return what the last token of a text looks up: (H, D), of unit length, H the query heads.

        Of a text that is too long the beginning is left out, as in reading.
        """
        return self._run([text[-self._max_tokens :]]).queries[0, :, -1].float()

    def _run(self, rows: Sequence[Sequence[int]]) -> _Keeper:
        """What the memory layer makes of rows; padded on the right, which no token before it sees."""
        longest, device = max(map(len, rows)), self._model.device
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
        keeper = _Keeper()
        with torch.autocast(device.type, torch.bfloat16, enabled=self._fast):
            try:
                self._model(input_ids=ids, use_cache=False, recorder=keeper)
            except _Read:
                return keeper
        raise AssertionError("a model with a memory layer tells its recorder")


def shifted(keys: Tensor, shift: int) -> Tensor:
    """Keys (B, H, T, D) of the tokens so many places before; the first tokens keep their own."""
    return keys if not shift else torch.cat([keys[:, :, :shift], keys[:, :, :-shift]], dim=2)


def _cut(text: Text, longest: int) -> Text:
    tokens = text.tokens[-longest:]
    return Text(tokens, min(text.kept, len(tokens)))


def _batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """The places of texts that go together, of about the same length."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[place] * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
