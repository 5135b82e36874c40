"""The three questions as tools of the Model Context Protocol, over standard input and output.

Nothing but the protocol goes to standard output.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from prover import __version__
from prover.errors import ProverError
from prover.serve.questions import (
    Answering,
    DeclarationCount,
    LookUpAnswer,
    LookUpRequest,
    ProveAnswer,
    ProveRequest,
    SuggestAnswer,
    SuggestRequest,
    TacticCount,
    Text,
    answer_look_up,
    answer_prove,
    answer_suggest,
)
from prover.serve.seats import FullError, Seats

Answer = TypeVar("Answer")


def make_tools(prover: Answering, seconds: float) -> MCPServer[Any]:
    """Make the server.

    Args:
        prover: what answers; it is started already.
        seconds: of a search, at most.
    """
    seats = Seats(seats=1, waiting=64)
    server: MCPServer[Any] = MCPServer("lean-prover", version=__version__)

    @server.tool()
    async def prove(statement: Text, seconds_at_most: float = seconds) -> ProveAnswer:
        """Prove a Lean 4 proposition, a theorem without its proof, or the sorrys of a whole file.

        A proof is only given when a fresh Lean has accepted it.
        """
        asked = ProveRequest(statement=statement, seconds=max(0.1, seconds_at_most))
        return await _told(seats, lambda: answer_prove(prover, asked, seconds))

    @server.tool()
    async def suggest(goal: Text, limit: TacticCount = 8) -> SuggestAnswer:
        """Suggest tactics for a Lean 4 goal (as Lean prints it, or a statement), and say what each does."""
        return await _told(seats, lambda: answer_suggest(prover, SuggestRequest(goal=goal, limit=limit)))

    @server.tool()
    async def look_up(goal: Text, limit: DeclarationCount = 8) -> LookUpAnswer:
        """Say which declarations of the library the decoder's memory looks up at a Lean 4 goal."""
        return await _told(seats, lambda: answer_look_up(prover, LookUpRequest(goal=goal, limit=limit)))

    return server


async def _told(seats: Seats, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer, from a seat; what is at fault is told as the tool's error."""
    try:
        async with seats.taken():
            return await ask()
    except (ProverError, FullError) as error:
        raise ToolError(str(error) or "too many questions wait for an answer: ask again later") from error
