"""The folder of a run: its plan, a record for every attempt, and the search trees.

    RUN/plan.json       the settings; another plan is another run
    RUN/records.jsonl   one record a line
    RUN/trees.jsonl     one {"problem", "seed", "tree"} a line, written before its record

Lines are only ever appended, each one flushed to the disk. Whoever is killed in the middle of a line leaves
a torn one: readers pass over it, and the next writer cuts it off.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Container, Iterator, Mapping
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from eval.records import Attempted, Plan, Record
from prover.errors import InputError
from prover.theorem_file import write_atomically

#: Problem and seed.
Key = tuple[str, int]
#: An exported search tree.
Tree = Mapping[str, Any]

_PLAN, _RECORDS, _TREES, _LOCK = "plan.json", "records.jsonl", "trees.jsonl", "lock"
_TREE_KEY = re.compile(rb'\{"problem": ("(?:[^"\\]|\\.)*"), "seed": (-?\d+), "tree": ')


# --- reading ----------------------------------------------------------------------------------------


def read_plan(folder: Path) -> Plan:
    """Read the plan of a run.

    Raises:
        InputError: the folder holds no run, or its plan cannot be read.
    """
    path = folder / _PLAN
    try:
        return Plan.from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise InputError(f"{folder} is not the folder of a run: it has no {_PLAN}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: {error}; runs of another version are read by that version") from error


def read_records(folder: Path) -> list[Record]:
    """Read all records of a run, in the order in which they were written.

    Raises:
        InputError: the folder holds no run, or a line is damaged; a torn last line just does not count.
    """
    read_plan(folder)
    path = folder / _RECORDS
    records: dict[Key, Record] = {}
    for number, line in enumerate(_whole_lines(path), 1):
        try:
            record = Record.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(_damage(path, number, str(error))) from error
        if record.key in records:
            reason = f"{record.problem}, seed {record.seed} stands there twice"
            raise InputError(_damage(path, number, reason))
        records[record.key] = record
    return list(records.values())


def read_trees(folder: Path) -> Mapping[Key, Tree]:
    """Return the search trees of a run; each is read when it is asked for.

    Raises:
        InputError: the file cannot be read, or (now or when a tree is asked for) a line is damaged.
    """
    return _Trees(folder / _TREES)


class _Trees(Mapping[Key, Tree]):
    """Knows where in the file the trees are; of a key that stands there twice, the last one counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._starts = {key: start for key, start, _ in _tree_places(path)}

    def __getitem__(self, key: Key) -> Tree:
        start = self._starts[key]
        with self._path.open("rb") as file:
            file.seek(start)
            try:
                tree: Tree = json.loads(file.readline())["tree"]
            except ValueError as error:
                raise InputError(f"{self._path}: the tree of {key[0]}, seed {key[1]}: {error}") from error
        return tree

    def __iter__(self) -> Iterator[Key]:
        return iter(self._starts)

    def __len__(self) -> int:
        return len(self._starts)


