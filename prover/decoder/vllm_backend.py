"""A backend that runs vLLM in this process, on a GPU; ``pip install 'lean-prover[gpu]'``.

For several programs, or several machines, that share one model, serve it instead (docs/serving.md).
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from prover.decoder.batching import Batcher
from prover.decoder.checkpoint import find_folder
from prover.decoder.completion import Completion, Decoding, Prompt, Sampling, Usage
from prover.decoder.weights import hash_files, read_json, weights_files
from prover.errors import InputError, ModelUnavailable

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams

#: Tokens of a prompt and its continuation, where the model can do as many.
CONTEXT = 8192
# vLLM writes to stdout, which is for results, and reports its use to its makers.
_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}


@dataclass(frozen=True, slots=True)
class _Job:
    prompt: Prompt
    sampling: Sampling
    seed: int


class VllmBackend:
    """Continues prompts with a model that vLLM runs; to be closed.

    The prompts of concurrent calls go through the model together. A batch that is under way ends before it
    is noticed that nobody waits for it any more.
    """

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        gpus: int = 1,
        memory_share: float = 0.9,
        eager: bool = False,
        batch_prompts: int = 256,
    ) -> None:
        """Find the model; it is loaded with the first prompts, which takes a minute.

        Args:
            model: a checkpoint's folder, or a hub id.
            dtype: ``float32``, ``bfloat16`` ...; "auto" is that of the weights, or half of float32.
            gpus: over which each layer is spread.
            memory_share: what vLLM may take of the GPU's memory.
            eager: start sooner and run slower, without compiling the model.
            batch_prompts: prompts in a batch, at most.

        Raises:
            InputError: vLLM is not installed, or there is no such model.
            ModelUnavailable: the model may be on the hub, which does not answer.
        """
        if find_spec("vllm") is None:
            raise InputError(
                "vLLM is not installed: pip install 'lean-prover[gpu]' (Linux with a GPU), or serve the "
                "model on another machine and give its address (docs/serving.md)"
            )
        self._folder = find_folder(model)
        self._name = self._folder.resolve().name if Path(model).is_dir() else model
        self._options = {
            "dtype": dtype,
            "tensor_parallel_size": gpus,
            "gpu_memory_utilization": memory_share,
            "enforce_eager": eager,
        }
        self._llm: LLM | None = None
        self._usage = Usage()
        self._batcher: Batcher[_Job, list[Completion]] = Batcher(self._work, batch_prompts)

    @property
    def name(self) -> str:
        return self._name

    @cached_property
    def content_hash(self) -> str:
        """Of the weights; reading them takes seconds a time, and is done once."""
        rest = [self._folder / "config.json", self._folder / "tokenizer.json"]
        return hash_files([*weights_files(self._folder), *rest])

    @cached_property
    def max_context(self) -> int:
        """Tokens of a prompt and its continuation, at most."""
        own = read_json(self._folder / "config.json").get("max_position_embeddings")
        return min(CONTEXT, own) if isinstance(own, int) else CONTEXT

    @property
    def usage(self) -> Usage:
        return self._usage

    async def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """Return up to ``sampling.n`` continuations of each prompt, the most probable first.

        At temperature 0 one continuation is drawn, since all would be the same. A prompt's answer to a seed
        may depend on the batch in the last bits, as float arithmetic does.

        Args:
            seeds: one a prompt; sample i is drawn with seed + i.

        Raises:
            InputError: a beam is asked for, or a prompt is too long.
            ModelUnavailable: vLLM cannot load the model, or has died.
        """
        if sampling.decoding is not Decoding.SAMPLE:
            raise InputError(
                f"vLLM's {sampling.decoding} search knows no stop texts and is slow: "
                f"use --decoding {Decoding.SAMPLE}, or --engine transformers"
            )
        jobs = [_Job(prompt, sampling, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        return await self._batcher.submit(jobs)

    async def close(self) -> None:
        """Wait for the batch that is under way, and give the GPU back."""
        await self._batcher.close()
        if self._llm is not None:
            await asyncio.to_thread(self._llm.llm_engine.engine_core.shutdown)
            self._llm = None

    # --- in the thread of the batches -------------------------------------------------------------

    def _work(self, jobs: Sequence[_Job]) -> list[list[Completion]]:
        if self._llm is None:
            self._llm = self._load()
        began = time.monotonic()
        outputs = self._generate(self._llm, jobs)
        self._count(outputs, time.monotonic() - began)
        return [_completions(output) for output in outputs]

    def _load(self) -> LLM:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from vllm import LLM

        try:
            return LLM(
                str(self._folder),
                max_model_len=self.max_context,
                enable_prefix_caching=True,
                # "auto" would take over how the model's makers like to sample.
                generation_config="vllm",
                **self._options,
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise ModelUnavailable(f"vLLM cannot load {self._name}: {error}") from error

    def _generate(self, llm: LLM, jobs: Sequence[_Job]) -> list[RequestOutput]:
        from vllm.exceptions import VLLMClientError, VLLMServerError

        prompts = [
            job.prompt if isinstance(job.prompt, str) else {"prompt_token_ids": list(job.prompt)}
            for job in jobs
        ]
        try:
            outputs: list[RequestOutput] = llm.generate(
                prompts, [_parameters(job) for job in jobs], use_tqdm=False
            )
        except (VLLMClientError, ValueError) as error:
            raise InputError(f"vLLM refuses a prompt for {self._name}: {error}") from error
        except (VLLMServerError, RuntimeError) as error:
            raise ModelUnavailable(f"vLLM has died of prompts for {self._name}: {error}") from error
        return outputs

    def _count(self, outputs: Sequence[RequestOutput], seconds: float) -> None:
        cached = sum(output.num_cached_tokens or 0 for output in outputs)
        given = sum(len(output.prompt_token_ids or ()) for output in outputs)
        drawn = sum(len(sample.token_ids) for output in outputs for sample in output.outputs)
        usage = self._usage
        self._usage = replace(
            usage,
            prompts=usage.prompts + len(outputs),
            batches=usage.batches + 1,
            prompt_tokens=usage.prompt_tokens + given - cached,
            cached_tokens=usage.cached_tokens + cached,
            generated_tokens=usage.generated_tokens + drawn,
            seconds=usage.seconds + seconds,
        )


def _parameters(job: _Job) -> SamplingParams:
    from vllm import SamplingParams

    sampling = job.sampling
    return SamplingParams(
        n=sampling.n if sampling.temperature > 0 else 1,
        temperature=sampling.temperature,
        max_tokens=sampling.max_tokens,
        stop=list(sampling.stop),
        # Of the drawn token alone; from before the temperature, as vLLM's default has it.
        logprobs=0,
        seed=job.seed % 2**31,
    )


def _completions(output: RequestOutput) -> list[Completion]:
    """Return the continuations of a prompt, the most probable first."""
    completions = []
    for sample in output.outputs:
        steps = zip(sample.token_ids, sample.logprobs or (), strict=True)
        logprob = min(0.0, math.fsum(step[token].logprob for token, step in steps))
        completions.append(
            Completion(sample.text, logprob, len(sample.token_ids), sample.finish_reason == "stop")
        )
    return sorted(completions, key=lambda each: -each.logprob)
