"""The client against a server that runs a real (tiny) model: its log-probabilities are the model's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from prover.decoder.openai_backend import OpenAIBackend
from tests.decoder.completions_server import CompletionsServer
from tests.decoder.exactness import (
    assert_exact,
    assert_exact_with_stop,
    assert_one_at_temperature_zero,
    exact_checkpoint,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exact_checkpoint(tmp_path_factory.mktemp("exact"))


@pytest_asyncio.fixture
async def backend(folder: Path) -> AsyncIterator[OpenAIBackend]:
    with CompletionsServer(folder) as server:
        made = await OpenAIBackend.connect(server.url)
        yield made
        await made.close()


async def test_logprobs_are_the_models_own(backend: OpenAIBackend, folder: Path) -> None:
    await assert_exact(backend, folder)
    assert backend.name == "tiny"
    assert backend.max_context == 256
    assert backend.usage.prompts == 6


async def test_a_stop_is_counted_and_not_shown(backend: OpenAIBackend, folder: Path) -> None:
    await assert_exact_with_stop(backend, folder)


async def test_at_temperature_zero(backend: OpenAIBackend, folder: Path) -> None:
    await assert_one_at_temperature_zero(backend, folder)
