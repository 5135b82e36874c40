"""What the agent has tried itself: tactics that proofs were made of, and tactics that failed at a goal.

What is learned from a proof at a place in an order of learning is found by theorems at later places alone, as
with the neighbours of ``prover/generators/experience.py``. Failures are found by the search in which they
happened, at once; where theorems have no places by every search. They don't go from theorem to theorem
in an order of learning: what is known at a place must be the same after a break, and on other machines.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from memory.catalogue import MemoryKind
from memory.lookup import Memory
from memory.reading import Pairs
from memory.store import MemoryStore
from memory.volume import JOURNAL
from prover.decoder.codec import Codec
from prover.decoder.options import FAILURES, STEPS
from prover.generators.base import Query, Step, Tried
from prover.recall.faults import as_prover_errors
from prover.recall.passages import FAILURE, STEP, of_tactic
from prover.recall.shelf import Read, Shelf, TextReader

if TYPE_CHECKING:
    import torch

#: Entries of the steps, and of the failures of a search, at most.
CAPACITY = 1 << 16
#: Failures that are remembered of a state, and that wait until they are read together.
PER_STATE, TOGETHER = 8, 32
#: Passages that are taken from a store at once.
_AT_ONCE = 512
#: Searches whose failures are remembered.
_SEARCHES = 16
#: The place of what may be found anywhere.
_NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Attempt:
    """A tactic that was run, and 16 hex digits of the goals it was run on."""

    state: str
    tactic: str


@dataclass(slots=True)
class _Circle:
    """Failures that the same searches may find."""

    shelf: Shelf[Attempt]
    #: Failures noted of each state.
    counts: Counter[str] = field(default_factory=Counter)

    def is_due(self, query: Query) -> bool:
        """Whether there is enough to be read, or something and a search that begins."""
        return self.shelf.waiting >= (TOGETHER if query.history else 1)


class Experience:
    """Remembers what was tried. Safe for threads, but one alone may call :meth:`read` and :meth:`finish`."""

    def __init__(
        self,
        codec: Codec,
        reader: TextReader,
        kinds: Collection[str] = (STEPS, FAILURES),
        device: torch.device | str = "cpu",
        store: MemoryStore | None = None,
    ) -> None:
        """Begin with nothing, or with what is in a store.

        Args:
            kinds: ``steps``, ``failures``, or both: what is to be remembered.
            device: where look-ups are to run.
            store: open for writing; is taken over, and what is read is appended to it. It is for theorems
                without places.
        """
        self.kinds = frozenset(kinds)
        self._codec = codec
        self._reader = reader
        self._device = device
        self._store = store
        self._lock = Lock()
        self._steps: Shelf[Attempt] = Shelf(reader, CAPACITY, device)
        #: Of each step, the first place it was learned from.
        self._places: dict[Attempt, int] = {}
        self._failures: OrderedDict[object, _Circle] = OrderedDict()
        self._digest = hashlib.sha256()
        self._has_learned = False
        if store is not None:
            self._restore(store)

    @property
    def memory_hash(self) -> str:
        """16 hex digits of the steps that were learned, read or not, and what a store held; "" of nothing."""
        return self._digest.hexdigest()[:16] if self._has_learned else ""

    # --- what happens -----------------------------------------------------------------------------

    def learn(self, proof: Sequence[Step], position: int | None) -> None:
        """Remember each tactic of a proof, with the goals it was run on.

        Args:
            position: the theorem's place (see :attr:`Scope.position`).

        Raises:
            ValueError: a place is given, and what is learned is kept in a store, which knows none.
        """
        if position is not None and self._store is not None:
            raise ValueError(f"place {position}: what is kept across runs has no place in an order")
        if STEPS in self.kinds:
            for step in proof:
                if step.goals:
                    self._learn(step.goals, step.tactic, _NOWHERE if position is None else position)

    def _learn(self, goals: Sequence[str], tactic: str, place: int) -> None:
        attempt = Attempt(_digest(goals), tactic)
        first = min(place, self._places.get(attempt, place))
        is_news = first != self._places.get(attempt)
        if is_news:
            self._places[attempt] = first
            self._count(attempt, first)
        # A passage's name is what people are shown of it.
        make = partial(of_tactic, self._codec, goals, tactic, True, tactic, attempt.state)
        if not self._steps.note(attempt, make) and is_news:
            self._steps.revise()

    def observe(self, query: Query, tried: Sequence[Tried]) -> None:
        """Remember the tactics that failed at a query's state, the first few and each once."""
        failed = [it.tactic for it in tried if not it.worked]
        if FAILURES not in self.kinds or not failed:
            return
        goals = tuple(goal.pretty for goal in query.state.goals)
        state, circle = _digest(goals), self._circle(query)
        for tactic in failed:
            make = partial(of_tactic, self._codec, goals, tactic, False, tactic, state)
            if circle.counts[state] < PER_STATE and circle.shelf.note(Attempt(state, tactic), make):
                circle.counts[state] += 1

    # --- what is read -----------------------------------------------------------------------------

    def is_due(self, queries: Iterable[Query]) -> bool:
        """Whether something should be read before the queries are asked."""
        return self._steps.waiting > 0 or any(circle.is_due(it) for it, circle in self._circles(queries))

    def read(self, queries: Iterable[Query]) -> None:
        """Read what is due, which runs the model.

        Raises:
            InputError, ModelUnavailable: the store cannot be written.
        """
        self._keep(self._steps.read_waiting())
        for query, circle in self._circles(queries):
            if circle.is_due(query):
                self._keep(circle.shelf.read_waiting())

    def finish(self) -> None:
        """Read what waits and is to be kept, and close the store, if there is one.

        Raises:
            InputError, ModelUnavailable: it cannot be written.
        """
        if self._store is not None:
            try:
                for shelf in (self._steps, *(circle.shelf for circle in self._failures.values())):
                    self._keep(shelf.read_waiting())
            finally:
                self._store.close()

    def memories(self, query: Query) -> tuple[Memory, ...]:
        """What was read and may be found at a query."""
        circle = self._failures.get(_circle_of(query))
        return (*self._steps_before(query.scope.position), *(circle.shelf.memories() if circle else ()))

    def _steps_before(self, position: int | None) -> tuple[Memory, ...]:
        if position is None:
            return self._steps.memories()
        return self._steps.view(position, lambda attempt: self._places[attempt] < position)

    def _circles(self, queries: Iterable[Query]) -> list[tuple[Query, _Circle]]:
        with self._lock:
            pairs = [(query, self._failures.get(_circle_of(query))) for query in queries]
        return [(query, circle) for query, circle in pairs if circle is not None]

    def _circle(self, query: Query) -> _Circle:
        """The circle of a query's search, made at need; the one that was long not observed goes."""
        name = _circle_of(query)
        with self._lock:
            if name not in self._failures:
                self._failures[name] = _Circle(Shelf(self._reader, CAPACITY, self._device))
                if len(self._failures) > _SEARCHES:
                    self._failures.popitem(last=False)
            self._failures.move_to_end(name)
            return self._failures[name]

    def check_invariants(self) -> None:
        """Check the shelves; for tests."""
        for shelf in (self._steps, *(circle.shelf for circle in self._failures.values())):
            shelf.check_invariants()

    # --- across runs ------------------------------------------------------------------------------

    def _keep(self, reads: Iterator[Read]) -> None:
        for read in reads:
            if self._store is not None:
                with as_prover_errors():
                    self._store.append(read.passages, read.pairs.keys, read.pairs.values)

    def _restore(self, store: MemoryStore) -> None:
        """Take in what other runs have kept."""
        if STEPS in self.kinds:
            for attempt in _placed(self._steps, store, STEP):
                self._places[attempt] = _NOWHERE
                self._count(attempt, _NOWHERE)
        if FAILURES in self.kinds:
            circle = self._failures[None] = _Circle(Shelf(self._reader, CAPACITY, self._device))
            circle.counts.update(attempt.state for attempt in _placed(circle.shelf, store, FAILURE))

    def _count(self, attempt: Attempt, place: int) -> None:
        self._has_learned = True
        self._digest.update(f"{attempt.state}\0{attempt.tactic}\0{place}\n".encode())


