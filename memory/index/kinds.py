"""The kinds of index: exact ones in FAISS and in torch, and FAISS's approximate ones.

HNSW: Malkov, Yashunin 2018, "Efficient and robust approximate nearest neighbor search using Hierarchical
Navigable Small World graphs". IVF (an inverted file) and PQ: Jegou, Douze, Schmid 2011, "Product quantization
for nearest neighbor search".
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import faiss as _faiss
import numpy as np
import torch
from torch import Tensor

from memory.errors import MemoryInputError, MemoryUnavailable
from memory.index.base import KeyIndex, checked_length
from memory.index.ranking import EntryMask, Found
from memory.index.rows import DeviceRows, Floats, HostRows, check_block

#: Its type stubs lack some of what it has.
faiss: Any = _faiss

#: Keys that are given to FAISS at once.
_CHUNK = 1 << 16


class TorchIndex(KeyIndex):
    """Exact, on any device: all products, chunk by chunk.

    The keys lie on the device as they were given; the products are of float32, whatever the model's type:
    bfloat16 has 8 bits, in which half of the nearest would be ties.
    """

    name = "torch"

    rows: DeviceRows

    def __init__(self, heads: int, width: int, device: torch.device | str = "cpu") -> None:
        super().__init__(heads, width, DeviceRows(heads, width, torch.device(device)))

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes

    def empty_rows(self) -> DeviceRows:
        return DeviceRows(self.heads, self.width, self.device)

    def add_tensor(self, keys: Tensor) -> None:
        """Add keys (H, n, D) of any float type from any device, as :meth:`add` does."""
        check_block(keys, self.heads, self.width)
        if keys.shape[1] == 0:
            return
        square = keys.detach().float().square().sum(dim=-1).max()
        with self.lock:
            self._longest = max(self._longest, checked_length(float(square)))
            self.rows.append(keys)

    def drop(self, count: int) -> None:
        """Drop the first so many entries; the others' numbers fall by so much."""
        with self.lock:
            self.rows.drop(min(count, len(self)))

    def _added(self, before: int) -> None:
        pass

    def _nearest(self, heads: Sequence[int], queries: Tensor, n: int, allowed: EntryMask | None) -> Found:
        return self._scan(heads, queries, n, allowed)


class FaissIndex(KeyIndex):
    """One of FAISS's for each head. Where few entries are allowed, an exact index of these is searched.

    FAISS runs on as many threads as torch does in the thread that asks.
    """

    rows: HostRows
    #: Entries allowed, up to which they are searched exactly.
    _few: ClassVar[int] = 1 << 14

    def __init__(self, heads: int, width: int) -> None:
        super().__init__(heads, width, HostRows(heads, width))
        self._parts: list[Any] = [self._empty() for _ in range(heads)]
        self._limited: WeakKeyDictionary[EntryMask, ExactIndex] = WeakKeyDictionary()
        # As FAISS comes, it uses BLAS only for more queries: 5 to 12 times slower at 256 of 64 numbers.
        faiss.cvar.distance_compute_blas_threshold = 20

    @property
    def nbytes(self) -> int:
        limited = sum(index.nbytes for index in self._limited.values())
        return self.rows.nbytes + limited + len(self) * self.heads * self._bytes_of_key

    @property
    def _bytes_of_key(self) -> int:
        return 4 * self.width

    def empty_rows(self) -> HostRows:
        return HostRows(self.heads, self.width)

    def check_invariants(self) -> None:
        super().check_invariants()
        assert all(part.ntotal == len(self) for part in self._parts)

    @abstractmethod
    def _empty(self) -> Any:
        """Make FAISS's index of a head."""

    def _added(self, before: int) -> None:
        faiss.omp_set_num_threads(torch.get_num_threads())
        for head, part in enumerate(self._parts):
            self._fill(part, head, before)

    def _fill(self, part: Any, head: int, start: int) -> None:
        for first in range(start, len(self), _CHUNK):
            part.add(self.rows.head(head, first, min(first + _CHUNK, len(self))))

    def _find(self, queries: Tensor, k: int, allowed: EntryMask | None) -> Found:
        faiss.omp_set_num_threads(torch.get_num_threads())
        if allowed is None or not 0 < allowed.count <= self._few:
            return super()._find(queries, k, allowed)
        scores, places = self._limit(allowed)._find(queries, k, None)
        entries = torch.from_numpy(allowed.entries)[places.clamp(min=0)]
        return scores, entries.masked_fill_(places < 0, -1)

    def _limit(self, allowed: EntryMask) -> ExactIndex:
        """An index of the allowed entries alone, kept as long as their mask is."""
        limited = self._limited.get(allowed)
        if limited is None:
            limited = self._limited[allowed] = self._exact()
            for entries in torch.split(torch.from_numpy(allowed.entries), _CHUNK):
                keys = self.rows.gather(range(self.heads), entries.expand(self.heads, -1)).numpy()
                keys.flags.writeable = False
                limited.add(keys)
        return limited

    def _exact(self) -> ExactIndex:
        return ExactIndex(self.heads, self.width)

    def _nearest(self, heads: Sequence[int], queries: Tensor, n: int, allowed: EntryMask | None) -> Found:
        selector = None if allowed is None else faiss.IDSelectorBitmap(allowed.bits)
        share = 1.0 if allowed is None else allowed.count / len(self)
        options = self._options(selector, share, n)
        pairs = [
            self._parts[head].search(np.ascontiguousarray(own), n, params=options)
            for head, own in zip(heads, queries.numpy(), strict=True)
        ]
        products, entries = (np.stack(it) for it in zip(*pairs, strict=True))
        return torch.from_numpy(products), torch.from_numpy(entries)

    @abstractmethod
    def _options(self, selector: Any, share: float, n: int) -> Any:
        """FAISS's options to search for n, where so large a share of the entries is allowed."""


