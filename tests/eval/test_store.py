"""The folder of a run, whatever happens to its files."""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import store as stores
from eval.records import Record, Status
from eval.store import RunStore, read_plan, read_records, read_trees
from prover.errors import InputError
from tests.eval.scripted import PLAN, record

RECORDS = [record(number, seed) for number in range(3) for seed in (0, 1)]


def tree_of(one: Record) -> dict[str, object]:
    return {"nodes": [one.problem, one.seed], "text": '"tree": ∀ x\n'}


def write_all(folder: Path, records: Sequence[Record]) -> None:
    """Write what is not there yet."""
    with RunStore(folder, PLAN) as store:
        for one in records:
            if one.key not in store.records:
                store.write(one, tree_of(one))


def check_whole(folder: Path, records: Sequence[Record]) -> None:
    """Each record is there once, and each tree with it."""
    assert sorted(read_records(folder), key=lambda one: one.key) == sorted(records, key=lambda one: one.key)
    assert dict(read_trees(folder)) == {one.key: tree_of(one) for one in records}
    assert (folder / "trees.jsonl").read_bytes().count(b"\n") == len(records)


# --- what goes in comes out -------------------------------------------------------------------------


@given(
    st.lists(
        st.builds(
            replace,
            st.just(RECORDS[0]),
            problem=st.text(),
            seed=st.integers(-2, 9),
            status=st.sampled_from(Status),
            proof=st.none() | st.lists(st.text()).map(tuple),
            message=st.text(st.characters()),
        ),
        unique_by=lambda one: one.key,
    )
)
def test_what_is_written_is_read(records: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_all(Path(folder), records)
        check_whole(Path(folder), records)


def test_a_lone_surrogate_is_kept(tmp_path: Path) -> None:
    odd = replace(RECORDS[0], message="\ud800")
    write_all(tmp_path, [odd])
    assert read_records(tmp_path) == [odd]


def test_an_attempt_without_a_search_has_no_tree(tmp_path: Path) -> None:
    with RunStore(tmp_path, PLAN) as store:
        store.write(RECORDS[0], None)
    assert read_records(tmp_path) == RECORDS[:1] and dict(read_trees(tmp_path)) == {}


def test_nothing_is_written_twice(tmp_path: Path) -> None:
    with RunStore(tmp_path, PLAN) as store:
        store.write(RECORDS[0], None)
        with pytest.raises(ValueError, match="already"):
            store.write(RECORDS[0], None)
    assert read_records(tmp_path) == RECORDS[:1]


def test_a_run_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    with RunStore(tmp_path, PLAN) as store:
        store.write(RECORDS[0], tree_of(RECORDS[0]))
        with (tmp_path / "records.jsonl").open("a") as file:
            file.write('{"problem": "t')
        check_whole(tmp_path, RECORDS[:1])


# --- what breaks off --------------------------------------------------------------------------------


@given(st.data())
def test_cutting_the_records_anywhere_loses_the_last_one_at_most(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "records.jsonl"
        write_all(folder, RECORDS)
        whole = path.read_bytes()
        size = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:size])

        survivors = RECORDS[: whole[:size].count(b"\n")]
        assert read_records(folder) == survivors
        with RunStore(folder, PLAN) as store:
            assert list(store.records.values()) == survivors
        check_whole(folder, survivors)
        write_all(folder, RECORDS)
        check_whole(folder, RECORDS)


