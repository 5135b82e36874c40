"""vLLM itself, in process and as a server, with a tiny model; where it is installed, a GPU is not needed.

    TORCHDYNAMO_DISABLE=1 VLLM_CPU_KVCACHE_SPACE=1 pytest tests/decoder/test_vllm.py

spares the CPU build of vLLM minutes of compiling.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from prover.decoder.completion import Decoding
from prover.decoder.openai_backend import OpenAIBackend
from prover.errors import InputError, ModelUnavailable
from tests.decoder.exactness import (
    PROMPTS,
    SAMPLING,
    assert_exact,
    assert_exact_with_stop,
    assert_one_at_temperature_zero,
    exact_checkpoint,
)

pytest.importorskip("vllm", reason="vLLM is not installed")
START_SECONDS = 600.0
TOO_LONG = "ab" * 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exact_checkpoint(tmp_path_factory.mktemp("vllm") / "tiny")


@pytest.fixture(scope="module")
def url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where ``vllm serve`` listens, with the command line of docs/serving.md."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "vllm.log"
    command = [str(Path(sys.executable).with_name("vllm")), "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "tiny"]
    command += ["--max-model-len", "256", "--generation-config", "vllm", "--enable-prompt-tokens-details"]
    command += ["--enable-prefix-caching", "--enforce-eager", "--dtype", "float32"]
    with ExitStack() as ending:
        server = subprocess.Popen(
            command,
            stdout=ending.enter_context(log.open("wb")),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ending.callback(_end, server)
        _wait(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"


def _wait(health: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()[-5000:]
        try:
            if httpx.get(health).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(1.0)
    raise AssertionError(log.read_text()[-5000:])


def _end(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is not None:
        return
    os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(30.0)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest_asyncio.fixture
async def client(url: str) -> AsyncIterator[OpenAIBackend]:
    backend = await OpenAIBackend.connect(url)
    yield backend
    await backend.close()


async def test_the_servers_logprobs_are_the_models_own(client: OpenAIBackend, folder: Path) -> None:
    assert client.name == "tiny"
    assert client.max_context == 256
    await assert_exact(client, folder)
    await assert_exact_with_stop(client, folder)
    await assert_one_at_temperature_zero(client, folder)
    assert client.faults == 0


async def test_the_server_tells_what_it_had_in_its_cache(client: OpenAIBackend) -> None:
    long = "abcdefgh" * 20
    for _ in range(2):
        await client.complete([long], replace(SAMPLING, n=1), [1])
    assert client.usage.cached_tokens > 0
    assert client.usage.prompt_tokens + client.usage.cached_tokens == 2 * len(long)


async def test_the_server_refuses_what_is_too_long(client: OpenAIBackend) -> None:
    with pytest.raises(ModelUnavailable, match=r"400.*256"):
        await client.complete([TOO_LONG], SAMPLING, [1])
    assert client.faults == 0


async def test_the_server_has_no_other_model(url: str) -> None:
    with pytest.raises(InputError, match="has no model huge; it has: tiny"):
        await OpenAIBackend.connect(url, "huge")


async def test_in_process(folder: Path) -> None:
    from prover.decoder.vllm_backend import VllmBackend

    backend = VllmBackend(str(folder), dtype="float32", memory_share=0.5, eager=True)
    try:
        assert (backend.name, backend.max_context, len(backend.content_hash)) == ("tiny", 256, 16)
        await assert_exact(backend, folder)
        await assert_exact_with_stop(backend, folder)
        await assert_one_at_temperature_zero(backend, folder)
        assert backend.usage.prompts == 2 * len(PROMPTS) + len(PROMPTS) + 1
        with pytest.raises(InputError, match="refuses a prompt"):
            await backend.complete([TOO_LONG], SAMPLING, [1])
        with pytest.raises(InputError, match="beam"):
            await backend.complete(PROMPTS, replace(SAMPLING, decoding=Decoding.BEAM), [1, 2, 3])
        assert len((await backend.complete(PROMPTS[:1], SAMPLING, [1]))[0]) == SAMPLING.n
    finally:
        await backend.close()
