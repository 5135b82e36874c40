"""A memory on the disk: (key, value) pairs of the tokens of passages, for each head of one layer of a model.

    with MemoryStore.create(folder, MemoryKind(model="3f0a", layer=4, heads=5, width=64)) as store:
        store.append([Passage("add_comm", "Nat.Basic", "lemma", (17, 4, 9))], keys, values)

What was added is never changed. An append is one transaction, durable when it returns; a process that is
killed, or a full disk, takes nothing back that was acknowledged before. One process writes, many read.
Not safe for threads.

What a memory holds, after Wu et al. 2022, "Memorizing Transformers", section 3.2. How it lies on the disk:
see :mod:`memory.volume`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from memory.catalogue import Columns, MemoryKind, Passage, Passages, tokens_of
from memory.errors import MemoryInputError, MemoryUnavailable
from memory.journal import reading, sync_folder, writing
from memory.volume import JOURNAL, Batch, Volume

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["MemoryKind", "MemoryStore", "Passage", "StoreInfo"]

#: Entries that are copied at once.
_CHUNK = 1 << 14
_LOCK = "lock"

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """How much a store holds."""

    memory: MemoryKind
    entries: int
    passages: int
    modules: int
    #: On the disk.
    bytes: int
    #: Passages of each kind.
    kinds: dict[str, int]


class MemoryStore:
    """A store, open for reading or for writing. To be used with ``with``, or closed.

    Entries are numbered from 0 in the order in which they were added. A number stays an entry's own until
    entries are dropped: the rest is then numbered from 0 again.
    """

    def __init__(self, folder: Path, volume: Volume, lock: BaseFileLock | None) -> None:
        """For :meth:`create` and :meth:`open`."""
        self.folder = folder
        self._volume = volume
        self._lock = lock

    @classmethod
    def create(cls, folder: Path, kind: MemoryKind) -> Self:
        """Make an empty store, open for writing.

        Raises:
            MemoryInputError: there is one already.
            MemoryUnavailable: another process makes one there, or the disk refuses.
        """
        with ExitStack() as stack:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                lock = _locked(folder)
                stack.callback(lock.release)
                if (folder / JOURNAL).exists():
                    raise MemoryInputError(f"There is a memory in {folder} already: open it, or remove it.")
                volume = Volume.create(folder, kind, 0)
                stack.callback(volume.discard)
                volume.publish()
                sync_folder(folder)
            stack.pop_all()
        return cls(folder, volume, lock)

    @classmethod
    def open(cls, folder: Path, kind: MemoryKind | None = None, writable: bool = False) -> Self:
        """Open a store; one that is written by another process can be read all the same.

        Args:
            kind: what it must be of; None for whatever it is.

        Raises:
            MemoryInputError: there is none, it is of another kind, or damaged.
            MemoryUnavailable: another process writes, or the disk refuses.
        """
        if not (folder / JOURNAL).exists():
            raise MemoryInputError(
                f"There is no memory in {folder}: build one first, or name another folder."
            )
        with ExitStack() as stack:
            lock = _locked(folder) if writable else None
            if lock is not None:
                stack.callback(lock.release)
            with reading(folder):
                volume = Volume.open(folder, writable)
            stack.callback(volume.close)
            _agree(folder, volume.kind, kind or volume.kind)
            if writable:
                with writing(folder):
                    volume.cut()
                    volume.sweep()
            stack.pop_all()
        return cls(folder, volume, lock)

    def close(self) -> None:
        """Let go of the files, and let others write. Arrays that were handed out stay."""
        self._volume.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- reading ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Entries."""
        return self._volume.catalogue.entries

    @property
    def kind(self) -> MemoryKind:
        return self._volume.kind

    @property
    def keys(self) -> NDArray[np.float16]:
        """(N, H, D), a read-only memory map."""
        return self._volume.keys

    @property
    def values(self) -> NDArray[np.float16]:
        """(N, H, D), a read-only memory map."""
        return self._volume.values

    @property
    def tokens(self) -> NDArray[np.int32]:
        """(N,), a read-only memory map."""
        return self._volume.tokens

    @property
    def passages(self) -> Sequence[Passage]:
        """The passages that are there now, in the order of their entries."""
        return Passages(self._volume.catalogue, self.tokens)

    def passage_at(self, entry: int) -> tuple[Passage, int]:
        """The passage that an entry belongs to, and which of its tokens it is.

        Raises:
            IndexError: there is no such entry.
        """
        catalogue = self._volume.catalogue
        number = catalogue.find(entry)
        return catalogue.passage(number, self.tokens), entry - catalogue.entries_of(number).start

    def entries_of(self, number: int) -> range:
        """The entries of the passage with this number among :attr:`passages`.

        Raises:
            IndexError: there is no such passage.
        """
        return self._volume.catalogue.entries_of(number)

    @property
    def modules(self) -> dict[str, list[range]]:
        """The entries of each module, in order; ranges that touch are one."""
        return self._volume.catalogue.modules()

    def mask(self, modules: Collection[str]) -> NDArray[np.bool_]:
        """(N,), which entries are of one of these modules. Modules of which there are none are no error."""
        return self._volume.catalogue.mask(modules)

    @property
    def done(self) -> dict[str, str]:
        """Modules whose passages are all in, and the digest that was given for the content of each."""
        return dict(self._volume.catalogue.done)

    def info(self) -> StoreInfo:
        """How much it holds.

        Raises:
            MemoryInputError: the store is closed.
        """
        self._check_open()
        catalogue, size = self._volume.catalogue, self._volume.size()
        counts = catalogue.counts()
        return StoreInfo(self.kind, len(self), len(catalogue), len(catalogue.modules()), size, counts)

    def refresh(self) -> None:
        """Show what has been committed since it was opened. Arrays that were handed out do not change.

        If the writer has dropped entries, the rest is numbered anew from here on.

        Raises:
            MemoryInputError: the store is closed, gone or damaged.
            MemoryUnavailable: the disk refuses.
        """
        self._check_open()
        old = self._volume
        with reading(self.folder):
            if old.is_current:
                old.refresh()
                return
            self._volume = Volume.open(self.folder, writable=False)
        old.close()

    def verify(self) -> None:
        """Read everything again, and hold it against the checksums.

        Raises:
            MemoryInputError: something is not as it was written, or the store is closed.
            MemoryUnavailable: the disk refuses.
        """
        self._check_open()
        with reading(self.folder):
            self._volume.verify()

    # --- writing ----------------------------------------------------------------------------------

    def append(self, passages: Sequence[Passage], keys: Floats, values: Floats) -> range:
        """Add passages in one transaction, durable when this returns.

        Args:
            keys: (N, H, D), where N is the number of tokens of all passages. Kept in float16, as they are.
            values: (N, H, D).

        Returns:
            the numbers of the new entries.

        Raises:
            MemoryInputError: shapes or types do not fit, a number is not finite in float16, a passage has no
                tokens, or the store is not open for writing.
            MemoryUnavailable: the disk is full or fails; the store is as before, and can be written again.
        """
        batch = self._batch(passages, keys, values)
        return self._commit([batch] if passages else [], {})

    def mark_done(self, module: str, digest: str) -> None:
        """Write down that a module's passages are all in, and a digest of the content that they came from.

        Raises:
            MemoryInputError: the store is not open for writing.
            MemoryUnavailable: the disk is full or fails.
        """
        self._commit([], {module: digest})

    def merge(self, other: MemoryStore) -> range:
        """Append another store's passages, and take over its marks, all in one transaction.

        A module that both hold is there twice afterwards: drop it from one of them first.

        Returns:
            the numbers of the new entries.

        Raises:
            MemoryInputError: it is of another kind, or this store is not open for writing.
            MemoryUnavailable: the disk is full or fails.
        """
        _agree(other.folder, other.kind, self.kind)
        return self._commit(other._batches(range(len(other._volume.catalogue))), other.done)

    def drop_oldest(self, entries: int) -> int:
        """Remove passages from the front, whole ones, until so many entries are gone or there are no more.

        A module that lost a passage is no longer marked as done. What is left is written anew beside the old
        files, so it needs as much room again for a moment, and numbers start from 0; a process that is killed
        meanwhile leaves the store as it was. Readers keep what they have until they refresh.

        Returns:
            the entries that were removed.

        Raises:
            MemoryInputError: the store is not open for writing.
            MemoryUnavailable: the disk is full or fails; the store is as before.
        """
        catalogue = self._volume.catalogue
        last = min(entries, len(self)) - 1
        first = catalogue.find(last) + 1 if last >= 0 else 0
        lost = set(map(catalogue.module_of, range(first)))
        done = {module: digest for module, digest in self.done.items() if module not in lost}
        return self._keep(range(first, len(catalogue)), done)

    def drop_modules(self, modules: Collection[str]) -> int:
        """Remove all passages of some modules, and their marks; in the way of :meth:`drop_oldest`.

        Returns:
            the entries that were removed.

        Raises:
            MemoryInputError: the store is not open for writing.
            MemoryUnavailable: the disk is full or fails; the store is as before.
        """
        catalogue, dropped = self._volume.catalogue, frozenset(modules)
        kept = [place for place in range(len(catalogue)) if catalogue.module_of(place) not in dropped]
        return self._keep(kept, {name: digest for name, digest in self.done.items() if name not in dropped})

    def _batch(self, passages: Sequence[Passage], keys: Floats, values: Floats) -> Batch:
        """Check what is to be appended, and put it into the form in which it is kept."""
        columns = Columns(
            [passage.name for passage in passages],
            [passage.module for passage in passages],
            [passage.kind for passage in passages],
            [len(passage.tokens) for passage in passages],
        )
        if not all(columns.lengths):
            empty = columns.names[columns.lengths.index(0)]
            raise MemoryInputError(f"The passage {empty} has no tokens: leave it out.")
        needed = (sum(columns.lengths), self.kind.heads, self.kind.width)
        if keys.shape != needed or values.shape != needed:
            raise MemoryInputError(
                f"keys {keys.shape}, values {values.shape}; the passages need {needed} of both"
            )
        return Batch(columns, tokens_of(passages), _halves("keys", keys), _halves("values", values))

    def _batches(self, numbers: Sequence[int]) -> Iterator[Batch]:
        """Passages with these numbers, in ascending order, a bounded number of entries at once."""
        catalogue = self._volume.catalogue
        for run in _runs(numbers, [len(catalogue.entries_of(number)) for number in numbers]):
            rows = slice(catalogue.entries_of(run[0]).start, catalogue.entries_of(run[-1]).stop)
            yield Batch(catalogue.columns(run), self.tokens[rows], self.keys[rows], self.values[rows])

    def _commit(self, batches: Sequence[Batch] | Iterator[Batch], done: dict[str, str]) -> range:
        self._check_writable()
        with writing(self.folder):
            return self._volume.commit(batches, done)

    def _keep(self, numbers: Sequence[int], done: dict[str, str]) -> int:
        """Remove all passages but these, and all marks but these."""
        self._check_writable()
        old, before = self._volume, len(self)
        if len(numbers) == len(old.catalogue) and done == old.catalogue.done:
            return 0
        with writing(self.folder), ExitStack() as stack:
            new = Volume.create(self.folder, self.kind, old.number + 1)
            stack.callback(new.discard)
            new.commit(self._batches(numbers), done)
            new.publish()
            stack.pop_all()
            self._volume = new
            # The old files must not go before the new journal is there to stay.
            sync_folder(self.folder)
            old.discard()
        return before - len(self)

    def _check_open(self) -> None:
        if not self._volume.is_open:
            raise MemoryInputError(f"The memory in {self.folder} was closed: open it again.")

    def _check_writable(self) -> None:
        self._check_open()
        if self._lock is None:
            raise MemoryInputError(
                f"The memory in {self.folder} is not open for writing: open it as writable."
            )
        if not self._volume.is_current:
            # What would be written now, nobody could find.
            raise MemoryInputError(f"The memory in {self.folder} was removed or replaced: open it again.")

    def check_invariants(self) -> None:
        """Check that files, arrays and passages fit each other; for tests."""
        self._volume.check_invariants()


