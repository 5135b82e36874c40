"""A backend that asks an OpenAI-compatible completions server, such as the one of vLLM.

What is needed of the server: ``POST /completions`` that honours ``n`` and ``logprobs``, and ``GET /models``.
The log-probability of a continuation is the sum of its tokens', the token that ended it included (or all the
tokens of the text that ended it). vLLM gives them at temperature 1, whatever the temperature of the samples,
unless it was started with another ``--logprobs-mode``; see docs/serving.md for other servers.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

from prover.decoder.completion import Completion, Decoding, Prompt, Sampling, Usage
from prover.decoder.patient_client import Fault, Patience, PatientClient
from prover.errors import InputError, ModelUnavailable
from prover.settings import settings

_INSTEAD = "Serve the model with vLLM instead (docs/serving.md), or run it in process"
# vLLM takes from the model's files how its makers like to sample; this brings back the model's distribution.
_PLAIN_VLLM = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
# Servers take seeds of 32 bits, some of them signed.
_SEEDS = 2**31


@dataclass(frozen=True, slots=True)
class _Served:
    """A model as the server lists it."""

    name: str
    by_vllm: bool = False
    #: Tokens of a prompt and its continuation; None when it is not said.
    max_context: int | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    completions: list[Completion]
    #: Tokens.
    prompt: int
    cached: int


class OpenAIBackend:
    """Continues prompts on a server. Made by :meth:`connect`; to be closed.

    Cancelling :meth:`complete` closes its connections, and the server stops working on them.
    """

    def __init__(self, client: PatientClient, served: _Served) -> None:
        self._client = client
        self._served = served
        self._usage = Usage()
        self._batches_under_way = 0
        #: When the first of them began, on the monotonic clock.
        self._since = 0.0

    @classmethod
    async def connect(
        cls,
        url: str,
        model: str | None = None,
        *,
        limit: int = 32,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> Self:
        """Find the model on a server; the key for it is that of the settings.

        Args:
            url: the address that ``/completions`` is added to, for example ``http://127.0.0.1:8000/v1``.
            model: its name there; None takes the one that is served.
            limit: requests under way at the same time.
            patience: what is borne of the server's faults.
            sleep: how the pauses between attempts are spent.

        Raises:
            InputError: the URL is none, or the server has no such model, or several and none was named.
            ModelUnavailable: the server does not answer usably.
        """
        client = PatientClient(url, settings().api_key, limit, patience, sleep)
        try:
            listed = await client.ask("GET", "/models", None, _read_models)
            return cls(client, _chosen(listed, model, client.url))
        except BaseException:  # cancelled as well: no connection may stay open
            await client.close()
            raise

    @property
    def name(self) -> str:
        return self._served.name

    @property
    def content_hash(self) -> str:
        """Of the model's name: its weights are out of reach."""
        return hashlib.sha256(f"served model {self._served.name}".encode()).hexdigest()[:16]

    @property
    def max_context(self) -> int | None:
        """Tokens of a prompt and its continuation, at most; None when the server does not say (vLLM does)."""
        return self._served.max_context

    @property
    def usage(self) -> Usage:
        return self._usage

    @property
    def faults(self) -> int:
        """Attempts at requests that failed, those that a later one made good included."""
        return self._client.faults

    async def close(self) -> None:
        await self._client.close()

    async def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """Return up to ``sampling.n`` continuations of each prompt, the most probable first.

        A request that is sent again leaves the others alone; one that fails for good ends them all. At
        temperature 0 one continuation is asked for, since all would be the same.

        Args:
            seeds: one a prompt. Whether the same seed gives the same answer is up to the server.

        Raises:
            InputError: a beam is asked for.
            ModelUnavailable: the server does not answer usably, or refuses a request.
        """
        if sampling.decoding is not Decoding.SAMPLE:
            raise InputError(
                f"a server cannot decode by {sampling.decoding}: use --decoding {Decoding.SAMPLE}"
            )
        with self._on_the_clock():
            tasks = [
                asyncio.create_task(self._complete(prompt, sampling, seed))
                for prompt, seed in zip(prompts, seeds, strict=True)
            ]
            try:
                return await asyncio.gather(*tasks)
            finally:
                await _end(tasks)

    async def _complete(self, prompt: Prompt, sampling: Sampling, seed: int) -> list[Completion]:
        request = self._request(prompt, sampling, seed)
        answer = await self._client.ask(
            "POST", "/completions", request, lambda answer: _read_answer(answer, _count(sampling))
        )
        self._usage = replace(
            self._usage,
            prompts=self._usage.prompts + 1,
            prompt_tokens=self._usage.prompt_tokens + answer.prompt - answer.cached,
            cached_tokens=self._usage.cached_tokens + answer.cached,
            generated_tokens=self._usage.generated_tokens + sum(each.tokens for each in answer.completions),
        )
        return answer.completions

    def _request(self, prompt: Prompt, sampling: Sampling, seed: int) -> dict[str, object]:
        return {
            "model": self._served.name,
            "prompt": prompt if isinstance(prompt, str) else list(prompt),
            "n": _count(sampling),
            "temperature": sampling.temperature,
            "top_p": 1.0,
            "max_tokens": sampling.max_tokens,
            # Of the most probable token beside the drawn one: some servers take 0 for no log-probabilities.
            "logprobs": 1,
            "seed": seed % _SEEDS,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
            **(_PLAIN_VLLM if self._served.by_vllm else {}),
        }

    @contextmanager
    def _on_the_clock(self) -> Iterator[None]:
        """Count a batch, and the time while at least one is under way."""
        self._usage = replace(self._usage, batches=self._usage.batches + 1)
        if self._batches_under_way == 0:
            self._since = time.monotonic()
        self._batches_under_way += 1
        try:
            yield
        finally:
            self._batches_under_way -= 1
            if self._batches_under_way == 0:
                passed = time.monotonic() - self._since
                self._usage = replace(self._usage, seconds=self._usage.seconds + passed)


