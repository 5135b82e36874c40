"""A journal: a file of records, a line each, that tells by itself how far it was written.

A line is the crc32 of a JSON text in hexadecimal, a space, and the text, in ASCII. A process that is killed
while it writes leaves the beginning of a line at the end, and whoever reads leaves that out.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

from memory.errors import MemoryInputError, MemoryUnavailable

_CRC = 8
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def encode(record: dict[str, Any]) -> bytes:
    """The line of a record."""
    # In ASCII: names with a lone surrogate are kept as well, and no byte of a line is a line break.
    text = json.dumps(record, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (crc32(text), text)


def decode(content: bytes, path: Path, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Read the records up to the last whole one.

    Args:
        content: of a journal, from the byte ``start`` on, where a record begins.

    Returns:
        the records, and how many bytes they take; what lies behind these is an unfinished write.

    Raises:
        MemoryInputError: whole records lie behind a damaged one.
    """
    lines = content.split(b"\n")
    records: list[dict[str, Any]] = []
    end = 0
    for place, line in enumerate(lines[:-1]):
        if not _is_whole(line):
            if any(map(_is_whole, lines[place + 1 :])):
                raise damaged(path, f"a record at byte {start + end} is not as it was written")
            break
        records.append(json.loads(line[_CRC + 1 :]))
        end += len(line) + 1
    return records, end


def _is_whole(line: bytes) -> bool:
    return line[: _CRC + 1] == b"%08x " % crc32(line[_CRC + 1 :])


def damaged(path: Path, what: str) -> MemoryInputError:
    """What to raise when a file is not as it was written."""
    return MemoryInputError(f"{path} is damaged: {what}. Put back a copy of the memory, or build it again.")


def write_at(file: int, data: memoryview, offset: int) -> None:
    """Write all of some bytes to a place in a file."""
    while len(data):
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def sync_folder(folder: Path) -> None:
    """Make durable which files a folder has."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Tell a person when the disk refuses.

    Raises:
        MemoryUnavailable: instead of OSError.
    """
    try:
        yield
    except OSError as error:
        advice = "Free some space" if error.errno in _FULL else "See to the disk"
        raise MemoryUnavailable(
            f"{folder} cannot be written: {error}. {advice}, and try again: what the memory held is unharmed."
        ) from error


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Tell a person when a memory cannot be read.

    Raises:
        MemoryInputError: instead of FileNotFoundError.
        MemoryUnavailable: instead of any other OSError.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise MemoryInputError(
            f"There is no memory in {folder}: build one first, or name another folder."
        ) from error
    except OSError as error:
        raise MemoryUnavailable(f"The memory in {folder} cannot be read: {error}") from error