def _locked(folder: Path) -> BaseFileLock:
    """Be the only one who writes.

    Raises:
        MemoryUnavailable: another process writes.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / _LOCK, thread_local=False)
    with writing(folder):
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise MemoryUnavailable(
                f"Another process writes to the memory in {folder}: wait until it is through, or stop it."
            ) from error
    return lock


def _agree(folder: Path, there: MemoryKind, wanted: MemoryKind) -> None:
    if there != wanted:
        raise MemoryInputError(
            f"The memory in {folder} is of {there}, and what is needed is of {wanted}: "
            "choose another folder, or build it again with this model."
        )


def _halves(name: str, rows: Floats) -> NDArray[np.float16]:
    """Rows in float16, if they have the range for it."""
    if not np.issubdtype(rows.dtype, np.floating):
        raise MemoryInputError(f"{name} are of type {rows.dtype}: give floating-point numbers")
    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(rows, dtype="<f2")
    if not np.isfinite(halves).all():
        raise MemoryInputError(f"Some {name} are not finite in float16, whose largest number is 65504.")
    return halves


def _runs(numbers: Sequence[int], lengths: Sequence[int]) -> Iterator[range]:
    """Split passages into runs that lie beside each other and have not many more than ``_CHUNK`` entries."""
    first = 0
    entries = 0
    for place, length in enumerate(lengths):
        entries += length
        is_last = place + 1 == len(numbers) or numbers[place + 1] != numbers[place] + 1
        if is_last or entries >= _CHUNK:
            yield range(numbers[first], numbers[place] + 1)
            first, entries = place + 1, 0
