"""The indices: each kind against products in float64, with masks, while they grow, and from a file."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memory.errors import MemoryInputError, MemoryUnavailable
from memory.index import EntryMask, KeyIndex, choose_kind, load_index, make_index
from memory.index.kinds import ExactIndex, FaissIndex, IvfIndex, IvfPqIndex
from memory.index.ranking import scan
from memory.index.rows import HostRows

torch.set_num_threads(1)

EXACT = ("exact", "torch")
APPROXIMATE = ("hnsw", "ivf", "ivfpq")
ON_CPU = EXACT + APPROXIMATE
Floats = NDArray[Any]


def unit(rows: Floats) -> Floats:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def independent(seed: int, *shape: int) -> Floats:
    return unit(np.random.default_rng(seed).standard_normal(shape))


def clustered(seed: int, heads: int, count: int, width: int, centres: int = 40) -> Floats:
    """Rows around centres that are the same for all seeds."""
    rng = np.random.default_rng(seed)
    own = independent(0, centres, width)[rng.integers(centres, size=(heads, count))]
    return unit(own + 0.4 * rng.standard_normal((heads, count, width)) / width**0.5)


def reference(
    keys: Floats, queries: Floats, k: int, mask: NDArray[np.bool_] | None = None
) -> tuple[Floats, NDArray[np.int64]]:
    """Scores and entries (H, Q, k) by a stable sort of all products in float64."""
    scores = np.zeros((keys.shape[0], queries.shape[1], keys.shape[1]))
    # One number of the width at a time: equal keys have equal sums, as they would not by BLAS.
    for place in range(keys.shape[2]):
        own, asked = keys[:, None, :, place].astype(np.float64), queries[:, :, None, place]
        scores += own * asked.astype(np.float64)
    if mask is not None:
        scores[:, :, ~mask] = -np.inf
    scores = np.concatenate([scores, np.full((*scores.shape[:2], k), -np.inf)], axis=-1)
    entries = np.argsort(-scores, axis=-1, kind="stable")[..., :k]
    scores = np.take_along_axis(scores, entries, axis=-1)
    return scores, np.where(scores == -np.inf, -1, entries)


def filled(kind: str, *blocks: Floats) -> KeyIndex:
    index = make_index(kind, blocks[0].shape[0], blocks[0].shape[2])
    for block in blocks:
        index.add(block)
        index.check_invariants()
    return index


def recall(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    rows = zip(found.reshape(-1, found.shape[-1]), truth.reshape(-1, truth.shape[-1]), strict=True)
    return float(np.mean([len(np.intersect1d(own, true)) / len(true) for own, true in rows]))


def check_same(index: KeyIndex, keys: Floats, queries: Floats, k: int, mask: Floats | None = None) -> None:
    scores, entries = index.search(queries, k, mask)
    true_scores, true_entries = reference(keys, queries, k, mask)
    np.testing.assert_array_equal(entries, true_entries)
    np.testing.assert_allclose(scores, true_scores, atol=1e-6)


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indices with lists are trained from 500 entries on."""
    monkeypatch.setattr(IvfIndex, "_trained_from", 500)


