"""Memories over an index: one, some of its entries, several as one, and the newest alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from memory.errors import MemoryInputError
from memory.external import DocumentMemory, ExternalMemory, RecentMemory, UnionMemory
from memory.index import EntryMask, load_index, make_index
from memory.lookup import Memory, Retrieved

torch.set_num_threads(1)

H, D = 2, 8
Halves = NDArray[Any]


def pairs(seed: int, count: int, heads: int = H) -> tuple[Halves, Halves]:
    """Keys and values (N, H, D), float16."""
    rng = np.random.default_rng(seed)
    keys = rng.standard_normal((count, heads, D))
    keys /= np.linalg.norm(keys, axis=-1, keepdims=True)
    return keys.astype(np.float16), rng.standard_normal((count, heads, D)).astype(np.float16)


def queries(seed: int, count: int, heads: int = H) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(heads, count, D, generator=rng), dim=-1)


def nearest(keys: Halves, asked: Tensor, k: int, allowed: Halves | None = None) -> list[list[list[int]]]:
    """Entries (H, Q, k) by sorting pairs of (score, number) in float64; -1 where there are fewer."""
    found = []
    for head, own in enumerate(asked.double().numpy()):
        rows = []
        for query in own:
            scores = [
                (-float(np.sum(query * key.astype(np.float64))), n) for n, key in enumerate(keys[:, head])
            ]
            kept = [(score, n) for score, n in scores if allowed is None or allowed[n]]
            rows.append(([n for _, n in sorted(kept)] + [-1] * k)[:k])
        found.append(rows)
    return found


def check(found: Retrieved, keys: Halves, values: Halves, expected: list[list[list[int]]]) -> None:
    """Check entries, and the keys and values that come with them."""
    assert found.entries.tolist() == expected
    assert found.found.dtype == torch.bool
    assert torch.equal(found.found, found.entries >= 0)
    for got, rows in ((found.keys, keys), (found.values, values)):
        for head in range(got.shape[0]):
            own = torch.from_numpy(np.concatenate([rows[:, head], np.zeros((1, D), np.float16)]))
            # -1 is the row of zeros at the end.
            assert torch.equal(got[head], own[found.entries[head]].to(got.dtype))


@pytest.mark.parametrize("kind", ["exact", "torch", "ivf", "hnsw", None])
def test_keys_and_values_of_what_is_found(kind: str | None) -> None:
    keys, values = pairs(0, 200)
    memory: Memory = ExternalMemory(kind, keys, values)
    asked = queries(1, 5)
    assert len(memory) == 200
    check(memory.look_up(asked, 4), keys, values, nearest(keys, asked, 4))


@pytest.mark.parametrize("kind", ["exact", "torch"])
def test_growing_does_not_mix_entries(kind: str) -> None:
    keys, values = pairs(0, 100)
    memory = ExternalMemory(kind, keys[:0], values[:0])
    asked = queries(1, 3)
    check(memory.look_up(asked, 4), keys, values, [[[-1] * 4] * 3] * H)
    for start, stop in ((0, 1), (1, 3), (3, 60), (60, 60), (60, 100)):
        memory.extend(keys[start:stop], values[start:stop])
        check(memory.look_up(asked, 4), keys, values, nearest(keys[:stop], asked, 4))


def test_keys_that_are_refused_leave_the_memory_as_it_was() -> None:
    keys, values = pairs(0, 20)
    memory = ExternalMemory("exact", keys[:10], values[:10])
    broken = keys[10:15].copy()
    broken[2, 1, 3] = np.inf
    with pytest.raises(MemoryInputError, match="not finite"):
        memory.extend(broken, values[10:15])
    memory.extend(keys[10:], values[10:])
    asked = queries(1, 3)
    check(memory.look_up(asked, 4), keys, values, nearest(keys, asked, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_answers_are_of_the_queries_type_and_without_gradient(dtype: torch.dtype) -> None:
    keys, values = pairs(0, 30)
    asked = queries(1, 3).to(dtype).requires_grad_()
    recent = RecentMemory(H, D, 50)
    recent.add(torch.from_numpy(keys).transpose(0, 1), torch.from_numpy(values).transpose(0, 1))
    external = ExternalMemory("exact", keys, values)
    for memory in (external, external.view(np.ones(30, dtype=bool)), UnionMemory([external]), recent):
        found = memory.look_up(asked, 4)
        assert (found.keys.dtype, found.values.dtype, found.entries.dtype) == (dtype, dtype, torch.int64)
        assert not found.keys.requires_grad and not found.values.requires_grad
        check(found, keys, values, nearest(keys, asked.detach().float(), 4))


@pytest.mark.parametrize("kind", ["exact", "torch"])
def test_memory_maps_and_an_index_from_a_file(kind: str, tmp_path: Path) -> None:
    """As a store has them: an index on the CPU copies nothing of the arrays, and nothing is built anew."""
    keys, values = pairs(0, 60)
    for name, rows in (("keys", keys), ("values", values)):
        rows.tofile(tmp_path / name)
    maps = [np.memmap(tmp_path / name, np.float16, "r", shape=(60, H, D)) for name in ("keys", "values")]
    memory = ExternalMemory(kind, maps[0], maps[1])
    memory.index.save(tmp_path / "index")
    by_head = np.moveaxis(maps[0], 1, 0)
    loaded = ExternalMemory(load_index(tmp_path / "index", kind, by_head), maps[0], maps[1])
    asked = queries(1, 3)
    for it in (memory, loaded):
        check(it.look_up(asked, 5), keys, values, nearest(keys, asked, 5))
        assert kind == "torch" or it.index.rows.nbytes == 0


# --- views ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["exact", "torch", "ivf"])
def test_a_view_finds_what_is_allowed_under_the_same_numbers(kind: str) -> None:
    keys, values = pairs(0, 90)
    memory = ExternalMemory(kind, keys[:80], values[:80])
    allowed = np.arange(80) % 11 == 3
    view: Memory = memory.view(allowed)
    asked = queries(1, 4)
    expected = nearest(keys[:80], asked, 10, allowed)
    assert len(view) == 7
    check(view.look_up(asked, 10), keys, values, expected)
    memory.extend(keys[80:], values[80:])
    check(view.look_up(asked, 10), keys, values, expected)
    check(memory.view(EntryMask(allowed)).look_up(asked, 10), keys, values, expected)
    check(memory.look_up(asked, 10), keys, values, nearest(keys, asked, 10))


def test_a_view_of_nothing() -> None:
    keys, values = pairs(0, 9)
    view = ExternalMemory("exact", keys, values).view(np.zeros(9, dtype=bool))
    check(view.look_up(queries(1, 2), 3), keys, values, [[[-1] * 3] * 2] * H)
    assert len(view) == 0


# --- unions ---------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    k=st.integers(1, 15),
    distinct=st.integers(1, 30),
    seed=st.integers(0, 100),
)
def test_a_union_finds_the_nearest_of_all(sizes: list[int], k: int, distinct: int, seed: int) -> None:
    """As one memory of all entries would, equal keys of several memories in order."""
    rng = np.random.default_rng(seed)
    keys, values = pairs(seed, distinct)
    keys, values = (rows[rng.integers(distinct, size=sum(sizes))] for rows in (keys, values))
    starts = np.cumsum([0, *sizes])
    parts = [
        ExternalMemory("exact", keys[start : start + size], values[start : start + size])
        for start, size in zip(starts, sizes, strict=False)
    ]
    union, asked = UnionMemory(parts), queries(seed + 1, 3)
    found = union.look_up(asked, k)
    assert len(union) == sum(sizes)
    places = found.entries.clone()
    for place in (found.entries >= 0).nonzero().tolist():
        memory, entry = union.locate(int(found.entries[tuple(place)]))
        assert 0 <= entry < sizes[memory]
        places[tuple(place)] = int(starts[memory]) + entry
    mapped = Retrieved(found.keys, found.values, found.found, places, found.tokens)
    check(mapped, keys, values, nearest(keys, asked, k))


def test_a_union_tells_views_and_growing_memories_apart() -> None:
    keys, values = pairs(0, 40)
    first = ExternalMemory("exact", keys[:20], values[:20])
    recent = RecentMemory(H, D, 100)
    union = UnionMemory([first.view(np.arange(20) == 19), recent])
    recent.add(*(torch.from_numpy(rows[20:30]).transpose(0, 1) for rows in (keys, values)))
    asked = queries(1, 1)
    before = union.look_up(asked, 11).entries
    assert sorted(union.locate(entry) for entry in before[0, 0].tolist()) == [
        (0, 19),
        *((1, entry) for entry in range(10)),
    ]
    recent.add(*(torch.from_numpy(rows[30:]).transpose(0, 1) for rows in (keys, values)))
    after = union.look_up(asked, 21).entries
    assert set(before[0, 0].tolist()) < set(after[0, 0].tolist())


def test_a_union_orders_by_more_than_bfloat16() -> None:
    keys, values = pairs(0, 40)
    halves = [ExternalMemory("exact", keys[place::2], values[place::2]) for place in (0, 1)]
    asked = queries(1, 20).bfloat16()
    union = UnionMemory(halves)
    found = union.look_up(asked, 12).entries
    whole = [[[n % 2 * (1 << 40) + n // 2 for n in row] for row in head] for head in nearest(keys, asked, 12)]
    assert found.tolist() == whole


def test_tokens_come_with_their_entries() -> None:
    """Through views, unions, growing and dropping; -1 where nothing was said or found."""
    keys, values = pairs(0, 40)
    said = np.arange(100, 140, dtype=np.int32)
    told = ExternalMemory("exact", keys[:20], values[:20], tokens=said[:20])
    told.extend(keys[20:30], values[20:30], said[20:30])
    told.extend(keys[30:], values[30:])
    expected = np.where(np.arange(40) < 30, said, -1)
    found = told.look_up(queries(1, 3), 50)
    assert torch.equal(found.tokens >= 0, found.found & (found.entries < 30))
    view = told.view(np.arange(40) % 2 == 1).look_up(queries(1, 3), 5)
    assert view.tokens.tolist() == expected[view.entries.numpy()].tolist()
    recent = RecentMemory(H, D, 6)
    for start in range(0, 40, 4):
        rows = (torch.from_numpy(it[start : start + 4]).transpose(0, 1) for it in (keys, values))
        recent.add(*rows, torch.from_numpy(said[start : start + 4]))
        recent.check_invariants()
    newest = recent.look_up(queries(1, 3), 8)
    assert newest.tokens.tolist() == np.where(newest.found.numpy(), newest.entries + 100, -1).tolist()
    union = UnionMemory([told, recent])
    both = union.look_up(queries(1, 3), 46)
    for place in both.found.nonzero().tolist():
        memory, entry = union.locate(int(both.entries[tuple(place)]))
        assert int(both.tokens[tuple(place)]) == (entry + 100 if memory or entry < 30 else -1)
    with pytest.raises(MemoryInputError, match="one integer each"):
        ExternalMemory("exact", keys, values, tokens=said[:9])
    with pytest.raises(MemoryInputError, match="one integer each"):
        told.extend(keys[:3], values[:3], said[:4])
    assert len(told) == len(told.look_up(queries(1, 1), 40).tokens[0, 0]) == 40, "refused whole"


# --- the newest -----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    capacity=st.integers(1, 20),
    sizes=st.lists(st.one_of(st.integers(0, 30), st.none()), max_size=12),
    k=st.integers(1, 25),
)
def test_the_newest_entries_under_numbers_that_stay(capacity: int, sizes: list[int | None], k: int) -> None:
    """None is a new document."""
    total = sum(size or 0 for size in sizes)
    keys, values = pairs(0, total)
    memory, start, first = RecentMemory(H, D, capacity), 0, 0
    asked = queries(1, 2)
    for size in sizes:
        if size is None:
            memory.clear()
            first = start
        else:
            rows = (torch.from_numpy(it[start : start + size]).transpose(0, 1) for it in (keys, values))
            memory.add(*rows)
            start += size
        first = max(first, start - capacity)
        memory.check_invariants()
        assert len(memory) == start - first
        allowed = np.arange(total) >= first
        found = memory.look_up(asked, k)
        check(found, keys, values, nearest(keys[:start], asked, k, allowed))


def test_the_newest_are_copied_and_keep_their_precision() -> None:
    keys, values = queries(0, 5).requires_grad_(), torch.randn(H, 5, D)
    memory = RecentMemory(H, D, 10)
    memory.add(keys, values)
    before = values.clone()
    values.zero_()
    found = memory.look_up(keys.detach(), 1)
    assert found.entries[..., 0].tolist() == [[0, 1, 2, 3, 4]] * H
    assert torch.equal(found.keys[:, :, 0], keys.detach())
    assert torch.equal(found.values[:, :, 0], before)
    assert not found.keys.requires_grad


# --- what is refused ------------------------------------------------------------------------------


def test_shapes_that_do_not_fit() -> None:
    keys, values = pairs(0, 10)
    with pytest.raises(MemoryInputError, match=r"\(10, 2, 8\) and values of shape \(9, 2, 8\)"):
        ExternalMemory("exact", keys, values[:9])
    with pytest.raises(MemoryInputError, match="Values of float64"):
        ExternalMemory("exact", keys, values.astype(np.float64))
    with pytest.raises(MemoryInputError, match="index has 0 entries, 10 keys"):
        ExternalMemory(make_index("exact", H, D), keys, values)
    memory = ExternalMemory("exact", keys, values)
    with pytest.raises(MemoryInputError, match=r"\(3, 1, 8\) were given, the index needs \(N, 2, 8\)"):
        memory.extend(*pairs(0, 3, heads=1))
    with pytest.raises(MemoryInputError, match=r"\(1, 4, 8\) were given, \(2, Q, 8\) is needed"):
        memory.look_up(queries(1, 4, heads=1), 3)
    with pytest.raises(MemoryInputError, match="mask over 11 entries"):
        memory.view(np.ones(11, dtype=bool))
    with pytest.raises(MemoryInputError, match="needs a memory"):
        UnionMemory([])
    assert len(memory) == 10


def test_shapes_that_do_not_fit_the_newest() -> None:
    with pytest.raises(MemoryInputError, match="capacity of 0"):
        RecentMemory(H, D, 0)
    memory = RecentMemory(H, D, 5)
    with pytest.raises(MemoryInputError, match=r"\(3, 4, 8\) was given, \(2, n, 8\) is needed"):
        memory.add(torch.ones(3, 4, D), torch.ones(3, 4, D))
    with pytest.raises(MemoryInputError, match=r"\(2, 4, 8\) and values of shape \(2, 3, 8\)"):
        memory.add(torch.ones(H, 4, D), torch.ones(H, 3, D))
    with pytest.raises(MemoryInputError, match="not finite"):
        memory.add(torch.full((H, 4, D), torch.nan), torch.ones(H, 4, D))
    memory.check_invariants()
    assert len(memory) == 0


# --- a document's memory, in training -------------------------------------------------------------


def _pairs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    keys = torch.nn.functional.normalize(torch.randn(2, count, 4), dim=-1)
    return keys.requires_grad_(), torch.randn(2, count, 4, requires_grad=True)


def test_a_documents_memory_finds_what_the_exact_one_finds() -> None:
    document, recent = DocumentMemory(2, 4, 100), RecentMemory(2, 4, 100)
    for seed in range(3):
        keys, values = _pairs(7, seed)
        document.add(keys, values)
        recent.add(keys.detach(), values.detach())
    queries = torch.nn.functional.normalize(torch.randn(2, 5, 4), dim=-1)
    found, expected = document.look_up(queries, 6), recent.look_up(queries, 6)
    assert torch.equal(found.entries, expected.entries)
    assert torch.equal(found.keys, expected.keys) and torch.equal(found.values, expected.values)
    few = document.look_up(queries, 50)
    assert few.found.all() and few.entries.shape == (2, 5, 21)


def test_gradients_go_into_what_is_not_settled_alone() -> None:
    memory = DocumentMemory(2, 4, 5)
    old, new = _pairs(8, 0), _pairs(3, 1)
    memory.add(*old)
    memory.settle()
    assert len(memory) == 5
    assert torch.equal(memory.keys, old[0][:, -5:].detach())
    memory.add(*new)
    found = memory.look_up(memory.keys.detach(), 8)
    (found.keys.sum() + found.values.sum()).backward()
    assert old[0].grad is None and new[0].grad is not None
    assert bool((new[0].grad != 0).all())
    memory.clear()
    assert len(memory) == 0


def test_a_documents_memory_refuses_other_shapes() -> None:
    memory = DocumentMemory(2, 4, 5)
    with pytest.raises(MemoryInputError):
        memory.add(torch.zeros(2, 3, 5), torch.zeros(2, 3, 5))
    with pytest.raises(MemoryInputError):
        memory.add(torch.zeros(2, 3, 4), torch.zeros(2, 2, 4))
