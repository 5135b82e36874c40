"""A Lean that elaborates lines such as ``theorem a : p`` and ``theorem a : p := sorry``, in process.

As the real one, it takes what the project's own modules declare for the file's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Self

from prover.lean.messages import (
    Answer,
    DeclarationsRequest,
    InfoRequest,
    ModulesRequest,
    OpenRequest,
    Request,
    Source,
    Status,
)
from prover.lean.process import ProcessFailure
from tests.lean.fake_server import SORRY

_LINE = re.compile(r"(theorem|definition|recursor) (\S+) : (.*?)( := sorry)?$", re.M)


class ScriptedProcess:
    """Answers what is asked about declarations; ``fails`` may raise at a request."""

    alive, is_busy, memory_share = True, False, 0.0

    def __init__(self, fails: Callable[[Request], None], window: int) -> None:
        self.asked: list[Request] = []
        self._fails, self._window = fails, window
        self._own: list[dict[str, Any]] = []

    async def ask(self, request: Request, seconds: float) -> Answer:
        self.asked.append(request)
        self._fails(request)
        match request:
            case InfoRequest():
                return _answer(lean="4.9.0, commit 12ab")
            case OpenRequest(source, dependencies):
                return self._open(source, dependencies)
            case ModulesRequest():
                return _answer(modules=[])
            case DeclarationsRequest(start, limit, module):
                assert module == ""
                stop = start + min(limit, self._window)
                return _answer(
                    declarations=self._own[start:stop], next=stop if stop < len(self._own) else None
                )
        return _answer()

    def _open(self, source: Source, dependencies: tuple[Source, ...]) -> Answer:
        if "error" in source.text:
            place = {"line": 1, "column": 0, "byte": 0}
            wrong = {"severity": "error", "position": place, "text": "unknown identifier"}
            return _answer(messages=[wrong], sorries=[])
        self._own = []
        for text in (*(it.text for it in dependencies), source.text):
            self._own += [_declared(*found[:3]) for found in _LINE.findall(text)]
        open_ = [found[1] for found in _LINE.findall(source.text) if found[3]]
        return _answer(messages=[], sorries=[{**SORRY, "declaration": name} for name in open_])


class ScriptedPool:
    """One process, of which there is no other."""

    def __init__(self, fails: Callable[[Request], None] = lambda request: None, window: int = 2) -> None:
        self.process = ScriptedProcess(fails, window)
        self.borrowed = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.borrowed == 0

    async def acquire(self) -> ScriptedProcess:
        self.borrowed += 1
        return self.process

    async def release(self, process: ScriptedProcess) -> None:
        self.borrowed -= 1


def dies(at: type[Request]) -> Callable[[Request], None]:
    """Fails at requests of a kind, as a process that was killed."""

    def fail(request: Request) -> None:
        if isinstance(request, at):
            raise _failure()

    return fail


def _failure() -> ProcessFailure:
    from prover.lean.process import Cause, LeanDied, PostMortem

    return LeanDied(PostMortem(Cause.KILLED, None, "SIGKILL", (), (), 1, 1))


def _declared(kind: str, name: str, type_: str) -> dict[str, Any]:
    return {"name": name, "kind": kind, "module": "", "type": type_, "constants": []}


def _answer(**body: Any) -> Answer:
    return Answer(0, Status.OK, 0.1, "", body)
