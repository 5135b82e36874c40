"""Memories that an attention layer looks up: on disk or in memory with an index, several as one, the newest.

All are exact or nearly so, answer in the queries' type on the queries' device, and let no gradient through.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memory.errors import MemoryInputError
from memory.index import EntryMask, KeyIndex, choose_kind, make_index
from memory.index.kinds import TorchIndex
from memory.index.ranking import rank
from memory.index.rows import Floats, TokenRows, as_tensor, check_block, known_tokens
from memory.lookup import Memory, Retrieved

#: Numbers of entries that each memory of a union has for itself.
_SPAN = 1 << 40


class ExternalMemory:
    """Keys and values in arrays, and an index over the keys."""

    def __init__(
        self,
        index: KeyIndex | str | None,
        keys: Floats,
        values: Floats,
        device: torch.device | str = "cpu",
        tokens: NDArray[np.int32] | None = None,
    ) -> None:
        """Take over N entries, of H heads and width D; N may be 0.

        Args:
            index: of these keys, as :func:`memory.index.load_index` gives it; or the kind of index to build;
                or None to choose one by size and device.
            keys: (N, H, D), float16, or float32; memory maps are referred to, as is any array that cannot be
                written. Others are copied.
            values: (N, H, D), likewise.
            device: where a new index is to search: with a GPU, keys and values are put there.
            tokens: (N,), those that the entries are of; None: nobody will ask.

        Raises:
            MemoryInputError: shapes do not fit each other or the index, or there is no such kind of index.
            MemoryUnavailable: the GPU, or FAISS for it, is missing.
        """
        _check_pair(keys, values)
        if isinstance(index, KeyIndex):
            self.index = index
        else:
            kind = choose_kind(len(keys), device) if index is None else index
            self.index = make_index(kind, keys.shape[1], keys.shape[2], device)
            self.index.add(_by_head(keys))
        if len(self.index) != len(keys):
            raise MemoryInputError(f"The index has {len(self.index)} entries, {len(keys)} keys were given.")
        self._check_kind(keys)
        self._values = self.index.empty_rows()
        self._values.append(_by_head(values))
        self._tokens = TokenRows(self.index.device)
        self._tokens.append(_known(tokens, len(keys)))

    def __len__(self) -> int:
        return len(self.index)

    def extend(self, keys: Floats, values: Floats, tokens: NDArray[np.int32] | None = None) -> None:
        """Add entries, keys and values (n, H, D), tokens (n,); other threads may look up meanwhile.

        Raises:
            MemoryInputError: shapes do not fit, or a key is not finite.
        """
        _check_pair(keys, values)
        self._check_kind(keys)
        known = _known(tokens, len(keys))
        with self.index.lock:
            self.index.add(_by_head(keys))
            self._values.append(_by_head(values))
            self._tokens.append(known)

    def look_up(self, queries: Tensor, k: int) -> Retrieved:
        """Do as :class:`memory.lookup.Memory` says.

        Raises:
            MemoryInputError: the queries are not (H, Q, D), or k is less than 1.
        """
        return self._look_up(queries, k, None)

    def view(self, allowed: EntryMask | NDArray[np.bool_]) -> MemoryView:
        """The same memory with some entries alone: (N,), bool; what is added later is not among them.

        Raises:
            MemoryInputError: it is no such mask, or longer than the memory.
        """
        mask = allowed if isinstance(allowed, EntryMask) else EntryMask(allowed)
        if len(mask) > len(self):
            raise MemoryInputError(f"A mask over {len(mask)} entries was given; there are {len(self)}.")
        return MemoryView(self, mask)

    def _look_up(self, queries: Tensor, k: int, allowed: EntryMask | None) -> Retrieved:
        heads = range(self.index.heads)
        with self.index.lock:
            _, entries = self.index.find(queries, k, allowed)
            keys, values = (rows.gather(heads, entries) for rows in (self.index.rows, self._values))
            tokens = self._tokens.gather(entries)
        return _retrieved(queries, keys, values, entries, tokens)

    def _check_kind(self, keys: Floats) -> None:
        if keys.shape[1:] != (self.index.heads, self.index.width):
            needed = f"(N, {self.index.heads}, {self.index.width})"
            raise MemoryInputError(f"Keys of shape {keys.shape} were given, the index needs {needed}.")


class MemoryView:
    """Some entries of a memory, under the numbers they have there."""

    def __init__(self, memory: ExternalMemory, allowed: EntryMask) -> None:
        self._memory, self._allowed = memory, allowed

    def __len__(self) -> int:
        return self._allowed.count

    def look_up(self, queries: Tensor, k: int) -> Retrieved:
        """Do as :meth:`ExternalMemory.look_up`."""
        return self._memory._look_up(queries, k, self._allowed)


class UnionMemory:
    """Several memories as one: the nearest of all that each finds."""

    def __init__(self, memories: Sequence[Memory]) -> None:
        """Take one or more memories of the same heads and width; of equally near entries the first's win."""
        if not memories:
            raise MemoryInputError("A union needs a memory; leave it out where there is none.")
        self._memories = tuple(memories)

    def __len__(self) -> int:
        return sum(map(len, self._memories))

    def look_up(self, queries: Tensor, k: int) -> Retrieved:
        """Do as :class:`memory.lookup.Memory` says; :meth:`locate` tells whose an entry is.

        Raises:
            MemoryInputError: as the memories do.
        """
        # In float32, because rounded keys would be put in another order.
        asked = queries.detach().float()
        parts = [memory.look_up(asked, k) for memory in self._memories]
        keys, values, found, tokens = (
            torch.cat([getattr(part, name) for part in parts], dim=2)
            for name in ("keys", "values", "found", "tokens")
        )
        numbers = torch.cat([part.entries + _SPAN * place for place, part in enumerate(parts)], dim=2)
        _, best = rank(asked, keys, torch.arange(found.shape[-1], device=found.device).where(found, -1), k)
        lacking, best = best < 0, best.clamp(min=0)
        entries, tokens = (it.gather(2, best).masked_fill_(lacking, -1) for it in (numbers, tokens))
        rows = best[..., None].expand(-1, -1, -1, keys.shape[-1])
        keys, values = (it.gather(2, rows).masked_fill_(lacking[..., None], 0.0) for it in (keys, values))
        return _retrieved(queries, keys, values, entries, tokens)

    def locate(self, entry: int) -> tuple[int, int]:
        """Return the place of an entry's memory among the memories, and the entry's number there."""
        return divmod(entry, _SPAN)


