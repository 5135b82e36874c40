"""`transformers serve` ignores `n` and `logprobs` without a word: the client must notice.

Its server needs fastapi, uvicorn and openai (``pip install 'transformers[serving]'``).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from prover.decoder.completion import Sampling
from prover.decoder.openai_backend import OpenAIBackend
from prover.errors import ModelUnavailable
from tests.decoder.exactness import exact_checkpoint

for _module in ("fastapi", "uvicorn", "openai"):
    pytest.importorskip(_module, reason="what `transformers serve` needs is not installed")

START_SECONDS = 180.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exact_checkpoint(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="module")
def url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "serve.log"
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    # An empty cache (it must be there), so that its list of models does not depend on the machine.
    (log.parent / "hub").mkdir()
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(log.parent / "hub")}
    with ExitStack() as ending:
        output = ending.enter_context(log.open("wb"))
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
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
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-5000:])


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(20.0)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


@pytest.mark.parametrize(
    ("n", "told"), [(4, "4 continuations were asked for and 1 came"), (1, "it gives no `logprobs`")]
)
async def test_it_is_refused(url: str, folder: Path, n: int, told: str) -> None:
    backend = await OpenAIBackend.connect(url, str(folder))
    with pytest.raises(ModelUnavailable, match=f"{told}.*`transformers serve` does not.*vLLM"):
        await backend.complete(["ab"], Sampling(n=n, max_tokens=4), [0])
    assert backend.faults == 0
    await backend.close()
