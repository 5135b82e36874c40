"""Which tactic generator: by its name, made with what it needs of a running Lean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from prover.decoder.options import (
    FAILURES,
    LIBRARY,
    SHIPPED,
    STEPS,
    DecoderOptions,
    has_memory_layer,
    memories_of,
)
from prover.errors import InputError
from prover.generators.base import TacticGenerator
from prover.generators.portfolio import Portfolio
from prover.generators.staged import Staged
from prover.lean.pool import LeanPool
from prover.premises import (
    PremiseCorpus,
    Report,
    lean_version,
    library_corpus,
    library_corpus_beside,
)

if TYPE_CHECKING:
    from prover.decoder.checkpoint import LoadedModel
    from prover.generators.experience import Experience

#: What there is; ``a+b`` is a mixture of ``a`` and ``b``, and with ``a,b`` the second joins after a while.
PARTS = ("portfolio", "knn", "memory", "decoder")
#: What a part counts in a mixture, before the weights are normalised (docs/log.md says how it was found).
WEIGHTS = {"portfolio": 1.0, "knn": 1.0, "memory": 1.0, "decoder": 1.0}
#: The power of a decoder's verdict on a candidate (docs/log.md).
VERDICT = 1.0


def check_generator(name: str) -> None:
    """Look whether there is a generator of this name, before anything is started.

    Raises:
        InputError: there is none.
    """
    parts = parts_of(name)
    if not set(parts) <= set(PARTS) or len(set(parts)) < len(parts):
        raise InputError(
            f"there is no generator {name!r}: choose {', '.join(PARTS)}, or several: a+b mixes them, and "
            "with a,b the second joins when the first has had its share of the budget"
        )


def stages_in(name: str) -> list[list[str]]:
    """Return the parts that join at each stage of a generator."""
    return [stage.split("+") for stage in name.split(",")]


def parts_of(name: str) -> list[str]:
    """Return the parts of a generator, in the order in which they join."""
    return [part for stage in stages_in(name) for part in stage]


def has_decoder(name: str) -> bool:
    """Say whether a generator runs a decoder, if only to ask its memory."""
    return not {"decoder", "memory"}.isdisjoint(parts_of(name))


def learns(name: str, decoder: DecoderOptions = SHIPPED) -> bool:
    """Say whether a generator can be taught proofs.

    Raises:
        InputError: the decoder is to remember what it cannot.
    """
    return not {"knn", "memory"}.isdisjoint(parts_of(name)) or STEPS in _memories(name, decoder)


def _memories(name: str, decoder: DecoderOptions) -> tuple[str, ...]:
    """What the decoder of a generator is to remember; nothing without one."""
    return memories_of(decoder) if "decoder" in parts_of(name) else ()


def needs_corpus(name: str, decoder: DecoderOptions = SHIPPED) -> bool:
    """Say whether a generator is made from the library's premises, which are then to be loaded first.

    Raises:
        InputError: the decoder's model cannot be found, or can't be asked so, or remember what it should.
    """
    parts = parts_of(name)
    if "knn" in parts or "memory" in parts:
        return True
    if "decoder" not in parts:
        return False
    from prover.decoder.loading import shows_context

    return shows_context(decoder) or LIBRARY in memories_of(decoder)


def needs_scope(name: str, decoder: DecoderOptions = SHIPPED) -> bool:
    """Say whether a generator must be told what a proof may use, and its place in an order of learning.

    Raises:
        InputError: as :func:`needs_corpus`.
    """
    return needs_corpus(name, decoder) or bool(_memories(name, decoder))


@asynccontextmanager
async def generator_by_name(
    name: str,
    pool: LeanPool,
    report: Report,
    decoder: DecoderOptions = SHIPPED,
    remember: Path | None = None,
) -> AsyncIterator[TacticGenerator]:
    """Make a generator, and at the end give back what it holds.

    One of several stages makes a part when its turn comes. For a part that knows the library, the library is
    read first (once).

    Args:
        remember: a folder, where the decoder finds what it has tried in earlier runs, and keeps what it will
            have in this one.

    Raises:
        InputError: there is no such generator or model, the cached library or a memory is damaged, or nothing
            is remembered that could be kept.
        LeanUnavailable: Lean cannot be started, or fails while it lists the library.
        ModelUnavailable: the decoder's model cannot be run.
    """
    check_generator(name)
    check_remember(name, decoder, remember)
    stages = stages_in(name)
    at_once = len(stages) == 1
    lean = "" if at_once or not needs_corpus(name, decoder) else await lean_version(pool)

    async def read() -> PremiseCorpus:
        if at_once:
            return await library_corpus(pool, report)
        return await library_corpus_beside(pool.command, lean, report)

    async with AsyncExitStack() as holding:
        parts = _Parts(holding, decoder, report, remember, read)
        if at_once:
            yield mixture_of({part: await parts.make(part) for part in stages[0]})
        else:
            yield Staged({part: partial(parts.make, part) for part in parts_of(name)}, stages, mixture_of)


class _Parts:
    """Makes the parts of a generator one by one, out of one corpus that is read when the first needs it."""

    def __init__(
        self,
        holding: AsyncExitStack,
        decoder: DecoderOptions,
        report: Report,
        remember: Path | None,
        read: Callable[[], Awaitable[PremiseCorpus]],
    ) -> None:
        self._holding = holding
        self._decoder = decoder
        self._report = report
        self._remember = remember
        self._read = read
        self._corpus: PremiseCorpus | None = None
        self._loaded: LoadedModel | None = None

    async def make(self, part: str) -> TacticGenerator:
        if self._corpus is None and needs_corpus(part, self._decoder):
            self._corpus = await self._read()
        if part not in ("memory", "decoder"):
            return await asyncio.to_thread(make_baseline, part, self._corpus)
        self._report("Loading the decoder", 0, 0)
        return await self._holding.enter_async_context(
            self._opened_decoder() if part == "decoder" else self._opened_pointing()
        )

    async def _model(self) -> LoadedModel:
        """The one model of all parts."""
        from prover.decoder.loading import load_model

        if self._loaded is None:
            self._loaded = await load_model(self._decoder)
        return self._loaded

    @asynccontextmanager
    async def _opened_decoder(self) -> AsyncIterator[TacticGenerator]:
        """A decoder with all that it is to remember."""
        from prover.decoder.loading import opened_decoder

        memories = memories_of(self._decoder)
        if not memories:
            async with opened_decoder(self._decoder, self._corpus, loaded=self._loaded) as decoder:
                yield decoder
            return
        from prover.recall.generator import Remembering
        from prover.recall.opening import opened_recall

        loaded = await self._model()
        async with (
            opened_recall(loaded, memories, self._corpus, self._report, self._remember) as recall,
            opened_decoder(self._decoder, self._corpus, recall, loaded) as decoder,
        ):
            yield Remembering(decoder, recall)

    @asynccontextmanager
    async def _opened_pointing(self) -> AsyncIterator[TacticGenerator]:
        """What the memory of the decoder's model names."""
        from prover.decoder.loading import load_model
        from prover.recall.opening import opened_pointing

        assert self._corpus is not None, "read before"
        # A model without the layer, as one on a server, has ours to find lemmas.
        ours = has_memory_layer(self._decoder)
        loaded = await self._model() if ours else await load_model(SHIPPED)
        chosen = memories_of(self._decoder) if self._decoder.memory is not None else None
        async with opened_pointing(loaded, chosen, self._corpus, self._report) as pointing:
            yield pointing


