"""The order of entries, which is the same for all kinds of index, and the exact search that needs no index.

Entries are ordered by their inner products in float64, ties by the smaller number. Sums are taken row by row
and not by BLAS, whose last bits depend on what else is multiplied, so that equal keys have equal scores and
a query finds the same entries alone and among others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memory.errors import MemoryInputError

#: Scores (h, Q, n) in float32 and the numbers of their entries, int64; -inf and -1 where there are fewer.
Found = tuple[Tensor, Tensor]

#: Candidates, of all heads and queries, that are ranked at once: bounds the memory of a look-up.
AT_ONCE = 1 << 16


class EntryMask:
    """Entries that a look-up may find; those behind its end, which were added later, it may not.

    Keep it where it is used again: an index keeps what it derives from a mask as long as the mask is there.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        """Copy (N,), bool.

        Raises:
            MemoryInputError: it is no such array.
        """
        if mask.ndim != 1 or mask.dtype != np.bool_:
            raise MemoryInputError(f"A mask {mask.shape} of {mask.dtype} was given; (N,) of bool is needed.")
        self._mask = mask.copy()
        self.count = int(np.count_nonzero(mask))
        self._on_device: dict[torch.device, Tensor] = {}

    def __len__(self) -> int:
        return len(self._mask)

    @cached_property
    def entries(self) -> NDArray[np.int64]:
        """The numbers of the allowed ones, ascending."""
        return np.flatnonzero(self._mask)

    @cached_property
    def bits(self) -> NDArray[np.uint8]:
        """Eight entries a byte, the first in the lowest bit, as FAISS takes them."""
        return np.packbits(self._mask, bitorder="little")

    def on(self, device: torch.device) -> Tensor:
        """(N,), bool."""
        if device not in self._on_device:
            self._on_device[device] = torch.from_numpy(self._mask).to(device)
        return self._on_device[device]


def rank(queries: Tensor, keys: Tensor, entries: Tensor, k: int) -> Found:
    """Order candidates, and keep the best k.

    Args:
        queries: (h, Q, D).
        keys: (h, Q, C, D), those of the candidates.
        entries: (h, Q, C), their numbers, -1 for none.

    Returns:
        scores, in float64, and entries, (h, Q, k) both.
    """
    size = max(1, AT_ONCE // max(1, entries.shape[0] * entries.shape[2]))
    pairs = zip(torch.split(queries, size, dim=1), torch.split(keys, size, dim=1), strict=True)
    scores = torch.cat([torch.mul(part, own[:, :, None].double()).sum(-1) for own, part in pairs], dim=1)
    scores.masked_fill_(entries < 0, -torch.inf)
    entries, order = entries.sort(dim=-1)
    scores, order = scores.gather(-1, order).sort(dim=-1, descending=True, stable=True)
    entries, lacking = entries.gather(-1, order), k - entries.shape[-1]
    if lacking > 0:
        scores = torch.nn.functional.pad(scores, (0, lacking), value=-torch.inf)
        entries = torch.nn.functional.pad(entries, (0, lacking), value=-1)
    return scores[..., :k], entries[..., :k]


def scan(
    chunks: Iterable[tuple[int, Tensor]], queries: Tensor, n: int, allowed: Tensor | None = None
) -> Found:
    """Multiply queries (h, Q, D) with all keys, chunk by chunk, and keep the n largest products.

    Args:
        chunks: first entry and keys (h, c, D) in float32.
        allowed: (N,), bool; None for all.
    """
    best = torch.full((*queries.shape[:2], 0), -torch.inf, device=queries.device)
    entries = best.long()
    for start, keys in chunks:
        scores = queries @ keys.transpose(1, 2)
        if allowed is not None:
            part = allowed[start : start + keys.shape[1]]
            keep = torch.nn.functional.pad(part, (0, keys.shape[1] - len(part)), value=False)
            scores.masked_fill_(~keep, -torch.inf)
        top, places = scores.topk(min(n, keys.shape[1]), dim=-1)
        best, entries = torch.cat([best, top], dim=-1), torch.cat([entries, places + start], dim=-1)
        best, order = best.topk(min(n, best.shape[-1]), dim=-1)
        entries = entries.gather(-1, order)
    return best, entries.masked_fill(best == -torch.inf, -1)


def rounding(queries: Tensor, longest: float) -> Tensor:
    """How far a product in float32 may be from the true one: (h, Q), for keys of at most that length.

    |error| <= D u |q| |k| with u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, section
    3.1), and twice that for what the bound leaves out.
    """
    lengths: Tensor = torch.linalg.vector_norm(queries, dim=-1)
    return lengths * (longest * queries.shape[-1] * 2.0**-23)


#: How many look-ups go on, and what precision was set before the first of them.
_exact_users: list[str] = []
_exact_lock = Lock()


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Multiply in float32 as it is: no autocast, TF32 or gradient; what a trainer has set is set again."""
    with _exact_lock:
        # The setting is the whole process's: only the first and the last of those inside change it.
        _exact_users.append(_exact_users[0] if _exact_users else torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("highest")
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        with _exact_lock:
            before = _exact_users.pop()
            if not _exact_users:
                torch.set_float32_matmul_precision(before)
