"""Keys or values of H heads, as they grow: as arrays in memory or on disk, or as one tensor on a device."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memory.errors import MemoryInputError, MemoryUnavailable

#: Float16 or float32, of any shape.
Floats = NDArray[np.floating[Any]]

#: Rows that two neighbouring blocks may have together to be made into one.
_MERGED = 1 << 16


class Rows(Protocol):
    """Rows of D numbers, n of each of H heads."""

    #: Where :meth:`gather` and :meth:`chunks` give tensors.
    device: torch.device

    def __len__(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """Bytes that it holds itself."""
        ...

    def append(self, block: Floats) -> None:
        """Add (H, n, D), float16 or float32."""
        ...

    def gather(self, heads: Sequence[int], entries: Tensor) -> Tensor:
        """Rows (h, ..., D) of some heads, for entries (h, ...); 0 where an entry is -1."""
        ...

    def chunks(self, heads: Sequence[int], size: int) -> Iterator[tuple[int, Tensor]]:
        """All rows of some heads: the first one's number, and (h, at most size, D) in float32."""
        ...


def check_block(block: Floats | Tensor, heads: int, width: int) -> None:
    """Raise MemoryInputError for what is not (heads, n, width) of floats."""
    if block.ndim != 3 or (block.shape[0], block.shape[2]) != (heads, width):
        needed = f"({heads}, n, {width})"
        raise MemoryInputError(f"Shape {tuple(block.shape)} was given, {needed} is needed: (H, n, D).")
    if isinstance(block, np.ndarray) and block.dtype not in (np.float16, np.float32):
        raise MemoryInputError(f"{block.dtype} was given; convert it to float16 or float32.")


class HostRows:
    """Rows in blocks (H, n, D). A block that cannot be written, as a memory map of a file, is not copied."""

    device = torch.device("cpu")

    def __init__(self, heads: int, width: int) -> None:
        self._heads, self._width = heads, width
        self._blocks: list[Floats] = []
        #: Of each block, and then of all.
        self._starts = [0]

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def nbytes(self) -> int:
        return sum(block.nbytes for block in self._blocks if block.base is None)

    def append(self, block: Floats) -> None:
        check_block(block, self._heads, self._width)
        if block.shape[1] == 0:
            return
        self._blocks.append(block.copy() if block.flags.writeable else block)
        # Many small blocks become few: log(n) of them, and one for each so many rows.
        while len(self._blocks) > 1 and self._mergeable():
            last = self._blocks.pop()
            self._blocks[-1] = np.concatenate([self._blocks[-1], last], axis=1)
        self._starts = [0, *np.cumsum([it.shape[1] for it in self._blocks]).tolist()]

    def _mergeable(self) -> bool:
        before, last = (block.shape[1] for block in self._blocks[-2:])
        return bool(before <= last and before + last <= _MERGED)

    def gather(self, heads: Sequence[int], entries: Tensor) -> Tensor:
        wanted = entries.cpu().numpy().reshape(len(heads), -1)
        found = np.zeros((*wanted.shape, self._width), self._dtype)
        for place, head in enumerate(heads):
            self._gather_head(head, wanted[place], found[place])
        return torch.from_numpy(found.reshape(*entries.shape, self._width))

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.result_type(np.float16, *(block.dtype for block in self._blocks))

    def _gather_head(self, head: int, wanted: NDArray[np.int64], found: Floats) -> None:
        real = wanted >= 0
        if len(self._blocks) == 1 and real.all():
            found[:] = self._blocks[0][head][wanted]
            return
        for block, start in zip(self._blocks, self._starts, strict=False):
            here = real & (wanted >= start) & (wanted < start + block.shape[1])
            if here.any():
                found[here] = block[head][wanted[here] - start]

    def chunks(self, heads: Sequence[int], size: int) -> Iterator[tuple[int, Tensor]]:
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield start, torch.from_numpy(np.stack([self.head(head, start, stop) for head in heads]))

    def head(self, head: int, start: int, stop: int) -> NDArray[np.float32]:
        """Copy (stop - start, D) of one head in float32."""
        found = np.empty((stop - start, self._width), np.float32)
        first = bisect_right(self._starts, start) - 1
        for block, offset in zip(self._blocks[first:], self._starts[first:], strict=False):
            if offset >= stop:
                break
            low, high = max(start, offset), min(stop, offset + block.shape[1])
            found[low - start : high - start] = block[head, low - offset : high - offset]
        return found


