"""What the attention layer asks of a memory, and what it is answered: the one boundary between the two.

After Wu et al. 2022, "Memorizing Transformers", section 3.2: each head's query looks up the nearest of the
keys of earlier tokens, and attends to them and their values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The entries nearest to Q queries of each of H heads, K of each, the nearest first.

    Fewer than K may have been found: ``found`` says which places hold any; the others' keys and values are 0.
    """

    #: (H, Q, K, D), of unit length.
    keys: Tensor
    #: (H, Q, K, D).
    values: Tensor
    #: (H, Q, K), bool.
    found: Tensor
    #: (H, Q, K), the number of each entry in its memory, int64; -1 where nothing was found.
    entries: Tensor
    #: (H, Q, K), the token that each entry is of, int64; -1 where nothing was found, or none is known.
    tokens: Tensor


class Memory(Protocol):
    """(Key, value) pairs of earlier tokens, for each head of one layer. No gradient goes into it."""

    def __len__(self) -> int:
        """Entries, each with a pair for every head."""
        ...

    def look_up(self, queries: Tensor, k: int) -> Retrieved:
        """Return the k entries of each head with the largest inner products.

        Args:
            queries: (H, Q, D), of unit length; H is the number of key/value heads (under grouped-query
                attention, the queries of all heads of a group stand beside each other).
        """
        ...
