"""``prover serve`` and ``prover mcp``: the agent as a service.

prover serve [--port 8420]            HTTP on this machine; http://127.0.0.1:8420/docs says what can be asked
prover mcp                            tools of the Model Context Protocol, on standard input and output
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from prover.cli.decoder_options import decoder_options
from prover.cli.lean_options import sandbox_option, tell_warnings
from prover.cli.telling import told_errors
from prover.extras import check_installed
from prover.reports import DEFAULTS, Options, Stage

if TYPE_CHECKING:
    from prover.lean.toolchain import LeanCommand

_INTERRUPTED = "Ended."


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of both commands."""
    for option in (
        click.option("--generator", default=DEFAULTS.generator, show_default=True, metavar="NAME"),
        click.option(
            "--seconds",
            type=click.FloatRange(min=0.1),
            default=DEFAULTS.timeout,
            show_default=True,
            metavar="S",
        ),
        click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, metavar="N"),
        click.option("--lean", metavar="embedded|PATH", help="Which Lean (default: the embedded one)."),
        sandbox_option,
        decoder_options,
    ):
        command = option(command)
    return command


@click.command(context_settings={"max_content_width": 100})
@click.option("--host", default="127.0.0.1", show_default=True, help="There is no authentication.")
@click.option("--port", type=click.IntRange(0, 65535), default=8420, show_default=True)
@click.option("--seats", type=click.IntRange(min=1), default=1, show_default=True, help="Answered at once.")
@click.option("--waiting", type=click.IntRange(min=0), default=16, show_default=True, help="May wait.")
@click.option(
    "--body", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="Bytes of one."
)
@_common
def serve(host: str, port: int, seats: int, waiting: int, body: int, seconds: float, **given: Any) -> None:
    """Answer questions over HTTP: prove a statement, suggest tactics, look up the memory."""
    with told_errors(_INTERRUPTED):
        check_installed("this", "serve", "fastapi", "uvicorn")
        from prover.serve import server
        from prover.serve.app import ServeLimits

        limits = ServeLimits(seats=seats, waiting=waiting, seconds=seconds, body=body)
        asyncio.run(server.serve(_options(seconds, **given), limits, host, port, _stage, _on_lean))


@click.command(context_settings={"max_content_width": 100})
@_common
def mcp(seconds: float, **given: Any) -> None:
    """Offer the same three questions as tools to an editor or an agent that starts this command."""
    with told_errors(_INTERRUPTED):
        check_installed("this", "serve", "mcp")
        asyncio.run(_offer(_options(seconds, **given)))


async def _offer(options: Options) -> None:
    from prover.api import Prover
    from prover.serve.tools import make_tools

    async with Prover(options, _stage) as prover:
        _on_lean(prover.command)
        await make_tools(prover, options.timeout).run_stdio_async()


def _options(
    seconds: float, generator: str, workers: int, lean: str | None, sandbox: bool, decoder: Any
) -> Options:
    return Options(
        timeout=seconds,
        generator=generator,
        workers=workers,
        lean=lean,
        sandbox=sandbox,
        decoder=decoder,
    )


def _stage(event: Any) -> None:
    """Say what goes on; to standard error, since standard output is for the protocol."""
    if isinstance(event, Stage) and not event.done:
        print(event.text, file=sys.stderr, flush=True)


def _on_lean(command: LeanCommand) -> None:
    tell_warnings([command])