def _tree_places(path: Path) -> Iterator[tuple[Key, int, int]]:
    """Yield the key of each tree and the bytes where its line starts and ends."""
    start = 0
    for number, line in enumerate(_whole_lines(path), 1):
        match = _TREE_KEY.match(line)
        if match is None:
            raise InputError(_damage(path, number, "no search tree"))
        yield (json.loads(match[1]), int(match[2])), start, start + len(line)
        start += len(line)


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines that end as lines do; of a file that is not there, none."""
    try:
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _damage(path: Path, number: int, reason: str) -> str:
    return f"{path}, line {number} is damaged ({reason}): put the file back from a copy, or take the line out"


# --- writing ----------------------------------------------------------------------------------------


class RunStore:
    """The folder of a run, open for writing by this process alone. To be used with ``with``."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        """Nothing is touched before it is entered."""
        from filelock import FileLock

        self._folder = folder
        self._plan = plan
        self._lock = FileLock(folder / _LOCK, timeout=0)
        self._files: list[FileIO] = []
        #: What is written down, in the order of writing.
        self.records: dict[Key, Record] = {}

    def __enter__(self) -> RunStore:
        """Make the folder, or go on with what it holds.

        Raises:
            InputError: it cannot be written, another process writes to it, or it holds a run that is damaged
                or another one.
        """
        _make_folder(self._folder)
        self._take_lock()
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def keep(self, attempted: Attempted) -> None:
        """Append a finished attempt as :meth:`write` does; a run keeps its first proof alone."""
        self.write(attempted.record, attempted.tree)

    def write(self, record: Record, tree: Tree | None) -> None:
        """Append a finished attempt; when this returns it is on the disk.

        Raises:
            InputError: the disk is full or gone.
            ValueError: this attempt is written down already.
        """
        if record.key in self.records:
            raise ValueError(f"{record.key} is written down already")
        records, trees = self._files
        if tree is not None:
            _append(trees, {"problem": record.problem, "seed": record.seed, "tree": tree})
        _append(records, record.to_json())
        self.records[record.key] = record

    # --- opening and closing ----------------------------------------------------------------------

    def _take_lock(self) -> None:
        from filelock import Timeout

        try:
            self._lock.acquire()
        except Timeout:
            raise InputError(
                f"{self._folder} is being written by another process: wait for it, or choose another folder"
            ) from None
        except OSError as error:
            raise InputError(f"{self._folder} cannot be locked: {error.strerror}") from error

    def _open(self) -> None:
        self._agree_on_plan()
        for name in (_RECORDS, _TREES):
            _cut_torn_line(self._folder / name)
        self.records = {record.key: record for record in read_records(self._folder)}
        _cut_orphans(self._folder / _TREES, self.records)
        for name in (_RECORDS, _TREES):
            self._files.append(_open_to_append(self._folder / name))

    def _agree_on_plan(self) -> None:
        """Write the plan into a new folder; in an old one, hold it against the one that is there."""
        path = self._folder / _PLAN
        if path.exists():
            _refuse_other_plan(self._folder, read_plan(self._folder), self._plan)
        elif (self._folder / _RECORDS).exists():
            raise InputError(f"{self._folder} has records but no {_PLAN}: choose another folder")
        else:
            text = json.dumps(self._plan.to_json(), ensure_ascii=False, indent=2)
            write_atomically(path, f"{text}\n".encode())

    def _close(self) -> None:
        for file in self._files:
            file.close()
        self._files.clear()
        self._lock.release()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from error


def _refuse_other_plan(folder: Path, there: Plan, wanted: Plan) -> None:
    old, new = there.to_json(), wanted.to_json()
    other = [f"{name} was {old[name]!r} and is {new[name]!r}" for name in old if old[name] != new[name]]
    if other:
        raise InputError(
            f"{folder} holds a run with other settings ({'; '.join(other)}): "
            "give the same settings to go on with it, or another --out for a new run"
        )


def _open_to_append(path: Path) -> FileIO:
    try:
        return path.open("ab", buffering=0)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def _append(file: FileIO, body: Mapping[str, Any]) -> None:
    # A lone surrogate, as a hostile tactic could print, is kept; ``json.loads`` reads it back.
    line = memoryview(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    try:
        while line:
            line = line[file.write(line) :]
        os.fsync(file.fileno())
    except OSError as error:
        raise InputError(f"{file.name} cannot be written: {error.strerror}") from error


def _cut_torn_line(path: Path) -> None:
    """Cut off what stands behind the last end of a line."""
    if path.exists() and path.stat().st_size:
        _cut(path, sum(len(line) for line in _whole_lines(path)))


def _cut_orphans(path: Path, done: Container[Key]) -> None:
    """Cut off the last trees as far as they have no record: their attempts will be made again."""
    end = max((end for key, _, end in _tree_places(path) if key in done), default=0)
    if path.exists():
        _cut(path, end)


def _cut(path: Path, size: int) -> None:
    try:
        if path.stat().st_size > size:
            os.truncate(path, size)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
