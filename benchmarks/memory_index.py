"""What a look-up in a memory costs: ``python benchmarks/memory_index.py [--entries N ...] [--threads 1]``.

Prints a table for each number of entries and each way the keys lie: milliseconds of a look-up of 1, 16 and
256 queries of one head and of five, as they are and as ratios to ``exact``; seconds to build for one head,
and its bytes; and the recall of the 32 nearest. Times are of processors, which a busy machine changes less,
and the least of several.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from numpy.typing import NDArray

from memory.index import KeyIndex, make_index
from memory.index.rows import Floats

WIDTH, HEADS, NEIGHBOURS = 64, 5, 32
BATCHES = (1, 16, 256)
KINDS_ON_CPU = ("exact", "torch", "hnsw", "ivf", "ivfpq")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one kind of index."""

    #: Milliseconds of each batch of one head, and then of five heads.
    times: tuple[float, ...]
    seconds_to_build: float
    megabytes: float
    recall: float


def clustered(rng: np.random.Generator, heads: int, entries: int, queries: int) -> tuple[Floats, Floats]:
    """Keys around as many centres as a 64th of the entries, and queries around the same centres.

    A centre is uniform on the sphere, a key or query is it plus a normal vector of length 0.5, normalised.
    """
    centres = unit(rng.standard_normal((max(1, entries // 64), WIDTH), dtype=np.float32))

    def around(count: int) -> Floats:
        noise = rng.standard_normal((heads, count, WIDTH), dtype=np.float32) * (0.5 / WIDTH**0.5)
        return unit(centres[rng.integers(len(centres), size=(heads, count))] + noise)

    return around(entries).astype(np.float16), around(queries)


def independent(rng: np.random.Generator, heads: int, entries: int, queries: int) -> tuple[Floats, Floats]:
    """Keys and queries uniform on the sphere: no index can do well."""
    keys = unit(rng.standard_normal((heads, entries, WIDTH), dtype=np.float32))
    return keys.astype(np.float16), unit(rng.standard_normal((heads, queries, WIDTH), dtype=np.float32))


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / lengths


def measure(kind: str, heads: int, keys: Floats, queries: Floats, truth: NDArray[np.int64]) -> Cost:
    """Build an index of one head and one of all heads, and look up."""
    index = make_index(kind, 1, WIDTH)
    began = time.process_time()
    index.add(keys[:1])
    built = time.process_time() - began
    times = [least(index, queries[:1, :size]) for size in BATCHES]
    found = index.search(queries[:1], NEIGHBOURS)[1]
    recall = overlap(found, truth)
    megabytes = index.nbytes / 1e6
    if heads > 1:
        index = make_index(kind, heads, WIDTH)
        index.add(keys)
        times += [least(index, queries[:, :size]) for size in BATCHES]
    return Cost(tuple(times), built, megabytes, recall)


def least(index: KeyIndex, queries: Floats, seconds: float = 0.5) -> float:
    """Milliseconds of a look-up, the least of at least three."""
    taken: list[float] = []
    while len(taken) < 3 or (sum(taken) < 1000 * seconds and len(taken) < 50):
        began = time.process_time()
        index.search(queries, NEIGHBOURS)
        taken.append(1000 * (time.process_time() - began))
    return min(taken)


def overlap(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """The share of the true entries that are found, over all queries."""
    pairs = zip(found.reshape(-1, NEIGHBOURS), truth.reshape(-1, NEIGHBOURS), strict=True)
    return float(np.mean([len(np.intersect1d(own, true)) / NEIGHBOURS for own, true in pairs]))


def table(entries: int, make: Callable[..., tuple[Floats, Floats]], kinds: Sequence[str], heads: int) -> None:
    """Print one table."""
    keys, queries = make(np.random.default_rng(0), heads, entries, BATCHES[-1])
    keys.flags.writeable = False
    counts = (1, heads) if heads > 1 else (1,)
    columns = "".join(f"{f'{count} x {size}':>18}" for count in counts for size in BATCHES)
    print(f"{entries} entries, {make.__name__}; heads x queries: ms (ratio to exact)")
    print(f"  {'':8}{columns}{'build s':>10}{'MB':>8}{'recall':>8}", flush=True)
    exact = make_index("exact", 1, WIDTH)
    exact.add(keys[:1])
    truth, base = exact.search(queries[:1], NEIGHBOURS)[1], None
    for kind in kinds:
        cost = measure(kind, heads, keys, queries, truth)
        base = base or cost
        times = "".join(
            f"{f'{own:.2f} ({own / first:.2f})':>18}"
            for own, first in zip(cost.times, base.times, strict=True)
        )
        row = f"{times}{cost.seconds_to_build:10.1f}{cost.megabytes:8.0f}{cost.recall:8.3f}"
        print(f"  {kind:8}{row}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--entries", type=int, nargs="+", default=[1 << 16, 1 << 20])
    parser.add_argument("--threads", type=int, default=None, help="(default: as torch chooses)")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS_ON_CPU[1:], default=KINDS_ON_CPU[1:], help="but exact"
    )
    parser.add_argument("--heads", type=int, default=HEADS, help="of the larger look-ups; 1 leaves them out")
    given = parser.parse_args(arguments)
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    cores = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{platform.platform()}, torch {torch.__version__}, {cores}")
    for entries in given.entries:
        for make in (clustered, independent):
            table(entries, make, ("exact", *given.kinds), given.heads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
