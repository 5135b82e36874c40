"""The store on the disk: what is in it comes out again, whatever happens to the process and to the files."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from numpy.typing import NDArray

from memory import volume as volume_module
from memory.errors import ExternalMemoryError, MemoryInputError, MemoryUnavailable
from memory.store import MemoryKind, MemoryStore, Passage

KIND = MemoryKind(model="3f0a", layer=4, heads=2, width=3)
TINY = MemoryKind(model="3f0a", layer=0, heads=1, width=1)


@pytest.fixture(scope="module", autouse=True)
def _without_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


def pairs(kind: MemoryKind, entries: int, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Keys and values (N, H, D) that float16 holds exactly."""
    shape = (entries, kind.heads, kind.width)
    keys = np.random.default_rng(seed).standard_normal(shape).astype(np.float16)
    return keys, -keys


def passage(name: str, module: str = "A", length: int = 2, kind: str = "lemma") -> Passage:
    return Passage(name, module, kind, tuple(range(length)))


def add(store: MemoryStore, *passages: Passage, seed: int = 0) -> range:
    entries = sum(len(one.tokens) for one in passages)
    return store.append(passages, *pairs(store.kind, entries, seed))


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


def contents(store: MemoryStore) -> tuple[Any, ...]:
    """All that a store holds, to compare."""
    store.check_invariants()
    store.verify()
    arrays = (store.keys.tobytes(), store.values.tobytes(), store.tokens.tobytes())
    return (len(store), list(store.passages), store.done, arrays)


def contents_at(folder: Path, writable: bool = False) -> tuple[Any, ...]:
    with MemoryStore.open(folder, writable=writable) as store:
        return contents(store)


# --- everything at once, against a model ------------------------------------------------------------

passages = st.builds(
    Passage,
    name=st.text(max_size=3) | st.just("\ud800"),
    module=st.sampled_from("ABC"),
    kind=st.sampled_from(["lemma", "step"]),
    tokens=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=4).map(tuple),
)
batches = st.lists(passages, max_size=4)


@dataclass
class Model:
    """What a store should hold."""

    passages: list[Passage] = field(default_factory=list)
    rows: list[NDArray[Any]] = field(default_factory=list)
    done: dict[str, str] = field(default_factory=dict)

    def copy(self) -> Model:
        return Model(list(self.passages), list(self.rows), dict(self.done))

    def keep(self, kept: Callable[[int], bool], done: Callable[[str], bool]) -> None:
        places = [place for place in range(len(self.passages)) if kept(place)]
        self.passages = [self.passages[place] for place in places]
        self.rows = [self.rows[place] for place in places]
        self.done = {module: digest for module, digest in self.done.items() if done(module)}

    def entries(self, modules: str) -> list[bool]:
        return [one.module in modules for one in self.passages for _ in one.tokens]

    def check(self, store: MemoryStore) -> None:
        store.check_invariants()
        expected = np.concatenate([np.zeros((0, KIND.heads, KIND.width)), *self.rows])
        np.testing.assert_array_equal(store.keys, expected)
        np.testing.assert_array_equal(store.values, -expected)
        assert store.tokens.tolist() == [token for one in self.passages for token in one.tokens]
        assert list(store.passages) == self.passages
        assert store.passages[1:] == self.passages[1:]
        places = [(one, place) for one in self.passages for place in range(len(one.tokens))]
        assert [store.passage_at(entry) for entry in range(len(store))] == places
        assert store.done == self.done
        for modules in ("", "A", "BC", "AX"):
            assert store.mask(list(modules)).tolist() == self.entries(modules)
        for module, ranges in store.modules.items():
            found = [entry for own in ranges for entry in own]
            assert found == np.flatnonzero(self.entries(module)).tolist()
            assert len(ranges) == 1 + np.count_nonzero(np.diff(found) > 1)