def _count(sampling: Sampling) -> int:
    return sampling.n if sampling.temperature > 0 else 1


async def _end(tasks: Sequence[asyncio.Task[list[Completion]]]) -> None:
    """Cancel what is still under way, and wait until its connections are closed."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# --- reading answers ------------------------------------------------------------------------------


def _read_models(answer: object) -> list[_Served]:
    match answer:
        case {"data": [*entries]}:
            return [_read_model(entry) for entry in entries]
    raise Fault(f"the list of models cannot be read: {_shown(answer)}")


def _read_model(entry: object) -> _Served:
    match entry:
        case {"id": str(name), **more}:
            limit = more.get("max_model_len")
            by_vllm = more.get("owned_by") == "vllm"
            return _Served(name, by_vllm, limit if isinstance(limit, int) else None)
    raise Fault(f"the list of models cannot be read: {_shown(entry)}")


def _chosen(listed: Sequence[_Served], model: str | None, url: str) -> _Served:
    """Return the model that is named, or the only one; a server that lists none gets what it is told."""
    there = ", ".join(served.name for served in listed) or "none"
    if model is None and len(listed) == 1:
        return listed[0]
    if model is None:
        raise InputError(f"the server at {url} has not one model but these: {there}. Name one")
    if not listed:
        return _Served(model)
    for served in listed:
        if served.name == model:
            return served
    raise InputError(f"the server at {url} has no model {model}; it has: {there}")


def _read_answer(answer: object, n: int) -> _Answer:
    match answer:
        case {"choices": [*choices]}:
            pass
        case _:
            raise Fault(f"the answer holds no continuations: {_shown(answer)}")
    if len(choices) < n:
        raise _useless(f"{n} continuations were asked for and {len(choices)} came: it ignores `n`")
    completions = [_read_choice(choice) for choice in choices[:n]]
    prompt, cached, generated = _read_usage(answer)
    given = sum(completion.tokens for completion in completions)
    if len(choices) == n and generated > given:
        raise _useless(f"it generated {generated} tokens but gives `logprobs` for {given} only")
    return _Answer(sorted(completions, key=lambda each: -each.logprob), prompt, cached)


def _read_choice(choice: object) -> Completion:
    match choice:
        case {"text": str(text), "finish_reason": "stop" | "length" as end, **more}:
            logprobs = _read_logprobs(more.get("logprobs"))
            return Completion(text, min(0.0, math.fsum(logprobs)), len(logprobs), end == "stop")
    raise Fault(f"a continuation cannot be read: {_shown(choice)}")


def _read_logprobs(logprobs: object) -> list[float]:
    match logprobs:
        case None | {"token_logprobs": None | []}:
            raise _useless("it gives no `logprobs`")
        case {"token_logprobs": [*values]} if all(_is_number(value) for value in values):
            return values
    raise Fault(f"log-probabilities cannot be read: {_shown(logprobs)}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_usage(answer: object) -> tuple[int, int, int]:
    """Return the tokens of the prompt, of them those in the cache, and the generated ones; 0 if not said."""
    match answer:
        case {"usage": {"prompt_tokens": int(prompt), "completion_tokens": int(generated), **more}}:
            match more:
                case {"prompt_tokens_details": {"cached_tokens": int(cached)}}:
                    return prompt, min(cached, prompt), generated
            return prompt, 0, generated
    return 0, 0, 0


def _useless(what: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"this server cannot back a search ({what}): it must honour `n` and `logprobs` of /completions, as "
        f"that of vLLM does and `transformers serve` does not. {_INSTEAD}"
    )


def _shown(answer: object) -> str:
    text = repr(answer)
    return text if len(text) <= 200 else f"{text[:200]}…"