@given(st.data())
def test_cutting_the_trees_in_the_last_attempt_costs_that_attempt(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_all(folder, RECORDS[:-1])
        path = folder / "trees.jsonl"
        before, records = path.stat().st_size, (folder / "records.jsonl").read_bytes()
        write_all(folder, RECORDS)
        # As if it had been killed while it wrote the last tree.
        path.write_bytes(path.read_bytes()[: data.draw(st.integers(before, path.stat().st_size))])
        (folder / "records.jsonl").write_bytes(records)

        assert set(read_trees(folder)) >= {one.key for one in RECORDS[:-1]}
        write_all(folder, RECORDS)
        check_whole(folder, RECORDS)


def test_of_two_trees_the_last_one_counts(tmp_path: Path) -> None:
    write_all(tmp_path, RECORDS[:1])
    with (tmp_path / "trees.jsonl").open("a") as file:
        file.write(json.dumps({"problem": "t0", "seed": 0, "tree": {"nodes": []}}) + "\n")
    assert dict(read_trees(tmp_path)) == {("t0", 0): {"nodes": []}}


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"{", b"", b"[]", b"null", b"\xff", b'{"version": 1}', b'{"version": 0}'])
def test_a_damaged_line_is_told_with_its_number(tmp_path: Path, damage: bytes) -> None:
    write_all(tmp_path, RECORDS[:3])
    path = tmp_path / "records.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], damage, lines[2], b""]))
    for read in (read_records, lambda folder: RunStore(folder, PLAN).__enter__()):
        with pytest.raises(InputError, match=r"records\.jsonl, line 2 is damaged"):
            read(tmp_path)
    assert len(path.read_bytes().splitlines()) == 3
    path.write_bytes(b"\n".join([lines[0], lines[2], b""]))
    write_all(tmp_path, RECORDS)  # the lock was given back


def test_a_record_that_stands_there_twice_is_damage(tmp_path: Path) -> None:
    write_all(tmp_path, RECORDS[:2])
    path = tmp_path / "records.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(InputError, match=r"line 3 is damaged \(t0, seed 0 stands there twice\)"):
        read_records(tmp_path)


def test_a_damaged_tree_is_told_with_its_number(tmp_path: Path) -> None:
    write_all(tmp_path, RECORDS[:2])
    path = tmp_path / "trees.jsonl"
    first, _ = path.read_text().splitlines()
    path.write_text(f"{first}\n?\n")
    with pytest.raises(InputError, match=r"trees\.jsonl, line 2 is damaged"):
        read_trees(tmp_path)
    path.write_text(f"{first[:-4]}\n")
    with pytest.raises(InputError, match="the tree of t0, seed 0"):
        read_trees(tmp_path)["t0", 0]


def test_another_plan_is_another_run(tmp_path: Path) -> None:
    write_all(tmp_path, RECORDS[:1])
    other = replace(PLAN, seeds=(0,), generator="knn")
    with pytest.raises(InputError) as refused, RunStore(tmp_path, other):
        pass
    assert "generator was 'scripted' and is 'knn'; seeds was (0, 1) and is (0,)" in str(refused.value)
    assert "another --out" in str(refused.value) and "benchmark" not in str(refused.value)
    assert read_plan(tmp_path) == PLAN


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    with RunStore(tmp_path, PLAN) as store:
        with pytest.raises(InputError, match="another process"), RunStore(tmp_path, PLAN):
            pass
        store.write(RECORDS[0], None)
    write_all(tmp_path, RECORDS)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 7}'])
def test_a_plan_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    for read in (read_plan, read_records):
        with pytest.raises(InputError, match=r"plan\.json"):
            read(tmp_path)


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the folder of a run"):
        read_records(tmp_path)


def test_records_without_a_plan_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text("precious\n")
    with pytest.raises(InputError, match=r"no plan\.json"), RunStore(tmp_path, PLAN):
        pass
    assert (tmp_path / "records.jsonl").read_text() == "precious\n"


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="cannot be made"), RunStore(tmp_path / "run", PLAN):
        pass


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_all(tmp_path, RECORDS[:1])
    with RunStore(tmp_path, PLAN) as store:
        monkeypatch.setattr(stores.os, "fsync", full)
        with pytest.raises(InputError, match="No space left"):
            store.write(RECORDS[1], tree_of(RECORDS[1]))
        monkeypatch.undo()
    write_all(tmp_path, RECORDS)
    check_whole(tmp_path, RECORDS)