class Machine(RuleBasedStateMachine):
    """A writer and a reader of one store."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp())
        self.writer = MemoryStore.create(self.folder / "store", KIND)
        self.reader = MemoryStore.open(self.folder / "store")
        self.model, self.seen = Model(), Model()
        self.seed = 0

    def teardown(self) -> None:
        self.writer.verify()
        self.writer.close()
        self.reader.close()
        shutil.rmtree(self.folder)

    def fresh(self, new: list[Passage]) -> NDArray[Any]:
        self.seed += 1
        return pairs(KIND, sum(len(one.tokens) for one in new), self.seed)[0]

    @rule(new=batches)
    def append(self, new: list[Passage]) -> None:
        keys, before = self.fresh(new), len(self.writer)
        assert self.writer.append(new, keys, -keys) == range(before, before + len(keys))
        ends = np.cumsum([len(one.tokens) for one in new])
        self.model.passages += new
        self.model.rows += np.split(keys, ends[:-1]) if new else []

    @rule(module=st.sampled_from("ABC"), digest=st.sampled_from(["1", "2"]))
    def mark_done(self, module: str, digest: str) -> None:
        self.writer.mark_done(module, digest)
        self.model.done[module] = digest

    @rule(entries=st.integers(0, 12))
    def drop_oldest(self, entries: int) -> None:
        starts = np.cumsum([0, *(len(one.tokens) for one in self.model.passages)])
        lost = {
            one.module for one, start in zip(self.model.passages, starts, strict=False) if start < entries
        }
        before = len(self.writer)
        dropped = self.writer.drop_oldest(entries)
        assert before - len(self.writer) == dropped >= min(entries, before)
        self.model.keep(lambda place: bool(starts[place] >= entries), lambda module: module not in lost)

    @rule(modules=st.sets(st.sampled_from("ABCX")))
    def drop_modules(self, modules: set[str]) -> None:
        dropped = self.writer.drop_modules(modules)
        assert dropped == sum(self.model.entries("".join(modules)))
        kept = [one.module not in modules for one in self.model.passages]
        self.model.keep(kept.__getitem__, lambda module: module not in modules)

    @precondition(lambda self: len(self.writer) < 40)
    @rule()
    def merge(self) -> None:
        """With what the reader still sees."""
        before = len(self.writer)
        assert self.writer.merge(self.reader) == range(before, before + len(self.reader))
        self.model.passages += self.seen.passages
        self.model.rows += self.seen.rows
        self.model.done |= self.seen.done

    @rule()
    def reopen(self) -> None:
        self.writer.close()
        self.writer = MemoryStore.open(self.folder / "store", KIND, writable=True)

    @rule()
    def refresh(self) -> None:
        self.reader.refresh()
        self.seen = self.model.copy()

    @invariant()
    def holds(self) -> None:
        self.model.check(self.writer)
        self.seen.check(self.reader)
        assert len(tree(self.folder / "store")) == 4


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)


@settings(max_examples=15, deadline=None)
@given(st.lists(batches, max_size=4))
def test_one_append_or_many(tmp_path_factory: pytest.TempPathFactory, splits: list[list[Passage]]) -> None:
    together = [one for new in splits for one in new]
    keys, values = pairs(KIND, sum(len(one.tokens) for one in together))
    folder = tmp_path_factory.mktemp("split")
    with MemoryStore.create(folder / "one", KIND) as one, MemoryStore.create(folder / "many", KIND) as many:
        one.append(together, keys, values)
        for new in splits:
            start = len(many)
            own = slice(start, start + sum(len(one.tokens) for one in new))
            many.append(new, keys[own], values[own])
        assert contents(one) == contents(many)
    assert contents_at(folder / "one") == contents_at(folder / "many")


def test_many_entries_are_copied_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory.store._CHUNK", 5)
    sizes: list[int] = []
    plain = volume_module.write_at
    monkeypatch.setattr(
        volume_module, "write_at", lambda *args: (sizes.append(len(args[1])), plain(*args))[1]
    )
    with MemoryStore.create(tmp_path / "one", TINY) as one, MemoryStore.create(tmp_path / "two", TINY) as two:
        add(one, *(passage(str(number), "AB"[number % 3 == 1], 3) for number in range(9)))
        one.mark_done("B", "1")
        sizes.clear()
        assert two.merge(one) == range(27)
        assert sizes[:3] == [12, 12, 24] and len(sizes) == 3 * 5 + 1
        assert contents(two) == contents(one)
        assert two.drop_modules(["B"]) == 9
        assert [one.name for one in two.passages] == ["0", "2", "3", "5", "6", "8"]
        kept = np.concatenate([one.keys[own.start : own.stop] for own in one.modules["A"]])
        np.testing.assert_array_equal(two.keys, kept)
        assert two.modules == {"A": [range(18)]} and two.done == {}
        contents(two)


# --- torn and damaged files -------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """A small store, and what its files and contents were after each of two appends."""

    folder: Path
    files: list[dict[str, bytes]]
    held: list[tuple[Any, ...]]

    def restore(self, **changed: bytes) -> None:
        there = tree(self.folder)
        for name, content in self.files[-1].items():
            wanted = changed.get(name.split(".")[0], content)
            if there.get(name) != wanted:
                (self.folder / name).write_bytes(wanted)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    folder = tmp_path / "store"
    files, held = [], []
    with MemoryStore.create(folder, TINY) as store:
        for number in range(3):
            if number:
                add(store, passage(f"p{number}", length=number + 1), seed=number)
            files.append(tree(folder))
            held.append(contents(store))
    return Written(folder, files, held)


TAILS = (b"", b"\n", b"\x00\x00", b"deadbeef {}\n{", b"0" * 40 + b"\n")


def test_a_journal_cut_anywhere(written: Written) -> None:
    whole = written.files[-1]["journal"]
    ends = [len(files["journal"]) for files in written.files]
    for length in range(len(whole) + 1):
        at_end = any(abs(length - end) <= 1 for end in ends)
        tails = TAILS if at_end else (b"", TAILS[length % 5])[: 1 + length % 2]
        for place, tail in enumerate(tails):
            torn = whole[:length] + tail
            written.restore(journal=torn)
            whole_records = sum(torn.startswith(whole[:end]) for end in ends)
            if not whole_records:
                with pytest.raises(MemoryInputError, match="damaged"):
                    MemoryStore.open(written.folder, writable=bool(place))
                assert tree(written.folder) == written.files[-1] | {"journal": torn}
                continue
            assert contents_at(written.folder) == written.held[whole_records - 1]
            assert tree(written.folder) == written.files[-1] | {"journal": torn}
            if at_end or length % 4 == 0:
                assert contents_at(written.folder, writable=True) == written.held[whole_records - 1]
                assert tree(written.folder) == written.files[whole_records - 1]


def test_rows_cut_anywhere(written: Written) -> None:
    before, after = written.files[1:]
    for name in ("keys.0.f16", "values.0.f16", "tokens.0.i32"):
        stem = name.split(".")[0]
        for length in range(len(after[name]) + 1):
            changed = {stem: after[name][:length]}
            written.restore(**changed)
            if length < len(after[name]):
                with pytest.raises(MemoryInputError, match=f"{stem}.*damaged.*the journal says"):
                    MemoryStore.open(written.folder)
            written.restore(**changed, journal=after["journal"][:-1])
            if length < len(before[name]):
                with pytest.raises(MemoryInputError, match="damaged"):
                    MemoryStore.open(written.folder)
                continue
            assert contents_at(written.folder) == written.held[1]
            with MemoryStore.open(written.folder, writable=True) as store:
                assert tree(written.folder) == before
                add(store, passage("p2", length=3), seed=2)
                assert contents(store) == written.held[2]
            assert tree(written.folder) == after


def test_rows_with_a_tail(written: Written) -> None:
    written.restore(**{name.split(".")[0]: content + b"torn" for name, content in written.files[-1].items()})
    assert contents_at(written.folder) == written.held[-1]
    assert contents_at(written.folder, writable=True) == written.held[-1]
    assert tree(written.folder) == written.files[-1]


def test_a_damaged_record_before_good_ones(written: Written) -> None:
    whole, first = written.files[-1]["journal"], len(written.files[0]["journal"])
    second = len(written.files[1]["journal"])
    for place in range(first, second - 1):
        written.restore(journal=whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(MemoryInputError, match=f"damaged: a record at byte {first}"):
            MemoryStore.open(written.folder)
        assert (written.folder / "keys.0.f16").read_bytes() == written.files[-1]["keys.0.f16"]


def test_a_missing_record(written: Written) -> None:
    whole = written.files[-1]["journal"]
    ends = [len(files["journal"]) for files in written.files]
    written.restore(journal=whole[: ends[0]] + whole[ends[1] :])
    with pytest.raises(MemoryInputError, match="entries 0 to 2 are missing"):
        MemoryStore.open(written.folder)


def test_verify_finds_every_changed_byte(written: Written) -> None:
    for name, content in written.files[-1].items():
        if name == "journal":
            continue
        for place in range(len(content)):
            with MemoryStore.open(written.folder) as store:
                store.verify()
                (written.folder / name).write_bytes(
                    content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :]
                )
                with pytest.raises(MemoryInputError, match=rf"{name} is damaged: entries \d"):
                    store.verify()
            written.restore()


def test_verify_finds_a_journal_changed_after_it_was_opened(written: Written) -> None:
    with MemoryStore.open(written.folder) as store:
        written.restore(journal=written.files[-1]["journal"][:-3] + b"1}\n")
        with pytest.raises(MemoryInputError, match="the last record"):
            store.verify()


@pytest.mark.parametrize("name", ["keys.0.f16", "values.0.f16", "tokens.0.i32"])
def test_a_missing_file(written: Written, name: str) -> None:
    (written.folder / name).unlink()
    with pytest.raises(MemoryInputError, match=f"{name} is missing"):
        MemoryStore.open(written.folder)


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(MemoryInputError, match="There is no memory"):
        MemoryStore.open(tmp_path, writable=True)
    assert not list(tmp_path.iterdir())
    (tmp_path / "journal").write_bytes(bytes(100_000))
    with pytest.raises(MemoryInputError, match="does not begin as the journal"):
        MemoryStore.open(tmp_path)
    (tmp_path / "journal").unlink()
    (tmp_path / "journal").mkdir()
    with pytest.raises(MemoryUnavailable, match="cannot be read"):
        MemoryStore.open(tmp_path)


def test_another_version(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume_module, "VERSION", 2)
    with pytest.raises(MemoryInputError, match="of version 1, and this program reads version 2"):
        MemoryStore.open(written.folder)


# --- killed at every step ---------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


class Crash:
    """A process that dies at a given call to the file system; whatever it calls afterwards does nothing.

    What was written and not made durable may be lost as well: see :meth:`power_cut`.
    """

    CALLS = ("pwrite", "fsync", "ftruncate", "replace", "unlink")

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, calls: int) -> None:
        self.left = calls
        self._folder = folder
        self.log: list[str] = []
        self._durable = tree(folder)
        for name in self.CALLS:
            patch.setattr(os, name, self._patched(name, getattr(os, name)))

    def _patched(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *args: Any) -> Any:
            if self.left <= 0:
                if self.left == 0 and name == "pwrite":
                    plain(target, args[0][: len(args[0]) // 2], args[1])
                self.left = -1
                raise Killed
            self.left -= 1
            path = self._path(target) if isinstance(target, int) else Path(target)
            self.log.append(f"{name} {path.name}")
            if name == "fsync" and path.is_file():
                self._durable[path.name] = path.read_bytes()
            return plain(target, *args)

        return call

    def _path(self, file: int) -> Path:
        paths = (self._folder, *self._folder.iterdir())
        return next(path for path in paths if os.path.samestat(path.stat(), os.fstat(file)))

    def power_cut(self, folder: Path) -> None:
        """Take back what was not made durable; only for a run that neither renames nor removes files."""
        for name, content in self._durable.items():
            (folder / name).write_bytes(content)


def crashes(folder: Path, act: Callable[[MemoryStore], Any], power: bool) -> list[str]:
    """Let a process act on the store, and die at each of its calls; check that it is all or nothing.

    Returns:
        the calls of a run that does not die.
    """
    original = folder.with_name("original")
    shutil.copytree(folder, original)
    before = contents_at(folder)
    outcomes: list[tuple[Any, ...]] = []
    for calls in range(1000):
        shutil.rmtree(folder)
        shutil.copytree(original, folder)
        store = MemoryStore.open(folder, writable=True)
        done = False
        with pytest.MonkeyPatch.context() as patch:
            crash = Crash(patch, folder, calls)
            try:
                act(store)
                done = True
            except Killed:
                pass
        store.close()
        if power:
            crash.power_cut(folder)
        outcomes.append(contents_at(folder))
        assert contents_at(folder, writable=True) == outcomes[-1]
        with MemoryStore.open(folder, writable=True) as store:
            assert len(tree(folder)) == 4
            assert add(store, passage("later")) == range(outcomes[-1][0], outcomes[-1][0] + 2)
            contents(store)
        if done:
            break
    assert outcomes[-1] != before
    assert all(outcome in (before, outcomes[-1]) for outcome in outcomes)
    return crash.log


ACTS: dict[str, Callable[[MemoryStore], Any]] = {
    "append": lambda store: add(store, passage("new", "B", 3)),
    "mark_done": lambda store: store.mark_done("A", "1"),
    "merge": lambda store: store.merge(store),
    "drop_oldest": lambda store: store.drop_oldest(1),
    "drop_modules": lambda store: store.drop_modules(["A"]),
}


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("act", ["append", "mark_done", "merge"])
def test_what_adds_is_all_or_nothing(written: Written, act: str, power: bool) -> None:
    log = crashes(written.folder, ACTS[act], power)
    assert log[-2:] == ["pwrite journal", "fsync journal"]


@pytest.mark.parametrize("act", ["drop_oldest", "drop_modules"])
def test_what_drops_is_all_or_nothing(written: Written, act: str) -> None:
    log = crashes(written.folder, ACTS[act], power=False)
    renamed = log.index("replace journal.new")
    names = ["keys.1.f16", "values.1.f16", "tokens.1.i32", "journal.new"]
    assert {f"fsync {name}" for name in names} <= set(log[:renamed])
    assert log[renamed - 1] == log[renamed + 1] == "fsync store"
    assert not any(call.startswith("unlink") for call in log[: renamed + 2])
    assert log[renamed + 2 :].count("unlink keys.0.f16") == 1


def test_an_interruption_right_after_the_new_journal_is_in_place(written: Written) -> None:
    with MemoryStore.open(written.folder, writable=True) as store:
        with pytest.MonkeyPatch.context() as patch:
            plain = os.replace

            def replace(*args: Any) -> None:
                plain(*args)
                raise KeyboardInterrupt

            patch.setattr(os, "replace", replace)
            with pytest.raises(KeyboardInterrupt):
                store.drop_oldest(1)
        with pytest.raises(MemoryInputError, match="removed or replaced: open it again"):
            add(store, passage("lost"))
    with MemoryStore.open(written.folder, writable=True) as store:
        assert contents(store)[0] == 3
        add(store, passage("kept"))


def test_a_store_that_was_half_made_is_made_again(tmp_path: Path) -> None:
    for calls in range(1000):
        folder = tmp_path / str(calls)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            Crash(patch, folder, calls)
            try:
                MemoryStore.create(folder, KIND).close()
                break
            except Killed:
                pass
        with (
            MemoryStore.open(folder)
            if (folder / "journal").exists()
            else MemoryStore.create(folder, KIND) as it
        ):
            assert contents(it)[0] == 0
    assert calls >= 5


_APPENDING = """
import sys
from pathlib import Path
import numpy as np
from memory.store import MemoryStore, Passage
with MemoryStore.open(Path(sys.argv[1]), writable=True) as store:
    while True:
        first = len(store)
        rows = np.arange(first, first + 20_000) % 1021
        keys = np.broadcast_to(rows[:, None, None], (20_000, 2, 3)).astype(np.float16)
        store.append([Passage(str(first), "A", "lemma", tuple(rows.tolist()))], keys, -keys)
        store.mark_done(str(first), "1")
        print(len(store), flush=True)
