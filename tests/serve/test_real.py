"""The service and the tools with a real Lean behind them; nothing of it is left when they end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import DEVNULL, PIPE, Popen

import httpx
import psutil
import pytest

pytestmark = pytest.mark.lean
PROVER = [sys.executable, "-m", "prover.cli.main"]


@contextmanager
def served(*arguments: str) -> Iterator[tuple[str, psutil.Process]]:
    """`prover serve` on a free port, once it answers; ended by SIGTERM, with all that it started."""
    port = free_port()
    server = Popen([*PROVER, "serve", "--port", str(port), *arguments], stdin=DEVNULL, stderr=PIPE)
    process = psutil.Process(server.pid)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            try:
                httpx.get(f"{url}/health", timeout=2.0)
                break
            except httpx.TransportError:
                assert server.poll() is None, server.stderr and server.stderr.read().decode()
                psutil.wait_procs([], timeout=0)
                asyncio.run(asyncio.sleep(0.1))
        family = process.children(recursive=True)
        assert family  # a Lean is there
        yield url, process
    finally:
        family = process.children(recursive=True)
        server.terminate()
        assert server.wait(30) == 0
        gone, alive = psutil.wait_procs(family, timeout=20)
        assert not alive and gone


def free_port() -> int:
    import socket

    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        port: int = it.getsockname()[1]
        return port


def test_a_theorem_is_proved_over_http_under_load_and_no_lean_is_left() -> None:
    with served("--waiting", "4") as (url, process):
        before = len(process.children(recursive=True))
        asyncio.run(loaded(url))
        after = process.children(recursive=True)
        assert len(after) <= before + 1  # a spare may be on its way


async def loaded(url: str) -> None:
    statement = {"statement": "∀ p q : Prop, p ∧ q → q ∧ p", "seconds": 20}
    never = {"statement": "∀ n : Nat, n ^ 7 + n = n ^ 5 * n + 3", "seconds": 20}
    async with httpx.AsyncClient(base_url=url, timeout=120.0) as client:
        proved = (await client.post("/prove", json=statement)).json()
        assert proved["proved"] and proved["theorems"][0]["proof"]
        gone = [asyncio.create_task(client.post("/prove", json=never)) for _ in range(3)]
        await asyncio.sleep(1.0)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        answers = await asyncio.gather(*(client.post("/prove", json=statement) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200, 503}
        assert all(answer.json()["proved"] for answer in answers if answer.status_code == 200)
        wrong = await client.post("/prove", json={"statement": "nonsense = 1"})
        assert wrong.status_code == 422 and "nonsense" in wrong.json()["error"]


async def test_the_tools_answer_over_standard_input_and_output() -> None:
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    parameters = StdioServerParameters(command=PROVER[0], args=[*PROVER[1:], "mcp"])
    async with Client(stdio_client(parameters)) as client:
        tools = await client.list_tools()
        assert {tool.name for tool in tools.tools} == {"prove", "suggest", "look_up"}
        proved = await client.call_tool("prove", {"statement": "∀ a b : Nat, a + b = b + a"})
        assert proved.structured_content and proved.structured_content["proved"] is True
        suggested = await client.call_tool("suggest", {"goal": "p : Prop\nh : p\n⊢ p", "limit": 4})
        assert suggested.structured_content
        assert suggested.structured_content["tactics"][0]["outcome"] == "proves"
        wrong = await client.call_tool("prove", {"statement": "nonsense = 1"})
        assert wrong.is_error and "nonsense" in wrong.content[0].text  # type: ignore[union-attr]