def open_store(folder: Path, kind: MemoryKind) -> MemoryStore:
    """Open what earlier runs have remembered, or make a store for it; it does not grow beyond bounds.

    Raises:
        InputError: it is of another model, or damaged.
        ModelUnavailable: another process writes to it, or the disk refuses.
    """
    with as_prover_errors():
        if not (folder / JOURNAL).exists():
            return MemoryStore.create(folder, kind)
        store = MemoryStore.open(folder, kind, writable=True)
        store.drop_oldest(max(0, len(store) - 2 * CAPACITY))
        return store


def _placed(shelf: Shelf[Attempt], store: MemoryStore, kind: str) -> list[Attempt]:
    """Put a store's passages of a kind on a shelf, and say which they are."""
    passages = [(number, it) for number, it in enumerate(store.passages) if it.kind == kind]
    for first in range(0, len(passages), _AT_ONCE):
        batch = passages[first : first + _AT_ONCE]
        rows = np.concatenate([store.entries_of(number) for number, _ in batch])
        named = {Attempt(it.module, it.name): it for _, it in batch}
        shelf.place(named, Pairs(store.keys[rows], store.values[rows]))
    return [Attempt(it.module, it.name) for _, it in passages]


def _digest(goals: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(goals).encode()).hexdigest()[:16]


def _circle_of(query: Query) -> object:
    """What searches have in common that may find each other's failures; None: they have no places."""
    place = query.scope.position
    return None if place is None else (place, query.statement, query.seed)
