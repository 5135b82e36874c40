"""A generator with what it needs of a running Lean."""

from __future__ import annotations

from prover.generators import make_generator, needs_corpus
from prover.generators.base import TacticGenerator
from prover.lean.pool import LeanPool
from prover.premises import Report, library_corpus


async def load_generator(name: str, pool: LeanPool, report: Report) -> TacticGenerator:
    """Make a generator; for one that knows the library, read that first.

    Raises:
        InputError: there is no such generator, or the cached library is damaged.
        LeanUnavailable: Lean cannot be started, or fails while it lists the library.
    """
    corpus = await library_corpus(pool, report) if needs_corpus(name) else None
    return make_generator(name, corpus)
