"""What all tests share: one pool of real Lean processes, started once for the whole run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import hypothesis
import pytest
import pytest_asyncio

from prover.lean.pool import LeanPool
from prover.lean.toolchain import LeanCommand, choose_lean

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("prover", deadline=None)
hypothesis.settings.load_profile("prover")


@pytest.fixture(scope="session")
def embedded_command() -> LeanCommand:
    """The embedded Lean, installed and with its tactic server compiled."""
    return choose_lean(None, "embedded")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lean_pool(embedded_command: LeanCommand) -> AsyncIterator[LeanPool]:
    """One worker and a spare; its tests need ``loop_scope="session"``, and give back what they take."""
    async with LeanPool(embedded_command, size=1, spares=1) as pool:
        yield pool


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "record the answers in tests/transcripts anew"
    parser.addoption("--update-transcripts", action="store_true", help=text)
