"""Ctrl-C ends the work, not the program: what is done by then is still reported."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def run_interruptibly(work: Coroutine[Any, Any, T]) -> tuple[T | None, bool]:
    """Run a coroutine; on Ctrl-C (or SIGTERM) cancel it, once for each.

    Returns:
        What it gave back, also when it was cancelled (None when it then gave nothing), and whether it was.
    """
    cut = False

    async def watched() -> T | None:
        task = asyncio.create_task(work)

        def stop() -> None:
            nonlocal cut
            cut = True
            task.cancel()

        with _on_interrupt(stop):
            try:
                return await task
            except asyncio.CancelledError:
                return None

    return asyncio.run(watched()), cut


@contextlib.contextmanager
def _on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
