"""What stands between the network and the application: bodies that are too large or too slow, headers too.

A request reaches the application only with its whole body, so that a slow client holds no seat.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds that the head of a request may take.
HEAD_SECONDS = 10.0

Scope = dict[str, Any]


class BodyGuard:
    """ASGI middleware: reads each request's body, up to a size and a time, before anything else happens."""

    def __init__(self, app: Any, most_bytes: int, seconds: float) -> None:
        self._app = app
        self._most = most_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._most:
            await refuse(send, 413, f"the body is larger than {self._most} bytes")
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(receive)
        except TimeoutError:
            await refuse(send, 408, f"the body did not come within {self._seconds:g} seconds")
            return
        if body is None:
            return  # the client is gone
        if len(body) > self._most:
            await refuse(send, 413, f"the body is larger than {self._most} bytes")
            return
        await self._app(scope, _Replayed(body, receive), send)

    async def _read(self, receive: Any) -> bytes | None:
        """The body, or as much of it as shows that it is too large; None when the client is gone."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body") or len(body) > self._most:
                return bytes(body)


class _Replayed:
    """Gives a body that was read already, and then what really comes."""

    def __init__(self, body: bytes, receive: Any) -> None:
        self._message: Scope | None = {"type": "http.request", "body": body, "more_body": False}
        self._receive = receive

    async def __call__(self) -> Any:
        message, self._message = self._message, None
        return await self._receive() if message is None else message


async def refuse(send: Any, status: int, message: str) -> None:
    """Answer with an error, and close the connection: there may be more of the request."""
    body = json.dumps({"error": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class HeadGuard(H11Protocol):
    """A connection that is closed when the head of a request takes too long."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        """Start the clock where a head is under way; the first byte of it counts, not the last."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._late = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