class RecentMemory:
    """The newest entries alone, as one document's while it is read: exact, on one device, for one thread.

    Entries are numbered in the order they came; those that were dropped count, so that numbers stay.
    """

    def __init__(self, heads: int, width: int, capacity: int, device: torch.device | str = "cpu") -> None:
        if capacity < 1:
            raise MemoryInputError(f"A capacity of {capacity} was given; 1 entry is the least.")
        self._capacity, self._dropped = capacity, 0
        self._index = TorchIndex(heads, width, device)
        self._values = self._index.empty_rows()
        self._tokens = TokenRows(self._index.device)

    def __len__(self) -> int:
        return len(self._index)

    def add(self, keys: Tensor, values: Tensor, tokens: Tensor | None = None) -> None:
        """Add entries, keys and values (H, n, D) as the layer records them, and tokens (n,).

        Beyond the capacity the oldest are dropped.

        Raises:
            MemoryInputError: shapes do not fit, or a key is not finite.
        """
        if keys.shape != values.shape:
            raise MemoryInputError(_unlike(tuple(keys.shape), tuple(values.shape)))
        check_block(keys, self._index.heads, self._index.width)
        known = known_tokens(tokens, keys.shape[1])
        # Of more than it takes, the first are not even added; their numbers are passed over.
        skipped = max(0, keys.shape[1] - self._capacity)
        self._index.add_tensor(keys[:, skipped:])
        self._values.append(values[:, skipped:])
        self._tokens.append(known[skipped:])
        self._drop(max(0, len(self) - self._capacity))
        self._dropped += skipped

    def look_up(self, queries: Tensor, k: int) -> Retrieved:
        """Do as :class:`memory.lookup.Memory` says.

        Raises:
            MemoryInputError: the queries are not (H, Q, D), or k is less than 1.
        """
        _, entries = self._index.find(queries, k)
        heads = range(self._index.heads)
        keys, values = (rows.gather(heads, entries) for rows in (self._index.rows, self._values))
        tokens = self._tokens.gather(entries)
        return _retrieved(queries, keys, values, entries.where(entries < 0, entries + self._dropped), tokens)

    def clear(self) -> None:
        """Drop all entries, as between two documents; numbers go on."""
        self._drop(len(self))

    def check_invariants(self) -> None:
        assert len(self._index) == len(self._values) == len(self._tokens) <= self._capacity

    def _drop(self, count: int) -> None:
        self._index.drop(count)
        self._values.drop(count)
        self._tokens.drop(count)
        self._dropped += count