class DeviceRows:
    """Rows in one tensor (H, room, D) on a device, with room behind them; the first ones can be dropped."""

    def __init__(self, heads: int, width: int, device: torch.device) -> None:
        self._heads, self._width, self.device = heads, width, device
        self._room = torch.empty(heads, 0, width, device=device)
        self._start = self._stop = 0

    def __len__(self) -> int:
        return self._stop - self._start

    @property
    def nbytes(self) -> int:
        return self._room.nbytes

    def append(self, block: Floats | Tensor) -> None:
        new = as_tensor(block)
        check_block(new, self._heads, self._width)
        dtype = torch.promote_types(self._room.dtype, new.dtype) if len(self) else new.dtype
        if self._stop + new.shape[1] > self._room.shape[1] or dtype != self._room.dtype:
            self._move(len(self) + new.shape[1], dtype)
        self._room[:, self._stop : self._stop + new.shape[1]] = new.detach().to(self.device)
        self._stop += new.shape[1]

    def _move(self, needed: int, dtype: torch.dtype) -> None:
        """Put the rows at the front of a tensor with room for so many, and some more."""
        # The first rows are often all there will be.
        room = needed + (needed // 2 if self._stop else 0)
        try:
            larger = torch.empty(self._heads, room, self._width, dtype=dtype, device=self.device)
        except torch.OutOfMemoryError as error:
            text = (
                f"{self.device} has no room for {room} entries: leave some out, or take an index on the CPU."
            )
            raise MemoryUnavailable(text) from error
        larger[:, : len(self)] = self._room[:, self._start : self._stop]
        self._room, self._start, self._stop = larger, 0, len(self)

    def drop(self, count: int) -> None:
        """Drop the first so many rows."""
        self._start += count

    def gather(self, heads: Sequence[int], entries: Tensor) -> Tensor:
        entries = entries.to(self.device)
        shape = (len(heads), *[1] * (entries.ndim - 1))
        own = torch.tensor(list(heads), device=self.device).view(shape)
        rows = self._room[own, entries.clamp(min=0) + self._start] if len(self) else self._none(entries)
        return rows.masked_fill_((entries < 0)[..., None], 0)

    def _none(self, entries: Tensor) -> Tensor:
        return self._room.new_zeros(*entries.shape, self._width)

    def chunks(self, heads: Sequence[int], size: int) -> Iterator[tuple[int, Tensor]]:
        held = self._room[:, self._start : self._stop]
        for start in range(0, len(self), size):
            part = held[:, start : start + size]
            yield start, (part if len(heads) == self._heads else part[list(heads)]).float()


class TokenRows:
    """A token for each entry, or -1 where none is known."""

    def __init__(self, device: torch.device) -> None:
        self._rows = DeviceRows(1, 1, device)

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, tokens: Tensor) -> None:
        """Add (n,) of them, integers."""
        self._rows.append(tokens.int()[None, :, None])

    def drop(self, count: int) -> None:
        """Drop the first so many."""
        self._rows.drop(count)

    def gather(self, entries: Tensor) -> Tensor:
        """The tokens of entries, of their shape, int64; -1 where an entry is -1."""
        found = self._rows.gather([0], entries[None])[0, ..., 0].long()
        return found.masked_fill_(entries.to(found.device) < 0, -1)


def known_tokens(tokens: Tensor | None, count: int) -> Tensor:
    """Tokens (count,) of so many entries; None: none is known.

    Raises:
        MemoryInputError: they are not one an entry.
    """
    if tokens is None:
        return torch.full((count,), -1)
    if tokens.shape != (count,) or tokens.is_floating_point():
        raise MemoryInputError(
            f"Tokens {tuple(tokens.shape)} of {tokens.dtype} for {count} entries: give one integer each."
        )
    return tokens


def as_tensor(block: NDArray[Any] | Tensor) -> Tensor:
    """The same numbers as a tensor, without a copy where torch can do without."""
    if isinstance(block, Tensor):
        return block
    return torch.from_numpy(block if block.flags.writeable else block.copy())
