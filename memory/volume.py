"""The files of a store: a journal, and the data files that its first record names.

Rows of N entries lie one after the other in ``keys.*.f16`` and ``values.*.f16``, (N, H, D) both, and in
``tokens.*.i32``, (N,), little-endian. A transaction writes them first, makes them durable, and then writes
one record to the journal: a row counts when a record of the journal covers it, and rows behind are what a
killed process left. To take rows away, a new volume is written beside the old one, and its journal is then
renamed over the old journal.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from io import FileIO
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any, Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from memory.catalogue import Catalogue, Columns, Commit, MemoryKind
from memory.errors import MemoryInputError
from memory.journal import damaged, decode, encode, sync_folder, write_at

JOURNAL = "journal"
#: A journal that is not valid yet.
_NEW_JOURNAL = "journal.new"
_DATA = re.compile(r"(keys|values)\.\d+\.f16|tokens\.\d+\.i32")
VERSION = 1
#: Bytes that are read at once to check them.
_BLOCK = 1 << 24


@dataclass(frozen=True, slots=True)
class Batch:
    """Passages of n tokens in all, with their tokens (n,), keys and values (n, H, D)."""

    passages: Columns
    tokens: NDArray[np.int32]
    keys: NDArray[np.float16]
    values: NDArray[np.float16]

    @property
    def rows(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        return self.keys, self.values, self.tokens


class Volume:
    """A journal and its data files, held open."""

    def __init__(
        self, folder: Path, kind: MemoryKind, number: int, journal: FileIO, files: tuple[FileIO, ...]
    ) -> None:
        """Take over open files; nothing is read yet.

        Args:
            number: of the volume; it is in the names of the data files.
            files: keys, values and tokens.
        """
        self.folder = folder
        self.kind = kind
        self.number = number
        self._journal = journal
        self._files = files
        self._widths = (2 * kind.heads * kind.width, 2 * kind.heads * kind.width, 4)
        #: Bytes of the journal that are valid.
        self._end = 0
        self.catalogue = Catalogue()
        self._map()

    @classmethod
    def create(cls, folder: Path, kind: MemoryKind, number: int) -> Self:
        """Make an empty volume, which :meth:`publish` makes the folder's own."""
        with ExitStack() as stack:
            names = (_NEW_JOURNAL, *_data_names(number))
            journal, *files = (stack.enter_context(FileIO(folder / name, "w+")) for name in names)
            volume = cls(folder, kind, number, journal, tuple(files))
            stack.callback(volume.discard)
            head = encode({"version": VERSION, "number": number} | asdict(kind))
            write_at(journal.fileno(), memoryview(head), 0)
            volume._end = len(head)
            stack.pop_all()
        return volume

    @classmethod
    def open(cls, folder: Path, writable: bool) -> Self:
        """Open the folder's volume, and read its journal.

        Raises:
            FileNotFoundError: the folder has none.
            MemoryInputError: it is of another version, or damaged.
            OSError: it cannot be read.
        """
        mode = "r+" if writable else "r"
        with ExitStack() as stack:
            journal = stack.enter_context(FileIO(folder / JOURNAL, mode))
            kind, number, length = _head(journal, folder / JOURNAL)
            try:
                names = _data_names(number)
                files = tuple(stack.enter_context(FileIO(folder / name, mode)) for name in names)
            except FileNotFoundError as error:
                if not _is_at(journal, folder / JOURNAL):
                    # A writer has put another volume in its place meanwhile.
                    return cls.open(folder, writable)
                raise damaged(folder, f"the file {error.filename} is missing") from error
            volume = cls(folder, kind, number, journal, files)
            volume._end = length
            volume.refresh()
            stack.pop_all()
        return volume

    def close(self) -> None:
        """Let go of the files. Arrays that were handed out stay."""
        for file in (self._journal, *self._files):
            file.close()

    @property
    def is_open(self) -> bool:
        return not self._journal.closed

    @property
    def is_current(self) -> bool:
        """Whether the folder's journal is still this one."""
        return _is_at(self._journal, self.folder / JOURNAL)

    # --- reading ----------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Take in what has been committed since.

        Raises:
            MemoryInputError: the files are damaged.
        """
        path = self.folder / JOURNAL
        size = os.fstat(self._journal.fileno()).st_size
        records, length = decode(_read(self._journal, self._end, size - self._end), path, self._end)
        for record in records:
            commit = _commit(record)
            if commit.start != self.catalogue.entries:
                raise damaged(path, f"entries {self.catalogue.entries} to {commit.start} are missing")
            self.catalogue.add(commit)
        self._end += length
        self._check_sizes()
        self._map()

    def _check_sizes(self) -> None:
        for file, width in zip(self._files, self._widths, strict=True):
            size, needed = os.fstat(file.fileno()).st_size, self.catalogue.entries * width
            if size < needed:
                raise damaged(Path(str(file.name)), f"it has {size} bytes, and the journal says {needed}")

    def _map(self) -> None:
        """Map the rows that are valid: keys and values (N, H, D), and tokens (N,)."""
        rows = (self.catalogue.entries, self.kind.heads, self.kind.width)
        keys, values, tokens = self._files
        self.keys: NDArray[np.float16] = _mapped(keys, np.dtype("<f2"), rows)
        self.values: NDArray[np.float16] = _mapped(values, np.dtype("<f2"), rows)
        self.tokens: NDArray[np.int32] = _mapped(tokens, np.dtype("<i4"), rows[:1])

    def verify(self) -> None:
        """Read all files again, and hold them against their checksums.

        Raises:
            MemoryInputError: something is not as it was written.
        """
        path = self.folder / JOURNAL
        if decode(_read(self._journal, 0, self._end), path)[1] != self._end:
            raise damaged(path, "the last record is not as it was written")
        self._check_sizes()
        for entries, checks in self.catalogue.checks:
            for file, width, check in zip(self._files, self._widths, checks, strict=True):
                if _crc(file, entries.start * width, entries.stop * width) != check:
                    what = f"entries {entries.start} to {entries.stop} are not as they were written"
                    raise damaged(Path(str(file.name)), what)

    def size(self) -> int:
        """Bytes on the disk."""
        return sum(os.fstat(file.fileno()).st_size for file in (self._journal, *self._files))

    # --- writing ----------------------------------------------------------------------------------

    def commit(self, batches: Iterable[Batch], done: dict[str, str]) -> range:
        """Add passages and marks in one transaction; it is durable when this returns.

        Returns:
            the new entries.

        Raises:
            OSError: the disk refuses; the volume is as before.
        """
        # An earlier attempt may have been unable to clean up.
        self.cut()
        with ExitStack() as stack:
            stack.callback(self.cut)
            commit = self._write_rows(batches, done)
            line = encode(asdict(commit))
            write_at(self._journal.fileno(), memoryview(line), self._end)
            os.fsync(self._journal.fileno())
            stack.pop_all()
        self._end += len(line)
        self.catalogue.add(commit)
        self._map()
        return commit.entries

    def _write_rows(self, batches: Iterable[Batch], done: dict[str, str]) -> Commit:
        """Write rows behind those that are valid, and make them durable."""
        start = end = self.catalogue.entries
        checks = [0, 0, 0]
        columns: list[Columns] = []
        for batch in batches:
            for place, (file, rows) in enumerate(zip(self._files, batch.rows, strict=True)):
                data = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
                write_at(file.fileno(), data, end * self._widths[place])
                checks[place] = crc32(data, checks[place])
            columns.append(batch.passages)
            end += len(batch.tokens)
        if end > start:
            for file in self._files:
                os.fsync(file.fileno())
        return Commit(start, _joined(columns), done, (checks[0], checks[1], checks[2]))

    def cut(self) -> None:
        """Cut off what lies behind the valid part of each file."""
        entries = self.catalogue.entries
        lengths = [self._end, *(entries * width for width in self._widths)]
        for file, length in zip((self._journal, *self._files), lengths, strict=True):
            if os.fstat(file.fileno()).st_size > length:
                os.ftruncate(file.fileno(), length)

    def publish(self) -> None:
        """Make this the folder's volume, in place of any other."""
        for file in (*self._files, self._journal):
            os.fsync(file.fileno())
        sync_folder(self.folder)
        os.replace(self.folder / _NEW_JOURNAL, self.folder / JOURNAL)

    def sweep(self) -> None:
        """Remove what other volumes have left in the folder, of which this must be the current one."""
        own = set(_data_names(self.number))
        for path in list(self.folder.iterdir()):
            if path.name == _NEW_JOURNAL or (_DATA.fullmatch(path.name) and path.name not in own):
                path.unlink()

    def discard(self) -> None:
        """Let go of the files, and remove them if the folder's journal does not name them."""
        current = self.is_current
        self.close()
        if not current:
            for name in (_NEW_JOURNAL, *_data_names(self.number)):
                (self.folder / name).unlink(missing_ok=True)

    def check_invariants(self) -> None:
        """Check the catalogue, and that arrays and files fit it."""
        self.catalogue.check_invariants()
        entries = self.catalogue.entries
        assert self.keys.shape == self.values.shape == (entries, self.kind.heads, self.kind.width)
        assert self.tokens.shape == (entries,)
        assert self.keys.dtype == self.values.dtype == np.dtype(np.float16)
        assert self.tokens.dtype == np.dtype(np.int32)
        assert not any(rows.flags.writeable for rows in (self.keys, self.values, self.tokens))
        self._check_sizes()


