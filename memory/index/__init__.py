"""Which keys are nearest to a query: indices over the keys of H heads, exact and approximate, on CPU and GPU.

``make_index`` makes one of a kind, ``choose_kind`` says which kind fits, ``load_index`` reads one back.
"""

from __future__ import annotations

from memory.index.base import KeyIndex
from memory.index.kinds import KINDS, choose_kind, load_index, make_index
from memory.index.ranking import EntryMask

__all__ = ["KINDS", "EntryMask", "KeyIndex", "choose_kind", "load_index", "make_index"]
