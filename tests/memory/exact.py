"""A memory that compares with every key: what the others must answer, and how tests look at who asks what."""

from __future__ import annotations

import torch
from torch import Tensor

from memory.lookup import Retrieved


class ExactMemory:
    """Keys and values (H, N, D); ``asked`` has the queries (H, Q, D) of each look-up."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values
        self.asked: list[Tensor] = []

    def __len__(self) -> int:
        return self.keys.shape[1]

    def look_up(self, queries: Tensor, k: int) -> Retrieved:
        self.asked.append(queries)
        heads, asked, there = *queries.shape[:2], min(k, len(self))
        entries = torch.full((heads, asked, k), -1)
        scores = queries.float() @ self.keys.float().transpose(1, 2)
        entries[..., :there] = scores.topk(there, dim=-1).indices
        found = entries >= 0
        keys, values = (
            torch.stack([it[head, entries[head].clamp(min=0)] for head in range(heads)]) * found[..., None]
            for it in (self.keys.to(queries), self.values.to(queries))
        )
        return Retrieved(keys, values, found, entries, torch.full_like(entries, -1))


class Recorded:
    """Keeps what each run of a model hands on, (B, H, T, D) both."""

    def __init__(self) -> None:
        self.runs: list[tuple[Tensor, Tensor]] = []

    def keep(self, keys: Tensor, values: Tensor, queries: Tensor) -> None:
        self.runs.append((keys, values))

    def memory(self, row: int = 0) -> ExactMemory:
        """A memory of one row of all runs."""
        return ExactMemory(
            *(torch.cat([it[row] for it in kind], dim=1) for kind in zip(*self.runs, strict=True))
        )


def random_memory(heads: int, entries: int, width: int, seed: int = 0) -> ExactMemory:
    draw = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, heads, entries, width, generator=draw)
    return ExactMemory(torch.nn.functional.normalize(keys, dim=-1), values)
