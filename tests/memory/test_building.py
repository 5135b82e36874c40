"""Building: what is read, what is left alone, and that a build goes on wherever it was stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory import building
from memory.building import Built, Document, Reading, build
from memory.catalogue import MemoryKind, Passage
from memory.errors import MemoryInputError
from memory.reading import Pairs, Text
from memory.store import MemoryStore

HEADS, WIDTH = 2, 4
KIND = MemoryKind("0123456789abcdef", 1, HEADS, WIDTH)


@pytest.fixture(scope="module", autouse=True)
def not_durable() -> Iterator[None]:
    """Whether it stays after a power cut is for the store's own tests, and takes most of the time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda file: None)
        yield


class Stopped(Exception):
    pass


class FakeReader:
    """Makes keys and values of a token and the one before it, and counts the texts."""

    def __init__(self, stop_after: int | None = None, max_tokens: int = 100) -> None:
        self.max_tokens = max_tokens
        self.read_texts: list[Text] = []
        self._stop_after = stop_after

    def read(self, texts: Sequence[Text]) -> Pairs:
        rows = [self._rows(text) for text in texts]
        none = np.zeros((0, HEADS, WIDTH), np.float16)
        return Pairs(np.concatenate([none, *rows]), np.concatenate([none, *rows]) + np.float16(1))

    def _rows(self, text: Text) -> Any:
        if len(self.read_texts) == self._stop_after:
            raise Stopped
        self.read_texts.append(text)
        cut = text.tokens[-self.max_tokens :]
        kept = min(text.kept, len(cut))
        pairs = list(zip((0, *cut[:-1]), cut, strict=True))[-kept:]
        rows = np.array([[before, token] * (WIDTH // 2) for before, token in pairs], np.float16)
        return np.repeat(rows[:, None], HEADS, axis=1)


def reading(module: str, name: str, *tokens: int, context: tuple[int, ...] = (7, 8)) -> Reading:
    return Reading(context, Passage(name, module, "declaration", tokens))


def document(module: str, *passages: tuple[int, ...]) -> Document:
    named = (reading(module, f"{module}.{place}", *it) for place, it in enumerate(passages))
    return Document(module, tuple(named))


A, B, C = document("A", (1, 2), (3,)), document("B", (4, 5, 6)), document("C", (9,), (10, 11))


def built(folder: Path, documents: Sequence[Document], reader: Any = None, **options: Any) -> Built:
    opening = MemoryStore.open(folder, writable=True) if folder.exists() else MemoryStore.create(folder, KIND)
    with opening as store:
        found = build(store, reader or FakeReader(), documents, **options)
        store.check_invariants()
    return found


def held(folder: Path) -> dict[str, Any]:
    """By module: passages with their keys and values, and the mark."""
    with MemoryStore.open(folder) as store:
        found: dict[str, Any] = {module: [digest] for module, digest in store.done.items()}
        for number, passage in enumerate(store.passages):
            rows = slice(store.entries_of(number).start, store.entries_of(number).stop)
            row = (passage, store.keys[rows].tolist(), store.values[rows].tolist())
            found.setdefault(passage.module, [None]).append(row)
    return found


def fresh(folder: Path, documents: Sequence[Document]) -> dict[str, Any]:
    """What a store holds that was built of these documents alone."""
    built(folder, documents)
    return held(folder)


def test_a_store_holds_what_was_read_in_order(tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []
    found = built(tmp_path / "m", [B, A], report=lambda done, of: reported.append((done, of)))
    assert found == Built(read=2, kept=0, dropped=0)
    with MemoryStore.open(tmp_path / "m") as store:
        assert [passage.name for passage in store.passages] == ["B.0", "A.0", "A.1"]
        assert store.tokens.tolist() == [4, 5, 6, 1, 2, 3]
        # The context was read: before the first token of each passage stands its last one.
        assert store.keys[:, 0, :2].tolist() == [[8, 4], [4, 5], [5, 6], [8, 1], [1, 2], [8, 3]]
        assert (store.values == store.keys + 1).all()
        assert store.done == {"A": A.digest, "B": B.digest}
    assert reported[0] == (0, 2) and reported[-1] == (2, 2)


def test_nothing_is_read_twice(tmp_path: Path) -> None:
    built(tmp_path / "m", [A, B])
    reader, reported = FakeReader(), list[tuple[int, int]]()
    found = built(tmp_path / "m", [A, B], reader, report=lambda *it: reported.append(it))
    assert (found, reader.read_texts, reported) == (Built(0, 2, 0), [], [(2, 2)])


def test_only_what_changed_or_is_new_is_read(tmp_path: Path) -> None:
    built(tmp_path / "m", [A, B])
    changed = document("B", (4, 5, 99))
    reader = FakeReader()
    assert built(tmp_path / "m", [A, changed, C], reader) == Built(read=2, kept=1, dropped=1)
    assert [text.tokens[-1] for text in reader.read_texts] == [99, 9, 11]
    assert held(tmp_path / "m") == fresh(tmp_path / "n", [A, changed, C])


@pytest.mark.parametrize(
    "change",
    [
        lambda it: replace(it, context=(7,)),
        lambda it: replace(it, passage=replace(it.passage, name="other")),
        lambda it: replace(it, passage=replace(it.passage, kind="lemma")),
        lambda it: replace(it, passage=replace(it.passage, tokens=(1, 2, 3))),
        # What is context and what is kept.
        lambda it: Reading((7, 8, 1), replace(it.passage, tokens=(2,))),
    ],
)
def test_digests_tell_all_that_is_read_and_kept(change: Any, tmp_path: Path) -> None:
    first, *others = A.readings
    other = Document("A", (change(first), *others))
    assert other.digest != A.digest == document("A", (1, 2), (3,)).digest
    built(tmp_path / "m", [A])
    reader = FakeReader()
    assert built(tmp_path / "m", [other], reader) == Built(1, 0, 1)
    assert held(tmp_path / "m") == fresh(tmp_path / "n", [other])


def test_order_is_told_by_the_digest() -> None:
    assert Document("A", A.readings[::-1]).digest != A.digest


@pytest.mark.parametrize("prune", [False, True])
def test_other_modules_stay_unless_they_are_pruned(prune: bool, tmp_path: Path) -> None:
    built(tmp_path / "m", [A, B])
    assert built(tmp_path / "m", [B], prune=prune) == Built(0, 1, int(prune))
    assert held(tmp_path / "m") == fresh(tmp_path / "n", [B] if prune else [A, B])


def test_a_module_can_become_empty_and_full_again(tmp_path: Path) -> None:
    empty = document("A")
    built(tmp_path / "m", [A, B])
    assert built(tmp_path / "m", [empty, B]) == Built(1, 1, 1)
    assert held(tmp_path / "m") == {"A": [empty.digest], "B": fresh(tmp_path / "n", [B])["B"]}
    reader = FakeReader()
    assert built(tmp_path / "m", [empty, B], reader) == Built(0, 2, 0)
    assert built(tmp_path / "m", [A, B], reader) == Built(1, 1, 1)
    assert len(reader.read_texts) == 2


def test_of_a_passage_longer_than_the_reader_takes_the_end_is_kept(tmp_path: Path) -> None:
    long = document("A", (1, 2, 3, 4, 5), (6,))
    built(tmp_path / "m", [long], FakeReader(max_tokens=3))
    with MemoryStore.open(tmp_path / "m") as store:
        assert [passage.tokens for passage in store.passages] == [(3, 4, 5), (6,)]
    assert built(tmp_path / "m", [long], FakeReader(max_tokens=3)) == Built(0, 1, 0)


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MemoryInputError, match="several documents of A"):
        built(tmp_path / "m", [A, B, document("A")])
    with pytest.raises(MemoryInputError, match="of A has passages of B"):
        Document("A", (*A.readings, *B.readings))
    built(tmp_path / "m", [A])
    reader: Any = FakeReader()
    with (
        MemoryStore.open(tmp_path / "m") as store,
        pytest.raises(MemoryInputError, match="not open for writing"),
    ):
        build(store, reader, [B])


documents = st.lists(
    st.builds(
        lambda module, passages: document(module, *passages),
        st.sampled_from("ABCDEF"),
        st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=4).map(tuple), max_size=3),
    ),
    unique_by=lambda it: it.module,
    max_size=6,
)


@settings(max_examples=15)
@given(documents, documents, st.integers(0, 12), st.booleans())
def test_a_build_that_was_stopped_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[Document],
    after: list[Document],
    stop: int,
    prune: bool,
) -> None:
    folder = tmp_path_factory.mktemp("stopped")
    usual = building._TOKENS
    building._TOKENS = 9
    try:
        built(folder / "m", before)
        stopped = FakeReader(stop_after=stop)
        with suppress(Stopped):
            built(folder / "m", after, stopped, prune=prune)
        whole = [fresh(folder / "before", before), fresh(folder / "after", after)]
        for module, (mark, *passages) in held(folder / "m").items():
            assert mark is None or [mark, *passages] in [it.get(module) for it in whole]
        built(folder / "m", after, prune=prune)
    finally:
        building._TOKENS = usual
    there = {} if prune else {it.module: it for it in before}
    expected = list({**there, **{it.module: it for it in after}}.values())
    assert held(folder / "m") == fresh(folder / "n", expected)