"""


def test_a_process_is_killed(tmp_path: Path) -> None:
    MemoryStore.create(tmp_path / "store", KIND).close()
    for number in range(3):
        command = [sys.executable, "-c", _APPENDING, str(tmp_path / "store")]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        ) as child:
            assert child.stdout is not None
            said = [child.stdout.readline() for _ in range(1 + number)]
            child.kill()
            acknowledged = int([*said, *child.stdout.readlines()][-1])
        with MemoryStore.open(tmp_path / "store", writable=True) as store:
            store.check_invariants()
            store.verify()
            assert acknowledged <= len(store) <= acknowledged + 20_000
            expected = np.arange(len(store)) % 1021
            np.testing.assert_array_equal(store.tokens, expected)
            np.testing.assert_array_equal(store.keys[:, 1, 2], expected)
            np.testing.assert_array_equal(store.values[:, 0, 0], -expected)
            assert len(store.done) >= acknowledged // 20_000


# --- a full disk ------------------------------------------------------------------------------------


def full_after(patch: pytest.MonkeyPatch, room: int) -> None:
    """Let the disk take so many bytes more."""
    plain = os.pwrite

    def write(file: int, data: memoryview, offset: int) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = plain(file, data[:room], offset)
        room -= written
        return written

    patch.setattr(os, "pwrite", write)


@pytest.mark.parametrize("act", list(ACTS))
def test_a_full_disk_changes_nothing(written: Written, act: str) -> None:
    with MemoryStore.open(written.folder, writable=True) as store:
        for room in range(100_000):
            with pytest.MonkeyPatch.context() as patch:
                full_after(patch, room)
                try:
                    ACTS[act](store)
                    break
                except MemoryUnavailable as error:
                    assert "Free some space" in str(error) and str(written.folder) in str(error)
            assert tree(written.folder) == written.files[-1]
            assert contents(store) == written.held[-1]
        assert room > 50
        assert contents(store) != written.held[-1]
        assert contents(store) == contents_at(written.folder)
        add(store, passage("later"))
        assert contents(store) == contents_at(written.folder)


def test_a_limit_of_the_system(tmp_path: Path) -> None:
    with MemoryStore.create(tmp_path / "store", KIND) as store:
        add(store, passage("small"))
        before, held = tree(store.folder), contents(store)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            with pytest.raises(MemoryUnavailable, match="cannot be written"):
                add(store, passage("large", length=200_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (tree(store.folder), contents(store)) == (before, held)
        assert add(store, passage("large", length=200_000)) == range(2, 200_002)
        contents(store)


def test_what_could_not_be_cut_off_is_cut_off_later(tmp_path: Path) -> None:
    with MemoryStore.create(tmp_path / "store", KIND) as store:
        held = contents(store)
        with pytest.MonkeyPatch.context() as patch:

            def fail(*args: Any) -> Any:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

            patch.setattr(os, "ftruncate", fail)
            full_after(patch, 100)
            with pytest.raises(MemoryUnavailable, match="See to the disk"):
                add(store, passage("lost", length=9))
        assert contents(store) == held
        add(store, passage("kept"))
        assert contents(store) == contents_at(store.folder)
        assert [one.name for one in store.passages] == ["kept"]
        assert (store.folder / "keys.0.f16").stat().st_size == store.keys.nbytes


# --- writers and readers ----------------------------------------------------------------------------


def test_one_writer(tmp_path: Path) -> None:
    with MemoryStore.create(tmp_path / "store", KIND) as store:
        with pytest.raises(MemoryUnavailable, match=f"writes to the memory in {tmp_path / 'store'}"):
            MemoryStore.open(tmp_path / "store", writable=True)
        with pytest.raises(MemoryUnavailable, match="Another process writes"):
            MemoryStore.create(tmp_path / "store", KIND)
        with MemoryStore.open(tmp_path / "store") as reader:
            add(store, passage("one"))
            assert len(reader) == 0
    MemoryStore.open(tmp_path / "store", writable=True).close()


def test_a_failed_opening_lets_others_write(written: Written) -> None:
    # The errors are kept: a lock that only their end lets go of would still be held.
    with pytest.raises(MemoryInputError) as _one:
        MemoryStore.open(written.folder, KIND, writable=True)
    with pytest.raises(MemoryInputError, match=r"There is a memory in .* already") as _two:
        MemoryStore.create(written.folder, TINY)
    MemoryStore.open(written.folder, TINY, writable=True).close()


def test_a_reader_cannot_write(written: Written) -> None:
    with MemoryStore.open(written.folder) as reader:
        for act in ACTS.values():
            with pytest.raises(MemoryInputError, match="open it as writable"):
                act(reader)
    assert tree(written.folder) == written.files[-1]


def test_a_closed_store(written: Written) -> None:
    with MemoryStore.open(written.folder, writable=True) as store:
        keys = store.keys
    expected = np.frombuffer(written.files[-1]["keys.0.f16"], np.float16)
    np.testing.assert_array_equal(keys.reshape(-1), expected)
    for act in (*ACTS.values(), MemoryStore.refresh, MemoryStore.verify, MemoryStore.info):
        with pytest.raises(MemoryInputError, match="was closed: open it again"):
            act(store)
    store.close()


def test_arrays_and_passages_that_were_handed_out_stay(tmp_path: Path) -> None:
    with MemoryStore.create(tmp_path / "store", KIND) as store:
        add(store, passage("one"), passage("two", "B"))
        with MemoryStore.open(tmp_path / "store") as reader:
            keys, passages, copy = reader.keys, reader.passages, np.array(reader.keys)
            add(store, passage("three"))
            reader.refresh()
            assert len(reader) == 6 and len(passages) == 2 and len(keys) == 4
            store.drop_oldest(3)
            reader.refresh()
            assert [one.name for one in reader.passages] == ["three"]
            assert [one.name for one in passages] == ["one", "two"]
            np.testing.assert_array_equal(keys, copy)
            with pytest.raises(ValueError, match="read-only"):
                keys[0] = 0


def test_a_reader_that_opens_while_entries_are_dropped(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = volume_module._head, []
    with MemoryStore.open(written.folder, writable=True) as writer:

        def head(*args: Any) -> Any:
            found = plain(*args)
            calls.append(found)
            if len(calls) <= 2:
                writer.drop_oldest(1) if len(calls) == 1 else writer.drop_modules(["A"])
            return found

        monkeypatch.setattr(volume_module, "_head", head)
        with MemoryStore.open(written.folder) as reader:
            assert len(reader) == 0
    assert [number for _, number, _ in calls] == [0, 1, 2]


def test_a_reader_does_not_see_what_is_not_committed(written: Written) -> None:
    whole = written.files[-1]["journal"]
    end = len(written.files[1]["journal"])
    written.restore(journal=whole[:end])
    with MemoryStore.open(written.folder) as reader:
        for length in range(end, len(whole)):
            (written.folder / "journal").write_bytes(whole[:length])
            reader.refresh()
            assert len(reader) == 2
        (written.folder / "journal").write_bytes(whole)
        reader.refresh()
        assert contents(reader) == written.held[-1]


def test_a_store_that_is_gone(written: Written) -> None:
    with MemoryStore.open(written.folder) as reader:
        shutil.rmtree(written.folder)
        with pytest.raises(MemoryInputError, match="There is no memory"):
            reader.refresh()
        assert len(reader) == 5


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("field_name", ["model", "layer", "heads", "width"])
def test_another_kind(written: Written, field_name: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"model": "77", "layer": 7, "heads": 7, "width": 7}
    facts: dict[str, Any] = {"model": "3f0a", "layer": 0, "heads": 1, "width": 1}
    other = MemoryKind(**facts | {field_name: changes[field_name]})
    with pytest.raises(MemoryInputError) as raised:
        MemoryStore.open(written.folder, other)
    assert str(TINY) in str(raised.value) and str(other) in str(raised.value)
    with MemoryStore.create(tmp_path / "other", other) as store, MemoryStore.open(written.folder) as there:
        with pytest.raises(MemoryInputError) as raised:
            store.merge(there)
        assert str(TINY) in str(raised.value) and str(other) in str(raised.value)
        assert len(store) == 0


def test_no_such_layer() -> None:
    with pytest.raises(MemoryInputError, match="0 heads of 3"):
        MemoryKind("3f0a", 4, 0, 3)


@pytest.mark.parametrize(
    ("keys", "values", "match"),
    [
        (np.zeros((3, 2, 3)), np.zeros((2, 2, 3)), r"keys \(3, 2, 3\), values \(2, 2, 3\); .* \(2, 2, 3\)"),
        (np.zeros((2, 2, 3)), np.zeros((2, 3, 2)), r"values \(2, 3, 2\)"),
        (np.zeros((2, 6)), np.zeros((2, 6)), r"keys \(2, 6\)"),
        (np.zeros((2, 2, 3), int), np.zeros((2, 2, 3)), "keys are of type int64"),
        (np.zeros((2, 2, 3)), np.full((2, 2, 3), 1e5), "values are not finite in float16"),
        (np.full((2, 2, 3), np.nan), np.zeros((2, 2, 3)), "keys are not finite"),
    ],
)
def test_pairs_that_do_not_fit(tmp_path: Path, keys: Any, values: Any, match: str) -> None:
    with MemoryStore.create(tmp_path / "store", KIND) as store:
        held = contents(store)
        with pytest.raises(MemoryInputError, match=match):
            store.append([passage("one")], keys, values)
        assert contents(store) == held


@pytest.mark.parametrize(
    ("tokens", "match"), [((), "The passage one has no tokens"), ((2**31,), "31 bits"), ((-1,), "31 bits")]
)
def test_tokens_that_do_not_fit(tmp_path: Path, tokens: tuple[int, ...], match: str) -> None:
    with MemoryStore.create(tmp_path / "store", KIND) as store:
        with pytest.raises(MemoryInputError, match=match):
            add(store, passage("zero"), Passage("one", "A", "lemma", tokens))
        assert len(store) == 0


def test_no_such_entry_or_passage(written: Written) -> None:
    with MemoryStore.open(written.folder) as store:
        for entry in (-1, 5):
            with pytest.raises(IndexError):
                store.passage_at(entry)
        with pytest.raises(IndexError):
            store.entries_of(2)
        assert [store.entries_of(number) for number in (0, 1, -1)] == [range(2), range(2, 5), range(2, 5)]


# --- what it says of itself -------------------------------------------------------------------------


def test_marks_go_with_the_passages(tmp_path: Path) -> None:
    with MemoryStore.create(tmp_path / "store", KIND) as store:
        add(store, passage("a", "A"), passage("b", "B"), passage("c", "A"), passage("d", "C"))
        for module in ("A", "B", "C", "empty"):
            store.mark_done(module, module.lower())
        store.mark_done("C", "new")
        assert store.drop_oldest(1) == 2
        assert store.done == {"B": "b", "C": "new", "empty": "empty"}
        assert store.drop_modules(["B", "empty"]) == 2
        assert store.done == {"C": "new"}
        assert [one.name for one in store.passages] == ["c", "d"]
        assert store.drop_oldest(0) == store.drop_modules(["B"]) == 0
        assert store.drop_oldest(100) == 4
        assert contents(store) == contents_at(store.folder) == (0, [], {}, (b"", b"", b""))


def test_info(tmp_path: Path) -> None:
    with MemoryStore.create(tmp_path / "store", KIND) as store:
        add(store, passage("a", "A", 3), passage("b", "B", 1, "step"), passage("c", "A", 1, "step"))
        info = store.info()
        assert (info.memory, info.entries, info.passages, info.modules) == (KIND, 5, 3, 2)
        assert info.kinds == {"step": 2, "lemma": 1}
        assert info.bytes == sum(map(len, tree(store.folder).values()))


def test_numbers_of_other_types_are_kept_in_float16(tmp_path: Path) -> None:
    keys = np.random.default_rng(0).standard_normal((2, 3, 2)).transpose(0, 2, 1)
    with MemoryStore.create(tmp_path / "store", KIND) as store:
        store.append([passage("one")], keys, keys.astype(np.float32))
        np.testing.assert_array_equal(store.keys, keys.astype(np.float16))
        np.testing.assert_array_equal(store.values, keys.astype(np.float32).astype(np.float16))


def test_errors_are_of_one_family() -> None:
    assert issubclass(MemoryInputError, ExternalMemoryError)
    assert issubclass(MemoryUnavailable, ExternalMemoryError)


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, memory.store; sys.exit(bool({'torch', 'faiss', 'filelock'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
