"""Keys and values of earlier prompts: a prompt that begins as one of them runs only over its rest.

A state's prompt begins with its parent's, so that along a proof each state costs what is new in it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from prover.decoder.branches import NO_PREFIX, Layers, Prefix

Ids = tuple[int, ...]


class PrefixCache:
    """Prompts with their keys and values, as fit into some bytes; the longest unused are dropped first."""

    def __init__(self, limit: int) -> None:
        """Make an empty one.

        Args:
            limit: bytes of keys and values, at most; 0 keeps nothing.
        """
        self._limit = limit
        self._held = 0
        self._entries: OrderedDict[Ids, Layers] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def held(self) -> int:
        """Bytes of keys and values that are kept."""
        return self._held

    def longest(self, prompt: Ids) -> Prefix:
        """The longest beginning shared with a kept prompt; at least the last token is left to run."""
        best, length = None, 0
        for ids in self._entries:
            # The newest of equals: most likely the parent, which is worth keeping.
            if ids[:length] == prompt[:length]:
                shared = common_prefix(ids, prompt)
                best, length = (ids, shared) if shared >= length else (best, length)
        length = min(length, len(prompt) - 1)
        if best is None or length <= 0:
            return NO_PREFIX
        self._entries.move_to_end(best)
        return Prefix(length, self._entries[best])

    def keep(self, prompt: Ids, layers: Layers) -> None:
        """Keep a prompt's keys and values, (H, T, D) a layer."""
        if layers and layers[0][0].shape[1] != len(prompt):
            raise ValueError(f"keys {tuple(layers[0][0].shape)} of {len(prompt)} tokens")
        self._drop(prompt)
        size = _bytes(layers)
        if size > self._limit:
            return
        while self._held + size > self._limit:
            self._drop(next(iter(self._entries)))
        self._entries[prompt] = layers
        self._held += size

    def clear(self) -> bool:
        """Forget all; return whether there was anything."""
        held = self._held > 0
        self._entries.clear()
        self._held = 0
        return held

    def _drop(self, prompt: Ids) -> None:
        if (layers := self._entries.pop(prompt, None)) is not None:
            self._held -= _bytes(layers)

    def check_invariants(self) -> None:
        assert self._held == sum(map(_bytes, self._entries.values())) <= self._limit
        for prompt, layers in self._entries.items():
            assert all(it.shape[1] == len(prompt) for pair in layers for it in pair)


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    for length, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return length
    return min(len(one), len(other))


def _bytes(layers: Layers) -> int:
    return sum(it.nbytes for pair in layers for it in pair)