class DocumentMemory:
    """A document's memory while a model is trained on it: exact, for one thread, and live.

    What was added since it was last settled keeps its gradients, so that the layer learns to make keys that
    are found and values that are of use; what is older is a constant. After Tworkowski et al. 2023, "Focused
    Transformer: Contrastive Training for Context Scaling", section 3.2. Numbers start anew whenever entries
    are dropped.
    """

    live = True

    def __init__(self, heads: int, width: int, capacity: int, device: torch.device | str = "cpu") -> None:
        """Make an empty one.

        Args:
            capacity: entries that are kept when it is settled, the newest.
        """
        self._capacity = capacity
        self._none = torch.empty(heads, 0, width, device=device)
        self._keys, self._values = [self._none], [self._none]

    def __len__(self) -> int:
        return sum(part.shape[1] for part in self._keys)

    def add(self, keys: Tensor, values: Tensor) -> None:
        """Add entries, (H, n, D) both.

        Raises:
            MemoryInputError: shapes do not fit.
        """
        heads, _, width = self._none.shape
        if keys.shape != values.shape or (keys.shape[0], keys.shape[2]) != (heads, width):
            raise MemoryInputError(_unlike(tuple(keys.shape), tuple(values.shape)))
        self._keys.append(keys.float())
        self._values.append(values.float())

    @property
    def keys(self) -> Tensor:
        """(H, N, D), the newest last."""
        return torch.cat(self._keys, dim=1)

    def settle(self) -> None:
        """Make constants of all entries, and drop the oldest beyond the capacity."""
        for parts in (self._keys, self._values):
            whole = torch.cat(parts, dim=1).detach()
            parts[:] = [whole[:, max(0, whole.shape[1] - self._capacity) :]]

    def clear(self) -> None:
        self._keys, self._values = [self._none], [self._none]

    def look_up(self, queries: Tensor, k: int) -> Retrieved:
        """Do as :class:`memory.lookup.Memory` says, but for the gradients."""
        keys, values = self.keys, torch.cat(self._values, dim=1)
        with torch.no_grad():
            scores = queries.float() @ keys.transpose(1, 2)  # (H, Q, N)
            entries = scores.topk(min(k, keys.shape[1]), dim=2).indices
        heads = torch.arange(keys.shape[0], device=keys.device)[:, None, None]
        found, unknown = torch.ones_like(entries, dtype=torch.bool), torch.full_like(entries, -1)
        return Retrieved(keys[heads, entries], values[heads, entries], found, entries, unknown)


def _by_head(rows: Floats) -> Floats:
    """(N, H, D) as (H, N, D), without a copy."""
    return np.moveaxis(rows, 1, 0)


def _check_pair(keys: Floats, values: Floats) -> None:
    if keys.ndim != 3 or keys.shape != values.shape:
        raise MemoryInputError(_unlike(keys.shape, values.shape))
    if values.dtype not in (np.float16, np.float32):
        raise MemoryInputError(f"Values of {values.dtype} were given; convert them to float16 or float32.")


def _unlike(keys: tuple[int, ...], values: tuple[int, ...]) -> str:
    return f"Keys of shape {keys} and values of shape {values} were given; they need the same, of 3 axes."


def _known(tokens: NDArray[np.int32] | None, count: int) -> Tensor:
    return known_tokens(None if tokens is None else as_tensor(tokens), count)


def _retrieved(queries: Tensor, keys: Tensor, values: Tensor, entries: Tensor, tokens: Tensor) -> Retrieved:
    keys, values = (it.to(queries.device, queries.dtype) for it in (keys, values))
    entries, tokens = (it.to(queries.device) for it in (entries, tokens))
    return Retrieved(keys, values, entries >= 0, entries, tokens)
