"""What a store holds beside keys and values: its passages, whose they are, and which modules are done."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

from memory.errors import MemoryInputError


@dataclass(frozen=True, slots=True)
class MemoryKind:
    """Whose keys and values these are: those of another model or layer mean nothing beside them."""

    #: Its hash.
    model: str
    layer: int
    #: Key/value heads H, and the width D of each.
    heads: int
    width: int

    def __post_init__(self) -> None:
        if self.layer < 0 or self.heads < 1 or self.width < 1:
            raise MemoryInputError(f"There is no layer with keys and values such as this: {self}")

    def __str__(self) -> str:
        return f"model {self.model}, layer {self.layer}, {self.heads} heads of {self.width}"


@dataclass(frozen=True, slots=True)
class Passage:
    """A text that was read: its tokens have an entry each, in order."""

    name: str
    #: Where it comes from: look-ups can be limited to some modules.
    module: str
    #: "declaration", "lemma", "step", "failure" and so on.
    kind: str
    tokens: tuple[int, ...]


def tokens_of(passages: Collection[Passage]) -> NDArray[np.int32]:
    """Return the tokens of passages one after the other, (N,), little-endian.

    Raises:
        MemoryInputError: a token does not fit in 31 bits.
    """
    entries = sum(len(passage.tokens) for passage in passages)
    tokens = chain.from_iterable(passage.tokens for passage in passages)
    ids = np.fromiter(tokens, np.int64, entries)
    if entries and not (ids.min() >= 0 and ids.max() <= np.iinfo(np.int32).max):
        raise MemoryInputError(f"tokens from {ids.min()} to {ids.max()}: they must fit in 31 bits")
    return ids.astype("<i4")


@dataclass(frozen=True, slots=True)
class Columns:
    """P passages without their tokens, a column each."""

    names: list[str]
    modules: list[str]
    kinds: list[str]
    #: Tokens of each.
    lengths: list[int]


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction added; a record of the journal."""

    #: Entries there were before.
    start: int
    passages: Columns
    #: Modules that are complete from here on, and the digest of the content of each.
    done: dict[str, str]
    #: The crc32 of what it added to the keys, the values and the tokens.
    checks: tuple[int, int, int]

    @property
    def entries(self) -> range:
        return range(self.start, self.start + sum(self.passages.lengths))


class Catalogue:
    """The passages of a store, in the order of their entries. It only ever grows."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._modules: list[str] = []
        self._kinds: list[str] = []
        self._starts: list[int] = []
        self._ranges: dict[str, list[range]] = {}
        self._entries = 0
        self.done: dict[str, str] = {}
        #: Entries and checksums of each transaction that added any.
        self.checks: list[tuple[range, tuple[int, int, int]]] = []

    def __len__(self) -> int:
        """Passages."""
        return len(self._starts)

    @property
    def entries(self) -> int:
        return self._entries

    def add(self, commit: Commit) -> None:
        """Take over what a transaction added; it must start where the entries end."""
        passages, entries = commit.passages, commit.entries
        starts = np.cumsum([entries.start, *passages.lengths]).tolist()
        self._names += passages.names
        # There are few different ones, and many passages.
        self._modules += map(sys.intern, passages.modules)
        self._kinds += map(sys.intern, passages.kinds)
        self._starts += starts[:-1]
        for module, start, end in zip(passages.modules, starts[:-1], starts[1:], strict=True):
            self._extend(module, start, end)
        self._entries = entries.stop
        self.done.update(commit.done)
        if entries:
            self.checks.append((entries, commit.checks))

    def _extend(self, module: str, start: int, end: int) -> None:
        ranges = self._ranges.setdefault(module, [])
        if ranges and ranges[-1].stop == start:
            ranges[-1] = range(ranges[-1].start, end)
        else:
            ranges.append(range(start, end))

    def find(self, entry: int) -> int:
        """The number of the passage that an entry belongs to.

        Raises:
            IndexError: there is no such entry.
        """
        if not 0 <= entry < self._entries:
            raise IndexError(f"entry {entry} of {self._entries}")
        return bisect_right(self._starts, entry) - 1

    def entries_of(self, number: int) -> range:
        """The entries of a passage.

        Raises:
            IndexError: there is no such passage.
        """
        number = range(len(self))[number]
        end = self._starts[number + 1] if number + 1 < len(self) else self._entries
        return range(self._starts[number], end)

    def passage(self, number: int, tokens: NDArray[np.int32]) -> Passage:
        """A passage, out of the tokens (N,) of all entries."""
        own = self.entries_of(number)
        ids = tuple(tokens[own.start : own.stop].tolist())
        return Passage(self._names[number], self._modules[number], self._kinds[number], ids)

    def module_of(self, number: int) -> str:
        return self._modules[number]

    def columns(self, numbers: range) -> Columns:
        """Some passages that lie beside each other."""
        own = slice(numbers.start, numbers.stop)
        lengths = [len(self.entries_of(number)) for number in numbers]
        return Columns(self._names[own], self._modules[own], self._kinds[own], lengths)

    def modules(self) -> dict[str, list[range]]:
        """The entries of each module, in order; ranges that touch are one."""
        return {module: list(ranges) for module, ranges in self._ranges.items()}

    def mask(self, modules: Collection[str]) -> NDArray[np.bool_]:
        """(N,), which entries are of these modules; of some, there may be none."""
        found = np.zeros(self._entries, dtype=np.bool_)
        for module in modules:
            for own in self._ranges.get(module, ()):
                found[own.start : own.stop] = True
        return found

    def counts(self) -> dict[str, int]:
        """Passages of each kind, the most frequent first."""
        return dict(Counter(self._kinds).most_common())

    def check_invariants(self) -> None:
        """Check that passages cover all entries, and that modules and transactions do."""
        assert len(self._names) == len(self._modules) == len(self._kinds) == len(self._starts)
        ends = [*self._starts[1:], self._entries]
        assert self._starts[:1] in ([], [0])
        assert all(start < end for start, end in zip(self._starts, ends, strict=False))
        covered = np.zeros(self._entries, dtype=np.int64)
        for module, ranges in self._ranges.items():
            assert ranges and all(one.stop < other.start for one, other in pairwise(ranges))
            for own in ranges:
                covered[own.start : own.stop] += 1
                assert {self._modules[self.find(entry)] for entry in (own[0], own[-1])} == {module}
        assert (covered == 1).all()
        transactions = [own for own, _ in self.checks]
        assert [own.start for own in transactions] == [0, *(own.stop for own in transactions)][:-1]
        assert sum(map(len, transactions)) == self._entries


class Passages(Sequence[Passage]):
    """Passages that are put together when they are asked for: there may be millions of tokens."""

    def __init__(self, catalogue: Catalogue, tokens: NDArray[np.int32]) -> None:
        """Those that are in the catalogue now, out of the tokens (N,) of all its entries."""
        self._catalogue = catalogue
        self._numbers = range(len(catalogue))
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Passage]:
        return (self._catalogue.passage(number, self._tokens) for number in self._numbers)

    @overload
    def __getitem__(self, place: int) -> Passage: ...

    @overload
    def __getitem__(self, place: slice) -> list[Passage]: ...

    def __getitem__(self, place: int | slice) -> Passage | list[Passage]:
        if isinstance(place, slice):
            return [self._catalogue.passage(number, self._tokens) for number in self._numbers[place]]
        return self._catalogue.passage(self._numbers[place], self._tokens)
