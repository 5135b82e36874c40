"""Building a memory of documents, module after module: only what is new or has changed is read.

A module's passages are appended, and then it is marked as done with the digest of what they were made from.
A build that was stopped in between goes on where it was: what a module without its mark has left is dropped.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from memory.catalogue import Passage
from memory.errors import MemoryInputError
from memory.reading import Reader, Text
from memory.store import MemoryStore

#: Tokens that are read between two transactions.
_TOKENS = 65_536

#: Takes the modules that are done, and how many there are.
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Reading:
    """A text to remember: its last tokens are kept, those of the passage, behind a context that is not."""

    context: tuple[int, ...]
    passage: Passage

    @property
    def text(self) -> Text:
        return Text(self.context + self.passage.tokens, len(self.passage.tokens))


@dataclass(frozen=True, slots=True)
class Document:
    """All that is to be remembered of a module."""

    module: str
    #: Their passages are of this module.
    readings: tuple[Reading, ...]

    def __post_init__(self) -> None:
        # What is dropped of a module is found by the module of its passages.
        if others := {it.passage.module for it in self.readings} - {self.module}:
            raise MemoryInputError(f"A document of {self.module} has passages of {', '.join(sorted(others))}")

    @property
    def digest(self) -> str:
        """16 hex digits of what is read, and of what is kept of it."""
        told = [(it.context, it.passage.name, it.passage.kind, it.passage.tokens) for it in self.readings]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did, in modules."""

    read: int
    #: They were there already, as they are now.
    kept: int
    #: They were there in another form, or broken off, or are no longer wanted.
    dropped: int


def build(
    store: MemoryStore,
    reader: Reader,
    documents: Sequence[Document],
    report: Report = lambda done, of: None,
    prune: bool = False,
) -> Built:
    """Bring a store up to date with some documents, in their order.

    Args:
        store: open for writing, and of the reader's model.
        prune: drop modules that are not among the documents.

    Raises:
        MemoryInputError: the store is not open for writing, or of another shape; or two documents are of one
            module.
        MemoryUnavailable: the disk is full or fails; modules that were reported stay.
    """
    _check_different(documents)
    digests = {document.module: document.digest for document in documents}
    there, known = store.done, store.modules
    stale = [
        module for module in {**known, **there} if _is_stale(there.get(module), digests.get(module), prune)
    ]
    if stale:
        store.drop_modules(stale)
    there = store.done
    missing = [document for document in documents if document.module not in there]
    done = len(documents) - len(missing)
    report(done, len(documents))
    for group in _groups(missing):
        _append(store, reader, group)
        for document in group:
            store.mark_done(document.module, digests[document.module])
        done += len(group)
        report(done, len(documents))
    return Built(len(missing), len(documents) - len(missing), len(stale))


def _check_different(documents: Sequence[Document]) -> None:
    counts = Counter(document.module for document in documents)
    if several := [module for module, count in counts.items() if count > 1]:
        raise MemoryInputError(f"There are several documents of {', '.join(several)}: give one a module")


def _is_stale(there: str | None, wanted: str | None, prune: bool) -> bool:
    """Whether a module's passages are not those that are wanted, by its mark and by what it should be."""
    return prune if wanted is None else there != wanted


def _append(store: MemoryStore, reader: Reader, group: Sequence[Document]) -> None:
    readings = [reading for document in group for reading in document.readings]
    if readings:
        pairs = reader.read([reading.text for reading in readings])
        passages = [_read_of(reading.passage, reader.max_tokens) for reading in readings]
        store.append(passages, pairs.keys, pairs.values)


def _read_of(passage: Passage, most: int) -> Passage:
    """What is read of a passage: of one that is longer than the reader takes, its end."""
    return replace(passage, tokens=passage.tokens[-most:])


def _groups(documents: Sequence[Document]) -> Iterator[list[Document]]:
    """Documents that are read together: small modules would make small batches."""
    group: list[Document] = []
    tokens = 0
    for document in documents:
        group.append(document)
        tokens += sum(len(it.context) + len(it.passage.tokens) for it in document.readings)
        if tokens >= _TOKENS:
            yield group
            group, tokens = [], 0
    if group:
        yield group
