"""Runs the HTTP service: one process, ended in order by Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import uvicorn

from prover.api import Prover
from prover.lean.toolchain import LeanCommand
from prover.reports import OnEvent, Options
from prover.serve.app import ServeLimits, make_app
from prover.serve.guards import HeadGuard

#: Connections at once beyond which new ones are told to come later (503).
CONNECTIONS = 512
#: Seconds that answers under way have when the service is ended.
_ENDING = 5


async def serve(
    options: Options,
    limits: ServeLimits,
    host: str,
    port: int,
    on_event: OnEvent,
    on_lean: Callable[[LeanCommand], None],
) -> None:
    """Serve until it is ended; its Lean processes are gone then.

    Args:
        on_lean: told of the Lean that was chosen, before anything is served.

    Raises:
        InputError, LeanUnavailable, ModelUnavailable: it cannot be started.
    """
    # uvicorn catches the signal, ends in order, and then sends it again: nothing is left to do by then.
    signal.signal(signal.SIGTERM, lambda *_: None)
    async with Prover(options, on_event) as prover:
        on_lean(prover.command)
        await uvicorn.Server(configured(make_app(prover, limits), host, port)).serve()


def configured(app: Any, host: str, port: int) -> uvicorn.Config:
    """How uvicorn runs it."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=HeadGuard,
        ws="none",
        log_level="warning",
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=_ENDING,
        server_header=False,
    )
