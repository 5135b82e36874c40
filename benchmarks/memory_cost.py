"""What a memory costs: milliseconds a token without one, and with one of so many entries, as ratios.

    python benchmarks/memory_cost.py [MODEL] [--sizes 65536 1048576] [--rows 1 16] [--threads 1]

A plain checkpoint is given a memory layer for it. Keys are clustered, as those of text are; what is found
does not matter. The median of several generations, the model's own time beside it in the same process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil
import torch
from transformers import DynamicCache

from memory.errors import MemoryInputError
from memory.external import ExternalMemory
from memory.lookup import Memory
from memory.modeling import attach, memory_shape
from prover.decoder.checkpoint import load_checkpoint
from prover.decoder.options import SHIPPED_CHECKPOINT

#: Tokens of a prompt, and tokens generated.
_PROMPT, _TOKENS = 200, 24
_CENTRES = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(SHIPPED_CHECKPOINT))
    parser.add_argument("--sizes", type=int, nargs="*", default=[65_536, 1_048_576])
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 16])
    parser.add_argument(
        "--index", default=None, help="exact, hnsw, ivf, ivfpq, torch, faiss-gpu (default: by size)"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    model = load_checkpoint(asked.model, asked.device, asked.dtype).model
    try:
        memory_shape(model)
    except MemoryInputError:
        model = attach(model)
    print(f"{'entries':>10}{'index':>8}{'rows':>6}{'ms a token':>12}{'ratio':>7}{'build s':>9}{'MB':>7}")
    plain = {rows: _milliseconds(model, rows, None, asked.repeats) for rows in asked.rows}
    for rows, milliseconds in plain.items():
        print(f"{0:>10}{'':>8}{rows:>6}{milliseconds:>12.2f}{1.0:>7.2f}")
    for size in asked.sizes:
        before, start = psutil.Process().memory_info().rss, time.perf_counter()
        memory = _memory(model, size, asked.index, asked.device)
        built = time.perf_counter() - start
        used = (psutil.Process().memory_info().rss - before) / 2**20
        for rows in asked.rows:
            milliseconds = _milliseconds(model, rows, memory, asked.repeats)
            ratio = milliseconds / plain[rows]
            line = f"{size:>10}{memory.index.name:>8}{rows:>6}{milliseconds:>12.2f}{ratio:>7.2f}"
            print(f"{line}{built:>9.1f}{used:>7.0f}", flush=True)


def _memory(model: Any, size: int, index: str | None, device: str) -> ExternalMemory:
    shape, random = memory_shape(model), np.random.default_rng(0)
    centres = random.standard_normal((_CENTRES, shape.width), dtype=np.float32)
    keys = np.empty((size, shape.heads, shape.width), np.float16)
    for start in range(0, size, 65_536):
        part = keys[start : start + 65_536]
        near = centres[random.integers(0, _CENTRES, part.shape[:2])]
        near = near + 0.3 * random.standard_normal(near.shape, dtype=np.float32)
        part[:] = near / np.linalg.norm(near, axis=-1, keepdims=True)
    values = keys[::-1].copy()
    for rows in (keys, values):
        rows.setflags(write=False)
    tokens = random.integers(8, model.config.vocab_size, size, dtype=np.int32)
    return ExternalMemory(index, keys, values, device, tokens)


@torch.inference_mode()
def _milliseconds(model: Any, rows: int, memory: Memory | None, repeats: int) -> float:
    """Of a step of generation in which each row has a new token."""
    prompt = torch.randint(8, model.config.vocab_size, (rows, _PROMPT), device=model.device)
    memories: Sequence[Memory | None] | None = None if memory is None else [memory] * rows
    times = []
    for _ in range(repeats):
        cache = DynamicCache(config=model.config)
        output = model(input_ids=prompt, past_key_values=cache, logits_to_keep=1)
        for step in range(_TOKENS):
            token = output.logits[:, -1:].argmax(dim=-1)
            _wait(model)
            start = time.perf_counter()
            output = model(input_ids=token, past_key_values=cache, memories=memories)
            _wait(model)
            if step:
                times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def _wait(model: Any) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
