"""Reading miniF2F's statements: from a JSONL, or from the Lean files of a checkout."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.benchmarks.base import Split
from prover.errors import InputError

#: Where a checkout keeps each split: in a folder, one file a theorem; before 2025 in one file of that name.
PLACES = {Split.VALID: "MiniF2F/Valid", Split.TEST: "MiniF2F/Test"}

_THEOREM = re.compile(r"^(?:theorem|lemma)\s+([^\s({\[:]+)", re.MULTILINE)
_UNPROVED = re.compile(r":=\s*(?:by\s+)?sorry\s*\Z")
_FIELDS = ("name", "split", "header", "statement")


@dataclass(frozen=True, slots=True)
class Statement:
    """A theorem as it is published."""

    name: str
    split: Split
    #: What stands in front of it in its file: imports, options, ``open``s. Ends with a line break, or is "".
    header: str
    #: From ``theorem`` on; ends with ``:= by sorry``.
    text: str

    @property
    def digest(self) -> str:
        """16 hex digits of the SHA-256 of the text; how it is broken into lines does not count."""
        return hashlib.sha256(" ".join(self.text.split()).encode()).hexdigest()[:16]


def digest(statements: Iterable[Statement]) -> str:
    """16 hex digits that stand for these statements, in whatever order."""
    lines = sorted(f"{statement.name} {statement.digest}\n" for statement in statements)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def read_statements(path: Path) -> list[Statement]:
    """Read all statements there are, by name.

    Args:
        path: a JSONL with a ``name``, ``split``, ``header`` and ``statement`` a line, or a checkout of
            yangky11/miniF2F-lean4.

    Raises:
        InputError: it is missing or is neither, a statement is not one ``theorem`` with ``sorry``, or two
            have the same name.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder. It should be {_WANTED}.")
    found = list(_of_checkout(path) if path.is_dir() else _of_jsonl(path))
    if not found:
        raise InputError(f"{path} holds no statement. It should be {_WANTED}.")
    twice = [name for name, count in Counter(statement.name for statement in found).items() if count > 1]
    if twice:
        raise InputError(f"{path} has more than one statement named {', '.join(sorted(twice))}")
    return sorted(found, key=lambda statement: statement.name)


_WANTED = (
    "a checkout of https://github.com/yangky11/miniF2F-lean4, or a JSONL file with "
    "the fields name, split, header and statement"
)


# --- JSONL ----------------------------------------------------------------------------------------


def _of_jsonl(path: Path) -> Iterator[Statement]:
    for number, line in enumerate(_read(path).split("\n"), 1):
        if line.strip():
            yield _of_record(line, f"{path}:{number}")


def _of_record(line: str, where: str) -> Statement:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from error
    if not isinstance(record, dict) or not all(isinstance(record.get(field), str) for field in _FIELDS):
        raise InputError(f"{where}: not an object with the strings {', '.join(_FIELDS)}")
    if record["split"] not in PLACES:
        raise InputError(f"{where}: the split is {record['split']!r}, not one of {', '.join(PLACES)}")
    found = parse(record["statement"], where)
    if found.header or [name for name, _ in found.theorems] != [record["name"]]:
        raise InputError(f"{where}: the statement is not the one theorem {record['name']!r}")
    return Statement(record["name"], Split(record["split"]), _end(record["header"]), found.theorems[0][1])


# --- Lean files -----------------------------------------------------------------------------------


def _of_checkout(folder: Path) -> Iterator[Statement]:
    for split, place in PLACES.items():
        for path in _lean_files(folder / place):
            found = parse(_read(path), str(path))
            yield from (Statement(name, split, found.header, text) for name, text in found.theorems)


def _lean_files(place: Path) -> Sequence[Path]:
    """The files in a folder; if there is none, the file of that name."""
    single = place.with_suffix(".lean")
    return sorted(place.glob("*.lean")) or ([single] if single.is_file() else [])


@dataclass(frozen=True, slots=True)
class Parsed:
    """A Lean file of statements: what all of them share, and each with its name."""

    header: str
    theorems: tuple[tuple[str, str], ...]


def parse(text: str, where: str) -> Parsed:
    """Take a Lean file of statements apart; comments between them are dropped.

    Args:
        where: the file's name, for messages.

    Raises:
        InputError: more than comments stands between two statements, or one is not left with ``sorry``.
    """
    bare = mask_comments(text)
    starts = [match.start() for match in _THEOREM.finditer(bare)]
    ends = [*starts[1:], len(text)]
    header = text[: len(bare[: starts[0]].rstrip())] if starts else text
    spans = zip(starts, ends, strict=True)
    return Parsed(_end(header), tuple(_theorem(text, bare, *span, where) for span in spans))


def _theorem(text: str, bare: str, start: int, end: int, where: str) -> tuple[str, str]:
    """The name and the text of the theorem that begins at ``start``; nothing but comments may follow it."""
    name = _THEOREM.match(bare, start)
    proof = _UNPROVED.search(bare, start, end)
    line = text.count("\n", 0, start) + 1
    if name is None or proof is None or len(re.findall(r"\bsorry\b", bare[start:end])) != 1:
        raise InputError(f"{where}:{line}: not a theorem that ends with `:= by sorry` and nothing after it")
    stop = len(bare[: proof.start()].rstrip())
    return name[1], f"{text[start:stop]} := by sorry"


def mask_comments(text: str) -> str:
    """Return the text with every comment blanked out: as long, with the same line breaks.

    A comment that is not closed runs to the end. Comment marks in strings count, too: statements have none.
    """
    done, at = "", 0
    for start, end in _comments(text):
        done += text[at:start] + re.sub(r"[^\n]", " ", text[start:end])
        at = end
    return done + text[at:]


def _comments(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    while opening := re.compile("--|/-").search(text, at):
        start = opening.start()
        at = _block_end(text, start) if opening[0] == "/-" else _line_end(text, start)
        yield start, at


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _block_end(text: str, start: int) -> int:
    """The end of the comment that begins at ``start`` with ``/-``; such comments nest."""
    depth = 0
    for mark in re.compile("/-|-/").finditer(text, start):
        depth += 1 if mark[0] == "/-" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def _end(header: str) -> str:
    return f"{header.rstrip()}\n" if header.strip() else ""


def _read(path: Path) -> str:
    """A file's text, with ``\\n`` for line ends.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8").replace("\r\n", "\n").removeprefix("\ufeff")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (at byte {error.start})") from error
