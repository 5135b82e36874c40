"""What a benchmark is: a versioned folder that lists problems."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from prover.lean.messages import OpenRequest, Source, TheoremRequest


class Split(StrEnum):
    TRAIN = "train"
    VALID = "valid"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Problem:
    """A theorem to prove."""

    #: Unique within its benchmark.
    id: str
    benchmark: str
    version: str
    split: Split
    #: The library module that declares it; None for a statement in Lean source.
    module: str | None
    #: Lean source in front of the statement; "" for a library theorem.
    header: str
    #: Lean source of the theorem, its proof one ``sorry``; of a library theorem the text that people read.
    statement: str
    #: ``key:value``, for example ``category:algebra``, ``difficulty:imo``, ``known:wrong``.
    tags: tuple[str, ...]
    #: Where it comes from: a repository at a commit, a library at a version.
    source: str
    #: Its place in the order of learning: nothing learned at a later place may be used for it.
    position: int
    #: Lean source of a module that the header builds on: elaborated once and kept; "" for none.
    prelude: str = ""

    @property
    def statement_hash(self) -> str:
        """16 hex digits of the SHA-256 of what is asked: module, prelude, header and statement."""
        text = "\0".join((self.module or "", self.prelude, self.header, self.statement))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def tag(self, key: str) -> str:
        """The value of the tag ``key:value``, or ""."""
        return tag_value(self.tags, key)

    def request(self) -> OpenRequest | TheoremRequest:
        """What to ask a tactic server in order to get its goal."""
        if self.module is not None:
            return TheoremRequest(self.module, self.id)
        return OpenRequest(self.file(), self.dependencies())

    def dependencies(self) -> tuple[Source, ...]:
        """The modules that its file builds on."""
        return (Source("Prelude", "prelude.lean", self.prelude),) if self.prelude else ()

    def file(self) -> Source:
        """The statement as a file of its own."""
        return Source("Problem", f"{self.id}.lean", f"{self.header}\n{self.statement}\n")


def draw(text: str) -> bytes:
    """Where a name comes in a random order that is always the same."""
    return hashlib.sha256(text.encode()).digest()


def tag_value(tags: Iterable[str], key: str) -> str:
    """The value of the first tag ``key:value``, or ""."""
    return next((tag.partition(":")[2] for tag in tags if tag.startswith(f"{key}:")), "")


class Benchmark(Protocol):
    """A named and versioned list of problems."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def problems(self, split: Split) -> list[Problem]:
        """Return the problems of a split, by position.

        Raises:
            InputError: its data cannot be had, or it has no such split.
        """
        ...
