"""Copying from a memory: the next token may be the one that an entry which was looked up is of.

The attention layer makes a vector of what it finds, and it is for the layers above to learn what it is worth:
a name that nobody has seen in training is found, and hardly ever said. Here the entries have a say:

    p(t) = (1 - λ) p_model(t) + λ p_copy(t)
    p_copy(t): the mean over heads of the sum of softmax(scale · cosine) over the entries of token t
    λ = σ(slope · (c - c0 - growth · ln(N / 1024))), c the mean over heads of the nearest entry's cosine

After Khandelwal et al. 2020, "Generalization through Memorization: Nearest Neighbor Language Models", section
2, with keys and queries of the memory layer in place of the last layer's: one look-up serves both. Each token
has its own share, as He et al. 2021, "Efficient Nearest Neighbor Language Models", section 4.1, learn it from
such features: what is nearer is more likely meant. Of more entries the nearest is nearer, also where none is
meant: hence the growth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

#: Entries of a memory for which a rule's centre is given.
USUAL = 1024


@dataclass(frozen=True, slots=True)
class CopyRule:
    """How much a model copies: see the module's docstring."""

    #: The cosine c0 at which half of the probability is copied, with :data:`USUAL` entries.
    centre: float
    slope: float
    scale: float
    growth: float

    @classmethod
    def of(cls, config: Any) -> Self | None:
        """A model's rule; None where it never copies."""
        if config.memory_copy is None:
            return None
        return cls(
            config.memory_copy,
            config.memory_copy_slope,
            config.memory_copy_scale,
            config.memory_copy_growth,
        )

    def share(self, nearest: Tensor, entries: int) -> Tensor:
        """The logits of λ, from the mean cosine of the heads' nearest entries, and how many there are."""
        return share(nearest, relative_size(entries), self.centre, self.slope, self.growth)

    def into(self, config: Any) -> None:
        """Have a model copy by this rule; its checkpoint keeps it."""
        config.memory_copy, config.memory_copy_slope = self.centre, self.slope
        config.memory_copy_scale, config.memory_copy_growth = self.scale, self.growth


Number = Tensor | float


def share(nearest: Tensor, size: Number, centre: Number, slope: Number, growth: Number) -> Tensor:
    """The logits of λ, with the relative size of the memory; the numbers may be searched for."""
    return slope * (nearest - centre - growth * size)


def relative_size(entries: int) -> float:
    """How large a memory is beside the usual one: ln(entries / USUAL)."""
    return math.log(max(1, entries) / USUAL)


@dataclass(frozen=True, slots=True)
class Heard:
    """What N tokens of a batch looked up: their rows and places (N,), the rest (N, H, K)."""

    rows: Tensor
    places: Tensor
    cosines: Tensor
    #: -1 where there is nothing to copy.
    tokens: Tensor
    #: Of the memory.
    entries: int


class Copies:
    """What a run of a model has looked up, and then what comes of it: handed to the layers, for one run."""

    def __init__(self, rule: CopyRule) -> None:
        self._rule = rule
        self.heard: list[Heard] = []

    def keep(self, rows: Tensor, places: Tensor, cosines: Tensor, tokens: Tensor, entries: int) -> None:
        """Take what some tokens found: rows and places (N,) in the batch, cosines and tokens (N, H, K).

        Args:
            entries: of the memory that they asked.
        """
        self.heard.append(Heard(rows, places, cosines, tokens, entries))

    def mixed(self, logits: Tensor, columns: Tensor) -> Tensor:
        """Return the mixture's log-probabilities, (B, T', V), where anything was found; the logits elsewhere.

        Args:
            logits: (B, T', V), the model's own.
            columns: (T',), the tokens of the batch that they are of.
        """
        for heard in self.heard:
            at = (columns == heard.places[:, None]).long()
            kept = at.any(dim=1) & (heard.tokens >= 0).any(dim=(1, 2))
            if not kept.any():
                continue
            row, column = heard.rows[kept], at.argmax(dim=1)[kept]
            own = logits[row, column].float().log_softmax(dim=-1)
            mixture = self._mixture(own, heard.cosines[kept], heard.tokens[kept], heard.entries)
            logits = logits.index_put((row, column), mixture.to(logits.dtype))
        return logits

    def _mixture(self, own: Tensor, cosines: Tensor, tokens: Tensor, entries: int) -> Tensor:
        """(N, V), from log-probabilities (N, V), cosines and tokens (N, H, K), at least one of them known."""
        probabilities, nearest = copied(cosines, tokens, self._rule.scale, own)
        share = self._rule.share(nearest, entries)[:, None]
        said = functional.logsigmoid(-share) + own
        return torch.logaddexp(said, functional.logsigmoid(share) + probabilities.log())


def copied(cosines: Tensor, tokens: Tensor, scale: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return what copying alone would say, and how near it is.

    Args:
        cosines, tokens: (N, H, K); of each of the N, at least one token is known (not -1).
        like: (N, V), for size and device.

    Returns:
        p_copy (N, V), float32, and c (N,), see the module's docstring; heads that know no token are left out.
    """
    known = tokens >= 0
    heads = known.any(dim=2)
    near = cosines.float().masked_fill(~known, -torch.inf)
    weights = (near * scale).masked_fill(~heads[..., None], 0.0).softmax(dim=2)
    weights = weights * heads[..., None] / heads.sum(dim=1)[:, None, None]
    none = torch.zeros_like(like, dtype=torch.float32)
    probabilities = none.scatter_add(1, tokens.clamp(min=0).flatten(1), weights.flatten(1))
    nearest = near.amax(dim=2).masked_fill(~heads, 0.0).sum(dim=1) / heads.sum(dim=1)
    return probabilities, nearest
