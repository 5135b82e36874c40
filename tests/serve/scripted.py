"""A prover that does what it is told, behind the real server on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from prover.api import Found, SuggestedOutcome, Suggestion
from prover.errors import InputError, LeanUnavailable
from prover.reports import FileReport, TheoremReport, TheoremStatus
from prover.serve.app import ServeLimits, make_app
from prover.serve.server import configured


class ScriptedProver:
    """Proves what holds the word `true`, takes its time where there is `slow`, and fails as it is told."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.seconds = seconds
        #: Questions under way, the most of them at once, and those that were cancelled.
        self.running = self.most = self.cancelled = 0
        self.asked: list[dict[str, Any]] = []

    async def prove_source(
        self, text: str, *, timeout: float | None = None, max_expansions: int | None = None
    ) -> FileReport:
        self.asked.append({"text": text, "timeout": timeout, "max_expansions": max_expansions})
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(60.0 if "slow" in text else self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if "wrong" in text:
            raise InputError("line 1: unknown identifier")
        if "broken" in text:
            raise LeanUnavailable("Lean cannot be started")
        proof = ("trivial",) if "true" in text else None
        status = TheoremStatus.PROVED if proof else TheoremStatus.NOT_PROVED
        report = TheoremReport(
            "statement.lean", "t", 1, 0, status, "⊢ True", proof, 1, 2, 0, 0.1, 0.1, "", None
        )
        return FileReport("statement.lean", (report,), "theorem t : True := by trivial" if proof else None)

    async def suggest(self, goal: str, *, limit: int = 8, try_them: bool = True) -> list[Suggestion]:
        outcome = SuggestedOutcome.PROVES if try_them else SuggestedOutcome.UNTRIED
        return [Suggestion("exact h.2", -0.5, outcome)][:limit]

    async def look_up(self, goal: str, *, limit: int = 8) -> list[Found]:
        return [Found("Nat.add_comm", 3.5)][:limit]


@asynccontextmanager
async def serving(prover: Any, limits: ServeLimits) -> AsyncIterator[str]:
    """Serve on a free port of this machine, and return the address."""
    server = uvicorn.Server(configured(make_app(prover, limits), "127.0.0.1", 0))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
        if task.done():
            task.result()
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task