class ExactIndex(FaissIndex):
    """Exact, by BLAS; half of torch's time. With a mask, an index of the allowed keys is made and kept.

    FAISS itself leaves BLAS where entries are selected.
    """

    name = "exact"
    _few = 1 << 62

    def _empty(self) -> Any:
        return faiss.IndexFlatIP(self.width)

    def _options(self, selector: Any, share: float, n: int) -> Any:
        return None


class GpuIndex(ExactIndex):
    """As ``exact``, with the keys on a GPU; the candidates are ranked on the CPU."""

    name = "faiss-gpu"
    #: What FAISS's selection on a GPU takes.
    _most = 2048

    def __init__(self, heads: int, width: int, device: torch.device | str = "cuda") -> None:
        if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0:
            raise MemoryUnavailable(
                "FAISS has no GPU here. Where there is one, install faiss-gpu in the place of faiss-cpu "
                "(pip uninstall faiss-cpu, then pip install faiss-gpu), or take the index torch instead."
            )
        self._gpu = torch.device(device)
        self._resources = faiss.StandardGpuResources()
        super().__init__(heads, width)

    def _empty(self) -> Any:
        return faiss.index_cpu_to_gpu(self._resources, self._gpu.index or 0, super()._empty())

    def _exact(self) -> ExactIndex:
        return GpuIndex(self.heads, self.width, self._gpu)

    def _nearest(self, heads: Sequence[int], queries: Tensor, n: int, allowed: EntryMask | None) -> Found:
        search = super()._nearest if n <= self._most else self._scan
        return search(heads, queries, n, allowed)


