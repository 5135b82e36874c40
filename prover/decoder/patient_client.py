"""Requests to a server that may be down, slow, overloaded, or break off in the middle of an answer.

What another attempt may mend is a *fault*: the request is sent again, after a pause that doubles each time.
What it cannot mend (a wrong key, a prompt that is too long) is told at once, in the server's own words.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from prover.errors import InputError, ModelUnavailable

T = TypeVar("T")

#: Bytes of an answer, at most.
ANSWER_BYTES = 64 * 1024**2
#: Seconds until a connection stands, at most.
CONNECT_SECONDS = 10.0
# Shorter than uvicorn's five seconds, so that no request goes into a connection that is just being closed.
_IDLE_SECONDS = 2.0
_SHOWN_CHARACTERS = 500

_HINTS = {
    401: " (the key is taken from LEAN_PROVER_API_KEY)",
    403: " (the key is taken from LEAN_PROVER_API_KEY)",
    404: " (does the URL end as the server's does, often in /v1, and is the model's name right?)",
}


@dataclass(frozen=True, slots=True)
class Patience:
    """How much is borne of a server before it counts as unavailable."""

    #: Attempts at a request, the first one included.
    attempts: int = 6
    #: Seconds that an attempt may take.
    seconds: float = 120.0
    #: Seconds before the second attempt; each later pause is twice as long, up to the longest.
    first_pause: float = 0.5
    longest_pause: float = 30.0
    #: Seconds that a server may ask to be left alone; one that asks for more is given up.
    longest_asked: float = 120.0

    def pause(self, attempt: int, asked: float) -> float:
        """Return the seconds to wait after this attempt (1 is the first), at least those that were asked for.

        Up to half of it is left to chance, so that many clients do not come back at the same moment.
        """
        whole = min(self.longest_pause, self.first_pause * 2.0 ** min(attempt - 1, 64))
        return max(asked, whole / 2) + random.uniform(0.0, whole / 2)


class Fault(Exception):
    """An attempt failed in a way that another one may not."""

    def __init__(self, text: str, asked: float = 0.0) -> None:
        super().__init__(text)
        #: Seconds that the server asks to be left alone.
        self.asked = asked


class PatientClient:
    """Asks one server. To be closed."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        limit: int = 32,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Nothing is sent yet.

        Args:
            url: what the paths of requests are added to.
            key: sent as a bearer token; never shown.
            limit: requests under way at the same time, those in a pause included.

        Raises:
            InputError: the URL is none.
        """
        address = _parsed(url)
        #: As it may be shown: a user and a password in it are left out.
        self.url = f"{address.scheme}://{address.netloc.decode()}{address.path}".rstrip("/")
        self._address = str(address).rstrip("/")
        self._key = key
        self._patience = patience or Patience()
        self._sleep = sleep
        self._places = asyncio.Semaphore(limit)
        self._faults = 0
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(self._patience.seconds, connect=CONNECT_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=limit, keepalive_expiry=_IDLE_SECONDS),
        )

    @property
    def faults(self) -> int:
        """Attempts that failed so far and were, or could have been, made again."""
        return self._faults

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def ask(self, method: str, path: str, body: object, read: Callable[[object], T]) -> T:
        """Send a request, again where it must be, and return what is read from its JSON answer.

        Args:
            body: sent as JSON; None sends nothing.
            read: raises :class:`Fault` for an answer that is none, ``ModelUnavailable`` for a useless one.

        Raises:
            ModelUnavailable: every attempt failed, or the server refuses the request.
        """
        async with self._places:
            attempt = 1
            while True:
                try:
                    return read(await self._attempt(method, path, body))
                except Fault as fault:
                    self._faults += 1
                    if attempt >= self._patience.attempts or fault.asked > self._patience.longest_asked:
                        raise self._given_up(attempt, fault) from fault
                    await self._sleep(self._patience.pause(attempt, fault.asked))
                attempt += 1

    def _given_up(self, attempts: int, fault: Fault) -> ModelUnavailable:
        times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        wait = f" (it asks to wait for {fault.asked:.0f} s)" if fault.asked else ""
        return ModelUnavailable(
            f"the model's server at {self.url} does not answer usably: given up after {times}, "
            f"the last one failed with: {fault}{wait}"
        )

    async def _attempt(self, method: str, path: str, body: object) -> object:
        try:
            # httpx limits the time between two pieces; this limits the whole, also of an answer in drops.
            async with (
                asyncio.timeout(self._patience.seconds),
                self._client.stream(method, self._address + path, json=body) as response,
            ):
                content = await _content(response)
        except (TimeoutError, httpx.TimeoutException) as error:
            what = "connection" if isinstance(error, httpx.ConnectTimeout) else "answer"
            raise Fault(f"no {what} in time (an attempt may take {self._patience.seconds:g} s)") from error
        except httpx.RequestError as error:
            raise Fault(self._without_key(f"{type(error).__name__}: {error}")) from error
        return self._judged(response, content)

    def _judged(self, response: httpx.Response, content: bytes) -> object:
        status = response.status_code
        if status == 200:
            return _json(content)
        text = self._without_key(f"{status} {response.reason_phrase}: {_message(content)}")
        if status == 429 or status >= 500:
            raise Fault(text, _asked(response.headers.get("Retry-After")))
        raise ModelUnavailable(
            f"the model's server at {self.url} refuses a request: {text}{_HINTS.get(status, '')}"
        )

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text


def _parsed(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InputError(f"{url!r} is no address of a server: {error}") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise InputError(f"{url!r} is no address of a server: give one such as http://127.0.0.1:8000/v1")
    return address


async def _content(response: httpx.Response) -> bytes:
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > ANSWER_BYTES:
            raise Fault(f"an answer of more than {ANSWER_BYTES // 1024**2} MiB")
    return bytes(content)


def _json(content: bytes) -> object:
    try:
        answer: object = json.loads(content)
    except (ValueError, RecursionError) as error:  # RecursionError: thousands of brackets
        raise Fault(f"the answer is not JSON ({error}): {_start(content)}") from error
    return answer


def _message(content: bytes) -> str:
    """Return what a refusal says, in any of the shapes that servers give it."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return _start(content)
    match answer:
        case {"error": {"message": str(text)}} | {"error": str(text)} | {"message": str(text)}:
            return text[:_SHOWN_CHARACTERS]
    return _start(content)


def _start(content: bytes) -> str:
    return content[:_SHOWN_CHARACTERS].decode(errors="replace").strip() or "(nothing)"


def _asked(header: str | None) -> float:
    """Return the seconds that a Retry-After names: a number or a date; 0 when it cannot be read."""
    if header is None:
        return 0.0
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
