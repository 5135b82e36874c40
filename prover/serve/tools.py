"""The three questions as tools of the Model Context Protocol, over standard input and output.

Nothing but the protocol goes to standard output.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from prover import __version__
from prover.errors import ProverError
from prover.serve.questions import (
    MOST_TEXT,
    Answering,
    LookUpAnswer,
    LookUpRequest,
    ProveAnswer,
    ProveRequest,
    SuggestAnswer,
    SuggestRequest,
    answer_look_up,
    answer_prove,
    answer_suggest,
)
from prover.serve.seats import Seats

Answer = TypeVar("Answer")

_Text = Annotated[str, Field(min_length=1, max_length=MOST_TEXT)]


def make_tools(
    starting: Callable[[], AbstractAsyncContextManager[Answering]], seconds: float
) -> MCPServer[Any]:
    """Make the server; what answers is started with it.

    Args:
        seconds: of a search, at most.
    """
    held: list[Answering] = []
    seats = Seats(seats=1, waiting=64)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with starting() as prover:
            held.append(prover)
            yield
            held.clear()

    server: MCPServer[Any] = MCPServer("lean-prover", version=__version__, lifespan=lifespan)

    @server.tool()
    async def prove(statement: _Text, seconds_at_most: float = seconds) -> ProveAnswer:
        """Prove a Lean 4 proposition, a theorem without its proof, or the sorrys of a whole file.

        A proof is only given when a fresh Lean has accepted it.
        """
        asked = ProveRequest(statement=statement, seconds=max(0.1, seconds_at_most))
        async with seats.taken():
            return await _told(answer_prove(held[0], asked, seconds))

    @server.tool()
    async def suggest(goal: _Text, limit: Annotated[int, Field(ge=1, le=64)] = 8) -> SuggestAnswer:
        """Suggest tactics for a Lean 4 goal (as Lean prints it, or a statement), and say what each does."""
        async with seats.taken():
            return await _told(answer_suggest(held[0], SuggestRequest(goal=goal, limit=limit)))

    @server.tool()
    async def look_up(goal: _Text, limit: Annotated[int, Field(ge=1, le=256)] = 8) -> LookUpAnswer:
        """Say which declarations of the library the decoder's memory looks up at a Lean 4 goal."""
        async with seats.taken():
            return await _told(answer_look_up(held[0], LookUpRequest(goal=goal, limit=limit)))

    return server


async def _told(answer: Awaitable[Answer]) -> Answer:
    """The answer; what is at fault is told as the tool's error."""
    try:
        return await answer
    except ProverError as error:
        raise ToolError(str(error)) from error
