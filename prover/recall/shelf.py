"""Passages as they come in: what waits to be read, and what was read, in an index that grows.

To read is to run the model: it is done in batches, and not in the thread of those who note something.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from memory.building import Reading
from memory.catalogue import Passage, tokens_of
from memory.external import ExternalMemory
from memory.lookup import Memory
from memory.reading import Pairs, Text

if TYPE_CHECKING:
    import torch

#: Exact, and a view costs it a mask alone; ``exact`` would copy the keys of each view.
_INDEX = "torch"
#: Views that are kept: searches that go on side by side ask for one each.
_VIEWS = 64
#: Readings that are made and read between two looks at what else there is.
_AT_ONCE = 256

Key = TypeVar("Key", bound=Hashable)


class TextReader(Protocol):
    """What reads: see :class:`memory.reading.Reader`."""

    @property
    def max_tokens(self) -> int: ...

    def read(self, texts: Sequence[Text]) -> Pairs: ...


@dataclass(frozen=True, slots=True)
class Read:
    """Passages that have just been read, with the keys and values (N, H, D) of all their tokens."""

    passages: tuple[Passage, ...]
    pairs: Pairs


@dataclass(frozen=True, slots=True)
class Located(Generic[Key]):
    """A view of a memory that knows which passage each entry is of."""

    memory: Memory
    #: Of all passages of the memory, in the order of their entries, and where each ends.
    keys: tuple[Key, ...]
    ends: NDArray[np.int64]

    def key_at(self, entry: int) -> Key:
        """The key of the passage that an entry belongs to."""
        return self.keys[int(np.searchsorted(self.ends, entry, side="right"))]


@dataclass(frozen=True, slots=True)
class _Half(Generic[Key]):
    memory: ExternalMemory
    #: Of each passage, in the order of its entries.
    lengths: dict[Key, int]

    def view(self, keep: Callable[[Key], bool]) -> Located[Key]:
        kept = np.fromiter(map(keep, self.lengths), np.bool_, len(self.lengths))
        lengths = np.fromiter(self.lengths.values(), np.int64, len(kept))
        return Located(self.memory.view(kept.repeat(lengths)), tuple(self.lengths), lengths.cumsum())


class Shelf(Generic[Key]):
    """Passages, each under a key and read once; where there is no more room, the oldest are forgotten.

    They lie in two halves. When the newer one is full, the older one goes: a memory that was handed out never
    loses entries. Safe for threads, but one alone may call :meth:`read_waiting`.
    """

    def __init__(self, reader: TextReader, capacity: int, device: torch.device | str = "cpu") -> None:
        """Make an empty one.

        Args:
            capacity: entries, at most (but for the last batch); half of them stay when some are forgotten.
            device: where look-ups are to run.
        """
        self._reader = reader
        self._half = capacity // 2
        self._device = device
        self._lock = Lock()
        self._waiting: dict[Key, Callable[[], Reading]] = {}
        #: The older one first.
        self._halves: tuple[_Half[Key], ...] = ()
        self._views: OrderedDict[Hashable, tuple[Located[Key], ...]] = OrderedDict()

    def __len__(self) -> int:
        """Entries."""
        return sum(len(half.memory) for half in self._halves)

    def __contains__(self, key: Key) -> bool:
        """Whether it was read or waits."""
        return key in self._waiting or any(key in half.lengths for half in self._halves)

    @property
    def waiting(self) -> int:
        """Passages that wait to be read."""
        return len(self._waiting)

    def note(self, key: Key, make: Callable[[], Reading]) -> bool:
        """Have a passage read later; say whether it is new.

        Args:
            make: makes the reading, which is too slow for who notes it.
        """
        with self._lock:
            if key in self:
                return False
            self._waiting[key] = make
            return True

    def read_waiting(self) -> Iterator[Read]:
        """Read what waits, batch by batch, and have each found from then on; what fails to be read waits."""
        while batch := self._batch():
            readings = {key: _cut(make(), self._reader.max_tokens) for key, make in batch.items()}
            pairs = self._reader.read([reading.text for reading in readings.values()])
            passages = {key: reading.passage for key, reading in readings.items()}
            self.place(passages, pairs)
            yield Read(tuple(passages.values()), pairs)

    def place(self, passages: Mapping[Key, Passage], pairs: Pairs) -> None:
        """Put in what has been read.

        Args:
            passages: in the order of their entries, those that are there already not among them.
            pairs: keys and values (N, H, D) of the N tokens of all.

        Raises:
            MemoryInputError: they are of another shape than what is there.
        """
        lengths = {key: len(passage.tokens) for key, passage in passages.items()}
        tokens = tokens_of(passages.values())
        with self._lock:
            newer = self._halves[-1] if self._halves else None
            if newer is not None and len(newer.memory) + len(pairs.keys) <= self._half:
                newer.memory.extend(pairs.keys, pairs.values, tokens)
                newer.lengths.update(lengths)
            else:
                memory = ExternalMemory(_INDEX, pairs.keys, pairs.values, self._device, tokens)
                self._halves = (*self._halves[-1:], _Half(memory, lengths))
            for key in lengths:
                self._waiting.pop(key, None)
            self._views.clear()

    def memories(self) -> tuple[Memory, ...]:
        """All that was read; it grows as more is, until more was read than there is room for."""
        return tuple(half.memory for half in self._halves)

    def view(self, name: Hashable, keep: Callable[[Key], bool]) -> tuple[Memory, ...]:
        """Some of what was read, which stays as it is; the same objects until more is read.

        Args:
            name: of the view: another view has another name.
            keep: says of a key whether its passage is to be found.
        """
        return tuple(it.memory for it in self.located(name, keep))

    def located(self, name: Hashable, keep: Callable[[Key], bool]) -> tuple[Located[Key], ...]:
        """As :meth:`view`, with what the entries are of."""
        with self._lock:
            if name not in self._views:
                views = (half.view(keep) for half in self._halves)
                self._views[name] = tuple(view for view in views if len(view.memory))
                if len(self._views) > _VIEWS:
                    self._views.popitem(last=False)
            self._views.move_to_end(name)
            return self._views[name]

    def revise(self) -> None:
        """Make views anew: what is to be kept in them has changed."""
        with self._lock:
            self._views.clear()

    def check_invariants(self) -> None:
        """Check that entries and passages fit each other, and that there are not too many; for tests."""
        for half in self._halves:
            assert sum(half.lengths.values()) == len(half.memory) and not half.lengths.keys() & self._waiting
        assert len(self._halves) <= 2

    def _batch(self) -> dict[Key, Callable[[], Reading]]:
        with self._lock:
            return dict(islice(self._waiting.items(), _AT_ONCE))


def _cut(reading: Reading, longest: int) -> Reading:
    """A reading of which the reader takes all: of a passage that is too long its end, as the reader does."""
    passage = reading.passage
    if len(passage.tokens) <= longest:
        return reading
    return Reading((), replace(passage, tokens=passage.tokens[-longest:]))
