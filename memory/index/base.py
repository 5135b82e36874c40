"""What all kinds of index have in common: checks, one lock, and the order of what they find."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memory.errors import MemoryInputError
from memory.index.files import compared, digest, read_file, write_file
from memory.index.ranking import AT_ONCE, EntryMask, Found, full_precision, rank, rounding, scan
from memory.index.rows import Floats, Rows, check_block

Float32s = NDArray[np.float32]

_FORMAT = 1
#: Candidates that are fetched beyond k: float32 may order close ones otherwise than they are.
SPARE = 8
#: How many times more are fetched where those did not settle the order, as among many equal keys.
_FURTHER = 8
#: Keys of a scan at once, and products; a CPU's cache holds few, and a GPU is quicker with many.
_SCANNED = {"cpu": (1 << 14, 1 << 24), "cuda": (1 << 22, 1 << 27)}


@dataclass(frozen=True, slots=True)
class _Ask:
    """What each query is to find."""

    k: int
    allowed: EntryMask | None
    #: Entries that there are to find.
    held: int
    #: Whether by multiplying with all keys, and not with the index.
    scanned: bool = False


class KeyIndex(ABC):
    """Keys of H heads, of unit length, and for a query those with the largest inner products.

    Entries are numbered in the order they were added, from 0, the same for all heads. They are found in the
    order that :mod:`memory.index.ranking` says: what a query finds does not depend on the other queries.
    Threads may add and search at the same time; each waits for the other.
    """

    name: ClassVar[str]

    def __init__(self, heads: int, width: int, rows: Rows) -> None:
        self.heads, self.width, self.rows = heads, width, rows
        #: Held while it adds and searches; whoever keeps something beside it holds it as well.
        self.lock = RLock()
        self._longest = 0.0

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<{self.name} index of {len(self)} entries, {self.heads} heads of {self.width}>"

    @property
    def device(self) -> torch.device:
        """Where :meth:`find` gives tensors."""
        return self.rows.device

    @property
    def exact(self) -> bool:
        """Whether it finds all of the nearest, now."""
        return True

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that it holds, about; without keys in arrays that it only refers to."""

    @abstractmethod
    def empty_rows(self) -> Rows:
        """Rows of the same heads and width for the values, on the device."""

    def add(self, keys: Floats) -> None:
        """Add entries.

        Args:
            keys: (H, n, D), float16 or float32, kept in that precision. An array that cannot be written, as a
                memory map of a file, is referred to, any other is copied.

        Raises:
            MemoryInputError: the shape or the type does not fit, or a key is not finite.
        """
        check_block(keys, self.heads, self.width)
        longest = _longest(keys)
        with self.lock:
            before = len(self.rows)
            self.rows.append(keys)
            self._longest = max(self._longest, longest)
            self._added(before)

    def search(
        self, queries: Float32s, k: int, allowed: EntryMask | NDArray[np.bool_] | None = None
    ) -> tuple[Float32s, NDArray[np.int64]]:
        """Return the k entries with the largest inner products for each query of each head, largest first.

        Args:
            queries: (H, Q, D).
            allowed: (N,), bool, the entries that may be found; those behind its end may not. An
                :class:`EntryMask` that is kept and given again costs less each time.

        Returns:
            scores (H, Q, k) in float32, and entries (H, Q, k); -inf and -1 where there are fewer.

        Raises:
            MemoryInputError: shapes or k do not fit.
        """
        mask = EntryMask(allowed) if isinstance(allowed, np.ndarray) else allowed
        scores, entries = self.find(torch.from_numpy(np.asarray(queries, dtype=np.float32)), k, mask)
        return scores.cpu().numpy(), entries.cpu().numpy()

    def find(self, queries: Tensor, k: int, allowed: EntryMask | None = None) -> Found:
        """Do what :meth:`search` does, with tensors: queries of any type on any device."""
        self._check(queries, k, allowed)
        with self.lock, full_precision(self.device):
            queries = queries.detach().to(self.device, torch.float32)
            scores, entries = self._find(queries, k, allowed)
        return scores.float(), entries

    def save(self, path: Path) -> None:
        """Write what was built, without the keys, so that :func:`load_index` need not build it.

        Raises:
            MemoryUnavailable: the disk is full, or the file cannot be written there.
        """
        with self.lock:
            parts, more = self._state()
            write_file(path, self._facts(len(self)) | more, parts)

    def restore(self, keys: Floats, path: Path) -> None:
        """Read what :meth:`save` wrote into this index, which must be empty.

        Args:
            keys: (H, n, D), the same entries and maybe more behind them, which are added.

        Raises:
            MemoryInputError: there is no whole file, or it is of other keys or of another kind of index.
        """
        check_block(keys, self.heads, self.width)
        header, parts = read_file(path)
        count = header["entries"]
        if count <= keys.shape[1]:
            self._longest = _longest(keys[:, :count])
            self.rows.append(keys[:, :count])
        found = self._facts(len(self))
        if header | found != header:
            raise MemoryInputError(f"The index {path} is of other keys, or of another kind. Build it anew.")
        self._restored(header, parts)
        self.add(keys[:, count:])

    def _facts(self, count: int) -> dict[str, Any]:
        """What an index must have in common with a file to be read from it."""
        entries = torch.from_numpy(compared(count)).expand(self.heads, -1)
        keys = self.rows.gather(range(self.heads), entries).numpy(force=True)
        own = {"format": _FORMAT, "kind": self.name, "heads": self.heads, "width": self.width}
        return own | {"entries": count, "keys": digest(keys)}

    def _state(self) -> tuple[list[bytes], dict[str, Any]]:
        """What is worth keeping of what was built."""
        return [], {}

    def _restored(self, header: dict[str, Any], parts: Sequence[bytes]) -> None:
        """Take that again; the keys are there."""
        self._added(0)

    def check_invariants(self) -> None:
        """Check that all parts hold the same entries; for tests."""
        assert self._longest >= 0.0

    @abstractmethod
    def _added(self, before: int) -> None:
        """Take in the rows from there on."""

    @abstractmethod
    def _nearest(self, heads: Sequence[int], queries: Tensor, n: int, allowed: EntryMask | None) -> Found:
        """Return n candidates of each of some heads with their products in float32.

        Exact kinds return the n largest products, others n or fewer that are large.
        """

    def _find(self, queries: Tensor, k: int, allowed: EntryMask | None) -> Found:
        ask = _Ask(k, allowed, len(self) if allowed is None else allowed.count)
        if ask.held == 0 or queries.shape[1] == 0:
            none = queries.new_full((self.heads, queries.shape[1], k), -torch.inf)
            return none, torch.full(none.shape, -1, device=self.device)
        return self._ranked(range(self.heads), queries, self._fetched(k), ask)

    def _fetched(self, k: int) -> int:
        """How many candidates to rank, for k entries."""
        return k + SPARE

    def _ranked(self, heads: Sequence[int], queries: Tensor, fetched: int, ask: _Ask) -> Found:
        """Fetch candidates of some heads for queries (h, Q, D), and rank them; some at a time."""
        fetched = min(fetched, ask.held)
        parts = torch.split(queries, max(1, AT_ONCE // (len(heads) * fetched)), dim=1)
        found = [self._ranked_part(heads, part, fetched, ask) for part in parts]
        return torch.cat([it[0] for it in found], dim=1), torch.cat([it[1] for it in found], dim=1)

    def _ranked_part(self, heads: Sequence[int], queries: Tensor, fetched: int, ask: _Ask) -> Found:
        nearest = self._scan if ask.scanned else self._nearest
        products, candidates = nearest(heads, queries, fetched, ask.allowed)
        scores, entries = rank(queries, self.rows.gather(heads, candidates), candidates, ask.k)
        if not (self.exact or ask.scanned):
            unsettled = entries[..., min(ask.k, ask.held) - 1] < 0
            fetched, ask = ask.k + SPARE, replace(ask, scanned=True)
        elif fetched < ask.held:
            # A key that was not fetched may be as near as the last that was found.
            unsettled = scores[..., -1] <= products[..., -1] + rounding(queries, self._longest)
            fetched *= _FURTHER
        else:
            return scores, entries
        for place in unsettled.any(dim=1).nonzero().flatten().tolist():
            which = unsettled[place]
            again = self._ranked([heads[place]], queries[place : place + 1, which], fetched, ask)
            scores[place, which], entries[place, which] = again[0][0], again[1][0]
        return scores, entries

    def _scan(self, heads: Sequence[int], queries: Tensor, n: int, allowed: EntryMask | None) -> Found:
        """Multiply with all keys."""
        most, products = _SCANNED.get(self.device.type, _SCANNED["cpu"])
        size = max(1024, min(most, products // queries.shape[1]) // queries.shape[0])
        mask = None if allowed is None else allowed.on(self.device)
        return scan(self.rows.chunks(heads, size), queries, n, mask)

    def _check(self, queries: Tensor, k: int, allowed: EntryMask | None) -> None:
        if queries.ndim != 3 or (queries.shape[0], queries.shape[2]) != (self.heads, self.width):
            needed = f"({self.heads}, Q, {self.width})"
            raise MemoryInputError(f"Queries of shape {tuple(queries.shape)} were given, {needed} is needed.")
        if k < 1:
            raise MemoryInputError(f"{k} neighbours were asked for; ask for 1 or more.")
        if allowed is not None and len(allowed) > len(self):
            raise MemoryInputError(f"A mask over {len(allowed)} entries was given; there are {len(self)}.")


def _longest(keys: Floats) -> float:
    """The largest length of keys (H, n, D)."""
    longest = 0.0
    for start in range(0, keys.shape[1], 1 << 16):
        part = keys[:, start : start + (1 << 16)].astype(np.float32)
        longest = max(longest, checked_length(np.einsum("hnd,hnd->hn", part, part).max()))
    return longest


def checked_length(square: float) -> float:
    """The root of the largest square of keys' lengths.

    Raises:
        MemoryInputError: it is not finite.
    """
    if not math.isfinite(square):
        raise MemoryInputError("A key is not finite: the model overflowed on that text; leave it out.")
    return math.sqrt(square)
