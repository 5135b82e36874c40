"""The store of an expert iteration: a SQLite file with every attempt, every proof and many failures.

An attempt is written in one transaction when it ends, so that whoever is killed loses the attempts under way
and nothing else. Proofs are kept once, by theorem and tactics.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prover.errors import InputError
from prover.training.examples import Attempt, Corpus, Failure, Proof, steps_from_json

VERSION = "1"

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE attempts (
    theorem TEXT NOT NULL, module TEXT NOT NULL, source TEXT NOT NULL, generator TEXT NOT NULL,
    model_hash TEXT NOT NULL, seed INTEGER NOT NULL, proved INTEGER NOT NULL, budget INTEGER NOT NULL,
    tactics INTEGER NOT NULL, expansions INTEGER NOT NULL, seconds REAL NOT NULL, closest REAL NOT NULL
);
CREATE INDEX attempts_theorem ON attempts (theorem);
CREATE TABLE proofs (
    theorem TEXT NOT NULL, script TEXT NOT NULL, module TEXT NOT NULL, statement TEXT NOT NULL,
    position INTEGER NOT NULL, steps TEXT NOT NULL, source TEXT NOT NULL, split TEXT NOT NULL,
    generator TEXT NOT NULL, tactics INTEGER NOT NULL, PRIMARY KEY (theorem, script)
);
CREATE TABLE failures (
    theorem TEXT NOT NULL, goals TEXT NOT NULL, tactic TEXT NOT NULL, message TEXT NOT NULL,
    PRIMARY KEY (theorem, goals, tactic)
);
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a theorem that was attempted."""

    proved: bool
    attempts: int
    #: Of its attempts: the fewest tactics that led to a proof (0 without one), the largest budget, the best
    #: approach (see :attr:`Attempt.closest`).
    tactics: int
    budget: int
    closest: float
    #: What attempted it.
    generators: frozenset[str] = frozenset()


