"""Keys and values of earlier prompts: a prompt that begins as one of them runs only over its rest.

A state's prompt begins with its parent's, so that along a proof each state costs what is new in it. Above
a memory layer, keys and values depend on what was read in the memory too: prompts that were run with another
memory, or with the same one when it held less, share nothing (see :func:`scope_of`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from prover.decoder.branches import NO_PREFIX, Layers, Prefix

if TYPE_CHECKING:
    from memory.lookup import Memory

Ids = tuple[int, ...]


class MemoryVersion:
    """A memory with as many entries as it has now; equal for the same object while it has not grown."""

    def __init__(self, memory: Memory) -> None:
        # It is held on to: the id of one that is gone may become another's.
        self._memory = memory
        self._entries = len(memory)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, MemoryVersion)
            and self._memory is other._memory
            and self._entries == other._entries
        )

    def __hash__(self) -> int:
        return hash((id(self._memory), self._entries))


def scope_of(memory: Memory | None) -> MemoryVersion | None:
    """What prompts must have in common, beside their tokens, to share keys and values.

    In an empty memory is nothing to be read, as in none.
    """
    return MemoryVersion(memory) if memory is not None and len(memory) else None


class PrefixCache:
    """Prompts with their keys and values, as fit into some bytes; the longest unused are dropped first.

    Prompts of different scopes know nothing of each other; they share the room alone.
    """

    def __init__(self, limit: int) -> None:
        """Make an empty one.

        Args:
            limit: bytes of keys and values, at most; 0 keeps nothing.
        """
        self._limit = limit
        self._held = 0
        self._entries: OrderedDict[tuple[Hashable, Ids], Layers] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def held(self) -> int:
        """Bytes of keys and values that are kept."""
        return self._held

    def longest(self, prompt: Ids, scope: Hashable = None) -> Prefix:
        """The longest beginning shared with a kept prompt of the scope; at least the last token is left."""
        best, length = None, 0
        for key in self._entries:
            own, ids = key
            # The newest of equals: most likely the parent, which is worth keeping.
            if own == scope and ids[:length] == prompt[:length]:
                shared = common_prefix(ids, prompt)
                best, length = (key, shared) if shared >= length else (best, length)
        length = min(length, len(prompt) - 1)
        if best is None or length <= 0:
            return NO_PREFIX
        self._entries.move_to_end(best)
        return Prefix(length, self._entries[best])

    def keep(self, prompt: Ids, layers: Layers, scope: Hashable = None) -> None:
        """Keep a prompt's keys and values, (H, T, D) a layer.

        Args:
            scope: see :func:`scope_of`; it is kept as well.
        """
        if layers and layers[0][0].shape[1] != len(prompt):
            raise ValueError(f"keys {tuple(layers[0][0].shape)} of {len(prompt)} tokens")
        key = (scope, prompt)
        self._drop(key)
        size = _bytes(layers)
        if size > self._limit:
            return
        while self._held + size > self._limit:
            self._drop(next(iter(self._entries)))
        self._entries[key] = layers
        self._held += size

    def clear(self) -> bool:
        """Forget all; return whether there was anything."""
        held = self._held > 0
        self._entries.clear()
        self._held = 0
        return held

    def _drop(self, key: tuple[Hashable, Ids]) -> None:
        if (layers := self._entries.pop(key, None)) is not None:
            self._held -= _bytes(layers)

    def check_invariants(self) -> None:
        assert self._held == sum(map(_bytes, self._entries.values())) <= self._limit
        for (_, prompt), layers in self._entries.items():
            assert all(it.shape[1] == len(prompt) for pair in layers for it in pair)


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    for length, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return length
    return min(len(one), len(other))


def _bytes(layers: Layers) -> int:
    return sum(it.nbytes for pair in layers for it in pair)