@pytest.fixture
def no_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Approximate indices search with a selector, however few entries are allowed."""
    for kind in (FaissIndex, IvfIndex, IvfPqIndex):
        monkeypatch.setattr(kind, "_few", 0)
    monkeypatch.setattr(ExactIndex, "_few", 1 << 62)


# --- what is found --------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from([*EXACT, "ivf", "ivfpq"]),
    shape=st.tuples(st.integers(1, 3), st.integers(0, 60), st.sampled_from([1, 4, 16, 24])),
    asked=st.integers(0, 5),
    k=st.integers(1, 40),
    distinct=st.integers(1, 60),
    cut=st.integers(0, 60),
    half=st.booleans(),
    masked=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_exact_kinds_agree_with_float64(
    kind: str,
    shape: tuple[int, int, int],
    asked: int,
    k: int,
    distinct: int,
    cut: int,
    half: bool,
    masked: bool,
    seed: int,
) -> None:
    """With many equal keys among them; indices with lists are exact before they are trained."""
    heads, count, width = shape
    rng = np.random.default_rng(seed)
    keys = independent(seed, heads, distinct, width)[:, rng.integers(distinct, size=count)]
    keys = keys.astype(np.float16) if half else keys
    mask = rng.random(count) < 0.3 if masked else None
    index = filled(kind, keys[:, :cut], keys[:, cut:])
    assert (len(index), index.exact) == (count, True)
    check_same(index, keys, independent(seed + 1, heads, asked, width), k, mask)


@pytest.mark.parametrize("kind", EXACT)
def test_equal_keys_beyond_what_is_fetched_at_first(kind: str) -> None:
    keys = independent(0, 2, 3000, 16)
    keys[:, 500:2900] = keys[:, :1]
    queries = independent(1, 2, 40, 16)
    queries[:, 7] = keys[:, 0]
    queries[0, 9] = 0.0
    check_same(filled(kind, keys), keys, queries, 10)
    check_same(filled(kind, keys), keys, queries, 10, np.arange(3000) % 3 > 0)


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_recall_of_approximate_kinds(kind: str, early: None) -> None:
    keys, queries = clustered(1, 2, 3000, 32), clustered(2, 2, 50, 32)
    index = filled(kind, keys)
    assert not index.exact
    scores, entries = index.search(queries, 32)
    true_scores, true_entries = reference(keys, queries, 32)
    assert recall(entries, true_entries) >= 0.95
    own = np.take_along_axis((queries @ keys.transpose(0, 2, 1)), entries, axis=-1)
    np.testing.assert_allclose(scores, own, atol=1e-5)
    assert (scores <= true_scores + 1e-6).all()


@pytest.mark.parametrize("kind", APPROXIMATE)
@pytest.mark.parametrize("share", [0.5, 0.05, 0.005])
def test_recall_with_a_selector(kind: str, share: float, early: None, no_few: None) -> None:
    keys, queries = clustered(1, 2, 3000, 32), clustered(2, 2, 50, 32)
    mask = np.random.default_rng(3).random(3000) < share
    _, entries = filled(kind, keys).search(queries, 32, mask)
    _, true_entries = reference(keys, queries, 32, mask)
    assert mask[entries[entries >= 0]].all()
    assert ((entries >= 0) == (true_entries >= 0)).all()
    real = true_entries[0, 0] >= 0
    assert recall(entries[..., real], true_entries[..., real]) >= 0.95


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_few_allowed_entries_are_searched_exactly(kind: str, early: None) -> None:
    keys, queries = clustered(1, 2, 3000, 16), clustered(2, 2, 20, 16)
    check_same(filled(kind, keys), keys, queries, 20, np.random.default_rng(3).random(3000) < 0.1)


@pytest.mark.parametrize("kind", ON_CPU)
def test_a_mask_that_is_kept(kind: str, early: None) -> None:
    keys, queries = clustered(1, 1, 1200, 8), clustered(2, 1, 5, 8)
    index, allowed = filled(kind, keys[:, :1000]), np.arange(1000) % 7 == 0
    mask = EntryMask(allowed)
    first = index.search(queries, 5, mask)
    # Entries that are added later are not in it.
    index.add(keys[:, 1000:])
    np.testing.assert_array_equal(index.search(queries, 5, mask), first)
    np.testing.assert_array_equal(first[1], reference(keys[:, :1000], queries, 5, allowed)[1])
    with_mask = index.nbytes
    del mask
    assert index.nbytes < with_mask or kind == "torch"


@pytest.mark.parametrize("kind", ON_CPU)
def test_a_query_finds_the_same_alone_and_among_others(kind: str, early: None) -> None:
    keys, queries = clustered(1, 2, 2000, 24), clustered(2, 2, 37, 24)
    keys[:, 1500:1520] = keys[:, 3:4]
    index = filled(kind, keys)
    scores, entries = index.search(queries, 8)
    order = np.random.default_rng(0).permutation(37)
    for part in (order, order[:1], order[5:12]):
        own_scores, own_entries = index.search(queries[:, part], 8)
        np.testing.assert_array_equal(own_entries, entries[:, part])
        np.testing.assert_array_equal(own_scores, scores[:, part])


@pytest.mark.parametrize("kind", ON_CPU)
def test_fewer_than_k(kind: str) -> None:
    keys = independent(0, 2, 3, 8)
    queries = independent(1, 2, 4, 8)
    none = make_index(kind, 2, 8).search(queries, 5)
    assert (none[0] == -np.inf).all()
    assert (none[1] == -1).all()
    assert none[0].shape == none[1].shape == (2, 4, 5)
    index = filled(kind, keys)
    check_same(index, keys, queries, 5)
    check_same(index, keys, queries, 5, np.array([False, False, True]))
    check_same(index, keys, queries, 5, np.zeros(3, dtype=bool))
    assert index.search(queries[:, :0], 5)[1].shape == (2, 0, 5)


@pytest.mark.parametrize("kind", EXACT)
def test_an_order_that_float32_does_not_see(kind: str) -> None:
    keys, queries = independent(0, 2, 400, 64), independent(1, 2, 30, 64)
    # In the last bit of a number here and there.
    ups = np.random.default_rng(0).integers(64, size=300)
    keys[:, 100:] = keys[:, :1]
    keys[:, np.arange(100, 400), ups] = np.nextafter(keys[:, np.arange(100, 400), ups], np.float32(2.0))
    check_same(filled(kind, keys), keys, queries, 350)


def test_autocast_and_what_a_trainer_sets_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool, bool]] = []

    def watched(*given: Any) -> Any:
        how = torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()
        seen.append(how)
        return scan(*given)

    monkeypatch.setattr("memory.index.base.scan", watched)
    keys, queries = independent(0, 1, 300, 16), independent(1, 1, 9, 16)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            check_same(filled("torch", keys), keys, queries, 16)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert set(seen) == {("highest", False, False)}


# --- growing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ON_CPU)
def test_growing_in_small_steps(kind: str, early: None) -> None:
    """Through the first training and one again, for those that are trained."""
    keys, queries = clustered(1, 2, 2400, 16), clustered(2, 2, 10, 16)
    index = make_index(kind, 2, 16)
    cuts = [0, 1, 2, 40, 499, 501, 900, 1700, 2100, 2400]
    for start, stop in pairwise(cuts):
        index.add(keys[:, start:stop])
        index.check_invariants()
        _, entries = index.search(queries, 10)
        assert recall(entries, reference(keys[:, :stop], queries, 10)[1]) >= 0.95 or stop < 10
    if isinstance(index, IvfIndex):
        assert index._trained == 2100


@pytest.mark.parametrize("kind", ON_CPU)
def test_threads_add_and_search(kind: str, early: None) -> None:
    keys, queries = clustered(1, 2, 3000, 8), clustered(2, 2, 6, 8)
    index = filled(kind, keys[:, :100])
    wrong: list[str] = []

    def look() -> None:
        for _ in range(30):
            scores, entries = index.search(queries, 5)
            own = np.take_along_axis(queries @ keys.transpose(0, 2, 1), entries, axis=-1)
            if not np.allclose(own, scores, atol=1e-5):
                wrong.append(f"{entries}")

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for start in range(100, 3000, 100):
        index.add(keys[:, start : start + 100])
    for reader in readers:
        reader.join()
    assert not wrong
    index.check_invariants()
    assert recall(index.search(queries, 5)[1], reference(keys, queries, 5)[1]) >= 0.95


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.booleans()), max_size=12))
def test_rows_on_the_host(parts: list[tuple[int, bool, bool]]) -> None:
    rows, blocks = HostRows(2, 3), [np.zeros((2, 0, 3), np.float16)]
    for seed, (count, frozen, half) in enumerate(parts):
        block = independent(seed, 2, count, 3).astype(np.float16 if half else np.float32)
        blocks.append(block.copy())
        block.flags.writeable = not frozen
        rows.append(block)
        if not frozen:
            block[:] = 7.0
    every = np.concatenate(blocks, axis=1)
    assert len(rows) == every.shape[1]
    numbers = np.arange(-1, every.shape[1])
    expected = np.concatenate([np.zeros((2, 1, 3)), every], axis=1)
    found = rows.gather([1, 0], torch.from_numpy(np.stack([numbers, numbers])))
    np.testing.assert_array_equal(found.numpy(), expected[[1, 0]])
    for start, chunk in rows.chunks([0, 1], 4):
        np.testing.assert_array_equal(chunk.numpy(), every[:, start : start + 4].astype(np.float32))


def test_a_memory_map_is_not_copied(tmp_path: Path) -> None:
    independent(0, 50, 2, 4).astype(np.float16).tofile(tmp_path / "keys")
    keys = np.memmap(tmp_path / "keys", np.float16, "r", shape=(50, 2, 4))
    rows = HostRows(2, 4)
    rows.append(np.moveaxis(keys, 1, 0))
    assert rows.nbytes == 0
    assert np.shares_memory(rows._blocks[0], keys)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ON_CPU)
@pytest.mark.parametrize("saved", [0, 300, 900])
def test_an_index_from_a_file(kind: str, saved: int, tmp_path: Path, early: None) -> None:
    """It finds what the one that was saved would, and takes in the entries behind it."""
    keys, queries = clustered(1, 2, 1000, 16), clustered(2, 2, 10, 16)
    path = tmp_path / "keys.index"
    index = filled(kind, keys[:, :saved])
    index.save(path)
    index.add(keys[:, saved:])
    loaded = load_index(path, kind, keys)
    loaded.check_invariants()
    assert (len(loaded), loaded.exact) == (1000, index.exact)
    np.testing.assert_array_equal(loaded.search(queries, 8), index.search(queries, 8))
    assert [it.name for it in tmp_path.iterdir()] == ["keys.index"]


def test_loading_does_not_train(tmp_path: Path, early: None, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = clustered(1, 1, 1000, 8)
    filled("ivf", keys[:, :900]).save(tmp_path / "index")
    monkeypatch.setattr(IvfIndex, "_build", None)
    assert len(load_index(tmp_path / "index", "ivf", keys)) == 1000


def test_a_file_of_something_else_is_refused(tmp_path: Path, early: None) -> None:
    keys = clustered(1, 2, 600, 8)
    path = tmp_path / "index"
    with pytest.raises(MemoryInputError, match="cannot be read"):
        load_index(path, "ivf", keys)
    filled("ivf", keys).save(path)
    others = keys.copy()
    others[1, 599] = others[1, 0]
    for kind, own in (("ivfpq", keys), ("ivf", others), ("ivf", keys[:, :599]), ("ivf", keys[:1])):
        with pytest.raises(MemoryInputError, match="of other keys, or of another kind"):
            load_index(path, kind, own)


def test_a_torn_or_damaged_file_is_refused(tmp_path: Path, early: None) -> None:
    keys = clustered(1, 1, 520, 8)
    path = tmp_path / "index"
    filled("ivf", keys).save(path)
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    places = [*range(header + 20), *range(header + 20, len(whole), 997), len(whole) - 1]
    for place in places:
        for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            path.write_bytes(content)
            with pytest.raises(MemoryInputError, match="Build it anew"):
                load_index(path, "ivf", keys)


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(MemoryUnavailable, match="cannot be written"):
        filled("exact", independent(0, 1, 5, 4)).save(tmp_path / "missing" / "index")


# --- kinds ----------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused() -> None:
    index = filled("exact", independent(0, 2, 10, 4))
    asked = independent(1, 2, 3, 4)
    with pytest.raises(MemoryInputError, match=r"\(2, 3, 5\) was given, \(2, n, 4\) is needed"):
        index.add(independent(0, 2, 3, 5))
    with pytest.raises(MemoryInputError, match="float64 was given"):
        index.add(independent(0, 2, 3, 4).astype(np.float64))
    with pytest.raises(MemoryInputError, match=r"\(1, 3, 4\) were given, \(2, Q, 4\) is needed"):
        index.search(asked[:1], 5)
    with pytest.raises(MemoryInputError, match="0 neighbours"):
        index.search(asked, 0)
    with pytest.raises(MemoryInputError, match="mask over 11 entries was given; there are 10"):
        index.search(asked, 5, np.ones(11, dtype=bool))
    with pytest.raises(MemoryInputError, match="of int64 was given"):
        index.search(asked, 5, np.arange(10))
    broken = independent(0, 2, 3, 4)
    broken[1, 2, 3] = np.nan
    with pytest.raises(MemoryInputError, match="not finite"):
        index.add(broken)
    assert len(index) == 10
    index.check_invariants()


def test_kinds_that_are_not_there() -> None:
    with pytest.raises(MemoryInputError, match="no index of the kind lsh"):
        make_index("lsh", 1, 4)
    with pytest.raises(MemoryInputError, match="runs on the CPU"):
        make_index("ivf", 1, 4, "cuda")


@pytest.mark.skipif(hasattr(faiss, "StandardGpuResources"), reason="FAISS has GPU support here")
def test_without_faiss_for_gpus() -> None:
    with pytest.raises(MemoryUnavailable, match="install faiss-gpu"):
        make_index("faiss-gpu", 1, 4)


def test_faiss_on_a_gpu_with_a_pretended_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code around FAISS's own: a GPU that selects few at once, and takes no selector."""

    class Pretended(faiss.IndexFlatIP):  # type: ignore[misc]
        def search(self, queries: Floats, n: int, *, params: object) -> Any:
            assert n <= 64 and params is None
            return super().search(queries, n)

    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(
        faiss, "index_cpu_to_gpu", lambda resources, gpu, index: Pretended(index.d), raising=False
    )
    monkeypatch.setattr("memory.index.kinds.GpuIndex._most", 64)
    keys, queries = independent(0, 2, 400, 8), independent(1, 2, 6, 8)
    keys[:, 100:300] = keys[:, :1]
    queries[:, 2] = keys[:, 0]
    index = filled("faiss-gpu", keys)
    check_same(index, keys, queries, 10)
    check_same(index, keys, queries, 10, np.arange(400) % 3 > 0)


def test_the_kind_for_a_size_and_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (0, 50_000, 50_001, 4_000_000, 5_000_000)
    assert [choose_kind(size) for size in sizes] == ["exact", "exact", "ivf", "ivf", "ivfpq"]
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    assert [choose_kind(size, "cuda") for size in sizes] == ["torch"] * 5
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    assert [choose_kind(size, "cuda:1") for size in sizes] == ["torch"] * 3 + ["faiss-gpu"] * 2
