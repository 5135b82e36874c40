"""The HTTP service: three questions, health, and a page that describes them.

Statuses: 200 an answer, also where nothing was proved; 400 malformed JSON; 408, 413 a body too slow or too
large; 422 a question that cannot be asked, or that Lean does not understand; 503 no seat, or Lean or the
model cannot be had (nothing is known of the question then); 504 no answer in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse

from prover import __version__
from prover.errors import InputError, ProverError
from prover.serve.guards import BodyGuard
from prover.serve.page import described
from prover.serve.questions import (
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
from prover.serve.seats import FullError, Seats

Answer = TypeVar("Answer")

#: Seconds beyond those of the search: for opening the statement, and for the verdict.
GRACE_SECONDS = 60.0
_RETRY = {"Retry-After": "5"}


@dataclass(frozen=True, slots=True)
class ServeLimits:
    """What a client may ask of the service."""

    #: Questions answered at once, and those that may wait.
    seats: int = 1
    waiting: int = 16
    #: Seconds of a search.
    seconds: float = 60.0
    #: Bytes of a body, and seconds that it may take to come.
    body: int = 1_000_000
    body_seconds: float = 10.0


class _GoneError(Exception):
    """The client does not wait for its answer any more."""


def make_app(prover: Answering, limits: ServeLimits) -> FastAPI:
    """Make the application.

    Args:
        prover: what answers; it is started already.
    """
    app = FastAPI(
        title="Lean prover",
        version=__version__,
        description=__doc__ or "",
        docs_url=None,
        redoc_url=None,
    )
    service = _Service(prover, limits)
    app.post("/prove", response_model=ProveAnswer)(service.prove)
    app.post("/suggest", response_model=SuggestAnswer)(service.suggest)
    app.post("/lookup", response_model=LookUpAnswer)(service.look_up)
    app.get("/health")(service.health)
    app.get("/docs", response_class=HTMLResponse, include_in_schema=False)(lambda: described(app.openapi()))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(BodyGuard, most_bytes=limits.body, seconds=limits.body_seconds)
    return app


class _Service:
    """What happens with a question: a seat, an answer, and an end when nobody waits for it."""

    def __init__(self, prover: Answering, limits: ServeLimits) -> None:
        self._prover = prover
        self._limits = limits
        self._seats = Seats(limits.seats, limits.waiting)

    async def prove(self, asked: ProveRequest, request: Request) -> Any:
        """Prove a statement, or the sorrys of a file; a proof counts only when a fresh Lean accepts it."""
        seconds = self._limits.seconds
        return await self._answered(request, lambda: answer_prove(self._prover, asked, seconds))

    async def suggest(self, asked: SuggestRequest, request: Request) -> Any:
        """Suggest tactics for a goal, and say what each does."""
        return await self._answered(request, lambda: answer_suggest(self._prover, asked))

    async def look_up(self, asked: LookUpRequest, request: Request) -> Any:
        """Say which declarations the decoder's memory looks up at a goal."""
        return await self._answered(request, lambda: answer_look_up(self._prover, asked))

    async def health(self) -> dict[str, Any]:
        """Say that it is up, and how many questions are inside."""
        return {"status": "ok", "version": __version__, "inside": self._seats.inside}

    async def _answered(self, request: Request, ask: Callable[[], Awaitable[Answer]]) -> Any:
        try:
            return await self._while_awaited(request, ask)
        except FullError:
            return _error(503, "all seats are taken, and so is the queue: try again later", _RETRY)
        except TimeoutError:
            return _error(504, "there was no answer in time")
        except InputError as error:
            return _error(422, str(error))
        except ProverError as error:
            return _error(503, str(error), _RETRY)
        except _GoneError:
            return _error(499, "the client is gone")

    async def _while_awaited(self, request: Request, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Answer, but stop when the client goes away, or after too long a time with a seat."""
        asking = asyncio.ensure_future(self._seated(ask))
        watching = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait((asking, watching), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise _GoneError
            return asking.result()
        finally:
            for task in (asking, watching):
                task.cancel()
                with suppress(asyncio.CancelledError, ProverError, FullError, TimeoutError):
                    await task

    async def _seated(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        async with self._seats.taken(), asyncio.timeout(self._limits.seconds + GRACE_SECONDS):
            return await ask()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers)


async def _invalid(request: Request, error: Any) -> JSONResponse:
    """What is wrong with a question: 400 where it is no JSON at all, else 422."""
    problems = error.errors()
    places = [".".join(str(part) for part in it["loc"][1:]) for it in problems]
    text = "; ".join(
        f"{place}: {it['msg']}" if place else it["msg"] for place, it in zip(places, problems, strict=True)
    )
    malformed = any(it["type"] == "json_invalid" for it in problems)
    return _error(400 if malformed else 422, text)