def check_remember(name: str, decoder: DecoderOptions, remember: Path | None) -> None:
    """Look whether there is anything to be kept across runs.

    Raises:
        InputError: it is asked for, and the generator remembers nothing that could be.
    """
    if remember is not None and not {STEPS, FAILURES} & set(_memories(name, decoder)):
        raise InputError(
            f"{name} remembers no steps or failures that could be kept in {remember}: take a decoder whose "
            "checkpoint has a memory layer (--model), or leave out --remember"
        )


def make_baseline(
    name: str, corpus: PremiseCorpus | None = None, experience: Experience | None = None
) -> TacticGenerator:
    """Return ``portfolio`` or ``knn``.

    Args:
        corpus: the library's premises, for ``knn``.
        experience: what ``knn`` begins with; None: nothing.

    Raises:
        InputError: it needs premises and got none.
    """
    if name == "portfolio":
        return Portfolio()
    if corpus is None:
        raise InputError(f"the generator {name!r} needs the library's premises: read them first, once")
    from prover.generators.knn import KNN

    return KNN(corpus, experience)


def mixture_of(parts: dict[str, TacticGenerator]) -> TacticGenerator:
    """Return the one part, or the mixture of several, judged by the decoder if there is one that can."""
    from prover.generators.mixture import Mixture

    several = [(part, WEIGHTS[name]) for name, part in parts.items()]
    generator: TacticGenerator = Mixture(several) if len(parts) > 1 else several[0][0]
    if "decoder" not in parts:
        return generator
    from prover.decoder.judging import Judge, Judged

    judge = parts["decoder"]
    return Judged(generator, judge, VERDICT) if isinstance(judge, Judge) and judge.judges else generator
