"""A completions server that fails on demand, on a port of this machine.

What it does for a prompt is a list of acts, one an attempt; when they are used up it answers well. An act
is bytes to send as they are, seconds to wait before a good answer, or a function of the request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

Request = dict[str, Any]
Act = bytes | float | Callable[[Request], bytes]

#: What the list of models is asked for with, as if it were a prompt.
MODELS = "/models"


def answer(status: int, body: object, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a whole HTTP answer; a body of bytes is sent as it is, any other as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def half(whole: bytes) -> bytes:
    """Return an answer that breaks off in the middle of its body."""
    head, _, body = whole.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n" + body[: len(body) // 2]


def choice(text: str, logprobs: Sequence[float | None] | None, end: str = "stop") -> dict[str, Any]:
    given = None if logprobs is None else {"token_logprobs": list(logprobs), "tokens": ["x"] * len(logprobs)}
    return {"text": text, "finish_reason": end, "logprobs": given}


def good(request: Request) -> bytes:
    """Answer as a server should: the first continuation is the least probable one."""
    n = request["n"]
    choices = [choice(f"{request['prompt']}{i}", [-1.0, -0.5 * (n - i)]) for i in range(n)]
    usage = {"prompt_tokens": 10, "completion_tokens": 2 * n, "prompt_tokens_details": {"cached_tokens": 4}}
    return answer(200, {"choices": choices, "usage": usage})


@dataclass
class ScriptedServer:
    """Used with ``async with``; then :attr:`url` is where it is."""

    script: Mapping[str, Sequence[Act]] = field(default_factory=dict)
    models: Sequence[str] = ("scripted",)
    owner: str = "somebody"
    #: Requests in the order in which they came.
    requests: list[Request] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    #: Prompts whose client went away before it had its answer.
    left: list[str] = field(default_factory=list)
    #: Requests at the same time: now, and the most that there were.
    busy: int = 0
    busiest: int = 0

    async def __aenter__(self) -> Self:
        self._acts = {prompt: list(acts) for prompt, acts in self.script.items()}
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.headers.append(head)
        length = next(
            (line.split(":")[1] for line in head.split("\r\n") if "content-length" in line.lower()), 0
        )
        request = json.loads(await reader.readexactly(int(length)) or b"{}")
        prompt = MODELS if f" /v1{MODELS} " in head else str(request["prompt"])
        self.requests.append(request)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        acting = asyncio.create_task(self._act(prompt, request))
        leaving = asyncio.create_task(reader.read())
        await asyncio.wait((acting, leaving), return_when=asyncio.FIRST_COMPLETED)
        self.busy -= 1
        if acting.done():
            writer.write(acting.result())
        else:
            self.left.append(prompt)
        for task in (acting, leaving):
            task.cancel()
        writer.close()

    async def _act(self, prompt: str, request: Request) -> bytes:
        acts = self._acts.get(prompt)
        act = acts.pop(0) if acts else 0.01
        if isinstance(act, bytes):
            return act
        if callable(act):
            return act(request)
        await asyncio.sleep(act)
        return self._models() if prompt == MODELS else good(request)

    def _models(self) -> bytes:
        return answer(200, {"data": [{"id": name, "owned_by": self.owner} for name in self.models]})
