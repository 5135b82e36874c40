"""What a decoder costs: ``python benchmarks/decoder.py CHECKPOINT [--samples 16] [--max-tokens 24]``.

Prints tactics and tokens a second for batches of 1, 8 and 32 prompts in float32 and bfloat16 (as they are,
and as ratios to one prompt in float32), and how much of a proof's growing prompts the cache saves. A
checkpoint of random weights does as well: its continuations just never end before ``--max-tokens``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from prover.decoder.checkpoint import LoadedModel, load_checkpoint
from prover.decoder.completion import Prompt, Sampling
from prover.decoder.prompts import Mark
from prover.decoder.transformers_backend import TransformersBackend

BATCHES = (1, 8, 32)
STATEMENT = "theorem List.length_append (xs ys : List α) : (xs ++ ys).length = xs.length + ys.length"
GOALS = (
    "case nil\nα : Type u\nys : List α\n⊢ ([] ++ ys).length = [].length + ys.length",
    "case cons\nα : Type u\nys : List α\nx : α\nxs : List α\nih : (xs ++ ys).length = xs.length + ys.length\n"
    "⊢ (x :: xs ++ ys).length = (x :: xs).length + ys.length",
    "α : Type u\nxs ys : List α\nn : Nat\nh : xs.length = n\n⊢ n + ys.length = (xs ++ ys).length",
)
TACTICS = ("induction xs with", "simp [ih]", "rw [h, Nat.add_comm]", "omega")


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one batch after the other."""

    #: A second on the clock.
    tactics: float
    tokens: float
    #: A second of a processor: what the machine would do with nothing else to do, for each thread.
    tactics_of_processor: float


async def measure(checkpoint: str, device: str | None, sampling: Sampling, seconds: float) -> None:
    """Take and print all figures."""
    import torch

    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{platform.platform()}, torch {torch.__version__}, {threads}")
    base: Speed | None = None
    for dtype in ("float32", "bfloat16"):
        loaded = load_checkpoint(checkpoint, device, dtype)
        print(loaded.description)
        for size in BATCHES:
            speed = await speed_of(loaded, size, sampling, seconds)
            base = base or speed
            ratio = speed.tactics_of_processor / base.tactics_of_processor
            print(
                f"  {size:2} prompts x {sampling.n} samples: {speed.tactics:7.1f} tactics/s, "
                f"{speed.tokens:7.0f} tokens/s; {speed.tactics_of_processor:6.1f} tactics a processor second "
                f"({ratio:.2f} x)"
            )
        await saving(loaded)


async def speed_of(loaded: LoadedModel, size: int, sampling: Sampling, seconds: float) -> Speed:
    """Draw from batches of new prompts for some time."""
    backend = TransformersBackend(loaded, cache_bytes=0)
    await backend.complete(prompts(loaded, 0, 1), Sampling(1, max_tokens=1), [0])
    tokens, began, used, drawn = backend.usage.generated_tokens, time.perf_counter(), time.process_time(), 0
    for number in itertools.count(1):
        answers = await backend.complete(prompts(loaded, number, size), sampling, range(size))
        drawn += sum(map(len, answers))
        if time.perf_counter() - began >= seconds:
            break
    took, used = time.perf_counter() - began, time.process_time() - used
    await backend.close()
    return Speed(drawn / took, (backend.usage.generated_tokens - tokens) / took, drawn / used)


async def saving(loaded: LoadedModel) -> None:
    """Go down a path of states whose prompts grow, with the cache and without; one token of each."""
    path = growing(loaded)
    used: list[float] = []
    for size in (0, 1 << 30):
        backend = TransformersBackend(loaded, cache_bytes=size)
        began = time.process_time()
        for prompt in path:
            await backend.complete([prompt], Sampling(1, max_tokens=1), [0])
        used.append(1000 * (time.process_time() - began) / len(path))
        await backend.close()
    usage = backend.usage
    share = usage.cached_tokens / (usage.cached_tokens + usage.prompt_tokens)
    print(
        f"  a path of {len(path)} states to {length(loaded, path[-1])} tokens: {share:.0%} of them from the "
        f"cache, {used[1]:.1f} processor ms a prompt, {used[0]:.1f} without it ({used[0] / used[1]:.2f} x)"
    )


def prompts(loaded: LoadedModel, number: int, size: int) -> list[Prompt]:
    """Prompts with a short history, different ones for each number."""
    return [prompt_of(loaded, f"{STATEMENT} -- {number}.{place}", 1 + place % 3) for place in range(size)]


def growing(loaded: LoadedModel) -> list[Prompt]:
    """The prompts along a proof, as long as the model takes them."""
    found: list[Prompt] = []
    for steps in range(16):
        prompt = prompt_of(loaded, STATEMENT, steps)
        if length(loaded, prompt) > loaded.max_context - 128:
            break
        found.append(prompt)
    return found


def length(loaded: LoadedModel, prompt: Prompt) -> int:
    return loaded.count(prompt) if isinstance(prompt, str) else len(prompt)


def prompt_of(loaded: LoadedModel, statement: str, steps: int) -> Prompt:
    """A prompt in the form ``history``, or its text for a model with a tokenizer of its own."""
    pieces: list[Mark | str] = [Mark.THEOREM, statement]
    for step in range(steps + 1):
        pieces += [Mark.GOAL, GOALS[step % len(GOALS)], Mark.GOAL_END, Mark.TACTIC]
        if step < steps:
            pieces += [TACTICS[step % len(TACTICS)], Mark.END]
    return "\n".join(pieces) if loaded.codec is None else loaded.codec.encode(pieces)


def main(arguments: Sequence[str] | None = None) -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("checkpoint", help="its folder")
    parser.add_argument("--device", default=None, help="cpu, cuda ... (default: a GPU if there is one)")
    parser.add_argument("--samples", type=int, default=16, help="of each prompt")
    parser.add_argument("--max-tokens", type=int, default=24, help="of a sample")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure, at least")
    given = parser.parse_args(arguments)
    sampling = Sampling(given.samples, max_tokens=given.max_tokens)
    asyncio.run(measure(given.checkpoint, given.device, sampling, given.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
