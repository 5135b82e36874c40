"""How many questions are answered at once, and how many may wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FullError(Exception):
    """All seats are taken, and so is all room to wait."""


class Seats:
    """Seats for questions, and a queue before them that is not longer than it may be."""

    def __init__(self, seats: int, waiting: int) -> None:
        self._free = asyncio.Semaphore(seats)
        self._room = seats + waiting
        self._inside = 0

    @property
    def inside(self) -> int:
        """Those who are answered, and those who wait."""
        return self._inside

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Take a seat, after a while if need be.

        Raises:
            FullError: there is no room to wait.
        """
        if self._inside >= self._room:
            raise FullError
        self._inside += 1
        try:
            async with self._free:
                yield
        finally:
            self._inside -= 1