class StepStore:
    """A store, open for this process. To be used with ``with``."""

    def __init__(self, path: Path, lean: str = "") -> None:
        """Nothing is touched before it is entered.

        Args:
            lean: the Lean that judges; a store holds the proofs of one. "": any, for reading.
        """
        self._path = path
        self._lean = lean

    def __enter__(self) -> Self:
        """Open the file, or make it.

        Raises:
            InputError: it cannot be opened, is no store, or belongs to another Lean.
        """
        if not self._path.exists() and not self._lean:
            raise InputError(f"there is no store {self._path}: make one with `prover data collect`")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self._path, timeout=30.0)
            self._agree()
        except (sqlite3.Error, OSError) as error:
            raise InputError(f"{self._path} is no store of proofs, or cannot be opened: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _agree(self) -> None:
        """Write the head of a new file; hold that of an old one against what is wanted."""
        with self._file:
            if not self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                self._file.execute("PRAGMA journal_mode = WAL")
                self._file.executescript(_SCHEMA)
                head = [("version", VERSION), ("lean", self._lean)]
                self._file.executemany("INSERT INTO meta VALUES (?, ?)", head)
        head_there = dict(self._file.execute("SELECT key, value FROM meta"))
        if head_there.get("version") != VERSION:
            raise InputError(f"{self._path} is a store of another version: export it with that version")
        if self._lean and head_there["lean"] != self._lean:
            raise InputError(
                f"{self._path} holds proofs of Lean {head_there['lean']}, and this is {self._lean}: "
                "choose another store"
            )
        self._lean = head_there["lean"]

    @property
    def lean(self) -> str:
        """The Lean that accepted its proofs."""
        return self._lean

    # --- writing ----------------------------------------------------------------------------------

    def add(self, attempt: Attempt, proofs: Iterable[Proof], failures: Iterable[Failure]) -> None:
        """Write an attempt down; when this returns it is on the disk.

        Raises:
            InputError: the disk is full or gone.
        """
        try:
            with self._file:
                _insert(self._file, "attempts", asdict(attempt))
                for proof in proofs:
                    _insert(self._file, "proofs", _proof_row(proof))
                for failure in failures:
                    _insert(self._file, "failures", asdict(failure) | {"goals": _dump(failure.goals)})
        except sqlite3.Error as error:
            raise InputError(f"{self._path} cannot be written: {error}") from error

    # --- reading ----------------------------------------------------------------------------------

    def standings(self) -> dict[str, Standing]:
        """What is known of each theorem that was attempted."""
        rows = self._file.execute(
            "SELECT theorem, max(proved), count(*), min(CASE WHEN proved THEN tactics END), "
            "max(budget), min(closest), json_group_array(DISTINCT generator) FROM attempts GROUP BY theorem"
        )
        return {
            row[0]: Standing(bool(row[1]), row[2], row[3] or 0, row[4], row[5], _set(row[6])) for row in rows
        }

    def attempted(self) -> set[tuple[str, str, str, int]]:
        """Theorem, generator, its hash and seed of every attempt."""
        return set(self._file.execute("SELECT theorem, generator, model_hash, seed FROM attempts"))

    def proofs(self) -> list[Proof]:
        """Every proof, in the order of learning."""
        names = [field.name for field in fields(Proof)]
        rows = self._file.execute(f"SELECT {', '.join(names)} FROM proofs ORDER BY position, theorem, script")
        return [_proof(dict(zip(names, row, strict=True))) for row in rows]

    def failures(self) -> list[Failure]:
        """Every failure that was kept."""
        rows = self._file.execute("SELECT theorem, goals, tactic, message FROM failures ORDER BY 1, 2, 3")
        return [Failure(row[0], tuple(json.loads(row[1])), row[2], row[3]) for row in rows]

    def attempts(self) -> list[Attempt]:
        """Every attempt."""
        names = [field.name for field in fields(Attempt)]
        rows = self._file.execute(f"SELECT {', '.join(names)} FROM attempts ORDER BY rowid")
        found = (dict(zip(names, row, strict=True)) for row in rows)
        return [Attempt(**row | {"proved": bool(row["proved"])}) for row in found]

    def corpus(self) -> Corpus:
        """Everything to learn from, and how it came about."""
        return Corpus(tuple(self.proofs()), tuple(self.failures()), self._lean, tuple(self.attempts()))

    def add_corpus(self, corpus: Corpus) -> None:
        """Take over a corpus; what is there already stays once, attempts too.

        Raises:
            InputError: the disk is full or gone.
        """
        known = set(self.attempts())
        try:
            with self._file:
                for attempt in corpus.attempts:
                    if attempt not in known:
                        _insert(self._file, "attempts", asdict(attempt))
                for proof in corpus.proofs:
                    _insert(self._file, "proofs", _proof_row(proof))
                for failure in corpus.failures:
                    _insert(self._file, "failures", asdict(failure) | {"goals": _dump(failure.goals)})
        except sqlite3.Error as error:
            raise InputError(f"{self._path} cannot be written: {error}") from error

    def counts(self) -> dict[str, int]:
        """How much it holds."""
        asked = {
            "attempts": "SELECT count(*) FROM attempts",
            "theorems attempted": "SELECT count(DISTINCT theorem) FROM attempts",
            "theorems proved": "SELECT count(DISTINCT theorem) FROM proofs",
            "proofs": "SELECT count(*) FROM proofs",
            "steps": "SELECT coalesce(sum(json_array_length(steps)), 0) FROM proofs",
            "failed tactics": "SELECT count(*) FROM failures",
        }
        return {name: self._file.execute(query).fetchone()[0] for name, query in asked.items()}


def _set(text: str) -> frozenset[str]:
    return frozenset(json.loads(text))


def _insert(file: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    """Insert a row; one that is there already stays as it is."""
    holes = ", ".join("?" * len(row))
    file.execute(f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({holes})", tuple(row.values()))


def _proof_row(proof: Proof) -> dict[str, Any]:
    row = asdict(proof)
    return row | {"script": _dump(proof.script), "steps": _dump(row["steps"])}


def _proof(row: dict[str, Any]) -> Proof:
    return Proof(**row | {"steps": steps_from_json(json.loads(row["steps"]))})


def _dump(values: Sequence[Any]) -> str:
    # In ASCII, so that a lone surrogate, which SQLite does not take, is kept as well.
    return json.dumps(values)