def _data_names(number: int) -> tuple[str, str, str]:
    return f"keys.{number}.f16", f"values.{number}.f16", f"tokens.{number}.i32"


def _is_at(file: FileIO, path: Path) -> bool:
    """Whether an open file is the one that is at a path now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _head(journal: FileIO, path: Path) -> tuple[MemoryKind, int, int]:
    """Whose the journal is, the number of its volume, and the bytes that say so."""
    line = journal.readline(1 << 16)
    records, length = decode(line, path)
    if not records:
        raise damaged(path, "it does not begin as the journal of a memory does")
    head = records[0]
    if head.get("version") != VERSION:
        raise MemoryInputError(
            f"{path} is of version {head.get('version')}, and this program reads version {VERSION}: "
            "build the memory again."
        )
    kind = MemoryKind(head["model"], head["layer"], head["heads"], head["width"])
    return kind, head["number"], length


def _commit(record: dict[str, Any]) -> Commit:
    keys, values, tokens = record["checks"]
    return Commit(record["start"], Columns(**record["passages"]), record["done"], (keys, values, tokens))


def _joined(parts: Sequence[Columns]) -> Columns:
    return Columns(
        list(chain.from_iterable(part.names for part in parts)),
        list(chain.from_iterable(part.modules for part in parts)),
        list(chain.from_iterable(part.kinds for part in parts)),
        list(chain.from_iterable(part.lengths for part in parts)),
    )


def _read(file: FileIO, start: int, length: int) -> bytes:
    """Read some bytes from a place in a file; fewer if it ends before."""
    parts: list[bytes] = []
    while length > 0 and (part := os.pread(file.fileno(), min(length, _BLOCK), start)):
        parts.append(part)
        start, length = start + len(part), length - len(part)
    return b"".join(parts)


def _crc(file: FileIO, start: int, stop: int) -> int:
    check = 0
    for place in range(start, stop, _BLOCK):
        check = crc32(_read(file, place, min(_BLOCK, stop - place)), check)
    return check


def _mapped(file: FileIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The first rows of a file, read-only."""
    if not shape[0]:
        # There is nothing to map, which is an error to mmap.
        empty: NDArray[Any] = np.zeros(shape, dtype)
        empty.flags.writeable = False
        return empty
    rows = mmap.mmap(file.fileno(), prod(shape) * dtype.itemsize, access=mmap.ACCESS_READ)
    return np.frombuffer(rows, dtype).reshape(shape)
