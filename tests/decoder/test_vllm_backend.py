"""The backend over vLLM in process, with a stand-in for vLLM; test_vllm.py runs the real one where it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from prover.decoder.completion import Completion, Decoding, Sampling
from prover.decoder.vllm_backend import VllmBackend
from prover.errors import InputError, ModelUnavailable
from tests.decoder.exactness import exact_checkpoint

TWO = Sampling(n=2, temperature=1.3, max_tokens=8, stop=("\n",))


class ClientError(Exception):
    """Of vLLM: the request is at fault."""


class ServerError(Exception):
    """Of vLLM: vLLM is."""


@dataclass
class Logprob:
    logprob: float


class LLM:
    """Answers each prompt with two samples, the better one last; texts that start with ! are its orders."""

    made: list[LLM]

    def __init__(self, model: str, **options: Any) -> None:
        self.model, self.options = model, options
        self.batches: list[list[tuple[Any, Any]]] = []
        self.closed = False
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=self._shutdown))
        LLM.made.append(self)

    def generate(self, prompts: Sequence[Any], parameters: Sequence[Any], use_tqdm: bool) -> list[Any]:
        self.batches.append(list(zip(prompts, parameters, strict=True)))
        if "!too long" in prompts:
            raise ClientError("8193 tokens")
        if "!die" in prompts:
            raise ServerError("engine dead")
        return [self._output(wanted) for wanted in parameters]

    def _output(self, wanted: Any) -> Any:
        samples = [
            SimpleNamespace(
                text=f"t{i}",
                token_ids=(7, i),
                logprobs=[{7: Logprob(-1.0), 9: Logprob(-0.1)}, {i: Logprob(-2.0 + i)}],
                finish_reason="length" if i else "stop",
            )
            for i in range(wanted.n)
        ]
        return SimpleNamespace(prompt_token_ids=[1, 2, 3], num_cached_tokens=2, outputs=samples)

    def _shutdown(self) -> None:
        self.closed = True


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VllmBackend:
    vllm, exceptions = ModuleType("vllm"), ModuleType("vllm.exceptions")
    vllm.__dict__.update(LLM=LLM, SamplingParams=SimpleNamespace)
    vllm.__spec__ = find_spec("json")
    exceptions.__dict__.update(VLLMClientError=ClientError, VLLMServerError=ServerError)
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.exceptions", exceptions)
    monkeypatch.setattr(LLM, "made", [], raising=False)
    for name in ("VLLM_LOGGING_LEVEL", "VLLM_LOGGING_STREAM", "VLLM_NO_USAGE_STATS"):
        monkeypatch.setenv(name, "as it was")
    return VllmBackend(str(exact_checkpoint(tmp_path / "tiny")))


async def test_continuations_come_with_exact_logprobs_the_best_first(backend: VllmBackend) -> None:
    p, q = await backend.complete(["p", (5, 6)], TWO, [2**31 + 5, -1])
    assert p == q == [Completion("t1", -2.0, 2, False), Completion("t0", -3.0, 2, True)]
    (llm,) = LLM.made
    assert llm.options["max_model_len"] == backend.max_context == 256
    assert llm.options["generation_config"] == "vllm"
    (text, first), (ids, second) = llm.batches[0]
    assert (text, ids) == ("p", {"prompt_token_ids": [5, 6]})
    assert first == SimpleNamespace(n=2, temperature=1.3, max_tokens=8, stop=["\n"], logprobs=0, seed=5)
    assert second.seed == 2**31 - 1
    await backend.close()
    assert llm.closed


async def test_concurrent_calls_share_a_batch_and_are_counted(backend: VllmBackend) -> None:
    await asyncio.gather(*(backend.complete(["p"], TWO, [seed]) for seed in range(3)))
    assert [len(batch) for batch in LLM.made[0].batches] == [3]
    usage = backend.usage
    assert (usage.prompts, usage.batches, usage.generated_tokens) == (3, 1, 12)
    assert (usage.prompt_tokens, usage.cached_tokens) == (3, 6)


async def test_at_temperature_zero_there_is_one_continuation(backend: VllmBackend) -> None:
    assert len((await backend.complete(["p"], replace(TWO, temperature=0.0), [0]))[0]) == 1


async def test_what_vllm_says_is_told(backend: VllmBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="vLLM refuses a prompt for tiny: 8193 tokens"):
        await backend.complete(["!too long"], TWO, [0])
    with pytest.raises(ModelUnavailable, match="engine dead"):
        await backend.complete(["!die"], TWO, [0])
    with pytest.raises(InputError, match="--decoding sample"):
        await backend.complete(["p"], replace(TWO, decoding=Decoding.BEAM), [0])


async def test_a_model_that_cannot_be_loaded(backend: VllmBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(LLM, "__init__", fail)
    with pytest.raises(ModelUnavailable, match="vLLM cannot load tiny: no memory"):
        await backend.complete(["p"], TWO, [0])
    await backend.close()


def test_what_stands_for_the_model(backend: VllmBackend, tmp_path: Path) -> None:
    assert backend.name == "tiny"
    other = VllmBackend(str(exact_checkpoint(tmp_path / "other")))
    assert backend.content_hash == other.content_hash
    assert len(backend.content_hash) == 16


def test_without_vllm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("prover.decoder.vllm_backend.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'lean-prover\[gpu\]'"):
        VllmBackend(str(tmp_path))
