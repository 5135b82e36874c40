"""What an index leaves in a file beside the keys it is of, so that it need not be built again.

A line with a checksum and JSON, which says what the file is of, and FAISS's bytes for each head. The keys are
not in it. A file is written beside and then renamed: there is a whole one or none.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory.errors import MemoryInputError, MemoryUnavailable
from memory.index.rows import Floats

#: Rows whose bytes tell keys from others, at most.
_COMPARED = 256


def compared(count: int) -> NDArray[np.int64]:
    """The entries, of so many, that :func:`digest` is taken of."""
    return np.unique(np.linspace(0, max(0, count - 1), min(count, _COMPARED)).astype(np.int64))


def digest(keys: Floats) -> str:
    """Tell keys (H, n, D) from others."""
    return blake2b(keys.astype(np.float32).tobytes(), digest_size=16).hexdigest()


def write_file(path: Path, header: dict[str, Any], parts: Sequence[bytes]) -> None:
    """Write a whole file or none.

    Raises:
        MemoryUnavailable: the disk is full, or the file cannot be written there.
    """
    header = header | {"parts": [[len(part), zlib.crc32(part)] for part in parts]}
    line = json.dumps(header).encode()
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with beside.open("wb") as file:
            file.write(b"%08x %b\n" % (zlib.crc32(line), line))
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        text = f"The index cannot be written to {path}: {error}. Make room there, or do without the file."
        raise MemoryUnavailable(text) from error


def read_file(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """Return the header and the parts.

    Raises:
        MemoryInputError: there is no such file, or it is not whole.
    """
    try:
        with path.open("rb") as file:
            checksum, _, line = file.readline().rstrip(b"\n").partition(b" ")
            header = json.loads(_checked(line, len(line), int(checksum, 16)))
            parts = [_checked(file.read(size), size, checksum) for size, checksum in header["parts"]]
    except OSError as error:
        raise MemoryInputError(f"The index {path} cannot be read: {error}. Build it anew.") from error
    except ValueError as error:
        raise MemoryInputError(f"The index {path} is not whole: {error}. Build it anew.") from error
    return header, parts


def _checked(content: bytes, size: int, checksum: int) -> bytes:
    if len(content) != size or zlib.crc32(content) != checksum:
        raise ValueError(f"{len(content)} of {size} bytes, or other ones than were written")
    return content