class HnswIndex(FaissIndex):
    """Approximate: a graph of neighbours. Fast to search, slow to build, twice the bytes of ``exact``.

    It is built on one thread: on more, the graph depends on which of them was first.
    """

    name = "hnsw"
    _links, _effort_to_build, _effort = 32, 64, 64

    @property
    def exact(self) -> bool:
        return False

    def _state(self) -> tuple[list[bytes], dict[str, Any]]:
        return [faiss.serialize_index(part).tobytes() for part in self._parts], {}

    def _restored(self, header: dict[str, Any], parts: Sequence[bytes]) -> None:
        self._parts = [faiss.deserialize_index(np.frombuffer(part, np.uint8)) for part in parts]

    @property
    def _bytes_of_key(self) -> int:
        return 4 * self.width + 8 * self._links

    def _empty(self) -> Any:
        index = faiss.IndexHNSWFlat(self.width, self._links, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self._effort_to_build
        return index

    def _added(self, before: int) -> None:
        faiss.omp_set_num_threads(1)
        for head, part in enumerate(self._parts):
            self._fill(part, head, before)

    def _options(self, selector: Any, share: float, n: int) -> Any:
        effort = int(max(self._effort, 2 * n) / max(share, 0.125))
        return faiss.SearchParametersHNSW(sel=selector, efSearch=effort)


class IvfIndex(FaissIndex):
    """Approximate: keys in lists around centroids, of which the nearest are searched.

    It is trained when it has 16,384 entries, and anew whenever it is four times as large as then: the add
    that does so takes as long as building. Up to the first time it multiplies with all keys, and is exact.
    """

    name = "ivf"
    _trained_from, _retrained, _probes = 1 << 14, 4, 32
    #: Keys for each centroid to train on.
    _samples = 64

    def __init__(self, heads: int, width: int) -> None:
        #: Entries when it was trained, 0 before.
        self._trained = 0
        super().__init__(heads, width)

    @property
    def exact(self) -> bool:
        return self._trained == 0

    @property
    def lists(self) -> int:
        """How many lists fit so many entries: about 4 sqrt(n)."""
        return 1 << max(1, round(math.log2(4.0 * math.sqrt(max(1, len(self))))))

    @property
    def nbytes(self) -> int:
        return super().nbytes if self._trained else self.rows.nbytes

    @property
    def _bytes_of_key(self) -> int:
        return 4 * self.width + 8

    def check_invariants(self) -> None:
        assert all(part.ntotal == (len(self) if self._trained else 0) for part in self._parts)
        assert self._trained or len(self) < self._trained_from

    def _state(self) -> tuple[list[bytes], dict[str, Any]]:
        parts = self._parts if self._trained else []
        return [faiss.serialize_index(part).tobytes() for part in parts], {"trained": self._trained}

    def _restored(self, header: dict[str, Any], parts: Sequence[bytes]) -> None:
        self._trained = header["trained"]
        if self._trained:
            self._parts = [faiss.deserialize_index(np.frombuffer(part, np.uint8)) for part in parts]

    def _empty(self) -> Any:
        quantizer = faiss.IndexFlatIP(self.width)
        return self._options_to_train(self._inverted(quantizer))

    def _inverted(self, quantizer: Any) -> Any:
        return faiss.IndexIVFFlat(quantizer, self.width, self.lists, faiss.METRIC_INNER_PRODUCT)

    def _options_to_train(self, part: Any) -> Any:
        # FAISS would warn of few points on standard error.
        part.cp.min_points_per_centroid, part.cp.max_points_per_centroid = 1, self._samples
        return part

    def _added(self, before: int) -> None:
        if len(self) >= max(self._trained_from, self._retrained * self._trained):
            self._build()
        elif self._trained:
            super()._added(before)

    def _build(self) -> None:
        faiss.omp_set_num_threads(torch.get_num_threads())
        size = min(len(self), max(self._trained_from, self._samples * self.lists))
        chosen = np.random.default_rng(0).choice(len(self), size, replace=False)
        sample = torch.from_numpy(np.sort(chosen))[None]
        for head in range(self.heads):
            part = self._empty()
            part.train(self.rows.gather([head], sample)[0].float().numpy())
            self._fill(part, head, 0)
            self._parts[head] = part
        self._trained = len(self)

    def _nearest(self, heads: Sequence[int], queries: Tensor, n: int, allowed: EntryMask | None) -> Found:
        search = super()._nearest if self._trained else self._scan
        return search(heads, queries, n, allowed)

    def _options(self, selector: Any, share: float, n: int) -> Any:
        # The nearest that are allowed lie in more lists.
        probes = min(self._parts[0].nlist, int(self._probes / max(share, 0.125)))
        return faiss.SearchParametersIVF(sel=selector, nprobe=probes)


class IvfPqIndex(IvfIndex):
    """As ``ivf``, with codes of about 16 bytes in the lists: many candidates, ranked by the keys themselves.

    For memories that do not fit in memory as float32: the keys may lie in a memory map.
    """

    name = "ivfpq"

    @property
    def _bytes_of_key(self) -> int:
        return self._codes + 8

    @property
    def _codes(self) -> int:
        return math.gcd(self.width, 16)

    def _inverted(self, quantizer: Any) -> Any:
        return faiss.IndexIVFPQ(quantizer, self.width, self.lists, self._codes, 8, faiss.METRIC_INNER_PRODUCT)

    def _fetched(self, k: int) -> int:
        return max(256, 8 * k)


_ON_CPU: dict[str, type[FaissIndex]] = {
    kind.name: kind for kind in (ExactIndex, HnswIndex, IvfIndex, IvfPqIndex)
}
_ON_DEVICE: dict[str, type[TorchIndex] | type[GpuIndex]] = {"torch": TorchIndex, "faiss-gpu": GpuIndex}
#: The names that :func:`make_index` takes.
KINDS = (*_ON_CPU, *_ON_DEVICE)


def make_index(kind: str, heads: int, width: int, device: torch.device | str | None = None) -> KeyIndex:
    """Make an empty index.

    Args:
        kind: one of ``KINDS``.
        device: for ``torch`` (default: the CPU) and ``faiss-gpu`` (default: the first GPU).

    Raises:
        MemoryInputError: there is no such kind, or it does not run on that device.
        MemoryUnavailable: the GPU, or FAISS for it, is missing.
    """
    if kind in _ON_CPU:
        if device is not None and torch.device(device).type != "cpu":
            raise MemoryInputError(f"The index {kind} runs on the CPU; take torch or faiss-gpu for {device}.")
        return _ON_CPU[kind](heads, width)
    if kind not in _ON_DEVICE:
        raise MemoryInputError(f"There is no index of the kind {kind}; there are {', '.join(KINDS)}.")
    made = _ON_DEVICE[kind]
    return made(heads, width) if device is None else made(heads, width, device)


def load_index(path: Path, kind: str, keys: Floats, device: torch.device | str | None = None) -> KeyIndex:
    """Make an index of keys (H, n, D) with what was saved of it; entries behind those saved are added.

    Raises:
        MemoryInputError: there is no whole file, or it is of other keys or of another kind: make one with
            :func:`make_index`, add the keys and save it.
        MemoryUnavailable: as :func:`make_index`.
    """
    if keys.ndim != 3:
        raise MemoryInputError(f"Keys of shape {keys.shape} were given, (H, n, D) is needed.")
    index = make_index(kind, keys.shape[0], keys.shape[2], device)
    index.restore(keys, path)
    return index


def choose_kind(entries: int, device: torch.device | str = "cpu") -> str:
    """Choose a kind of index by the number of entries and by the device of the queries.

    On a CPU, for one thread, 64 numbers a key and the 32 nearest (``benchmarks/memory_index.py``):

    - up to 50,000 ``exact``: a look-up of 256 queries costs about 30 ms a head at most, and nothing is built;
    - above, ``ivf``: at 65,536 entries 0.1 to 0.4 of exact's time, at a million 0.01 to 0.11, with a
      recall above 0.99 where keys lie in clusters (of independent ones 0.35). HNSW is as fast, but takes
      five times as long to build, twice the memory, and fails among many equal keys;
    - above four million, ``ivfpq``: a tenth of the memory, so that the keys can stay on disk, at one to
      1.6 times ivf's time at a million.

    On a GPU ``torch``, which keeps keys and values there; from a million on ``faiss-gpu`` where it is
    installed, which does not write down all products to select from. Neither was timed against the other.
    """
    if torch.device(device).type != "cpu":
        return "faiss-gpu" if entries >= 1_000_000 and hasattr(faiss, "StandardGpuResources") else "torch"
    if entries <= 50_000:
        return "exact"
    return "ivf" if entries <= 4_000_000 else "ivfpq"