class Failing:
    """A store that fails at its nth mark."""

    def __init__(self, store: MemoryStore, marks: int) -> None:
        self._store, self._marks = store, marks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def mark_done(self, module: str, digest: str) -> None:
        if self._marks == 0:
            raise Stopped
        self._marks -= 1
        self._store.mark_done(module, digest)


@pytest.mark.parametrize("marks", [0, 1, 2])
def test_what_was_read_and_not_marked_is_read_again(marks: int, tmp_path: Path) -> None:
    with MemoryStore.create(tmp_path / "m", KIND) as store:
        failing: Any = Failing(store, marks)
        reader: Any = FakeReader()
        with pytest.raises(Stopped):
            build(failing, reader, [A, B, C])
    reader = FakeReader()
    assert built(tmp_path / "m", [A, B, C], reader) == Built(read=3 - marks, kept=marks, dropped=3 - marks)
    assert len(reader.read_texts) == [5, 3, 2][marks]
    assert held(tmp_path / "m") == fresh(tmp_path / "n", [A, B, C])


def test_groups_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small modules go together, and one transaction has not many more tokens than it may."""
    monkeypatch.setattr(building, "_TOKENS", 9)
    found = building._groups([A, B, C, document("D"), document("E")])
    assert [[it.module for it in group] for group in found] == [["A", "B"], ["C", "D", "E"]]
